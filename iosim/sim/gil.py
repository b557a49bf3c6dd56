"""The lock that lets one thread of a CPython program at a time run its own code.

A thread holds it while it runs the program, lets go of it for every system call
(Py_BEGIN_ALLOW_THREADS) and needs it again to come back from the call. Let go, it is free for
anyone: a thread that comes back from a short call may take it again before the one that was woken
runs.

Whoever finds it taken waits in intervals of 5 ms, sys.setswitchinterval. If the lock has not
changed hands in one of them, it asks the holder to let go, and that one then waits until another
thread has taken it: take_gil and drop_gil of CPython's Python/ceval_gil.h. Who of them
gets it is drawn at random: they wait on a condition variable, line up anew after every interval,
and need the core to do so. (Measured with CPython 3.11: beside n threads that compute, one that
comes back from a call gets the lock with a chance of about 1/n each time that it is let go.)
"""

from __future__ import annotations

from collections.abc import Iterable

import simpy

from iosim.sim.cpu import NOTHING, Work
from iosim.sim.kernel import SimKernel
from iosim.sim.thread import Thread


class GilThread(Thread):
    """A thread that runs user code under the lock. System calls come first in what it owes."""

    __slots__ = ()

    def waits_for_lock(self) -> bool:
        gil = self.system.gil
        return gil.forced is self or any(task is self for task, _ in gil.waiting)

    def pay(self) -> Iterable[simpy.Event]:
        if len(self.system.tasks) == 1:
            return Thread.pay(self)
        gil, user_ns = self.system.gil, self.debt_user_ns
        # What `Thread.pay` returns has not begun, unless it is nothing.
        if gil.busy or Thread.pay(self) is not NOTHING:
            return self._pay_under_lock()
        # Nobody could want the lock before it was let go again.
        if gil.last is not self:
            gil.pass_to(self, self.env.now_ns - user_ns)
        return NOTHING

    def _pay_under_lock(self) -> Work:
        user_ns, self.debt_user_ns = self.debt_user_ns, 0
        self.debt_ns -= user_ns
        yield from Thread.pay(self)
        env, gil = self.env, self.system.gil
        while True:
            waited = False
            while gil.taken:
                if self.debt_ns:
                    yield from Thread.pay(self)
                    continue
                gil.wait(self, env.now_ns)
                yield from self.sleep()
                waited = True
            gil.take(self, env.now_ns)
            if waited:
                self.debt_ns += self.system.prices.gil_handoff_ns
            if self.debt_ns:
                # It has slept for the lock, and its caches have forgotten what it does next.
                yield from Thread.pay(self)
            while (left_ns := gil.left_ns(env.now_ns, user_ns)) > 0 and user_ns:
                step_ns = user_ns if user_ns < left_ns else left_ns
                user_ns -= step_ns
                self.debt_ns += step_ns
                self.debt_user_ns += step_ns
                yield from Thread.pay(self)
            if left_ns > 0:
                gil.let_go()
            else:
                gil.let_go(forced=self)
                yield from self.sleep()
                yield from Thread.pay(self)
            if not user_ns:
                return


def under_gil(kernel: type[SimKernel]) -> type[SimKernel]:
    """The kernel for the threads of a CPython program."""
    return type(kernel.__name__, (GilThread, kernel), {"__slots__": ()})
