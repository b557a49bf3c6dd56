"""From measurements to costs: one fit over all benchmarks, and what only small runs can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from iosim.calibrate.bench import Row
from iosim.calibrate.fit import Estimate, Prior, fit
from iosim.calibrate.scan import MISS_PRIOR
from iosim.costs import ABOUT, CALLS, Cost, CostProfile, WakeUp, wakeup_after
from iosim.models import Model
from iosim.results import Run
from iosim.workload import Workload

PRIORS = {
    "fd_miss_ns": MISS_PRIOR,
    "copy_miss_ns_per_byte": Prior(0.05, 2),
}
"""A copy fetches ahead, and waits only for a sixth of the 20 ns in each line of 64 bytes. Assumed;
they decide only where nothing measured reaches beyond L2."""

IDLE_NS = (10_000, 30_000, 60_000, 100_000, 200_000, 400_000, 1_000_000, 4_000_000, 20_000_000)
"""Pauses after which the wake-up of a sleeping server is measured."""
QUANTILES = (np.arange(20) + 0.5) / 20


class Runs(Protocol):
    """Where small runs are made."""

    def run(self, model: str | Model, workload: Workload, seed: int) -> Run: ...


def costs_of(passes: Sequence[Sequence[Row]]) -> dict[str, Cost]:
    """The costs that fit the benchmarks' measurements, each pass a set of its own.

    Every row of every pass counts by its median, so that what disturbed some calls does not matter.
    """
    rows = [row for measured in passes for row in measured if row.expected]
    expected = [_with_language(row.expected) for row in rows]
    names = [name for name in ABOUT if any(name in costs for costs in expected)]
    design = [[costs.get(name, 0.0) for name in names] for costs in expected]
    measured = [max(1e-3, float(np.median(row.values))) for row in rows]
    priors = {name: prior for name, prior in PRIORS.items() if name in names}
    fitted = fit(names, design, measured, priors)
    # A prior is for what the rows do not tell; else it would pull at what they do.
    needed = {name: prior for name, prior in priors.items() if not fitted[name].identified}
    if needed != priors:
        fitted = fit(names, design, measured, needed)
    return {name: _cost(fitted[name], _closest(name, rows)) for name in names}


def predicted(expected: Mapping[str, float], costs: Mapping[str, Cost]) -> float:
    """What should be measured, by the costs: the sum of each as often as it is expected."""
    return sum(times * costs[name].value for name, times in _with_language(expected).items())


def _with_language(expected: Mapping[str, float]) -> dict[str, float]:
    """What the language adds to each call is a cost of its own."""
    calls = sum(times for name, times in expected.items() if name in CALLS)
    if not calls:
        return dict(expected)
    return {**expected, "user_ns": expected.get("user_ns", 0) + calls}


def _closest(name: str, rows: Sequence[Row]) -> Row:
    """The row that has least beside the cost."""
    having = [row for row in rows if row.expected.get(name)]
    return min(having, key=lambda row: len(row.expected)) if having else rows[0]


def _cost(estimate: Estimate, row: Row) -> Cost:
    low, middle, high = np.quantile(row.values, [0.25, 0.5, 0.75])
    spread = (low / middle, high / middle) if middle > 0 else (1.0, 1.0)
    return Cost(
        value=_rounded(estimate.value),
        source="measured",
        spread=(_rounded(estimate.value * spread[0]), _rounded(estimate.value * spread[1])),
        interval=(_rounded(estimate.low), _rounded(min(estimate.high, 1e12))),
        identified=estimate.identified,
    )


def _rounded(value: float) -> float:
    """Five significant digits."""
    return float(f"{value:.5g}")


def measured_cost(values: Any, less: float = 0) -> Cost:
    """The median of values that hold something else too, with the quartiles as spread."""
    own = np.maximum(0, np.asarray(values) - less)
    low, middle, high = np.quantile(own, [0.25, 0.5, 0.75])
    return Cost(
        value=_rounded(float(middle)),
        source="measured",
        spread=(_rounded(float(low)), _rounded(float(high))),
    )


def delivery(place: Runs, costs: Mapping[str, Cost], requests: int) -> dict[str, Cost]:
    """How long data takes to the other end, seen by a server that spins on one socket.

    Data is found half a round of tries (recv, accept) after it has come, on average.
    """
    load = Workload(connections=1, arrivals="even", rate_per_s=2_000, requests=requests)
    run = place.run("nonblocking", load, seed=7)
    eagain_ns, recv_ns = (_call_ns(costs, name) for name in ("eagain_ns", "recv_ns"))
    copy_ns = costs["copy_ns_per_byte"].value * load.request_bytes
    records = run.records
    return {
        "delivery_ns": measured_cost(
            records["copied_ns"] - records["sent_ns"], eagain_ns + recv_ns + 2 * copy_ns
        ),
        "reply_ns": measured_cost(records["replied_ns"] - records["done_ns"], copy_ns),
    }


def _call_ns(costs: Mapping[str, Cost], name: str) -> float:
    """A call with what the language adds."""
    return costs[name].value + costs["user_ns"].value


def wakeup(
    place: Runs, costs: Mapping[str, Cost], idle_ns: int, seconds: float
) -> tuple[WakeUp, float | None]:
    """Waking a server that sleeps in epoll_wait on one connection; also what the waking send took.

    epoll_wait parts the wake-up from the first steps after it, whose caches have gone cold.
    """
    requests = int(min(3_000, max(60, seconds * 1e9 / (idle_ns + 60_000))))
    load = Workload(connections=1, arrivals="closed", think_ns=idle_ns, requests=requests)
    run = place.run("epoll", load, seed=7)
    records = run.records
    wait_ns = _call_ns(costs, "epoll_wait_ns") + costs["epoll_event_ns"].value
    copy_ns = costs["copy_ns_per_byte"].value * load.request_bytes
    recv_ns, send_ns = (_call_ns(costs, name) + copy_ns for name in ("recv_ns", "send_ns"))
    steps_ns = recv_ns + costs["request_ns"].value
    before_ns = costs["delivery_ns"].value + copy_ns + wait_ns
    latency = records["noticed_ns"] - records["sent_ns"] - before_ns
    quiet = records["sent_ns"][1:] - records["done_ns"][:-1] - send_ns
    cold_ns = float(np.median(records["done_ns"] - records["noticed_ns"])) - steps_ns
    row = WakeUp(
        idle_ns=max(0, int(np.median(quiet) + before_ns - wait_ns)),
        latency_ns=[round(float(q)) for q in np.quantile(np.maximum(0, latency), QUANTILES)],
        cpu_ns=round(max(0.0, run.cpu_ns / requests - wait_ns - steps_ns - send_ns)),
        cold_ns=round(max(0.0, cold_ns)),
    )
    return row, run.provenance.get("load", {}).get("send_ns")


def sleep(
    passes: Sequence[Sequence[Row]],
    rows: Sequence[WakeUp],
    costs: Mapping[str, Cost],
    pause_ns: int,
) -> dict[str, Cost]:
    """nanosleep, less what waking up after that long costs.

    What the call costs is charged when it ends, so it is no part of the timer's slack.
    """
    seen: dict[str, list[float]] = {}
    for row in (row for measured in passes for row in measured if row.benchmark == "nanosleep"):
        seen.setdefault(row.about, []).extend(row.values)
    late_ns, busy_ns = (float(np.median(seen[about])) for about in ("late", "processor time"))
    slack_ns = 0.0
    for _ in range(5):  # the core idles that much longer
        woken = wakeup_after(rows, pause_ns + slack_ns)
        after_ns = woken.summary()["p50_ns"] + max(0.0, busy_ns - woken.cpu_ns) + woken.cold_ns
        slack_ns = max(0.0, late_ns - after_ns)
    user_ns = costs["user_ns"].value
    return {
        "nanosleep_ns": measured_cost(seen["processor time"], woken.cpu_ns + user_ns),
        "timer_slack_ns": measured_cost(seen["late"], after_ns),
    }


def fill(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """All costs in their order; what was not measured is that of the native profile."""
    native = CostProfile.shipped("native").costs
    return {name: costs.get(name) or native[name] for name in ABOUT}
