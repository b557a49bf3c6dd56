"""The real io_uring as calls of a program."""

from __future__ import annotations

import ctypes
import socket
from time import monotonic_ns
from typing import Any

from iosim.host.liburing import Ring
from iosim.host.thread import Server, Thread
from iosim.kernel import Call, Completion

_ACCEPT, _RECV, _SEND = range(3)


class ProgramRing:
    """A ring with the buffers its entries point to, and what its entries mean."""

    def __init__(self, server: Server, entries: int) -> None:
        self.server = server
        self.ring = Ring(entries)
        self.reply = ctypes.create_string_buffer(server.reply, server.reply_bytes)
        self.reply_address = ctypes.addressof(self.reply)
        self.buffers: dict[int, tuple[int, Any]] = {}
        """Receive buffers by descriptor: (address, memory)."""
        self._numbers: dict[tuple[int, int, Any], int] = {}
        self._meanings: list[tuple[int, int, Any]] = []

    def number(self, opcode: int, fd: int, user_data: Any) -> int:
        """A 64-bit user_data field for an entry; equal entries share one."""
        key = (opcode, fd, user_data)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._meanings)
            self._meanings.append(key)
        return number

    def meaning(self, number: int) -> tuple[int, int, Any]:
        """(opcode, descriptor, the program's user_data)."""
        return self._meanings[number]

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

    def io_uring_setup(self, entries: int) -> Call[ProgramRing]:
        self.syscalls["io_uring_setup"] += 1
        return ProgramRing(self.server, entries)
        yield

    def prep_accept(self, ring: ProgramRing, listener: int, user_data: Any) -> None:
        ring.ring.prep_accept(listener, ring.number(_ACCEPT, listener, user_data))

    def prep_recv(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        ring.ring.prep_recv(fd, ring.buffer(fd, nbytes), nbytes, ring.number(_RECV, fd, user_data))

    def prep_send(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        connection = self.server.connections[fd]
        if not connection.sent:
            connection.done_at_ns.append(monotonic_ns())
        connection.sent = (connection.sent + nbytes) % self.server.reply_bytes
        ring.ring.prep_send(fd, ring.reply_address, nbytes, ring.number(_SEND, fd, user_data))

    def io_uring_enter(self, ring: ProgramRing, min_complete: int) -> Call[list[Completion]]:
        self.syscalls["io_uring_enter"] += 1
        self.free_since_ns = began_ns = monotonic_ns()
        entries = ring.ring.enter(min_complete)
        now_ns = monotonic_ns()
        self.in_free_ns += now_ns - began_ns
        self.free_since_ns = 0
        completions = []
        connections = self.server.connections
        for number, result in entries:
            opcode, fd, user_data = ring.meaning(number)
            if opcode == _RECV:
                connection = connections[fd]
                connection.copied_ns = connection.noticed_ns = now_ns
            elif opcode == _ACCEPT and result >= 0:
                sock = socket.socket(fileno=result)
                self.server.adopt(sock, _peer_port(sock))
            completions.append(Completion(user_data, result))
        return completions
        yield
