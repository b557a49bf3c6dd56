"""Blocking I/O: the thread sleeps in recv until data is there, and is blocked in the copy too."""

from __future__ import annotations

from dataclasses import dataclass

from iosim.kernel import Call, Kernel
from iosim.models.base import Model, answer, thread_count
from iosim.models.stevens import asleep_in


def serve(kernel: Kernel, fd: int) -> Call[None]:
    """Serve one connection until its peer hangs up or resets it."""
    while (nbytes := (yield from kernel.recv(fd))) > 0:
        yield from answer(kernel, fd, nbytes)
    yield from kernel.close(fd)


def serve_one_after_the_other(kernel: Kernel, listener: int) -> Call[None]:
    """Accept a connection, serve it to its end, accept the next."""
    while True:
        fd = yield from kernel.accept(listener)
        yield from serve(kernel, fd)


@dataclass(frozen=True)
class Blocking(Model):
    """A thread per connection."""

    family = "blocking"
    phase_1 = asleep_in("recv")

    @property
    def name(self) -> str:
        return "blocking"

    def threads_made(self, connections: int, requests: int) -> int:
        return 1 + connections

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        while True:
            fd = yield from kernel.accept(listener)
            yield from kernel.spawn(serve, fd)


@dataclass(frozen=True)
class BlockingPool(Model):
    """A fixed pool of threads, each serving one connection to its end (a prethreaded server).

    A connection beyond the pool's size waits until another one has hung up. The default size is
    that of Apache Tomcat's connector (maxThreads).
    """

    family = "blocking"
    phase_1 = asleep_in("recv")

    threads: int = thread_count(200)

    @property
    def name(self) -> str:
        return "blocking-pool"

    def threads_made(self, connections: int, requests: int) -> int:
        return self.threads

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        for _ in range(self.threads - 1):
            yield from kernel.spawn(serve_one_after_the_other, listener)
        yield from serve_one_after_the_other(kernel, listener)


@dataclass(frozen=True)
class BlockingSerial(Model):
    """One thread, one connection after the other (an iterative server)."""

    family = "blocking"
    phase_1 = asleep_in("recv")

    @property
    def name(self) -> str:
        return "blocking-serial"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        return serve_one_after_the_other(kernel, listener)
