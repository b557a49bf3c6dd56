"""signalfd: signals that are taken from a descriptor, which select, poll and epoll can watch."""

from __future__ import annotations

import errno
from collections.abc import Collection
from itertools import islice

from iosim.arguments import MOST_SIGNALS, error, signal_set, whole
from iosim.kernel import Call
from iosim.sim.sockets import release
from iosim.sim.system import File, System
from iosim.sim.thread import Thread


class SignalFile(File):
    """A signalfd: readable while a signal of its set is pending for the thread that looks.

    It queues nothing itself. One wait queue serves all signalfds of a process: each signal that
    becomes pending, whichever it is and for whom, has everybody look (signalfd_notify of Linux).
    """

    __slots__ = ("_system", "signals")

    def __init__(self, system: System, signals: Collection[int]) -> None:
        super().__init__()
        self._system = system
        self.signals = frozenset(signals)

    def readable(self) -> bool:
        return self._system.signals.pending(self._system.current, self.signals)

    def signalled(self) -> bool:
        """A signal has become pending; True if that woke an idle core."""
        woke = False
        sleepers, self.sleepers = self.sleepers or [], None
        for sleeper in reversed(sleepers):
            woke = sleeper.cpu.wake(sleeper) or woke
        for watcher in self.watchers:
            woke = watcher.notify(self) or woke
        return woke

    def take(self, thread: Thread, count: int) -> list[tuple[int, int]]:
        """At most `count` of the signals that are pending for a thread."""
        signals = self._system.signals
        one_by_one = iter(lambda: signals.take(thread, self.signals), None)
        return list(islice(one_by_one, count))

    def closed(self, system: System) -> None:
        system.signals.files.remove(self)


class SignalfdCalls(Thread):
    """signalfd, and read of one."""

    __slots__ = ()

    def signalfd(self, signals: Collection[int], nonblocking: bool = False) -> Call[int]:
        signals = signal_set(signals)
        yield from self.pay()
        system = self.system
        system.syscalls["signalfd4"] += 1
        file = system.open(SignalFile(system, signals))
        file.nonblocking = nonblocking
        system.signals.files.append(file)
        return file.fd

    def read_signals(self, fd: int, count: int) -> Call[list[tuple[int, int]]]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        prices = system.prices
        system.syscalls["read"] += 1
        count = min(whole("count", count), MOST_SIGNALS)
        file = system.file(fd)
        if not isinstance(file, SignalFile) or count < 1:
            raise error(errno.EINVAL)
        while not (taken := file.take(self, count)):
            if file.nonblocking:
                system.empty_polls += 1
                self.charge(prices.eagain_ns)
                return []
            if self.debt_ns:
                yield from self.pay()
                continue
            # As in sigwaitinfo the program chose to pause: not phase 1.
            self.awaited = file.signals
            yield from self.sleep_on(file)
            self.awaited = ()
        self.charge(prices.signalfd_ns + (len(taken) - 1) * prices.signalfd_event_ns)
        self.noticed([about for _, about in taken if 0 <= about < len(system.files)])
        if not file.holders:
            release(system, file)
        return taken
