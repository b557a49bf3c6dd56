"""io_uring(7) by its system calls: one submission and one completion queue for one thread.

Numbers and structures are those of <linux/io_uring.h>; they are the same on every 64-bit Linux.

The queues are plain memory shared with the kernel. No memory barriers are needed here: the kernel
reads submissions inside the `io_uring_enter` of the thread that wrote them, and it writes the
completions of sockets from that same thread (task work, DEFER_TASKRUN in io_uring_setup(2)).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from pathlib import Path
from socket import MSG_NOSIGNAL, MSG_WAITALL

_SETUP, _ENTER, _REGISTER = 425, 426, 427

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
_SQ_CQ_OVERFLOW = 1 << 1
_OFF_SQES = 0x10000000
_REGISTER_SYNC_CANCEL = 24
_ASYNC_CANCEL_ALL_ANY = 1 << 0 | 1 << 2
_OP_ACCEPT, _OP_SEND, _OP_RECV = 13, 26, 27
_U32 = 0xFFFFFFFF
_CQ_PER_SQ = 4

_PARAMS = struct.Struct("=10I" + 2 * "8IQ")
"""struct io_uring_params: ten words, then the offsets of the submission and completion rings."""

_SQE = struct.Struct("=Bxxxi8xQIIQ24x")
"""struct io_uring_sqe: opcode, fd, addr, len, op flags, user_data; all other fields zero."""

_CQE = struct.Struct("=Qi4x")
"""struct io_uring_cqe: user_data, res."""

_SYNC_CANCEL = struct.Struct("=QiIqqB31x")
"""struct io_uring_sync_cancel_reg: addr, fd, flags, timeout (s, ns), opcode."""

# Without argtypes ctypes passes int as C int and None as a null pointer, which is all that these
# calls need, in a third of the time that the conversions of declared arguments take. The seventh
# argument goes on the stack, where an int would leave the upper half undefined: give None there.
_syscall = ctypes.CDLL(None, use_errno=True).syscall


class Ring:
    """A ring with room for `entries` submissions and at least four times as many completions.

    The kernel rounds sizes up to powers of two and cuts them to its limits. The thread that makes
    the ring must be the one to use it (EEXIST otherwise). Memory given to `prep_recv` and
    `prep_send` must stay valid until the completion is taken. Raises OSError as
    io_uring_setup(2) fails.
    """

    def __init__(self, entries: int) -> None:
        self._fd, params = _setup(entries)
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
        self._cq_head_at, self._cq_tail_at = cq_head // 4, cq_tail // 4
        self._sq_entries = sq_entries
        self._sqe_mask = sq_entries * _SQE.size - 1
        self._cqe_mask = cq_entries * _CQE.size - 1
        # Entries are used in order, so the indirection array stays the identity.
        self._words[sq_array // 4 : sq_array // 4 + sq_entries] = memoryview(
            struct.pack(f"={sq_entries}I", *range(sq_entries))
        ).cast("I")
        self._tail = self._words[sq_head // 4]
        self._head = self._words[self._cq_head_at]
        self._prepared = 0
        self._early: list[tuple[int, int]] = []

    def prep_accept(self, fd: int, user_data: int, flags: int = 0) -> None:
        """Prepare accept4(2) with `flags`; its result is the new descriptor."""
        self._prep(_OP_ACCEPT, fd, 0, 0, flags, user_data)

    def prep_recv(self, fd: int, buffer_address: int, nbytes: int, user_data: int) -> None:
        """Prepare recv(2) of at most `nbytes` into the memory at `buffer_address`."""
        self._prep(_OP_RECV, fd, buffer_address, nbytes, 0, user_data)

    def prep_send(self, fd: int, buffer_address: int, nbytes: int, user_data: int) -> None:
        """Prepare send(2) of `nbytes` at `buffer_address`.

        It completes when all are sent (MSG_WAITALL, io_uring_prep_send(3)) or with an error.
        """
        self._prep(_OP_SEND, fd, buffer_address, nbytes, MSG_NOSIGNAL | MSG_WAITALL, user_data)

    def enter(self, min_complete: int) -> list[tuple[int, int]]:
        """Submit what was prepared, sleep until `min_complete` completions, take all there are.

        io_uring_enter(2). Returns (user_data, res) in completion order; res is the result of the
        operation or a negative errno(3). Interruptions by signals are retried.
        """
        taken, self._early = self._early, []
        words = self._words
        while True:
            words[self._sq_tail_at] = self._tail
            submitted = _syscall(
                _ENTER,
                self._fd,
                self._prepared,
                max(0, min_complete - len(taken)),
                _ENTER_GETEVENTS,
                None,
                None,
            )
            if submitted >= 0:
                self._prepared -= submitted
            elif ctypes.get_errno() not in (errno.EINTR, errno.EBUSY):
                # EBUSY asks to take completions first: older kernels refuse to submit while some
                # have overflowed.
                raise _error("io_uring_enter")
            taken += self._reap()
            # The call returns early when a signal came or an entry was refused. Completions that
            # did not fit are kept by the kernel; it hands them on at the next call.
            if (
                len(taken) >= min_complete
                and not self._prepared
                and not words[self._sq_flags_at] & _SQ_CQ_OVERFLOW
            ):
                return taken

    def submit(self) -> None:
        """Submit what was prepared without sleeping; the next `enter` returns the completions."""
        self._early = self.enter(0)

    def close(self) -> None:
        """Cancel what is under way and close the ring; buffers may be freed afterwards."""
        # Closing alone would cancel later, in a kernel worker, and leave sockets open until then.
        self._prepared = 0
        everything = _SYNC_CANCEL.pack(0, -1, _ASYNC_CANCEL_ALL_ANY, -1, -1, 0)
        if _syscall(_REGISTER, self._fd, _REGISTER_SYNC_CANCEL, everything, 1) >= 0:
            self.submit()
        for view in (self._words, self._cqes, self._sqes):
            view.release()
        for mapping in self._maps:
            mapping.close()
        os.close(self._fd)

    def _prep(self, op: int, fd: int, address: int, nbytes: int, flags: int, data: int) -> None:
        if self._prepared == self._sq_entries:
            self.submit()
        at = self._tail * _SQE.size & self._sqe_mask
        _SQE.pack_into(self._sqes, at, op, fd, address, nbytes, flags, data)
        self._tail = self._tail + 1 & _U32
        self._prepared += 1

    def _reap(self) -> list[tuple[int, int]]:
        tail = self._words[self._cq_tail_at]
        if tail == self._head:
            return []
        first = self._head * _CQE.size & self._cqe_mask
        last = tail * _CQE.size & self._cqe_mask
        if first < last:
            taken = list(_CQE.iter_unpack(self._cqes[first:last]))
        else:
            taken = [
                *_CQE.iter_unpack(self._cqes[first:]),
                *_CQE.iter_unpack(self._cqes[:last]),
            ]
        self._words[self._cq_head_at] = self._head = tail
        return taken


def why_not() -> str | None:
    """Why this host cannot use io_uring, in one line; None when it can."""
    try:
        Ring(1).close()
    except OSError as error:
        return f"io_uring_setup failed: {_hint(error)}"
    return None


def _setup(entries: int) -> tuple[int, tuple[int, ...]]:
    """io_uring_setup(2) with the best flags that the kernel takes: (descriptor, parameters)."""
    for task_flags in _TASK_FLAGS:
        flags = _SETUP_CQSIZE | _SETUP_CLAMP | task_flags
        words = [0, _CQ_PER_SQ * entries, flags] + 25 * [0]
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
