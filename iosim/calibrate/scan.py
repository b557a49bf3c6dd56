"""What a call costs that watches descriptors: fitted to a few of them, predicted for many.

A call that looks at n of N descriptors takes

    call_ns + n * (fd_ns + miss_ns * steps(N * SCAN_BYTES))

with the steps beyond L2 of `iosim.caches`. select and poll look at all, n = N. A call that is told
which are ready, as of epoll and io_uring, looks at as many as it reports; what that costs in L2 is
part of its `call_ns`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from iosim.caches import SCAN_BYTES, Caches
from iosim.calibrate.fit import Array, Estimate, Prior, fit
from iosim.errors import IosimError

MISS_PRIOR = Prior(median=20, factor=2)
"""A load from L3 that others wait for takes 20 ns longer than one from L2 on current CPUs, give or
take a factor of two. Assumed; it decides only where no fitted row reaches beyond L2."""


@dataclass(frozen=True)
class ScanFit:
    """Measured calls, what was fitted to those with few descriptors, and a straight line for
    comparison, fitted in the same way to the same rows."""

    counts: npt.NDArray[np.int64]
    measured_ns: Array
    fit_up_to: int
    caches: Caches
    reported: int | None
    """How many descriptors a call looks at, or None if at all."""
    constants: dict[str, Estimate]
    line: dict[str, Estimate]

    @property
    def fitted(self) -> npt.NDArray[np.bool_]:
        """Which rows were fitted; the others are predicted."""
        return self.counts <= self.fit_up_to

    def predicted_ns(self, counts: npt.ArrayLike) -> Array:
        """What a call takes with so many descriptors."""
        return _call_ns(self.constants, _design(counts, self.caches, self.reported))

    def line_ns(self, counts: npt.ArrayLike) -> Array:
        """What the straight line says."""
        return _call_ns(self.line, _line(counts))

    def report(self) -> dict[str, Any]:
        """Constants, errors and rows as plain data; None for what is endless or has no rows."""
        fitted = self.fitted
        # Rounded, for what is fitted exactly to be 0 on every platform.
        error = np.round(self.predicted_ns(self.counts) / self.measured_ns - 1, 6)
        line_error = np.round(self.line_ns(self.counts) / self.measured_ns - 1, 6)
        return {
            "constants": {name: found.value for name, found in self.constants.items()},
            "intervals": {
                name: [found.low, found.high if np.isfinite(found.high) else None]
                for name, found in self.constants.items()
            },
            "identified": {name: found.identified for name, found in self.constants.items()},
            "mean_relative_error_fitted": _mean_size(error[fitted]),
            "mean_relative_error_predicted": _mean_size(error[~fitted]),
            "mean_relative_error_straight_line": _mean_size(line_error[~fitted]),
            "rows": [
                {
                    "count": int(count),
                    "measured_ns": float(measured_ns),
                    "predicted_ns": float(measured_ns * (1 + error)),
                    "relative_error": float(error),
                    "straight_line_relative_error": float(line_error),
                    "fitted": bool(fitted),
                }
                for count, measured_ns, error, line_error, fitted in zip(
                    self.counts, self.measured_ns, error, line_error, fitted, strict=True
                )
            ],
        }


def fit_scan(
    counts: Sequence[int],
    measured_ns: Sequence[float],
    caches: Caches,
    fit_up_to: int,
    reported: int | None = None,
) -> ScanFit:
    """Fit the rows of at most `fit_up_to` descriptors; see `ScanFit` for the arguments."""
    count, measured = np.asarray(counts, np.int64), np.asarray(measured_ns, float)
    few = count <= fit_up_to
    if not few.any():
        raise IosimError(
            f"no row has {fit_up_to} descriptors or fewer to be fitted: the least is {count.min()}"
        )
    design = _design(count[few], caches, reported)
    names = ["call_ns", "miss_ns"] if reported else ["call_ns", "fd_ns", "miss_ns"]
    return ScanFit(
        count,
        measured,
        fit_up_to,
        caches,
        reported,
        constants=fit(names, design, measured[few], {"miss_ns": MISS_PRIOR}),
        line=fit(["call_ns", "fd_ns"], _line(count[few]), measured[few]),
    )


def _design(counts: npt.ArrayLike, caches: Caches, reported: int | None) -> Array:
    watched = np.asarray(counts, np.int64)
    steps = np.array([caches.steps(int(count) * SCAN_BYTES) for count in watched])
    if reported:
        return np.column_stack([np.ones_like(steps), reported * steps])
    return np.column_stack([np.ones_like(steps), watched, watched * steps])


def _line(counts: npt.ArrayLike) -> Array:
    watched = np.asarray(counts, float)
    return np.column_stack([np.ones_like(watched), watched])


def _call_ns(constants: dict[str, Estimate], design: Array) -> Array:
    call_ns: Array = design @ [found.value for found in constants.values()]
    return call_ns


def _mean_size(errors: Array) -> float | None:
    return float(np.abs(errors).mean()) if errors.size else None
