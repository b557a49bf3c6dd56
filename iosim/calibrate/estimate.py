"""From measurements to costs: one fit over all benchmarks, and what it leaves to be subtracted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.caches import CONNECTION_BYTES, NO_MISSES, SCAN_BYTES, THREAD_BYTES, Caches, miss_share
from iosim.calibrate.bench import CONNECTIONS, OTHERS, SMALL_BYTES, THREADS, Row, copy
from iosim.calibrate.benchmarks.readiness import COUNTS
from iosim.calibrate.benchmarks.threads import PAUSE_NS
from iosim.calibrate.benchmarks.wakeups import IDLE_NS
from iosim.calibrate.fit import Estimate, Prior, fit
from iosim.calibrate.scan import MISS_PRIOR
from iosim.costs import ABOUT, CALLS, MOST_STEPS, Cost, CostProfile, WakeUp, wakeup_after
from iosim.machine import Interference

PRIORS = {
    "fd_miss_ns": MISS_PRIOR,
    "copy_miss_ns_per_byte": Prior(0.05, 2),
    "context_switch_ns": Prior(1_700, 1.5),
}
"""They decide only what nothing measured tells. A copy fetches ahead, and waits only for a sixth of
the 20 ns in each line of 64 bytes: assumed. A switch between threads always comes with calls that
are measured nowhere else; half of lmbench's 3.4 us between processes (see the profile `native`)."""

IN_TURN = (
    (CONNECTIONS, CONNECTION_BYTES, ("connection_miss_ns", "connection_far_ns")),
    (THREADS, THREAD_BYTES, ("thread_miss_ns", "thread_far_ns")),
)

QUANTILES = (np.arange(20) + 0.5) / 20


def costs_of(rows: Sequence[Row], caches: Caches) -> dict[str, Cost]:
    """The costs that fit what the benchmarks have measured, in one pass or in several.

    Every row counts by what `typical` says of it.
    """
    rows = [replace(row, expected=_by_cost(row.expected, caches)) for row in rows if row.expected]
    expected = [row.expected for row in rows]
    names = [name for name in ABOUT if any(name in costs for costs in expected)]
    design = [[costs.get(name, 0.0) for name in names] for costs in expected]
    measured = [max(1e-3, typical(row.values)) for row in rows]
    priors = {name: prior for name, prior in PRIORS.items() if name in names}
    fitted = fit(names, design, measured, priors)
    # A prior is for what the rows do not tell; else it would pull at what they do.
    needed = {name: prior for name, prior in priors.items() if not fitted[name].identified}
    if needed != priors:
        fitted = fit(names, design, measured, needed)
    return {name: _cost(fitted[name], _closest(name, rows)) for name in names}


def typical(values: Any) -> float:
    """The mean without the lowest and the highest twentieth.

    What many calls take is their number times the mean, and the mean is well above the median where
    some calls take much longer. But a few disturbances shall not matter.
    """
    from scipy.stats import trim_mean

    return float(trim_mean(values, 0.05))


def predicted(
    expected: Mapping[str, float], costs: Mapping[str, Cost], caches: Caches = NO_MISSES
) -> float:
    """What should be measured, by the costs: the sum of each as often as it is expected."""
    by_cost = _by_cost(expected, caches)
    return sum(times * costs[name].value for name, times in by_cost.items())


def _by_cost(expected: Mapping[str, float], caches: Caches) -> dict[str, float]:
    """How often each cost is in it: of data that is used in turn, what comes from beyond L2 and
    from beyond L3; and what the language adds to each call is a cost of its own."""
    costs = dict(expected)
    for kind, each_bytes, names in IN_TURN:
        if count := costs.pop(kind, 0):
            beyond = caches.beyond(round(count - 1) * each_bytes)
            costs |= dict(zip(names, beyond, strict=True))
    if calls := sum(times for name, times in costs.items() if name in CALLS):
        costs["user_ns"] = costs.get("user_ns", 0) + calls
    return costs


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
    """What is `typical` of values that hold something else too, with the quartiles as spread."""
    own = np.maximum(0, np.asarray(values) - less)
    low, high = np.quantile(own, [0.25, 0.75])
    return Cost(
        value=_rounded(typical(own)),
        source="measured",
        spread=(_rounded(float(low)), _rounded(float(high))),
    )


class Noted:
    """What was noted of benchmarks beside what the fit explains, all passes together."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self._values: dict[tuple[str, str], list[float]] = {}
        for row in rows:
            self._values.setdefault((row.benchmark, row.about), []).extend(row.values)

    def values(self, benchmark: str, about: str) -> npt.NDArray[np.float64]:
        """What a benchmark has noted."""
        return np.array(self._values.get((benchmark, about), ()), float)

    def abouts(self, benchmark: str) -> list[str]:
        """All that it has noted."""
        return [about for name, about in self._values if name == benchmark and about != OTHERS]

    def median(self, benchmark: str, about: str) -> float:
        """The middle of it."""
        return float(np.median(self.values(benchmark, about)))


def wakeups(
    noted: Noted,
    costs: Mapping[str, Cost],
    caches: Caches,
    benchmark: str = "wakeups",
    pauses_ns: Iterable[int] = IDLE_NS,
) -> list[WakeUp]:
    """Waking a program that sleeps in epoll_wait, by how long its core has idled; as one of the
    two benchmarks has measured it.

    epoll_wait parts the wake-up from the steps up to the answer, whose caches have gone cold. Where
    noise has a core idle no longer after a longer pause than after a shorter one, what was measured
    after both is taken together; a pause after which nothing was measured is left out.
    """
    data = copy(SMALL_BYTES, caches)
    wait_ns = predicted({"epoll_wait_ns": 1, "epoll_event_ns": 1}, costs)
    way_ns = predicted({"delivery_ns": 1} | data, costs)
    steps = {"recv_ns": 1.0, "request_ns": 1.0} | data
    answer_ns = predicted(steps, costs) + predicted({"reply_ns": 1} | data, costs)
    steps_ns = predicted(steps, costs) + predicted({"send_ns": 1} | data, costs)
    whats = ("slept", "late", "answer", "processor time")

    def row(seen: Sequence[npt.NDArray[np.float64]]) -> WakeUp:
        slept_ns, late_ns, answered_ns, spent_ns = seen
        latency_ns = np.quantile(np.maximum(0, late_ns - way_ns - wait_ns), QUANTILES)
        return WakeUp(
            idle_ns=max(0, round(float(np.median(slept_ns)) + way_ns)),
            latency_ns=latency_ns.round().tolist(),
            cpu_ns=_rest(spent_ns, wait_ns + steps_ns),
            cold_ns=_rest(answered_ns, answer_ns),
        )

    rows: list[WakeUp] = []
    behind: list[list[npt.NDArray[np.float64]]] = []
    """What was measured for each row."""
    for idle_ns in pauses_ns:
        seen = [noted.values(benchmark, f"{what}, {idle_ns}") for what in whats]
        if not all(values.size for values in seen):
            continue
        rows.append(row(seen))
        behind.append(seen)
        while len(rows) > 1 and rows[-2].idle_ns >= rows[-1].idle_ns:
            both = zip(behind.pop(-2), behind.pop(), strict=True)
            behind.append([np.concatenate(pair) for pair in both])
            rows[-2:] = [row(behind[-1])]
    return rows


def _rest(values: npt.NDArray[np.float64], known_ns: float) -> int:
    return round(max(0.0, typical(values) - known_ns))


def client_wake(noted: Noted, costs: Mapping[str, Cost], caches: Caches) -> dict[str, Cost]:
    """What a send takes longer that wakes a core after 100 us; nothing if it was not measured."""
    took_ns = noted.values("wakeups", "send, 100000")
    if not took_ns.size:
        return {}
    send_ns = predicted({"client_send_ns": 1} | copy(SMALL_BYTES, caches), costs)
    return {"client_wake_ns": measured_cost(took_ns, send_ns)}


def sleep(noted: Noted, rows: Sequence[WakeUp], costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """nanosleep, less what waking up after that long costs: `rows` are those of a core whose tick
    goes on, as the sleeper's own timer is due. Nothing if it was not measured.

    What the call costs is charged when it ends, so it is no part of the timer's slack.
    """
    if not all(noted.values("nanosleep", what).size for what in ("late", "processor time")):
        return {}
    late_ns, busy_ns = (noted.median("nanosleep", what) for what in ("late", "processor time"))
    slack_ns = 0.0
    for _ in range(5):  # the core idles that much longer
        woken = wakeup_after(rows, PAUSE_NS + slack_ns)
        after_ns = woken.summary()["p50_ns"] + max(0.0, busy_ns - woken.cpu_ns) + woken.cold_ns
        slack_ns = max(0.0, late_ns - after_ns)
    user_ns = costs["user_ns"].value
    busy = noted.values("nanosleep", "processor time")
    return {
        "nanosleep_ns": measured_cost(busy, woken.cpu_ns + user_ns),
        "timer_slack_ns": measured_cost(noted.values("nanosleep", "late"), after_ns),
    }


def third_level(
    noted: Noted, costs: Mapping[str, Cost], caches: Caches
) -> tuple[int, float] | None:
    """What a core really has of the third-level cache, and how much farther memory is than that;
    None if it was not measured, or what was measured is impossible.

    With each size of the cache that is thought of, the step to memory that fits best in relative
    error follows; the size with the smallest error is taken.
    """
    sizes = sorted(int(about) for about in noted.abouts("beyond_caches"))
    if not sizes:
        return None
    took_ns = np.array([noted.median("beyond_caches", str(size)) for size in sizes])
    if not (took_ns > 0).all():
        return None
    count = max(COUNTS)
    in_l3 = predicted({"poll_ns": 1, "poll_fd_ns": count, "fd_miss_ns": count}, costs) / count
    step_ns = costs["fd_miss_ns"].value
    found = []
    for l3_bytes in np.geomspace(caches.l2_bytes, 2 * caches.l3_bytes, 200):
        shares = [miss_share(size + count * SCAN_BYTES, round(l3_bytes)) for size in sizes]
        slope, rest = step_ns * np.array(shares) / took_ns, 1 - in_l3 / took_ns
        steps = max(0.0, float(slope @ rest) / max(1e-12, float(slope @ slope)))
        found.append((float(np.sum((steps * slope - rest) ** 2)), round(l3_bytes), steps))
    _, l3_bytes, steps = min(found)
    return None if steps > MOST_STEPS else (l3_bytes, _rounded(steps))


def interference(noted: Noted) -> Interference | None:
    """How often, and for how long, others had the core; None if they never had it, or always."""
    gaps_ns = noted.values("interference", "gap")
    spun_s = noted.values("interference", "spun").sum() / 1e9
    if not (gaps_ns.size and gaps_ns.sum() < 1e9 * spun_s):
        return None
    duration_ns = np.quantile(gaps_ns, QUANTILES).round().astype(int).tolist()
    return Interference(per_s=_rounded(gaps_ns.size / spun_s), duration_ns=duration_ns)


UNMEASURABLE = ("irq_ns", "softirq_ns_per_packet", "poll_entry_bytes", "gil_handoff_ns")
"""Loopback has no network card; an entry is too little to be told from the rest of a process; and
not every Python has the lock."""


def missing(costs: Mapping[str, Cost]) -> list[str]:
    """What should have been measured and was not."""
    return [name for name in ABOUT if name not in costs and name not in UNMEASURABLE]


def fill(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """All costs in their order; what was not measured is that of the native profile."""
    native = CostProfile.shipped("native").costs
    return {name: costs.get(name) or native[name] for name in ABOUT}
