"""I/O multiplexing: one thread sleeps until any of many sockets is readable, then reads those."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from iosim.kernel import EAGAIN, EPOLL_CTL_ADD, EPOLLET, EPOLLIN, Call, FdSet, Kernel
from iosim.models.base import Model, answer


def serve_ready(kernel: Kernel, listener: int, watched: FdSet, ready: list[int]) -> Call[None]:
    """Accept or read once on each of the `ready` descriptors and keep `watched` up to date."""
    for fd in ready:
        if fd == listener:
            watched.add((yield from kernel.accept(listener)))
        elif (nbytes := (yield from kernel.recv(fd))) > 0:
            yield from answer(kernel, fd, nbytes)
        else:
            watched.discard(fd)
            yield from kernel.close(fd)


@dataclass(frozen=True)
class Select(Model):
    """select(2): copies bitmaps and scans every descriptor up to the highest, below FD_SETSIZE."""

    family = "multiplexing"
    phase_1 = "asleep in select"

    @property
    def name(self) -> str:
        return "select"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        watched = kernel.fd_set()
        watched.add(listener)
        while True:
            ready = yield from kernel.select(watched)
            yield from serve_ready(kernel, listener, watched, ready)


@dataclass(frozen=True)
class Poll(Model):
    """poll(2): scans every watched descriptor, without select's limit."""

    family = "multiplexing"
    phase_1 = "asleep in poll"

    @property
    def name(self) -> str:
        return "poll"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        watched = kernel.poll_set()
        watched.add(listener)
        while True:
            ready = yield from kernel.poll(watched)
            yield from serve_ready(kernel, listener, watched, ready)


@dataclass(frozen=True)
class Epoll(Model):
    """epoll(7): sockets put themselves on a ready list; idle ones cost nothing.

    Level-triggered, a socket stays on the list while it has data. Edge-triggered, it is reported
    once per arrival, so the program must read until EAGAIN.
    """

    family = "multiplexing"
    phase_1 = "asleep in epoll_wait"

    trigger: Literal["level", "edge"] = "level"
    max_events: int = 512

    @property
    def name(self) -> str:
        return "epoll" if self.trigger == "level" else "epoll-et"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        edge = self.trigger == "edge"
        events = EPOLLIN | EPOLLET if edge else EPOLLIN
        epfd = yield from kernel.epoll_create()
        yield from kernel.set_nonblocking(listener)
        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener)
        while True:
            for fd in (yield from kernel.epoll_wait(epfd, self.max_events)):
                if fd == listener:
                    while (new := (yield from kernel.accept(listener, nonblocking=True))) != EAGAIN:
                        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, new, events)
                    continue
                while (nbytes := (yield from kernel.recv(fd))) > 0:
                    yield from answer(kernel, fd, nbytes)
                    if not edge:
                        break
                if nbytes <= 0 and nbytes != EAGAIN:
                    yield from kernel.close(fd)
