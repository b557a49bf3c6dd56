"""I/O multiplexing: one thread sleeps until any of many sockets is readable, then reads those."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from iosim.kernel import (
    EAGAIN,
    EPOLL_CTL_ADD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    Call,
    FdSet,
    Kernel,
)
from iosim.models.base import Model, answer, bounded, thread_count
from iosim.models.stevens import asleep_in


def serve_ready(kernel: Kernel, listener: int, watched: FdSet, ready: list[int]) -> Call[None]:
    """Accept or read once on each of the `ready` descriptors and keep `watched` up to date."""
    for fd in ready:
        if fd == listener:
            # Of several workers that were told of a connection, one gets it.
            if (new := (yield from kernel.accept(listener))) != EAGAIN:
                watched.add(new)
        elif (nbytes := (yield from kernel.recv(fd))) > 0:
            yield from answer(kernel, fd, nbytes)
        else:
            watched.discard(fd)
            yield from kernel.close(fd)


def start(
    kernel: Kernel, listener: int, workers: int, worker: Callable[..., Call[None]]
) -> Call[None]:
    """Run `worker(kernel, listener)` in this and `workers - 1` more threads."""
    if workers > 1:
        yield from kernel.set_nonblocking(listener)
    for _ in range(workers - 1):
        yield from kernel.spawn(worker, listener)
    yield from worker(kernel, listener)


@dataclass(frozen=True)
class Select(Model):
    """select(2): copies bitmaps and scans every descriptor up to the highest, below FD_SETSIZE.

    All `workers` watch the listening socket: a connection wakes every one that sleeps.
    """

    family = "multiplexing"
    phase_1 = asleep_in("select")

    workers: int = thread_count(1)

    @property
    def name(self) -> str:
        return "select"

    def threads_made(self, connections: int, requests: int) -> int:
        return self.workers

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from start(kernel, listener, self.workers, self.worker)

    def worker(self, kernel: Kernel, listener: int) -> Call[None]:
        """One thread, with a set of its own."""
        watched = kernel.fd_set()
        watched.add(listener)
        while True:
            ready = yield from kernel.select(watched)
            yield from serve_ready(kernel, listener, watched, ready)


@dataclass(frozen=True)
class Poll(Model):
    """poll(2): scans every watched descriptor, without select's limit.

    All `workers` watch the listening socket: a connection wakes every one that sleeps.
    """

    family = "multiplexing"
    phase_1 = asleep_in("poll")

    workers: int = thread_count(1)

    @property
    def name(self) -> str:
        return "poll"

    def threads_made(self, connections: int, requests: int) -> int:
        return self.workers

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from start(kernel, listener, self.workers, self.worker)

    def worker(self, kernel: Kernel, listener: int) -> Call[None]:
        """One thread, with a set of its own."""
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

    Each of the `workers` is a thread with an epoll instance of its own. They come by connections
    through one listening socket that all of them are told of ("shared"), through one that tells a
    single worker that waits ("exclusive", EPOLLEXCLUSIVE), or through a listening socket each
    ("reuseport", SO_REUSEPORT).
    """

    family = "multiplexing"
    phase_1 = asleep_in("epoll_wait")

    trigger: Literal["level", "edge"] = "level"
    max_events: int = bounded(512, (2**31 - 1) // 12, "epoll_wait takes no more: EP_MAX_EVENTS")
    workers: int = thread_count(1)
    listener: Literal["shared", "exclusive", "reuseport"] = "shared"

    @property
    def name(self) -> str:
        return "epoll" if self.trigger == "level" else "epoll-et"

    def threads_made(self, connections: int, requests: int) -> int:
        return self.workers

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        for _ in range(self.workers - 1):
            own = listener
            if self.listener == "reuseport":
                own = yield from kernel.reuseport(listener)
            yield from kernel.spawn(self.worker, own)
        yield from self.worker(kernel, listener)

    def worker(self, kernel: Kernel, listener: int) -> Call[None]:
        """One thread, with an epoll instance of its own."""
        edge = self.trigger == "edge"
        events = EPOLLIN | EPOLLET if edge else EPOLLIN
        accepting = EPOLLIN | EPOLLEXCLUSIVE if self.listener == "exclusive" else EPOLLIN
        epfd = yield from kernel.epoll_create()
        yield from kernel.set_nonblocking(listener)
        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener, accepting)
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
