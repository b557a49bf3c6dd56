"""What commands print and write."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from iosim.calibrate import cache
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.files import check_target

_WIDTH = 170
"""Columns of a table that goes to a file or a pipe."""


def check_writable(path: Path | None) -> None:
    """Fail before the work is done, not after it."""
    if path is not None:
        check_target(path)


def warn_of(profile: CostProfile, consequence: str) -> None:
    """Print on standard error what speaks against a profile: that it was measured on another host
    than this, with its `consequence`, and how its own host was then."""
    warnings = list(profile.warnings)
    if differences := cache.differences(profile):
        texts = (
            f"{name.replace('_', ' ')} {there!r}, here {here!r}"
            for name, (there, here) in differences.items()
        )
        about = f"it was measured on another host ({'; '.join(texts)}): {consequence}"
        warnings.insert(0, about)
    for warning in warnings:
        print(f"iosim: warning: cost profile {profile.name!r}: {warning}", file=sys.stderr)


def make_folder(folder: Path, option: str, *names: str) -> Path:
    """A folder to write files of these names to; `option` is where the user could name another."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise IosimError(
            f"cannot make folder {folder}: {error.strerror}; choose another with {option}"
        ) from None
    for name in names or ("any",):
        check_target(folder / name)
    return folder


def print_json(data: Any) -> None:
    """Print plain data for programs."""
    print(json.dumps(data, indent=2))


def console() -> Console:
    """Where tables go: as wide as the terminal, or wide enough for every row."""
    # Names of profiles and models are text, whatever brackets they have.
    terminal = Console(markup=False, emoji=False)
    if not terminal.is_terminal:
        terminal.width = _WIDTH
    return terminal


@contextmanager
def progress_bar(what: str, begin: float = 0) -> Iterator[Callable[[float, str], None]]:
    """A progress bar on standard error that redraws only when told of progress.

    `begin` is the share that was done before, which tells nothing about the speed.

    A bar that redraws by itself would take the processor from the runs it reports on.
    """
    terminal = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[next]}"),
        console=terminal,
        auto_refresh=False,
        transient=True,
        disable=not terminal.is_terminal,
    ) as progress:
        task = progress.add_task(what, total=1, next="")
        progress.tasks[0].completed = begin

        def advance(share: float, following: str) -> None:
            progress.update(task, completed=share, next=following, refresh=True)

        yield advance
