"""select, poll and epoll: who is ready, and what it costs to find out."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import chain

from iosim.arguments import (
    MOST_EVENTS,
    epoll_events,
    error,
    event_count,
    selectable,
    size,
    whole,
    wrong,
)
from iosim.kernel import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    EPOLLONESHOT,
    Call,
    FdSet,
)
from iosim.sim.system import File, System, Watcher
from iosim.sim.thread import Deadline, Thread

EPOLL_LEVELS = 5
"""How many instances may watch one another: EP_MAX_NESTS of Linux, which counts the steps, is 4."""

_USUAL_EVENTS = frozenset((EPOLLIN, EPOLLIN | EPOLLET, EPOLLIN | EPOLLEXCLUSIVE))

MICROSECOND_NS = 1_000
MILLISECOND_NS = 1_000_000
"""What timeouts are rounded up to: the units of select(2), and of poll(2) and epoll_wait(2)."""


class WatchedSet:
    """The descriptors of a select or poll call, by descriptor, in the order they were added."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._memory = system.memory
        self._order: dict[int, int] = {}
        self._added = 0
        self._closings = len(system.closed)
        """How many had been closed when the set was last looked through for them."""
        self.suspects: dict[int, None] = {}
        """Those that have been closed, or were not open when they were added."""
        self.highest = -1
        """The highest descriptor."""

    def add(self, fd: int) -> None:
        fd = self.checked(fd)
        if fd not in self._order:
            self._memory.add("poll_entries")
        if not self._system.is_open(fd):
            self.suspects[fd] = None
        self._order.setdefault(fd, self._added)
        self._added += 1
        self.highest = max(self.highest, fd)

    def discard(self, fd: int) -> None:
        if self._order.pop(fd, None) is not None:
            self._memory.remove("poll_entries")
        self.suspects.pop(fd, None)
        if fd == self.highest:
            self.highest = max(self._order, default=-1)

    def __contains__(self, fd: int) -> bool:
        return fd in self._order

    def __len__(self) -> int:
        return len(self._order)

    @staticmethod
    def checked(fd: int) -> int:
        """A descriptor that may be added."""
        return whole("fd", fd, 0)

    def not_open(self) -> list[int]:
        """Those that name no open file."""
        closed = self._system.closed
        if self._closings < len(closed):
            for fd in closed[self._closings :]:
                if fd in self._order:
                    self.suspects[fd] = None
            self._closings = len(closed)
        if not self.suspects:
            return []
        return [fd for fd in self.suspects if not self._system.is_open(fd)]

    def by_number(self, fd: int) -> int:
        """How many come before a descriptor in the order of numbers, if there are no gaps."""
        return len(self._order) - 1 - (self.highest - fd)

    def by_adding(self, fd: int) -> float:
        """How many come before a descriptor in the order of adding, if none has been discarded;
        those that have been are counted as if they were evenly spread."""
        first = next(iter(self._order.values()))
        return (self._order[fd] - first) * len(self._order) / (self._added - first)


class SelectSet(WatchedSet):
    """The descriptors of a select call."""

    checked = staticmethod(selectable)


class PollSet(WatchedSet):
    """The descriptors of a poll call."""


def unlisted(system: System) -> Iterator[File]:
    """The open files whose news `System.readable` leaves out: epoll instances and signalfds."""
    return chain(system.epolls, system.signals.files)


class Sleeper:
    """A thread asleep in select or poll."""

    def __init__(self, thread: Thread, watched: WatchedSet) -> None:
        self._thread = thread
        self._watched = watched

    def join(self) -> None:
        """Be told of news."""
        system = self._thread.system
        system.pollers.append(self)
        for file in unlisted(system):
            if file.fd in self._watched:
                file.watchers = (self, *file.watchers)

    def leave(self) -> None:
        system = self._thread.system
        system.pollers.remove(self)
        for file in unlisted(system):
            file.watchers = tuple(w for w in file.watchers if w is not self)

    def notify(self, file: File) -> bool:
        if file.fd not in self._watched:
            return False
        return self._thread.cpu.wake(self._thread)


class Interest:
    """What an epoll instance wants of all descriptors that were added to it with the same events.

    They share it, so that an idle descriptor takes no memory here. The instance keeps what concerns
    a single one: that it is ready, or has to be silent.
    """

    __slots__ = ("alone", "edge", "epoll", "exclusive", "oneshot")

    def __init__(self, epoll: EpollInstance, events: int) -> None:
        self.epoll = epoll
        self.exclusive = bool(events & EPOLLEXCLUSIVE)
        self.edge = bool(events & EPOLLET)
        self.oneshot = bool(events & EPOLLONESHOT)
        self.alone: tuple[Watcher, ...] = (self,)
        """The watchers of every descriptor that has no others."""

    def arm(self, file: File) -> None:
        """Begin to watch; what is there already is news (epoll_ctl(2), ADD and MOD)."""
        epoll = self.epoll
        epoll.silent.discard(file)
        if file in epoll.ready:
            epoll.ready[file] = self
        elif file.readable():
            self.notify(file)

    def notify(self, file: File) -> bool:
        epoll = self.epoll
        if file in epoll.silent:
            return False
        epoll.ready.setdefault(file, self)
        woke = bool(epoll.waiting) and epoll.wake_one()
        # Also what is on the list already is news to those that watch the instance.
        for watcher in epoll.watchers:
            woke = watcher.notify(epoll) or woke
        return woke


class ExclusiveInterests:
    """The interests in one descriptor that have EPOLLEXCLUSIVE, oldest first.

    News goes round them until it meets an instance that somebody waits for. Linux asks them in the
    order of adding each time, so the first one that waits gets everything.
    """

    def __init__(self) -> None:
        self.interests: list[Interest] = []

    def notify(self, file: File) -> bool:
        woke = False
        for interest in self.interests:
            waited_for = bool(interest.epoll.waiting)
            woke = interest.notify(file) or woke
            if waited_for:
                break
        return woke


def interests_in(file: File) -> Iterator[Interest]:
    """Of every epoll instance that watches a descriptor."""
    for watcher in file.watchers:
        if isinstance(watcher, Interest):
            yield watcher
        elif isinstance(watcher, ExclusiveInterests):
            yield from watcher.interests


def attach(interest: Interest, file: File) -> None:
    """Have an epoll instance told of a descriptor's news.

    In the order of Linux's wait queues: the newest comes first, exclusive ones after all others
    and oldest first.
    """
    if not interest.exclusive:
        file.watchers = (interest, *file.watchers) if file.watchers else interest.alone
        return
    group = next((w for w in file.watchers if isinstance(w, ExclusiveInterests)), None)
    if group is None:
        group = ExclusiveInterests()
        file.watchers = (*file.watchers, group)
    group.interests.append(interest)


def detach(interest: Interest, file: File) -> None:
    """Take a descriptor off the interest list and the ready list."""
    interest.epoll.ready.pop(file, None)
    interest.epoll.silent.discard(file)
    file.watchers = tuple(w for w in file.watchers if w is not interest)
    for watcher in file.watchers:
        if isinstance(watcher, ExclusiveInterests) and interest in watcher.interests:
            watcher.interests.remove(interest)


class EpollInstance(File):
    """An epoll instance: the ready list and who waits for it.

    It is a descriptor that can be watched itself, and is readable when it has something to report.
    """

    __slots__ = ("_interests", "ready", "silent", "waiting")

    def __init__(self) -> None:
        super().__init__()
        self.ready: OrderedDict[File, Interest] = OrderedDict()
        """The ready list, and why each is on it."""
        self.silent: set[File] = set()
        """One-shot ones that have been reported."""
        self.waiting: list[Thread] = []
        self._interests: dict[int, Interest] = {}

    def readable(self) -> bool:
        # What is found unreadable on the way leaves the list (__ep_eventpoll_poll of Linux).
        ready = self.ready
        while ready and not next(iter(ready)).readable():
            ready.popitem(last=False)
        return bool(ready)

    def interest(self, events: int) -> Interest:
        """The one in these events."""
        if events not in self._interests:
            self._interests[events] = Interest(self, events)
        return self._interests[events]

    def wake_one(self) -> bool:
        """Threads in epoll_wait are woken one at a time, the last to come first.

        They wait exclusively, at the head of the queue (__add_wait_queue_exclusive of Linux).
        """
        thread = self.waiting.pop()
        return thread.cpu.wake(thread)

    def harvest(self, thread: Thread, max_events: int) -> list[int]:
        """Take at most `max_events` from the ready list; level-triggered ones rejoin its tail.

        A level-triggered descriptor stays on the list until a look finds it unreadable; an
        edge-triggered one leaves it when reported, and a one-shot one is silent from then on until
        EPOLL_CTL_MOD arms it again (epoll(7), epoll_ctl(2)).
        """
        thread.system.current = thread
        found: list[int] = []
        ready, looks = self.ready, len(self.ready)
        while looks and len(found) < max_events:
            looks -= 1
            file, interest = ready.popitem(False)
            if file.readable():
                found.append(file.fd)
                if interest.oneshot:
                    self.silent.add(file)
                elif not interest.edge:
                    ready[file] = interest
        return found

    def closed(self, system: System) -> None:
        """Its interest list is no more."""
        system.epolls.remove(self)
        for file in filter(None, system.files):
            for interest in [found for found in interests_in(file) if found.epoll is self]:
                detach(interest, file)
                system.memory.remove("epoll_items")


def too_deep(epoll: EpollInstance, levels: int = EPOLL_LEVELS) -> bool:
    """Whether more instances than `levels` watch one another, this one being the innermost.

    A circle has no end, so that it is too deep as well.
    """
    return not levels or any(
        too_deep(interest.epoll, levels - 1) for interest in interests_in(epoll)
    )


class ReadinessCalls(Thread):
    """select, poll and the epoll family."""

    __slots__ = ()

    def fd_set(self) -> FdSet:
        return SelectSet(self.system)

    def poll_set(self) -> FdSet:
        return PollSet(self.system)

    def select(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        if not isinstance(fds, SelectSet):
            raise wrong("fds", fds, "a set that kernel.fd_set() gives")
        yield from self.pay()
        deadline = None
        if timeout_ns is not None:
            deadline = Deadline(self, size("timeout_ns", timeout_ns), MICROSECOND_NS)
        prices = self.system.prices
        self.system.syscalls["select"] += 1
        if not_open := fds.not_open():
            raise error(errno.EBADF, not_open[0])
        # Of the numbers that are not watched only the bit is looked at.
        scan_ns = (
            len(fds) * prices.select_fd_ns
            + fds.highest * prices.select_number_ns
            + prices.scan_miss_ns(len(fds))
        )
        return (yield from self._scan(fds, prices.select_ns, scan_ns, fds.by_number, deadline))

    def poll(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        if not isinstance(fds, PollSet):
            raise wrong("fds", fds, "a set that kernel.poll_set() gives")
        yield from self.pay()
        deadline = None if timeout_ns is None else self._deadline(timeout_ns)
        prices = self.system.prices
        self.system.syscalls["poll"] += 1
        scan_ns = len(fds) * prices.poll_fd_ns + prices.scan_miss_ns(len(fds))
        return (yield from self._scan(fds, prices.poll_ns, scan_ns, fds.by_adding, deadline))

    def _deadline(self, timeout_ns: int) -> Deadline | None:
        """When poll or epoll_wait gives up; a negative timeout is never."""
        if (timeout_ns := whole("timeout_ns", timeout_ns)) < 0:
            return None
        return Deadline(self, timeout_ns, MILLISECOND_NS)

    def _scan(
        self,
        fds: WatchedSet,
        base_ns: int,
        scan_ns: float,
        position: Callable[[int], float],
        deadline: Deadline | None,
    ) -> Call[list[int]]:
        """Scan, and join the wait queues of all descriptors before the first that is ready; with
        none found sleep, and scan again without joining; leave the queues at the end (do_poll and
        poll_freewait in the kernel's fs/select.c)."""
        prices = self.system.prices
        may_sleep = deadline is None or not deadline.passed
        joined: float = 0
        while not (ready := self._readable(fds)):
            if deadline is not None and deadline.passed:
                break
            self.debt_ns += round(scan_ns + (len(fds) - joined) * prices.scan_join_fd_ns)
            joined = len(fds)
            yield from self.pay()
            if self._readable(fds):
                continue
            if deadline is not None:
                deadline.set()
            sleeper = Sleeper(self, fds)
            sleeper.join()
            yield from self.sleep_for_data()
            sleeper.leave()
        if deadline is not None:
            deadline.over = True
        ready.sort(key=position)
        if may_sleep and ready and not joined:
            joined = max(0, position(ready[0]))
            self.debt_ns += round(joined * prices.scan_join_fd_ns)
        self.charge(base_ns + round(scan_ns + joined * prices.scan_leave_fd_ns))
        try:
            self.noticed(ready)
        except IndexError:  # of a number that no file has had
            self.noticed(list(filter(self.system.is_open, ready)))
        return ready

    def _readable(self, fds: WatchedSet) -> list[int]:
        """Those that have something to read."""
        system = self.system
        system.current = self
        others = [file.fd for file in unlisted(system) if file.fd in fds and file.readable()]
        ready = [fd for fd in system.readable if fd in fds] + others
        if system.closed or fds.suspects:
            # What is not open is reported at once: POLLNVAL of poll(2).
            ready += fds.not_open()
        return ready

    def epoll_create(self) -> Call[int]:
        yield from self.pay()
        self.system.syscalls["epoll_create1"] += 1
        epoll = self.system.open(EpollInstance())
        self.system.epolls.append(epoll)
        return epoll.fd

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["epoll_ctl"] += 1
        self.charge(system.prices.epoll_ctl_ns)
        if op != EPOLL_CTL_DEL and events not in _USUAL_EVENTS:
            events = epoll_events(events)
        file, epoll = system.file(fd), self._epoll(epfd)
        system.current = self
        if file is epoll:
            raise error(errno.EINVAL)
        exclusive = events & EPOLLEXCLUSIVE and op != EPOLL_CTL_DEL
        if exclusive and (
            op == EPOLL_CTL_MOD or events & EPOLLONESHOT or isinstance(file, EpollInstance)
        ):
            raise error(errno.EINVAL)
        old = None
        if file.watchers:
            old = next((found for found in interests_in(file) if found.epoll is epoll), None)
        if op == EPOLL_CTL_ADD:
            if old is not None:
                raise error(errno.EEXIST)
            interest = epoll.interest(events)
            attach(interest, file)
            if isinstance(file, EpollInstance) and any(map(too_deep, system.epolls)):
                detach(interest, file)
                raise error(errno.ELOOP)
            interest.arm(file)
            system.memory.add("epoll_items")
        elif whole("op", op) not in (EPOLL_CTL_DEL, EPOLL_CTL_MOD):
            raise error(errno.EINVAL, f"op = {op}")
        elif old is None:
            raise error(errno.ENOENT)
        elif op == EPOLL_CTL_DEL:
            detach(old, file)
            system.memory.remove("epoll_items")
        elif old.exclusive:
            raise error(errno.EINVAL)
        else:
            new = epoll.interest(events)
            file.watchers = tuple(new if watcher is old else watcher for watcher in file.watchers)
            new.arm(file)

    def _epoll(self, epfd: int) -> EpollInstance:
        """The epoll instance of that descriptor; raises OSError as epoll_ctl(2) says."""
        file = self.system.file(epfd)
        if not isinstance(file, EpollInstance):
            raise error(errno.EINVAL)
        return file

    def epoll_wait(
        self, epfd: int, max_events: int, timeout_ns: int | None = None
    ) -> Call[list[int]]:
        if self.debt_ns:
            yield from self.pay()
        deadline = None if timeout_ns is None else self._deadline(timeout_ns)
        system = self.system
        system.syscalls["epoll_wait"] += 1
        epoll: EpollInstance
        try:
            epoll = (epfd >= 0 and system.files[epfd]) or self._epoll(epfd)
        except (IndexError, TypeError):
            epoll = self._epoll(epfd)
        while not (ready := epoll.harvest(self, max_events)):
            # With no event at most it comes here for sure.
            if type(max_events) is not int or not 0 < max_events <= MOST_EVENTS:
                max_events = event_count(max_events)
            # Woken in vain, the thread owes for the wake-up before it can sleep again.
            if self.debt_ns:
                yield from self.pay()
            elif deadline is None:
                epoll.waiting.append(self)
                yield from self.sleep_for_data()
            elif deadline.passed:
                break
            else:
                deadline.set()
                epoll.waiting.append(self)
                yield from self.sleep_for_data()
                if self in epoll.waiting:
                    epoll.waiting.remove(self)
        if deadline is not None:
            deadline.over = True
        if epoll.waiting and epoll.ready:
            # What is left is for another thread that waits: also what has just been reported, if
            # it is level-triggered (ep_done_scan of Linux).
            epoll.wake_one()
        prices = system.prices
        self.debt_ns += round(prices.epoll_wait_ns + len(ready) * prices.epoll_event_ns)
        self.debt_user_ns += self.user_share_ns
        self.noticed(ready)
        return ready
