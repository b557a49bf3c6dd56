"""What a program loses on cores that should be its own, and how steady its clocks and timers are.

On each core a process reads the clock in a loop, as the kernel's osnoise tracer does
(Documentation/trace/osnoise-tracer.rst): a gap between two readings is time that somebody else had
the core. Then it repeats a piece of work, and sleeps.
"""

from __future__ import annotations

import dataclasses
import gc
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from itertools import pairwise
from statistics import median
from time import monotonic_ns, thread_time_ns

from iosim.host.child import attach, child
from iosim.host.resources import ticks
from iosim.procfs import HERE

_SPIN_NS = 1_000_000_000
GAP_NS = 20_000
"""A longer gap counts. Two readings are 0.1 us apart and a tick of the kernel's timer takes a few
microseconds, which every run has; 20 us are half of what a request on loopback takes in all."""
_PIECES = 300
_BLOCK = 30
_SLEEPS = 100
_SLEEP_NS = 100_000
_READINGS = 10_000


@dataclasses.dataclass(frozen=True)
class Clock:
    """One clock, from many readings in a row."""

    read_ns: float
    """From one reading to the next, median."""
    step_ns: int
    """The smallest difference above zero."""
    backwards: int
    """How often it went back."""


@dataclasses.dataclass(frozen=True)
class Jitter:
    """What was seen on one core."""

    core: int
    spun_ns: int
    gaps_ns: tuple[int, ...]
    """Those longer than GAP_NS."""
    queued_ns: int
    """For how long of it the core ran other programs: /proc/thread-self/schedstat."""
    work_ns: tuple[float, ...]
    """Processor time of the same piece of work, medians of blocks one after the other."""
    late_ns: tuple[int, ...]
    """How much later than asked clock_nanosleep(2) has returned."""
    monotonic: Clock
    thread_time: Clock
    """CLOCK_THREAD_CPUTIME_ID; each reading is a system call."""
    stolen: float | None = None
    """Share of time that the hypervisor says it took: /proc/stat; None if the core is not there."""

    @property
    def lost(self) -> float:
        """Share of the time that was lost in gaps."""
        return sum(self.gaps_ns) / self.spun_ns

    @property
    def unsteady(self) -> float:
        """The block of work farthest from their median, relative to it, minus one."""
        middle_ns = median(self.work_ns)
        return max((block_ns / middle_ns - 1 for block_ns in self.work_ns), key=abs)


def jitter(cores: Sequence[int]) -> list[Jitter]:
    """Measure on all these cores at once, for about 1.5 s; raises RunFailed if a process fails."""
    with ExitStack() as stack:
        spinners = [
            stack.enter_context(child(f"spinner on core {core}", "iosim.host.jitter", core))
            for core in cores
        ]
        for spinner in spinners:
            spinner.hear(60)
        before = ticks()
        for core, spinner in zip(cores, spinners, strict=True):
            spinner.tell(core)
        seen: list[Jitter] = [spinner.hear(60) for spinner in spinners]
        after = ticks()
    stolen = {}
    for core in before.keys() & after.keys():
        passed = after[core].total - before[core].total
        stolen[core] = (after[core].stolen - before[core].stolen) / max(1, passed)
    return [dataclasses.replace(one, stolen=stolen.get(one.core)) for one in seen]


def spin(duration_ns: int, now: Callable[[], int] = monotonic_ns) -> tuple[int, tuple[int, ...]]:
    """Read the clock for so long: (time from the first to the last reading, the gaps)."""
    gaps = []
    began_ns = before_ns = now()
    end_ns = began_ns + duration_ns
    while before_ns < end_ns:
        now_ns = now()
        if now_ns - before_ns > GAP_NS:
            gaps.append(now_ns - before_ns)
        before_ns = now_ns
    return before_ns - began_ns, tuple(gaps)


def clock(read: Callable[[], int], readings: int = _READINGS) -> Clock:
    """What a clock's readings tell about it."""
    times_ns = [read() for _ in range(readings)]
    steps_ns = [after_ns - before_ns for before_ns, after_ns in pairwise(times_ns)]
    return Clock(
        # Many readings together: a coarse clock stands still in most single steps.
        read_ns=median(
            (after_ns - before_ns) / 100 for before_ns, after_ns in pairwise(times_ns[::100])
        ),
        step_ns=min((step_ns for step_ns in steps_ns if step_ns > 0), default=0),
        backwards=sum(step_ns < 0 for step_ns in steps_ns),
    )


def _work() -> tuple[float, ...]:
    blocks_ns = []
    for _ in range(_PIECES // _BLOCK):
        pieces_ns = []
        for _ in range(_BLOCK):
            began_ns = thread_time_ns()
            sum(range(20_000))
            pieces_ns.append(thread_time_ns() - began_ns)
        blocks_ns.append(median(pieces_ns))
    return tuple(blocks_ns)


def _sleep() -> tuple[int, ...]:
    late_ns = []
    for _ in range(_SLEEPS):
        began_ns = monotonic_ns()
        time.sleep(_SLEEP_NS / 1e9)
        late_ns.append(monotonic_ns() - began_ns - _SLEEP_NS)
    return tuple(late_ns)


def _queued_ns() -> int:
    """Time spent waiting on a run queue: Documentation/scheduler/sched-stats.rst."""
    return (HERE.numbers("/proc/thread-self/schedstat") or [0, 0])[1]


def main() -> None:
    """Measure on the core that this process is pinned to."""
    pipe = attach(sys.argv[1:])
    gc.disable()
    pipe.tell("ready")
    core: int = pipe.hear()
    queued_ns = _queued_ns()
    spun_ns, gaps_ns = spin(_SPIN_NS)
    queued_ns = _queued_ns() - queued_ns
    pipe.tell(
        Jitter(
            core=core,
            spun_ns=spun_ns,
            gaps_ns=gaps_ns,
            queued_ns=queued_ns,
            work_ns=_work(),
            late_ns=_sleep(),
            monotonic=clock(monotonic_ns),
            thread_time=clock(thread_time_ns),
        )
    )
    pipe.hear()
