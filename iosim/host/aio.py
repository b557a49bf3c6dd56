"""glibc's POSIX AIO as calls of a program."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from time import monotonic_ns

from iosim.host.libaio import Aio
from iosim.host.thread import Server, Thread
from iosim.kernel import Call, Notify


@cache
def _in_thread(server: Server, program: Callable[..., Call[None]]) -> Callable[[int], object]:
    """Run the program in the thread that the C library has made for it; one function each, so that
    a read can be made again as it was."""
    return partial(server.run, program)


class AioCalls(Thread):
    """aio_init, aio_read and aio_return."""

    def aio_init(self, threads: int) -> Call[None]:
        self.server.aio = Aio()
        self.server.aio.init(threads)
        return
        yield

    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        self.syscalls["aio_read"] += 1
        if self.server.aio is None:
            self.server.aio = Aio()
        call = _in_thread(self.server, notify) if callable(notify) else notify
        self.server.aio.read(fd, nbytes, call)
        return
        yield

    def aio_return(self, fd: int) -> Call[int]:
        self.syscalls["aio_return"] += 1
        assert self.server.aio is not None
        result = self.server.aio.result(fd)
        self.server.sockets[fd].copied_ns = monotonic_ns()
        return result
        yield
