"""What the figures say about calls and phases. Keyed by call or phase, never by model.

What a program does in a phase has its words in `iosim.models.stevens`, which models say too.
"""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import Mapping
from textwrap import fill
from typing import Any

from iosim.kernel import SIGIO, SIGRTMIN
from iosim.models import stevens
from iosim.plots import PALETTE
from iosim.timeline.story import WAITING, Band, Kind, Story
from iosim.trace import TracedCall
from iosim.units import format_bytes

COLOURS: Mapping[Kind, str] = {
    "blocked": PALETTE["vermilion"],
    "polls": PALETTE["orange"],
    "free": PALETTE["green"],
    "wakes": PALETTE["purple"],
    "copies": PALETTE["blue"],
    "lends": PALETTE["yellow"],
    "runs": PALETTE["grey"],
}

LEGEND: Mapping[Kind, str] = {
    "blocked": "blocked, asleep",
    "polls": "polls",
    "free": "free",
    "wakes": "wakes up",
    "copies": "copies",
    "lends": "kernel copies on it",
    "runs": "runs",
}

_TEXT_CHARS = 24
"""Where the text beside a bar is broken."""


def band_text(band: Band, tries: int) -> str:
    """What the program's thread is doing; `tries` is how often it looked in vain meanwhile."""
    call = band.call or "its own code"
    match band.kind:
        case "blocked":
            words = stevens.asleep_in(call)
        case "polls":
            words = stevens.asks_with(call) if tries > 1 else f"looks once: {call}"
        case "free" if call == "nanosleep":
            words = stevens.pauses_in(call)
        case "free":
            words = f"free to go on; idle here, so it waits in {call}"
        case "wakes":
            words = "wakes up"
        case "copies":
            words = f"{stevens.blocked_in(call)} while it copies"
        case "lends":
            words = stevens.NOT_BLOCKED
        case "runs":
            words = f"in {call}"
    return fill(words, _TEXT_CHARS)


def phases(story: Story) -> tuple[str, str]:
    """How the program waits in phase 1, most of the time, and what it does in phase 2, found in a
    run."""
    return _phase_1(story), _phase_2(story)


def _phase_1(story: Story) -> str:
    spent_ns: Counter[tuple[Kind, str | None]] = Counter()
    for band in story.bands:
        if band.kind in WAITING and band.begin_ns < story.ready_ns:
            spent_ns[band.kind, band.call] += min(band.end_ns, story.ready_ns) - band.begin_ns
    ((kind, call), _), *_ = spent_ns.most_common()
    assert call is not None
    if kind == "blocked":
        return stevens.asleep_in(call)
    if kind == "polls":
        return stevens.asks_with(call)
    if story.reads:
        return stevens.free_until(stevens.A_COMPLETION)
    if story.signals:
        return stevens.free_until(signal_name(story.signals[0][0].signal))
    return stevens.pauses_in(call)


def _phase_2(story: Story) -> str:
    match story.copier:
        case "program":
            (call,) = {band.call for band in story.bands if band.kind == "copies"}
            assert call is not None
            return stevens.blocked_in(call)
        case "ring":
            return stevens.NOT_BLOCKED
        case thread:
            return stevens.free_while(thread)


def family_title(family: str) -> str:
    """Stevens' name for one of the five models."""
    return "I/O multiplexing" if family == "multiplexing" else f"{family.capitalize()} I/O"


def signal_name(number: int) -> str:
    return {SIGIO: "SIGIO", SIGRTMIN: "SIGRTMIN"}.get(number, f"signal {number}")


def result_text(call: TracedCall) -> str:
    """What a call returns, as the program sees it."""
    result = call.result
    if isinstance(result, int) and result < 0:
        return errno.errorcode[-result]
    if call.name in ("recv", "send", "aio_return"):
        return format_bytes(result) if result else "end of stream"
    if call.name in ("select", "poll", "epoll_wait"):
        return "readable: fd " + ", ".join(map(str, result))
    if call.name == "sigwaitinfo":
        return f"{signal_name(result[0])}, fd {result[1]}"
    if call.name == "read_signals" and len(result) == 1:
        return f"{signal_name(result[0][0])}, fd {result[0][1]}"
    if call.name == "read_signals":
        return f"{len(result)} signals" if result else errno.errorcode[errno.EAGAIN]
    if call.name == "sigsuspend":
        return "a handler has run"
    if call.name == "io_uring_enter":
        return _completion_text(result[0]) if len(result) == 1 else f"{len(result)} completions"
    return "returns at once" if call.name == "aio_read" else "returns"


def _completion_text(completion: Any) -> str:
    """Models tag a submission with what it is and where; other programs may tag as they like."""
    tag, result = completion
    what = tag[0] if isinstance(tag, tuple) and tag else tag
    return f"{what} done: {format_bytes(result) if result >= 0 else result}"


def call_text(call: TracedCall) -> str:
    """A call with the descriptor it is about."""
    about = call.args[0] if call.args and isinstance(call.args[0], int) else None
    if about is None or call.name == "nanosleep":
        return f"{call.name}()"
    return f"{call.name}({about})"
