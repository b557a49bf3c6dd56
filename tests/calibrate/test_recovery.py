"""The micro-benchmarks on the simulated kernel, whose costs are known: the estimate finds them."""

from __future__ import annotations

import pytest

from iosim.calibrate import Plan, Simulated, calibrate
from iosim.costs import ABOUT, Cost, CostProfile, WakeUp

NOT_MEASURED = {
    "irq_ns": "loopback has no network card",
    "softirq_ns_per_packet": "loopback has no network card",
    "poll_entry_bytes": "too little to be told from the rest of a real process",
}


def machine(runtime: str) -> CostProfile:
    """Costs as measured on a host, with caches so small that scans fall out of them, and wake-ups
    that take longer in proportion to the pause before."""
    python = CostProfile.shipped("python")
    # What a host may have none of, but a test must.
    assumed = {
        "gil_handoff_ns": 9_000,
        "copy_miss_ns_per_byte": 0.05,
        "uring_reap_ns": 1_500,
        "sqpoll_look_ns": 2_500,
    }
    quantiles = [20_000.0 + 1_000 * number for number in range(20)]
    return python.model_copy(
        update={
            "runtime": runtime,
            "costs": python.costs
            | {name: Cost(value=value, source="assumed") for name, value in assumed.items()},
            "host": {"l2_bytes": 1 << 19, "l3_bytes": 1 << 24},
            "wakeup_ticking": [
                WakeUp(idle_ns=0, latency_ns=quantiles, cpu_ns=8_000, cold_ns=1_500),
            ],
            "wakeup": [
                WakeUp(idle_ns=0, latency_ns=quantiles, cpu_ns=9_000, cold_ns=2_000),
                WakeUp(
                    idle_ns=30_000_000,
                    latency_ns=[5 * latency_ns for latency_ns in quantiles],
                    cpu_ns=90_000,
                    cold_ns=20_000,
                ),
            ],
        }
    )


def errors(found: CostProfile, true: CostProfile) -> dict[str, float]:
    """Relative errors of all costs that can be measured."""
    return {
        name: found.costs[name].value / true.costs[name].value - 1
        for name in ABOUT
        if name not in NOT_MEASURED
    }


@pytest.mark.parametrize("runtime", ["native", "python"])
def test_known_costs_come_back(runtime: str) -> None:
    true = machine(runtime)
    plan = Plan(passes=1, rounds=20, patience_s=0)
    found, steps = calibrate(Simulated(true), "found", {}, plan=plan)
    late = [row for row in steps.done["0/wakeups"] if row["about"].startswith("late, ")]
    assert {name: e for name, e in errors(found, true).items() if abs(e) > 0.03} == {}
    for row, seen in zip(found.wakeup, late, strict=True):
        share = row.idle_ns / 30_000_000
        assert row.cpu_ns == pytest.approx(9_000 + share * 81_000, rel=0.03)
        assert row.cold_ns == pytest.approx(2_000 + share * 18_000, rel=0.03)
        # They are drawn from an even distribution, the median of which comes out by half its width
        # over the root of their number too high or too low, as a rule.
        off_ns = 10_000 * (1 + 4 * share) / len(seen["values"]) ** 0.5
        assert row.latency_ns[10] == pytest.approx(30_000 * (1 + 4 * share), abs=3 * off_ns)
    for row in found.wakeup_ticking:
        assert row.cpu_ns == pytest.approx(8_000, rel=0.03)
        assert row.cold_ns == pytest.approx(1_500, rel=0.06)
        assert row.latency_ns[10] == pytest.approx(30_000, rel=0.05)
    for name in NOT_MEASURED:
        assert found.costs[name].source != "measured"


def test_known_costs_come_back_from_noisy_measurements() -> None:
    """Every measurement is off by 5 %, as a rule: the errors stay below 10 %, and the intervals
    hold the truth as often as they say."""
    true = machine("python")
    plan = Plan(passes=2, rounds=40, patience_s=0)
    found, _ = calibrate(Simulated(true, noise=0.05), "found", {}, plan=plan)
    assert {name: e for name, e in errors(found, true).items() if abs(e) > 0.10} == {}
    held = [
        cost.interval[0] <= true.costs[name].value <= cost.interval[1]
        for name, cost in found.costs.items()
        if cost.interval is not None
    ]
    assert sum(held) / len(held) >= 0.9
