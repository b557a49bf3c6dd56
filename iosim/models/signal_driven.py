"""Signal-driven I/O: the kernel signals that data is there; until then the program is free."""

from __future__ import annotations

from dataclasses import dataclass

from iosim.kernel import EAGAIN, SIGIO, SIGRTMIN, Call, Kernel
from iosim.models.base import Model, answer
from iosim.models.nonblocking import rescan
from iosim.models.stevens import free_until


@dataclass(frozen=True)
class Sigio(Model):
    """SIGIO for every socket: pending ones merge and name no socket, so each means a rescan."""

    family = "signal-driven"
    phase_1 = free_until("SIGIO")

    @property
    def name(self) -> str:
        return "sigio"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.sigblock([SIGIO])
        yield from kernel.set_nonblocking(listener)
        yield from kernel.set_async(listener, SIGIO)
        connections: list[int] = []
        while True:
            accepted = yield from rescan(kernel, connections, listener)
            for fd in accepted:
                yield from kernel.set_async(fd, SIGIO)
            # Data that came before O_ASYNC was set has sent no signal: look once more.
            if not accepted:
                yield from kernel.sigsuspend()


@dataclass(frozen=True)
class Rtsig(Model):
    """A queued real-time signal per event that names its socket; a full queue means a rescan."""

    family = "signal-driven"
    phase_1 = free_until("SIGRTMIN")

    @property
    def name(self) -> str:
        return "rtsig"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        signals = (SIGRTMIN, SIGIO)
        yield from kernel.sigblock(signals)
        yield from kernel.set_nonblocking(listener)
        yield from kernel.set_async(listener, SIGRTMIN)
        connections: dict[int, None] = {}

        def drain(fd: int) -> Call[None]:
            # One signal may be followed by more for data already read here: those find EAGAIN.
            while (nbytes := (yield from kernel.recv(fd))) > 0:
                yield from answer(kernel, fd, nbytes)
            if nbytes != EAGAIN:
                del connections[fd]
                yield from kernel.close(fd)

        def accept_all() -> Call[None]:
            while (new := (yield from kernel.accept(listener, nonblocking=True))) != EAGAIN:
                connections[new] = None
                yield from kernel.set_async(new, SIGRTMIN)
                # Data that came before O_ASYNC was set has sent no signal.
                yield from drain(new)

        yield from accept_all()
        while True:
            signal, fd = yield from kernel.sigwaitinfo(signals)
            if signal == SIGIO:
                yield from accept_all()
                for known in list(connections):
                    yield from drain(known)
            elif fd == listener:
                yield from accept_all()
            elif fd in connections:
                yield from drain(fd)
