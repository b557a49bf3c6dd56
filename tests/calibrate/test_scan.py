"""Calls that watch descriptors: what few of them say of many."""

from __future__ import annotations

import json

import numpy as np
import pytest

from iosim.caches import SCAN_BYTES, Caches
from iosim.calibrate.scan import MISS_PRIOR, fit_scan
from iosim.errors import IosimError

CACHES = Caches(1_000 * SCAN_BYTES, 20_000 * SCAN_BYTES)
COUNTS = [2**power for power in range(18)]


def scanning(count: int, miss_ns: float = 15) -> float:
    """A call of 900 ns that scans each descriptor for 12."""
    return 900 + count * (12 + miss_ns * CACHES.steps(count * SCAN_BYTES))


def told(count: int) -> float:
    """A call of 900 ns that looks at 100 descriptors, whatever else is watched."""
    return 900 + 100 * 15 * CACHES.steps(count * SCAN_BYTES)


def test_constants_of_a_call_that_scans() -> None:
    found = fit_scan(COUNTS, [scanning(count) for count in COUNTS], CACHES, fit_up_to=10**6)
    values = {name: estimate.value for name, estimate in found.constants.items()}
    assert values == pytest.approx({"call_ns": 900, "fd_ns": 12, "miss_ns": 15}, rel=1e-3)


def test_constants_of_a_call_that_is_told() -> None:
    measured = [told(count) for count in COUNTS]
    found = fit_scan(COUNTS, measured, CACHES, fit_up_to=10**6, reported=100)
    values = {name: estimate.value for name, estimate in found.constants.items()}
    assert values == pytest.approx({"call_ns": 900, "miss_ns": 15}, rel=1e-3)


def test_a_row_beyond_l2_tells_of_those_beyond_l3() -> None:
    """Where a straight line is off by far."""
    report = fit_scan(COUNTS, [scanning(count) for count in COUNTS], CACHES, 2_048).report()
    assert report["identified"] == {"call_ns": True, "fd_ns": True, "miss_ns": True}
    assert report["mean_relative_error_predicted"] < 0.01
    assert report["mean_relative_error_straight_line"] > 0.5


def test_rows_within_l2_leave_a_miss_to_its_prior() -> None:
    found = fit_scan(COUNTS, [scanning(count) for count in COUNTS], CACHES, fit_up_to=512)
    assert found.constants["miss_ns"].value == pytest.approx(MISS_PRIOR.median)
    assert not found.constants["miss_ns"].identified
    assert found.constants["fd_ns"].identified
    at_most = found.predicted_ns([100_000])[0]
    assert at_most == pytest.approx(scanning(100_000, miss_ns=MISS_PRIOR.median), rel=1e-3)


def test_report_adds_up_and_is_json() -> None:
    measured = [scanning(count) * (1.1 if count == 4_096 else 1) for count in COUNTS]
    report = fit_scan(COUNTS, measured, CACHES, fit_up_to=2_048).report()
    json.dumps(report, allow_nan=False)
    assert [row["count"] for row in report["rows"]] == COUNTS
    assert [row["fitted"] for row in report["rows"]] == [count <= 2_048 for count in COUNTS]
    for row in report["rows"]:
        error = row["predicted_ns"] / row["measured_ns"] - 1
        assert row["relative_error"] == pytest.approx(error, abs=1e-6)
    for fitted, name in ((True, "fitted"), (False, "predicted")):
        sizes = [abs(row["relative_error"]) for row in report["rows"] if row["fitted"] is fitted]
        assert report[f"mean_relative_error_{name}"] == pytest.approx(np.mean(sizes))


def test_one_row_is_met_and_tells_no_constant() -> None:
    """What nothing bounds is null in JSON."""
    report = fit_scan([10, 1_000], [5_000.0, 90_000.0], CACHES, fit_up_to=10).report()
    assert report["rows"][0]["relative_error"] == pytest.approx(0, abs=1e-6)
    assert not any(report["identified"].values())
    assert report["intervals"]["fd_ns"] == [0, None]


def test_nothing_left_to_predict() -> None:
    report = fit_scan([10, 100], [5_000.0, 9_000.0], CACHES, fit_up_to=100).report()
    assert report["mean_relative_error_predicted"] is None
    assert report["mean_relative_error_straight_line"] is None


def test_nothing_to_fit() -> None:
    with pytest.raises(IosimError, match=r"no row has 9 descriptors or fewer .*: the least is 10"):
        fit_scan([10, 100], [5_000.0, 9_000.0], CACHES, fit_up_to=9)
