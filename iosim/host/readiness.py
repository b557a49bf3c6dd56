"""The real select, poll and epoll."""

from __future__ import annotations

import select
from time import monotonic_ns

from iosim.errors import IosimError
from iosim.host.thread import Thread
from iosim.kernel import EPOLL_CTL_ADD, EPOLL_CTL_DEL, EPOLLIN, FD_SETSIZE, Call, FdSet


class SelectSet:
    """The descriptors of a select call."""

    def __init__(self) -> None:
        self.fds: dict[int, None] = {}

    def add(self, fd: int) -> None:
        if fd >= FD_SETSIZE:
            raise IosimError(
                f"select cannot watch descriptor {fd}: an fd_set holds 0 to {FD_SETSIZE - 1}; "
                "use fewer connections or the model poll or epoll"
            )
        self.fds[fd] = None

    def discard(self, fd: int) -> None:
        self.fds.pop(fd, None)

    def __len__(self) -> int:
        return len(self.fds)


class PollSet:
    """The descriptors of a poll call."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self._fds: set[int] = set()

    def add(self, fd: int) -> None:
        self.poll.register(fd, select.POLLIN)
        self._fds.add(fd)

    def discard(self, fd: int) -> None:
        if fd in self._fds:
            self._fds.remove(fd)
            self.poll.unregister(fd)

    def __len__(self) -> int:
        return len(self._fds)


class ReadinessCalls(Thread):
    """select, poll and the epoll family."""

    def fd_set(self) -> FdSet:
        return SelectSet()

    def poll_set(self) -> FdSet:
        return PollSet()

    def select(self, fds: FdSet) -> Call[list[int]]:
        assert isinstance(fds, SelectSet)
        self.syscalls["select"] += 1
        self.readiness_since_ns = began_ns = monotonic_ns()
        ready, _, _ = select.select(fds.fds, (), ())
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready.sort()
        self.noticed(ready)
        return ready
        yield

    def poll(self, fds: FdSet) -> Call[list[int]]:
        assert isinstance(fds, PollSet)
        self.syscalls["poll"] += 1
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = fds.poll.poll()
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events]
        self.noticed(ready)
        return ready
        yield

    def epoll_create(self) -> Call[int]:
        self.syscalls["epoll_create1"] += 1
        epoll = select.epoll()
        self.server.files[epoll.fileno()] = epoll
        return epoll.fileno()
        yield

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        self.syscalls["epoll_ctl"] += 1
        epoll = self.server.files[epfd]
        if op == EPOLL_CTL_ADD:
            epoll.register(fd, events)
        elif op == EPOLL_CTL_DEL:
            epoll.unregister(fd)
        else:
            epoll.modify(fd, events)
        return
        yield

    def epoll_wait(self, epfd: int, max_events: int) -> Call[list[int]]:
        self.syscalls["epoll_wait"] += 1
        epoll = self.server.files[epfd]
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = epoll.poll(-1, max_events)
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events]
        self.noticed(ready)
        return ready
        yield
