"""Figures of sweeps: lines with confidence bands, heat maps, and maps of which alternative wins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from iosim.plots.base import FAINT, INK, canvas, duration, style
from iosim.units import format_bytes, format_count, format_rate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from iosim.sweep.analysis import Cell

_WIDE = 3
"""Panels in a row."""
_LOG_FROM = 10
"""An axis whose values reach over such a ratio is logarithmic."""


def written(name: str) -> Callable[[Any], str]:
    """How the values of a column are written."""
    if name.partition(".")[0] in ("latency_ns", "blocked_ns", "lateness_ns"):
        return duration
    if name.endswith(("_ns", "_ns_per_request")):
        return duration
    if name.endswith("_per_s") and not name.endswith("bits_per_s"):
        return format_rate
    if name.endswith("_bytes") or name.startswith("memory_bytes"):
        return format_bytes
    return lambda value: format_count(value) if isinstance(value, int | float) else str(value)


def lines(
    means: pd.DataFrame,
    x: str,
    figure: str,
    *,
    hue: str | None = None,
    panel: str | None = None,
    log: bool | None = None,
) -> Figure:
    """A figure of the sweep over a field: a line for each value of `hue`, a panel for each of
    `panel`, with the 95 % confidence band where there are replications.

    `means` is what `iosim.sweep.analysis.means` makes of these fields. Axes are logarithmic where
    values reach far, or as `log` says.
    """
    with style():
        drawing, panels = _panels(means, panel, figure)
        for axes, rows in panels:
            for value, line in _groups(rows, hue):
                line = line.sort_values(x, kind="stable")
                label = None if hue is None else written(hue)(value)
                (drawn,) = axes.plot(line[x], line["mean"], marker="o", ms=3.5, label=label)
                axes.fill_between(
                    line[x], line["low"], line["high"], color=drawn.get_color(), alpha=0.2, lw=0
                )
            _scale(axes.xaxis, means[x], written(x), log)
            _scale(axes.yaxis, means["mean"], written(figure), log)
            axes.grid(True)
            axes.set_xlabel(x)
        _finish(drawing, panels[0][0], hue)
    return drawing


def heat(means: pd.DataFrame, x: str, y: str, figure: str, *, panel: str | None = None) -> Figure:
    """The figure in colour, over two fields; what failed is left white."""
    from matplotlib.colors import LogNorm, Normalize

    low, high = float(means["mean"].min()), float(means["mean"].max())
    norm = LogNorm(low, high) if low > 0 and high / low >= _LOG_FROM else Normalize(low, high)
    with style():
        drawing, panels = _panels(means, panel, figure)
        for axes, rows in panels:
            grid: Any = rows.pivot_table(index=y, columns=x, values="mean", sort=True)
            axes.pcolormesh(np.ma.masked_invalid(grid.to_numpy()), norm=norm, cmap="viridis")
            _places(axes, x, y, list(grid.columns), list(grid.index))
            for row, column in np.argwhere(~np.isnan(grid.to_numpy())):
                value = float(grid.iat[row, column])
                # The upper half of the map is light.
                colour = INK if norm(value) > 0.55 else "white"
                text = written(figure)(value)
                axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=colour)
        _finish(drawing, panels[0][0], None)
    return drawing


def break_even(cells: Sequence[Cell], x: str, y: str, over: str, figure: str) -> Figure:
    """Which alternative wins where, by how much; hatched where that is too close to call."""
    from matplotlib.patches import Patch, Rectangle

    columns, rows = (_in_order({cell.at[place] for cell in cells}) for place in (0, 1))
    names = list(dict.fromkeys(cell.winner for cell in cells))
    with style():
        import matplotlib

        cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
        colours = {name: cycle[place % len(cycle)] for place, name in enumerate(names)}
        drawing = canvas(1.8 + 1.15 * max(3, len(columns)), 1.9 + 0.62 * max(2, len(rows)))
        axes = drawing.subplots()
        for cell in cells:
            corner = columns.index(cell.at[0]), rows.index(cell.at[1])
            axes.add_patch(
                Rectangle(
                    corner,
                    1,
                    1,
                    facecolor=colours[cell.winner] if cell.sure else "white",
                    edgecolor="white" if cell.sure else colours[cell.winner],
                    hatch=None if cell.sure else "////",
                    alpha=0.75,
                )
            )
            text = f"{cell.ahead:.0%}" if cell.sure else "too close"
            box = None if cell.sure else {"facecolor": "white", "edgecolor": "none", "pad": 1}
            middle = corner[0] + 0.5, corner[1] + 0.5
            axes.text(*middle, text, ha="center", va="center", color=INK, bbox=box)
        _places(axes, x, y, columns, rows)
        axes.set(xlim=(0, len(columns)), ylim=(0, len(rows)))
        drawing.suptitle(f"best {over} by {figure}, and how far ahead", x=0.02, ha="left", size=11)
        patches = [Patch(color=colours[name], alpha=0.75, label=str(name)) for name in names]
        patches.append(
            Patch(facecolor="white", edgecolor=FAINT, hatch="////", label="too close to call")
        )
        axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1))
        drawing.tight_layout()
    return drawing


def _in_order(values: set[Any]) -> list[Any]:
    numeric = all(isinstance(value, int | float) for value in values)
    return sorted(values) if numeric else sorted(values, key=str)


def _groups(rows: pd.DataFrame, by: str | None) -> Iterator[tuple[Any, pd.DataFrame]]:
    if by is None:
        yield None, rows
    else:
        yield from rows.groupby(by, sort=False)


def _panels(
    means: pd.DataFrame, panel: str | None, figure: str
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A drawing with the axes and rows of each panel, on common scales."""
    groups = list(_groups(means, panel))
    across = min(_WIDE, len(groups))
    down = -(-len(groups) // across)
    drawing = canvas(1.2 + 3.6 * across, 0.9 + 2.9 * down)
    grid = drawing.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    found = []
    for place, axes in enumerate(grid.flat):
        if place >= len(groups):
            axes.set_visible(False)
            continue
        value, rows = groups[place]
        if panel is not None:
            axes.set_title(f"{panel.rpartition('.')[2]} {written(panel)(value)}", loc="left")
        # Of common axes, only the lowest would say where its values are.
        axes.tick_params(labelbottom=place + across >= len(groups))
        found.append((axes, rows))
    drawing.suptitle(figure, x=0.02, ha="left", size=11, weight="bold")
    return drawing, found


def _scale(axis: Any, values: pd.Series[Any], text: Callable[[Any], str], log: bool | None) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    if values.dtype.kind not in "iuf":
        return
    low, high = values.min(), values.max()
    if log if log is not None else (low > 0 and high / low >= _LOG_FROM):
        axis.axes.set(**{f"{axis.axis_name}scale": "log"})
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: text(float(value))))


def _places(axes: Axes, x: str, y: str, columns: list[Any], rows: list[Any]) -> None:
    axes.set_xticks(np.arange(len(columns)) + 0.5, [written(x)(value) for value in columns])
    axes.set_yticks(np.arange(len(rows)) + 0.5, [written(y)(value) for value in rows])
    axes.tick_params(length=0)
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def _finish(drawing: Figure, axes: Axes, hue: str | None) -> None:
    drawing.tight_layout()
    handles, labels = axes.get_legend_handles_labels()
    if hue is not None:
        drawing.subplots_adjust(right=1 - 1.5 / drawing.get_figwidth())
        drawing.legend(
            handles,
            labels,
            title=hue,
            loc="upper left",
            bbox_to_anchor=(1 - 1.45 / drawing.get_figwidth(), 0.92),
        )
