"""Real signals that report readiness, and the calls that wait for them."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable
from time import monotonic_ns, thread_time_ns

from iosim.host import siglib
from iosim.host.thread import Thread
from iosim.kernel import Call, SignalHandler


class SignalCalls(Thread):
    """Asynchronous notification by signals."""

    def sigaction(self, signal: int, handler: SignalHandler) -> Call[None]:
        self.syscalls["rt_sigaction"] += 1

        def timed(signo: int) -> None:
            # The computing that it interrupts takes that much longer.
            began_ns = thread_time_ns()
            handler(signo)
            self.compute_until_ns += thread_time_ns() - began_ns

        siglib.handle(signal, timed)
        return
        yield

    def sigblock(self, signals: Iterable[int]) -> Call[None]:
        self.syscalls["rt_sigprocmask"] += 1
        for number in signals:
            if not siglib.handled(number):
                siglib.handle(number)
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        return
        yield

    def sigunblock(self, signals: Iterable[int]) -> Call[None]:
        self.syscalls["rt_sigprocmask"] += 1
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        return
        yield

    def set_async(self, fd: int, signal: int) -> Call[None]:
        self.syscalls["fcntl"] += 4
        siglib.set_async(fd, signal)
        return
        yield

    def sigsuspend(self) -> Call[None]:
        self.syscalls["rt_sigsuspend"] += 1
        self.free_since_ns = began_ns = monotonic_ns()
        siglib.sigsuspend()
        self.in_free_ns += monotonic_ns() - began_ns
        self.free_since_ns = 0
        return
        yield

    def sigwaitinfo(self, signals: Collection[int]) -> Call[tuple[int, int]]:
        self.syscalls["rt_sigtimedwait"] += 1
        self.free_since_ns = began_ns = monotonic_ns()
        taken = siglib.sigwaitinfo(signals)
        now_ns = monotonic_ns()
        self.in_free_ns += now_ns - began_ns
        self.free_since_ns = 0
        if (sock := self.server.sockets.get(taken[1])) is not None:
            sock.noticed_ns = now_ns
        return taken
        yield
