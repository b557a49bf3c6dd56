"""Everything that was measured for a profile, as it is kept beside it."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from iosim.calibrate.bench import Row
from iosim.calibrate.quiet import quiet
from iosim.errors import IosimError


@dataclass(frozen=True)
class Samples:
    """What a calibration has measured, over all of its passes."""

    rows: list[Row]
    """Of the benchmarks, what counts of it; equal ones of all passes together."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `iosim calibrate` has written; raises IosimError if it is damaged."""
        try:
            done = json.loads(gzip.decompress(path.read_bytes()))["done"]
            passes = [[Row(**row) for row in rows] for rows in done.values()]
            return cls(_together(quiet(passes)[0]))
        except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError) as error:
            raise IosimError(
                f"samples {path} are damaged ({error}); calibrate again, or remove the file to do "
                "without"
            ) from None


def _together(rows: list[Row]) -> list[Row]:
    same: dict[tuple[str, str], Row] = {}
    for row in rows:
        known = same.setdefault((row.benchmark, row.about), row)
        if known is not row:
            known.values += row.values
    return list(same.values())
