"""POSIX asynchronous I/O, aio(7), as glibc implements it: helper threads inside the process.

The structures are those of glibc's <aio.h> and <bits/types/sigevent_t.h> on 64-bit systems. What
glibc does with a socket: a helper calls pread(2), gets ESPIPE and calls read(2), which sleeps
until input comes. So each read under way on a quiet socket occupies one helper; further reads wait
for a helper even when their input is there.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import cache
from typing import Any, ClassVar

from iosim.arguments import aio_has_begun

_SIGEV_SIGNAL, _SIGEV_THREAD = 0, 2

_Notify = int | Callable[[int], object]
"""How a read reports its end: a signal, or a function of the descriptor for a new thread."""


_Function = ctypes.CFUNCTYPE(None, ctypes.c_int)
"""Takes a union sigval, of which it sees sival_int."""


class _Sigevent(ctypes.Structure):
    _fields_ = (
        ("sival_int", ctypes.c_int),
        ("_sigval_rest", ctypes.c_int),
        ("signo", ctypes.c_int),
        ("notify", ctypes.c_int),
        ("function", _Function),
        ("_attributes", ctypes.c_void_p),
        ("_rest", ctypes.c_int * 8),
    )


class _Aiocb(ctypes.Structure):
    _fields_ = (
        ("fildes", ctypes.c_int),
        ("lio_opcode", ctypes.c_int),
        ("reqprio", ctypes.c_int),
        ("buf", ctypes.c_void_p),
        ("nbytes", ctypes.c_size_t),
        ("sigevent", _Sigevent),
        ("_next_prio", ctypes.c_void_p),
        ("_abs_prio", ctypes.c_int),
        ("_policy", ctypes.c_int),
        ("_error_code", ctypes.c_int),
        ("_return_value", ctypes.c_ssize_t),
        ("offset", ctypes.c_long),
        ("_reserved", ctypes.c_char * 32),
    )


class _Aioinit(ctypes.Structure):
    _fields_ = (
        ("threads", ctypes.c_int),
        ("num", ctypes.c_int),
        ("_unused", ctypes.c_int * 4),
        ("idle_time", ctypes.c_int),
        ("_reserved", ctypes.c_int),
    )


@cache
def _function(function: Callable[[int], object]) -> Any:
    """The function for C to call; kept for good, as a thread may be in it at any time."""
    return _Function(function)


class _Read:
    """The control block and the buffer of one read; both must outlive it."""

    def __init__(self, fd: int, nbytes: int, notify: _Notify, tag: int) -> None:
        self.nbytes = nbytes
        self.notify = notify
        self.buffer = ctypes.create_string_buffer(nbytes)
        event = _Sigevent(sival_int=tag)
        if callable(notify):
            event.notify, event.function = _SIGEV_THREAD, _function(notify)
        else:
            event.notify, event.signo = _SIGEV_SIGNAL, notify
        self.block = _Aiocb(
            fildes=fd, buf=ctypes.addressof(self.buffer), nbytes=nbytes, sigevent=event
        )
        self.pointer = ctypes.byref(self.block)
        self.under_way = False


_in_use: set[_Read] = set()
"""Keeps the memory that a helper may still write to, even when its `Aio` is gone."""


class Aio:
    """Asynchronous reads, at most one under way per descriptor.

    glibc has one set of helpers per process: instances differ only in whose buffers they keep.
    """

    _begun: ClassVar[bool] = False
    _threads: ClassVar[int] = 20
    """The default is glibc's."""

    def __init__(self) -> None:
        library = _library()
        self._init = library.aio_init
        self._read = library.aio_read
        self._error = library.aio_error
        self._return = library.aio_return
        self._return.restype = ctypes.c_ssize_t
        self._reads: dict[int, _Read] = {}

    def init(self, threads: int) -> None:
        """Use at most `threads` helpers, aio_init(3).

        glibc ignores the call once the process has begun a read; a different number then raises
        OSError (EBUSY).
        """
        if Aio._begun and threads != Aio._threads:
            raise OSError(errno.EBUSY, aio_has_begun(threads, Aio._threads))
        # Zero would let every helper end as soon as it has nothing to do; 1 s is glibc's default.
        self._init(ctypes.byref(_Aioinit(threads=threads, num=threads, idle_time=1)))
        Aio._threads = threads

    def under_way(self, fd: int) -> bool:
        """Whether a read on `fd` has been begun, and its result has not been taken."""
        read = self._reads.get(fd)
        return read is not None and read.under_way

    def read(self, fd: int, nbytes: int, notify: _Notify, tag: int | None = None) -> None:
        """Begin to read at most `nbytes` from `fd`, aio_read(3); raises OSError if refused.

        `tag` is what it is called, if not by the descriptor.

        A signal is sent to the process when the read has finished, with si_code SI_ASYNCIO and
        `fd` as its value. When the signal queue is full (RLIMIT_SIGPENDING) no signal comes and
        the result becomes -EAGAIN, although the input has been taken from the socket. A function
        is called with `fd` in a thread that glibc makes for it, sigevent(7).
        """
        tag = fd if tag is None else tag
        read = self._reads.get(tag)
        if (
            read is None
            or (read.nbytes, read.notify) != (nbytes, notify)
            or read.block.fildes != fd
        ):
            read = self._prepare(fd, nbytes, notify, tag)
        # First: the thread that the end of the read starts may take the result before this goes on.
        read.under_way = True
        if self._read(read.pointer) < 0:
            number = ctypes.get_errno()
            read.under_way = False
            raise OSError(number, f"aio_read: {os.strerror(number)}")

    def result(self, fd: int) -> int:
        """The byte count of the finished read on `fd`, 0 at end of stream, aio_return(3).

        A negative errno(3) when the read failed, -EINPROGRESS while it is under way.
        """
        read = self._reads[fd]
        count: int = self._return(read.pointer)
        if count <= 0:
            # glibc's aio_return is 0 or -1 while the read is under way, so it has to be asked
            # again after aio_error has said that the read is done.
            error = self._error(read.pointer)
            if error == errno.EINPROGRESS:
                return -errno.EINPROGRESS
            count = -error if error else self._return(read.pointer)
        read.under_way = False
        return count

    def forget(self, fd: int) -> None:
        """Free the buffer of `fd` before it is closed.

        A read whose result was not taken keeps its buffer for good: glibc cannot cancel it once a
        helper sleeps in it, and close(2) does not wake the helper either; shutdown(2) does.
        """
        read = self._reads.pop(fd, None)
        if read is not None and not read.under_way:
            _in_use.discard(read)

    def _prepare(self, fd: int, nbytes: int, notify: _Notify, tag: int) -> _Read:
        self.forget(tag)
        Aio._begun = True
        read = self._reads[tag] = _Read(fd, nbytes, notify, tag)
        _in_use.add(read)
        return read


def why_not() -> str | None:
    """Why this host cannot use `Aio`, in one line; None when it can."""
    try:
        _library()
    except OSError as error:
        return error.strerror
    return None


def _library() -> ctypes.CDLL:
    """The library that holds aio: libc itself since glibc 2.34, librt before."""
    for name in (None, "librt.so.1"):
        try:
            library = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        if hasattr(library, "aio_init"):
            return library
    raise OSError(errno.ENOSYS, "the C library has no aio_init(3); glibc has it, musl has not")
