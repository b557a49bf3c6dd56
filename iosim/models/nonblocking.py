"""Nonblocking I/O: one thread asks every socket in turn; EAGAIN means "not yet"."""

from __future__ import annotations

from dataclasses import dataclass

from iosim.kernel import EAGAIN, READ_BYTES, Call, Kernel
from iosim.models.base import Model, answer
from iosim.models.stevens import asks_with, pauses_in


def take(kernel: Kernel, connections: list[int], position: int, result: int) -> Call[int]:
    """Act on the news `try_each` found; returns the position to try next."""
    if position == len(connections):
        connections.append(result)
        return position
    fd = connections[position]
    if result > 0:
        yield from answer(kernel, fd, result)
        # A full buffer may have left data behind, which no signal will report again.
        return position if result == READ_BYTES else position + 1
    yield from kernel.close(fd)
    del connections[position]
    return position


def rescan(kernel: Kernel, connections: list[int], listener: int) -> Call[list[int]]:
    """Try every descriptor once and act on all news; returns the connections just accepted."""
    position = 0
    accepted: list[int] = []
    while True:
        position, result = yield from kernel.try_each(connections, listener, position)
        if result == EAGAIN:
            return accepted
        if position == len(connections):
            accepted.append(result)
        position = yield from take(kernel, connections, position, result)


@dataclass(frozen=True)
class Nonblocking(Model):
    """Spin over all sockets."""

    family = "nonblocking"
    phase_1 = asks_with("recv")

    @property
    def name(self) -> str:
        return "nonblocking"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.set_nonblocking(listener)
        connections: list[int] = []
        position = 0
        while True:
            position, result = yield from kernel.try_each(
                connections, listener, position, spin=True
            )
            position = yield from take(kernel, connections, position, result)


@dataclass(frozen=True)
class NonblockingSleep(Model):
    """Try all sockets once, sleep an interval, try again."""

    family = "nonblocking"
    phase_1 = pauses_in("nanosleep")

    interval_ns: int = 100_000

    @property
    def name(self) -> str:
        return "nonblocking-sleep"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.set_nonblocking(listener)
        connections: list[int] = []
        while True:
            yield from rescan(kernel, connections, listener)
            yield from kernel.nanosleep(self.interval_ns)
