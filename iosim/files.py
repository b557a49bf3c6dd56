"""Reading tables, and writing files whole or not at all."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iosim.errors import IosimError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a name to write to; what is there takes the place of `path` when the block is left.

    If the block fails, `path` stays as it was. The name has the ending of `path`, from which some
    writers tell the format. Raises IosimError if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise IosimError(
            f"cannot write {path}: {error.strerror}; choose a place you may write to"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def read_table(
    path: str | os.PathLike[str], words: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a CSV file with these columns of text and of positive numbers.

    Raises IosimError that says what is wrong with the file.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            named = reader.fieldnames or ()
            if missing := [name for name in (*words, *numbers) if name not in named]:
                raise IosimError(
                    f"{path} has no column {', '.join(missing)}: its first line must name "
                    f"{', '.join((*words, *numbers))}"
                )
            rows = [
                {name: row[name] or "" for name in words}
                | {
                    name: _positive(row[name], f"{path}, line {reader.line_num}, {name}")
                    for name in numbers
                }
                for row in reader
            ]
    except OSError as error:
        raise IosimError(f"cannot read {path}: {error.strerror}; name a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise IosimError(f"{path} is no CSV file: {error}") from None
    if not rows:
        raise IosimError(f"{path} has no rows below its first line")
    return rows


def _positive(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise IosimError(f"{where}: {text!r} is not a positive number")
    return value
