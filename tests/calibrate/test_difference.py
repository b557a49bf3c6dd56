"""Two profiles side by side."""

from __future__ import annotations

import pytest

from iosim.calibrate import difference
from iosim.calibrate.difference import Difference
from iosim.costs import ABOUT, Cost, CostProfile

NATIVE, PYTHON = (CostProfile.shipped(name) for name in ("native", "python"))


def test_a_profile_does_not_differ_from_itself() -> None:
    for one in difference.costs(PYTHON, PYTHON).values():
        assert (one.ratio, one.notable) == (1 if one.a else None, False)
    for parts in difference.wakeups(PYTHON, PYTHON).values():
        assert not any(one.notable for one in parts.values())
    assert difference.hosts(PYTHON, PYTHON) == {}


def test_every_cost_is_compared_and_ratios_turn_round_with_the_profiles() -> None:
    there, back = difference.costs(NATIVE, PYTHON), difference.costs(PYTHON, NATIVE)
    assert list(there) == list(back) == list(ABOUT)
    for name, one in there.items():
        assert one.a == NATIVE.costs[name].value
        assert one.b == PYTHON.costs[name].value
        if one.a and one.b:
            assert one.ratio * back[name].ratio == pytest.approx(1)
        assert one.notable == back[name].notable


def test_more_than_ten_percent_is_notable_either_way() -> None:
    for ratio, notable in ((1.11, True), (1.09, False), (1 / 1.09, False), (1 / 1.11, True)):
        for a in (1e-3, 1.0, 7e9):
            assert Difference(a, a * ratio).notable is notable


def test_from_nothing_to_something_has_no_ratio() -> None:
    assert (Difference(0, 5).ratio, Difference(0, 5).notable) == (None, True)
    assert (Difference(0, 0).ratio, Difference(0, 0).notable) == (None, False)


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        ((90, 110), (111, 120), True),
        ((111, 120), (90, 110), True),
        ((90, 110), (110, 120), False),
        ((90, 110), (95, 100), False),
        ((90, 110), None, None),
        (None, None, None),
    ],
)
def test_intervals_apart(
    one: tuple[float, float] | None, other: tuple[float, float] | None, apart: bool | None
) -> None:
    profiles = [
        NATIVE.model_copy(
            update={
                "costs": NATIVE.costs
                | {"recv_ns": Cost(value=100, source="measured", interval=interval)}
            }
        )
        for interval in (one, other)
    ]
    assert difference.costs(*profiles)["recv_ns"].apart is apart


def test_hosts_differ_in_what_one_of_them_does_not_say_too() -> None:
    one, other = (
        NATIVE.model_copy(update={"host": host})
        for host in ({"cpu": "x", "cores": 2, "kernel": "6"}, {"cpu": "x", "cores": 4, "l2": 1})
    )
    assert difference.hosts(one, other) == {"cores": (2, 4), "kernel": ("6", None), "l2": (None, 1)}


def test_wakeups_are_read_between_rows() -> None:
    """A third of the way from 20 to 200 us is 80 us; the native profile has p50 2000 and 3500."""
    idle_ns = [row.idle_ns for row in NATIVE.wakeup]
    assert idle_ns == [0, 20_000, 200_000, 2_000_000]
    at_60 = difference.wakeups(NATIVE, PYTHON)[60_000]["p50_ns"]
    assert at_60.a == pytest.approx(2000 + (60 - 20) / 180 * 1500)
