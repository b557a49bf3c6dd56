"""`iosim sweep` and `iosim export`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from iosim import units
from iosim.cli.options import AsJson, whole
from iosim.cli.output import check_writable, console, print_json, progress_bar
from iosim.errors import Interrupted, IosimError, RunFailed
from iosim.sweep import Counts, Design, Store, drive, export, profiles_of
from iosim.sweep.clusters import dask, ray
from iosim.sweep.driver import so_far
from iosim.sweep.engines import Engine, local, serial

_REDRAW_S = 0.1
_PACE_S = 60
"""Over how much of the last work the status tells the pace."""
_NAMED = 10
"""So many failures are named."""


def sweep_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The design, a TOML file.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Where results are kept; FILE with the ending .sweep by default."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="STORE", help="Go on with a store; needs no FILE.")
    ] = None,
    status: Annotated[
        Path | None, typer.Option(metavar="STORE", help="How far a sweep is, and what failed.")
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run the points that failed again.")
    ] = False,
    workers: Annotated[
        int | None, whole("--workers", 1, "Processes; one for each core by default.")
    ] = None,
    in_turn: Annotated[
        bool, typer.Option("--serial", help="One point after the other, in this process.")
    ] = False,
    dask_address: Annotated[
        str | None,
        typer.Option("--dask", metavar="ADDRESS", help="Run on this Dask scheduler."),
    ] = None,
    ray_address: Annotated[
        str | None, typer.Option("--ray", metavar="ADDRESS", help="Run on this Ray cluster.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run every point of a design, and keep the results in a store.

    Ctrl-C finishes what has begun; a second one stops at once. Nothing finished is lost either way,
    nor if the machine fails.

    Examples: `iosim sweep design.toml`, `iosim sweep --resume design.sweep`,
    `iosim sweep --status design.sweep`, `iosim export design.sweep --out design.parquet`
    """
    if sum(one is not None for one in (file, resume, status)) != 1:
        raise IosimError("sweep takes a FILE, --resume STORE or --status STORE: give one of them")
    if status is not None:
        _print_status(status, as_json)
        return
    engine = _engine(workers, in_turn, dask_address, ray_address)
    with _opened(file, store, resume) as opened:
        if retry_failed:
            opened.forget_failures()
        try:
            counts = _run(opened, engine)
        except KeyboardInterrupt:  # before the workers are ready
            raise Interrupted(f"interrupted; {so_far(opened)}") from None
        if as_json:
            print_json(_as_dict(counts) | {"store": str(opened.path)})
        else:
            print(
                f"{counts.finished} of {counts.total} points are finished, {counts.failed} failed"
            )
            print(f"store: {opened.path} (iosim export {opened.path} --out table.csv)")
        if counts.failed:
            raise RunFailed(
                f"{counts.failed} points failed: see `iosim sweep --status {opened.path}`, and run "
                f"them again by `iosim sweep --resume {opened.path} --retry-failed`"
            )


def _engine(
    workers: int | None, in_turn: bool, dask_address: str | None, ray_address: str | None
) -> AbstractContextManager[Engine]:
    """The engine that is asked for, if it is there; nothing is started before it is entered."""
    chosen: dict[str, Callable[[], AbstractContextManager[Engine]]] = {}
    if workers is not None:
        chosen["--workers"] = lambda: local(workers)
    if in_turn:
        chosen["--serial"] = serial
    if dask_address is not None:
        chosen["--dask"] = lambda: dask(dask_address)
    if ray_address is not None:
        chosen["--ray"] = lambda: ray(ray_address)
    if len(chosen) > 1:
        raise IosimError(f"{' and '.join(chosen)}: points run in one way only; choose one")
    return next(iter(chosen.values()), local)()


@contextmanager
def _opened(file: Path | None, store: Path | None, resume: Path | None) -> Iterator[Store]:
    if file is None:
        if store is not None:
            raise IosimError("--store belongs to a FILE: --resume names its store itself")
        assert resume is not None
        with Store.resume(resume) as opened:
            yield opened
        return
    design = Design.load(file)
    path = store or file.with_suffix(".sweep")
    check_writable(path)
    with Store.create(path, design, profiles_of(design)) as opened:
        yield opened


def _run(store: Store, engine: AbstractContextManager[Engine]) -> Counts:
    before = store.counts()
    if before.finished == before.total:
        return before
    drawn_s = 0.0
    with (
        progress_bar("sweep", before.finished / before.total) as advance,
        engine as chosen,
    ):

        def progress(counts: Counts, rate: float) -> None:
            nonlocal drawn_s
            if time.monotonic() - drawn_s >= _REDRAW_S:
                advance(counts.finished / counts.total, _pace(counts, rate))
                drawn_s = time.monotonic()

        return drive(store, chosen, progress=progress, interrupted=_say_finishing)


def _pace(counts: Counts, rate: float) -> str:
    done = f"{counts.finished} of {counts.total}, {units.format_rate(rate)}"
    return done + (f", {counts.failed} failed" if counts.failed else "")


def _say_finishing() -> None:
    print(
        "\niosim: finishing what has begun; Ctrl-C again stops at once", file=sys.stderr, flush=True
    )


def _as_dict(counts: Counts) -> dict[str, int]:
    return {"points": counts.total, "finished": counts.finished, "failed": counts.failed}


def _print_status(path: Path, as_json: bool) -> None:
    with Store.read(path) as store:
        counts, pace, version = store.counts(), store.pace(_PACE_S), store.version
        failures = [
            (number, store.design[number].seed, values, error)
            for number, values, error in store.failures(_NAMED)
        ]
    rate, idle_s = pace or (None, None)
    left_s = None if rate is None else (counts.total - counts.finished) / rate
    if as_json:
        named = [
            {"point": number, "seed": seed, "values": values, "error": error}
            for number, seed, values, error in failures
        ]
        extra = {"per_s": rate, "left_s": left_s, "idle_s": idle_s, "failures": named}
        print_json(_as_dict(counts) | {"version": version} | extra)
        return
    table = Table(title=str(path), show_header=False)
    table.add_row("points", str(counts.total))
    table.add_row("finished", f"{counts.finished} ({counts.finished / counts.total:.1%})")
    table.add_row("failed", str(counts.failed))
    if rate is not None and idle_s is not None and left_s:
        table.add_row("pace", units.format_rate(rate))
        table.add_row("time left at that pace", f"{left_s:.0f} s")
        table.add_row("last point", f"{idle_s:.0f} s ago")
    table.add_row("made with iosim", version)
    console().print(table)
    for number, seed, values, error in failures:
        print(f"point {number} {values}, seed {seed}: {error}")
    if counts.failed > len(failures):
        print(f"and {counts.failed - len(failures)} more")


def export_command(
    store: Annotated[Path, typer.Argument(metavar="STORE")],
    out: Annotated[Path, typer.Option(help="The table: .csv or .parquet.")],
    as_json: AsJson = False,
) -> None:
    """Write the table of a sweep: a row for each finished point, in the order of the design.

    Example: `iosim export design.sweep --out design.parquet`
    """
    check_writable(out)
    with Store.read(store) as opened:
        rows, total = export(opened, out), len(opened.design)
    if as_json:
        print_json({"table": str(out), "rows": rows, "points": total})
    else:
        print(f"table: {out} ({rows} of {total} points)")
