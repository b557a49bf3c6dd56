"""Everything that was measured for a profile, as it is kept beside it."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from iosim.calibrate.bench import Row
from iosim.calibrate.quiet import quiet
from iosim.checked import explain
from iosim.errors import IosimError
from iosim.files import content

_PACKED = (OSError, EOFError, zlib.error)
"""What is raised for a file that cannot be read or unpacked."""

_ROWS = TypeAdapter(list[Row])
_MOST = 1e15
"""No measurement is larger: eleven days in ns, a petabyte."""


def rows_of(step: Any) -> list[Row]:
    """The rows of a step from plain data; raises ValueError if they were never measured."""
    try:
        rows = _ROWS.validate_python(step)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    for row in rows:
        if not 0 < len(row.values) == len(row.pulses_ns):
            raise ValueError(f"{row.benchmark}: each value has a pulse, and there is at least one")
        if not all(abs(number) <= _MOST for number in (*row.values, *row.pulses_ns)):
            raise ValueError(f"{row.benchmark}: a number is none, or above {_MOST:g}")
    return rows


@dataclass(frozen=True)
class Samples:
    """What a calibration has measured, over all of its passes."""

    rows: list[Row]
    """Of the benchmarks, what counts of it; equal ones of all passes together."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file that `iosim calibrate` has written; raises IosimError if it is damaged."""
        try:
            done = json.loads(gzip.decompress(content(path)))["done"]
            steps = TypeAdapter(dict[str, Any]).validate_python(done)
            return cls(_together(quiet([rows_of(step) for step in steps.values()])[0]))
        except (*_PACKED, ValueError, LookupError, TypeError, RecursionError) as error:
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
