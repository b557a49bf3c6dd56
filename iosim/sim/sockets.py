"""Sockets: receive buffers, the listener's backlog, and the calls on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from iosim.kernel import EAGAIN, READ_BYTES, Call, Request
from iosim.sim.system import File, System
from iosim.sim.thread import Thread


class Connection(File):
    """The server's end of one TCP connection."""

    __slots__ = (
        "answering",
        "buffered",
        "client",
        "copied_ns",
        "hung_up",
        "reading",
        "received",
        "sent",
        "stalled",
    )

    def __init__(self, client: int, first: int) -> None:
        super().__init__()
        self.client = client
        """Index of the connection in the workload."""
        self.buffered = 0
        self.stalled = 0
        """Bytes that the sender holds back since the receive buffer is full."""
        self.hung_up = False
        self.received = 0
        """Bytes of an incomplete request that the program has read."""
        self.sent = 0
        """Bytes of an incomplete reply that the program has sent."""
        self.copied_ns = 0
        self.reading = first
        """Number of the first request not yet complete in the program's memory; the ones after it
        on this connection are found through `System.following`, so that idle connections need no
        queues."""
        self.answering = first
        """Number of the first request whose reply is not yet sent."""

    @property
    def readable(self) -> bool:
        return self.buffered > 0 or self.hung_up


class Listener(File):
    """A listening socket: connections that wait for accept."""

    __slots__ = ("backlog",)

    def __init__(self) -> None:
        super().__init__()
        self.backlog: deque[Connection] = deque()

    @property
    def readable(self) -> bool:
        return bool(self.backlog)


def deliver(system: System, connection: Connection, nbytes: int) -> bool:
    """Put the bytes of a request on its socket; True if that woke an idle core."""
    room = system.receive_buffer_bytes - connection.buffered
    if connection.stalled or nbytes > room:
        fits = 0 if connection.stalled else room
        connection.stalled += nbytes - fits
        connection.buffered += fits
    else:
        connection.buffered += nbytes
    return system.became_readable(connection)


def take(system: System, connection: Connection, nbytes: int) -> int:
    """Move at most `nbytes` out of the receive buffer; a sender held back moves on."""
    taken = min(nbytes, connection.buffered)
    connection.buffered -= taken
    if connection.stalled:
        moved = min(connection.stalled, system.machine.receive_buffer_bytes - connection.buffered)
        connection.stalled -= moved
        connection.buffered += moved
        system.became_readable(connection)
    if not (connection.buffered or connection.hung_up):
        system.readable.pop(connection.fd, None)
    return taken


def hang_up(system: System, connection: Connection) -> None:
    """The client closes its end."""
    connection.hung_up = True
    system.became_readable(connection)


def connect(system: System, listener: Listener, connection: Connection) -> None:
    """A client's connection joins the backlog."""
    system.memory.add("sockets")
    listener.backlog.append(connection)
    system.became_readable(listener)


def accept_one(system: System, listener: Listener) -> Connection:
    """Take the oldest connection off the backlog and give it a descriptor."""
    connection = listener.backlog.popleft()
    if not listener.backlog:
        system.readable.pop(listener.fd, None)
    return system.open(connection)


class SocketCalls(Thread):
    """accept, recv, send, close and the application's framing."""

    __slots__ = ()

    def set_nonblocking(self, fd: int) -> Call[None]:
        yield from self.pay()
        self.system.syscalls["fcntl"] += 1
        self.system.files[fd].nonblocking = True
        self.debt_ns += self.system.prices.fcntl_ns

    def accept(self, listener: int, nonblocking: bool = False) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["accept4"] += 1
        file = system.files[listener]
        while not file.backlog:
            if file.nonblocking:
                system.empty_polls += 1
                self.debt_ns += system.prices.eagain_ns
                return EAGAIN
            if self.debt_ns:
                yield from self.pay()
                continue
            yield from self.sleep_on(file)
        connection = accept_one(system, file)
        connection.nonblocking = nonblocking
        self.debt_ns += system.prices.accept_ns
        return connection.fd

    def recv(self, fd: int, nbytes: int = READ_BYTES) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["recv"] += 1
        connection = system.files[fd]
        while not connection.buffered:
            if connection.hung_up:
                self.debt_ns += system.prices.recv_ns
                return 0
            if connection.nonblocking:
                system.empty_polls += 1
                self.debt_ns += system.prices.eagain_ns
                return EAGAIN
            if self.debt_ns:
                yield from self.pay()
                continue
            yield from self.sleep_for_data(connection)
        taken = take(system, connection, nbytes)
        price_ns = system.prices.recv_ns + round(taken * system.prices.copy_ns_per_byte)
        self.debt_ns += price_ns
        system.copy_data_ns += price_ns
        connection.copied_ns = self.env.now_ns + self.debt_ns
        return taken

    def requests(self, fd: int, nbytes: int) -> Sequence[Request]:
        system = self.system
        connection = system.files[fd]
        complete, connection.received = divmod(connection.received + nbytes, system.request_bytes)
        noticed_ns, connection.noticed_ns = connection.noticed_ns, 0
        records = system.records
        for _ in range(complete):
            number = connection.reading
            connection.reading = system.following[number]
            # What came after the report was brought to notice by the read itself.
            reported = noticed_ns >= records.ready_ns[number]
            records.noticed_ns[number] = noticed_ns if reported else connection.copied_ns
            records.copied_ns[number] = connection.copied_ns
        framing_ns = complete * system.prices.request_ns
        self.debt_ns += framing_ns
        self.user_debt_ns += framing_ns
        return list(islice(system.requests, complete))

    def compute(self, ns: int) -> Call[None]:
        self.debt_ns += ns
        self.user_debt_ns += ns
        return
        yield

    def send(self, fd: int, nbytes: int) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["send"] += 1
        system.transmit(system.files[fd], nbytes, self.env.now_ns)
        prices = system.prices
        self.debt_ns += prices.send_ns + round(nbytes * prices.copy_ns_per_byte)
        return nbytes

    def wait_writable(self, fd: int) -> Call[None]:
        # The client reads at once, so the send buffer never fills.
        yield from self.pay()

    def close(self, fd: int) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["close"] += 1
        connection, system.files[fd] = system.files[fd], None
        system.readable.pop(fd, None)
        system.memory.remove("sockets")
        system.memory.remove("epoll_items", sum(hasattr(w, "epoll") for w in connection.watchers))
        # Closing takes it off every interest list: epoll(7), questions and answers.
        connection.fd, connection.hung_up, connection.watchers = -1, False, ()
        self.debt_ns += system.prices.close_ns
