"""What is pending for the whole server process: signals, and reads handed to the C library."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

import numpy as np

from iosim.kernel import SIGIO
from iosim.sim.cpu import Task


class Signals:
    """The pending signals of the server process, signal(7)."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sigio = False
        self._queued: deque[tuple[int, int]] = deque()
        self._waiting: list[tuple[Task, Collection[int]]] = []

    def send(self, signal: int, value: int) -> bool:
        """Make a signal pending and wake who waits for it; True if that woke an idle core.

        SIGIO merges with one already pending. Real-time signals queue up to the limit; beyond it
        a descriptor's signal becomes a SIGIO (fcntl(2), F_SETSIG).
        """
        if signal != SIGIO and len(self._queued) >= self._limit:
            signal = SIGIO
        if signal == SIGIO:
            self._sigio = True
        else:
            self._queued.append((signal, value))
        for entry in self._waiting:
            task, wanted = entry
            if signal in wanted:
                self._waiting.remove(entry)
                return task.cpu.wake(task)
        return False

    def take(self, wanted: Collection[int]) -> tuple[int, int] | None:
        """One pending signal: standard ones before real-time ones, those oldest first."""
        if self._sigio and SIGIO in wanted:
            self._sigio = False
            return SIGIO, -1
        for entry in self._queued:
            if entry[0] in wanted:
                self._queued.remove(entry)
                return entry
        return None

    def wait(self, task: Task, wanted: Collection[int]) -> None:
        """Have `task` woken by the next of these signals."""
        self._waiting.append((task, wanted))


class AioReads:
    """The reads handed over and the helper threads that carry them out."""

    def __init__(self, limit: int = 20) -> None:
        self.limit = limit
        """glibc's own limit is 20 threads (aio_threads of aio_init(3))."""
        self.reads: deque[tuple[int, int, int]] = deque()
        """(descriptor, bytes, signal), oldest first."""
        self.busy: dict[int, tuple[int, int] | None] = {}
        """The descriptor each working helper is at, and the next read on it, (bytes, signal)."""
        self.idle: deque[Task] = deque()
        self.helpers = 0
        self.results: dict[int, int] = {}


class Gil:
    """The global interpreter lock and who waits for it, see `iosim.sim.gil`."""

    INTERVAL_NS = 5_000_000
    """The default of sys.setswitchinterval."""

    def __init__(self, generator: np.random.Generator) -> None:
        self.taken = False
        self._generator = generator
        self._waiting: dict[Task, int] = {}
        """Since when each thread waits."""
        self._last: Task | None = None
        """Who has had the lock last."""
        self._switched_ns = 0
        """When it got it from another one."""
        self._forced: Task | None = None
        """Who had to let go and waits for another one to take the lock."""

    def take(self, task: Task, now_ns: int) -> None:
        """Hold the lock, which is free."""
        self.taken = True
        if task is not self._last:
            self._last, self._switched_ns = task, now_ns
            if self._forced is not None:
                forced, self._forced = self._forced, None
                forced.cpu.wake(forced)

    def wait(self, task: Task, now_ns: int) -> None:
        """Have `task` woken when the lock is let go and it is drawn."""
        self._waiting[task] = now_ns

    def left_ns(self, now_ns: int) -> int:
        """How long the holder may surely go on.

        Whoever is still to come does not ask before an interval has gone by.
        """
        asked_in_ns = (self._asks_at_ns(since) - now_ns for since in self._waiting.values())
        return min(self.INTERVAL_NS, min(asked_in_ns, default=self.INTERVAL_NS))

    def _asks_at_ns(self, since_ns: int) -> int:
        """When a thread asks for the lock: at the first interval's end without a switch in it."""
        in_vain = max(0, -((since_ns - self._switched_ns) // self.INTERVAL_NS))
        return since_ns + (in_vain + 1) * self.INTERVAL_NS

    def let_go(self, forced: Task | None = None) -> None:
        """Give the lock up; one of those who wait may try again.

        `forced` is the thread that gives it up because it has to.
        """
        self.taken, self._forced = False, forced
        if self._waiting:
            tasks = list(self._waiting)
            task = tasks[self._generator.integers(len(tasks)) if len(tasks) > 1 else 0]
            del self._waiting[task]
            task.cpu.wake(task)
