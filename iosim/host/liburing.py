"""io_uring(7) by its system calls: one submission and one completion queue for one thread.

Numbers and structures are those of <linux/io_uring.h>; they are the same on every 64-bit Linux.

The queues are plain memory shared with the kernel. Without SQPOLL no memory barriers are needed:
the kernel reads submissions and provided buffers inside the `io_uring_enter` of the thread that
wrote them, and it writes the completions of sockets from that same thread (task work, DEFER_TASKRUN
in io_uring_setup(2)). With SQPOLL a kernel thread does all that, on whatever core it runs; there
`_fence` keeps what must not pass each other apart: an entry and the tail that publishes it, the
tail and the look whether the thread sleeps, the kernel's tail and its entries.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
import threading
from pathlib import Path
from socket import MSG_NOSIGNAL, MSG_WAITALL

_SETUP, _ENTER, _REGISTER = 425, 426, 427

_SETUP_SQPOLL = 1 << 1
_SETUP_SQ_AFF = 1 << 2
_SETUP_CQSIZE = 1 << 3
_SETUP_CLAMP = 1 << 4
_SETUP_COOP_TASKRUN = 1 << 8
_SETUP_SINGLE_ISSUER = 1 << 12
_SETUP_DEFER_TASKRUN = 1 << 13
_TASK_FLAGS = (
    _SETUP_SINGLE_ISSUER | _SETUP_COOP_TASKRUN | _SETUP_DEFER_TASKRUN,  # since Linux 6.1
    _SETUP_COOP_TASKRUN,  # since Linux 5.19
    0,
)

_ENTER_GETEVENTS = 1 << 0
_ENTER_SQ_WAKEUP = 1 << 1
_ENTER_SQ_WAIT = 1 << 2
_SQ_NEED_WAKEUP = 1 << 0
_SQ_CQ_OVERFLOW = 1 << 1
_OFF_SQES = 0x10000000
_REGISTER_PBUF_RING = 22
_REGISTER_SYNC_CANCEL = 24
_ASYNC_CANCEL_ALL_ANY = 1 << 0 | 1 << 2
_OP_ACCEPT, _OP_SEND, _OP_RECV = 13, 26, 27
_ACCEPT_MULTISHOT = 1 << 0
_RECV_MULTISHOT = 1 << 1
_SQE_BUFFER_SELECT = 1 << 5
CQE_BUFFER = 1 << 0
CQE_MORE = 1 << 1
CQE_BUFFER_SHIFT = 16
"""Flags of a completion: it names a provided buffer, from that bit on; more will follow."""
_U16 = 0xFFFF
_U32 = 0xFFFFFFFF
_CQ_PER_SQ = 4

_PARAMS = struct.Struct("=10I" + 2 * "8IQ")
"""struct io_uring_params: ten words, then the offsets of the submission and completion rings."""

_SQE = struct.Struct("=BBHi8xQIIQ24x")
"""struct io_uring_sqe: opcode, flags, ioprio, fd, addr, len, op flags, user_data; all other fields
zero, so that the buffer group is 0."""

_CQE = struct.Struct("=QiI")
"""struct io_uring_cqe: user_data, res, flags."""

_BUF_REG = struct.Struct("=QIHH24x")
"""struct io_uring_buf_reg: address and entries of a ring of buffers, group, flags."""

_BUF = struct.Struct("=QIH")
"""struct io_uring_buf: addr, len, bid; its last two bytes are the ring's tail in the first one."""
_BUF_BYTES = 16
_BUF_TAIL_AT = 14

_SYNC_CANCEL = struct.Struct("=QiIqqB31x")
"""struct io_uring_sync_cancel_reg: addr, fd, flags, timeout (s, ns), opcode."""

# Without argtypes ctypes passes int as C int and None as a null pointer, which is all that these
# calls need, in a third of the time that the conversions of declared arguments take. The seventh
# argument goes on the stack, where an int would leave the upper half undefined: give None there.
_syscall = ctypes.CDLL(None, use_errno=True).syscall


class Ring:
    """A ring for the thread that makes it (EEXIST for others).

    The kernel rounds sizes up to powers of two and cuts them to its limits; without `cq_entries`
    there is room for four times as many completions as submissions. With `sqpoll_idle_ms` a kernel
    thread takes submissions as soon as they are published and goes to sleep when there were none
    for so long; it is pinned to the last core that this thread may use, since it would otherwise
    run on any. Memory given to `prep_recv` and `prep_send` must stay valid until the completion is
    taken. Raises OSError as io_uring_setup(2) fails.
    """

    def __init__(
        self, entries: int, cq_entries: int | None = None, sqpoll_idle_ms: int | None = None
    ) -> None:
        cq_entries = _CQ_PER_SQ * entries if cq_entries is None else cq_entries
        self._fd, params = _setup(entries, cq_entries, sqpoll_idle_ms)
        self._sqpoll = sqpoll_idle_ms is not None
        sq_entries, cq_entries = params[:2]
        sq_head, sq_tail, _, _, sq_flags, _, sq_array = params[10:17]
        cq_head, cq_tail, _, _, _, cqes = params[19:25]
        # Both rings lie in one mapping (IORING_FEAT_SINGLE_MMAP) on every kernel that knows CLAMP.
        size = max(sq_array + 4 * sq_entries, cqes + _CQE.size * cq_entries)
        self._maps = [_map(self._fd, size, 0), _map(self._fd, sq_entries * _SQE.size, _OFF_SQES)]
        ring, self._sqes = (memoryview(mapping) for mapping in self._maps)
        self._words = ring[: size & ~3].cast("I")
        self._cqes = ring[cqes : cqes + _CQE.size * cq_entries]
        ring.release()

        self._sq_tail_at, self._sq_flags_at = sq_tail // 4, sq_flags // 4
        self._sq_head_at = sq_head // 4
        self._cq_head_at, self._cq_tail_at = cq_head // 4, cq_tail // 4
        self.sq_entries, self.cq_entries = sq_entries, cq_entries
        self._sqe_mask = sq_entries * _SQE.size - 1
        self._cqe_mask = cq_entries * _CQE.size - 1
        # Entries are used in order, so the indirection array stays the identity.
        self._words[sq_array // 4 : sq_array // 4 + sq_entries] = memoryview(
            struct.pack(f"={sq_entries}I", *range(sq_entries))
        ).cast("I")
        self._tail = self._words[self._sq_head_at]
        self._head = self._words[self._cq_head_at]
        self._buffers: Buffers | None = None
        self._lock = threading.Lock()
        self._lock.acquire()

    @property
    def space_left(self) -> int:
        """Submissions that can be prepared before some must be submitted."""
        return self.sq_entries - (self._tail - self._words[self._sq_head_at] & _U32)

    @property
    def needs_wakeup(self) -> bool:
        """Whether the kernel thread of SQPOLL sleeps, so that submitting takes a system call."""
        return bool(self._words[self._sq_flags_at] & _SQ_NEED_WAKEUP)

    def prep_accept(self, fd: int, user_data: int, flags: int = 0, multishot: bool = False) -> None:
        """Prepare accept4(2) with `flags`; its result is the new descriptor."""
        self._prep(_OP_ACCEPT, fd, 0, 0, flags, user_data, _ACCEPT_MULTISHOT * multishot)

    def prep_recv(self, fd: int, buffer_address: int, nbytes: int, user_data: int) -> None:
        """Prepare recv(2) of at most `nbytes` into the memory at `buffer_address`."""
        self._prep(_OP_RECV, fd, buffer_address, nbytes, 0, user_data)

    def prep_recv_multishot(self, fd: int, user_data: int) -> None:
        """Prepare a recv(2) into provided buffers that goes on after each completion."""
        self._prep(_OP_RECV, fd, 0, 0, 0, user_data, _RECV_MULTISHOT, _SQE_BUFFER_SELECT)

    def prep_send(self, fd: int, buffer_address: int, nbytes: int, user_data: int) -> None:
        """Prepare send(2) of `nbytes` at `buffer_address`.

        It completes when all are sent (MSG_WAITALL, io_uring_prep_send(3)) or with an error.
        """
        self._prep(_OP_SEND, fd, buffer_address, nbytes, MSG_NOSIGNAL | MSG_WAITALL, user_data)

    def register_buffers(self, count: int, nbytes: int) -> None:
        """Provide `count` buffers of `nbytes` as group 0; OSError as io_uring_register(2) fails."""
        buffers = Buffers(count, nbytes)
        about = _BUF_REG.pack(buffers.address, count, 0, 0)
        if _syscall(_REGISTER, self._fd, _REGISTER_PBUF_RING, about, 1) < 0:
            raise _error("io_uring_register")
        self._buffers = buffers
        for number in range(count):
            self.return_buffer(number)

    def return_buffer(self, number: int) -> None:
        """Let the kernel have a provided buffer again."""
        assert self._buffers is not None
        self._buffers.put(number)
        self._fence()
        self._buffers.publish()

    def submit(self) -> int:
        """Submit what was prepared, without waiting for it; returns the system calls it took.

        Afterwards there is room for submissions.
        """
        flags = self._publish()
        if self._sqpoll:
            flags |= 0 if self.space_left else _ENTER_SQ_WAIT
            if flags:
                self._enter(0, 0, flags)
            return int(flags > 0)
        calls = 0
        while self._prepared:
            self._enter(self._prepared, 0, 0)
            calls += 1
        return calls

    def enter(self, min_complete: int) -> tuple[list[tuple[int, int, int]], int]:
        """Submit what was prepared, sleep until `min_complete` completions are there, take all.

        io_uring_enter(2). Returns the completions, (user_data, res, flags), in order, and how many
        system calls it took. `res` is the result of the operation or a negative errno(3).
        Completions that did not fit the queue are kept by the kernel, which hands them on at the
        next call. Interruptions by signals are retried.
        """
        min_complete = min(min_complete, self.cq_entries)
        taken: list[tuple[int, int, int]] = []
        flags, calls = _ENTER_GETEVENTS, 0
        if self._sqpoll:
            flags = self._publish()
            taken = self._reap()
            overflown = self._words[self._sq_flags_at] & _SQ_CQ_OVERFLOW
            if len(taken) < min_complete or (overflown and not taken):
                flags |= _ENTER_GETEVENTS
        else:
            self._publish()
        while flags:
            self._enter(self._prepared, max(0, min_complete - len(taken)), flags)
            calls += 1
            taken += self._reap()
            done = len(taken) >= min_complete and (self._sqpoll or not self._prepared)
            flags = 0 if done else _ENTER_GETEVENTS
        return taken, calls

    def close(self) -> None:
        """Cancel what is under way and close the ring; buffers may be freed afterwards."""
        # Closing alone would cancel later, in a kernel worker, and leave sockets open until then.
        everything = _SYNC_CANCEL.pack(0, -1, _ASYNC_CANCEL_ALL_ANY, -1, -1, 0)
        if _syscall(_REGISTER, self._fd, _REGISTER_SYNC_CANCEL, everything, 1) >= 0:
            self._enter(0, 0, _ENTER_GETEVENTS)
        for view in (self._words, self._cqes, self._sqes):
            view.release()
        for mapping in self._maps:
            mapping.close()
        os.close(self._fd)

    @property
    def _prepared(self) -> int:
        """Submissions that the kernel has not taken yet."""
        return self._tail - self._words[self._sq_head_at] & _U32

    def _prep(
        self,
        op: int,
        fd: int,
        address: int,
        nbytes: int,
        op_flags: int,
        data: int,
        ioprio: int = 0,
        flags: int = 0,
    ) -> None:
        at = self._tail * _SQE.size & self._sqe_mask
        _SQE.pack_into(self._sqes, at, op, flags, ioprio, fd, address, nbytes, op_flags, data)
        self._tail = self._tail + 1 & _U32

    def _publish(self) -> int:
        """Let the kernel see what was prepared; returns the flag that wakes its thread, or 0."""
        if not self._sqpoll:
            self._words[self._sq_tail_at] = self._tail
            return 0
        self._fence()
        self._words[self._sq_tail_at] = self._tail
        self._fence()
        return _ENTER_SQ_WAKEUP if self._prepared and self.needs_wakeup else 0

    def _enter(self, submit: int, min_complete: int, flags: int) -> None:
        # EBUSY asks to take completions first: older kernels refuse to submit while some have
        # overflowed.
        again = (errno.EINTR, errno.EBUSY)
        submitted = _syscall(_ENTER, self._fd, submit, min_complete, flags, None, None)
        if submitted < 0 and ctypes.get_errno() not in again:
            raise _error("io_uring_enter")

    def _fence(self) -> None:
        """Keep memory accesses before and after apart, where another core may look on (SQPOLL).

        To release a lock and take it again orders everything before against everything after: on
        x86 each is a locked instruction, on Armv8 a store-release that no later load-acquire
        passes.
        """
        if self._sqpoll:
            self._lock.release()
            self._lock.acquire()

    def _reap(self) -> list[tuple[int, int, int]]:
        tail = self._words[self._cq_tail_at]
        if tail == self._head:
            return []
        self._fence()
        first = self._head * _CQE.size & self._cqe_mask
        last = tail * _CQE.size & self._cqe_mask
        if first < last:
            taken = list(_CQE.iter_unpack(self._cqes[first:last]))
        else:
            taken = [
                *_CQE.iter_unpack(self._cqes[first:]),
                *_CQE.iter_unpack(self._cqes[:last]),
            ]
        self._fence()
        self._words[self._cq_head_at] = self._head = tail
        return taken


class Buffers:
    """Provided buffers: memory in equal parts, and the ring through which the kernel gets them."""

    def __init__(self, count: int, nbytes: int) -> None:
        self._nbytes = nbytes
        self._mask = count - 1
        self._tail = 0
        # An anonymous mapping begins on a page, as the kernel wants the ring.
        self._ring = mmap.mmap(-1, max(1, count) * _BUF_BYTES)
        self._memory = mmap.mmap(-1, max(1, count * nbytes))
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._ring))
        self._data = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def put(self, number: int) -> None:
        """Write the entry of a buffer, which `publish` lets the kernel see."""
        at = (self._tail & self._mask) * _BUF_BYTES
        _BUF.pack_into(self._ring, at, self._data + number * self._nbytes, self._nbytes, number)
        self._tail = self._tail + 1 & _U16

    def publish(self) -> None:
        struct.pack_into("=H", self._ring, _BUF_TAIL_AT, self._tail)


def why_not() -> str | None:
    """Why this host cannot use io_uring, in one line; None when it can."""
    try:
        Ring(1).close()
    except OSError as error:
        return f"io_uring_setup failed: {_hint(error)}"
    return None


def _setup(
    entries: int, cq_entries: int, sqpoll_idle_ms: int | None = None
) -> tuple[int, tuple[int, ...]]:
    """io_uring_setup(2) with the best flags that the kernel takes: (descriptor, parameters)."""
    flags, cpu = _SETUP_CQSIZE | _SETUP_CLAMP, 0
    choices: tuple[int, ...] = _TASK_FLAGS
    if sqpoll_idle_ms is not None:
        # Completions are written by the kernel's thread: there is no task work to defer.
        flags, choices = flags | _SETUP_SQPOLL | _SETUP_SQ_AFF, (0,)
        cpu = max(os.sched_getaffinity(0))
    for task_flags in choices:
        words = [0, cq_entries, flags | task_flags, cpu, sqpoll_idle_ms or 0] + 23 * [0]
        params = ctypes.create_string_buffer(_PARAMS.pack(*words), _PARAMS.size)
        fd = _syscall(_SETUP, entries, params)
        if fd >= 0:
            return fd, _PARAMS.unpack(params.raw)
        if ctypes.get_errno() != errno.EINVAL:
            break
    raise _error("io_uring_setup")


def _map(fd: int, size: int, offset: int) -> mmap.mmap:
    return mmap.mmap(fd, size, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE, offset=offset)


def _error(call: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{call}: {os.strerror(number)}")


def _hint(error: OSError) -> str:
    if error.errno == errno.ENOSYS:
        return "the kernel has no io_uring, or a sandbox hides it (ENOSYS)"
    if error.errno == errno.EPERM:
        switch = Path("/proc/sys/kernel/io_uring_disabled")
        if switch.exists() and switch.read_text().strip() != "0":
            return f"{switch} is {switch.read_text().strip()}, not 0 (EPERM)"
        return "forbidden, probably by the seccomp filter of a container (EPERM)"
    if error.errno == errno.EINVAL:
        return "the kernel is older than Linux 5.6 (EINVAL)"
    if error.errno == errno.ENOMEM:
        return "not enough lockable memory, see `ulimit -l` (ENOMEM)"
    return str(error)
