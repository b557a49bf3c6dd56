"""The real select, poll and epoll."""

from __future__ import annotations

import errno
import select
from time import monotonic_ns
from typing import Any

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
from iosim.host.thread import Server, Thread
from iosim.kernel import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLLIN, Call, FdSet

_MOST_UNITS = (1 << 31) - 1
"""Of a timeout, in poll(2) and epoll_wait(2): 24 days."""


class SelectSet:
    """The descriptors of a select call."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.fds: dict[int, None] = {}
        self._suspects: set[int] = set()
        """Those that the program did not have when it added them."""

    def add(self, fd: int) -> None:
        fd = selectable(fd)
        if not self._server.is_open(fd):
            self._suspects.add(fd)
        self.fds[fd] = None

    def must_be_open(self) -> None:
        """Raises OSError (EBADF) for what select(2) would not take."""
        for fd in self._suspects & self.fds.keys():
            self._server.must_be_open(fd)

    def discard(self, fd: int) -> None:
        self.fds.pop(fd, None)

    def __len__(self) -> int:
        return len(self.fds)


class PollSet:
    """The descriptors of a poll call."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.poll = select.poll()
        self._fds: set[int] = set()
        self._suspects: dict[int, None] = {}
        """Those that the program did not have when it added them."""

    def add(self, fd: int) -> None:
        fd = whole("fd", fd, 0)
        self._fds.add(fd)
        if self._server.is_open(fd):
            self.poll.register(fd, select.POLLIN)
        else:
            self._suspects[fd] = None

    def not_open(self) -> list[int]:
        """Those that the program still does not have; the others are watched from now on."""
        for fd in filter(self._server.is_open, tuple(self._suspects)):
            del self._suspects[fd]
            self.poll.register(fd, select.POLLIN)
        return list(self._suspects)

    def discard(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.remove(fd)
            if fd in self._suspects:
                del self._suspects[fd]
            else:
                self.poll.unregister(fd)

    def __len__(self) -> int:
        return len(self._fds)


def _units(timeout_ns: int | None, unit_ns: int) -> int | None:
    """A timeout in whole units; a negative one is for ever."""
    if timeout_ns is None or (timeout_ns := whole("timeout_ns", timeout_ns)) < 0:
        return None
    return min(-(-timeout_ns // unit_ns), _MOST_UNITS)


def _seconds(timeout_ns: int | None, unit_ns: int) -> float | None:
    """A timeout that Python, which rounds up too, turns into the next whole number of units."""
    units = None if timeout_ns is None else _units(timeout_ns, unit_ns)
    return (units - 0.5) * unit_ns / 1e9 if units else units


class ReadinessCalls(Thread):
    """select, poll and the epoll family."""

    def fd_set(self) -> FdSet:
        return SelectSet(self.server)

    def poll_set(self) -> FdSet:
        return PollSet(self.server)

    def select(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        if not isinstance(fds, SelectSet):
            raise wrong("fds", fds, "a set that kernel.fd_set() gives")
        if timeout_ns is not None:
            size("timeout_ns", timeout_ns)
        self.syscalls["select"] += 1
        fds.must_be_open()
        self.readiness_since_ns = began_ns = monotonic_ns()
        ready, _, _ = select.select(fds.fds, (), (), _seconds(timeout_ns, 1_000))
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready.sort()
        self.noticed(ready)
        return ready
        yield

    def poll(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        if not isinstance(fds, PollSet):
            raise wrong("fds", fds, "a set that kernel.poll_set() gives")
        not_open = fds.not_open()
        # Those are reported at once: POLLNVAL of poll(2).
        timeout_ms = _units(0 if not_open else timeout_ns, 1_000_000)
        self.syscalls["poll"] += 1
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = fds.poll.poll(timeout_ms)
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events] + not_open
        self.noticed(ready)
        return ready
        yield

    def _epoll(self, epfd: int) -> Any:
        """The epoll instance of that descriptor; raises OSError as its system calls would."""
        found = self.server.files.get(epfd)
        if not isinstance(found, select.epoll):
            self.server.must_be_open(epfd)
            raise error(errno.EINVAL, "not an epoll instance")
        return found

    def epoll_create(self) -> Call[int]:
        self.syscalls["epoll_create1"] += 1
        epoll = select.epoll()
        self.server.files[epoll.fileno()] = epoll
        return epoll.fileno()
        yield

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        self.syscalls["epoll_ctl"] += 1
        if op != EPOLL_CTL_DEL and events != EPOLLIN:
            events = epoll_events(events)
        self.server.must_be_open(fd)
        epoll = self._epoll(epfd)
        if op == EPOLL_CTL_ADD:
            epoll.register(fd, events)
        elif op == EPOLL_CTL_DEL:
            epoll.unregister(fd)
        elif whole("op", op) == EPOLL_CTL_MOD:
            epoll.modify(fd, events)
        else:
            raise error(errno.EINVAL, f"op = {op}")
        return
        yield

    def epoll_wait(
        self, epfd: int, max_events: int, timeout_ns: int | None = None
    ) -> Call[list[int]]:
        self.syscalls["epoll_wait"] += 1
        if max_events.__class__ is not int or not 0 < max_events <= MOST_EVENTS:
            max_events = event_count(max_events)
        epoll = self._epoll(epfd)
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = epoll.poll(_seconds(timeout_ns, 1_000_000), max_events)
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events]
        self.noticed(ready)
        return ready
        yield
