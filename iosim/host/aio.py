"""glibc's POSIX AIO as calls of a program."""

from __future__ import annotations

import errno
from collections.abc import Callable
from functools import cache, partial
from time import monotonic_ns

from iosim.arguments import error, notification, size, under_way, whole
from iosim.host.sockets import MOST_BYTES
from iosim.host.thread import Server, Thread
from iosim.kernel import Call, Notify

_MOST_THREADS = (1 << 31) - 1


@cache
def _in_thread(server: Server, program: Callable[..., Call[None]]) -> Callable[[int], object]:
    """Run the program in the thread that the C library has made for it; one function each, so that
    a read can be made again as it was."""
    return partial(server.run, program)


class AioCalls(Thread):
    """aio_init, aio_read and aio_return."""

    def aio_init(self, threads: int) -> Call[None]:
        # glibc makes at least one of them.
        self.server.reads().init(max(1, min(whole("threads", threads), _MOST_THREADS)))
        return
        yield

    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        notification(notify)
        fd, nbytes = whole("fd", fd), min(size("nbytes", nbytes), MOST_BYTES)
        self.syscalls["aio_read"] += 1
        reads = self.server.aio or self.server.reads()
        if reads.under_way(fd):
            raise under_way(fd)
        call = _in_thread(self.server, notify) if callable(notify) else notify
        # What the program does not have fails as what is not open, wherever else it is.
        reads.read(fd if self.server.is_open(fd) else -1, nbytes, call, fd)
        return
        yield

    def aio_return(self, fd: int) -> Call[int]:
        self.syscalls["aio_return"] += 1
        reads = self.server.aio
        if reads is None or not reads.under_way(fd):
            raise error(errno.EINVAL, f"no read has been begun on {whole('fd', fd)}")
        result = reads.result(fd)
        if (connection := self.server.sockets.get(fd)) is not None:
            connection.copied_ns = monotonic_ns()
            connection.uncounted += max(0, result)
        return result
        yield
