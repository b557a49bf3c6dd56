"""Real signals that report readiness, and the calls that wait for them."""

from __future__ import annotations

import signal
from collections.abc import Collection, Iterable
from threading import current_thread, main_thread
from time import monotonic_ns, thread_time_ns

from iosim.arguments import handled_signal, signal_number, signal_set, to_expect, whole
from iosim.host import siglib
from iosim.host.thread import Thread
from iosim.kernel import SIGIO, Call, SignalHandler


class SignalCalls(Thread):
    """Asynchronous notification by signals."""

    def sigaction(self, signal: int, handler: SignalHandler) -> Call[None]:
        signal = handled_signal(signal, handler, self._is_main())
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
        wanted = signal_set(signals)
        self.syscalls["rt_sigprocmask"] += 1
        handled = list(filter(siglib.handled, wanted))
        for number in to_expect(wanted, handled, self._is_main()):
            siglib.handle(number)
        signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        return
        yield

    def sigunblock(self, signals: Iterable[int]) -> Call[None]:
        wanted = signal_set(signals)
        self.syscalls["rt_sigprocmask"] += 1
        signal.pthread_sigmask(signal.SIG_UNBLOCK, wanted)
        return
        yield

    @staticmethod
    def _is_main() -> bool:
        """Whether this is the thread that the program began in."""
        return current_thread() is main_thread()

    def set_async(self, fd: int, signal: int) -> Call[None]:
        # "A value of zero means to send the default SIGIO signal" (fcntl(2), F_SETSIG).
        signal = signal_number(signal) if whole("signal", signal) else SIGIO
        self.syscalls["fcntl"] += 4
        siglib.set_async(self.server.must_be_open(fd), signal)
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
        if signals is not self.wanted:
            self.wanted = signals = signal_set(signals)
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
