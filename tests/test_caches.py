"""What falls out of the caches: the law, against Lambert's W and against a cache played through."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import lambertw

from iosim.caches import MEMORY_STEPS, Caches, miss_share
from iosim.errors import IosimError

SIZES = st.integers(1, 2**50)


@given(SIZES, SIZES)
@example(2**40 + 1, 2**40)
@example(2**50, 1)
def test_it_is_a_share_and_none_while_everything_fits(working_set: int, cache: int) -> None:
    share = miss_share(working_set, cache)
    assert share == 0 if working_set <= cache else 0 < share <= 1


@given(st.floats(1.001, 1e6))
def test_share_in_closed_form(x: float) -> None:
    cache = 2**40
    working_set = round(x * cache)
    x = working_set / cache
    expected = 1 + lambertw(-x * math.exp(-x)).real / x
    assert miss_share(working_set, cache) == pytest.approx(expected, abs=1e-9)


@given(SIZES, SIZES, SIZES)
def test_more_data_misses_more_and_a_larger_cache_less(one: int, other: int, third: int) -> None:
    small, middle, large = sorted((one, other, third))
    # Just beyond the cache's size rounding shows.
    assert miss_share(middle, small) <= miss_share(large, small) + 1e-6
    assert miss_share(large, middle) <= miss_share(large, small) + 1e-6


def test_share_is_the_same_on_every_platform() -> None:
    """To the last bit: these are not computed by the mathematical library."""
    shares = [miss_share(size, 1_000) for size in (1_001, 1_500, 2_000, 5_000, 100_000)]
    assert [share.hex() for share in shares] == [
        "0x1.05cb7c8995978p-9",
        "0x1.2a6649ac433edp-1",
        "0x1.97f7c26efbeb1p-1",
        "0x1.fc6d7d927f925p-1",
        "0x1.0000000000000p+0",
    ]


@pytest.mark.parametrize("x", [1.1, 1.5, 2.0, 4.0])
def test_a_cache_that_replaces_at_random_misses_that_share(x: float) -> None:
    """Played through, line by line. With 1000 lines, chance moves a round's share by about 0.02 and
    the mean of 200 rounds by little; the law is for endlessly many lines."""
    lines, rounds, warm_up = 1_000, 250, 50
    data = round(x * lines)
    place_of = np.full(data, -1)
    holds = np.full(lines, -1)
    misses = 0
    victims = iter(np.random.default_rng(1).integers(lines, size=rounds * data).tolist())
    for number in range(rounds):
        for line in range(data):
            if place_of[line] < 0:
                misses += number >= warm_up
                victim = next(victims)
                if holds[victim] >= 0:
                    place_of[holds[victim]] = -1
                holds[victim], place_of[line] = line, victim
    share = misses / data / (rounds - warm_up)
    assert share == pytest.approx(miss_share(data, lines), abs=0.01)


def test_steps_lead_from_l2_to_l3_to_memory() -> None:
    caches = Caches(2**20, 2**24)
    sizes = [2**power for power in range(10, 36)]
    steps = [caches.steps(size) for size in sizes]
    assert all(fewer <= more for fewer, more in pairwise(steps))
    assert steps[0] == 0
    assert caches.steps(2**23) == pytest.approx(1, abs=1e-3)
    assert steps[-1] == 1 + MEMORY_STEPS


@given(SIZES, SIZES)
def test_without_l3_a_miss_goes_all_the_way_to_memory(working_set: int, l2: int) -> None:
    every_step = (1 + MEMORY_STEPS) * miss_share(working_set, l2)
    assert Caches(l2).steps(working_set) == pytest.approx(every_step)


def test_sizes_as_users_write_them() -> None:
    assert Caches.of("1.25MiB", "24MiB") == Caches(1_310_720, 25_165_824)
    assert Caches.of("512KiB") == Caches.of(524_288, "0") == Caches(524_288)
    assert str(Caches.of("1.25MiB", "24MiB")) == "L2 1.25 MiB, L3 24 MiB"
    assert str(Caches.of("512KiB")) == "L2 512 KiB, no L3"


@pytest.mark.parametrize(
    ("l2", "l3", "said"),
    [
        ("0", "0", "L2 cache of 0 bytes: give the size that one core has"),
        ("2MiB", "1MiB", "L3 cache of 1 MiB beside an L2 of 2 MiB: L3 is at least as large"),
        ("-1MiB", "0", "'-1MiB' is not a size: it must not be negative"),
        ("big", "0", "'big' is not a size"),
        ("1MiB", "-1", "'-1' is not a size"),
    ],
)
def test_caches_that_no_cpu_has(l2: str, l3: str, said: str) -> None:
    with pytest.raises(IosimError, match=said):
        Caches.of(l2, l3)
