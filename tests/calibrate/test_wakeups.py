"""Rows of wake-ups, from pauses that others have disturbed."""

from __future__ import annotations

from iosim.caches import NO_MISSES
from iosim.calibrate import estimate
from iosim.calibrate.bench import Row
from iosim.costs import CostProfile

NATIVE = CostProfile.shipped("native")


def test_rows_rise_by_the_time_that_the_core_has_really_idled() -> None:
    """Others held the core: after a pause of 100 us it had idled longer than after one of 200, and
    after one of 300 just as long as after one of 200."""
    slept_ns = {100_000: 250_000, 200_000: 200_000, 300_000: 200_000}
    rows = [
        Row("wakeups", f"{what}, {pause_ns}", {}, [float(value)] * 3, [0] * 3)
        for pause_ns, slept in slept_ns.items()
        for what, value in (
            ("slept", slept),
            ("late", pause_ns / 10),
            ("answer", 50_000),
            ("processor time", 50_000),
        )
    ]
    found = estimate.wakeups(
        estimate.Noted(rows), NATIVE.costs, NO_MISSES, pauses_ns=reversed(slept_ns)
    )
    way_ns = found[0].idle_ns - 200_000
    assert [row.idle_ns - way_ns for row in found] == [200_000, 250_000]
    assert found[0].latency_ns[0] - found[1].latency_ns[0] == 20_000
    assert NATIVE.model_validate(NATIVE.model_dump() | {"wakeup": found}).wakeup == found
