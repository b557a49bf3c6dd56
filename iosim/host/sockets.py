"""Calls on real sockets."""

from __future__ import annotations

import errno
import os
import select
import socket
from collections.abc import Sequence
from time import monotonic_ns, thread_time_ns

from iosim.host.thread import BACKLOG, Socket, Thread
from iosim.kernel import EAGAIN, READ_BYTES, Call, Request


def _number(error: OSError) -> int:
    """The negative error number that the system call returned."""
    assert error.errno is not None
    return -error.errno


class SocketCalls(Thread):
    """accept, recv, send, close and the application's framing."""

    def set_nonblocking(self, fd: int) -> Call[None]:
        self.syscalls["fcntl"] += 1
        if fd in self.server.files:
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
            sock, peer = self.server.sockets[listener].socket.accept()
        except BlockingIOError:
            self.free_since_ns = 0
            self.found_nothing()
            self.empty_polls += 1
            return EAGAIN
        except OSError:
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
        first = self.server.sockets[listener].socket
        if not first.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            raise OSError(errno.EINVAL, "not a listening socket")
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
        if nbytes > READ_BYTES and nbytes > len(self.buffer):
            self.buffer = bytearray(nbytes)
        connection = self.server.sockets[fd]
        began_ns = monotonic_ns()
        if connection.nonblocking:
            try:
                received = connection.recv_into(self.buffer, nbytes)
            except BlockingIOError:
                self.empty_polls += 1
                return EAGAIN
            except ConnectionError as error:
                return _number(error)
            connection.copied_ns = now_ns = monotonic_ns()
            self.in_copy_ns += now_ns - began_ns
        else:
            self.recv_since_ns = began_ns
            try:
                received = connection.recv_into(self.buffer, nbytes)
            except ConnectionError as error:
                received = _number(error)
            except OSError:
                self.recv_since_ns = 0
                raise
            connection.copied_ns = now_ns = monotonic_ns()
            self.in_recv_ns += now_ns - began_ns
            self.recv_since_ns = 0
        return received
        yield

    def requests(self, fd: int, nbytes: int) -> Sequence[Request]:
        server = self.server
        connection = server.sockets[fd]
        complete, connection.received = divmod(connection.received + nbytes, server.request_bytes)
        noticed_ns = connection.noticed_ns or connection.copied_ns
        connection.noticed_ns = 0
        found = []
        for _ in range(complete):
            connection.noticed_at_ns.append(noticed_ns)
            connection.copied_at_ns.append(connection.copied_ns)
            found.append(server.request(connection, len(connection.copied_at_ns) - 1))
        self.requests_taken += complete
        return found

    def compute(self, ns: int) -> Call[None]:
        self.compute_until_ns = thread_time_ns() + ns
        while thread_time_ns() < self.compute_until_ns:
            pass
        return
        yield

    def send(self, fd: int, nbytes: int) -> Call[int]:
        self.syscalls["send"] += 1
        server = self.server
        connection = server.sockets[fd]
        if not connection.sent:
            connection.done_at_ns.append(monotonic_ns())
        reply = server.reply if nbytes == server.reply_bytes else memoryview(server.reply)[:nbytes]
        try:
            sent = connection.send(reply)
        except BlockingIOError:
            self.empty_polls += 1
            return EAGAIN
        except ConnectionError as error:
            return _number(error)
        connection.sent = (connection.sent + sent) % server.reply_bytes
        if not connection.sent and (now_ns := monotonic_ns()) >= server.meter.due_ns:
            server.meter.look(now_ns)
        return sent
        yield

    def wait_writable(self, fd: int) -> Call[None]:
        self.syscalls["poll"] += 1
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll()
        return
        yield

    def shutdown(self, fd: int) -> Call[None]:
        self.syscalls["shutdown"] += 1
        self.server.sockets[fd].socket.shutdown(socket.SHUT_WR)
        return
        yield

    def close(self, fd: int) -> Call[None]:
        self.syscalls["close"] += 1
        server = self.server
        # Once it is closed, another thread may get its number, and begin a read there.
        if server.aio is not None:
            server.aio.forget(fd)
        if fd in server.files:
            server.files.pop(fd).close()
        else:
            sock = server.sockets[fd].socket
            # First: the kernel may give the number to the next connection at once.
            del server.sockets[fd]
            sock.close()
        return
        yield
