"""Hold simulated runs against real ones: errors, and how far reality differs from itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim import latencies, stats
from iosim.agreement import FIGURES, Agreement, Sample
from iosim.calm import calm, shortest_pulse_ns
from iosim.checked import expect
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.files import replacing
from iosim.host import run_real, why_not
from iosim.models import MODELS, Model, get, models_of
from iosim.phases import Explanation, explain
from iosim.results import Run
from iosim.seeds import replication_seed
from iosim.sim import simulate
from iosim.workload import Workload

RANKED = ("cpu_ns_per_request", "p50")
"""The figures by which models are put in order, the least first."""

FEWEST = 200
"""A run with fewer requests in its calm parts tells nothing, and so does a shorter file."""

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
    def tells(self) -> bool:
        """Whether most real runs count."""
        return 2 * len(self.counting) > len(self.real_runs)

    @cached_property
    def agreement(self) -> Agreement:
        """The figures: of real runs, of those that count and their calm parts.

        If there are none to speak of, everything does, and the verdict says so.
        """
        runs, full_speed_ns = self._told_by
        return Agreement(
            [Sample.of(run) for run in self.simulated_runs],
            [Sample.of(run, full_speed_ns) for run in runs],
        )

    @cached_property
    def explanation(self) -> Explanation:
        """Where simulation and reality differ, by the same parts of the same runs."""
        runs, full_speed_ns = self._told_by
        records = [calm(run, full_speed_ns).records for run in runs]
        return explain(self.simulated_runs, runs, np.concatenate(records))

    @property
    def _told_by(self) -> tuple[Sequence[Run], float | None]:
        """The real runs that tell something, and the pulse that makes their calm parts."""
        counting = self.counting
        return (counting, self.full_speed_ns) if counting else (self.real_runs, None)

    @property
    def real_latencies_ns(self) -> list[npt.NDArray[np.int64]]:
        """The latencies behind the figures, run by run."""
        return [sample.latency_ns for sample in self.agreement.real_samples]

    @property
    def verdict(self) -> str:
        """Whether the simulation agrees with reality, if there is enough of that to tell."""
        if not self.tells:
            return f"too noisy to tell: full speed in {self.calm_share:.0%} of the time"
        return self.agreement.verdict

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim compare --json` prints it."""
        return {
            "model": self.model,
            "workload": self.workload.model_dump(),
            **self.agreement.as_dict(),
            **self.explanation.as_dict(),
            "calm_share": self.calm_share,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class OwnServer:
    """A user's own server, of which files of latencies are known, held against one model."""

    model: str
    workload: Workload
    simulated_runs: Sequence[Run]
    files: Mapping[str, npt.NDArray[np.float64]]
    """The latencies in each file, ns."""

    @property
    def real_runs(self) -> Sequence[Run]:
        """None, as all that is known are latencies."""
        return ()

    @property
    def real_latencies_ns(self) -> list[npt.NDArray[np.float64]]:
        """The latencies, file by file."""
        return list(self.files.values())

    @cached_property
    def agreement(self) -> Agreement:
        """The figures that latencies tell."""
        return Agreement(
            [Sample.of(run) for run in self.simulated_runs],
            [Sample(latency_ns) for latency_ns in self.real_latencies_ns],
        )

    @property
    def not_compared(self) -> dict[str, str]:
        """What could not be compared, with its reason."""
        missing = {
            name: "latencies do not tell it" for name in FIGURES if name not in self.agreement.real
        }
        if len(self.files) == 1:
            missing["noise"] = "it takes several runs: name each file with --real"
        return missing

    @property
    def verdict(self) -> str:
        """Whether the latencies agree."""
        return self.agreement.verdict

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim compare --real FILE --json` prints it."""
        return {
            "model": self.model,
            "workload": self.workload.model_dump(),
            **self.agreement.as_dict(),
            "latencies": {file: len(latency_ns) for file, latency_ns in self.files.items()},
            "not_compared": self.not_compared,
            "verdict": self.verdict,
        }


@dataclass(frozen=True)
class Order:
    """Whether simulation and reality put models in the same order by one figure."""

    models: int
    kendall_tau: float | None
    """See `iosim.stats.kendall`."""
    winner: stats.Winner | None
    """None if the noise of the best is not known."""

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        winner = self.winner and asdict(self.winner) | {"agrees": self.winner.agrees}
        return {"models": self.models, "kendall_tau": self.kendall_tau, "winner": winner}


@dataclass(frozen=True)
class Comparison:
    """Cells of one comparison, and the models that could not be run for real."""

    profile: str
    cells: Sequence[Cell | OwnServer]
    skipped: dict[str, str] = field(default_factory=dict)
    """Reason by model."""

    @cached_property
    def orders(self) -> dict[str, Order]:
        """By each figure of `RANKED`, over the models whose real runs tell anything; nothing of
        fewer than two."""
        told = {
            cell.model: cell.agreement
            for cell in self.cells
            if isinstance(cell, Cell) and cell.tells
        }
        return {name: _order(name, told) for name in RANKED} if len(told) > 1 else {}

    @property
    def seeds(self) -> list[int]:
        """Those of the repeats, in their order: of each model the same."""
        return [run.seed for cell in self.cells[:1] for run in cell.simulated_runs]

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim compare --json` prints it."""
        return {
            "profile": self.profile,
            "seeds": self.seeds,
            "cells": [cell.as_dict() for cell in self.cells],
            "orders": {name: order.as_dict() for name, order in self.orders.items()},
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


def _check(repeats: object) -> None:
    if type(repeats) is not int or repeats < 1:
        raise IosimError(f"repeats = {repeats!r} must be a whole number from 1 on")


def _once(names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        if name in names[:place]:
            raise IosimError(f"{name} is there twice: name it once, --repeats is for more runs")


def _order(name: str, told: Mapping[str, Agreement]) -> Order:
    simulated = {model: agreement.simulated[name] for model, agreement in told.items()}
    real = {model: agreement.real[name] for model, agreement in told.items()}
    noise = {model: agreement.noise[name] for model, agreement in told.items() if agreement.noise}
    return Order(
        len(told),
        stats.kendall(list(simulated.values()), list(real.values())),
        stats.winner(simulated, real, noise),
    )


def compare(
    models: Sequence[str | Model] | None = None,
    workload: Workload = LIGHT,
    *,
    profile: CostProfile | str,
    repeats: int = 3,
    seed: int = 1,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Run every model on both kernels, `repeats` times with the seeds of `replication_seed`,
    interleaved.

    Each repeat runs all models once, so that a disturbance of the host hits different models
    rather than all runs of one. The simulated machine has the interference of the profile. A model
    that the host cannot run is skipped with its reason.
    """
    _check(repeats)
    if isinstance(profile, str):
        profile = CostProfile.named(profile)
    expect(CostProfile, profile, "profile")
    expect(Workload, workload, "workload")
    chosen = models_of(list(MODELS) if models is None else models)
    _once([model.name for model in chosen])
    skipped = {m.name: reason for m in chosen if (reason := why_not(m)) is not None}
    runnable = [model for model in chosen if model.name not in skipped]
    simulated: dict[str, list[Run]] = {model.name: [] for model in runnable}
    real: dict[str, list[Run]] = {model.name: [] for model in runnable}
    machine = profile.machine()
    steps = repeats * len(runnable)
    for repeat in range(repeats):
        for number, model in enumerate(runnable):
            progress((repeat * len(runnable) + number) / steps, model.name)
            ours = replication_seed(seed, repeat)
            real[model.name].append(run_real(model, workload, seed=ours))
            simulated[model.name].append(
                simulate(model, workload, profile=profile, machine=machine, seed=ours)
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


def compare_files(
    model: str | Model,
    workload: Workload,
    files: Sequence[str | Path],
    *,
    profile: CostProfile | str,
    repeats: int = 3,
    seed: int = 1,
) -> Comparison:
    """Hold a model, simulated `repeats` times, against files of latencies of a user's own server
    under that workload, one for each run, see `iosim.latencies`."""
    _check(repeats)
    if isinstance(profile, str):
        profile = CostProfile.named(profile)
    expect(CostProfile, profile, "profile")
    _once([str(file) for file in files])
    read = {str(file): latencies.read(file) for file in files}
    for file, latency_ns in read.items():
        if len(latency_ns) < FEWEST:
            raise IosimError(
                f"{file} has {len(latency_ns)} latencies; a p99 takes at least {FEWEST}: "
                "measure longer"
            )
    model = get(model)
    machine = profile.machine()
    runs = [
        simulate(
            model,
            workload,
            profile=profile,
            machine=machine,
            seed=replication_seed(seed, repeat),
        )
        for repeat in range(repeats)
    ]
    return Comparison(profile.name, [OwnServer(model.name, workload, runs, read)])
