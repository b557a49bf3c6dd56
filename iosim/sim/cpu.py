"""Cores, the run queue, and what a thread is to them.

A thread pays for its calls late: a call acts at once and adds its price to `debt_ns`, and the next
call that reads or changes anything shared pays the debt first, by holding the core that long. The
order of all actions is that of their true times, and one SimPy event pays for several calls.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Generator, Sequence
from enum import IntEnum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import simpy

from iosim.costs import Prices, WakeUp
from iosim.sim.engine import Alarm, Environment, Pause


class Scan(Protocol):
    """A loop of empty tries that is jumped over, see `iosim.sim.spin`."""

    def hold_up(self, ns: int) -> None:
        """Interrupt work delays the tries to come."""

    def count(self) -> None:
        """Enter the tries made so far into the counters."""


class State(IntEnum):
    """Task states, as the scheduler tells them apart."""

    RUNNING = 0
    RUNNABLE = 1
    SLEEPING = 2


RUNNING, RUNNABLE, SLEEPING = State
# Looking a member up in its class is slow, and every sleep does it several times.


class Task:
    """A thread: its state, the time it spent in each, and what it owes the core."""

    __slots__ = (
        "_since_ns",
        "_spent_ns",
        "alarm",
        "core",
        "cpu",
        "debt_ns",
        "env",
        "helper",
        "interrupted",
        "name",
        "scan",
        "slice_left_ns",
        "state",
        "switch_in_ns",
        "waiting_since_ns",
    )

    def __init__(self, cpu: Cpu, name: str, helper: bool = False) -> None:
        self.cpu = cpu
        self.env = cpu.env
        self.name = name
        self.helper = helper
        self.debt_ns = 0
        self.state = SLEEPING
        self.core = cpu.cores[0]
        self.alarm = Alarm(cpu.env)
        self.slice_left_ns = cpu.time_slice_ns
        self.switch_in_ns = 0
        self.scan: Scan | None = None
        """The loop of empty tries that the thread is in, if it is."""
        self.interrupted = False
        """A signal handler interrupts a sleep that goes on afterwards."""
        self.waiting_since_ns: int | None = None
        """Since when the thread sleeps in phase 1, if it does."""
        self._since_ns = cpu.env.now_ns
        self._spent_ns = [0] * len(State)

    def enter(self, state: State, since_ns: int) -> None:
        """Change state as of `since_ns`."""
        self._spent_ns[self.state] += since_ns - self._since_ns
        self._since_ns = since_ns
        self.state = state

    def spent_ns(self) -> dict[State, int]:
        """Time spent in each state up to now."""
        spent = dict(zip(State, self._spent_ns, strict=True))
        spent[self.state] += self.env.now_ns - self._since_ns
        return spent

    def pay(self) -> Generator[simpy.Event, Any, None]:
        """Hold the core for what the thread owes."""
        debt_ns, self.debt_ns = self.debt_ns, 0
        if debt_ns < self.slice_left_ns:
            self.slice_left_ns -= debt_ns
            if debt_ns:
                if not self.env.jump(debt_ns):
                    yield Pause(self.env, debt_ns)
                if self.core.stolen_ns:
                    yield from self.cpu.make_up(self.core)
        else:
            yield from self.cpu.run(self, debt_ns)

    def sleep(self) -> Generator[simpy.Event, Any, None]:
        """Give up the core until somebody wakes the thread; its debt must be paid.

        Signal handlers interrupt the sleep; the thread stays in its wait queues meanwhile.
        """
        while True:
            assert not self.debt_ns
            self.interrupted = False
            self.alarm = Alarm(self.env)
            self.give_up_core()
            yield self.alarm
            self.take_core()
            while self.interrupted and self.debt_ns:
                yield from self.pay()
            if not self.interrupted:
                return

    def give_up_core(self) -> None:
        """Give up the core and sleep."""
        self.enter(SLEEPING, self.env.now_ns)
        self.cpu.leave(self.core)

    def give_way(self) -> Generator[simpy.Event, Any, None]:
        """Let the others in the core's queue run first."""
        if self.core.queue:
            self.alarm = Alarm(self.env)
            self.enter(RUNNABLE, self.env.now_ns)
            self.core.queue.append(self)
            self.cpu.leave(self.core)
            yield self.alarm
            self.take_core()

    def take_core(self) -> None:
        """Run, now that the alarm has gone off."""
        since_ns = self.env.now_ns - self.switch_in_ns
        self.enter(RUNNING, max(since_ns, self.cpu.counting_since_ns))
        self.slice_left_ns = self.cpu.time_slice_ns


class Core:
    """One processor: who runs, who waits for it, and interrupt work it still has to do."""

    __slots__ = ("current", "idle_since_ns", "interrupt_until_ns", "queue", "stolen_ns")

    def __init__(self) -> None:
        self.current: Task | None = None
        self.queue: deque[Task] = deque()
        self.idle_since_ns = 0
        self.interrupt_until_ns = 0
        self.stolen_ns = 0


class WakeUps:
    """Draws how long a wake-up takes, by how long the core has idled."""

    _BLOCK = 4096
    _STEPS = 1024
    """Quantiles that are told apart."""

    def __init__(self, rows: Sequence[WakeUp], generator: np.random.Generator) -> None:
        self._rows = rows
        self._idle_ns = [row.idle_ns for row in rows]
        middles = (np.arange(self._STEPS) + 0.5) / self._STEPS
        self._latency_ns = [_quantiles(row.latency_ns, middles) for row in rows]
        self._generator = generator
        self._drawn: list[int] = []

    def draw(self, idle_ns: int) -> tuple[int, int, int]:
        """(latency, processor time, its cold part), ns: a random quantile, linear in idle time."""
        if not self._drawn:
            self._drawn = self._generator.integers(self._STEPS, size=self._BLOCK).tolist()
        step = self._drawn.pop()
        above = bisect_left(self._idle_ns, idle_ns)
        if above == 0 or above == len(self._rows):
            above -= above > 0
            row = self._rows[above]
            return round(self._latency_ns[above][step]), round(row.cpu_ns), round(row.cold_ns)
        first, second = self._rows[above - 1], self._rows[above]
        share = (idle_ns - first.idle_ns) / (second.idle_ns - first.idle_ns)
        rest = 1 - share
        return (
            round(rest * self._latency_ns[above - 1][step] + share * self._latency_ns[above][step]),
            round(rest * first.cpu_ns + share * second.cpu_ns),
            round(rest * first.cold_ns + share * second.cold_ns),
        )


def _quantiles(known: list[float], probability: npt.NDArray[np.float64]) -> list[float]:
    """Linear between the known quantiles at (k + 1/2) / n, flat beyond the outermost."""
    at = (np.arange(len(known)) + 0.5) / len(known)
    quantiles: list[float] = np.interp(probability, at, known).tolist()
    return quantiles


class Cpu:
    """All cores of the server."""

    def __init__(
        self,
        env: Environment,
        cores: int,
        time_slice_ns: int,
        prices: Prices,
        wakeups: WakeUps,
    ) -> None:
        self.env = env
        self.cores = [Core() for _ in range(cores)]
        self.time_slice_ns = time_slice_ns
        self.wakeup_count = 0
        self.switch_count = 0
        self.counting_since_ns = 0
        """Begin of the load; what came before has been accounted for."""
        self._switch_ns = prices.context_switch_ns
        self._wakeups = wakeups

    def wake(self, task: Task) -> bool:
        """Make a sleeping task runnable; True if that woke an idle core. Others are left alone."""
        if task.state is not SLEEPING:
            task.interrupted = False
            return False
        now = self.env.now_ns
        self.wakeup_count += 1
        task.enter(RUNNABLE, now)
        core = task.core
        if core.current is not None:
            core = min(self.cores, key=lambda c: (c.current is not None) + len(c.queue))
            task.core = core
        if core.current is not None:
            core.queue.append(task)
            return False
        core.current = task
        self.switch_count += 1
        latency_ns, cpu_ns, cold_ns = self._wakeups.draw(now - core.idle_since_ns)
        # The processor time cannot have begun before the wake-up.
        task.switch_in_ns = max(0, min(cpu_ns - cold_ns, latency_ns))
        task.debt_ns += cpu_ns - task.switch_in_ns
        task.alarm.ring_in(latency_ns)
        return True

    def interrupt_sleep(self, task: Task) -> bool:
        """Wake a sleeping task for a signal handler only; True if that woke an idle core."""
        if task.state is not SLEEPING:
            return False
        woke = self.wake(task)
        task.interrupted = True
        return woke

    def leave(self, core: Core) -> None:
        """The current task gives up the core: the next in the queue runs, or the core idles."""
        if not core.queue:
            core.current = None
            core.idle_since_ns = self.env.now_ns
            return
        task = core.queue.popleft()
        core.current = task
        self.switch_count += 1
        task.switch_in_ns = self._switch_ns
        task.alarm.ring_in(task.switch_in_ns)

    def run(self, task: Task, ns: int) -> Generator[simpy.Event, Any, None]:
        """Hold the task's core for `ns` of work, slice by slice."""
        while ns:
            step = min(ns, task.slice_left_ns)
            yield Pause(self.env, step)
            ns -= step
            yield from self.make_up(task.core)
            task.slice_left_ns -= step
            if not task.slice_left_ns:
                task.slice_left_ns = self.time_slice_ns
                yield from task.give_way()

    def make_up(self, core: Core) -> Generator[simpy.Event, Any, None]:
        """Wait as long as interrupt work has held up whoever runs on the core."""
        while core.stolen_ns:
            stolen_ns, core.stolen_ns = core.stolen_ns, 0
            yield Pause(self.env, stolen_ns)

    def interrupt(self, core: Core, ns: int) -> int:
        """Do `ns` of interrupt work on a core; returns when it is done.

        It begins at once, after earlier interrupt work, and holds up whoever runs there.
        """
        core.interrupt_until_ns = max(self.env.now_ns, core.interrupt_until_ns) + ns
        self.hold_up(core, ns)
        return core.interrupt_until_ns

    def hold_up(self, core: Core, ns: int) -> None:
        """Whoever runs on the core goes on `ns` later."""
        if core.current is not None and core.current.scan is not None:
            core.current.scan.hold_up(ns)
        elif core.current is not None:
            core.stolen_ns += ns
