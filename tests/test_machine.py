"""What a machine is by default, and what follows from its host."""

from __future__ import annotations

import pytest

from iosim.machine import Machine, time_slice_ns


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
