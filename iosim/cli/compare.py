"""`iosim compare`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer
from rich.table import Table

from iosim import units
from iosim.agreement import SHORT, Agreement
from iosim.calibrate import cache
from iosim.cli import parse
from iosim.cli.options import AsJson, ProfileName, Seed, whole
from iosim.cli.output import (
    console,
    losing,
    make_folder,
    print_json,
    progress_bar,
    warn_of,
)
from iosim.cli.workload import workload_options
from iosim.compare import (
    LIGHT,
    Cell,
    Comparison,
    Order,
    OwnServer,
    compare,
    compare_files,
)
from iosim.errors import IosimError, RunFailed
from iosim.files import check_folder
from iosim.host import why_not
from iosim.models import MODELS, get
from iosim.phases import PHASES, REGIONS, Explanation
from iosim.workload import Workload

_TEXT: dict[str, Callable[[float], str]] = {
    "throughput_per_s": units.format_rate,
    "cpu_ns_per_request": units.format_time,
    "p50": units.format_time,
    "p90": units.format_time,
    "p99": units.format_time,
}
"""How each figure is written."""

_DISTANCE = {"demerit": "demerit", "ks": "KS"}


@workload_options(connections=str(LIGHT.connections), requests=str(LIGHT.requests))
def compare_command(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="All models by default.")
    ] = None,
    *,
    workload: Workload,
    repeats: Annotated[int, whole("--repeats", 1, "Runs per model on each kernel.")] = 3,
    seed: Seed = 1,
    profile: ProfileName = None,
    real: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Latencies of your own server (CSV or wrk2 output) instead of real runs; one "
            "file for each of its runs.",
        ),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell in which phases of a request the time goes.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Results folder; by default a new one under results/.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run models on both kernels and show how far the simulation is from reality.

    Calibrates this host first if that has not been done.

    Examples: `iosim compare epoll select --rate 5k/s`,
    `iosim compare epoll --real wrk2.txt --rate 2k/s --arrivals even`
    """
    from iosim import plots

    plots.ready()  # fail before the work is done
    chosen = [get(name) for name in model or MODELS]
    if real and len(model or ()) != 1:
        raise IosimError(
            f"--real holds a server against one model, and {len(model or ())} are named: "
            "name the one that it uses, as in `iosim compare epoll --real latencies.csv`"
        )
    if real and explain:
        raise IosimError(
            "--explain takes real runs apart, and latencies in a file have no phases: leave out "
            "--real or --explain"
        )
    check_folder(out or Path("results"), "--out")
    if real:
        found = parse.profile(profile)
        with losing("no run is kept"):
            result = compare_files(
                chosen[0], workload, real, profile=found.profile, repeats=repeats, seed=seed
            )
        folder = _folder(out)
    else:
        given = None if profile is None and why_not() is None else cache.find(profile)
        folder = _folder(out)
        found = given or _calibrated()
        warn_of(found)
        with (
            _unused_removed(None if out else folder),
            losing("no run is kept"),
            progress_bar("comparing") as advance,
        ):
            result = compare(
                chosen,
                workload,
                profile=found.profile,
                repeats=repeats,
                seed=seed,
                progress=advance,
            )
    with progress_bar("intervals") as advance:
        for number, cell in enumerate(result.cells):
            advance(number / len(result.cells), cell.model)
            _ = cell.agreement.intervals  # it keeps them
    result.save(folder)
    if result.cells:
        plots.save(plots.distributions(result.cells), folder / "latency.png")
    if as_json:
        print_json(result.as_dict() | {"results": str(folder)})
    else:
        _print_comparison(result)
        if explain:
            _print_explanations(result)
        print(f"cost profile: {found}")
        print(f"results: {folder} (comparison.json, latency.png and every run)")
    if not result.cells:
        raise IosimError("no model could be run for real here; the reasons are above")


def _folder(out: Path | None) -> Path:
    folder = out or Path("results") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    return make_folder(folder, "--out", "comparison.json", "latency.png")


@contextmanager
def _unused_removed(folder: Path | None) -> Iterator[None]:
    """Leave no empty folder behind if there are no results for it."""
    try:
        yield
    except BaseException:
        if folder is not None:
            with suppress(OSError):
                os.removedirs(folder)
        raise


def _calibrated() -> cache.Found:
    """This host's own profile; if what is measured now makes none, that of another host."""
    try:
        with progress_bar("calibrating this host") as advance:
            cache.host_profile(advance)
    except RunFailed as failure:
        print(f"iosim: warning: {failure}; {cache.DEFAULT} stands in for it", file=sys.stderr)
        return cache.find(cache.DEFAULT)
    return cache.find("host")


def _print_comparison(result: Comparison) -> None:
    table = Table(title="Simulated against real, and real against itself", pad_edge=False)
    table.add_column("model and verdict", no_wrap=True)
    for heading in ("figure", "simulated", "real", "error", "95 % interval", "noise"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "figure" else "right")
    for cell in result.cells:
        rows = [*_figures(cell.agreement), *_distances(cell.agreement)]
        for about, row in zip_longest(_about(cell), rows, fillvalue=""):
            table.add_row(about, *row)
        table.add_section()
    console().print(table)
    print("error: simulated relative to real; noise: the real run farthest from their median;")
    print("demerit, KS: how far the latency distributions are apart, noise: each real run from the")
    print("others; interval: runs drawn again, of three about their range (docs/validation.md)")
    if result.seeds:
        print(f"seeds: {', '.join(map(str, result.seeds))} (each can be run again by --seed)")
    if any(isinstance(cell, Cell) for cell in result.cells):
        print("of real runs, what passed while the server's core was at full speed counts")
    for name, order in result.orders.items():
        print(_order(SHORT[name], order))
    for cell in result.cells:
        if isinstance(cell, OwnServer):
            for file, latency_ns in cell.files.items():
                print(f"real: {file}, {units.format_count(len(latency_ns))} latencies")
            for name, reason in cell.not_compared.items():
                print(f"not compared: {SHORT.get(name, name)} ({reason})")
    for name, reason in result.skipped.items():
        print(f"skipped {name}: {reason}")


def _print_explanations(result: Comparison) -> None:
    for cell in result.cells:
        if not isinstance(cell, Cell):
            continue
        found = cell.explanation
        table = Table(title=f"{cell.model}: where the time of a request goes", pad_edge=False)
        table.add_column("phase", no_wrap=True)
        for region in REGIONS:
            for heading in (f"{region}: simulated", "real", "difference"):
                table.add_column(heading, no_wrap=True, justify="right")
        for phase in PHASES:
            table.add_row(phase, *_differences(found, (phase,)))
        table.add_section()
        table.add_row("all", *_differences(found, tuple(PHASES)))
        console().print(table)
        for region in REGIONS:
            phase = found.widest(region)
            print(f"{region} differs most in {phase}: {PHASES[phase]}")
        counts = (
            f"{name} {found.simulated_counts[name]:.2f} / {real:.2f}"
            for name, real in found.real_counts.items()
        )
        text = f"per request, simulated / real: {', '.join(counts)}"
        print("\n".join(wrap(text, 98, break_on_hyphens=False)))
    print("p50: means over the middle half of the requests by latency; p99: over the slowest 2 %")


def _differences(found: Explanation, phases: Sequence[str]) -> Iterator[str]:
    for region in REGIONS:
        simulated_ns, real_ns = (
            sum(by_phase[region][phase] for phase in phases)
            for by_phase in (found.simulated_ns, found.real_ns)
        )
        yield units.format_time(simulated_ns)
        yield units.format_time(real_ns)
        yield f"{(simulated_ns - real_ns) / 1_000:+.1f} us"


def _about(cell: Cell | OwnServer) -> list[str]:
    """The first column: model, verdict, and how much of the real runs counts."""
    lines = [cell.model, *wrap(cell.verdict, 26)]
    if isinstance(cell, Cell):
        lines.append(f"full speed {cell.calm_share:.0%} of the time")
    return [lines[0], *(f"  {line}" for line in lines[1:])]


def _figures(agreement: Agreement) -> Iterator[tuple[str, ...]]:
    for name, error in agreement.errors.items():
        text = _TEXT[name]
        low_high = agreement.intervals.get(name)
        yield (
            SHORT[name],
            text(agreement.simulated[name]),
            text(agreement.real[name]),
            f"{error:+.0%}",
            "-" if low_high is None else "{:+.0%} to {:+.0%}".format(*low_high),
            f"{abs(agreement.noise[name]):.0%}" if agreement.noise else "-",
        )


def _distances(agreement: Agreement) -> Iterator[tuple[str, ...]]:
    for name, distance in agreement.distances.items():
        low_high = agreement.intervals.get(name)
        yield (
            _DISTANCE[name],
            "",
            "",
            f"{distance:.0%}",
            "-" if low_high is None else "{:.0%} to {:.0%}".format(*low_high),
            f"{agreement.distance_noise[name]:.0%}" if agreement.distance_noise else "-",
        )


def _order(figure: str, order: Order) -> str:
    tau = "-" if order.kendall_tau is None else f"{order.kendall_tau:.2f}"
    found = f"order by {figure}, {order.models} models: Kendall's tau {tau}; "
    best = order.winner
    if best is None:
        return found + "one run tells no winner"
    ahead = f"ahead {best.gap:.0%}, noise {best.noise:.0%}"
    if best.agrees is None:
        return found + f"no winner ({best.real} {ahead})"
    simulated = "simulated too" if best.agrees else f"simulated {best.simulated}"
    return found + f"{best.real} wins ({ahead}), {simulated}"
