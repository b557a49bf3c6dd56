"""The robust fit: finds what rows were made from, says how well, and when it cannot know."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.calibrate.fit import NOISE, Prior, fit

NAMES = ["call_ns", "fd_ns", "miss_ns"]
TRUTH = np.array([800.0, 12.0, 18.0])
PRIOR = {"miss_ns": Prior(median=20, factor=2)}


def rows(counts: list[int], all_stay_below: int = 1_000) -> npt.NDArray[np.float64]:
    """A call, what is paid for each descriptor, and for each that is beyond a limit."""
    count = np.array(counts, float)
    return np.column_stack([np.ones_like(count), count, np.maximum(0, count - all_stay_below)])


FEW = rows([1, 3, 10, 30, 100, 300, 1_000])
"""None of these reaches beyond the limit: they do not say what a miss costs."""
MANY = rows([1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000])


def noisy(design: npt.NDArray[np.float64], truth: npt.ArrayLike, noise: float, seed: int) -> object:
    return design @ np.asarray(truth) * np.random.default_rng(seed).normal(1, noise, len(design))


def test_rows_without_noise_give_the_constants_back() -> None:
    found = fit(NAMES, MANY, MANY @ TRUTH)
    assert list(found) == NAMES
    assert [estimate.value for estimate in found.values()] == pytest.approx(TRUTH, rel=1e-6)
    for estimate in found.values():
        assert estimate.identified
        assert estimate.low == pytest.approx(estimate.high, rel=1e-3)


def test_rows_that_agree_perfectly() -> None:
    found = fit(["call_ns"], [[1.0], [1.0], [1.0]], [640.0, 640.0, 640.0])["call_ns"]
    assert found.value == pytest.approx(640)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.1])
@pytest.mark.parametrize("priors", [{}, PRIOR], ids=["no prior", "prior"])
def test_intervals_cover_the_truth(noise: float, priors: dict[str, Prior]) -> None:
    """In 95 of 100 trials; of 200 at least 180, which chance falls short of once in 500 tests."""
    trials = 200
    covered = np.zeros(len(NAMES))
    for seed in range(trials):
        found = fit(NAMES, MANY, noisy(MANY, TRUTH, noise, seed), priors)
        covered += [e.low <= true <= e.high for e, true in zip(found.values(), TRUTH, strict=True)]
    assert (covered >= 180).all()


@pytest.mark.parametrize("design", [MANY[:4], MANY[3:6]], ids=["one to spare", "none to spare"])
def test_intervals_of_few_rows_cover_the_truth(design: npt.NDArray[np.float64]) -> None:
    names, truth, trials = NAMES[:2], TRUTH[:2], 200
    covered = np.zeros(2)
    for seed in range(trials):
        found = fit(names, design[:, :2], noisy(design[:, :2], truth, NOISE, seed))
        covered += [e.low <= true <= e.high for e, true in zip(found.values(), truth, strict=True)]
    assert (covered >= 180).all()


def test_the_interval_of_a_prior_covers_the_truth_where_rows_say_nothing() -> None:
    """The truth is drawn from the prior."""
    draw = np.random.default_rng(1)
    covered = 0
    for seed in range(200):
        truth = TRUTH * [1, 1, 2 ** draw.normal()]
        found = fit(NAMES, FEW, noisy(FEW, truth, NOISE, seed), PRIOR)["miss_ns"]
        covered += found.low <= truth[2] <= found.high
    assert covered >= 180


def test_more_noise_makes_wider_intervals() -> None:
    widths = []
    for noise in (0.01, 0.03, 0.1):
        found = fit(NAMES, MANY, noisy(MANY, TRUTH, noise, seed=1))
        widths.append(np.array([e.high - e.low for e in found.values()]))
    assert (widths[0] < widths[1]).all()
    assert (widths[1] < widths[2]).all()


def test_a_disturbed_row_pulls_little() -> None:
    """One row in ten took three times as long, which pulls least squares away."""
    disturbed = MANY @ TRUTH * np.where(np.arange(len(MANY)) == 5, 3, 1)
    found = np.array([estimate.value for estimate in fit(NAMES, MANY, disturbed).values()])
    relative = MANY / disturbed[:, None]
    squares = np.linalg.lstsq(relative, np.ones(len(MANY)), rcond=None)[0]
    assert abs(squares / TRUTH - 1).max() > 0.1
    assert abs(found / TRUTH - 1).max() < 0.02


@given(st.lists(st.floats(1e-3, 1e9), min_size=len(MANY), max_size=len(MANY)))
def test_constants_are_never_negative(measured: list[float]) -> None:
    for estimate in fit(NAMES, MANY, measured, PRIOR).values():
        assert 0 <= estimate.low <= estimate.value <= estimate.high


def test_a_constant_that_costs_nothing_is_known_to() -> None:
    found = fit(NAMES, MANY, noisy(MANY, [800, 0, 18], 0.02, seed=1))["fd_ns"]
    assert found.low == 0
    assert found.high < 0.5
    assert found.identified


def test_rows_that_say_nothing_leave_a_constant_to_its_prior() -> None:
    found = fit(NAMES, FEW, noisy(FEW, TRUTH, 0.02, seed=1), PRIOR)
    assert [estimate.identified for estimate in found.values()] == [True, True, False]
    miss = found["miss_ns"]
    # A normal logarithm is within 1.96 standard deviations, here factors of two.
    assert miss.value == pytest.approx(20, rel=1e-3)
    assert miss.low == pytest.approx(20 / 2**1.96, rel=1e-3)
    assert miss.high == pytest.approx(20 * 2**1.96, rel=1e-3)


def test_rows_that_say_enough_overrule_a_prior() -> None:
    far_off = {"miss_ns": Prior(median=1_000, factor=2)}
    found = fit(NAMES, MANY, noisy(MANY, TRUTH, 0.02, seed=1), far_off)["miss_ns"]
    assert found.identified
    assert found.value == pytest.approx(18, rel=0.1)


def test_a_prior_decides_as_long_as_it_knows_better() -> None:
    """A single row that hardly reaches beyond the limit says something, but less than the prior;
    the further it reaches, the more it says, and the narrower is the interval."""
    told, widths = [], []
    for last in (1_001, 1_010, 1_500, 3_000):
        design = np.vstack([FEW, rows([last])])
        found = fit(NAMES, design, noisy(design, TRUTH, 0.02, seed=1), PRIOR)["miss_ns"]
        told.append(found.identified)
        widths.append(found.high / found.low)
    assert told == [False, False, True, True]
    assert widths == sorted(widths, reverse=True)


def test_constants_that_only_occur_together_are_not_identified() -> None:
    """Without a prior: a change of one can be made up for by the other in all rows."""
    design = np.column_stack([FEW, 2 * FEW[:, 1]])[:, [0, 1, 3]]
    found = fit(["call_ns", "fd_ns", "twin_ns"], design, FEW @ TRUTH)
    assert [estimate.identified for estimate in found.values()] == [True, False, False]
    together = found["fd_ns"].value + 2 * found["twin_ns"].value
    assert together == pytest.approx(12, rel=1e-3)
    assert found["twin_ns"].high == math.inf


def test_fewer_rows_than_constants() -> None:
    """They are met, by shares above zero, and none is said to be known."""
    design = rows([100])
    found = fit(NAMES, design, [2_000.0], PRIOR)
    assert not any(estimate.identified for estimate in found.values())
    assert all(estimate.value > 0 for estimate in found.values())
    values = [estimate.value for estimate in found.values()]
    assert design @ values == pytest.approx([2_000])
    assert found["miss_ns"].value == pytest.approx(20)


def test_units_do_not_matter() -> None:
    """In seconds instead of nanoseconds: the same, a billionth of it."""
    measured = np.asarray(noisy(MANY, TRUTH, 0.03, seed=2))
    in_ns = fit(NAMES, MANY, measured, PRIOR)
    in_s = fit(NAMES, MANY, measured / 1e9, {"miss_ns": Prior(20e-9, 2)})
    for ns, s in zip(in_ns.values(), in_s.values(), strict=True):
        assert s.value * 1e9 == pytest.approx(ns.value, rel=1e-4)
        assert s.high * 1e9 == pytest.approx(ns.high, rel=1e-3)
        assert s.identified == ns.identified
