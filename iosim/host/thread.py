"""One thread of a real server: its counters, and what all threads share."""

from __future__ import annotations

import errno
import itertools
import socket
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from threading import Lock
from time import monotonic_ns
from typing import Any

from iosim.arguments import error, whole
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
        "number",
        "owed_bytes",
        "peer_port",
        "received",
        "recv_into",
        "send",
        "socket",
        "uncounted",
    )

    def __init__(self, sock: socket.socket, peer_port: int = 0, number: int | None = None) -> None:
        self.socket = sock
        self.number = number
        """Of a connection, how many came before it; None of a listening socket."""
        self.peer_port = peer_port
        """Of a connection, the client's port; 0 if that is not known any more."""
        self.recv_into = sock.recv_into
        self.send = sock.send
        self.nonblocking = False
        self.client = -1
        """Of a connection, its number among all, when it has had a request."""
        self.uncounted = 0
        """Bytes that the program has read, and not yet counted into requests."""
        self.received = 0
        """Bytes of an incomplete request that it has counted."""
        self.owed_bytes = 0
        """Bytes of replies to the requests it has counted, less what it has sent."""
        self.noticed_ns = 0
        """When a call last reported it ready; 0 when the read itself brings the news."""
        self.copied_ns = 0
        self.noticed_at_ns: list[int] = []
        self.copied_at_ns: list[int] = []
        self.done_at_ns: list[int] = []
        """Times per request, in the order in which they came."""

    def __str__(self) -> str:
        return f"connection {self.number}"


class Sockets(dict[int, Socket]):
    """The open ones by descriptor; another descriptor raises the error of the system calls."""

    def __init__(self, files: Mapping[int, Any]) -> None:
        super().__init__()
        self._files = files

    def __missing__(self, fd: int) -> Socket:
        fd = whole("fd", fd)
        # Those that the process has for itself are none of the program's business.
        raise error(errno.ENOTSOCK if fd in self._files else errno.EBADF, fd)


class Server:
    """What the threads of one server process share."""

    def __init__(
        self,
        listener: socket.socket,
        workload: Workload,
        seed: int = 1,
        *,
        replies_only: bool = False,
    ) -> None:
        """With `replies_only` a program may send what it owes its clients, and nothing else."""
        self.listener = listener
        self.request_bytes = workload.request_bytes
        self.reply_bytes = workload.reply_bytes
        self.reply = bytes(workload.reply_bytes)
        self._zeros = memoryview(self.reply)
        self._service = workload.service_of(seed)
        self.client_of: dict[int, int] = {}
        """The number of each connection, by the client's port."""
        self.replies_only = replies_only
        self.files: dict[int, Any] = {}
        """Kernel objects that are no sockets, by descriptor."""
        self.sockets = Sockets(self.files)
        self.sockets[listener.fileno()] = Socket(listener)
        self.every_connection: list[Socket] = []
        """Also those already closed."""
        self._connections = itertools.count()
        self._threads = itertools.count()
        # The next number of those is taken atomically, as an item of a list or a dict is stored.
        # What takes more than one step needs the lock.
        self.lock = Lock()
        self.aio: Aio | None = None
        self.meter = Meter()
        self.threads: list[Thread] = []
        self.ended: dict[int, Any] = {}
        """Last counters of the threads that are no more, by number."""
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
            thread.number in self.ended or thread.waits_for_clients() for thread in threads
        )

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> None:
        """Run a program in a new thread."""
        self.spawned += 1
        threading.Thread(target=self.run, args=(program, *args), daemon=True).start()

    def next_thread(self) -> int:
        """A number for a thread of the program, which the system's, reused as it is, is not."""
        return next(self._threads)

    def socket_of(self, fd: int) -> Socket:
        """The socket of a descriptor, or the error of the system calls."""
        return self.sockets[whole("fd", fd)]

    def is_open(self, fd: int) -> bool:
        """Whether the program has the descriptor."""
        return fd in self.sockets or fd in self.files

    def must_be_open(self, fd: int) -> int:
        """A descriptor that the program has; raises OSError (EBADF) of another."""
        number = whole("fd", fd)
        if not self.is_open(number):
            raise error(errno.EBADF, number)
        return number

    def zeros(self, nbytes: int) -> memoryview:
        """So many bytes to send."""
        if nbytes > len(self._zeros):
            self._zeros = memoryview(bytes(nbytes))
        return self._zeros[:nbytes]

    def reads(self) -> Aio:
        """The asynchronous reads of all threads."""
        with self.lock:
            if self.aio is None:
                self.aio = Aio()
            return self.aio

    def adopt(self, sock: socket.socket, peer_port: int) -> int:
        """Take an accepted connection in; returns its descriptor."""
        connection = Socket(sock, peer_port, next(self._connections))
        fd = sock.fileno()
        self.sockets[fd] = connection
        self.every_connection.append(connection)
        return fd


class Thread:
    """The state that every group of calls works on; used by one thread only."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.number = server.next_thread()
        self.native_id = threading.get_native_id()
        self.ident = threading.get_ident()
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
        self.wanted: Collection[int] = ()
        """The last set of signals that it has asked for, and which is a good one."""
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
