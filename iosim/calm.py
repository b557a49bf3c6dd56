"""What of a real run counts: the time in which the server's core ran at full speed.

A core of a shared host is slower by half and more for spells of 10 ms to some seconds, as somebody
else uses the same hardware. A cost profile tells what its host does at full speed. So a simulated
run is held against those parts of a real one, and they are chosen by pulses timed meanwhile
(`iosim.host.meter`), without a look at requests or at the simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from iosim.results import Run

FULL_SPEED = 1.15
"""At full speed a pulse takes at most so many times the shortest. On the virtual machine where it
was tried pulses took 1.0 to 1.1 times the shortest, or 1.3 to 2.5 times, and hardly any between."""


@dataclass(frozen=True)
class Calm:
    """The calm parts of one run; of a run without pulses everything."""

    share: float
    """Of the time of the run."""
    records: npt.NDArray[np.void]
    """The requests that were answered in one of them. (Those that also were due in it would be the
    shorter ones.)"""
    cpu_ns_per_request: float
    """Over all parts; NaN without any request in them."""

    @property
    def latency_ns(self) -> npt.NDArray[np.int64]:
        """Of these requests, as `Run.latency_ns`."""
        latency: npt.NDArray[np.int64] = self.records["replied_ns"] - self.records["intended_ns"]
        return latency


def shortest_pulse_ns(runs: Sequence[Run]) -> float:
    """The pulse at full speed; a few may be shorter than any should be. 0 if there are none."""
    pulses_ns = np.concatenate([run.pulses["took_ns"] for run in runs])
    return float(np.quantile(pulses_ns, 0.02)) if len(pulses_ns) else 0.0


def calm(run: Run, full_speed_ns: float | None) -> Calm:
    """The parts of a run between two pulses in a row that both took no longer than at full speed,
    which is a pulse of `full_speed_ns`; everything if that is None."""
    if full_speed_ns is None or not len(run.pulses):
        return Calm(1.0, run.records, run.cpu_ns / len(run.records))
    at_ns = run.pulses["at_ns"]
    fast = run.pulses["took_ns"] <= FULL_SPEED * full_speed_ns
    calm_gaps = fast[:-1] & fast[1:]
    slow = np.concatenate([[True], ~calm_gaps, [True]])
    """By the number of pulses before: the time before the first and after the last is not calm."""
    answered = ~slow[np.searchsorted(at_ns, run.records["done_ns"], side="right")]
    done = int(answered.sum())
    cpu_ns = int(np.diff(run.pulses["server_ns"])[calm_gaps].sum())
    calm_ns = int(np.diff(at_ns)[calm_gaps].sum())
    return Calm(
        share=calm_ns / max(1, int(at_ns[-1] - at_ns[0])),
        records=run.records[answered],
        cpu_ns_per_request=cpu_ns / done if done else float("nan"),
    )
