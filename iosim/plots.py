"""What all figures share: one style, colours that colour-blind readers tell apart, units.

Figures are `matplotlib.figure.Figure` objects, never pyplot's global state, so that they can be
made in any thread and leave no trace. matplotlib takes a second or two to import: functions that
need it import it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from iosim.errors import IosimError
from iosim.files import replacing
from iosim.units import format_bytes, format_count, format_rate, format_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from iosim.calibrate.scan import ScanFit
    from iosim.compare import Cell

PALETTE = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
    "grey": "#8C8C8C",
}
"""Okabe and Ito's eight colours, and a grey."""

INK = "#222222"
FAINT = "#6E6E6E"
"""Main and secondary text."""


def style() -> AbstractContextManager[None]:
    """The style of all figures, while the context lasts: `with style(): ...`."""
    import matplotlib
    from cycler import cycler

    colours = [PALETTE[name] for name in ("blue", "vermilion", "green", "purple", "orange", "sky")]
    return matplotlib.rc_context(
        {
            "font.family": "DejaVu Sans",
            "font.size": 9.5,
            "text.color": INK,
            "axes.labelcolor": INK,
            "axes.edgecolor": FAINT,
            "axes.titlesize": 10.5,
            "axes.titleweight": "bold",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": cycler(color=colours),
            "xtick.color": FAINT,
            "ytick.color": FAINT,
            "grid.color": "#E3E3E3",
            "legend.frameon": False,
            "lines.linewidth": 1.6,
            "savefig.dpi": 150,
            "svg.hashsalt": "iosim",
        }
    )


def canvas(width_in: float, height_in: float) -> Figure:
    """An empty figure of that size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def duration(ns: float) -> str:
    """`51.3 µs` from 51_312 nanoseconds, as tables write it but with the sign for micro."""
    return format_time(ns).replace(" us", " µs")


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a figure; the ending of the name says how (.png, .svg, .pdf)."""
    path = Path(path)
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise IosimError(
            f"cannot draw a figure as {path.name}: let its name end in "
            f"{', '.join('.' + ending for ending in sorted(known))}"
        )
    # No date, so that equal figures are equal files.
    with style(), replacing(path) as temporary:
        figure.savefig(temporary, metadata={"Date": None} if path.suffix == ".svg" else None)
    return path


def distributions(cells: Sequence[Cell]) -> Figure:
    """Latency distributions, simulated over real: one panel per model.

    Each real run is a line of its own, so that the noise of reality can be seen.
    """
    import numpy as np

    columns = min(4, len(cells))
    rows = -(-len(cells) // columns)
    probability = np.linspace(0.001, 0.999, 999)
    with style():
        figure = canvas(3.1 * columns, 2.35 * rows + 0.75)
        axes = figure.subplots(rows, columns, sharey=True, squeeze=False).flat
        for axis, cell in zip(axes, cells, strict=False):
            for runs, colour, label, width in (
                (cell.real_runs, PALETTE["vermilion"], "real", 0.9),
                (cell.simulated_runs[:1], PALETTE["blue"], "simulated", 2.0),
            ):
                for number, run in enumerate(runs):
                    axis.plot(
                        np.quantile(run.latency_ns, probability) / 1e3,
                        probability * 100,
                        color=colour,
                        linewidth=width,
                        linestyle="-" if label == "real" else (0, (4, 1.2)),
                        label=label if number == 0 else None,
                    )
            axis.set_title(cell.model)
            axis.set_xscale("log")
            axis.set_ylim(0, 100)
            axis.grid(True)
        figure.supxlabel("latency from intended send to reply (µs)", color=INK)
        figure.supylabel("requests answered within (%)", color=INK)
        for axis in list(figure.axes)[len(cells) :]:
            axis.set_visible(False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        workload = cells[0].workload
        figure.suptitle(
            f"{workload.connections} connections, {format_rate(workload.rate_per_s)} "
            f"{workload.arrivals}, {format_bytes(workload.request_bytes)} requests",
            color=INK,
        )
        figure.legend(handles[::-1], labels[::-1], loc="upper right", ncols=2)
        figure.tight_layout()
    return figure


def scan_fits(fits: Mapping[str, ScanFit], title: str, about: str, descriptors: str) -> Figure:
    """Time of a call over descriptors, measured and fitted: one panel per mechanism.

    `descriptors` says what they are. What is predicted, not fitted, is dashed.
    """
    import numpy as np
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    with style():
        figure = canvas(max(6.5, 3.1 * len(fits)), 4.6)
        panels = figure.subplots(1, len(fits), sharex=True, sharey=True, squeeze=False)[0]
        for axes, (mechanism, found) in zip(panels, fits.items(), strict=True):
            few, many = found.counts.min(), found.counts.max()
            last = min(found.fit_up_to, many)
            for low, high, dashes, name in (
                (few, last, "-", "fitted"),
                (last, many, (0, (4, 1.2)), "predicted"),
            ):
                counts = np.unique(np.geomspace(low, high, 300).round().astype(np.int64))
                axes.plot(
                    counts, found.predicted_ns(counts), color=PALETTE["blue"], ls=dashes, label=name
                )
            counts = np.unique(np.geomspace(few, many, 300).round().astype(np.int64))
            axes.plot(
                counts,
                found.line_ns(counts),
                color=PALETTE["vermilion"],
                ls=":",
                label="straight line, fitted to the same points",
            )
            for rows, fill, name in (
                (found.fitted, PALETTE["black"], "measured"),
                (~found.fitted, "white", "measured, not fitted"),
            ):
                axes.plot(
                    found.counts[rows],
                    found.measured_ns[rows],
                    color=PALETTE["black"],
                    mfc=fill,
                    marker="o",
                    ms=4.5,
                    ls="",
                    label=name,
                )
            axes.set_title(mechanism, loc="left")
            axes.set(xscale="log", yscale="log")
            axes.xaxis.set_major_formatter(FuncFormatter(lambda count, _: format_count(count)))
            axes.yaxis.set_major_locator(LogLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_minor_locator(NullLocator())
            axes.set_xlabel(descriptors)
            axes.grid(True)
        panels[0].set_ylabel("time of a call")
        figure.text(0.02, 0.94, title, size=13, weight="bold")
        figure.text(0.02, 0.885, about, color=FAINT)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, ncols=5, loc="upper left", bbox_to_anchor=(0.005, 0.875))
        figure.tight_layout(rect=(0, 0, 1, 0.81))
    return figure
