"""The other end of the micro-benchmarks: sends and drains on command, and sleeps in between."""

from __future__ import annotations

import select
import socket
import sys
from time import monotonic_ns

from iosim.host.child import attach


def main() -> None:
    """Obey commands: ("connect", port, n), ("send", first, n, nbytes), ("drain", n, nbytes), ..."""
    pipe = attach(sys.argv[1:])
    sockets: list[socket.socket] = []
    # Watched like those of a load generator, so that the server's sends find the same to do.
    epoll = select.epoll()
    while True:
        command, *arguments = pipe.hear()
        answer: float = 0
        if command == "connect":
            port, count = arguments
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", port))
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                epoll.register(sock, select.EPOLLIN)
                sockets.append(sock)
        elif command == "send":
            first, count, nbytes = arguments
            message = bytes(nbytes)
            began_ns = monotonic_ns()
            for sock in sockets[first : first + count]:
                sock.sendall(message)
            answer = (monotonic_ns() - began_ns) / count
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
