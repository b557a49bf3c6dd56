"""`iosim simulate` and `iosim real`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from iosim import units
from iosim.calibrate import cache
from iosim.cli import parse
from iosim.cli.options import AsJson, Name, Out, Parameters, ProfileName, Seed, whole
from iosim.cli.output import check_writable, console, late_progress_bar, losing, print_json
from iosim.cli.workload import workload_options
from iosim.errors import IosimError
from iosim.host import run_real
from iosim.machine import Machine
from iosim.results import Run
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload


@workload_options()
def simulate_command(
    model: Name,
    *,
    param: Parameters = None,
    workload: Workload,
    seed: Seed = 1,
    profile: ProfileName = None,
    cores: Annotated[int, whole("--cores", 1, "Cores of the server.")] = 1,
    nic: Annotated[
        str | None, typer.Option(help="Clients behind a link of this speed: `10Gbit/s`; loopback.")
    ] = None,
    nic_param: Annotated[
        list[str] | None,
        typer.Option(
            "--nic-param",
            metavar="NAME=VALUE",
            help="Set a parameter of the network card: `coalesce_ns=20us`, `rx_ring=256`.",
        ),
    ] = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Set a field: `memory_bytes=64GiB`, `nic.mtu_bytes=9000`."
        ),
    ] = None,
    interference: Annotated[
        bool,
        typer.Option(
            "--interference", help="Let others take time from the cores, as the profile tells."
        ),
    ] = False,
    oversubscribe: Annotated[
        bool, typer.Option("--oversubscribe", help="Go on where memory would run out.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(help="Write a trace for Perfetto (.json or .json.gz).")
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run a model on the simulated kernel.

    Example: `iosim simulate epoll --connections 100k --active 1% --rate 50k/s --requests 200k`
    """
    card = parse.nic(nic, nic_param)
    costs = parse.profile(profile)
    check_writable(out)
    check_writable(trace)
    taken = costs.profile.interference
    if interference and taken is None:
        raise IosimError(
            f"--interference: cost profile {costs.profile.name!r} knows of none; leave it out, or "
            "run `iosim calibrate` and use --profile host"
        )
    base = Machine.of(cores=cores, nic=card, interference=taken if interference else None)
    recorded = None if trace is None else Trace()
    with losing("nothing of the run is kept"), late_progress_bar("simulating") as progress:
        run = simulate(
            parse.model(model, param),
            workload,
            profile=costs.profile,
            machine=parse.machine(base, machine or []),
            seed=seed,
            trace=recorded,
            oversubscribe=oversubscribe,
            progress=progress,
        )
    if recorded is not None and trace is not None:
        recorded.save(trace)
    _finish(run, out, as_json, costs)


@workload_options()
def real_command(
    model: Name,
    *,
    param: Parameters = None,
    workload: Workload,
    seed: Seed = 1,
    port: Annotated[int, whole("--port", 0, "Port of the server; 0 is a free one.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run a model on real sockets of this host: a server process and a load process on loopback.

    Example: `iosim real epoll --connections 1000 --rate 10k/s`
    """
    check_writable(out)
    with losing("nothing of the run is kept"), late_progress_bar("running") as progress:
        run = run_real(parse.model(model, param), workload, seed=seed, port=port, progress=progress)
    _finish(run, out, as_json, None)


def _finish(run: Run, out: Path | None, as_json: bool, costs: cache.Found | None) -> None:
    if out is not None:
        run.save(out)
    summary = run.summary()
    for warning in summary["warnings"]:
        print(f"iosim: warning: {warning}", file=sys.stderr)
    if as_json:
        print_json(summary | ({"profile": costs.profile.name} if costs else {}))
        return
    table = Table(title=f"{run.model}, {run.kernel}", show_header=False)
    latency, blocked = summary["latency_ns"], summary["blocked_ns"]
    rows = [
        ("seed", str(summary["seed"])),
        ("requests", units.format_count(summary["requests"])),
        ("throughput", units.format_rate(summary["throughput_per_s"])),
        *((f"latency {name}", units.format_time(value)) for name, value in latency.items()),
        ("CPU per request", units.format_time(summary["cpu_ns_per_request"])),
        ("utilisation", f"{summary['utilisation']:.1%}"),
        ("system calls per request", f"{summary['syscalls_per_request']:.2f}"),
        ("empty polls", units.format_count(summary["empty_polls"])),
        ("context switches", units.format_count(summary["context_switches"])),
        ("blocked per request: waiting for data", units.format_time(blocked["wait_for_data"])),
        ("blocked per request: copying", units.format_time(blocked["copy_data"])),
        ("late sends, p99", units.format_time(summary["lateness_ns"]["p99"])),
        ("wall time", f"{summary['wall_s']:.2f} s"),
    ]
    if (generator := summary.get("load_generator")) is not None:
        said = "saturated, " if generator["saturated"] else ""
        rows.append(("load generator", f"{said}busy for {generator['busy']:.0%} of the time"))
    for worker in summary.get("workers", []):
        share = worker["requests"] / summary["requests"]
        said = f"{share:.0%} of the requests, {worker['connections']} connections, CPU "
        rows.append((worker["name"], said + units.format_time(worker["cpu_ns"])))
    if run.provenance.get("machine", {}).get("nic"):
        rows.append(("packets dropped by the card", units.format_count(summary["drops"])))
    if "events_per_request" in summary:
        rows.append(("SimPy events per request", f"{summary['events_per_request']:.2f}"))
    if "memory_bytes" in summary:
        taken = ((kind.replace("_", " "), size) for kind, size in summary["memory_bytes"].items())
        rows += [(f"memory: {kind}", units.format_bytes(size)) for kind, size in taken if size]
    if costs is not None:
        rows.append(("cost profile", str(costs)))
    for row in rows:
        table.add_row(*row)
    console().print(table)
    if out is not None:
        print(f"run: {out}")
