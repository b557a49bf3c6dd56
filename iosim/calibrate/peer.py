"""The other end of the micro-benchmarks: sends and drains on command, and sleeps in between.

It sends and sees answers as the load generator of a real run does.
"""

from __future__ import annotations

import select
import socket
import sys
from collections.abc import Sequence
from time import monotonic_ns
from typing import Any

from iosim.calibrate.bench import Exchange
from iosim.host.child import attach
from iosim.host.load import Load, connected, send_whole
from iosim.host.pulse import pulse_ns

PATIENCE_S = 10.0
"""How long it waits for an answer."""


def main() -> None:
    """Obey commands: ("connect", port, n), ("send", first, n, nbytes), ("drain", n, nbytes), ..."""
    pipe = attach(sys.argv[1:])
    sockets: list[socket.socket] = []
    exchanged: list[Exchange] = []
    # Watched like those of a load generator, so that the server's sends find the same to do.
    epoll = select.epoll()
    while True:
        command, *arguments = pipe.hear()
        answer: Any = None
        if command == "connect":
            port, count = arguments
            for sock in connected(port, count, 0):
                sock.setblocking(True)
                epoll.register(sock, select.EPOLLIN)
                sockets.append(sock)
        elif command == "send":
            first, count, nbytes = arguments
            message = bytes(nbytes)
            before_ns = pulse_ns()
            began_ns = monotonic_ns()
            for sock in sockets[first : first + count]:
                send_whole(sock, message)
            took_ns = (monotonic_ns() - began_ns) / count
            answer = took_ns, max(before_ns, pulse_ns())
        elif command == "exchange":
            pipe.tell(None)
            epoll.unregister(sockets[0])
            exchanged = exchange(sockets[0], *arguments)
            epoll.register(sockets[0], select.EPOLLIN)
            continue
        elif command == "exchanged":
            answer = exchanged
        elif command == "drain":
            count, nbytes = arguments
            for sock in sockets[:count]:
                left = nbytes
                while left:
                    left -= len(sock.recv(left))
        elif command == "hang up":
            (count,) = arguments
            for sock in sockets[-count:]:
                epoll.unregister(sock)
                sock.close()
            del sockets[-count:]
        pipe.tell(answer)


def exchange(sock: socket.socket, pauses_ns: Sequence[int], nbytes: int) -> list[Exchange]:
    """Send so long after each answer of as many bytes, just as the load generator does."""
    sock.setblocking(False)
    load = Load([sock], nbytes, nbytes)
    times = load.run([0] * len(pauses_ns), list(pauses_ns), True, False, PATIENCE_S)
    sock.setblocking(True)
    seen = zip(times["sent_ns"], times["took_ns"], times["replied_ns"], strict=True)
    return [Exchange(*one) for one in seen]
