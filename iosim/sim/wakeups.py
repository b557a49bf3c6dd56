"""How long a wake-up takes: random draws from the quantiles of the cost profile."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from math import inf

import numpy as np

from iosim.costs import WakeUp


class WakeUps:
    """Draws how long a wake-up takes, by how long the core has idled."""

    _BLOCK = 4096
    _STEPS = 1024
    """Quantiles that are told apart."""

    def __init__(self, rows: Sequence[WakeUp], generator: np.random.Generator) -> None:
        self._idle_ns = [row.idle_ns for row in rows]
        middles = (np.arange(self._STEPS) + 0.5) / self._STEPS
        known = [(row.quantiles_ns(middles).tolist(), row.cpu_ns, row.cold_ns) for row in rows]
        ends = [(0, inf), *((low, high - low) for low, high in pairwise(self._idle_ns)), (0, inf)]
        self._between = [
            (*end, *below, *above)
            for end, below, above in zip(ends, [known[0], *known], [*known, known[-1]], strict=True)
        ]
        """For idle times up to each row's and beyond the last: where the interval begins and how
        long it is, and what is known at both ends; outside the rows it is the same at both."""
        self._drawn = chain.from_iterable(self._blocks(generator))

    def _blocks(self, generator: np.random.Generator) -> Iterator[list[int]]:
        while True:
            yield generator.integers(self._STEPS, size=self._BLOCK).tolist()[::-1]

    def draw(self, idle_ns: int) -> tuple[int, int, int]:
        """(latency, processor time, its cold part), ns: a random quantile, linear in idle time."""
        begin_ns, length_ns, latency_ns, cpu_ns, cold_ns, latency_to_ns, cpu_to_ns, cold_to_ns = (
            self._between[bisect_left(self._idle_ns, idle_ns)]
        )
        step = next(self._drawn)
        share = (idle_ns - begin_ns) / length_ns
        rest = 1 - share
        return (
            round(rest * latency_ns[step] + share * latency_to_ns[step]),
            round(rest * cpu_ns + share * cpu_to_ns),
            round(rest * cold_ns + share * cold_to_ns),
        )
