"""Hold simulated runs against real ones: errors, and how far reality differs from itself."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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

    @property
    def simulated(self) -> dict[str, float]:
        """Each figure, median over the simulated runs."""
        return _median(self.simulated_runs)

    @property
    def real(self) -> dict[str, float]:
        """Each figure, median over the real runs."""
        return _median(self.real_runs)

    @property
    def errors(self) -> dict[str, float]:
        """Simulated relative to real, minus one."""
        return {name: self.simulated[name] / self.real[name] - 1 for name in FIGURES}

    @property
    def noise(self) -> dict[str, float]:
        """Real against real, see `noise`."""
        return noise(self.real_runs)

    @property
    def verdict(self) -> str:
        """Whether the simulation agrees with reality; errors inside the noise do not count."""
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


def figures(run: Run) -> dict[str, float]:
    """The compared figures of one run."""
    p50, p99 = np.quantile(run.latency_ns, [0.5, 0.99])
    return {
        "throughput_per_s": len(run.records) / run.elapsed_ns * 1e9,
        "cpu_ns_per_request": run.cpu_ns / len(run.records),
        "p50": float(p50),
        "p99": float(p99),
    }


def noise(runs: Sequence[Run]) -> dict[str, float]:
    """Each figure of the run that is farthest from their median, relative to it, minus one."""
    middle = _median(runs)
    return {
        name: max((figures(run)[name] / middle[name] - 1 for run in runs), key=abs)
        for name in FIGURES
    }


def _median(runs: Sequence[Run]) -> dict[str, float]:
    each = [figures(run) for run in runs]
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
    cells = [
        Cell(model.name, workload, simulated[model.name], real[model.name]) for model in runnable
    ]
    return Comparison(profile.name, cells, skipped)
