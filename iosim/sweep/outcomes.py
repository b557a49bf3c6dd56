"""The figures of a run that a sweep keeps: a flat row of numbers that depend on the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from iosim.results import Run

OUTCOMES: Mapping[str, type] = {
    "throughput_per_s": float,
    "latency_ns.mean": float,
    "latency_ns.p50": float,
    "latency_ns.p90": float,
    "latency_ns.p99": float,
    "latency_ns.p999": float,
    "cpu_ns_per_request": float,
    "utilisation": float,
    "syscalls_per_request": float,
    "empty_polls": int,
    "context_switches": int,
    "wakeups": int,
    "drops": int,
    "blocked_ns.wait_for_data": float,
    "blocked_ns.copy_data": float,
    "lateness_ns.p50": float,
    "lateness_ns.p99": float,
    "events_per_request": float,
    "memory_bytes.threads": int,
    "memory_bytes.sockets": int,
    "memory_bytes.epoll_items": int,
    "memory_bytes.poll_entries": int,
    "memory_bytes.total": int,
}
"""Columns and their types: the figures of `Run.summary`, without those that repeat what was asked
for and without the time that the run took to make. The last six are missing of a real run."""


def outcome(run: Run) -> dict[str, Any]:
    """The row of a run."""
    figures = dict(_flat(run.summary()))
    return {name: figures[name] for name in OUTCOMES if name in figures}


def _flat(summary: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in summary.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
