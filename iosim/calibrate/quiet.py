"""Which measurements count: those made while the core ran at full speed.

A rule that does not look at the measurement itself: a pulse was timed before and after it (see
`iosim.host.pulse`), and both took about as long as the shortest of the whole calibration.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from iosim.calibrate.bench import Row
from iosim.calm import FULL_SPEED

FEWEST, LEAST = 3, 0.05
"""With fewer quiet measurements than these, or a smaller share, a pass does not count for a row."""


def quiet(passes: Sequence[Sequence[Row]]) -> tuple[list[Row], list[str]]:
    """What counts of the rows of all passes, and the benchmarks with a row that was never quiet.

    Of such a row the quarter with the shortest pulses counts. What was measured hardly ever does
    not count at all.
    """
    limit_ns = FULL_SPEED * shortest_ns(row for rows in passes for row in rows)
    same: dict[tuple[str, str], list[Row]] = {}
    for row in (row for rows in passes for row in rows):
        same.setdefault((row.benchmark, row.about), []).append(row)
    counting: list[Row] = []
    disturbed: list[str] = []
    for rows in same.values():
        pulses_ns = [pulse_ns for row in rows for pulse_ns in row.pulses_ns]
        if len(pulses_ns) < FEWEST and max(pulses_ns) > 0:
            continue
        calm = [_within(row, limit_ns) for row in rows]
        enough = [kept for kept, row in zip(calm, rows, strict=True) if _enough(kept, row)]
        if not enough:
            shorter_ns = float(np.quantile(pulses_ns, 0.25))
            enough = [kept for row in rows if (kept := _within(row, shorter_ns)).values]
            disturbed.append(rows[0].benchmark)
        counting += enough
    return counting, list(dict.fromkeys(disturbed))


def _enough(kept: Row, row: Row) -> bool:
    """Whether so much is left of a row."""
    count = len(row.values)
    return len(kept.values) >= min(max(FEWEST, LEAST * count), count)


def shortest_ns(rows: Iterable[Row]) -> float:
    """The pulse at full speed. A few may be shorter than any should be."""
    pulses_ns = [pulse_ns for row in rows for pulse_ns in row.pulses_ns if pulse_ns > 0]
    return float(np.quantile(pulses_ns, 0.02)) if pulses_ns else 0.0


def _within(row: Row, limit_ns: float) -> Row:
    """The row with those measurements only whose pulses are within a limit."""
    kept = [
        (value, pulse_ns)
        for value, pulse_ns in zip(row.values, row.pulses_ns, strict=True)
        if pulse_ns <= limit_ns
    ]
    return Row(
        row.benchmark,
        row.about,
        row.expected,
        [value for value, _ in kept],
        [pulse_ns for _, pulse_ns in kept],
    )
