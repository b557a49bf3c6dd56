"""What is pending for the threads of the server: signals, and reads handed to the C library."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from typing import Any, Protocol

import numpy as np

from iosim.errors import RunFailed
from iosim.kernel import SIGIO, SIGRTMIN, Notify, SignalHandler
from iosim.program import failure
from iosim.provenance import name_of
from iosim.sim.cpu import Task

ALL_SIGNALS = frozenset(range(1, 65))


class Pending:
    """Signals that have been sent to one thread, or to the process, and not yet taken."""

    __slots__ = ("_values",)

    def __init__(self) -> None:
        self._values: dict[int, deque[int]] = {}
        """By signal number, oldest first."""

    def add(self, signal: int, value: int) -> bool:
        """Queue a signal; False if it is a standard one that merges with its like."""
        values = self._values.get(signal)
        if values is None:
            self._values[signal] = deque((value,))
            return True
        if signal < SIGRTMIN:
            return False
        values.append(value)
        return True

    def has(self, wanted: Collection[int]) -> bool:
        """Whether a signal of `wanted` is pending."""
        return any(signal in wanted for signal in self._values)

    def take(self, wanted: Collection[int]) -> tuple[int, int] | None:
        """The lowest number first, of one number the oldest; so standard ones come first."""
        found = [signal for signal in self._values if signal in wanted]
        if not found:
            return None
        signal = min(found)
        values = self._values[signal]
        value = values.popleft()
        if not values:
            del self._values[signal]
        return signal, value


class Receiver(Protocol):
    """A thread, as far as signals are concerned."""

    pending: Pending

    def wants(self, signal: int) -> bool:
        """Whether the thread waits for the signal or does not block it."""

    def signalled(self, signal: int) -> bool:
        """Told of a pending signal that it wants; True if that woke an idle core."""


class Signals:
    """The signals of the server process, signal(7): what is pending and what handles it.

    A signal is sent to one thread or to the process; the latter goes to the first thread that
    wants it, or stays pending until one does.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.threads: dict[Receiver, None] = {}
        """The program's threads that have not ended, the first to begin first. No others want a
        signal, so that they need not be asked."""
        self._process = Pending()
        self._sent = self._taken = 0
        """How many were queued, and how many of them have been taken."""
        self._handlers: dict[int, SignalHandler] = {}
        self.interrupting = False
        """Whether the program has installed a handler of its own."""
        self.files: list[Any] = []
        """The signalfds that are open."""

    def refuses(self, signal: int) -> bool:
        """The queue is full, RLIMIT_SIGPENDING; a standard signal is never refused."""
        return signal >= SIGRTMIN and self._sent - self._taken >= self._limit

    def send(self, signal: int, fd: int, thread: Receiver | None = None) -> bool:
        """Send a signal about a descriptor to a thread, or to the process; True if that woke an
        idle core. A signal of O_ASYNC, which goes to a thread, carries the descriptor unless it is
        SIGIO (fcntl(2), F_SETSIG)."""
        pending = self._process if thread is None else thread.pending
        woke = False
        if pending.add(signal, -1 if thread and signal == SIGIO else fd):
            self._sent += 1
            for file in self.files:
                woke = file.signalled() or woke
        for receiver in self.threads if thread is None else (thread,):
            if receiver.wants(signal):
                return receiver.signalled(signal) or woke
        return woke

    def take(self, thread: Receiver, wanted: Collection[int]) -> tuple[int, int] | None:
        """One pending signal of `wanted`: the thread's own come before those of the process."""
        taken = thread.pending.take(wanted) or self._process.take(wanted)
        if taken is not None:
            self._taken += 1
        return taken

    def pending(self, thread: Receiver, wanted: Collection[int]) -> bool:
        """Whether `take` would find one."""
        return thread.pending.has(wanted) or self._process.has(wanted)

    def install(self, signal: int, handler: SignalHandler) -> None:
        """Have a signal handled."""
        self._handlers[signal] = handler
        self.interrupting = True

    def expect(self, signals: Iterable[int]) -> None:
        """Let signals without a handler have one that does nothing."""
        for signal in signals:
            self._handlers.setdefault(signal, lambda _: None)

    def handled(self) -> Collection[int]:
        """Those that have a handler."""
        return self._handlers.keys()

    def handle(self, signal: int) -> None:
        """Run the signal's handler."""
        if signal not in self._handlers:
            raise RunFailed(
                f"signal {signal} ends the program, its default action: "
                "block it (sigblock) or install a handler (sigaction) before it can come"
            )
        handler = self._handlers[signal]
        try:
            handler(signal)
        except Exception as error:
            # It may run while no thread of the program does.
            raise failure(name_of(handler), error) from error


Read = tuple[int, int, Notify]
"""(descriptor, bytes, what to notify)."""


class AioReads:
    """The reads handed over and the helper threads that carry them out."""

    def __init__(self, limit: int = 20) -> None:
        self.limit = limit
        """glibc's own limit is 20 threads (aio_threads of aio_init(3))."""
        self.reads: deque[Read] = deque()
        """That no helper has taken, oldest first."""
        self.busy: dict[int, tuple[int, Notify] | None] = {}
        """The descriptor each working helper is at, and the next read on it, (bytes, notify)."""
        self.idle: deque[Task] = deque()
        """Helpers that sleep until there is a read, first those that have done so for longest."""
        self.resting = 0
        """How many of them there are, with those that have been woken and not run since."""
        self.helpers = 0
        self.started = 0
        """How many there have ever been."""
        self.begun: set[int] = set()
        """Descriptors of reads whose results have not been taken."""
        self.results: dict[int, int] = {}

    def forget(self, fd: int) -> None:
        """A descriptor is closed: nobody can take the result of a read on it any more."""
        self.begun.remove(fd)
        self.results.pop(fd, None)


class Gil:
    """The global interpreter lock and who waits for it, see `iosim.sim.gil`."""

    INTERVAL_NS = 5_000_000
    """The default of sys.setswitchinterval."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.taken = False
        self.busy = False
        """Somebody holds the lock, waits for it or had to let go of it."""
        self._generator = generator
        self.waiting: list[tuple[Task, int]] = []
        """Who waits, and since when; first those that have for longest."""
        self.last: Task | None = None
        """Who has had the lock last."""
        self._switched_ns = 0
        """When it got it from another one."""
        self.forced: Task | None = None
        """Who had to let go and waits for another one to take the lock."""

    def take(self, task: Task, now_ns: int) -> None:
        """Hold the lock, which is free."""
        self.taken = self.busy = True
        if task is not self.last:
            self.pass_to(task, now_ns)
            if self.forced is not None:
                forced, self.forced = self.forced, None
                forced.cpu.wake(forced)

    def pass_to(self, task: Task, now_ns: int) -> None:
        """The lock changes hands."""
        self.last, self._switched_ns = task, now_ns

    def wait(self, task: Task, now_ns: int) -> None:
        """Have `task` woken when the lock is let go and it is drawn."""
        self.waiting.append((task, now_ns))

    def left_ns(self, now_ns: int, wanted_ns: int) -> int:
        """How long the holder may surely go on. It wants to for `wanted_ns`: how much longer it may
        does not matter.

        Whoever is still to come does not ask before an interval has gone by.
        """
        left_ns = self._switched_ns + self.INTERVAL_NS - now_ns
        if 0 < left_ns >= wanted_ns:
            # Nobody asks before the lock has been in the same hands for an interval, so that there
            # is no need to look at everybody.
            return left_ns
        left_ns = self.INTERVAL_NS
        for _, since_ns in self.waiting:
            asked_in_ns = self._asks_at_ns(since_ns) - now_ns
            if asked_in_ns < left_ns:
                left_ns = asked_in_ns
        return left_ns

    def _asks_at_ns(self, since_ns: int) -> int:
        """When a thread asks for the lock: at the first interval's end without a switch in it."""
        in_vain = max(0, -((since_ns - self._switched_ns) // self.INTERVAL_NS))
        return since_ns + (in_vain + 1) * self.INTERVAL_NS

    def let_go(self, forced: Task | None = None) -> None:
        """Give the lock up; one of those who wait may try again.

        `forced` is the thread that gives it up because it has to.
        """
        self.taken, self.forced = False, forced
        if self.waiting:
            count = len(self.waiting)
            task, _ = self.waiting.pop(self._generator.integers(count) if count > 1 else 0)
            task.cpu.wake(task)
        self.busy = bool(self.waiting) or forced is not None
