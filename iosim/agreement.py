"""Whether simulated and real runs agree: figures, errors, the noise of reality, a verdict."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim import stats
from iosim.calm import calm
from iosim.results import Run

SHORT = {
    "throughput_per_s": "throughput",
    "cpu_ns_per_request": "CPU",
    "p50": "p50",
    "p90": "p90",
    "p99": "p99",
}
"""Short names of the figures."""

FIGURES = tuple(SHORT)
"""What is compared; p50, p90 and p99 are latencies in ns."""

DISTANCES: dict[str, Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]] = {
    "demerit": stats.demerit,
    "ks": stats.ks,
}
"""How far the whole latency distributions are apart, see `iosim.stats`."""

LIMIT = 0.30
"""The largest relative error that still counts as agreement."""


@dataclass(frozen=True)
class Sample:
    """What is known of one run."""

    latency_ns: npt.NDArray[Any]
    throughput_per_s: float | None = None
    cpu_ns_per_request: float | None = None

    @classmethod
    def of(cls, run: Run, full_speed_ns: float | None = None) -> Sample:
        """CPU and latency of the calm parts, if it is told what a pulse takes at full speed."""
        part = calm(run, full_speed_ns)
        throughput_per_s = len(run.records) / run.elapsed_ns * 1e9
        return cls(part.latency_ns, throughput_per_s, part.cpu_ns_per_request)

    @cached_property
    def figures(self) -> dict[str, float]:
        """The figures that are known."""
        p50, p90, p99 = np.quantile(self.latency_ns, [0.5, 0.9, 0.99]).tolist()
        values = (self.throughput_per_s, self.cpu_ns_per_request, p50, p90, p99)
        named = zip(FIGURES, values, strict=True)
        return {name: value for name, value in named if value is not None}


@dataclass(frozen=True)
class Agreement:
    """Simulated runs against real ones."""

    simulated_samples: Sequence[Sample]
    real_samples: Sequence[Sample]

    @cached_property
    def simulated(self) -> dict[str, float]:
        """Each figure that is known of reality too, median over the simulated runs."""
        return {name: _median(self.simulated_samples, name) for name in self.real}

    @cached_property
    def real(self) -> dict[str, float]:
        """Each figure, median over the real runs."""
        return {name: _median(self.real_samples, name) for name in self.real_samples[0].figures}

    @property
    def errors(self) -> dict[str, float]:
        """Simulated relative to real, minus one."""
        return {name: self.simulated[name] / self.real[name] - 1 for name in self.real}

    @cached_property
    def noise(self) -> dict[str, float]:
        """Real against real, see `noise`; nothing of a single run."""
        return noise(self.real_samples) if len(self.real_samples) > 1 else {}

    @cached_property
    def distances(self) -> dict[str, float]:
        """Each of `DISTANCES` between all simulated latencies and all real ones."""
        return {
            name: distance(_pooled(self.simulated_samples), _pooled(self.real_samples))
            for name, distance in DISTANCES.items()
        }

    @cached_property
    def distance_noise(self) -> dict[str, float]:
        """The same between each real run and all the others, the largest; nothing of one run."""
        runs = list(self.real_samples)
        if len(runs) < 2:
            return {}
        others = [_pooled(runs[:number] + runs[number + 1 :]) for number in range(len(runs))]
        return {
            name: max(
                distance(run.latency_ns, rest) for run, rest in zip(runs, others, strict=True)
            )
            for name, distance in DISTANCES.items()
        }

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Of each error and distance, see `iosim.stats.interval` for how little three runs tell;
        nothing of a single run."""
        if len(self.real_samples) < 2:
            return {}

        def error(name: str) -> Callable[[Sequence[Sample], Sequence[Sample]], float]:
            return lambda simulated, real: _median(simulated, name) / _median(real, name) - 1

        def apart(name: str) -> Callable[[Sequence[Sample], Sequence[Sample]], float]:
            return lambda simulated, real: DISTANCES[name](_pooled(simulated), _pooled(real))

        runs = self.simulated_samples, self.real_samples
        # Distances take some milliseconds each, and 200 draws tell 2.5 % well enough.
        return {name: stats.interval(error(name), *runs) for name in self.real} | {
            name: stats.interval(apart(name), *runs, draws=200) for name in DISTANCES
        }

    @property
    def verdict(self) -> str:
        """Whether the simulation agrees with reality; errors inside the noise do not count.

        A figure whose noise is `LIMIT` or more cannot tell: an error that large would be within it.
        The distances have no say, as a few requests of the tail make most of a demerit.
        """
        outside = {
            name: abs(error)
            for name, error in self.errors.items()
            if abs(error) > abs(self.noise.get(name, 0.0))
        }
        if wrong := [name for name, error in outside.items() if error > LIMIT]:
            return f"disagrees in {', '.join(SHORT[name] for name in wrong)}"
        hidden = {
            SHORT[name]: abs(share)
            for name, share in self.noise.items()
            if abs(share) >= LIMIT and name not in outside
        }
        if hidden:
            return (
                f"too noisy to tell in {', '.join(hidden)}: "
                f"real runs are {max(hidden.values()):.0%} apart"
            )
        if self.noise and not outside:
            return "agrees within noise"
        return f"agrees within {max(1, math.ceil(max(outside.values(), default=0) * 20)) * 5} %"

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "simulated": self.simulated,
            "real": self.real,
            "errors": self.errors,
            "noise": self.noise,
            "distances": self.distances,
            "distance_noise": self.distance_noise,
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
        }


def noise(runs: Sequence[Sample]) -> dict[str, float]:
    """Each figure of the run that is farthest from their median, relative to it, minus one."""
    return {
        name: max((run.figures[name] / _median(runs, name) - 1 for run in runs), key=abs)
        for name in runs[0].figures
    }


def _median(runs: Sequence[Sample], name: str) -> float:
    return float(np.median([run.figures[name] for run in runs]))


def _pooled(runs: Sequence[Sample]) -> npt.NDArray[Any]:
    return np.concatenate([run.latency_ns for run in runs])
