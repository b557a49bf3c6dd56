"""Work for a driver that fails in the ways that real work can. Worker processes import it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence

from iosim.sweep.points import Finished, Point


def counting(packed: bytes, points: Sequence[Point]) -> list[Finished]:
    """Finishes at once; the outcome is the number."""
    return [Finished(p.number, json.dumps({"empty_polls": p.number}), None, 0.001) for p in points]


def killing(packed: bytes, points: Sequence[Point]) -> list[Finished]:
    """A point with 13 connections kills its worker, and one with 7 raises."""
    for point in points:
        if point.values["workload.connections"] == 13:
            os.kill(os.getpid(), signal.SIGKILL)
    return [
        Finished(point.number, None, "seven", 0.001)
        if point.values["workload.connections"] == 7
        else counting(packed, [point])[0]
        for point in points
    ]


def raising(*_: object) -> list[Finished]:
    """Fails as a whole."""
    raise ZeroDivisionError("not of a point")
