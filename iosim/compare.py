"""Hold simulated runs against real ones: errors, and how far reality differs from itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.calm import calm, shortest_pulse_ns
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.files import replacing
from iosim.host import run_real, why_not
from iosim.machine import Machine
from iosim.models import MODELS, Model, get
from iosim.results import Run
from iosim.sim import simulate
from iosim.workload import Workload

FIGURES = ("throughput_per_s", "cpu_ns_per_request", "p50", "p99")
"""What is compared; p50 and p99 are latencies in ns."""

SHORT = dict(zip(FIGURES, ("throughput", "CPU", "p50", "p99"), strict=True))

LIMIT = 0.30
"""The largest relative error that still counts as agreement."""

FEWEST = 200
"""A run with fewer requests in its calm parts tells nothing."""

LIGHT = Workload(connections=64, rate_per_s=10_000.0, requests=10_000)
"""The light load of the main job: costs show in every figure and queues hardly form."""

Progress = Callable[[float, str], None]
"""Told how much is done (0 to 1) and what comes next."""


@dataclass(frozen=True)
class Cell:
    """One model under one workload, on both kernels."""

    model: str
    workload: Workload
    simulated_runs: Sequence[Run]
    real_runs: Sequence[Run]
    full_speed_ns: float = 0.0
    """What a pulse takes on the server's core at full speed."""

    @property
    def calm_share(self) -> float:
        """The share of the real runs in which the server's core was at full speed."""
        return float(np.mean([calm(run, self.full_speed_ns).share for run in self.real_runs]))

    @property
    def counting(self) -> list[Run]:
        """The real runs that count, by their calm parts."""
        return [
            run
            for run in self.real_runs
            if len(calm(run, self.full_speed_ns).latency_ns) >= min(FEWEST, len(run.records) / 2)
        ]

    @property
    def _measured(self) -> tuple[Sequence[Run], float | None]:
        """The real runs behind the figures, and what full speed is in them; None if everything
        counts, since there is hardly anything calm."""
        counting = self.counting
        return (counting, self.full_speed_ns) if counting else (self.real_runs, None)

    @property
    def real_latencies_ns(self) -> list[npt.NDArray[np.int64]]:
        """The latencies behind the figures, run by run."""
        runs, full_speed_ns = self._measured
        return [calm(run, full_speed_ns).latency_ns for run in runs]

    @property
    def simulated(self) -> dict[str, float]:
        """Each figure, median over the simulated runs."""
        return _median(self.simulated_runs)

    @property
    def real(self) -> dict[str, float]:
        """Each figure, median over the real runs, of which the calm parts count.

        If there are none to speak of, everything does, and the verdict says so.
        """
        return _median(*self._measured)

    @property
    def errors(self) -> dict[str, float]:
        """Simulated relative to real, minus one."""
        return {name: self.simulated[name] / self.real[name] - 1 for name in FIGURES}

    @property
    def noise(self) -> dict[str, float]:
        """Real against real, see `noise`."""
        return noise(*self._measured)

    @property
    def verdict(self) -> str:
        """Whether the simulation agrees with reality; errors inside the noise do not count."""
        if 2 * len(self.counting) <= len(self.real_runs):
            return f"too noisy to tell: full speed in {self.calm_share:.0%} of the time"
        outside = {
            name: abs(error)
            for name, error in self.errors.items()
            if abs(error) > abs(self.noise[name])
        }
        if not outside:
            return "agrees within noise"
        wrong = [name for name, error in outside.items() if error > LIMIT]
        if wrong:
            return f"disagrees in {', '.join(SHORT[name] for name in wrong)}"
        return f"agrees within {math.ceil(max(outside.values()) * 20) * 5} %"

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim compare --json` prints it."""
        return {
            "model": self.model,
            "workload": self.workload.model_dump(),
            "simulated": self.simulated,
            "real": self.real,
            "errors": self.errors,
            "noise": self.noise,
            "calm_share": self.calm_share,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Comparison:
    """Cells of one comparison, and the models that could not be run for real."""

    profile: str
    cells: Sequence[Cell]
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason by model."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim compare --json` prints it."""
        return {
            "profile": self.profile,
            "cells": [cell.as_dict() for cell in self.cells],
            "skipped": self.skipped,
        }

    def save(self, folder: Path) -> None:
        """Write the figures as JSON and every run into a folder that exists."""
        for cell in self.cells:
            for runs in (cell.simulated_runs, cell.real_runs):
                for number, run in enumerate(runs):
                    run.save(folder / f"{cell.model}-{run.kernel}-{number}.npz")
        with replacing(folder / "comparison.json") as temporary:
            temporary.write_text(json.dumps(self.as_dict(), indent=2) + "\n")


def figures(run: Run, full_speed_ns: float | None = None) -> dict[str, float]:
    """The compared figures of one run; CPU and latency of its calm parts, if it is told what a
    pulse takes at full speed."""
    part = calm(run, full_speed_ns)
    p50, p99 = np.quantile(part.latency_ns, [0.5, 0.99])
    return {
        "throughput_per_s": len(run.records) / run.elapsed_ns * 1e9,
        "cpu_ns_per_request": part.cpu_ns_per_request,
        "p50": float(p50),
        "p99": float(p99),
    }


def noise(runs: Sequence[Run], full_speed_ns: float | None = None) -> dict[str, float]:
    """Each figure of the run that is farthest from their median, relative to it, minus one."""
    each, middle = [figures(run, full_speed_ns) for run in runs], _median(runs, full_speed_ns)
    return {name: max((one[name] / middle[name] - 1 for one in each), key=abs) for name in FIGURES}


def _median(runs: Sequence[Run], full_speed_ns: float | None = None) -> dict[str, float]:
    each = [figures(run, full_speed_ns) for run in runs]
    return {name: float(np.median([one[name] for one in each])) for name in FIGURES}


def compare(
    models: Sequence[str | Model] | None = None,
    workload: Workload = LIGHT,
    *,
    profile: CostProfile,
    repeats: int = 3,
    seed: int = 1,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Run every model on both kernels, `repeats` times with seeds from `seed` on, interleaved.

    Each repeat runs all models once, so that a disturbance of the host hits different models
    rather than all runs of one. The simulated machine has the interference of the profile. A model
    that the host cannot run is skipped with its reason.
    """
    if repeats < 1:
        raise IosimError(f"repeats = {repeats}: there must be at least one")
    chosen = [get(model) for model in (models or list(MODELS))]
    skipped = {m.name: reason for m in chosen if (reason := why_not(m)) is not None}
    runnable = [model for model in chosen if model.name not in skipped]
    simulated: dict[str, list[Run]] = {model.name: [] for model in runnable}
    real: dict[str, list[Run]] = {model.name: [] for model in runnable}
    machine = Machine(interference=profile.interference)
    steps = repeats * len(runnable)
    for repeat in range(repeats):
        for number, model in enumerate(runnable):
            progress((repeat * len(runnable) + number) / steps, model.name)
            real[model.name].append(run_real(model, workload, seed=seed + repeat))
            simulated[model.name].append(
                simulate(model, workload, profile=profile, machine=machine, seed=seed + repeat)
            )
    progress(1, "done")
    full_speed_ns = profile.pulse_ns or shortest_pulse_ns(
        [r for runs in real.values() for r in runs]
    )
    cells = [
        Cell(model.name, workload, simulated[model.name], real[model.name], full_speed_ns)
        for model in runnable
    ]
    return Comparison(profile.name, cells, skipped)
