"""What commands print and write."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from iosim.calibrate import cache
from iosim.errors import Interrupted, IosimError
from iosim.files import check_target

_LATE_S = 2.0
_REDRAW_S = 0.1
"""When a bar comes up that may not be needed, and how often it is drawn."""

_WIDTH = 170
"""Columns of a table that goes to a file or a pipe."""


def check_writable(path: Path | None) -> None:
    """Fail before the work is done, not after it."""
    if path is not None:
        check_target(path)


def warn_of(found: cache.Found) -> None:
    """Say on standard error, in one short line, that something speaks against a profile; what it is
    and what it means stands in `iosim profile show`."""
    doubts = []
    if cache.differences(found.profile):
        doubts.append("is of another host")
    if count := len(found.profile.warnings):
        doubts.append(f"has {count} warning{'s' if count > 1 else ''}")
    if doubts:
        said = f"the cost profile {' and '.join(doubts)}: see `iosim profile show {found.asked}`"
        print(f"iosim: warning: {said}", file=sys.stderr)


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
def losing(what: str) -> Iterator[None]:
    """On Ctrl-C, say what becomes of the work."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {what}") from None


@contextmanager
def late_progress_bar(what: str) -> Iterator[Callable[[float], None] | None]:
    """A progress bar for what mostly takes no time: it comes up after two seconds, on a terminal;
    None where there is no terminal to draw on."""
    if not Console(stderr=True).is_terminal:
        yield None
        return
    began_s = drawn_s = time.monotonic()
    advance: Callable[[float, str], None] | None = None
    with ExitStack() as stack:

        def told(share: float) -> None:
            nonlocal advance, drawn_s
            now_s = time.monotonic()
            if now_s - began_s >= _LATE_S and now_s - drawn_s >= _REDRAW_S:
                if advance is None:
                    advance = stack.enter_context(progress_bar(what, share))
                advance(share, "")
                drawn_s = now_s

        yield told


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
