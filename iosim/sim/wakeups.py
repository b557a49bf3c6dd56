"""How long a wake-up takes: random draws from the quantiles of the cost profile."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from iosim.costs import WakeUp


class WakeUps:
    """Draws how long a wake-up takes, by how long the core has idled."""

    _BLOCK = 4096
    _STEPS = 1024
    """Quantiles that are told apart."""

    def __init__(self, rows: Sequence[WakeUp], generator: np.random.Generator) -> None:
        self._idle_ns = [row.idle_ns for row in rows]
        middles = (np.arange(self._STEPS) + 0.5) / self._STEPS
        self._latency_ns = [_quantiles(row.latency_ns, middles) for row in rows]
        self._cpu_ns = [(row.cpu_ns, row.cold_ns) for row in rows]
        self._generator = generator
        self._drawn: list[int] = []

    def draw(self, idle_ns: int) -> tuple[int, int, int]:
        """(latency, processor time, its cold part), ns: a random quantile, linear in idle time."""
        if not self._drawn:
            self._drawn = self._generator.integers(self._STEPS, size=self._BLOCK).tolist()
        step = self._drawn.pop()
        idle_at_ns = self._idle_ns
        above = bisect_left(idle_at_ns, idle_ns)
        if above == 0 or above == len(idle_at_ns):
            above -= above > 0
            cpu_ns, cold_ns = self._cpu_ns[above]
            return round(self._latency_ns[above][step]), round(cpu_ns), round(cold_ns)
        below = above - 1
        first_ns = idle_at_ns[below]
        share = (idle_ns - first_ns) / (idle_at_ns[above] - first_ns)
        rest = 1 - share
        cpu_ns, cold_ns = self._cpu_ns[below]
        cpu_above_ns, cold_above_ns = self._cpu_ns[above]
        return (
            round(rest * self._latency_ns[below][step] + share * self._latency_ns[above][step]),
            round(rest * cpu_ns + share * cpu_above_ns),
            round(rest * cold_ns + share * cold_above_ns),
        )


def _quantiles(known: list[float], probability: npt.NDArray[np.float64]) -> list[float]:
    """Linear between the known quantiles at (k + 1/2) / n, flat beyond the outermost."""
    at = (np.arange(len(known)) + 0.5) / len(known)
    quantiles: list[float] = np.interp(probability, at, known).tolist()
    return quantiles
