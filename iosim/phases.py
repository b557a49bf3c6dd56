"""Where the time of a request goes, phase by phase, so that a difference can be traced.

Phases are what a real run can see too: between two time stamps of `iosim.results.RECORD`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.results import Run

PHASES = {
    "generator": "the load generator begins late to send it",
    "notice": "send, receive work, wake-up, queueing and scan, until the program knows of it",
    "copy": "the program reads it",
    "service": "framing and computing, until the reply begins",
    "reply": "send, until it is at the client",
}
"""In their order; a model for which the kernel copies before the program knows has no `copy`."""

REGIONS = {"p50": (0.25, 0.75), "p99": (0.98, 1.0)}
"""Quantiles of latency between which requests stand for a figure: the middle half, the slowest
fiftieth."""


def phases_ns(records: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """How long each phase of each request took, an array of requests by phases; the sum over the
    phases is the latency."""
    known_ns = np.maximum(records["noticed_ns"], records["copied_ns"])
    stamps = [
        *(records[name] for name in ("intended_ns", "sent_ns", "noticed_ns")),
        known_ns,
        *(records[name] for name in ("done_ns", "replied_ns")),
    ]
    return np.diff(np.stack(stamps, axis=1), axis=1)


def typical_ns(records: npt.NDArray[np.void], low: float, high: float) -> dict[str, float]:
    """The mean of each phase over the requests whose latency is between two quantiles."""
    took_ns = phases_ns(records)
    latency_ns = took_ns.sum(axis=1)
    least, most = np.quantile(latency_ns, [low, high])
    chosen = took_ns[(latency_ns >= least) & (latency_ns <= most)]
    return dict(zip(PHASES, chosen.mean(axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class Explanation:
    """Simulated and real requests, phase by phase, and what was done for each of them."""

    simulated_ns: Mapping[str, Mapping[str, float]]
    """By region and phase."""
    real_ns: Mapping[str, Mapping[str, float]]
    simulated_counts: Mapping[str, float]
    """Per request: each call, and how often a thread was woken."""
    real_counts: Mapping[str, float]

    def difference_ns(self, region: str, phase: str) -> float:
        """How much longer the phase takes in the simulation."""
        return self.simulated_ns[region][phase] - self.real_ns[region][phase]

    def widest(self, region: str) -> str:
        """The phase in which simulation and reality differ most."""
        return max(PHASES, key=lambda phase: abs(self.difference_ns(region, phase)))

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return {
            "phases_ns": {
                region: {
                    phase: {
                        "simulated": self.simulated_ns[region][phase],
                        "real": self.real_ns[region][phase],
                    }
                    for phase in PHASES
                }
                for region in REGIONS
            },
            "per_request": {
                name: {"simulated": self.simulated_counts[name], "real": self.real_counts[name]}
                for name in self.real_counts
            },
        }


def explain(
    simulated: Sequence[Run], real: Sequence[Run], real_records: npt.NDArray[np.void]
) -> Explanation:
    """Hold simulated runs against real ones, of which these requests count."""
    simulated_records = np.concatenate([run.records for run in simulated])
    counts = _counts(simulated), _counts(real)
    names = dict.fromkeys(name for found in counts for name in found)
    return Explanation(
        {region: typical_ns(simulated_records, *ends) for region, ends in REGIONS.items()},
        {region: typical_ns(real_records, *ends) for region, ends in REGIONS.items()},
        *({name: found.get(name, 0.0) for name in names} for found in counts),
    )


_FEWEST = 0.005
"""Calls that are rarer, per request, belong to the start or the end of a run."""


def _counts(runs: Sequence[Run]) -> dict[str, float]:
    requests = sum(len(run.records) for run in runs)
    totals: Counter[str] = Counter()
    for run in runs:
        totals.update(run.syscalls)
    totals["of them empty"] = sum(run.empty_polls for run in runs)
    totals["wake-ups"] = sum(run.wakeups for run in runs)
    per_request = {name: count / requests for name, count in totals.items()}
    return {name: count for name, count in per_request.items() if count >= _FEWEST}
