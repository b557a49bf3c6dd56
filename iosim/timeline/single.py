"""The figure for one model: application and kernel side by side, time running down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from iosim.plots import FAINT, INK, PALETTE, canvas, duration
from iosim.timeline.layout import Layout
from iosim.timeline.story import WAITS, Story
from iosim.timeline.words import COLOURS, LEGEND, band_text, call_text, result_text, signal_name
from iosim.trace import RING
from iosim.units import format_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDTH_IN = 8.2
_TOP_IN = 1.2
_FOOT_IN = 0.9
# Columns, inches from the left.
_RULER, _LEFT_TEXT, _APPLICATION, _KERNEL, _RIGHT_TEXT, _BRACKET = (
    0.72,
    2.68,
    2.78,
    4.86,
    5.46,
    6.88,
)
_BAR_IN = 0.2
_MONO = "DejaVu Sans Mono"


def draw(story: Story, title: str, subtitle: str, note: str) -> Figure:
    """The figure of one story."""
    layout = Layout(story)
    height_in = _TOP_IN + layout.height_in + _FOOT_IN
    figure = canvas(_WIDTH_IN, height_in)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.set_xlim(0, _WIDTH_IN)
    axes.set_ylim(layout.height_in + _FOOT_IN, -_TOP_IN)
    axes.text(0.25, 0.3 - _TOP_IN, title, fontsize=14, weight="bold", va="center")
    axes.text(0.25, 0.56 - _TOP_IN, subtitle, color=FAINT, va="center")
    _phases(axes, layout, story)
    _bars(axes, layout, story)
    _ruler(axes, layout, story)
    _calls(axes, layout, story)
    _kernel_side(axes, layout, story)
    _legend(axes, layout.height_in, story, note)
    return figure


def _phases(axes: Axes, layout: Layout, story: Story) -> None:
    """Stevens' two phases, and what lies between them."""
    spans = (
        ("wait for data", story.begin_ns, story.ready_ns, "#EAF4FB"),
        ("data waits", story.ready_ns, story.copy_begin_ns, "#FFFFFF"),
        ("copy data from\nkernel to user", story.copy_begin_ns, story.copy_end_ns, "#FDF1DC"),
    )
    for words, begin_ns, end_ns, tint in spans:
        # The copy begins when the call for it does, though another returned at the same time.
        top = layout.y(begin_ns, later=begin_ns == story.copy_begin_ns)
        bottom = layout.y(end_ns, later=end_ns == story.copy_begin_ns)
        left, right = _APPLICATION + _BAR_IN, _KERNEL
        axes.fill_between([left, right], top, bottom, color=tint, lw=0, zorder=0)
        if bottom - top < 0.05:
            continue
        top, bottom = top + 0.03, bottom - 0.03
        x = _BRACKET
        axes.plot([x - 0.08, x, x, x - 0.08], [top, top, bottom, bottom], color=INK, lw=1)
        line = f"{words}\n{duration(end_ns - begin_ns)}"
        axes.text(x + 0.1, (top + bottom) / 2, line, va="center", linespacing=1.3, fontsize=8.8)


def _bars(axes: Axes, layout: Layout, story: Story) -> None:
    """Who is blocked or free on the application's side; where data is on the kernel's."""
    kernel = "kernel, helper thread" if story.copier == "helper thread" else "kernel"
    for x, words in ((_APPLICATION, "application"), (_KERNEL, kernel)):
        axes.text(
            x + _BAR_IN / 2, -0.32, words, ha="center", va="center", weight="bold", fontsize=11
        )
    late = (story.copy_begin_ns, story.end_ns)
    for band in story.bands:
        top = layout.y(band.begin_ns, later=band.begin_ns in late)
        bottom = layout.y(band.end_ns, later=band.end_ns in late)
        _fill(axes, _APPLICATION, top, bottom, COLOURS[band.kind])
        if bottom - top < 0.16:
            continue
        line = band_text(band, story.tries(band))
        spent = duration(band.end_ns - band.begin_ns)
        line += f"\n{spent}" if bottom - top > 0.5 else f" {spent}"
        if bottom - top < 0.3:
            line = line.replace("\n", " ")
        axes.text(_LEFT_TEXT, (top + bottom) / 2, line, ha="right", va="center", linespacing=1.3)
    spans = (
        (story.begin_ns, story.ready_ns, "#DDDDDD"),
        (story.ready_ns, story.copy_begin_ns, PALETTE["sky"]),
        (story.copy_begin_ns, story.copy_end_ns, COLOURS["copies"]),
        (story.copy_end_ns, story.end_ns, "#DDDDDD"),
    )
    for begin_ns, end_ns, colour in spans:
        top = layout.y(begin_ns, later=begin_ns in late)
        _fill(axes, _KERNEL, top, layout.y(end_ns, later=end_ns in late), colour)


def _fill(axes: Axes, x: float, top: float, bottom: float, colour: str) -> None:
    """A piece of a bar, parted from the next by a hairline."""
    axes.fill_between([x, x + _BAR_IN], top, bottom, color=colour, ec="white", lw=0.8, zorder=2)


def _ruler(axes: Axes, layout: Layout, story: Story) -> None:
    """The simulated time of every level."""
    axes.text(_RULER, -0.32, "time, µs", ha="right", va="center", color=FAINT, fontsize=8.5)
    for at_ns in layout.times_ns:
        y = layout.y(at_ns)
        label = f"{(at_ns - story.begin_ns) / 1000:.2f}"
        axes.text(_RULER, y, label, ha="right", va="center", color=FAINT, fontsize=8)
        axes.plot([_RULER + 0.05, _RULER + 0.12], [y, y], color=FAINT, lw=0.8)


def _arrow(
    axes: Axes, x0: float, y0: float, x1: float, y1: float, colour: str = INK, dashed: bool = False
) -> None:
    axes.annotate(
        "",
        (x1, y1),
        (x0, y0),
        arrowprops={
            "arrowstyle": "-|>,head_width=0.18,head_length=0.42",
            "color": colour,
            "lw": 1.2,
            "linestyle": (0, (4, 2)) if dashed else "-",
            "shrinkA": 0,
            "shrinkB": 0,
        },
        zorder=3,
    )


def _calls(axes: Axes, layout: Layout, story: Story) -> None:
    """An arrow for every call, one back for its return, and one for every signal."""
    left, right = _APPLICATION + _BAR_IN + 0.03, _KERNEL - 0.03
    middle = (left + right) / 2
    for call in layout.calls:
        y = layout.y(call.begin_ns, later=True)
        _arrow(axes, left, y, right, y)
        label: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 9}
        axes.text(middle, y - 0.025, call_text(call), family=_MONO, weight="bold", **label)
        if call.end_ns is not None and call.end_ns <= story.end_ns:
            y = layout.y(call.end_ns)
            _arrow(axes, right, y, left, y, FAINT, dashed=True)
            axes.text(middle, y - 0.025, result_text(call), **label)
    for begin_ns, end_ns, number in layout.gaps:
        y = (layout.y(begin_ns) + layout.y(end_ns, later=True)) / 2
        words = f"{number} more tries in {duration(end_ns - begin_ns)}"
        axes.text(middle, y, words, ha="center", va="center", color=FAINT, style="italic")
    for sent, taken in story.signals:
        y0, y1 = layout.y(sent.at_ns), layout.y(taken.at_ns)
        _arrow(axes, right, y0, left, y1, PALETTE["vermilion"])
        axes.text(
            middle,
            (y0 + y1) / 2,
            f"{signal_name(sent.signal)} delivered",
            ha="center",
            va="center",
            color=PALETTE["vermilion"],
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            zorder=4,
        )


def _kernel_side(axes: Axes, layout: Layout, story: Story) -> None:
    """What the kernel finds and does, and what crosses the network."""
    texts: dict[float, list[str]] = {}

    def say(y: float, words: str) -> None:
        texts.setdefault(round(y, 3), []).append(words)

    for call in layout.calls:
        if call.name in WAITS and call.begin_ns < story.ready_ns:
            say(layout.y(call.begin_ns, later=True), "no data ready")
    for read in story.reads:
        who = "ring" if read.thread == RING else story.copier
        say(layout.y(max(read.begin_ns, story.begin_ns)), f"{who} waits:\nno data ready")
    nbytes = sum(copy.nbytes for copy in story.copies)
    ready, done = layout.y(story.ready_ns), layout.y(story.done_ns, later=True)
    say(ready, f"data ready\n({format_bytes(nbytes)})")
    copier = "" if story.copier == "program" else f"{story.copier}:\n"
    say(layout.y(story.copy_begin_ns, later=True), f"{copier}copy data")
    say(layout.y(story.copy_end_ns), "copy complete")
    say(done, "reply leaves")
    edge = _KERNEL + _BAR_IN + 0.03
    _arrow(axes, _RIGHT_TEXT - 0.06, ready, edge, ready)
    _arrow(axes, edge, done, _RIGHT_TEXT - 0.06, done)
    if story.earlier_done_ns is not None:
        earlier = layout.y(story.earlier_done_ns)
        _arrow(axes, edge, earlier, _RIGHT_TEXT - 0.06, earlier)
        say(earlier, "(previous reply)")
    place = -1.0
    for y in sorted(texts):
        # Beside a crowded moment, texts move down rather than meet.
        place = max(y, place + 0.18)
        axes.text(_RIGHT_TEXT, place, "; ".join(texts[y]), va="center", linespacing=1.2)


def _legend(axes: Axes, height_in: float, story: Story, note: str) -> None:
    x, y = 0.25, height_in + 0.36
    for kind, words in LEGEND.items():
        if kind == "copies" or any(band.kind == kind for band in story.bands):
            axes.fill_between([x, x + 0.16], y - 0.07, y + 0.07, color=COLOURS[kind], lw=0)
            axes.text(x + 0.22, y, words, va="center", fontsize=8.8)
            x += 0.5 + 0.064 * len(words)
    axes.text(0.25, y + 0.18, note, va="top", fontsize=8, color=FAINT, linespacing=1.4)
