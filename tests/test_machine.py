"""What a machine is by default, and what follows from its host."""

from __future__ import annotations

import pytest

from iosim.errors import IosimError
from iosim.machine import Interference, Machine, time_slice_ns


@pytest.mark.parametrize(
    ("cores", "tick_ns", "expected_ns"),
    [
        (1, 1, 700_000),
        (2, 1, 1_400_000),
        (3, 1, 1_400_000),
        (8, 1, 2_800_000),
        (64, 1, 2_800_000),
        (64, 1_000_000, 3_000_000),
        (2, 4_000_000, 4_000_000),
    ],
)
def test_time_slices(cores: int, tick_ns: int, expected_ns: int) -> None:
    """0.7 ms times 1 + log2(cores), rounded down, for 8 cores at most; up to the next tick."""
    assert time_slice_ns(cores, tick_ns) == expected_ns


def test_the_default_is_a_host_of_many_cores() -> None:
    assert Machine().time_slice_ns == time_slice_ns(8)


def test_interference_leaves_some_of_the_core() -> None:
    most = Interference(per_s=1_000, duration_ns=[900_000, 1_099_999])
    assert most.share == pytest.approx(0.9999995)
    said = "per_s = 1000 times duration_ns, 1 ms on average, takes 100% of a core: it must be below"
    with pytest.raises(IosimError, match=said):
        Interference.of(per_s=1_000, duration_ns=[900_000, 1_100_000])
