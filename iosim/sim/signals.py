"""Signals that report readiness, and the calls that wait for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from iosim.kernel import SIGIO, Call
from iosim.sim.pending import Signals
from iosim.sim.system import File
from iosim.sim.thread import Thread


class Owner:
    """Sends a signal whenever a descriptor with O_ASYNC becomes readable."""

    __slots__ = ("_signal", "_signals")

    def __init__(self, signals: Signals, signal: int) -> None:
        self._signals = signals
        self._signal = signal

    def notify(self, file: File) -> bool:
        return self._signals.send(self._signal, file.fd)


class SignalCalls(Thread):
    """Asynchronous notification by signals."""

    __slots__ = ()

    def sigblock(self, signals: Iterable[int]) -> Call[None]:
        # Programs of the simulated kernel take signals only in calls that wait for them.
        yield from self.pay()
        self.system.syscalls["rt_sigprocmask"] += 1

    def set_async(self, fd: int, signal: int) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        self.system.syscalls["fcntl"] += 4
        file = self.system.files[fd]
        file.watchers = (*file.watchers, Owner(self.system.signals, signal))
        self.debt_ns += 4 * self.system.prices.fcntl_ns

    def sigsuspend(self) -> Call[None]:
        yield from self.pay()
        self.system.syscalls["rt_sigsuspend"] += 1
        yield from self._take((SIGIO,))
        self.debt_ns += self.system.prices.sigsuspend_ns

    def sigwaitinfo(self, signals: Collection[int]) -> Call[tuple[int, int]]:
        if self.debt_ns:
            yield from self.pay()
        self.system.syscalls["rt_sigtimedwait"] += 1
        taken = yield from self._take(signals)
        self.debt_ns += self.system.prices.sigwaitinfo_ns
        file = self.system.files[taken[1]] if taken[1] >= 0 else None
        if file is not None:
            file.noticed_ns = self.now_ns
        return taken

    def _take(self, wanted: Collection[int]) -> Call[tuple[int, int]]:
        # The program chose to pause; with other work it would have gone on: not phase 1.
        signals = self.system.signals
        while (taken := signals.take(wanted)) is None:
            if self.debt_ns:
                yield from self.pay()
                continue
            signals.wait(self, wanted)
            yield from self.sleep()
        return taken
