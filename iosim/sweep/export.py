"""The table of a sweep: as a DataFrame, CSV or Parquet, rows in the order of the design."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iosim.errors import IosimError
from iosim.files import replacing
from iosim.sweep.design import Design
from iosim.sweep.outcomes import OUTCOMES
from iosim.sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd

_ROWS = 10_000
"""So many rows are in memory, and in a row group of Parquet."""


def columns(design: Design) -> dict[str, type]:
    """Names and types: the point's index, its replication and seed, the fields that vary, the
    figures of `OUTCOMES`, and the error of a point that failed."""
    fields = {name: _kind(design, name) for name in design.varied}
    return {"point": int, "replication": int, "seed": int, **fields, **OUTCOMES, "error": str}


def _kind(design: Design, name: str) -> type:
    """The type that holds every value of a field."""
    axis = next((axis for axis in design.axes if axis.name == name), None)
    if axis is not None and axis.range is not None:
        return int if axis.range.whole else float
    kinds = {type(value) for value in design.possible(name) if value is not None}
    if len(kinds) == 1:
        return kinds.pop()
    return float if kinds <= {int, float} else str


def table(store: Store) -> Iterator[dict[str, Any]]:
    """The rows of the points that are finished, with None for what is missing."""
    design = store.design
    names = columns(design)
    for row in store.rows():
        point = design[row.number]
        found = {
            "point": row.number // design.replications,
            "replication": point.replication,
            "seed": point.seed,
            "error": row.error,
            **point.values,
            **row.outcome,
        }
        yield {name: _as(kind, found.get(name)) for name, kind in names.items()}


def _as(kind: type, value: Any) -> Any:
    return value if value is None else kind(value)


def frame(store: Store) -> pd.DataFrame:
    """The table as a pandas DataFrame."""
    import pandas as pd

    rows = list(table(store))
    found = {}
    for name, kind in columns(store.design).items():
        values = [row[name] for row in rows]
        # Only the nullable type of integers knows of missing ones.
        whole = "Int64" if None in values else "int64"
        kinds = {int: whole, float: "float64", bool: "boolean" if None in values else "bool"}
        found[name] = pd.Series(values, dtype=kinds.get(kind, "object"))
    return pd.DataFrame(found)


def export(store: Store, path: str | os.PathLike[str]) -> int:
    """Write the table to a file that ends in .csv or .parquet; equal tables are equal files.

    Returns the number of rows. Raises IosimError if the file cannot be written.
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise IosimError(
            f"cannot write a table as {path.name}: let its name end in {' or '.join(_WRITERS)}"
        )
    if path.exists() and path.samefile(store.path):
        raise IosimError(f"{path} is the store itself: name another file for the table")
    with replacing(path) as temporary:
        return writer(store, temporary)


def _csv(store: Store, path: Path) -> int:
    rows = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns(store.design), lineterminator="\n")
        writer.writeheader()
        for row in table(store):
            writer.writerow(row)
            rows += 1
    return rows


def _parquet(store: Store, path: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise IosimError(
            "Parquet needs pyarrow: install it by `pip install 'iosim[parquet]'`, or export to .csv"
        ) from None
    kinds = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in columns(store.design).items()])
    rows = 0
    with pq.ParquetWriter(path, schema) as writer:
        for some in _batched(table(store)):
            writer.write_table(pa.Table.from_pylist(some, schema))
            rows += len(some)
    return rows


def _batched(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while some := list(islice(rows, _ROWS)):
        yield some


_WRITERS: Mapping[str, Callable[[Store, Path], int]] = {".csv": _csv, ".parquet": _parquet}
