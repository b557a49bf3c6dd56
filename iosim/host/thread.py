"""One thread of a real server: its counters, and what all threads share."""

from __future__ import annotations

import errno
import itertools
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from time import monotonic_ns
from typing import Any

from iosim.host.libaio import Aio
from iosim.host.meter import Meter
from iosim.kernel import READ_BYTES, Call, Request

BACKLOG = 4096
"""What net.core.somaxconn allows by default, listen(2)."""


class Socket:
    """A socket of the program; of a connection also when its requests were where."""

    __slots__ = (
        "copied_at_ns",
        "copied_ns",
        "done_at_ns",
        "nonblocking",
        "noticed_at_ns",
        "noticed_ns",
        "peer_port",
        "received",
        "recv_into",
        "send",
        "sent",
        "socket",
    )

    def __init__(self, sock: socket.socket, peer_port: int = 0) -> None:
        self.socket = sock
        self.peer_port = peer_port
        """Of a connection, the client's port; 0 if that is not known any more."""
        self.recv_into = sock.recv_into
        self.send = sock.send
        self.nonblocking = False
        self.received = 0
        """Bytes of an incomplete request that the program has read."""
        self.sent = 0
        """Bytes of an incomplete reply that the program has sent."""
        self.noticed_ns = 0
        """When a call last reported it ready; 0 when the read itself brings the news."""
        self.copied_ns = 0
        self.noticed_at_ns: list[int] = []
        self.copied_at_ns: list[int] = []
        self.done_at_ns: list[int] = []
        """Times per request, in the order in which they came."""


class Sockets(dict[int, Socket]):
    """The open ones by descriptor; another descriptor raises the error of the system calls."""

    def __missing__(self, fd: int) -> Socket:
        number = errno.ENOTSOCK
        try:
            os.fstat(fd)
        except OSError:
            number = errno.EBADF
        raise OSError(number, f"{os.strerror(number)}: {fd}")


class Server:
    """What the threads of one server process share."""

    def __init__(
        self, listener: socket.socket, request_bytes: int, reply_bytes: int, service_ns: list[int]
    ) -> None:
        self.listener = listener
        self.request_bytes = request_bytes
        self.reply_bytes = reply_bytes
        self.reply = bytes(reply_bytes)
        self.requests: Iterator[Request] = itertools.cycle(
            Request(ns, reply_bytes) for ns in service_ns
        )
        """The k-th request served takes the k-th; the next item is taken atomically."""
        self.sockets = Sockets({listener.fileno(): Socket(listener)})
        self.every_connection: list[Socket] = []
        """Also those already closed."""
        self.files: dict[int, Any] = {}
        """Kernel objects that are no sockets, by descriptor."""
        self.aio: Aio | None = None
        self.meter = Meter()
        self.threads: list[Thread] = []
        self.ended: dict[int, Any] = {}
        """Last counters of the threads that are no more, by native id."""
        self.run: Callable[..., None]
        """Run a program in the calling thread, with a kernel of its own."""

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> None:
        """Run a program in a new thread."""
        threading.Thread(target=self.run, args=(program, *args), daemon=True).start()

    def adopt(self, sock: socket.socket, peer_port: int) -> int:
        """Take an accepted connection in; returns its descriptor."""
        connection = Socket(sock, peer_port)
        fd = sock.fileno()
        self.sockets[fd] = connection
        self.every_connection.append(connection)
        return fd


class Thread:
    """The state that every group of calls works on; used by one thread only."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.native_id = threading.get_native_id()
        self.syscalls: Counter[str] = Counter()
        self.empty_polls = 0
        self.buffer = bytearray(READ_BYTES)
        self.in_recv_ns = 0
        """Time inside recv calls on blocking sockets, which may have waited."""
        self.in_copy_ns = 0
        """Time inside recv calls on nonblocking sockets that returned something."""
        self.in_readiness_ns = 0
        """Time inside select, poll and epoll_wait."""
        self.in_free_ns = 0
        """Time inside other calls that sleep: for connections, signals, completions, time."""
        self.compute_until_ns = 0
        """The thread's own clock when the computing under way is over; signal handlers move it."""
        self.recv_since_ns = self.readiness_since_ns = self.free_since_ns = 0
        """When the call of that kind now under way began, 0 when there is none."""
        server.threads.append(self)

    def noticed(self, ready: list[int]) -> None:
        """Note when the program learned that these are readable."""
        now_ns = monotonic_ns()
        sockets = self.server.sockets
        for fd in ready:
            if fd in sockets:
                sockets[fd].noticed_ns = now_ns
