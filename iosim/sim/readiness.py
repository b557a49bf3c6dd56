"""select, poll and epoll: who is ready, and what it costs to find out."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from iosim.errors import IosimError
from iosim.kernel import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLLET,
    EPOLLIN,
    EPOLLONESHOT,
    FD_SETSIZE,
    Call,
    FdSet,
)
from iosim.sim.memory import Memory
from iosim.sim.system import File
from iosim.sim.thread import Thread


class WatchedSet:
    """The descriptors of a select or poll call, by descriptor, in the order they were added."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._order: dict[int, int] = {}
        self._added = 0

    def add(self, fd: int) -> None:
        if fd not in self._order:
            self._memory.add("poll_entries")
        self._order.setdefault(fd, self._added)
        self._added += 1

    def discard(self, fd: int) -> None:
        if self._order.pop(fd, None) is not None:
            self._memory.remove("poll_entries")

    def __contains__(self, fd: int) -> bool:
        return fd in self._order

    def __len__(self) -> int:
        return len(self._order)

    def highest(self) -> int:
        """The highest descriptor: they are given out in rising order, so it is the newest."""
        return next(reversed(self._order), -1)

    def position(self, fd: int) -> int:
        """Sort key for the order of adding."""
        return self._order[fd]


class Sleeper:
    """A thread asleep in select or poll."""

    def __init__(self, thread: Thread, watched: WatchedSet) -> None:
        self._thread = thread
        self._watched = watched

    def notify(self, file: File) -> bool:
        if file.fd not in self._watched:
            return False
        return self._thread.cpu.wake(self._thread)


class Watch:
    """One descriptor on an epoll interest list."""

    __slots__ = ("armed", "edge", "epoll", "file", "listed", "oneshot")

    def __init__(self, epoll: EpollInstance, file: File, events: int) -> None:
        self.epoll = epoll
        self.file = file
        self.edge = bool(events & EPOLLET)
        self.oneshot = bool(events & EPOLLONESHOT)
        self.armed = True
        self.listed = False

    def notify(self, file: File) -> bool:
        if not self.armed:
            return False
        epoll = self.epoll
        if not self.listed:
            self.listed = True
            epoll.ready.append(self)
        return bool(epoll.waiting) and epoll.wake_one()


class EpollInstance(File):
    """An epoll instance: the ready list and who waits for it."""

    __slots__ = ("ready", "waiting")

    def __init__(self) -> None:
        super().__init__()
        self.ready: deque[Watch] = deque()
        self.waiting: list[Thread] = []

    @property
    def readable(self) -> bool:
        return bool(self.ready)

    def wake_one(self) -> bool:
        """Threads in epoll_wait are woken one at a time (they wait exclusively)."""
        thread = self.waiting.pop(0)
        return thread.cpu.wake(thread)

    def harvest(self, max_events: int) -> list[int]:
        """Take at most `max_events` from the ready list; level-triggered ones rejoin its tail.

        A level-triggered descriptor stays on the list until a look finds it unreadable; an
        edge-triggered one leaves it when reported, and a one-shot one is silent from then on until
        EPOLL_CTL_MOD arms it again (epoll(7), epoll_ctl(2)).
        """
        found: list[int] = []
        ready, looks = self.ready, len(self.ready)
        while looks and len(found) < max_events:
            looks -= 1
            watch = ready.popleft()
            watch.listed = False
            file = watch.file
            if file.readable:
                found.append(file.fd)
                watch.armed = not watch.oneshot
                if watch.armed and not watch.edge:
                    watch.listed = True
                    ready.append(watch)
        return found


class ReadinessCalls(Thread):
    """select, poll and the epoll family."""

    __slots__ = ()

    def fd_set(self) -> FdSet:
        return WatchedSet(self.system.memory)

    def poll_set(self) -> FdSet:
        return WatchedSet(self.system.memory)

    def select(self, fds: FdSet) -> Call[list[int]]:
        assert isinstance(fds, WatchedSet)
        if fds.highest() >= FD_SETSIZE:
            raise IosimError(
                f"select cannot watch descriptor {fds.highest()}: an fd_set holds 0 to "
                f"{FD_SETSIZE - 1}; use fewer connections or the model poll or epoll"
            )
        yield from self.pay()
        prices = self.system.prices
        self.system.syscalls["select"] += 1
        scan_ns = round(fds.highest() * prices.select_fd_ns)
        return (yield from self._scan(fds, prices.select_ns, scan_ns, lambda fd: fd))

    def poll(self, fds: FdSet) -> Call[list[int]]:
        assert isinstance(fds, WatchedSet)
        yield from self.pay()
        prices = self.system.prices
        self.system.syscalls["poll"] += 1
        scan_ns = round(len(fds) * prices.poll_fd_ns)
        return (yield from self._scan(fds, prices.poll_ns, scan_ns, fds.position))

    def _scan(
        self, fds: WatchedSet, base_ns: int, scan_ns: int, order: Callable[[int], int]
    ) -> Call[list[int]]:
        """Scan; with nothing found join every wait queue, sleep, and scan again."""
        yield from self.pay()
        system = self.system
        while not (ready := [fd for fd in system.readable if fd in fds]):
            self.debt_ns += scan_ns + round(len(fds) * system.prices.scan_sleep_fd_ns)
            yield from self.pay()
            if any(fd in fds for fd in system.readable):
                continue
            sleeper = Sleeper(self, fds)
            system.pollers.append(sleeper)
            yield from self.sleep_for_data()
            system.pollers.remove(sleeper)
        self.debt_ns += base_ns + scan_ns
        ready.sort(key=order)
        self.noticed(ready)
        return ready

    def noticed(self, ready: list[int]) -> None:
        """Note when the program learned that these are readable."""
        now_ns = self.env.now_ns + self.debt_ns
        files = self.system.files
        for fd in ready:
            files[fd].noticed_ns = now_ns

    def epoll_create(self) -> Call[int]:
        yield from self.pay()
        self.system.syscalls["epoll_create1"] += 1
        return self.system.open(EpollInstance()).fd

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["epoll_ctl"] += 1
        epoll, file = system.files[epfd], system.files[fd]
        if op != EPOLL_CTL_ADD:
            kept = tuple(w for w in file.watchers if getattr(w, "epoll", None) is not epoll)
            for watch in set(file.watchers) - set(kept):
                if watch.listed:
                    epoll.ready.remove(watch)
            system.memory.remove("epoll_items", len(file.watchers) - len(kept))
            file.watchers = kept
        if op != EPOLL_CTL_DEL:
            watch = Watch(epoll, file, events)
            system.memory.add("epoll_items")
            file.watchers = (*file.watchers, watch)
            if file.readable:
                watch.notify(file)
        self.debt_ns += system.prices.epoll_ctl_ns

    def epoll_wait(self, epfd: int, max_events: int) -> Call[list[int]]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["epoll_wait"] += 1
        epoll: EpollInstance = system.files[epfd]
        while not (ready := epoll.harvest(max_events)):
            # Woken in vain, the thread owes for the wake-up before it can sleep again.
            if self.debt_ns:
                yield from self.pay()
                continue
            epoll.waiting.append(self)
            yield from self.sleep_for_data()
        prices = system.prices
        self.debt_ns += round(prices.epoll_wait_ns + len(ready) * prices.epoll_event_ns)
        self.noticed(ready)
        return ready
