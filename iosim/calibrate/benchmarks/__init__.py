"""The micro-benchmarks, one module for each group of calls."""

from iosim.calibrate.benchmarks import (
    aio,
    interference,
    memory,
    readiness,
    rings,
    signals,
    sockets,
    threads,
    wakeups,
)

__all__ = [
    "aio",
    "interference",
    "memory",
    "readiness",
    "rings",
    "signals",
    "sockets",
    "threads",
    "wakeups",
]
