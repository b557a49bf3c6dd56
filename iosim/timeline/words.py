"""What the figures say about calls and phases. Keyed by call or phase, never by model."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Any

from iosim.kernel import SIGIO, SIGRTMIN
from iosim.plots import PALETTE
from iosim.timeline.story import Band, Kind
from iosim.trace import TracedCall
from iosim.units import format_bytes

COLOURS: Mapping[Kind, str] = {
    "blocked": PALETTE["vermilion"],
    "polls": PALETTE["orange"],
    "free": PALETTE["green"],
    "wakes": PALETTE["purple"],
    "copies": PALETTE["blue"],
    "runs": PALETTE["grey"],
}

LEGEND: Mapping[Kind, str] = {
    "blocked": "blocked, asleep",
    "polls": "polls",
    "free": "free",
    "wakes": "wakes up",
    "copies": "copies",
    "runs": "runs",
}

_BANDS: Mapping[Kind, str] = {
    "blocked": "blocked in {call},\nasleep",
    "polls": "calls {call} again\nand again (polling)",
    "free": "free to go on; idle here,\nso it waits in {call}",
    "wakes": "wakes up",
    "copies": "blocked in {call}\nwhile it copies",
    "runs": "in {call}",
}


def band_text(band: Band, tries: int) -> str:
    """What the program's thread is doing; `tries` is how often it looked in vain meanwhile."""
    if band.kind == "polls" and tries < 2:
        return f"looks once: {band.call}"
    if band.call == "nanosleep" and band.kind == "free":
        return "pauses in nanosleep,\nlooks at nothing"
    return _BANDS[band.kind].format(call=band.call or "its own code")


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
