"""What is pending for the whole server process: signals, and reads handed to the C library."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

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

    def __init__(self) -> None:
        self.taken = False
        self.waiting: deque[Task] = deque()

    def let_go(self) -> None:
        """Give the lock up; the first who waits may try again."""
        self.taken = False
        if self.waiting:
            task = self.waiting.popleft()
            task.cpu.wake(task)
