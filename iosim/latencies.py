"""Latencies of a user's own server, from the file that a load generator wrote.

Two kinds of file are read. A CSV table has one column of latencies with the unit in its name, such
as `latency_us`. A percentile spectrum is what HdrHistogram prints, and wrk2 with `--latency` among
its other output, in milliseconds:

      Detailed Percentile spectrum:
           Value   Percentile   TotalCount 1/(1-Percentile)

           0.921     0.000000            1         1.00
           4.053     0.100000         3951         1.11
           ...
          12.503     1.000000        39500          inf
    #[Mean    =        6.602, StdDeviation   =        1.919]
    #[Max     =       12.496, Total count    =        39500]
    #[Buckets =           27, SubBuckets     =         2048]
"""

from __future__ import annotations

import csv
import os
import re

import numpy as np
import numpy.typing as npt

from iosim.errors import IosimError
from iosim.files import parse_table, text

_UNITS_NS = {"latency_ns": 1, "latency_us": 1_000, "latency_ms": 1_000_000, "latency_s": 10**9}
_COLUMNS = ", ".join(_UNITS_NS)

_WRK2_NS = _UNITS_NS["latency_ms"]
_HEADER = ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
_FOOTER = re.compile(r"#\[Max\s*=\s*\S+,\s*Total count\s*=\s*([0-9]{1,18})\]")
_UNCORRECTED = "Uncorrected Latency"
"""What wrk2 prints above its second spectrum, which leaves out what requests waited before they
were sent. The first does not and is the one to read."""

_LONGEST_NS = 1e18
"""Thirty years: whatever is longer was measured by no load generator."""
_COUNTED = 2**53
"""A number of requests, at most: the whole numbers up to here are exact as floats."""

_MOST = 100_000
"""A spectrum of more requests than this is represented by so many of them."""


def read(path: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """The latencies in a file, ns; raises IosimError that says what is wrong with it.

    A spectrum tells only some quantiles: the requests between two of them are taken to lie evenly
    spread from the one to the other.
    """
    try:
        whole = text(path)
    except OSError as error:
        raise IosimError(
            f"cannot read {path}: {error.strerror}; name a file of latencies (CSV or wrk2 output)"
        ) from None
    except UnicodeDecodeError as error:
        raise IosimError(
            f"{path} is no text ({error.reason}): name a CSV file or wrk2 output"
        ) from None
    lines = whole.splitlines()
    headers = [number for number, line in enumerate(lines) if line.split() == _HEADER]
    if not headers:
        return _table(path, whole, lines)
    if len(headers) > 1 and not any(_UNCORRECTED in line for line in lines[: headers[1]]):
        raise IosimError(
            f"{path} holds {len(headers)} percentile spectra: keep each run in a file of its own"
        )
    return _spectrum(path, lines, headers[0] + 1)


def _in_ns(
    path: str | os.PathLike[str], latencies: npt.ArrayLike, unit_ns: int
) -> npt.NDArray[np.float64]:
    longest_ns = float(np.max(latencies)) * unit_ns
    if not longest_ns <= _LONGEST_NS:
        raise IosimError(
            f"{path} has a latency of {longest_ns / 1e9:g} s: none is longer than "
            f"{_LONGEST_NS / 1e9:g} s; take the output as it was printed, or mend its unit"
        )
    return np.asarray(latencies, float) * unit_ns


def _table(path: str | os.PathLike[str], whole: str, lines: list[str]) -> npt.NDArray[np.float64]:
    if any(line.split()[:2] == ["Thread", "Stats"] for line in lines):
        raise IosimError(f"{path} has no percentile spectrum: run wrk2 again with --latency")
    if not any(lines):
        raise IosimError(f"{path} is empty: name a CSV file or wrk2 output")
    try:
        names = next(csv.reader(lines[:1]), [])
    except csv.Error as error:
        raise IosimError(f"{path} is neither a CSV file nor wrk2 output: {error}") from None
    if names and all(_is_number(name) for name in names):
        raise IosimError(
            f"{path} begins with numbers, whose unit is not known: put a line above them that "
            f"names the column, one of {_COLUMNS}"
        )
    found = [name for name in names if name in _UNITS_NS]
    if len(found) != 1:
        has = f"{len(found)} columns of latencies ({', '.join(found)})" if found else "none"
        raise IosimError(
            f"{path}: its first line must name exactly one of the columns {_COLUMNS}; it has {has}"
        )
    rows = parse_table(whole, path, (), found)
    return _in_ns(path, [row[found[0]] for row in rows], _UNITS_NS[found[0]])


def _spectrum(
    path: str | os.PathLike[str], lines: list[str], first: int
) -> npt.NDArray[np.float64]:
    """Latencies from the lines below the header up to the footer."""
    values, counts = [0.0], [0]
    for number, line in enumerate(lines[first:], first + 1):
        fields = line.split()
        if (footer := _FOOTER.fullmatch(line.strip())) is not None:
            total = int(footer[1])
            if total != counts[-1]:
                raise IosimError(
                    f"{path}, line {number}: {total} requests in total, but the lines above it "
                    f"tell of {counts[-1]}; something is missing, take the whole output"
                )
            if not total:
                raise IosimError(f"{path} tells of no request: measure again")
            break
        if not fields or line.strip().startswith("#[Mean"):
            continue
        # Java leaves the last field of the last line out.
        if len(fields) not in (3, 4) or not all(_is_number(field) for field in fields):
            raise IosimError(
                f"{path}, line {number}: {line.strip()!r} is no line of a percentile spectrum; "
                "take the output as it was printed"
            )
        value, count = float(fields[0]), float(fields[2])
        rise = values[-1] <= value < float("inf") and counts[-1] <= count <= _COUNTED
        if not (rise and count.is_integer()):
            raise IosimError(
                f"{path}, line {number}: values and counts of a percentile spectrum never "
                f"decrease, but {line.strip()!r} follows {values[-1]:g} and {counts[-1]}; "
                "take the output as it was printed"
            )
        values.append(value)
        counts.append(int(count))
    else:
        raise IosimError(f"{path} ends within the percentile spectrum: take the whole output")
    values[0] = values[1]  # The first line tells the least value, not how many have it.
    size = min(total, _MOST)
    ranks = (np.arange(size) + 0.5) * (total / size)
    return _in_ns(path, np.interp(ranks, counts, values), _WRK2_NS)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
