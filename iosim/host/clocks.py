"""The clocks of this host, and calls that do nothing."""

from __future__ import annotations

import os
import resource
import time

from iosim.host.thread import Thread
from iosim.kernel import Call


class ClockCalls(Thread):
    """Clocks, and calls to be timed for what they cost by themselves."""

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()

    def thread_time_ns(self) -> int:
        return time.thread_time_ns()

    def process_time_ns(self) -> int:
        return time.process_time_ns()

    def involuntary_switches(self) -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw

    def nothing(self) -> Call[None]:
        return
        yield

    def getppid(self) -> Call[None]:
        self.syscalls["getppid"] += 1
        os.getppid()
        return
        yield
