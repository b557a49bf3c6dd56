"""Signals and standard streams of the command `iosim`, from its first import to its end.

This module is the first that is imported: the others take a second, in which Ctrl-C must end the
command as quietly as later. A program that imports iosim keeps its own signals and streams.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _is_command() -> bool:
    """Whether the process is the command `iosim`, or `python -m iosim`."""
    # While Python imports the package that -m names, that is all that sys.argv tells.
    if sys.argv[:1] == ["-m"]:
        return ("-m", "iosim") in pairwise(sys.orig_argv)
    return [os.path.basename(name) for name in sys.argv[:1]] == ["iosim"]


def _end(number: int, frame: FrameType | None) -> None:
    """End at once: nothing has begun."""
    os._exit(128 + number)


def _raise(number: int, frame: FrameType | None) -> None:
    """End after everything that is open has been closed."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


def _handle(handler: Callable[[int, FrameType | None], None] | signal.Handlers) -> None:
    for number in _SIGNALS:
        # What is ignored from the start, as by nohup, stays so.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _fill_streams() -> None:
    """Give closed standard streams to /dev/null: else the next file to be opened would be one of
    them, and take what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            setattr(sys, name, os.fdopen(number, "w" if number else "r"))


IS_COMMAND = _is_command()

if IS_COMMAND:
    _handle(_end)
    _fill_streams()


def begin() -> None:
    """From now on the command has something to lose when a signal ends it."""
    if IS_COMMAND:
        _handle(_raise)


def end() -> None:
    """From now on nothing is left to be interrupted."""
    if IS_COMMAND:
        _handle(signal.SIG_IGN)


@contextmanager
def deaf() -> Iterator[None]:
    """Processes that are started in the block never take SIGINT, not even while they start.

    A terminal sends it to every process in the foreground, and what is in flight is to be finished.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
