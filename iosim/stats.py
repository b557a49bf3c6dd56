"""How far two distributions are apart, how sure an error is, and whether two orders agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

_Item = TypeVar("_Item")
_Values = npt.NDArray[Any]

_SEED = 1


def demerit(simulated: _Values, real: _Values) -> float:
    """The relative demerit: how far the two distribution curves lie apart horizontally, as root
    mean square over all probabilities, relative to the mean of the real values.

    C. Ruemmler and J. Wilkes, "An introduction to disk drive modeling", IEEE Computer 27(3), 1994.
    It is exact for the steps of the two empirical curves, also where the numbers of values differ:
    with equal numbers it is the root mean square of the differences between the values in order.
    """
    ordered, reference = np.sort(simulated), np.sort(real)
    # Curves of n and m values step at multiples of 1/n and 1/m; counted in units of 1 / nm here.
    n, m = len(ordered), len(reference)
    ends = np.sort(np.concatenate([np.arange(1, n + 1) * m, np.arange(1, m + 1) * n]))
    distances = ordered[(ends - 1) // m] - reference[(ends - 1) // n].astype(np.float64)
    mean_square = np.average(distances**2, weights=np.diff(ends, prepend=0))
    return float(math.sqrt(mean_square) / reference.mean())


def ks(one: _Values, other: _Values) -> float:
    """The Kolmogorov-Smirnov distance: how far the two distribution curves lie apart vertically
    where they do most, from 0 for equal ones to 1 for two that do not overlap.

    W. J. Conover, "Practical Nonparametric Statistics", 3rd ed. 1999, section 6.3. Only the
    distance: requests of one run wait for each other, so that a p-value would mean nothing.
    """
    one, other = np.sort(one), np.sort(other)
    at = np.sort(np.concatenate([one, other]))
    shares = (np.searchsorted(values, at, side="right") / len(values) for values in (one, other))
    return float(np.abs(np.subtract(*shares)).max())


def interval(
    statistic: Callable[[Sequence[_Item], Sequence[_Item]], float],
    simulated: Sequence[_Item],
    real: Sequence[_Item],
    draws: int = 2_000,
) -> tuple[float, float]:
    """A 95 % bootstrap interval of a statistic of simulated and real runs (percentile method).

    B. Efron and R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13. Whole runs
    are drawn, with replacement and from a fixed seed. Requests within a run are not, since they
    share queues and disturbances: drawing them as if they were independent would make the interval
    too narrow.

    With few runs it promises little. Of three runs it is about the range of what they say, and the
    range of three values holds the median of all possible ones with a probability of
    1 - 2 / 2**3 = 75 %; it takes six runs to get beyond 95 %. A disturbance that none of the runs
    met is in no interval. A maximum, as the noise is, cannot be bootstrapped (section 7.4).
    """
    generator = np.random.default_rng(_SEED)

    def draw(count: int) -> tuple[int, ...]:
        return tuple(sorted(generator.integers(count, size=count).tolist()))

    # Few runs can be drawn in few ways: each is computed once.
    drawn = Counter((draw(len(simulated)), draw(len(real))) for _ in range(draws))
    values = [
        statistic([simulated[i] for i in ours], [real[i] for i in theirs]) for ours, theirs in drawn
    ]
    low, high = np.quantile(np.repeat(values, list(drawn.values())), [0.025, 0.975])
    return float(low), float(high)


def kendall(simulated: Sequence[float], real: Sequence[float]) -> float | None:
    """Kendall's tau-b of two rankings of the same things: 1 for equal orders, -1 for opposite ones;
    None where there is no order, as of fewer than two things or of equal ones.

    M. G. Kendall, "The treatment of ties in ranking problems", Biometrika 33(3), 1945.
    """
    from scipy.stats import kendalltau

    if len(set(simulated)) < 2 or len(set(real)) < 2:
        return None
    return float(kendalltau(simulated, real).statistic)


@dataclass(frozen=True)
class Winner:
    """Whether the simulation names the same best as reality; the least is the best."""

    simulated: str
    real: str
    gap: float
    """How much more the second best takes in reality, relative to the best."""
    noise: float
    """The larger of the noises of these two."""

    @property
    def agrees(self) -> bool | None:
        """None if the gap is within the noise: there is no winner then."""
        return self.simulated == self.real if self.gap > self.noise else None


def winner(
    simulated: Mapping[str, float], real: Mapping[str, float], noise: Mapping[str, float]
) -> Winner | None:
    """The winners by figures of the same names; None if there are fewer than two, or if the noise
    of the two best is not known."""
    if len(real) < 2:
        return None
    best, second = sorted(real, key=lambda name: real[name])[:2]
    if best not in noise or second not in noise:
        return None
    return Winner(
        simulated=min(simulated, key=lambda name: simulated[name]),
        real=best,
        gap=real[second] / real[best] - 1,
        noise=max(abs(noise[best]), abs(noise[second])),
    )
