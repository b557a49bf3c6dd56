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
