"""The command line."""

from __future__ import annotations

import dataclasses
import difflib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from iosim import units
from iosim.calibrate import cache, quick
from iosim.compare import FIGURES, LIGHT, Comparison, compare
from iosim.errors import IosimError
from iosim.host import run_real, why_not
from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.results import Run
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload, explain

app = typer.Typer(
    help="Simulate the five Unix network I/O models and compare them with real sockets.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)

# typer exports of its usage errors only this one.
_USAGE_ERROR: Any = typer.BadParameter.__base__
_INTERRUPTED = 130
"""What typer returns after Ctrl-C, as shells do: 128 and the signal's number."""
_WIDTH = 170
"""Columns of a table that goes to a file or a pipe."""

Name = Annotated[str, typer.Argument(metavar="MODEL", help="One of `iosim models`.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the model."),
]
Connections = Annotated[str, typer.Option(help="Open connections.", show_default=False)]
ConnectGap = Annotated[str, typer.Option(help="Pause before each connection is opened: `1ms`.")]
Active = Annotated[str | None, typer.Option(help="How many carry requests: `100` or `10%`; all.")]
Rate = Annotated[str, typer.Option(help="Requests per second over all connections: `20k/s`.")]
Arrivals = Annotated[str, typer.Option(help="`poisson`, `even`, or `closed` (see --think).")]
Think = Annotated[str, typer.Option(help="Closed loop: pause from a reply to the next request.")]
Request = Annotated[str, typer.Option(help="Size of a request: `64`, `4KiB`.")]
Reply = Annotated[str, typer.Option(help="Size of a reply.")]
Service = Annotated[str, typer.Option(help="Computing per request: `5us`.")]
Requests = Annotated[str, typer.Option(help="Requests in the run: `100k`.")]
Seed = Annotated[int, typer.Option(help="Fixes arrivals and, simulated, everything.", min=0)]
Out = Annotated[Path | None, typer.Option(help="Save the run to this file (.npz).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Cost profile: `host`, `python`, `native` or a file; default is this host's own if "
        "calibrated, else `python`.",
    ),
]


@app.command("models")
def models_command(as_json: AsJson = False) -> None:
    """The I/O models: what each does while it waits and while data is copied.

    Example: `iosim models`
    """
    rows: list[dict[str, Any]] = [
        {
            "model": model.name,
            "family": model.family,
            "phase_1": model.phase_1,
            "phase_2": model.phase_2,
            "parameters": {f.name: getattr(model, f.name) for f in dataclasses.fields(model)},
            "runs_here": (reason := why_not(model)) is None,
            "reason": reason,
        }
        for model in MODELS.values()
    ]
    if as_json:
        _print_json(rows)
        return
    table = Table(title="The five I/O models")
    for heading in ("model", "family", "waiting for data", "copying it", "parameters", "runs here"):
        table.add_column(heading)
    for row in rows:
        parameters = ", ".join(f"{key}={value}" for key, value in row["parameters"].items())
        table.add_row(
            *(str(row[key]) for key in ("model", "family", "phase_1", "phase_2")),
            parameters,
            "yes" if row["runs_here"] else str(row["reason"]),
        )
    _console().print(table)


@app.command("simulate")
def simulate_command(
    model: Name,
    param: Parameters = None,
    connections: Connections = "64",
    connect_gap: ConnectGap = "0",
    active: Active = None,
    rate: Rate = "10k/s",
    arrivals: Arrivals = "poisson",
    think: Think = "0",
    request: Request = "64",
    reply: Reply = "64",
    service: Service = "0",
    requests: Requests = "20k",
    seed: Seed = 1,
    profile: ProfileName = None,
    cores: Annotated[int, typer.Option(help="Cores of the server.", min=1)] = 1,
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
            metavar="FIELD=VALUE", help="Set a field: `memory_bytes=64GiB`, `nic.mtu_bytes=9000`."
        ),
    ] = None,
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
    workload = _workload(
        connections, connect_gap, active, rate, arrivals, think, request, reply, service, requests
    )
    card = _nic(nic, nic_param)
    costs = cache.profile_for(profile)
    _check_writable(out)
    _check_writable(trace)
    recorded = None if trace is None else Trace()
    run = simulate(
        _model(model, param),
        workload,
        profile=costs,
        machine=_machine(Machine(cores=cores, nic=card), machine or []),
        seed=seed,
        trace=recorded,
        oversubscribe=oversubscribe,
    )
    if recorded is not None and trace is not None:
        recorded.save(trace)
    _finish(run, out, as_json, costs.name)


@app.command("real")
def real_command(
    model: Name,
    param: Parameters = None,
    connections: Connections = "64",
    connect_gap: ConnectGap = "0",
    active: Active = None,
    rate: Rate = "10k/s",
    arrivals: Arrivals = "poisson",
    think: Think = "0",
    request: Request = "64",
    reply: Reply = "64",
    service: Service = "0",
    requests: Requests = "20k",
    seed: Seed = 1,
    port: Annotated[int, typer.Option(help="Port of the server; 0 is a free one.")] = 0,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Run a model on real sockets of this host: a server process and a load process on loopback.

    Example: `iosim real epoll --connections 1000 --rate 10k/s`
    """
    workload = _workload(
        connections, connect_gap, active, rate, arrivals, think, request, reply, service, requests
    )
    if not 0 <= port <= 65535:
        raise IosimError(f"port {port}: a port lies between 0 and 65535; 0 picks a free one")
    _check_writable(out)
    run = run_real(_model(model, param), workload, seed=seed, port=port)
    _finish(run, out, as_json, None)


@app.command("compare")
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
    workload = _workload(
        connections, connect_gap, active, rate, arrivals, think, request, reply, service, requests
    )
    chosen = [get(name) for name in model or MODELS]
    costs = None if profile is None and why_not() is None else cache.profile_for(profile)
    folder = _results_folder(out)
    if costs is None:
        with _progress("calibrating this host") as advance:
            costs = cache.host_profile(advance) or cache.profile_for(None)
    with _progress("comparing") as advance:
        result = compare(
            chosen, workload, profile=costs, repeats=repeats, seed=seed, progress=advance
        )
    result.save(folder)
    if result.cells:
        from iosim.plots import distributions, save

        save(distributions(result.cells), folder / "latency.png")
    if as_json:
        _print_json(result.as_dict() | {"results": str(folder)})
    else:
        _print_comparison(result, folder)
    if not result.cells:
        raise IosimError("no model could be run for real here; the reasons are above")


@app.command("calibrate")
def calibrate_command(
    out: Annotated[
        Path | None, typer.Option(help="Write the profile here instead of the cache.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what this host's kernel actions cost (about 25 s) and keep the profile.

    Example: `iosim calibrate --out this-host.json`
    """
    _check_writable(out)
    with _progress("calibrating this host") as advance:
        profile = quick(advance)
    path = profile.save(out or cache.path())
    if as_json:
        _print_json(profile.model_dump() | {"path": str(path)})
        return
    table = Table("cost", "value", "from", "to", "source", title=profile.name)
    for name, cost in profile.costs.items():
        low, high = cost.spread or (cost.value, cost.value)
        table.add_row(name, f"{cost.value:.4g}", f"{low:.4g}", f"{high:.4g}", cost.source)
    _console().print(table)
    print(f"profile: {path}")


@app.command("timeline")
def timeline_command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    every: Annotated[bool, typer.Option("--all", help="The five models side by side.")] = False,
    profile: ProfileName = "native",
    out: Annotated[Path | None, typer.Option(help="The picture: .png, .svg or .pdf.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the textbook figure of a model (Stevens, figures 6.1 to 6.6) from a simulated run.

    Examples: `iosim timeline epoll`, `iosim timeline --all --out five.svg`
    """
    from iosim.plots import save
    from iosim.timeline import timeline, timelines

    if every == (model is not None):
        raise IosimError("timeline draws one MODEL or --all: give exactly one of them")
    costs = cache.profile_for(profile)
    path = out or Path("timeline-all.png" if model is None else f"timeline-{model}.png")
    _check_writable(path)
    save(timelines(profile=costs) if model is None else timeline(model, profile=costs), path)
    if as_json:
        _print_json({"figure": str(path)})
    else:
        print(f"figure: {path}")


def main() -> None:
    """Run the command line; a user's mistake ends with one line and no traceback."""
    try:
        code = app(standalone_mode=False)
    except IosimError as error:
        _fail(str(error), error.exit_code)
    except _USAGE_ERROR as error:
        _fail(f"{error.format_message()} Try 'iosim --help'.", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if code == _INTERRUPTED:
        _fail("interrupted; what was finished is kept", _INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> None:
    print(f"iosim: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)


def _model(name: str, parameters: list[str] | None) -> Model:
    """A model with its parameters set from NAME=VALUE texts, read like the default's type."""
    model = get(name)
    values: dict[str, Any] = {}
    for key, value in _pairs("--param", parameters, "threads=20"):
        default = getattr(model, key, None)
        if key.endswith("_ns"):
            values[key] = units.parse_time(value)
        elif isinstance(default, int):
            values[key] = units.parse_count(value)
        else:
            values[key] = value
    return get(model, **values)


def _nic(link: str | None, parameters: list[str] | None) -> Nic | None:
    """A card on a link of that speed, with parameters set; None if neither is given."""
    if link is None and not parameters:
        return None
    values = {} if link is None else {"link_bits_per_s": link}
    for key, value in _pairs("--nic-param", parameters, "coalesce_ns=20us"):
        if key not in Nic.model_fields:
            raise IosimError(
                f"a network card has no parameter {key!r}: its parameters are "
                f"{', '.join(Nic.model_fields)}"
            )
        if key in values:
            raise IosimError(
                f"--nic-param {key}={value}: {key} is already {values[key]}; say which"
            )
        values[key] = value
    return Nic.of(**values)


def _pairs(option: str, texts: list[str] | None, example: str) -> Iterator[tuple[str, str]]:
    """Names and values from NAME=VALUE texts."""
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise IosimError(f"{option} {text!r}: write it as NAME=VALUE, for example {example}")
        yield key, value


def _workload(
    connections: str,
    connect_gap: str,
    active: str | None,
    rate: str,
    arrivals: str,
    think: str,
    request: str,
    reply: str,
    service: str,
    requests: str,
) -> Workload:
    return Workload.of(
        connections=connections,
        connect_gap_ns=connect_gap,
        active=active,
        rate_per_s=rate,
        arrivals=arrivals,
        think_ns=think,
        request_bytes=request,
        reply_bytes=reply,
        service_ns=service,
        requests=requests,
    )


def _machine(machine: Machine, settings: list[str]) -> Machine:
    """The machine with its fields, or those of its `nic`, set from FIELD=VALUE texts."""
    values: dict[str, Any] = machine.model_dump()
    for text in settings:
        name, equals, value = text.partition("=")
        if not equals:
            raise IosimError(
                f"--machine {text!r}: write it as FIELD=VALUE, for example memory_bytes=64GiB"
            )
        part, dot, field = name.rpartition(".")
        known = [*Machine.model_fields, *(f"nic.{field}" for field in Nic.model_fields)]
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            raise IosimError(
                f"a machine has no field {name!r}"
                + (f", did you mean {near[0]}?" if near else ":")
                + f" Its fields are {', '.join(known)}"
            )
        if dot:
            values[part] = (values[part] or {}) | {field: value}
        else:
            values[field] = value
    try:
        return Machine(**values)
    except ValidationError as error:
        raise IosimError(f"--machine: {explain(error)}") from None


def _check_writable(path: Path | None) -> None:
    """Fail before the work is done, not after it."""
    if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
        raise IosimError(
            f"cannot write {path}: folder {path.parent} is missing or not writable; "
            "choose a place you may write to"
        )


def _results_folder(out: Path | None) -> Path:
    folder = out or Path("results") / f"compare-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IosimError(
            f"cannot make folder {folder}: {error.strerror}; choose another with --out"
        ) from None
    _check_writable(folder / "comparison.json")
    return folder


def _finish(run: Run, out: Path | None, as_json: bool, profile: str | None) -> None:
    if out is not None:
        run.save(out)
    summary = run.summary()
    if as_json:
        _print_json(summary | ({"profile": profile} if profile else {}))
        return
    table = Table(title=f"{run.model}, {run.kernel}", show_header=False)
    latency, blocked = summary["latency_ns"], summary["blocked_ns"]
    rows = [
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
    if run.provenance.get("machine", {}).get("nic"):
        rows.append(("packets dropped by the card", units.format_count(summary["drops"])))
    if "events_per_request" in summary:
        rows.append(("SimPy events per request", f"{summary['events_per_request']:.2f}"))
    if "memory_bytes" in summary:
        taken = ((kind.replace("_", " "), size) for kind, size in summary["memory_bytes"].items())
        rows += [(f"memory: {kind}", units.format_bytes(size)) for kind, size in taken if size]
    if profile is not None:
        rows.append(("cost profile", profile))
    for row in rows:
        table.add_row(*row)
    _console().print(table)
    if out is not None:
        print(f"run: {out}")


def _print_comparison(result: Comparison, folder: Path) -> None:
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
        for name, about in zip(FIGURES, (cell.model, f"  {cell.verdict}", "", ""), strict=True):
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
    _console().print(table)
    print("error: simulated relative to real; noise: the real run farthest from their median")
    for name, reason in result.skipped.items():
        print(f"skipped {name}: {reason}")
    print(f"cost profile: {result.profile}")
    print(f"results: {folder} (comparison.json, latency.png and every run)")


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=2))


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH)


@contextmanager
def _progress(what: str) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error that redraws only when told of progress.

    A bar that redraws by itself would take the processor from the runs it reports on.
    """
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[next]}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    ) as progress:
        task = progress.add_task(what, total=1, next="")

        def advance(share: float, following: str) -> None:
            progress.update(task, completed=share, next=following, refresh=True)

        yield advance
