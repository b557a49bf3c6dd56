"""The real io_uring as calls of a program."""

from __future__ import annotations

import ctypes
import socket
from time import monotonic_ns
from typing import Any

from iosim.errors import sq_full
from iosim.host.liburing import CQE_BUFFER, CQE_BUFFER_SHIFT, CQE_MORE, Ring
from iosim.host.thread import Server, Socket, Thread
from iosim.kernel import Call, Completion

_ACCEPT, _RECV, _SEND = range(3)

_SEND_BYTES = 1 << 20
"""At least so much of what a program owes a client goes out in one send."""


class ProgramRing:
    """A ring with the buffers its entries point to, and what its entries mean."""

    def __init__(self, server: Server, ring: Ring) -> None:
        self.server = server
        self.ring = ring
        self._reply = ctypes.create_string_buffer(max(server.reply_bytes, _SEND_BYTES))
        self.reply_address = ctypes.addressof(self._reply)
        self.reply_room = ctypes.sizeof(self._reply)
        self._handed: dict[Socket, int] = {}
        """Bytes of replies that sends were prepared for, less what those left over."""
        self.buffers: dict[int, tuple[int, Any]] = {}
        """Receive buffers by descriptor: (address, memory)."""
        self._numbers: dict[tuple[int, int, int, Any], int] = {}
        self._meanings: list[tuple[int, int, int, Any]] = []

    def number(self, opcode: int, fd: int, nbytes: int, user_data: Any) -> int:
        """A 64-bit user_data field for an entry; equal entries share one."""
        if not self.ring.space_left:
            raise sq_full(self.ring.sq_entries)
        key = (opcode, fd, nbytes, user_data)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._meanings)
            self._meanings.append(key)
        return number

    def meaning(self, number: int) -> tuple[int, int, int, Any]:
        """(opcode, descriptor, bytes, the program's user_data)."""
        return self._meanings[number]

    def hand(self, connection: Socket, nbytes: int) -> None:
        """A send of replies is prepared."""
        handed = self._handed[connection] = self._handed.get(connection, 0) + nbytes
        begun = connection.done_at_ns
        while len(begun) * self.server.reply_bytes < handed:
            begun.append(monotonic_ns())

    def hand_back(self, connection: Socket, nbytes: int) -> None:
        """A send has left so many bytes over: replies that have not begun are not done."""
        self._handed[connection] -= nbytes
        del connection.done_at_ns[-(-self._handed[connection] // self.server.reply_bytes) :]

    def buffer(self, fd: int, nbytes: int) -> int:
        """Address of the descriptor's receive buffer."""
        known = self.buffers.get(fd)
        if known is None:
            memory = ctypes.create_string_buffer(nbytes)
            known = self.buffers[fd] = (ctypes.addressof(memory), memory)
        return known[0]


def _peer_port(sock: socket.socket) -> int:
    """The client's port; 0 if the client has reset the connection already."""
    try:
        return int(sock.getpeername()[1])
    except OSError:
        return 0


class RingCalls(Thread):
    """io_uring."""

    def io_uring_setup(
        self, entries: int, cq_entries: int | None = None, sqpoll_idle_ns: int | None = None
    ) -> Call[ProgramRing]:
        self.syscalls["io_uring_setup"] += 1
        # The kernel takes 0 for its default of a second.
        idle_ms = None if sqpoll_idle_ns is None else max(1, -(-sqpoll_idle_ns // 1_000_000))
        return ProgramRing(self.server, Ring(entries, cq_entries, idle_ms))
        yield

    def sq_space_left(self, ring: ProgramRing) -> int:
        return ring.ring.space_left

    def prep_accept(self, ring: ProgramRing, listener: int, user_data: Any) -> None:
        ring.ring.prep_accept(listener, ring.number(_ACCEPT, listener, 0, user_data))

    def prep_accept_multishot(self, ring: ProgramRing, listener: int, user_data: Any) -> None:
        number = ring.number(_ACCEPT, listener, 0, user_data)
        ring.ring.prep_accept(listener, number, multishot=True)

    def prep_recv(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        number = ring.number(_RECV, fd, nbytes, user_data)
        ring.ring.prep_recv(fd, ring.buffer(fd, nbytes), nbytes, number)

    def prep_recv_multishot(self, ring: ProgramRing, fd: int, user_data: Any) -> None:
        ring.ring.prep_recv_multishot(fd, ring.number(_RECV, fd, 0, user_data))

    def prep_send(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        nbytes = min(nbytes, ring.reply_room)
        number = ring.number(_SEND, fd, nbytes, user_data)
        if (connection := self.server.sockets.get(fd)) is not None:
            ring.hand(connection, nbytes)
        ring.ring.prep_send(fd, ring.reply_address, nbytes, number)

    def io_uring_register_buffers(self, ring: ProgramRing, count: int, nbytes: int) -> Call[None]:
        self.syscalls["io_uring_register"] += 1
        ring.ring.register_buffers(count, nbytes)
        return
        yield

    def io_uring_return_buffer(self, ring: ProgramRing, buffer: int) -> None:
        ring.ring.return_buffer(buffer)

    def io_uring_submit(self, ring: ProgramRing) -> Call[None]:
        self.syscalls["io_uring_enter"] += ring.ring.submit()
        return
        yield

    def io_uring_needs_wakeup(self, ring: ProgramRing) -> bool:
        return ring.ring.needs_wakeup

    def io_uring_enter(self, ring: ProgramRing, min_complete: int) -> Call[list[Completion]]:
        self.free_since_ns = began_ns = monotonic_ns()
        entries, calls = ring.ring.enter(min_complete)
        self.syscalls["io_uring_enter"] += calls
        now_ns = monotonic_ns()
        self.in_free_ns += now_ns - began_ns
        self.free_since_ns = 0
        completions = []
        sent = False
        sockets = self.server.sockets
        for number, result, flags in entries:
            opcode, fd, nbytes, user_data = ring.meaning(number)
            if opcode == _ACCEPT:
                if result >= 0:
                    sock = socket.socket(fileno=result)
                    self.server.adopt(sock, _peer_port(sock))
            # The program may have closed it meanwhile.
            elif (connection := sockets.get(fd)) is not None:
                if opcode == _RECV:
                    connection.copied_ns = connection.noticed_ns = now_ns
                else:
                    sent = True
                    if result < nbytes:
                        ring.hand_back(connection, nbytes - max(0, result))
            completion = Completion((user_data, result))
            if flags & CQE_BUFFER:
                completion.buffer = flags >> CQE_BUFFER_SHIFT
            if flags & CQE_MORE:
                completion.more = True
            completions.append(completion)
        if sent and now_ns >= self.server.meter.due_ns:
            self.server.meter.look(now_ns)
        return completions
        yield
