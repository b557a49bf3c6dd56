"""Real signals that are taken from a descriptor."""

from __future__ import annotations

import errno
from collections.abc import Collection
from io import FileIO
from time import monotonic_ns

from iosim.arguments import MOST_SIGNALS, error, signal_set, whole
from iosim.host import siglib
from iosim.host.thread import Thread
from iosim.kernel import Call


class SignalfdCalls(Thread):
    """signalfd, and read of one."""

    def signalfd(self, signals: Collection[int], nonblocking: bool = False) -> Call[int]:
        signals = signal_set(signals)
        self.syscalls["signalfd4"] += 1
        fd = siglib.signalfd(signals, nonblocking)
        self.server.files[fd] = FileIO(fd)
        return fd
        yield

    def read_signals(self, fd: int, count: int) -> Call[list[tuple[int, int]]]:
        count = min(whole("count", count), MOST_SIGNALS)
        self.syscalls["read"] += 1
        if not isinstance(self.server.files.get(fd), FileIO):
            self.server.must_be_open(fd)
            raise error(errno.EINVAL, "not a signalfd")
        self.free_since_ns = began_ns = monotonic_ns()
        try:
            taken = siglib.read_signals(fd, count)
        except BlockingIOError:
            self.empty_polls += 1
            return []
        finally:
            self.in_free_ns += monotonic_ns() - began_ns
            self.free_since_ns = 0
        self.noticed([about for _, about in taken])
        return taken
        yield
