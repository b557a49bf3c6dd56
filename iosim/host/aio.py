"""glibc's POSIX AIO as calls of a program."""

from __future__ import annotations

from time import monotonic_ns

from iosim.host.libaio import Aio
from iosim.host.thread import Thread
from iosim.kernel import Call


class AioCalls(Thread):
    """aio_init, aio_read and aio_return."""

    def aio_init(self, threads: int) -> Call[None]:
        self.server.aio = Aio()
        self.server.aio.init(threads)
        return
        yield

    def aio_read(self, fd: int, nbytes: int, signal: int) -> Call[None]:
        self.syscalls["aio_read"] += 1
        if self.server.aio is None:
            self.server.aio = Aio()
        self.server.aio.read(fd, nbytes, signal)
        return
        yield

    def aio_return(self, fd: int) -> Call[int]:
        self.syscalls["aio_return"] += 1
        assert self.server.aio is not None
        result = self.server.aio.result(fd)
        self.server.connections[fd].copied_ns = monotonic_ns()
        return result
        yield
