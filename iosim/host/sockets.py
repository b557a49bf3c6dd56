"""Calls on real sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from time import monotonic_ns, thread_time_ns

from iosim.arguments import error, size, whole
from iosim.errors import Misuse
from iosim.host.thread import BACKLOG, Socket, Thread
from iosim.kernel import EAGAIN, READ_BYTES, Call, Request
from iosim.program import unasked, uncounted

MOST_BYTES = 1 << 26
"""No receive buffer holds more, tcp_rmem of tcp(7): a larger read takes no more, but memory."""


def _number(failed: OSError) -> int:
    """The negative error number that the system call returned."""
    assert failed.errno is not None
    return -failed.errno


class SocketCalls(Thread):
    """accept, recv, send, close and the application's framing."""

    def set_nonblocking(self, fd: int) -> Call[None]:
        self.syscalls["fcntl"] += 1
        if self.server.must_be_open(fd) in self.server.files:
            os.set_blocking(fd, False)
        else:
            self.server.sockets[fd].socket.setblocking(False)
            self.server.sockets[fd].nonblocking = True
        return
        yield

    def accept(self, listener: int, nonblocking: bool = False) -> Call[int]:
        self.syscalls["accept4"] += 1
        self.free_since_ns = began_ns = monotonic_ns()
        try:
            sock, peer = self.server.socket_of(listener).socket.accept()
        except BlockingIOError:
            self.free_since_ns = 0
            self.found_nothing()
            self.empty_polls += 1
            return EAGAIN
        except (OSError, Misuse):
            self.free_since_ns = 0
            raise
        self.in_free_ns += monotonic_ns() - began_ns
        self.free_since_ns = 0
        self.connections += 1
        fd = self.server.adopt(sock, peer[1])
        if nonblocking:
            sock.setblocking(False)
            self.server.sockets[fd].nonblocking = True
        return fd
        yield

    def reuseport(self, listener: int) -> Call[int]:
        self.syscalls.update(("socket", "setsockopt", "bind", "listen"))
        first = self.server.socket_of(listener).socket
        if not first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise error(errno.EINVAL, "not a listening socket")
        another = socket.socket()
        another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        another.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        another.bind(first.getsockname())
        another.listen(BACKLOG)
        self.server.sockets[another.fileno()] = Socket(another)
        return another.fileno()
        yield

    def recv(self, fd: int, nbytes: int = READ_BYTES) -> Call[int]:
        self.syscalls["recv"] += 1
        buffer = self.buffer
        try:
            if not 0 < nbytes <= READ_BYTES or (fd | nbytes) < 0:
                buffer, nbytes = self._room(fd, nbytes)
            connection = self.server.sockets[fd]
        except TypeError:
            self._room(fd, nbytes)
            raise
        began_ns = monotonic_ns()
        if connection.nonblocking:
            try:
                received = connection.recv_into(buffer, nbytes)
            except BlockingIOError:
                self.empty_polls += 1
                return EAGAIN
            except ConnectionError as error:
                return _number(error)
            connection.copied_ns = now_ns = monotonic_ns()
            connection.uncounted += received
            self.in_copy_ns += now_ns - began_ns
        else:
            self.recv_since_ns = began_ns
            try:
                received = connection.recv_into(buffer, nbytes)
            except ConnectionError as failed:
                self.in_recv_ns += monotonic_ns() - began_ns
                self.recv_since_ns = 0
                return _number(failed)
            except OSError:
                self.recv_since_ns = 0
                raise
            connection.uncounted += received
            connection.copied_ns = now_ns = monotonic_ns()
            self.in_recv_ns += now_ns - began_ns
            self.recv_since_ns = 0
        return received
        yield

    def _room(self, fd: int, nbytes: int) -> tuple[bytearray, int]:
        """A buffer of another size than usual, and how much of it may be filled.

        Of none (recv(2), size 0) it is empty, since Python takes 0 for its whole length.
        """
        whole("nbytes", nbytes)
        self.server.socket_of(fd)
        nbytes = min(size("nbytes", nbytes), MOST_BYTES)
        if not nbytes:
            return bytearray(), 0
        if nbytes > len(self.buffer):
            self.buffer = bytearray(nbytes)
        return self.buffer, nbytes

    def requests(self, fd: int, nbytes: int) -> Sequence[Request]:
        server = self.server
        connection = server.socket_of(fd)
        with server.lock:
            self._count(connection, nbytes)
            complete, connection.received = divmod(
                connection.received + nbytes, server.request_bytes
            )
            connection.owed_bytes += complete * server.reply_bytes
        noticed_ns = connection.noticed_ns or connection.copied_ns
        connection.noticed_ns = 0
        found = []
        for _ in range(complete):
            connection.noticed_at_ns.append(noticed_ns)
            connection.copied_at_ns.append(connection.copied_ns)
            found.append(server.request(connection, len(connection.copied_at_ns) - 1))
        self.requests_taken += complete
        return found

    def _count(self, connection: Socket, nbytes: int) -> None:
        """The program counts bytes that it has read."""
        if connection.number is None:
            raise error(errno.ENOTCONN, connection.socket.fileno())
        left = connection.uncounted - whole("nbytes", nbytes, 0)
        if left < 0:
            raise uncounted(connection, nbytes, connection.uncounted)
        connection.uncounted = left

    def compute(self, ns: int) -> Call[None]:
        if ns.__class__ is not int or ns < 0:
            ns = whole("ns", ns, 0)
        self.compute_until_ns = thread_time_ns() + ns
        while thread_time_ns() < self.compute_until_ns:
            pass
        return
        yield

    def send(self, fd: int, nbytes: int) -> Call[int]:
        self.syscalls["send"] += 1
        server = self.server
        try:
            connection = server.sockets[fd]
            if (fd | nbytes) < 0:
                size("nbytes", nbytes)
        except TypeError:
            whole("nbytes", nbytes)
            server.socket_of(fd)
            raise
        if nbytes > connection.owed_bytes and server.replies_only and connection.number is not None:
            raise unasked(connection, nbytes, connection.owed_bytes)
        owed_bytes, begun = connection.owed_bytes, connection.done_at_ns
        began_ns = monotonic_ns()
        begins = not owed_bytes % server.reply_bytes
        if begins:
            # Before the call: the client may have the reply before this thread goes on.
            begun.append(began_ns)
        try:
            sent = connection.send(
                server.reply if nbytes == server.reply_bytes else server.zeros(nbytes)
            )
        except OSError as failed:
            if begins:
                begun.pop()
            if isinstance(failed, BlockingIOError):
                self.empty_polls += 1
                return EAGAIN
            if isinstance(failed, ConnectionError):
                return _number(failed)
            raise
        connection.owed_bytes = left = owed_bytes - sent
        # Replies that have not begun are owed whole: as many fewer, as many have begun.
        for _ in range(owed_bytes // server.reply_bytes - left // server.reply_bytes - begins):
            begun.append(began_ns)
        if not left % server.reply_bytes and (now_ns := monotonic_ns()) >= server.meter.due_ns:
            server.meter.look(now_ns)
        return sent
        yield

    def wait_writable(self, fd: int) -> Call[None]:
        self.syscalls["poll"] += 1
        if not self.server.is_open(whole("fd", fd, 0)):
            return  # POLLNVAL of poll(2)
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll()
        return
        yield

    def shutdown(self, fd: int) -> Call[None]:
        self.syscalls["shutdown"] += 1
        self.server.socket_of(fd).socket.shutdown(socket.SHUT_WR)
        return
        yield

    def close(self, fd: int) -> Call[None]:
        self.syscalls["close"] += 1
        server = self.server
        fd = server.must_be_open(fd)
        # Once it is closed, another thread may get its number, and begin a read there.
        if server.aio is not None:
            server.aio.forget(fd)
        # First: the kernel may give the number to the next connection at once. Of two threads that
        # close it, one gets it.
        closed = server.files.pop(fd, None) or server.sockets.pop(fd, None)
        if closed is None:
            raise error(errno.EBADF, fd)
        (closed.socket if isinstance(closed, Socket) else closed).close()
        return
        yield
