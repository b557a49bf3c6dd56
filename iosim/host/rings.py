"""The real io_uring as calls of a program."""

from __future__ import annotations

import ctypes
import errno
import socket
from time import monotonic_ns
from typing import Any

from iosim.arguments import A_RING, error, not_lent, ring_number, size, whole, wrong
from iosim.errors import sq_full
from iosim.host.liburing import CQE_BUFFER, CQE_BUFFER_SHIFT, CQE_MORE, Ring
from iosim.host.sockets import MOST_BYTES
from iosim.host.thread import Socket, Thread
from iosim.kernel import Call, Completion
from iosim.program import unasked

_ACCEPT, _RECV, _SEND = range(3)

_MOST_ENTRIES, _MOST_BUFFERS = 1 << 16, 1 << 15

_SEND_BYTES = 1 << 20
"""At least so much of what a program owes a client goes out in one send."""


class ProgramRing:
    """A ring with the buffers its entries point to, and what its entries mean."""

    def __init__(self, owner: RingCalls, ring: Ring) -> None:
        self.owner = owner
        """The thread that has made it (IORING_SETUP_SINGLE_ISSUER)."""
        self.server = server = owner.server
        self.ring = ring
        self.lent: set[int] = set()
        """Provided buffers that the program has."""
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
        try:
            number = self._numbers.get(key)
        except TypeError:  # of data that is not hashable
            self._meanings.append(key)
            return len(self._meanings) - 1
        if number is None:
            number = self._numbers[key] = len(self._meanings)
            self._meanings.append(key)
        return number

    def meaning(self, number: int) -> tuple[int, int, int, Any]:
        """(opcode, descriptor, bytes, the program's user_data)."""
        return self._meanings[number]

    def hand(self, connection: Socket, asked: int, nbytes: int) -> None:
        """A send of replies is prepared, of which it takes `nbytes`."""
        if asked > connection.owed_bytes and self.server.replies_only:
            raise unasked(connection, asked, connection.owed_bytes)
        connection.owed_bytes -= nbytes
        handed = self._handed[connection] = self._handed.get(connection, 0) + nbytes
        begun = connection.done_at_ns
        while len(begun) * self.server.reply_bytes < handed:
            begun.append(monotonic_ns())

    def hand_back(self, connection: Socket, nbytes: int) -> None:
        """A send has left so many bytes over: replies that have not begun are not done."""
        connection.owed_bytes += nbytes
        self._handed[connection] -= nbytes
        del connection.done_at_ns[-(-self._handed[connection] // self.server.reply_bytes) :]

    def buffer(self, fd: int, nbytes: int) -> int:
        """Address of the descriptor's receive buffer."""
        known = self.buffers.get(fd)
        if known is None:
            memory = ctypes.create_string_buffer(nbytes)
            known = self.buffers[fd] = (ctypes.addressof(memory), memory)
        return known[0]


def _ring(ring: Any) -> Ring:
    """The queues of what should be a ring."""
    if ring.__class__ is not ProgramRing:
        raise wrong("ring", ring, A_RING)
    found: Ring = ring.ring
    return found


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
        # More is cut to the kernel's limit (IORING_SETUP_CLAMP).
        entries = min(size("entries", entries, 1), _MOST_ENTRIES)
        if cq_entries is not None:
            cq_entries = min(size("cq_entries", cq_entries, 1), _MOST_ENTRIES)
        idle_ms = None
        if sqpoll_idle_ns is not None:
            # The kernel takes 0 for its default of a second.
            idle_ms = max(1, -(-size("sqpoll_idle_ns", sqpoll_idle_ns) // 1_000_000))
        return ProgramRing(self, Ring(entries, cq_entries, idle_ms))
        yield

    def sq_space_left(self, ring: ProgramRing) -> int:
        return _ring(ring).space_left

    def prep_accept(self, ring: ProgramRing, listener: int, user_data: Any) -> None:
        of_ring, number, fd = self._entry(ring, _ACCEPT, listener, 0, user_data)
        of_ring.prep_accept(fd, number)

    def prep_accept_multishot(self, ring: ProgramRing, listener: int, user_data: Any) -> None:
        of_ring, number, fd = self._entry(ring, _ACCEPT, listener, 0, user_data)
        of_ring.prep_accept(fd, number, multishot=True)

    def prep_recv(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        if nbytes.__class__ is not int or not 0 <= nbytes <= MOST_BYTES:
            nbytes = min(ring_number("nbytes", nbytes), MOST_BYTES)
        of_ring, number, known = self._entry(ring, _RECV, fd, nbytes, user_data)
        of_ring.prep_recv(known, ring.buffer(fd, nbytes), nbytes, number)

    def prep_recv_multishot(self, ring: ProgramRing, fd: int, user_data: Any) -> None:
        of_ring, number, fd = self._entry(ring, _RECV, fd, 0, user_data)
        of_ring.prep_recv_multishot(fd, number)

    def prep_send(self, ring: ProgramRing, fd: int, nbytes: int, user_data: Any) -> None:
        if nbytes.__class__ is not int or nbytes < 0:
            nbytes = ring_number("nbytes", nbytes)
        room = ring.reply_room if isinstance(ring, ProgramRing) else 0
        asked, nbytes = nbytes, min(nbytes, room)
        of_ring, number, known = self._entry(ring, _SEND, fd, nbytes, user_data)
        connection = self.server.sockets.get(fd)
        if connection is not None and connection.number is not None:
            ring.hand(connection, asked, nbytes)
        of_ring.prep_send(known, ring.reply_address, nbytes, number)

    def _entry(
        self, ring: ProgramRing, opcode: int, fd: int, nbytes: int, user_data: Any
    ) -> tuple[Ring, int, int]:
        """What an entry is written with: the ring's queue, its number, and the descriptor, -1 if
        the program has no such one."""
        of_ring = _ring(ring)
        if not self.server.is_open(fd):
            whole("fd", fd)
            return of_ring, ring.number(opcode, fd, nbytes, user_data), -1
        return of_ring, ring.number(opcode, fd, nbytes, user_data), fd

    def _own(self, ring: ProgramRing) -> Ring:
        """The queues of a ring, if it may be used here: the kernel does not always tell."""
        of_ring = _ring(ring)
        if ring.owner is not self:
            raise error(errno.EEXIST, "the ring is that of another thread")
        return of_ring

    def io_uring_register_buffers(self, ring: ProgramRing, count: int, nbytes: int) -> Call[None]:
        of_ring = self._own(ring)
        self.syscalls["io_uring_register"] += 1
        count, nbytes = whole("count", count), size("nbytes", nbytes, 1)
        if not 0 < count <= _MOST_BUFFERS:
            raise error(errno.EINVAL, f"count = {count}")
        of_ring.register_buffers(count, nbytes)
        return
        yield

    def io_uring_return_buffer(self, ring: ProgramRing, buffer: int) -> None:
        of_ring = _ring(ring)
        try:
            ring.lent.remove(buffer)
        except (KeyError, TypeError):
            raise not_lent(buffer) from None
        of_ring.return_buffer(buffer)

    def io_uring_submit(self, ring: ProgramRing) -> Call[None]:
        self._own(ring)
        self.syscalls["io_uring_enter"] += ring.ring.submit()
        return
        yield

    def io_uring_needs_wakeup(self, ring: ProgramRing) -> bool:
        return _ring(ring).needs_wakeup

    def io_uring_enter(self, ring: ProgramRing, min_complete: int) -> Call[list[Completion]]:
        of_ring = self._own(ring)
        if min_complete.__class__ is not int or min_complete < 0:
            min_complete = whole("min_complete", min_complete, 0)
        self.free_since_ns = began_ns = monotonic_ns()
        entries, calls = of_ring.enter(min_complete)
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
                    if result > 0:
                        connection.uncounted += result
                else:
                    sent = True
                    if result < nbytes and connection.number is not None:
                        ring.hand_back(connection, nbytes - max(0, result))
            completion = Completion((user_data, result))
            if flags & CQE_BUFFER:
                completion.buffer = flags >> CQE_BUFFER_SHIFT
                ring.lent.add(completion.buffer)
            if flags & CQE_MORE:
                completion.more = True
            completions.append(completion)
        if sent and now_ns >= self.server.meter.due_ns:
            self.server.meter.look(now_ns)
        return completions
        yield
