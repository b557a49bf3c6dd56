"""Several models side by side on one time axis, to scale, as in Stevens' figure 6.6."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from iosim.plots import FAINT, INK, canvas, duration
from iosim.timeline.story import Story
from iosim.timeline.words import COLOURS, LEGEND, family_title, result_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LEFT_IN, _COLUMN_IN, _BAR_IN, _HELPER_IN = 1.55, 1.95, 0.4, 0.2
_TOP_IN, _PLOT_IN, _TABLE_IN, _FOOT_IN = 1.5, 5.8, 1.98, 0.65
_COMB_IN = 0.12
"""Length of the mark of one try."""
_LINE_IN = 0.175
"""Least distance between two labels."""
_MONO = "DejaVu Sans Mono"


def draw(stories: Sequence[tuple[str, str, Story]], title: str, subtitle: str, note: str) -> Figure:
    """The figure of several (family, model, story); times count from when the data is ready."""
    width_in = _LEFT_IN + _COLUMN_IN * len(stories) + 0.1
    figure = canvas(width_in, _TOP_IN + _PLOT_IN + _TABLE_IN + _FOOT_IN)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, width_in)
    axes.set_ylim(_PLOT_IN + _TABLE_IN + _FOOT_IN, -_TOP_IN)
    axes.text(0.3, 0.32 - _TOP_IN, title, fontsize=15, weight="bold", va="center")
    axes.text(0.3, 0.6 - _TOP_IN, subtitle, color=FAINT, va="center")
    first_ns = min(story.begin_ns - story.ready_ns for _, _, story in stories)
    last_ns = max(story.end_ns - story.ready_ns for _, _, story in stories)
    scale = _Scale(first_ns, last_ns)
    _time(axes, scale, width_in)
    for number, (family, model, story) in enumerate(stories):
        x = _LEFT_IN + _COLUMN_IN * number
        axes.text(x, -0.5, family_title(family), weight="bold", va="center", fontsize=10.5)
        axes.text(x, -0.27, model, va="center", family=_MONO, color=FAINT)
        _column(axes, scale, story, x)
    _table(axes, [story for _, _, story in stories])
    _legend(axes, [story for _, _, story in stories], note)
    return figure


class _Scale:
    """From nanoseconds after data is ready to inches below the top of the plot."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        self.first_ns, self.last_ns = first_ns, last_ns
        self.in_per_ns = _PLOT_IN / (last_ns - first_ns)

    def y(self, at_ns: int) -> float:
        return (at_ns - self.first_ns) * self.in_per_ns

    def ticks_ns(self) -> list[int]:
        """Round times."""
        from matplotlib.ticker import MaxNLocator

        ticks = MaxNLocator(9).tick_values(self.first_ns, self.last_ns)
        return [round(tick) for tick in ticks if self.first_ns <= tick <= self.last_ns]


def _time(axes: Axes, scale: _Scale, width_in: float) -> None:
    """The axis, and the moment at which every column's data is ready."""
    left, right, zero = _LEFT_IN - 0.2, width_in - 0.1, scale.y(0)
    axes.fill_between([left, right], 0, zero, color="#EAF4FB", lw=0, zorder=0)
    axes.plot([left, right], [zero, zero], color=INK, lw=1.2, zorder=1)
    axes.text(0.3, zero / 2, "wait for data", rotation=90, ha="center", va="center", weight="bold")
    words = "copy data, reply"
    axes.text(
        0.3, (zero + _PLOT_IN) / 2, words, rotation=90, ha="center", va="center", weight="bold"
    )
    for tick_ns in scale.ticks_ns():
        y = scale.y(tick_ns)
        axes.plot([left - 0.06, left], [y, y], color=FAINT, lw=0.8)
        axes.text(
            left - 0.1,
            y,
            f"{tick_ns / 1000:g}".replace("-", "\u2212"),
            ha="right",
            va="center",
            color=FAINT,
            fontsize=8.5,
        )
    axes.text(left - 0.1, -0.27, "µs", ha="right", va="center", color=FAINT, fontsize=8.5)


def _column(axes: Axes, scale: _Scale, story: Story, x: float) -> None:
    """One model: what its thread does, the calls it makes, and who copies for it."""

    def y(at_ns: int) -> float:
        return scale.y(at_ns - story.ready_ns)

    for band in story.bands:
        top, bottom = y(band.begin_ns), y(band.end_ns)
        colour = COLOURS[band.kind]
        axes.fill_between([x, x + _BAR_IN], top, bottom, color=colour, ec="white", lw=0.6, zorder=2)
        words = f"{LEGEND[band.kind].split(',')[0]} {duration(band.end_ns - band.begin_ns)}"
        polls = band.kind == "polls"
        if bottom - top > 0.09 * len(words):
            axes.text(
                x + (_BAR_IN - _COMB_IN * polls) / 2,
                (top + bottom) / 2,
                words,
                rotation=90,
                ha="center",
                va="center",
                weight="bold",
                color=INK if band.kind in ("polls", "lends") else "white",
                zorder=4,
            )
        if polls:
            tries = [y(c.begin_ns) for c in story.calls if c.empty and c.begin_ns < band.end_ns]
            axes.hlines(tries, x + _BAR_IN - _COMB_IN, x + _BAR_IN, color="white", lw=0.7, zorder=3)
    edge = x + _BAR_IN
    for copy in story.copies:
        if story.copier.endswith("thread"):
            edge = x + _BAR_IN + _HELPER_IN
            span = (y(copy.begin_ns), y(copy.end_ns))
            axes.fill_between([x + _BAR_IN, edge], *span, color=COLOURS["copies"], lw=0, zorder=2)
            words = f"{story.copier}\ncopies {duration(copy.end_ns - copy.begin_ns)}"
            axes.text(edge + 0.06, sum(span) / 2, words, va="center", fontsize=8.8)
    labels = [(y(at_ns), words) for at_ns, words in _labels(story)]
    place = -1.0
    for at, words in labels:
        place = max(place + _LINE_IN, at)
        if abs(place - scale.y(0)) < _LINE_IN / 2:
            place = scale.y(0) + _LINE_IN / 2  # not across the line
        side = x + _BAR_IN
        axes.plot([side, side + 0.08, side + 0.16], [at, at, place], color=INK, lw=0.8, zorder=3)
        axes.text(side + 0.2, place, words, va="center", fontsize=8.8)


def _labels(story: Story) -> list[tuple[int, str]]:
    """(time, words) for every call and return; a run of empty tries counts as one."""
    labels: list[tuple[int, str]] = []
    for empty, group in groupby(story.calls, key=lambda call: call.name if call.empty else ""):
        run = list(group)
        if empty:
            times = f" \u00d7 {len(run)}" if len(run) > 1 else ""
            labels.append((run[0].begin_ns, f"{empty}: EAGAIN{times}"))
            continue
        for call in run:
            labels.append((call.begin_ns, f"{call.name}"))
            if call.end_ns is not None and call.end_ns <= story.end_ns and call.name != "send":
                labels.append((call.end_ns, f"\u2192 {result_text(call)}"))
    return sorted(labels, key=lambda label: label[0])


def _table(axes: Axes, stories: Sequence[Story]) -> None:
    """Who waits how, in figures."""
    rows: tuple[tuple[str, Callable[[Story], int]], ...] = (
        ("blocked, waiting", lambda s: s.spent_ns("blocked", until_ns=s.ready_ns)),
        ("polling, waiting", lambda s: s.spent_ns("polls", until_ns=s.ready_ns)),
        ("free, waiting", lambda s: s.spent_ns("free", until_ns=s.ready_ns)),
        ("waking up", lambda s: s.spent_ns("wakes", since_ns=s.ready_ns)),
        ("blocked, copying", lambda s: s.spent_ns("copies")),
        ("kernel copies on it", lambda s: s.spent_ns("lends")),
        ("data ready to reply", lambda s: s.done_ns - s.ready_ns),
    )
    top = _PLOT_IN + 0.3
    for row, (words, value) in enumerate(rows):
        y = top + 0.23 * row
        axes.text(_LEFT_IN - 0.15, y, words, ha="right", va="center", fontsize=8.5, color=FAINT)
        for number, story in enumerate(stories):
            ns = value(story)
            words = duration(ns) if ns else "\u2013"
            axes.text(_LEFT_IN + _COLUMN_IN * number, y, words, va="center", fontsize=9)


def _legend(axes: Axes, stories: Sequence[Story], note: str) -> None:
    x, y = _LEFT_IN, _PLOT_IN + _TABLE_IN + 0.2
    for kind, words in LEGEND.items():
        if any(band.kind == kind for story in stories for band in story.bands):
            axes.fill_between([x, x + 0.16], y - 0.07, y + 0.07, color=COLOURS[kind], lw=0)
            axes.text(x + 0.22, y, words, va="center", fontsize=8.8)
            x += 0.5 + 0.064 * len(words)
    axes.text(_LEFT_IN, y + 0.24, note, va="center", fontsize=8, color=FAINT)
