"""The claims that the project starts from, each put as a question to the runs."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
from rich.table import Table

from iosim.units import format_time

GROWS = 1.25
"""A figure that grows by less than this factor stays as it was."""

NEGLIGIBLE = 0.01
"""This share of the time between two requests is as good as nothing: a real host disturbs."""

Finding = tuple[str, bool]
"""What the runs show, and whether the claim holds."""


class Points:
    """The rows of one kernel: `points(model, connections)`."""

    def __init__(self, rows: pd.DataFrame) -> None:
        self._rows = rows.set_index(["model", "connections"])
        self.most = int(rows["connections"].max())
        """The largest number of connections; select cannot watch so many."""
        self.many = int(rows.loc[rows["model"] == "blocking-pool", "connections"].max())
        """The largest one that it can."""

    def __call__(self, model: str, connections: int) -> pd.Series:
        """The figures of one run; LookupError if it was refused."""
        row = self._rows.loc[(model, connections)]
        if row["refused"]:
            raise LookupError(row["refused"])
        return row

    def growth(self, model: str, column: str, connections: int) -> tuple[str, float]:
        """How a time grows from one connection to many: in words, and the factor."""
        few, many = (self(model, size)[column] for size in (1, connections))
        words = f"{format_time(few)} with 1 connection, {format_time(many)} with {connections}"
        return words, many / few


def phases(row: pd.Series) -> str:
    """How long a program is blocked in each phase."""
    wait_ns, copy_ns = row["wait_for_data_ns"], row["copy_data_ns"]
    return f"blocked {format_time(wait_ns)} waiting, {format_time(copy_ns)} copying per request"


def free(row: pd.Series) -> bool:
    """Whether it does not wait for data."""
    return row["wait_for_data_ns"] < NEGLIGIBLE * 1e9 / row["rate_per_s"]


def blocking_in_both(points: Points) -> Finding:
    row = points("blocking", 1)
    return phases(row), not free(row) and row["copy_data_ns"] > 0


def pool_eases(points: Points) -> Finding:
    pool, each = points("blocking-pool", points.many), points("blocking", points.many)
    pool_ns, each_ns = pool["latency_p99_ns"], each["latency_p99_ns"]
    words = (
        f"{pool['threads']:.0f} threads instead of {each['threads']:.0f}, "
        f"but p99 latency {format_time(pool_ns)} instead of {format_time(each_ns)}"
    )
    return words, pool["threads"] < each["threads"] and pool_ns > GROWS * each_ns


def nonblocking_free(points: Points) -> Finding:
    row = points("nonblocking", points.many)
    return phases(row), free(row)


def nonblocking_burns(points: Points) -> Finding:
    spin, epoll = points("nonblocking", points.many), points("epoll", points.many)
    words = (
        f"{spin['utilisation']:.0%} of a core (epoll {epoll['utilisation']:.0%}), "
        f"{spin['empty_polls_per_request']:.0f} empty polls per request"
    )
    return words, spin["utilisation"] > GROWS * epoll["utilisation"]


def nonblocking_late(points: Points) -> Finding:
    words, factor = points.growth("nonblocking", "latency_p50_ns", points.many)
    return f"median latency {words}", factor > GROWS


def multiplexing_one_thread(points: Points) -> Finding:
    one, each = points("epoll", points.many), points("blocking", points.many)
    one_ns, each_ns = one["cpu_ns_per_request"], each["cpu_ns_per_request"]
    words = (
        f"{one['threads']:.0f} thread (blocking {each['threads']:.0f}), "
        f"CPU per request {format_time(one_ns)} (blocking {format_time(each_ns)})"
    )
    return words, one["threads"] == 1 < each["threads"]


def multiplexing_not_for_one(points: Points) -> Finding:
    epoll, blocking = (points(name, 1)["syscalls_per_request"] for name in ("epoll", "blocking"))
    return f"system calls per request {epoll:.2f} (blocking {blocking:.2f})", epoll > blocking


def select_scans(points: Points) -> Finding:
    words, factor = points.growth("select", "cpu_ns_per_request", points.many)
    return f"CPU per request {words}", factor > GROWS


def poll_watches_more(points: Points) -> Finding:
    points("poll", points.most)
    try:
        points("select", points.most)
    except LookupError as refusal:
        return f"poll serves {points.most} connections; {refusal}".partition(":")[0], True
    return f"both serve {points.most} connections", False


def epoll_cheap(points: Points) -> Finding:
    words, factor = points.growth("epoll", "cpu_ns_per_request", points.most)
    scan, scan_factor = points.growth("poll", "cpu_ns_per_request", points.most)
    return f"CPU per request {words}; poll {scan}", GROWS * factor < scan_factor


def signal_driven_in_copy(points: Points) -> Finding:
    row = points("sigio", 1)
    return phases(row), free(row) and row["copy_data_ns"] > 0


def asynchronous_in_neither(points: Points) -> Finding:
    row = points("io_uring", 1)
    return phases(row), free(row) and row["copy_data_ns"] == 0


CLAIMS: dict[str, Callable[[Points], Finding]] = {
    "Blocking I/O is blocked in both phases": blocking_in_both,
    "A pool of threads eases many clients and meets its limit": pool_eases,
    "Nonblocking I/O is free for other work while it waits": nonblocking_free,
    "... but polling drives the CPU up": nonblocking_burns,
    "... and delays the answer, as data comes between two polls": nonblocking_late,
    "Multiplexing serves many connections with one thread": multiplexing_one_thread,
    "... and does not pay off with one connection": multiplexing_not_for_one,
    "select scans the longer, the more it watches": select_scans,
    "poll may watch more than select": poll_watches_more,
    "epoll is called back and stays cheap": epoll_cheap,
    "Signal-driven I/O is blocked in the copy only": signal_driven_in_copy,
    "Asynchronous I/O waits in neither phase": asynchronous_in_neither,
}


def judge(data: pd.DataFrame) -> pd.DataFrame:
    """What the runs of each kernel say to each claim; holds is "?" if one of them was refused."""
    verdicts = []
    for kernel, rows in data.groupby("kernel", sort=False):
        points = Points(rows)
        for claim, find in CLAIMS.items():
            try:
                found, holds = find(points)
                verdicts.append((claim, kernel, found, "yes" if holds else "no"))
            except LookupError as refusal:
                verdicts.append((claim, kernel, f"not run: {refusal}", "?"))
    return pd.DataFrame(verdicts, columns=["claim", "kernel", "found", "holds"])


def table(verdicts: pd.DataFrame) -> Table:
    """For the terminal: a row per claim, a column per kernel."""
    kernels = verdicts["kernel"].unique()
    shown = Table("claim", title="What the runs say to each claim", show_lines=True)
    for kernel in kernels:
        shown.add_column(kernel)
        shown.add_column("holds")
    for claim, rows in verdicts.groupby("claim", sort=False):
        shown.add_row(
            claim, *(text for row in rows.itertuples() for text in (row.found, row.holds))
        )
    return shown
