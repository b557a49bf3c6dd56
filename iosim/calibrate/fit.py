"""Constants from measurements that are linear in them: robust, never negative, with intervals.

A row of the design says how often each constant goes into a measurement: 1 * call_ns + 480 * fd_ns
is what a poll of 480 descriptors takes. The fit minimises relative errors, since rows from ten
descriptors to a hundred thousand shall count alike; of an error well above `NOISE` it counts the
size, not the square, so that a disturbed row pulls little (the loss soft_l1 of scipy).

An interval comes from the slopes of the errors at the fit (the Jacobian). Their scatter is Huber's
estimate for robust regression, widened as Student's t demands for few rows; with no more rows than
constants the rows cannot tell it, and `NOISE` is assumed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

NOISE = 0.05
"""The relative error that a measurement is taken to have."""

_95 = 1.959964
"""A normal variable is within so many standard deviations with probability 95 %."""


@dataclass(frozen=True, slots=True)
class Prior:
    """What is known of a constant before any measurement: `median`, give or take a `factor`.

    Its logarithm is normal, and `factor` is one standard deviation of it.
    """

    median: float
    factor: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the fit says of one constant."""

    value: float
    low: float
    high: float
    """The 95 % interval; endless if neither rows nor prior bound it."""
    identified: bool
    """Whether the rows alone, all other constants unknown, tell it better than its prior does; of a
    constant without a prior, whether they tell it at all: not if other constants can make up for
    any change of it in all rows."""


def fit(
    names: Sequence[str],
    design: npt.ArrayLike,
    measured: npt.ArrayLike,
    priors: Mapping[str, Prior] | None = None,
) -> dict[str, Estimate]:
    """The constants of these names, one for each column of the design; measured values are
    positive."""
    from scipy.optimize import least_squares

    rows = np.asarray(design, float) / np.asarray(measured, float)[:, None] / NOISE
    median, trust = np.ones(len(names)), np.zeros(len(names))
    for name, prior in (priors or {}).items():
        column = names.index(name)
        median[column], trust[column] = prior.median, 1 / math.log(prior.factor)
    start = np.where(trust, median, _shares(rows))

    # The unknowns are multiples of the start, so that units do not matter.
    def errors(multiples: Array) -> Array:
        constants = start * multiples
        return np.append(rows @ constants - 1 / NOISE, trust * np.log(constants / median))

    def slopes(multiples: Array) -> Array:
        return np.vstack([rows * start, np.diag(trust / multiples)])

    result = least_squares(
        errors,
        np.ones(len(names)),
        slopes,
        bounds=(0, np.inf),
        loss="soft_l1",
        ftol=1e-12,
        xtol=1e-12,
        gtol=1e-12,
    )
    values = start * np.where(result.active_mask < 0, 0, result.x)
    rows /= _scatter(rows @ values - 1 / NOISE, int(np.linalg.matrix_rank(rows)))
    # Of a prior: a constant with one is above zero, as its logarithm is.
    believed = np.divide(trust, values, out=np.zeros_like(trust), where=trust > 0)
    told = _information(rows)
    known = _information(np.vstack([rows, np.diag(believed)]))
    estimates = {}
    for column, name in enumerate(names):
        value = float(values[column])
        within = _95 / math.sqrt(known[column]) if known[column] else math.inf
        if trust[column]:
            low, high = value * math.exp(-within / value), value * math.exp(within / value)
        else:
            low, high = max(0.0, value - within), value + within
        identified = bool(told[column] > believed[column] ** 2)
        estimates[name] = Estimate(value, low, high, identified)
    return estimates


def _shares(rows: Array) -> Array:
    """An equal share for each constant in the row that bounds it most; 1 if it is in none."""
    most: Array = rows.max(axis=0)
    most[most == 0] = 1 / NOISE / len(most)
    return 1 / NOISE / len(most) / most


def _scatter(residuals: Array, rank: int) -> float:
    """Standard deviation of the residuals, so large that a normal interval covers as Student's t
    does: Huber, Robust Statistics, section 7.6."""
    from scipy.stats import t

    freedom = len(residuals) - rank
    if freedom <= 0:
        return 1.0
    slope = residuals / np.sqrt(1 + residuals**2)
    curvature = (1 + residuals**2) ** -1.5
    mean = curvature.mean()
    few = 1 + rank / len(residuals) * curvature.var() / mean**2
    scatter = few * math.sqrt(slope @ slope / freedom) / mean
    # Rows may agree perfectly by chance.
    return max(1e-6, float(scatter * t.ppf(0.975, freedom) / _95))


def _information(rows: Array) -> Array:
    """For each column the inverse variance of its constant with all others unknown: the square of
    what of the column the others cannot imitate."""
    information = np.zeros(rows.shape[1])
    for column in range(rows.shape[1]):
        own, others = rows[:, column], np.delete(rows, column, axis=1)
        rest = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        if np.linalg.norm(rest) > 1e-9 * np.linalg.norm(own):
            information[column] = rest @ rest
    return information
