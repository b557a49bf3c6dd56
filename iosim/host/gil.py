"""What passing on the global interpreter lock of CPython takes, measured with two threads."""

from __future__ import annotations

import threading
from time import monotonic_ns

from iosim.host.pulse import pulse_ns

_PAUSE_NS = 1_000_000
"""A thread that reads the clock again only so much later was without the lock: an interval of
sys.setswitchinterval, 5 ms, at least."""


def handoffs_ns(count: int) -> list[tuple[int, int]]:
    """From the last step of a thread to the first of another that has waited for the lock, at least
    `count` times, with the pulse afterwards.

    Both threads read the clock all the time.
    """
    turns: tuple[list[tuple[int, int, int]], ...] = ([], [])

    def step(me: int) -> None:
        pauses, others = turns[me], turns[1 - me]
        before_ns = monotonic_ns()
        while min(len(pauses), len(others)) <= count:
            now_ns = monotonic_ns()
            if now_ns - before_ns > _PAUSE_NS:
                pauses.append((before_ns, now_ns, pulse_ns()))
                now_ns = monotonic_ns()
            before_ns = now_ns

    threads = [threading.Thread(target=step, args=(me,)) for me in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # While one pauses the other has its turn: it ends its own pause when that one begins.
    ends = [began_ns for began_ns, _, _ in turns[0]]
    begins = [(ended_ns, pulse) for _, ended_ns, pulse in turns[1]]
    seen = []
    for end_ns in ends:
        after = [(begin_ns - end_ns, pulse) for begin_ns, pulse in begins if begin_ns >= end_ns]
        if after and after[0][0] < _PAUSE_NS:
            seen.append(after[0])
    return seen
