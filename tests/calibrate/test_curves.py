"""Samples as they are read back, and the curves that they lie on."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from calibrated import PASSES, calibrated

from iosim.calibrate import predicted
from iosim.calibrate.bench import BATCH, BENCHMARKS, CHECKS
from iosim.calibrate.benchmarks.readiness import COUNTS
from iosim.calibrate.benchmarks.sockets import SIZES_BYTES
from iosim.calibrate.cache import samples_path
from iosim.calibrate.curves import Curve, copies, scans
from iosim.calibrate.estimate import typical
from iosim.calibrate.samples import Samples
from iosim.costs import CostProfile
from iosim.errors import IosimError

NATIVE = CostProfile.shipped("native")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[CostProfile, Samples]:
    path = tmp_path_factory.mktemp("calibrated") / "p.json"
    return calibrated(path), Samples.load(samples_path(path))


def test_samples_hold_all_passes(measured: tuple[CostProfile, Samples]) -> None:
    _, samples = measured
    # Nothing puts anything out of the caches of a simulated machine.
    noting = set(BENCHMARKS) - CHECKS - {"beyond_caches"}
    assert {row.benchmark for row in samples.rows} == noting
    names = [(row.benchmark, row.about) for row in samples.rows]
    assert len(names) == len(set(names))
    (getppid,) = (row for row in samples.rows if row.benchmark == "system_call")
    assert len(getppid.values) == PASSES * 2


def test_every_row_is_the_sum_of_its_costs(measured: tuple[CostProfile, Samples]) -> None:
    """The fit's own errors are below the noise of single measurements, 2 %, several times over."""
    profile, samples = measured
    for row in samples.rows:
        if row.expected:
            assert typical(row.values) == pytest.approx(
                predicted(row.expected, profile.costs, profile.caches), rel=0.1
            ), (row.benchmark, row.about)


def points(curve: Curve) -> list[int]:
    return [point.size for point in curve.points]


def test_points_are_what_was_measured_and_lie_on_their_curves(
    measured: tuple[CostProfile, Samples],
) -> None:
    profile, samples = measured
    curves = scans(profile, samples.rows)
    assert list(curves) == ["select", "poll", "epoll_wait"]
    for kind in ("select", "poll"):
        first, last = curves[kind]
        assert points(first) == list(COUNTS)
        assert points(last) == list(COUNTS[1:])
    one, so_many = curves["epoll_wait"]
    assert points(one) == [BATCH]
    assert points(so_many) == [1, 8, BATCH]
    recv = copies(profile, samples.rows)
    assert points(recv) == list(SIZES_BYTES)
    for curve in (*curves["select"], *curves["poll"], one, so_many, recv):
        for point in curve.points:
            assert point.low_ns <= point.median_ns <= point.high_ns
            assert curve.ns(point.size) == pytest.approx(point.median_ns, rel=0.1)


def test_curves_by_hand() -> None:
    """Ten descriptors and 4 KiB stay in L2; without samples there are no points."""
    curves = scans(NATIVE, ())
    ns = {call: [curve.ns(10) for curve in of_call] for call, of_call in curves.items()}
    assert ns["poll"] == pytest.approx([20 + 88 + 388, 20 + 88 + 388 + 9 * 20])
    assert ns["select"] == pytest.approx([498, 498 + 9 * 20])
    assert ns["epoll_wait"] == pytest.approx([20 + 250 + 50, 20 + 250 + 10 * 50])
    assert copies(NATIVE, ()).ns(4096) == pytest.approx(20 + 500 + 409.6)
    assert not any(curve.points for of_call in curves.values() for curve in of_call)


def test_scans_out_of_an_emptied_cache_have_a_curve_of_their_own(
    measured: tuple[CostProfile, Samples],
) -> None:
    """Only real hosts measure them: here one is made from another row."""
    profile, samples = measured
    (row,) = (
        row for row in samples.rows if (row.benchmark, row.about) == ("poll", "900, first ready")
    )
    evicted = type(row)("poll", "900, evicted", row.expected, [90_000.0])
    first, _, emptied = scans(profile, [*samples.rows, evicted])["poll"]
    assert points(emptied) == [900]
    fd_miss_ns = profile.costs["fd_miss_ns"].value
    assert emptied.ns(10) == pytest.approx(first.ns(10) + 10 * fd_miss_ns)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"half a file",
        gzip.compress(b'{"key": {}, "done": {"0/recv": [{"benchmark": "recv"}]}}', mtime=0),
        gzip.compress(b'{"done": {"0/recv"', mtime=0),
        gzip.compress(b"[]", mtime=0),
        gzip.compress(json.dumps({"done": {}}).encode(), mtime=0)[:-9],
    ],
)
def test_damaged_samples_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.samples.json.gz"
    path.write_bytes(content)
    with pytest.raises(IosimError, match=r"p\.samples\.json\.gz are damaged .*calibrate again"):
        Samples.load(path)
