"""The clocks of the simulated machine, and calls that do nothing."""

from __future__ import annotations

from collections.abc import Iterable

from simpy import Event

from iosim.kernel import Call
from iosim.sim.cpu import NOTHING
from iosim.sim.states import TaskState
from iosim.sim.thread import Thread


class ClockCalls(Thread):
    """Clocks, and calls to be timed for what they cost by themselves."""

    __slots__ = ()

    def monotonic_ns(self) -> int:
        return self.now_ns

    def thread_time_ns(self) -> int:
        return _processor_ns(self)

    def process_time_ns(self) -> int:
        return sum(map(_processor_ns, self.system.tasks))

    def involuntary_switches(self) -> int:
        return self.preemptions

    def nothing(self) -> Call[None]:
        self.charge(self.system.prices.user_ns)
        yield from self._let_time_pass()

    def getppid(self) -> Call[None]:
        self.system.syscalls["getppid"] += 1
        self.charge(self.system.prices.syscall_ns)
        yield from self._let_time_pass()

    def _let_time_pass(self) -> Iterable[Event]:
        """Have a program that makes nothing but such calls pay from time to time."""
        return self.pay() if self.debt_ns > self.cpu.time_slice_ns else NOTHING


def _processor_ns(thread: Thread) -> int:
    """What a thread has run up to its own time."""
    return thread.spent_ns()[TaskState.RUNNING] + thread.debt_ns
