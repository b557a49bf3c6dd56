"""How far is the simulation from reality, on loads it was never fitted to? README.md answers.

python experiments/validation/run.py [--quick | --small] [--profile NAME] [--scale COST=FACTOR]
                                     [--runs DIR] [--out DIR]

Runs are kept in --runs: what was interrupted goes on from there, and the report can be made again,
with other costs too.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from grid import LOADS, QUICK_LOADS, QUICK_MODELS, Point, points
from report import draw, html, summary, table
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from iosim import (
    MODELS,
    CostProfile,
    IosimError,
    Run,
    Workload,
    run_real,
    simulate,
    why_not,
)
from iosim.calibrate import profile_for
from iosim.calm import calm, shortest_pulse_ns
from iosim.compare import Cell
from iosim.files import replacing
from iosim.plots import save
from iosim.seeds import replication_seed

HERE = Path(__file__).parent
CALM_ENOUGH = 0.1
TRIES = 3
"""A real run that was at full speed for less of its time is made again, so often in all; of the
tries the calmest counts. What was measured in it plays no part."""


def workloads(folder: Path) -> dict[str, Workload]:
    """What the runs that are kept were made with, by the name of the point."""
    return {
        file.name.removesuffix(", 0.npz"): Workload.of(**Run.load(file).provenance["workload"])
        for file in sorted(folder.glob("*, 0.npz"))
    }


def measured(point: Point, repeat: int, full_speed_ns: float | None, folder: Path) -> Run:
    """A real run, kept or made."""
    file = folder / f"{point.name}, {repeat}.npz"
    if file.exists():
        return Run.load(file)
    calmest, run = -1.0, None
    for _ in range(TRIES):
        tried = run_real(point.model, point.workload, seed=replication_seed(1, repeat))
        share = calm(tried, full_speed_ns or shortest_pulse_ns([tried])).share
        if share > calmest:
            calmest, run = share, tried
        if calmest >= CALM_ENOUGH:
            break
    assert run is not None
    run.save(file)
    return run


def measure(
    todo: list[Point], repeats: int, profile: CostProfile, folder: Path
) -> tuple[dict[str, list[Run]], dict[str, str]]:
    """The real runs of each point, repeats interleaved, and why some could not be made."""
    folder.mkdir(parents=True, exist_ok=True)
    real: dict[str, list[Run]] = {}
    refused: dict[str, str] = {}
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    console = Console(stderr=True)
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("real runs", total=repeats * len(todo))
        for repeat in range(repeats):
            for point in todo:
                bar.update(task, description=point.name)
                if point.name not in refused:
                    try:
                        run = measured(point, repeat, profile.pulse_ns, folder)
                        real.setdefault(point.name, []).append(run)
                    except IosimError as error:
                        refused[point.name] = str(error)
                        real.pop(point.name, None)
                bar.advance(task)
    return real, refused


def cells(todo: list[Point], real: dict[str, list[Run]], profile: CostProfile) -> list[Cell]:
    """The points with their simulated runs."""
    machine = profile.machine()
    everything = [run for runs in real.values() for run in runs]
    full_speed_ns = profile.pulse_ns or shortest_pulse_ns(everything)
    found = []
    for point in todo:
        if runs := real.get(point.name):
            simulated = [
                simulate(
                    point.model, point.workload, profile=profile, machine=machine, seed=run.seed
                )
                for run in runs
            ]
            found.append(Cell(point.model.name, point.workload, simulated, runs, full_speed_ns))
    return found


def main() -> int:
    """Run what has not been run, and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="four models, a few loads: 2 minutes")
    size.add_argument("--small", action="store_true", help="one model, two loads: seconds")
    parser.add_argument("--profile", help="cost profile; by default this host's own")
    parser.add_argument("--scale", metavar="COST=FACTOR", help="with one cost of it changed")
    parser.add_argument("--runs", type=Path, help="folder of real runs; runs/ in --out")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the report")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}")
    profile = profile_for(options.profile)
    simulated_profile = profile
    if options.scale:
        name, _, factor = options.scale.partition("=")
        try:
            simulated_profile = profile.scaled(**{name: float(factor)})
        except ValueError:
            raise IosimError(f"--scale {options.scale!r}: write COST=FACTOR") from None
    models, loads, repeats = list(MODELS), list(LOADS), 3
    if options.quick:
        models, repeats = list(QUICK_MODELS), 2
        loads = [load for load in LOADS if load.name in QUICK_LOADS]
    if options.small:
        models, loads, repeats = ["epoll"], list(LOADS[:2]), 2
    models = [name for name in models if why_not(MODELS[name]) is None]
    folder = options.runs or options.out / "runs"
    todo, refused = points(profile, models, loads, workloads(folder))
    options.out.mkdir(parents=True, exist_ok=True)
    real, failed = measure(todo, repeats, profile, folder)
    found = cells(todo, real, simulated_profile)
    if not found:
        raise IosimError(f"no cell could be run: {refused | failed}")
    names = [point.load.name for point in todo if point.name in real]
    data = table(found, names)
    with replacing(options.out / "data.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / "figure.png")
    text = summary(found, names, data, simulated_profile, refused | failed)
    for name, content in (
        ("summary.md", text),
        ("report.html", html(found, names, data, text, simulated_profile)),
    ):
        with replacing(options.out / name) as unfinished:
            unfinished.write_text(content)
    print(text)
    print(f"results: {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
