"""Sockets: their buffers, how connections begin and end, and the calls on them.

Each direction of a connection is a pipe of two buffers. Towards the server: of the `unread` bytes
the first ones are in the receive buffer, and what does not fit it is still at the sender. Towards
the client: `Outgoing.unsent` bytes at the sender, then whatever the client has taken
(`System.peer`). Bytes move on as soon as the receiver has room; so nothing is lost but by a reset,
which discards what is still at the sender.

A file is open for as long as something holds it: its descriptor, a call that sleeps on it, a
request of a ring. What closing means happens when the last of them lets go.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from typing import Any

from iosim.arguments import error, size, whole
from iosim.errors import Misuse, RunFailed
from iosim.kernel import EAGAIN, ECONNRESET, EPIPE, READ_BYTES, Call, Request
from iosim.program import uncounted
from iosim.sim.readiness import detach, interests_in
from iosim.sim.signals import Owner
from iosim.sim.states import SOCKET, Event, SocketState
from iosim.sim.system import File, System, Watcher, refuses
from iosim.sim.thread import Thread

CONNECT, FIN, RST = Event(SOCKET, "connect"), Event(SOCKET, "fin"), Event(SOCKET, "rst")
SHUTDOWN, CLOSE = Event(SOCKET, "shutdown"), Event(SOCKET, "close")

CLOSE_WAIT, RESET, CLOSED = SocketState.CLOSE_WAIT, SocketState.RESET, SocketState.CLOSED

RECEIVING = SocketState.ESTABLISHED, SocketState.FIN_WAIT
"""States in which more bytes may come."""

SENDING = SocketState.ESTABLISHED, CLOSE_WAIT
"""States in which the program may send more bytes."""

DISCONNECTED = SocketState.ENDED, RESET
"""States in which a socket is open, but no connection is left (TCP_CLOSE of Linux)."""


class Outgoing:
    """The way out of a connection that is not just open and empty."""

    __slots__ = ("error", "unsent", "waiting")

    def __init__(self) -> None:
        self.unsent = 0
        """Bytes in the send buffer, since the client has no room for them."""
        self.error = 0
        """What the next call on the socket fails with (sk_err, SO_ERROR of socket(7))."""
        self.waiting: list[Watcher] = []
        """Told once when the socket becomes writable."""


class Connection(File):
    """The server's end of one TCP connection."""

    __slots__ = (
        "ack_tick",
        "answering",
        "client",
        "copied_ns",
        "out",
        "reading",
        "received",
        "replied_at",
        "sent",
        "state",
        "uncounted",
        "unread",
    )

    sends_signals = True
    backlog = limit = refuses(errno.EINVAL)
    """EINVAL of accept(2): "Socket is not listening for connections"."""

    def __init__(self, client: int) -> None:
        super().__init__()
        self.client = client
        """Index of the connection in the workload."""
        self.state: SocketState = SocketState.NEW
        self.ack_tick = 0
        """When the timer of its acknowledgements is due, or was, see `iosim.sim.ticks`."""
        self.replied_at = 0
        """The number of its last reply among all."""
        self.unread: int = 0
        """Bytes that the program has yet to read; those that do not fit the receive buffer are held
        back by the sender."""
        self.out: Outgoing | None = None
        """None while the way out is open and the client takes everything at once."""
        self.uncounted = 0
        """Bytes that the program has read, and not yet counted into requests."""
        self.received = 0
        """Bytes of an incomplete request that it has counted."""
        self.sent = 0
        """Bytes of an incomplete reply that the program has sent."""
        self.copied_ns = 0
        self.reading = -1
        """Number of the first request not yet complete in the program's memory, or -1; the ones
        after it on this connection are found through `System.following`, so that idle connections
        need no queues."""
        self.answering = -1
        """Number of the first request whose reply is not yet sent, or -1."""

    def __str__(self) -> str:
        return f"connection {self.client}"

    def readable(self) -> bool:
        return self.unread > 0 or self.state not in RECEIVING

    @property
    def shut(self) -> bool:
        """Whether `send` can only fail; then there is an `out`."""
        return self.state not in SENDING

    def writable(self, limit_bytes: int) -> bool:
        """Whether poll reports POLLOUT: a third of the send buffer is free (sk_stream_is_writable
        in the kernel's include/net/sock.h), or it is shut."""
        return self.out is None or self.shut or 3 * self.out.unsent <= 2 * limit_bytes

    def way_out(self) -> Outgoing:
        """`out`, made if need be."""
        if self.out is None:
            self.out = Outgoing()
        return self.out

    def tell_when_writable(self, watcher: Watcher) -> None:
        self.way_out().waiting.append(watcher)

    def end_of_stream(self) -> int:
        """What a read returns when nothing is left: 0, but a reset is reported first, and once."""
        if self.state is not RESET or self.out is None or self.out.error != ECONNRESET:
            return 0
        self.out.error = 0
        return ECONNRESET

    def closed(self, system: System) -> None:
        system.memory.remove("sockets")
        finish(system, self)


class Listener(File):
    """A listening socket: connections that wait for accept."""

    __slots__ = ("backlog", "group", "limit")

    wakes_one = True
    sends_signals = True
    unread = uncounted = refuses(errno.ENOTCONN)
    """ENOTCONN of recv(2): "The socket is associated with a connection-oriented protocol and has
    not been connected"."""
    out, shut, state = Outgoing(), True, None
    """As of a connection that is shut down, send fails with EPIPE (sk_stream_wait_connect in the
    kernel's net/core/stream.c), and shutdown does nothing (inet_shutdown in net/ipv4/af_inet.c)."""

    def __init__(self, limit: int, first: Listener | None = None) -> None:
        """`first` is another one on the same address, if there is one."""
        super().__init__()
        self.backlog: deque[Connection] = deque()
        self.limit: int = limit
        """The second argument of listen(2); Linux lets one more wait (sk_acceptq_is_full in the
        kernel's include/net/sock.h)."""
        self.group: list[Listener] = [] if first is None else first.group
        """Those that are open on the address."""
        self.group.append(self)

    def of_group(self, connection: Connection) -> Listener:
        """The listener of the group that a connection goes to.

        As reuseport_select_sock of Linux does: a hash, scaled down to the number of sockets.
        """
        group = self.group
        if not group:
            raise RunFailed(f"{connection} is refused: the program has closed its listening socket")
        return group[spread(connection.client) * len(group) >> 32 if len(group) > 1 else 0]

    def readable(self) -> bool:
        return bool(self.backlog)

    @property
    def full(self) -> bool:
        """Whether a client's SYN is dropped."""
        return len(self.backlog) > self.limit

    def closed(self, system: System) -> None:
        system.memory.remove("sockets", len(self.backlog))
        for connection in self.backlog:
            CLOSE.happens_to(connection)
            system.peer.reset(connection)
        self.backlog.clear()
        self.group.remove(self)


def deliver(system: System, connection: Connection, nbytes: int, number: int = -1) -> bool:
    """Put the bytes of a request on its socket; True if that woke an idle core.

    Whom they wake is woken by the request of that `number`.
    """
    if connection.state is CLOSED:
        system.peer.reset(connection)
        return False
    connection.unread += nbytes
    cpu = system.cpu
    cpu.request = number
    woke = system.became_readable(connection)
    cpu.request = -1
    return woke


def take(system: System, connection: Connection, nbytes: int) -> int:
    """Move at most `nbytes` out of the receive buffer; a sender held back moves on.

    Of a readable connection without data it returns 0, or ECONNRESET after a reset.
    """
    unread = connection.unread
    if not unread:
        return connection.end_of_stream()
    buffer_bytes = system.receive_buffer_bytes
    if unread > buffer_bytes:
        taken = min(nbytes, buffer_bytes)
        connection.unread = unread - taken
        connection.uncounted += taken
        system.became_readable(connection)
        return taken
    taken = unread if unread < nbytes else nbytes
    connection.unread = unread - taken
    connection.uncounted += taken
    if taken == unread and connection.state in RECEIVING:
        system.readable.pop(connection.fd, None)
    return taken


def put(system: System, connection: Connection, nbytes: int) -> int:
    """Hand bytes to a socket as a nonblocking send(2) does: how many it takes, or the error.

    What the client has no room for stays in the send buffer. After a reset the first call tells of
    it, unless a read has; the others and those after a shutdown fail with EPIPE.
    """
    out = connection.out
    taken = 0
    if out is None:
        taken = system.peer.transmit(connection, nbytes, system.env.now_ns)
        if taken == nbytes:
            return taken
        out = connection.out = Outgoing()
    elif connection.shut:
        pending, out.error = out.error, 0
        return pending or EPIPE
    queued = min(nbytes - taken, system.machine.send_buffer_bytes - out.unsent)
    out.unsent += queued
    return taken + queued or EAGAIN


def drain(system: System, connection: Connection) -> None:
    """The client has made room: send it what waits, tell who waits to send more."""
    out = connection.out
    if out is None or not out.unsent:
        return
    out.unsent -= system.peer.transmit(connection, out.unsent, system.env.now_ns)
    if connection.shut and not out.unsent:
        system.peer.finish(connection)
    if connection.writable(system.machine.send_buffer_bytes):
        _became_writable(connection, out)
    if not (out.unsent or connection.shut):
        connection.out = None


def _became_writable(connection: Connection, out: Outgoing) -> None:
    waiting, out.waiting = out.waiting, []
    for watcher in waiting:
        watcher.notify(connection)


def hang_up(system: System, connection: Connection) -> None:
    """The client closes its end or shuts it down: a FIN comes after its last byte."""
    FIN.happens_to(connection)
    _stream_ends(system, connection)


def _stream_ends(system: System, connection: Connection) -> None:
    system.became_readable(connection)
    # Linux signals the end of a stream twice, in tcp_fin() and in tcp_data_queue().
    for watcher in connection.watchers:
        if isinstance(watcher, Owner):
            watcher.notify(connection)


def reset(system: System, connection: Connection) -> None:
    """The client aborts the connection: a RST comes. What has been received can still be read."""
    buffer_bytes = system.receive_buffer_bytes
    fin_is_there = connection.state is CLOSE_WAIT and connection.unread <= buffer_bytes
    RST.happens_to(connection)
    out = connection.way_out()
    # After a FIN a read returns 0 and owes no error (tcp_reset in the kernel's net/ipv4).
    out.error = EPIPE if fin_is_there else ECONNRESET
    out.unsent = 0
    connection.unread = min(connection.unread, buffer_bytes)
    _stream_ends(system, connection)
    _became_writable(connection, out)


def shut_down(system: System, connection: Connection) -> None:
    """The server ends its stream: a FIN goes out after the last byte."""
    if not connection.shut:
        SHUTDOWN.happens_to(connection)
        _send_fin(system, connection)


def _send_fin(system: System, connection: Connection) -> None:
    out = connection.way_out()
    if not out.unsent:
        system.peer.finish(connection)
    _became_writable(connection, out)


def finish(system: System, connection: Connection) -> None:
    """The server closes its end; unread bytes make that a reset (RFC 1122, section 4.2.2.13)."""
    was_shut = connection.shut
    CLOSE.happens_to(connection)
    if connection.unread:
        connection.unread = connection.way_out().unsent = 0
        system.peer.reset(connection)
    elif not was_shut:
        _send_fin(system, connection)


def let_go(system: System, file: File) -> None:
    """One less holds a file."""
    file.holders -= 1
    if not file.holders:
        release(system, file)


def release(system: System, file: File) -> None:
    """Nothing holds a file any more: it is closed in earnest.

    Only then it leaves the interest lists of epoll instances (epoll(7), "Questions and answers").
    """
    for interest in tuple(interests_in(file)):
        detach(interest, file)
        system.memory.remove("epoll_items")
    file.watchers = ()
    file.closed(system)


def connect(system: System, listener: Listener, connection: Connection) -> None:
    """A client's connection joins the backlog, which must not be full."""
    CONNECT.happens_to(connection)
    listener.backlog.append(connection)
    system.became_readable(listener)


def spread(client: int) -> int:
    """The hash that gives a connection its listener, and its receive queue: 32 bits, the finalizer
    of MurmurHash3.

    Linux and network cards hash addresses and ports (for a card Toeplitz, see
    networking/scaling.rst of the kernel's documentation). What matters of that is that it is fixed
    and spreads like chance, not evenly.
    """
    client = (client ^ client >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    client = (client ^ client >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return client ^ client >> 16


def accept_one(system: System, listener: Listener) -> Connection:
    """Take the oldest connection off the backlog and give it a descriptor."""
    connection = listener.backlog.popleft()
    if not listener.backlog:
        system.readable.pop(listener.fd, None)
    system.open(connection)
    if connection.readable():
        system.readable[connection.fd] = connection
    return connection


class Writer:
    """A thread asleep until a socket is writable."""

    def __init__(self, thread: Thread) -> None:
        self._thread = thread

    def notify(self, file: File) -> bool:
        return self._thread.cpu.wake(self._thread)


class SocketCalls(Thread):
    """accept, recv, send, close and the application's framing."""

    __slots__ = ()

    def set_nonblocking(self, fd: int) -> Call[None]:
        yield from self.pay()
        self.system.syscalls["fcntl"] += 1
        self.system.file(fd).nonblocking = True
        self.charge(self.system.prices.fcntl_ns)

    def accept(self, listener: int, nonblocking: bool = False) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["accept4"] += 1
        try:
            file = (listener >= 0 and system.files[listener]) or system.file(listener)
        except (IndexError, TypeError):
            file = system.file(listener)
        while not file.backlog:
            if file.nonblocking:
                self.found_nothing()
                system.empty_polls += 1
                self.charge(system.prices.eagain_ns)
                return EAGAIN
            if self.debt_ns:
                yield from self.pay()
                continue
            yield from self.sleep_on(file)
        connection = accept_one(system, file)
        connection.nonblocking = nonblocking
        self.connections += 1
        self.charge(system.prices.accept_ns)
        if not file.holders:
            release(system, file)
        return connection.fd

    def reuseport(self, listener: int) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        for name in ("socket", "setsockopt", "bind", "listen"):
            system.syscalls[name] += 1
        # A server's start is not what a run measures: four short calls.
        for _ in range(4):
            self.charge(system.prices.fcntl_ns)
        first: Listener = system.file(listener)
        return system.open(Listener(first.limit, first)).fd

    def recv(self, fd: int, nbytes: int = READ_BYTES) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["recv"] += 1
        try:
            connection = (fd >= 0 and system.files[fd]) or system.file(fd)
        except (IndexError, TypeError):
            connection = system.file(fd)
        if nbytes is not READ_BYTES and (type(nbytes) is not int or nbytes < 0):
            nbytes = size("nbytes", nbytes)
        while not connection.unread:
            if connection.state not in RECEIVING:
                taken = int(connection.end_of_stream())
                self.charge(system.prices.recv_ns)
                break
            if connection.nonblocking:
                system.empty_polls += 1
                self.charge(system.prices.eagain_ns)
                return EAGAIN
            if self.debt_ns:
                yield from self.pay()
                continue
            yield from self.sleep_for_data(connection)
        else:
            taken = take(system, connection, nbytes)
            price_ns = system.prices.recv_ns + system.copy_ns[taken]
            self.debt_ns += price_ns
            self.debt_user_ns += self.user_share_ns
            system.copy_data_ns += price_ns
            # `self.now_ns`, without the time that a property takes.
            connection.copied_ns = self.env.now_ns + self.debt_ns - self.cold_ns
        if not connection.holders:
            release(system, connection)
        return taken

    def requests(self, fd: int, nbytes: int) -> Sequence[Request]:
        system = self.system
        connection: Any
        try:
            connection = system.files[fd] if fd >= 0 else None
            left = connection.uncounted - nbytes
        except (AttributeError, IndexError, TypeError):
            left = -1
        if left < 0 or nbytes < 0:
            raise self._miscounted(fd, nbytes)
        connection.uncounted = left
        records, request_bytes = system.records, system.request_bytes
        reply_bytes = system.workload.reply_bytes
        noticed_ns, connection.noticed_ns = connection.noticed_ns, 0
        copied_ns = connection.copied_ns
        received = connection.received + nbytes
        complete: list[Request] = []
        while received >= request_bytes:
            received -= request_bytes
            number = connection.reading
            connection.reading = system.following[number]
            records.noticed_ns[number] = noticed_ns
            records.copied_ns[number] = copied_ns
            complete.append(system.request or Request(system.service_ns[number], reply_bytes))
        connection.received = received
        self.requests_taken += len(complete)
        framing_ns = len(complete) * system.prices.request_ns
        self.debt_ns += framing_ns
        self.debt_user_ns += framing_ns
        return complete

    def _miscounted(self, fd: int, nbytes: int) -> Misuse:
        """What is wrong with bytes that the program wants to count into requests."""
        connection = self.system.file(fd)
        return uncounted(connection, whole("nbytes", nbytes, 0), connection.uncounted)

    def compute(self, ns: int) -> Call[None]:
        if ns.__class__ is not int or ns < 0:
            ns = whole("ns", ns, 0)
        self.debt_ns += ns
        self.debt_user_ns += ns
        while self.debt_ns and self.system.signals.interrupting:
            # What a handler sets meanwhile shall be seen when the computing is over.
            yield from self.pay()
        if self.debt_ns > self.cpu.time_slice_ns:
            # A program that only computes lets time pass too.
            yield from self.pay()

    def send(self, fd: int, nbytes: int) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["send"] += 1
        try:
            connection = (fd >= 0 and system.files[fd]) or system.file(fd)
        except (IndexError, TypeError):
            connection = system.file(fd)
        if type(nbytes) is not int or nbytes < 0:
            nbytes = size("nbytes", nbytes)
        taken = put(system, connection, nbytes)
        if taken != nbytes:
            return (yield from self._send_rest(connection, nbytes, taken))
        prices = system.prices
        self.debt_ns += prices.send_ns + system.copy_ns[nbytes] + system.reply_on(connection)
        self.debt_user_ns += self.user_share_ns
        return nbytes

    def _send_rest(self, connection: Connection, nbytes: int, taken: int) -> Call[int]:
        """Go on with a send that did not take everything at once, but `taken` or none."""
        system = self.system
        prices = system.prices
        if connection.nonblocking and taken == EAGAIN:
            system.empty_polls += 1
            self.charge(prices.eagain_ns)
            return EAGAIN
        sent = max(0, taken)
        miss_ns = system.reply_on(connection) if sent else 0
        self.charge(prices.send_ns + system.copy_ns[sent] + miss_ns)
        if connection.nonblocking or connection.shut:
            return sent or taken
        connection.holders += 1
        sent = yield from self._send_all(connection, nbytes, sent)
        let_go(system, connection)
        return sent

    def _send_all(self, connection: Connection, nbytes: int, sent: int) -> Call[int]:
        """Sleep until the socket has taken all bytes, after `sent` of them."""
        system = self.system
        while sent < nbytes:
            yield from self._sleep_until_writable(connection)
            if sent and connection.shut:
                # The next call tells why.
                return sent
            taken = put(system, connection, nbytes - sent)
            if taken < 0:
                return taken
            sent += taken
            self.debt_ns += system.copy_ns[taken]
        return sent

    def _sleep_until_writable(self, file: File) -> Call[None]:
        yield from self.pay()
        while not file.writable(self.system.machine.send_buffer_bytes):
            if self.debt_ns:
                yield from self.pay()
                continue
            file.tell_when_writable(Writer(self))
            yield from self.sleep()

    def wait_writable(self, fd: int) -> Call[None]:
        yield from self.pay()
        system = self.system
        prices = system.prices
        system.syscalls["poll"] += 1
        fd = whole("fd", fd, 0)
        file = system.files[fd] if fd < len(system.files) else None
        # One that is not open is reported at once: POLLNVAL of poll(2).
        look_ns = prices.poll_fd_ns
        if file is not None and not file.writable(system.machine.send_buffer_bytes):
            self.debt_ns += round(look_ns + prices.scan_join_fd_ns)
            yield from self._sleep_until_writable(file)
            look_ns += prices.scan_leave_fd_ns
        self.charge(prices.poll_ns + round(look_ns))

    def shutdown(self, fd: int) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["shutdown"] += 1
        connection = system.file(fd)
        if connection.state in DISCONNECTED:
            raise error(errno.ENOTCONN)
        shut_down(system, connection)
        # A FIN takes the way of a segment without data.
        self.charge(system.prices.send_ns)

    def close(self, fd: int) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["close"] += 1
        self.charge(system.prices.close_ns)
        file = system.file(fd)
        system.files[fd] = None
        system.closed.append(fd)
        if fd in system.aio.begun:
            system.aio.forget(fd)
        system.readable.pop(fd, None)
        let_go(system, file)
