"""What a core has of the third-level cache, from polls after other data has been gone through."""

from __future__ import annotations

import numpy as np
import pytest

from iosim.caches import SCAN_BYTES, Caches, miss_share
from iosim.calibrate import estimate
from iosim.calibrate.bench import Row
from iosim.calibrate.benchmarks.readiness import COUNTS
from iosim.costs import CostProfile

MIB = 1 << 20
COSTS = CostProfile.shipped("native").costs
TOLD = Caches(1 * MIB, 48 * MIB)
COUNT = max(COUNTS)


def rows(l3_bytes: int, memory_steps: float, noise: float = 0) -> list[Row]:
    """What would be measured of a cache of that size."""
    generator = np.random.default_rng(1)
    near_ns = COSTS["poll_ns"].value / COUNT + COSTS["poll_fd_ns"].value
    miss_ns = COSTS["fd_miss_ns"].value
    measured = []
    for nbytes in (2 * MIB, 4 * MIB, 7 * MIB, 13 * MIB, 24 * MIB, 45 * MIB, 84 * MIB, 192 * MIB):
        share = miss_share(nbytes + COUNT * SCAN_BYTES, l3_bytes)
        took_ns = near_ns + miss_ns * (1 + memory_steps * share)
        took_ns += COSTS["user_ns"].value / COUNT
        values = took_ns * np.exp(noise * generator.standard_normal(40))
        measured.append(Row("beyond_caches", str(nbytes), {}, values.tolist(), [0] * 40))
    return measured


@pytest.mark.parametrize("l3_bytes", [3 * MIB, 6 * MIB, 20 * MIB, 48 * MIB])
@pytest.mark.parametrize("memory_steps", [1.5, 4])
def test_size_and_distance_come_back(l3_bytes: int, memory_steps: float) -> None:
    for noise, most in ((0, 0.03), (0.05, 0.15)):
        noted = estimate.Noted(rows(l3_bytes, memory_steps, noise))
        found = estimate.third_level(noted, COSTS, TOLD)
        assert found is not None
        assert found[0] == pytest.approx(l3_bytes, rel=most)
        assert found[1] == pytest.approx(memory_steps, rel=most)


def test_not_measured_is_not_known() -> None:
    assert estimate.third_level(estimate.Noted([]), COSTS, TOLD) is None


def test_a_profile_has_the_caches_that_were_measured() -> None:
    native = CostProfile.shipped("native")
    told = {"host": {"l2_bytes": MIB, "l3_bytes": 48 * MIB}}
    assert native.model_copy(update=told).caches == TOLD
    seen = native.model_copy(update=told | {"l3_bytes": 6 * MIB, "memory_steps": 4.0})
    assert seen.caches == Caches(MIB, 6 * MIB, 4.0)
