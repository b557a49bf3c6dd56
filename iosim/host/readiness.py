"""The real select, poll and epoll."""

from __future__ import annotations

import errno
import os
import select
from time import monotonic_ns
from typing import Any

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


def _seconds(timeout_ns: int | None, unit_ns: int) -> float | None:
    """A timeout that Python, which rounds up too, turns into the next whole number of units."""
    if not timeout_ns:
        return timeout_ns
    units = -(-timeout_ns // unit_ns)
    return (units - 0.5) * unit_ns / 1e9


class ReadinessCalls(Thread):
    """select, poll and the epoll family."""

    def fd_set(self) -> FdSet:
        return SelectSet()

    def poll_set(self) -> FdSet:
        return PollSet()

    def select(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        assert isinstance(fds, SelectSet)
        self.syscalls["select"] += 1
        self.readiness_since_ns = began_ns = monotonic_ns()
        ready, _, _ = select.select(fds.fds, (), (), _seconds(timeout_ns, 1_000))
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready.sort()
        self.noticed(ready)
        return ready
        yield

    def poll(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        assert isinstance(fds, PollSet)
        self.syscalls["poll"] += 1
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = fds.poll.poll(None if timeout_ns is None else -(-timeout_ns // 1_000_000))
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events]
        self.noticed(ready)
        return ready
        yield

    def _epoll(self, epfd: int) -> Any:
        """The epoll instance of that descriptor; raises OSError as its system calls would."""
        found = self.server.files.get(epfd)
        if not isinstance(found, select.epoll):
            os.fstat(epfd)  # raises EBADF for one that is not open
            raise OSError(errno.EINVAL, "not an epoll instance")
        return found

    def epoll_create(self) -> Call[int]:
        self.syscalls["epoll_create1"] += 1
        epoll = select.epoll()
        self.server.files[epoll.fileno()] = epoll
        return epoll.fileno()
        yield

    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        self.syscalls["epoll_ctl"] += 1
        epoll = self._epoll(epfd)
        if op == EPOLL_CTL_ADD:
            epoll.register(fd, events)
        elif op == EPOLL_CTL_DEL:
            epoll.unregister(fd)
        else:
            epoll.modify(fd, events)
        return
        yield

    def epoll_wait(
        self, epfd: int, max_events: int, timeout_ns: int | None = None
    ) -> Call[list[int]]:
        self.syscalls["epoll_wait"] += 1
        epoll = self._epoll(epfd)
        self.readiness_since_ns = began_ns = monotonic_ns()
        events = epoll.poll(_seconds(timeout_ns, 1_000_000), max_events)
        self.in_readiness_ns += monotonic_ns() - began_ns
        self.readiness_since_ns = 0
        ready = [fd for fd, _ in events]
        self.noticed(ready)
        return ready
        yield
