"""`iosim compare`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from iosim import units
from iosim.calibrate import cache
from iosim.cli import parse
from iosim.cli.options import (
    Active,
    Arrivals,
    AsJson,
    ConnectGap,
    Connections,
    ProfileName,
    Rate,
    Reply,
    Request,
    Requests,
    Seed,
    Service,
    Think,
)
from iosim.cli.output import (
    console,
    make_folder,
    print_json,
    progress_bar,
    warn_of,
)
from iosim.compare import FIGURES, LIGHT, Comparison, compare
from iosim.errors import IosimError
from iosim.host import why_not
from iosim.models import MODELS, get


def compare_command(
    model: Annotated[
        list[str] | None, typer.Argument(metavar="[MODEL]...", help="All models by default.")
    ] = None,
    connections: Connections = str(LIGHT.connections),
    connect_gap: ConnectGap = "0",
    active: Active = None,
    rate: Rate = "10k/s",
    arrivals: Arrivals = "poisson",
    think: Think = "0",
    request: Request = "64",
    reply: Reply = "64",
    service: Service = "0",
    requests: Requests = str(LIGHT.requests),
    repeats: Annotated[int, typer.Option(help="Real runs per model.", min=1)] = 3,
    seed: Seed = 1,
    profile: ProfileName = None,
    out: Annotated[
        Path | None, typer.Option(help="Results folder; by default a new one under results/.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run models on both kernels and show how far the simulation is from reality.

    Calibrates this host first if that has not been done.

    Example: `iosim compare epoll select --rate 5k/s`
    """
    workload = parse.workload(
        connections, connect_gap, active, rate, arrivals, think, request, reply, service, requests
    )
    chosen = [get(name) for name in model or MODELS]
    found = None if profile is None and why_not() is None else cache.find(profile)
    folder = make_folder(
        out or Path("results") / f"compare-{datetime.now():%Y%m%d-%H%M%S}", "--out"
    )
    if found is None:
        with progress_bar("calibrating this host") as advance:
            cache.host_profile(advance)
        found = cache.find("host")
    warn_of(
        found.profile,
        "what differs between the hosts will look like errors of the simulation; "
        "run `iosim calibrate` and leave --profile out",
    )
    with progress_bar("comparing") as advance:
        result = compare(
            chosen, workload, profile=found.profile, repeats=repeats, seed=seed, progress=advance
        )
    result.save(folder)
    if result.cells:
        from iosim.plots import distributions, save

        save(distributions(result.cells), folder / "latency.png")
    if as_json:
        print_json(result.as_dict() | {"results": str(folder)})
    else:
        _print_comparison(result, folder, found)
    if not result.cells:
        raise IosimError("no model could be run for real here; the reasons are above")


def _print_comparison(result: Comparison, folder: Path, found: cache.Found) -> None:
    table = Table(title="Simulated against real, and real against itself", pad_edge=False)
    table.add_column("model and verdict", no_wrap=True)
    for heading in ("figure", "simulated", "real", "error", "noise"):
        table.add_column(heading, no_wrap=True, justify="left" if heading == "figure" else "right")
    formats: dict[str, tuple[str, Callable[[float], str]]] = {
        "throughput_per_s": ("throughput", units.format_rate),
        "cpu_ns_per_request": ("CPU per request", units.format_time),
        "p50": ("latency p50", units.format_time),
        "p99": ("latency p99", units.format_time),
    }
    for cell in result.cells:
        calm = f"  at full speed {cell.calm_share:.0%} of the time"
        about_cell = (cell.model, f"  {cell.verdict}", calm, "")
        for name, about in zip(FIGURES, about_cell, strict=True):
            heading, text = formats[name]
            table.add_row(
                about,
                heading,
                text(cell.simulated[name]),
                text(cell.real[name]),
                f"{cell.errors[name]:+.0%}",
                f"{abs(cell.noise[name]):.0%}",
                end_section=name == FIGURES[-1],
            )
    console().print(table)
    print("error: simulated relative to real; noise: the real run farthest from their median;")
    print("of real runs, what passed while the server's core was at full speed counts")
    for name, reason in result.skipped.items():
        print(f"skipped {name}: {reason}")
    print(f"cost profile: {found}")
    print(f"results: {folder} (comparison.json, latency.png and every run)")
