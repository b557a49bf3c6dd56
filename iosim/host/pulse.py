"""How fast a core runs at this moment: a short piece of work, timed again and again.

A core of a shared host changes its speed by half and more within milliseconds, as the other
hyper-thread of its hardware core works for somebody else or its frequency changes. Its clocks do
not tell. But whatever slows a program slows this work too.
"""

from __future__ import annotations

from itertools import repeat
from time import monotonic_ns, thread_time_ns

from iosim.calm import FULL_SPEED

_STEPS = 300


def pulse_ns() -> int:
    """Processor time of a short loop, about 2 us; the lesser of two, as the first may have to fetch
    the code into the caches."""
    return min(_work_ns(), _work_ns())


def calm_pulse_ns(shortest_ns: float, patience_ns: int) -> int:
    """Wait until the core runs at full speed, but not for longer than `patience_ns`: the last
    pulse."""
    until_ns = monotonic_ns() + patience_ns
    while (pulse := pulse_ns()) > FULL_SPEED * shortest_ns and monotonic_ns() < until_ns:
        pass
    return pulse


def _work_ns() -> int:
    began_ns = thread_time_ns()
    for _ in repeat(None, _STEPS):
        pass
    return thread_time_ns() - began_ns
