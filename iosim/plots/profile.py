"""A cost profile in figures: how costs grow, and how sure each of them is."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from iosim.caches import SCAN_BYTES, Caches
from iosim.calibrate.curves import Curve, copies, scans
from iosim.calibrate.samples import Samples
from iosim.costs import FAMILIES, CostProfile, WakeUp, unit, wakeup_after
from iosim.plots.base import DASHES, FAINT, INK, PALETTE, canvas, duration, log_axes, style
from iosim.units import format_bytes, format_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DESCRIPTORS = 100_000
MOST_BYTES = 16 << 20
"""How far the curves go."""

_COLOURS = ("blue", "vermilion", "green")
_SOURCES = {"measured": ("o", "blue"), "literature": ("s", "green"), "assumed": ("D", "orange")}
"""Marker and colour of a cost."""
_WAKEUPS = {
    "latency": {
        "p90_ns": ("p90", "purple"),
        "p50_ns": ("p50", "blue"),
        "p10_ns": ("p10", "sky"),
    },
    "processor time": {
        "cpu_ns": ("falling asleep and waking up", "vermilion"),
        "cold_ns": ("of it, in the cold steps after", "orange"),
    },
}
"""The panels, and what of `WakeUp.summary` is in each."""
_LINEAR_NS = 1_000
"""Below, the axes are not logarithmic: a core may not have idled at all, a wake-up may be free."""


def figures(profile: CostProfile, samples: Samples | None) -> dict[str, Figure]:
    """All figures of a profile by name; without samples no curve has measured points."""
    with style():
        return {
            "scans": _scans(profile, samples),
            "copies": _copies(profile, samples),
            "wakeups": _wakeups(profile),
            "calls": _calls(profile),
        }


def _scans(profile: CostProfile, samples: Samples | None) -> Figure:
    figure = canvas(10, 5)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    curves = scans(profile, samples.rows if samples else ())
    for axes, (call, of_call) in zip(panels, curves.items(), strict=True):
        for curve, colour in zip(of_call, _COLOURS, strict=False):
            _draw_curve(axes, curve, MOST_DESCRIPTORS, PALETTE[colour])
        log_axes(axes, format_count)
        axes.set_title(call, loc="left")
        axes.set_xlabel("watched descriptors")
        axes.legend(loc="upper left")
    # epoll_wait does not look at what is not ready.
    for axes in panels[:2]:
        _mark_caches(axes, profile.caches, SCAN_BYTES, MOST_DESCRIPTORS)
    panels[0].set(
        xlabel="watched descriptors\n(an fd_set holds 1024)", ylabel="processor time of a call"
    )
    _finish(figure, "Calls that watch descriptors", _of_curves(profile, samples))
    return figure


def _copies(profile: CostProfile, samples: Samples | None) -> Figure:
    figure = canvas(6.5, 4.8)
    axes = figure.subplots()
    _draw_curve(axes, copies(profile, samples.rows if samples else ()), MOST_BYTES, PALETTE["blue"])
    log_axes(axes, format_bytes)
    axes.set_xticks([1 << power for power in range(0, 25, 4)])
    # Both ends of a copy go through the caches.
    _mark_caches(axes, profile.caches, 2, MOST_BYTES)
    axes.set(xlabel="size of the message", ylabel="processor time of a call")
    _finish(figure, "recv of a message that is there", _of_curves(profile, samples))
    return figure


def _draw_curve(axes: Axes, curve: Curve, most: int, colour: str) -> None:
    """A curve, dashed beyond what was measured, and the points."""
    import numpy as np

    sizes = [point.size for point in curve.points]
    for low, high, dashes in (
        (1, most, DASHES),
        (min(sizes, default=1), max(sizes, default=1), "-"),
    ):
        at = np.unique(np.geomspace(low, high, 400).round().astype(np.int64)).tolist()
        axes.plot(at, [curve.ns(size) for size in at], color=colour, ls=dashes)
    for point in curve.points:
        axes.plot([point.size] * 2, [point.low_ns, point.high_ns], color=colour, lw=1)
    median_ns = [point.median_ns for point in curve.points]
    axes.plot(sizes, median_ns, "o", color=colour, ms=4.5)
    marker = "o" if sizes else ""
    axes.plot([], [], color=colour, marker=marker, ms=4.5, label=curve.about)


def _mark_caches(axes: Axes, caches: Caches, bytes_each: int, most: int) -> None:
    """Lines where what a call goes through no longer fits."""
    for name, size in (("L2", caches.l2_bytes), ("L3", caches.l3_bytes)):
        if 0 < size / bytes_each < most:
            axes.axvline(size / bytes_each, 0, 0.78, color=FAINT, ls=":", lw=1, zorder=0)
            axes.annotate(
                f"{name} is full",
                (size / bytes_each, 0),
                xycoords=("data", "axes fraction"),
                xytext=(3, 4),
                textcoords="offset points",
                rotation=90,
                color=FAINT,
                size=8.5,
            )


def _of_curves(profile: CostProfile, samples: Samples | None) -> str:
    if samples is None:
        return f"{profile.name}\nThe costs alone: no measurements are kept beside this profile."
    return (
        f"{profile.name}\n"
        "Points: measured, with quartiles. Lines: by the costs, dashed beyond what was measured."
    )


def _wakeups(profile: CostProfile) -> Figure:
    import numpy as np
    from matplotlib.ticker import FixedLocator

    rows = profile.wakeup
    shortest, longest = rows[0].idle_ns, rows[-1].idle_ns
    beyond_ns = max(4 * longest, 10 * _LINEAR_NS)
    at = sorted([0, *np.geomspace(_LINEAR_NS, beyond_ns, 400).tolist(), shortest, longest])
    curve = [wakeup_after(rows, idle_ns) for idle_ns in at]
    within = [row for row in curve if shortest <= row.idle_ns <= longest]
    figure = canvas(9, 4.8)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (title, lines) in zip(panels, _WAKEUPS.items(), strict=True):
        for name, (label, colour) in lines.items():
            draw = partial(_draw_wakeups, axes, name, PALETTE[colour])
            draw(curve, ls=DASHES)
            draw(within)
            draw(rows, ls="", marker="o", ms=4.5)
            draw([], marker="o", ms=4.5, label=label)
        for axis, set_scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            set_scale("symlog", linthresh=_LINEAR_NS, linscale=0.5)
            axis.set_major_locator(FixedLocator([0, *(10**power for power in range(3, 13))]))
            axis.set_major_formatter(lambda ns, _: duration(ns))
        axes.minorticks_off()
        axes.grid(True)
        axes.set_title(title, loc="left")
        axes.set_xlabel("how long the core has idled")
        axes.legend(loc="best")
    about = f"{profile.name}\nPoints: {profile.wakeup_source}. Lines: as simulated, dashed beyond."
    _finish(figure, "Waking up a thread that sleeps", about)
    return figure


def _draw_wakeups(axes: Axes, name: str, colour: str, rows: Sequence[WakeUp], **look: Any) -> None:
    values = [row.summary()[name] for row in rows]
    axes.plot([row.idle_ns for row in rows], values, color=colour, **look)


def _calls(profile: CostProfile) -> Figure:
    # A line for each family and each cost in time, in two columns of about the same length.
    timed = {
        family: [name for name in names if unit(name) == "ns"] for family, names in FAMILIES.items()
    }
    lines = [[family, *names] for family, names in timed.items() if names]
    columns: tuple[list[str], list[str]] = ([], [])
    for of_family in lines:
        columns[len(columns[0]) >= sum(map(len, lines)) / 2].extend(of_family)
    height = max(map(len, columns))
    figure = canvas(10, 0.2 * height + 1.8)
    for axes, column in zip(figure.subplots(1, 2, sharex=True), columns, strict=True):
        _draw_calls(axes, profile, column, height)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="upper right", ncols=4)
    _finish(
        figure,
        "Single costs",
        f"{profile.name}\n"
        "Thick lines: 95 % intervals. Thin lines, where there are none: quartiles.",
    )
    return figure


def _draw_calls(axes: Axes, profile: CostProfile, lines: list[str], height: int) -> None:
    """A line for each family and each of its costs, from the top down."""
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import LogLocator

    for source, (marker, colour) in _SOURCES.items():
        axes.plot([], [], marker, color=PALETTE[colour], ms=5, label=source)
    axes.plot(
        [], [], "o", color=PALETTE["blue"], mfc="white", ms=5, label="not told by what was measured"
    )
    for place, name in enumerate(lines):
        if name in FAMILIES:
            continue
        cost = profile.costs[name]
        marker, colour = _SOURCES[cost.source]
        if ends := cost.interval or cost.spread:
            axes.plot(ends, [place] * 2, color=PALETTE[colour], lw=2.4 if cost.interval else 0.9)
        fill = PALETTE[colour] if cost.identified else "white"
        if cost.value:
            axes.plot(cost.value, place, marker, color=PALETTE[colour], mfc=fill, ms=5)
        else:
            axes.annotate(
                "0",
                (0, place),
                (4, 0),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                va="center",
                size=8.5,
                path_effects=[withStroke(linewidth=3, foreground="white")],
            )
    axes.set(xscale="log", ylim=(height, -1), xlabel="time")
    axes.set_yticks(range(len(lines)), lines)
    for label in axes.get_yticklabels():
        if label.get_text() in FAMILIES:
            label.set(weight="bold", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_locator(LogLocator(numticks=6))
    axes.xaxis.set_major_formatter(lambda ns, _: duration(ns))
    axes.minorticks_off()
    axes.grid(True)


def _finish(figure: Figure, title: str, about: str) -> None:
    """Title and explanation above the panels."""
    top = 1 - 0.28 / figure.get_figheight()
    figure.text(0.02, top, title, size=13, weight="bold", va="center")
    figure.text(0.02, top - 0.2 / figure.get_figheight(), about, color=FAINT, va="top")
    figure.tight_layout(rect=(0, 0, 1, top - 0.55 / figure.get_figheight()))
