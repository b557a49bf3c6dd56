"""`iosim plot` and `iosim sensitivity`."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from iosim.cli.options import AsJson
from iosim.cli.output import check_writable, console, print_json
from iosim.errors import IosimError
from iosim.sweep import Design, Store, analysis, frame

if TYPE_CHECKING:
    import pandas as pd

Figure = Annotated[str, typer.Option("--y", metavar="FIGURE", help="What is drawn: `latency.p99`.")]


class Kind(StrEnum):
    """What `iosim plot` draws."""

    lines = "lines"
    heat = "heat"
    break_even = "break-even"


def plot_command(
    store: Annotated[Path, typer.Argument(metavar="STORE")],
    x: Annotated[str, typer.Option("--x", metavar="FIELD", help="Along: `connections`.")],
    y: Figure,
    hue: Annotated[
        str | None,
        typer.Option(metavar="FIELD", help="A line for each value; who competes in a map."),
    ] = None,
    down: Annotated[
        str | None, typer.Option("--by", metavar="FIELD", help="The second field of a map.")
    ] = None,
    panel: Annotated[
        str | None, typer.Option(metavar="FIELD", help="A panel for each value.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--where", metavar="FIELD=VALUE", help="Draw only such points: `rate=1k/s`."),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="Lines, a heat map, or which of --hue wins.")] = (
        Kind.lines
    ),
    most: Annotated[bool, typer.Option("--most", help="The greatest wins, not the least.")] = False,
    log: Annotated[
        bool | None, typer.Option("--log/--linear", help="Axes; by how far values reach.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The picture: .png, .svg or .pdf.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the table of a sweep: lines with confidence bands, a heat map, or a break-even map.

    Examples: `iosim plot design.sweep --x connections --y latency.p99 --hue model`,
    `iosim plot design.sweep --kind break-even --x connections --by rate --hue model --y
    cpu_ns_per_request`
    """
    from iosim import plots

    path = out or store.with_suffix(".png")
    check_writable(path)
    with Store.read(store) as opened:
        design, table = opened.design, frame(opened)
    figure = analysis.figure_of(y)
    table = analysis.where(table, design, _conditions(only or []))
    along, across, lines, small = (
        None if name is None else analysis.field_of(design, name) for name in (x, down, hue, panel)
    )
    assert along is not None
    if kind is not Kind.lines and across is None:
        raise IosimError(f"--kind {kind.value} needs --by, the second field of the map")
    if kind is Kind.lines and across is not None:
        raise IosimError("--by is for maps: lines take --hue and --panel")
    if lines is None and kind is not Kind.heat and "model" in design.varied and along != "model":
        lines = "model"
    if kind is Kind.break_even and lines is None:
        raise IosimError("--kind break-even needs --hue, the field whose values compete")
    if kind is Kind.break_even and small is not None:
        raise IosimError("--kind break-even has no panels: choose points by --where")
    drawn_by = {"--x": along, "--by": across, "--hue": lines, "--panel": small}
    used = [name for name in drawn_by.values() if name is not None]
    for name in used:
        twice = [option for option, field in drawn_by.items() if field == name]
        if len(twice) > 1:
            raise IosimError(
                f"{name} is drawn twice, by {' and '.join(twice)}: choose another field for one"
            )
    small = _all_named(table, design, used, small, kind)
    if small is not None and small not in used:
        used.append(small)
    if table[figure].isna().all():
        raise IosimError(f"no point that is finished has {figure}")
    if kind is Kind.break_even:
        assert across is not None
        assert lines is not None
        cells = analysis.winners(table, (along, across), lines, figure, most=most)
        drawn = plots.break_even(cells, along, across, lines, figure)
    else:
        means = analysis.means(table, used, figure)
        if kind is Kind.lines:
            drawn = plots.lines(means, along, figure, hue=lines, panel=small, log=log)
        else:
            assert across is not None
            drawn = plots.heat(means, along, across, figure, panel=small)
    plots.save(drawn, path)
    if as_json:
        print_json({"figure": str(path)})
    else:
        print(f"figure: {path}")


def _conditions(texts: list[str]) -> dict[str, str]:
    conditions: dict[str, str] = {}
    for name, value in map(_condition, texts):
        if name in conditions:
            raise IosimError(
                f"--where {name}={value}: {name} is already {conditions[name]}; say which"
            )
        conditions[name] = value
    return conditions


def _condition(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise IosimError(f"--where {text!r}: write it as FIELD=VALUE, for example rate=1k/s")
    return name, value


def _all_named(
    table: pd.DataFrame, design: Design, used: list[str], small: str | None, kind: Kind
) -> str | None:
    """The field of the panels: the one that is left, if nothing says otherwise.

    Points that differ in more than what is drawn would be averaged into something that never ran.
    """
    left = analysis.others(table, design, used)
    if len(left) == 1 and small is None and kind is not Kind.break_even:
        return left[0]
    if left:
        raise IosimError(
            f"{', '.join(left)} vary too: choose one value by --where"
            + ("" if kind is Kind.break_even else ", or draw it by --hue or --panel")
        )
    return small


def sensitivity_command(
    store: Annotated[Path, typer.Argument(metavar="STORE")],
    y: Figure,
    as_json: AsJson = False,
) -> None:
    """How much of the variance of a figure comes from each field: Sobol indices.

    The sweep must have design = "sensitivity".

    Example: `iosim sensitivity costs.sweep --y cpu_ns_per_request`
    """
    with Store.read(store) as opened:
        figure = analysis.figure_of(y)
        indices = analysis.sensitivity(frame(opened), opened.design, figure)
    if as_json:
        print_json({"figure": figure, "indices": [asdict(index) for index in indices]})
        return
    table = Table("field", title=f"Sobol indices of {figure}", pad_edge=False)
    for heading in ("by itself", "95 % interval", "with interactions", "95 % interval"):
        table.add_column(heading, justify="right")
    for index in sorted(indices, key=lambda index: -index.total):
        table.add_row(
            index.field,
            f"{index.first:.2f}",
            "{:.2f} to {:.2f}".format(*index.first_interval),
            f"{index.total:.2f}",
            "{:.2f} to {:.2f}".format(*index.total_interval),
        )
    console().print(table)
