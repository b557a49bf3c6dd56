"""Bounds on what a hostile input may take, so that what never ends fails by itself."""

from __future__ import annotations

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

PATIENCE_S = 60
"""Enough on any host; it only ever passes when a test fails."""
MEMORY_BYTES = 2**31
"""What this process may take beyond what it has, and a child of it as a whole."""


@contextmanager
def bounded() -> Iterator[None]:
    """In the block, too much memory raises MemoryError and too much time fails the test."""

    def late(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"it has not ended after {PATIENCE_S} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES, before[1])
    )
    handler = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)
