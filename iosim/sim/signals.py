"""Signals that report readiness, the calls that wait for them, and handlers that interrupt."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from iosim.arguments import handled_signal, signal_number, signal_set, to_expect, whole
from iosim.kernel import SIGIO, Call, SignalHandler
from iosim.sim.pending import ALL_SIGNALS
from iosim.sim.system import File
from iosim.sim.thread import Thread


class Owner:
    """Sends a thread a signal whenever a descriptor with O_ASYNC becomes readable."""

    __slots__ = ("_signal", "_thread")

    def __init__(self, thread: Thread, signal: int) -> None:
        self._thread = thread
        self._signal = signal

    def notify(self, file: File) -> bool:
        signals = self._thread.system.signals
        signal = SIGIO if signals.refuses(self._signal) else self._signal
        return signals.send(signal, file.fd, self._thread)


class SignalCalls(Thread):
    """Asynchronous notification by signals."""

    __slots__ = ()

    def sigaction(self, signal: int, handler: SignalHandler) -> Call[None]:
        signal = handled_signal(signal, handler, self._is_main())
        yield from self.pay()
        self.system.syscalls["rt_sigaction"] += 1
        self.system.signals.install(signal, handler)

    def sigblock(self, signals: Iterable[int]) -> Call[None]:
        wanted = signal_set(signals)
        yield from self.pay()
        self.system.syscalls["rt_sigprocmask"] += 1
        handlers = self.system.signals
        handlers.expect(to_expect(wanted, handlers.handled(), self._is_main()))
        self.blocked = self.blocked.union(wanted)
        self.charge(self.system.prices.sigprocmask_ns)

    def sigunblock(self, signals: Iterable[int]) -> Call[None]:
        wanted = signal_set(signals)
        yield from self.pay()
        self.system.syscalls["rt_sigprocmask"] += 1
        self.blocked = self.blocked.difference(wanted)
        self.charge(self.system.prices.sigprocmask_ns + self.run_handlers())

    def _is_main(self) -> bool:
        """Whether this is the thread that the program began in."""
        return self is next(task for task in self.system.tasks if not task.helper)

    def set_async(self, fd: int, signal: int) -> Call[None]:
        # "A value of zero means to send the default SIGIO signal" (fcntl(2), F_SETSIG).
        signal = signal_number(signal) if whole("signal", signal) else SIGIO
        if self.debt_ns:
            yield from self.pay()
        self.system.syscalls["fcntl"] += 4
        file = self.system.file(fd)
        if file.sends_signals:
            others = (watcher for watcher in file.watchers if not isinstance(watcher, Owner))
            file.watchers = (*others, Owner(self, signal))
        for _ in range(4):
            self.charge(self.system.prices.fcntl_ns)

    def sigsuspend(self) -> Call[None]:
        yield from self.pay()
        system = self.system
        system.syscalls["rt_sigsuspend"] += 1
        taken: tuple[int, int] | None = yield from self._take(ALL_SIGNALS)
        self.charge(system.prices.sigsuspend_ns)
        # A signal is blocked while its handler runs, but not the others: one of each number.
        open_to = ALL_SIGNALS
        while taken is not None:
            system.signals.handle(taken[0])
            open_to = open_to.difference((taken[0],))
            taken = system.signals.take(self, open_to)
            if taken is not None:
                self.debt_ns += system.prices.signal_handler_ns

    def sigwaitinfo(self, signals: Collection[int]) -> Call[tuple[int, int]]:
        if signals is not self.wanted:
            self.wanted = signals = signal_set(signals)
        if self.debt_ns:
            yield from self.pay()
        self.system.syscalls["rt_sigtimedwait"] += 1
        taken = yield from self._take(signals)
        self.charge(self.system.prices.sigwaitinfo_ns)
        # A signal of a read may be about a descriptor that nobody has had.
        if 0 <= taken[1] < len(self.system.files):
            self.noticed([taken[1]])
        return taken

    def _take(self, wanted: Collection[int]) -> Call[tuple[int, int]]:
        # The program chose to pause; with other work it would have gone on: not phase 1.
        signals = self.system.signals
        while (taken := signals.take(self, wanted)) is None:
            if self.debt_ns:
                yield from self.pay()
                continue
            self.awaited = wanted
            yield from self.sleep()
            self.awaited = ()
        return taken
