"""How long a call takes by what it goes through: by the costs of a profile, and as measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from iosim.calibrate import bench
from iosim.calibrate.bench import BATCH, Row
from iosim.calibrate.estimate import predicted
from iosim.costs import CostProfile


@dataclass(frozen=True)
class Point:
    """Measurements at one size: their quartiles, ns."""

    size: int
    low_ns: float
    median_ns: float
    high_ns: float


@dataclass(frozen=True)
class Curve:
    """What a call takes by its size, a number of descriptors or of bytes."""

    about: str
    ns: Callable[[int], float]
    """By the costs of the profile."""
    points: Sequence[Point]
    """By rising size; none if no measurements are known."""


def scans(profile: CostProfile, rows: Sequence[Row]) -> dict[str, list[Curve]]:
    """The calls that watch descriptors, by name; their size is how many they watch."""
    return {
        "select": _scan("select", profile, rows),
        "poll": _scan("poll", profile, rows),
        "epoll_wait": _epoll_wait(profile, rows),
    }


def _scan(kind: str, profile: CostProfile, rows: Sequence[Row]) -> list[Curve]:
    def scan(fds: int, joined: int = 0, evicted: bool = False) -> Mapping[str, float]:
        return bench.scan(kind, fds, fds, profile.caches, joined, evicted)

    def seen(end: str) -> dict[int, Row]:
        of_kind = (row for row in rows if row.benchmark == kind and row.about.endswith(end))
        return {int(row.expected[f"{kind}_fd_ns"]): row for row in of_kind}

    # Of one descriptor the last is the first: what that row shows is the cost of a high number.
    last = {fds: row for fds, row in seen("last ready").items() if fds > 1}
    curves = [
        _curve("the first is ready", seen("first ready"), profile, scan),
        _curve("the last is ready", last, profile, lambda fds: scan(fds, joined=fds - 1)),
    ]
    if evicted := seen("evicted"):
        curves.append(_curve("L2 emptied before", evicted, profile, partial(scan, evicted=True)))
    return curves


def _epoll_wait(profile: CostProfile, rows: Sequence[Row]) -> list[Curve]:
    def report(count: int) -> Mapping[str, float]:
        return {"epoll_wait_ns": 1, "epoll_event_ns": count}

    of_kind = (row for row in rows if row.benchmark == "epoll_wait")
    reported = {int(row.expected["epoll_event_ns"]): row for row in of_kind}
    one = {BATCH: reported[1]} if 1 in reported else {}
    return [
        _curve("one is ready", one, profile, lambda _: report(1)),
        _curve("so many are ready", reported, profile, report),
    ]


def copies(profile: CostProfile, rows: Sequence[Row]) -> Curve:
    """recv, by the size of the message that is there."""
    of_recv = (row for row in rows if row.benchmark == "recv")
    seen = {int(row.expected["copy_ns_per_byte"]): row for row in of_recv}
    return _curve(
        "recv", seen, profile, lambda nbytes: {"recv_ns": 1} | bench.copy(nbytes, profile.caches)
    )


def _curve(
    about: str,
    seen: Mapping[int, Row],
    profile: CostProfile,
    expected: Callable[[int], Mapping[str, float]],
) -> Curve:
    points = [
        Point(size, *np.quantile(row.values, [0.25, 0.5, 0.75]).tolist())
        for size, row in sorted(seen.items())
    ]
    return Curve(about, lambda size: predicted(expected(size), profile.costs), points)
