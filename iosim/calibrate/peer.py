"""The other end of the micro-benchmarks: sends on command, and looks for answers without end.

So does the load generator of a real run, and it matters to the server: beside a core that is busy
with the other ends of the same sockets a send took 6.0 us instead of 4.4, and an empty try 2.5 us
instead of 2.0.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

from iosim.calibrate.bench import Exchange, turns
from iosim.host.child import attach
from iosim.host.load import Load, connected, send_whole
from iosim.host.pulse import pulse_ns

PATIENCE_S = 10.0
"""How long it waits for an answer."""
_MOST_BYTES = 1 << 18


class Clients:
    """The other ends of the connections; what the server sends is read as soon as it comes."""

    def __init__(self, epoll: select.epoll) -> None:
        self.sockets: list[socket.socket] = []
        self._epoll = epoll
        self._by_fd: dict[int, socket.socket] = {}
        self._received: dict[int, int] = {}
        """Bytes that have come and not been asked for, by descriptor."""

    def add(self, sockets: Sequence[socket.socket]) -> None:
        for sock in sockets:
            self.sockets.append(sock)
            self._received[sock.fileno()] = 0
            self.watch(sock)

    def watch(self, sock: socket.socket) -> None:
        """Read what comes."""
        self._by_fd[sock.fileno()] = sock
        self._epoll.register(sock, select.EPOLLIN)

    def unwatch(self, sock: socket.socket) -> None:
        """Leave what comes to others."""
        if self._by_fd.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    def look(self) -> bool:
        """Read what is there; True if something else is there too."""
        others = False
        for fd, _ in self._epoll.poll(0):
            if (sock := self._by_fd.get(fd)) is None:
                others = True
            elif data := _received(sock):
                self._received[fd] += len(data)
            else:
                self.unwatch(sock)
        return others

    def drain(self, count: int, nbytes: int) -> None:
        """Wait until so much has come on the first connections, and forget it."""
        for sock in self.sockets[:count]:
            while self._received[sock.fileno()] < nbytes:
                self.look()
            self._received[sock.fileno()] -= nbytes

    def hang_up(self, count: int) -> None:
        for sock in self.sockets[-count:]:
            self.unwatch(sock)
            sock.close()
        del self.sockets[-count:]


def _received(sock: socket.socket) -> bytes:
    try:
        return sock.recv(_MOST_BYTES)
    except ConnectionError:
        return b""


def main() -> None:
    """Obey commands: ("connect", port, n), ("send", first, n, nbytes), ("drain", n, nbytes), ..."""
    pipe = attach(sys.argv[1:])
    # Who passes the commands on may have this core too, and gets it at once, sched(7).
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    epoll = select.epoll()
    epoll.register(pipe, select.EPOLLIN)
    clients = Clients(epoll)
    exchanged: list[Exchange] = []
    while True:
        while not clients.look():
            pass
        command, *arguments = pipe.hear()
        answer: Any = None
        if command == "connect":
            answer = connect(clients, *arguments)
        elif command == "send":
            answer = send(clients, *arguments)
        elif command == "exchange":
            pipe.tell(None)
            pauses_ns, nbytes, connections = arguments
            sockets = clients.sockets[:connections]
            for sock in sockets:
                clients.unwatch(sock)
            exchanged = exchange(sockets, pauses_ns, nbytes)
            for sock in sockets:
                clients.watch(sock)
            continue
        elif command == "exchanged":
            answer = exchanged
        elif command == "drain":
            clients.drain(*arguments)
        elif command == "hang up":
            clients.hang_up(*arguments)
        pipe.tell(answer)


def connect(clients: Clients, port: int, count: int) -> tuple[float, float]:
    """Open so many connections: how long each took, and the pulse of the core."""
    before_ns = pulse_ns()
    began_ns = monotonic_ns()
    sockets = connected(port, count, 0)
    took_ns = (monotonic_ns() - began_ns) / count
    clients.add(sockets)
    return took_ns, max(before_ns, pulse_ns())


def send(clients: Clients, first: int, count: int, nbytes: int, step: int) -> tuple[float, float]:
    """Send on so many connections: how long each took, and the pulse of the core."""
    message = bytes(nbytes)
    before_ns = pulse_ns()
    began_ns = monotonic_ns()
    for sock in clients.sockets[first : first + count * step : step]:
        send_whole(sock, message)
    took_ns = (monotonic_ns() - began_ns) / count
    return took_ns, max(before_ns, pulse_ns())


def exchange(
    sockets: Sequence[socket.socket], pauses_ns: Sequence[int], nbytes: int
) -> list[Exchange]:
    """Send in turn, so long after each answer of as many bytes, as the load generator does."""
    load = Load(sockets, nbytes, nbytes)
    connection = turns(len(pauses_ns), len(sockets))
    times = load.run(connection, list(pauses_ns), True, False, PATIENCE_S, one_by_one=True)
    seen = zip(times["sent_ns"], times["took_ns"], times["replied_ns"], strict=True)
    return [Exchange(*one) for one in seen]
