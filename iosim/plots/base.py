"""What all figures share: one style, colours that colour-blind readers tell apart, units.

Figures are `matplotlib.figure.Figure` objects, never pyplot's global state, so that they can be
made in any thread and leave no trace. matplotlib takes a second or two to import: functions that
need it import it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from iosim.errors import IosimError
from iosim.files import replacing
from iosim.units import format_time

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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

DASHES = (0, (4, 1.2))
"""For what is simulated or predicted beside what is measured."""


def ready() -> None:
    """Import matplotlib, without what it says of a cache that it cannot keep.

    Raises IosimError if the user's settings of matplotlib keep it from starting.
    """
    log = logging.getLogger("matplotlib")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib.backends.backend_agg
        import matplotlib.figure  # noqa: F401
    except (ValueError, OSError) as error:
        raise IosimError(
            f"matplotlib does not start: {str(error).partition(';')[0]}; unset or mend MPLBACKEND, "
            "MPLCONFIGDIR and matplotlibrc, where its settings are"
        ) from None
    finally:
        log.setLevel(before)


def style() -> AbstractContextManager[None]:
    """The style of all figures, while the context lasts: `with style(): ...`."""
    ready()
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
    ready()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def duration(ns: float) -> str:
    """`51.3 µs` from 51_312 nanoseconds, as tables write it but with the sign for micro."""
    return format_time(ns).replace(" us", " µs")


def log_axes(axes: Axes, size: Callable[[float], str]) -> None:
    """Durations over sizes, both logarithmic; `size` writes one of those out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size(value)))
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(True)


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
        date = {"Date": None} if path.suffix == ".svg" else None
        try:
            figure.savefig(temporary, format=path.suffix[1:], metadata=date)
        except ValueError as error:  # SOURCE_DATE_EPOCH may be no number
            raise IosimError(f"matplotlib cannot draw {path}: {error}") from None
    return path
