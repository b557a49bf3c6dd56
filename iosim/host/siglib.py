"""Signal-driven input: asking for the signals (fcntl(2)) and waiting for them.

The signals must be blocked (pthread_sigmask(3)) in every thread that could take them, before they
are asked for; the waiting calls leave them blocked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import signal
import struct
import threading
from collections.abc import Callable, Collection
from functools import cache

_SIGSET_WORDS = 1024 // 64
_WORD_BITS = 64
_F_SETOWN_EX = 15
_F_OWNER_TID = 0

_CODE, _VALUE = 2, 6
"""Where siginfo_t has si_code and, on 64-bit Linux, both si_fd and si_value.sival_int, in ints."""

_SI_ASYNCIO = -4
_SIGNALFD_SIGINFO = struct.Struct("=I4xi8xi20xi80x")
"""ssi_signo, ssi_code, ssi_fd and ssi_int of struct signalfd_siginfo, signalfd(2)."""
_POLL_IN, _POLL_HUP = 1, 6
"""si_code: what glibc's aio sends with, and the range of what F_SETSIG sends with, sigaction(2)."""

# Without argtypes ctypes passes arrays as pointers, faster than it converts declared arguments.
_libc = ctypes.CDLL(None, use_errno=True)
_sigwaitinfo = _libc.sigwaitinfo
_signalfd = _libc.signalfd
_sigsuspend = _libc.sigsuspend


class _Siginfo(threading.local):
    """A siginfo_t (128 bytes) for each thread."""

    def __init__(self) -> None:
        self.ints = (ctypes.c_int * 32)()


_siginfo = _Siginfo()


@cache
def _sigset(signals: tuple[int, ...]) -> ctypes.Array[ctypes.c_uint64]:
    words = (ctypes.c_uint64 * _SIGSET_WORDS)()
    for number in signals:
        word, bit = divmod(number - 1, _WORD_BITS)
        words[word] |= 1 << bit
    return words


_NO_SIGNALS = _sigset(())


def set_async(fd: int, signo: int) -> None:
    """Send `signo` to the calling thread whenever input on `fd` becomes possible, fcntl(2).

    A real-time signal queues and carries the descriptor, SIGIO does neither. Input that is there
    already sends nothing. O_NONBLOCK stays as it is.
    """
    # The thread rather than the process (F_SETOWN) owns the signals: those of a process go to any
    # thread that does not block them, where the default action would end the process.
    owner = struct.pack("=ii", _F_OWNER_TID, threading.get_native_id())
    fcntl.fcntl(fd, _F_SETOWN_EX, owner)
    fcntl.fcntl(fd, fcntl.F_SETSIG, 0 if signo == signal.SIGIO else signo)
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)


def sigwaitinfo(signals: Collection[int]) -> tuple[int, int]:
    """Take one pending signal of `signals`, sleeping while there is none, sigwaitinfo(2).

    Returns (signal, value). The value is the descriptor that `set_async` or `aio_read` was asked
    for, and -1 when the signal carries none.
    """
    wanted = _sigset(tuple(signals))
    info = _siginfo.ints
    while (signo := _sigwaitinfo(wanted, info)) < 0:
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, f"sigwaitinfo: {os.strerror(number)}")
    code = info[_CODE]
    carries = _POLL_IN <= code <= _POLL_HUP or code == _SI_ASYNCIO
    return signo, info[_VALUE] if carries else -1


def signalfd(signals: Collection[int], nonblocking: bool = False) -> int:
    """A new descriptor from which pending signals of `signals` can be read, signalfd(2)."""
    flags = os.O_CLOEXEC | (os.O_NONBLOCK if nonblocking else 0)
    fd: int = _signalfd(-1, _sigset(tuple(signals)), flags)
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"signalfd: {os.strerror(number)}")
    return fd


def read_signals(fd: int, count: int) -> list[tuple[int, int]]:
    """Take at most `count` pending signals, each as `sigwaitinfo` returns it, signalfd(2).

    Raises BlockingIOError when there is none and the descriptor is nonblocking.
    """
    taken = []
    records = os.read(fd, count * _SIGNALFD_SIGINFO.size)
    for signo, code, about, value in _SIGNALFD_SIGINFO.iter_unpack(records):
        if _POLL_IN <= code <= _POLL_HUP:
            value = about
        elif code != _SI_ASYNCIO:
            value = -1
        taken.append((signo, value))
    return taken


def handle(signo: int, handler: Callable[[int], object] = lambda _: None) -> None:
    """Install a handler; one that does nothing lets `signo` end a `sigsuspend`.

    Raises ValueError outside of the main thread, as signal.signal does.
    """
    signal.signal(signo, lambda signo, _frame: handler(signo))


def handled(signo: int) -> bool:
    """Whether `signo` has a handler."""
    return callable(signal.getsignal(signo))


def sigsuspend() -> None:
    """Unblock all signals, sleep until a handler has run, block them again, sigsuspend(2).

    Every signal that can come needs a handler (`handle`); the default action applies to others.
    """
    _sigsuspend(_NO_SIGNALS)
