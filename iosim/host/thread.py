"""One thread of a real server: its counters, and what all threads share."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections import Counter
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from iosim.host.libaio import Aio
from iosim.host.meter import Meter
from iosim.kernel import READ_BYTES, Call, Request
from iosim.workload import Workload

BACKLOG = 4096
"""What net.core.somaxconn allows by default, listen(2)."""


class Socket:
    """A socket of the program; of a connection also when its requests were where."""

    __slots__ = (
        "client",
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
        self.client = -1
        """Of a connection, its number among all, when it has had a request."""
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

    def __init__(self, listener: socket.socket, workload: Workload, seed: int = 1) -> None:
        self.listener = listener
        self.request_bytes = workload.request_bytes
        self.reply_bytes = workload.reply_bytes
        self.reply = bytes(workload.reply_bytes)
        self._service = workload.service_of(seed)
        self.client_of: dict[int, int] = {}
        """The number of each connection, by the client's port."""
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
        self.spawned = 0
        """Threads that the program has started."""
        self.run: Callable[..., None]
        """Run a program in the calling thread, with a kernel of its own."""

    def request(self, connection: Socket, number: int) -> Request:
        """The n-th request of a connection. One thread at a time frames what has come there."""
        if connection.client < 0:
            connection.client = self.client_of.get(connection.peer_port, 0)
        return Request(self._service(connection.client, number), self.reply_bytes)

    def waits_for_clients(self) -> bool:
        """Whether each thread of the program sleeps in a call, or has found nobody who would
        connect, since the last of them was started."""
        threads = self.threads.copy()
        return len(threads) > self.spawned and all(
            thread.native_id in self.ended or thread.waits_for_clients() for thread in threads
        )

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> None:
        """Run a program in a new thread."""
        self.spawned += 1
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
        self.connections = 0
        """How many it has accepted."""
        self.requests_taken = 0
        """How many requests it has framed."""
        self._spawned_then = -1
        """How many threads had been started when it last found nobody who would connect."""
        server.threads.append(self)

    def found_nothing(self) -> None:
        """A look for news, and so for new connections, was in vain."""
        self._spawned_then = self.server.spawned

    def waits_for_clients(self) -> bool:
        """Whether it is in a call that sleeps, or has looked for connections in vain since the last
        thread was started."""
        if self._spawned_then == self.server.spawned:
            return True
        return bool(self.recv_since_ns or self.readiness_since_ns or self.free_since_ns)

    def noticed(self, ready: list[int]) -> None:
        """Note when the program learned that these are readable, or that nothing is."""
        if not ready:
            self.found_nothing()
        now_ns = monotonic_ns()
        sockets = self.server.sockets
        for fd in ready:
            if fd in sockets:
                sockets[fd].noticed_ns = now_ns
