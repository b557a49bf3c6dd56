"""Everything that was measured for a profile, as it is kept beside it."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from iosim.calibrate.bench import Row
from iosim.costs import WakeUp
from iosim.errors import IosimError


@dataclass(frozen=True)
class Samples:
    """What a calibration has measured, over all of its passes."""

    rows: list[Row]
    """Of the benchmarks; equal ones of all passes together."""
    wakeups: list[WakeUp]
    """Of every pass."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `iosim calibrate` has written; raises IosimError if it is damaged."""
        try:
            done = json.loads(gzip.decompress(path.read_bytes()))["done"]
            return cls(*_sorted(done))
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
            raise IosimError(
                f"samples {path} are damaged ({error}); calibrate again, or remove the file to do "
                "without"
            ) from None


def _sorted(done: dict[str, Any]) -> tuple[list[Row], list[WakeUp]]:
    """Rows and wake-ups from the steps of a calibration, `PASS/WHAT` each."""
    rows: dict[tuple[str, str], Row] = {}
    wakeups = []
    for step, result in done.items():
        _, slash, what = step.partition("/")
        if what.startswith("wakeup "):
            wakeups.append(WakeUp(**result[0]))
        elif slash:
            for row in (Row(**row) for row in result):
                known = rows.setdefault((row.benchmark, row.about), row)
                if known is not row:
                    known.values += row.values
    return list(rows.values()), wakeups
