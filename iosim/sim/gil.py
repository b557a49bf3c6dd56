"""The lock that lets one thread of a CPython program at a time run its own code.

A thread holds it in user mode and lets go of it for every system call (Py_BEGIN_ALLOW_THREADS).
Whoever finds it taken sleeps. Let go, it is free for anyone: a thread that comes back from a short
call may take it again before the one that was woken runs.
"""

from __future__ import annotations

from typing import Any

from iosim.sim.cpu import Work
from iosim.sim.kernel import SimKernel
from iosim.sim.thread import Thread

SWITCH_INTERVAL_NS = 5_000_000
"""After this long in user mode a thread lets one that waits have the lock: the default of
sys.setswitchinterval. (CPython counts from when the other began to wait.)"""


class GilThread(Thread):
    """A thread that runs user code under the lock. System calls come first in what it owes."""

    __slots__ = ("paid_user_ns",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.paid_user_ns = 0
        """The user time in the debts that have been paid."""

    def pay(self) -> Work:
        system = self.system
        if len(system.tasks) == 1:
            self.paid_user_ns = self.user_ns
            yield from super().pay()
            return
        user_ns, self.paid_user_ns = self.user_ns - self.paid_user_ns, self.user_ns
        self.debt_ns -= user_ns
        yield from super().pay()
        gil = system.gil
        while user_ns:
            while gil.taken:
                if self.debt_ns:
                    yield from super().pay()
                    continue
                gil.waiting.append(self)
                yield from self.sleep()
            gil.taken = True
            step_ns = min(user_ns, SWITCH_INTERVAL_NS)
            user_ns -= step_ns
            self.debt_ns += step_ns
            yield from super().pay()
            gil.let_go()


def under_gil(kernel: type[SimKernel]) -> type[SimKernel]:
    """The kernel for the threads of a CPython program."""
    return type(kernel.__name__, (GilThread, kernel), {"__slots__": ()})
