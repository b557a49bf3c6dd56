"""How long a wake-up takes: random draws from the quantiles of the cost profile.

Which quantile is drawn belongs to the core and to the request that has woken it, so that runs of
one seed differ less by chance: under another model the same request meets the same luck.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np

from iosim.costs import WakeUp
from iosim.draws import draw, draws

STEPS = 1024
"""Quantiles that are told apart."""
_BLOCK = 4096
"""Draws that are made at a time."""


class Luck:
    """Which quantile each wake-up takes."""

    def __init__(self, key: int) -> None:
        self._key = key
        self._blocks: dict[tuple[int, int], array[int]] = {}
        """By core, and by the number of the request in blocks."""

    def step(self, core: int, number: int) -> int:
        """The quantile, of `STEPS`, of a core that a request wakes.

        What is no request has a negative number: those are a sequence of the core's own.
        """
        place, offset = divmod(number, _BLOCK)
        block = self._blocks.get((core, place))
        if block is None:
            numbers = np.arange(place * _BLOCK, (place + 1) * _BLOCK)
            drawn = draws(draw(self._key, core), numbers) % np.uint64(STEPS)
            block = self._blocks[core, place] = array("H", drawn.astype(np.uint16).tobytes())
        return block[offset]


class WakeUps:
    """How long a wake-up takes, by how long the core has idled."""

    def __init__(self, rows: Sequence[WakeUp]) -> None:
        self._idle_ns = [row.idle_ns for row in rows]
        middles = (np.arange(STEPS) + 0.5) / STEPS
        known = [(row.quantiles_ns(middles).tolist(), row.cpu_ns, row.cold_ns) for row in rows]
        ends = [(0, inf), *((low, high - low) for low, high in pairwise(self._idle_ns)), (0, inf)]
        self._between = [
            (*end, *below, *above)
            for end, below, above in zip(ends, [known[0], *known], [*known, known[-1]], strict=True)
        ]
        """For idle times up to each row's and beyond the last: where the interval begins and how
        long it is, and what is known at both ends; outside the rows it is the same at both."""

    def after(self, idle_ns: int, step: int) -> tuple[int, int, int]:
        """(latency, processor time, its cold part), ns: that quantile, linear in idle time."""
        begin_ns, length_ns, latency_ns, cpu_ns, cold_ns, latency_to_ns, cpu_to_ns, cold_to_ns = (
            self._between[bisect_left(self._idle_ns, idle_ns)]
        )
        share = (idle_ns - begin_ns) / length_ns
        rest = 1 - share
        return (
            round(rest * latency_ns[step] + share * latency_to_ns[step]),
            round(rest * cpu_ns + share * cpu_to_ns),
            round(rest * cold_ns + share * cold_to_ns),
        )
