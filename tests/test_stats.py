"""Distances, intervals and orders: values worked out by hand, and laws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.stats import demerit, interval, kendall, ks, winner

VALUES = st.lists(st.integers(1, 10**9), min_size=1, max_size=30).map(np.array)


# --- distances -------------------------------------------------------------------------------


def test_demerit_by_hand() -> None:
    """In order 1, 2, 6 against 2, 4, 6: distances 1, 2, 0."""
    assert demerit(np.array([6, 1, 2]), np.array([2, 4, 6])) == pytest.approx(math.sqrt(5 / 3) / 4)


def test_demerit_of_different_numbers_by_hand() -> None:
    """One value, 3, against 2 and 6: the curves lie 1 apart for one half and 3 for the other."""
    assert demerit(np.array([3]), np.array([2, 6])) == pytest.approx(math.sqrt((1 + 9) / 2) / 4)
    # 0, 3 against 1, 2, 3: steps at 1/3, 1/2, 2/3; apart by 1, 2, 1, 0.
    expected = math.sqrt(1 / 3 + 4 / 6 + 1 / 6) / 2
    assert demerit(np.array([0, 3]), np.array([1, 2, 3])) == pytest.approx(expected)


@given(VALUES, st.integers(1, 5))
def test_demerit_of_equal_curves_is_0(values: np.ndarray, times: int) -> None:
    assert demerit(np.tile(values, times), values[::-1]) == 0


@given(VALUES, st.integers(0, 10**9))
def test_demerit_of_a_shift_is_the_shift_over_the_mean(values: np.ndarray, shift: int) -> None:
    assert demerit(values + shift, values) == pytest.approx(shift / values.mean())


@given(VALUES, VALUES, st.integers(1, 1000))
def test_distances_know_no_unit(one: np.ndarray, other: np.ndarray, unit: int) -> None:
    assert demerit(one * unit, other * unit) == pytest.approx(demerit(one, other))
    assert ks(one * unit, other * unit) == ks(one, other)


@given(VALUES, VALUES)
def test_demerit_is_at_least_the_error_of_the_mean(one: np.ndarray, other: np.ndarray) -> None:
    """A root mean square is at least the mean."""
    assert demerit(one, other) >= abs(one.mean() / other.mean() - 1) - 1e-9


def test_ks_by_hand() -> None:
    assert ks(np.array([1, 2, 3, 4]), np.array([3, 4, 5, 6])) == 0.5
    assert ks(np.array([1, 1]), np.array([1, 2, 2, 2])) == 0.75
    assert ks(np.array([1, 2]), np.array([3])) == 1


@given(VALUES, VALUES)
def test_ks_is_a_distance(one: np.ndarray, other: np.ndarray) -> None:
    assert ks(one, one) == 0
    assert 0 <= ks(one, other) == ks(other, one) <= 1
    below = [abs((one <= at).mean() - (other <= at).mean()) for at in (*one, *other)]
    assert ks(one, other) == pytest.approx(max(below))


# --- intervals -------------------------------------------------------------------------------


def error(simulated: list[float], real: list[float]) -> float:
    return float(np.median(simulated) / np.median(real) - 1)


def test_interval_of_three_runs_is_their_range() -> None:
    """A median of three is the least in 7 of 27 draws, so 2.5 % lies among those."""
    assert interval(error, [12.0], [10.0, 12.0, 16.0]) == pytest.approx((12 / 16 - 1, 12 / 10 - 1))


def test_interval_of_equal_runs_is_a_point() -> None:
    assert interval(error, [11.0] * 3, [10.0] * 3) == pytest.approx((0.1, 0.1))


def test_interval_of_means_is_as_wide_as_theory_says() -> None:
    """A bootstrapped mean of n values is spread by their standard deviation over the root of n. Of
    2,000 draws the quantile of 2.5 % has a standard error of sqrt(0.025 * 0.975 / 2000) / 0.058 =
    0.06 of that, 3 % of the half width: four of them are allowed."""
    values = np.random.default_rng(1).normal(100, 10, 400).tolist()
    low, high = interval(lambda _, real: float(np.mean(real)), [0.0], values)
    half = 1.96 * np.std(values) / math.sqrt(len(values))
    assert low == pytest.approx(np.mean(values) - half, abs=0.12 * half)
    assert high == pytest.approx(np.mean(values) + half, abs=0.12 * half)


@pytest.mark.parametrize("real", [[3.0, 9.0], [5.0, 1.0, 4.0, 4.5, 8.0]])
def test_interval_is_the_same_again(real: list[float]) -> None:
    first = interval(error, [5.0, 6.0], real)
    assert first == interval(error, [5.0, 6.0], real)
    assert first[0] < first[1]


# --- orders ----------------------------------------------------------------------------------


def test_tau_by_hand() -> None:
    """Of six pairs five are in the same order: (5 - 1) / 6. A tie takes from both roots of tau-b:
    five pairs agree and one is tied in one ranking, 5 / sqrt(5 * 6)."""
    assert kendall([1, 2, 4, 3], [1, 2, 3, 4]) == pytest.approx(4 / 6)
    assert kendall([1, 2, 3, 3], [1, 2, 3, 4]) == pytest.approx(5 / math.sqrt(30))


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=20, unique=True))
def test_tau_of_equal_and_opposite_orders(values: list[int]) -> None:
    assert kendall([3 * value for value in values], values) == pytest.approx(1)
    assert kendall([-value for value in values], values) == pytest.approx(-1)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0]])
def test_no_order_no_tau(values: list[float]) -> None:
    assert kendall(values, values) is None


REAL = {"epoll": 10.0, "poll": 12.0, "select": 20.0}


@pytest.mark.parametrize(
    ("simulated_best", "noise", "agrees"),
    [("epoll", 0.1, True), ("poll", 0.1, False), ("epoll", 0.2, None), ("poll", -0.3, None)],
)
def test_winner(simulated_best: str, noise: float, agrees: bool | None) -> None:
    """The second takes 20 % more; the noise of the last does not matter."""
    found = winner(REAL | {simulated_best: 1.0}, REAL, {"epoll": 0.01, "poll": noise, "select": 9})
    assert found is not None
    assert (found.real, found.simulated, found.agrees) == ("epoll", simulated_best, agrees)
    assert found.gap == pytest.approx(0.2)
    assert found.noise == abs(noise)


def test_no_winner_without_a_second_or_without_noise() -> None:
    assert winner({"epoll": 1.0}, {"epoll": 1.0}, {"epoll": 0.1}) is None
    assert winner(REAL, REAL, {"select": 0.1, "poll": 0.1}) is None
