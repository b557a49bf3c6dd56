"""A run: its figures, its table, and its file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from iosim import results
from iosim.errors import IosimError
from iosim.results import RECORD, Run, TaskTimes
from iosim.sim import simulate
from iosim.workload import Workload


def small_run() -> Run:
    """Four requests with latencies 100, 200, 300, 400; one of them sent 7 late."""
    records = np.zeros(4, RECORD)
    records["intended_ns"] = [0, 1_000, 2_000, 3_000]
    records["sent_ns"] = [0, 1_000, 2_007, 3_000]
    records["replied_ns"] = [100, 1_200, 2_300, 3_400]
    return Run(
        model="epoll",
        kernel="simulated",
        seed=1,
        records=records,
        tasks=(TaskTimes("program", 1_000, 200, 2_200), TaskTimes("helper", 360, 0, 0, True)),
        syscalls={"recv": 5, "send": 4},
        empty_polls=1,
        context_switches=3,
        wakeups=2,
        drops=0,
        wait_for_data_ns=2_000,
        copy_data_ns=40,
        elapsed_ns=3_400,
        cores=2,
        wall_s=0.5,
        events=10,
        provenance={"versions": {"iosim": "0"}},
    )


def test_summary_by_hand() -> None:
    assert small_run().summary() == {
        "model": "epoll",
        "kernel": "simulated",
        "seed": 1,
        "requests": 4,
        "throughput_per_s": 4 / 3_400 * 1e9,
        "latency_ns": {
            "mean": 250.0,
            "p50": 250.0,
            # Linear between the order statistics: position 0.9 * 3 = 2.7, and so on.
            "p90": pytest.approx(370.0),
            "p99": pytest.approx(397.0),
            "p999": pytest.approx(399.7),
        },
        "cpu_ns_per_request": 1_360 / 4,
        "utilisation": 1_360 / (2 * 3_400),
        "syscalls_per_request": 9 / 4,
        "empty_polls": 1,
        "context_switches": 3,
        "wakeups": 2,
        "drops": 0,
        "blocked_ns": {"wait_for_data": 500.0, "copy_data": 10.0},
        "lateness_ns": {"p50": 0.0, "p99": pytest.approx(6.79)},
        "wall_s": 0.5,
        "warnings": [],
        "events_per_request": 2.5,
    }


def test_summary_is_json() -> None:
    run = simulate("epoll", Workload(requests=10))
    assert json.loads(json.dumps(run.summary())) == run.summary()


def test_latency_counts_from_when_a_request_was_due() -> None:
    """Otherwise a late load generator would hide the queue that it met (coordinated omission)."""
    assert small_run().latency_ns.tolist() == [100, 200, 300, 400]


def test_frame_has_a_row_per_request() -> None:
    run = simulate("epoll", Workload(requests=50))
    frame = run.frame()
    assert list(frame.columns) == [*(RECORD.names or ()), "latency_ns"]
    assert (frame["latency_ns"] == frame["replied_ns"] - frame["intended_ns"]).all()
    for name in RECORD.names or ():
        assert (frame[name].to_numpy() == run.records[name]).all()
    frame["sent_ns"] = 0  # a copy: the run stays as it was
    assert run.records["sent_ns"].any()


def test_save_and_load(tmp_path: Path) -> None:
    run = small_run()
    path = run.save(tmp_path / "run.npz")
    back = Run.load(path)
    assert path == tmp_path / "run.npz"
    assert (back.records == run.records).all()
    assert back.summary() == run.summary()
    assert back.tasks == run.tasks
    assert back.provenance == run.provenance


@given(records=hnp.arrays(RECORD, st.integers(1, 20)), events=st.none() | st.integers(0, 2**62))
def test_any_run_survives_its_file(
    records: Any, events: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fields = dict(vars(small_run()), records=records, events=events)
    back = Run.load(Run(**fields).save(tmp_path_factory.getbasetemp() / "any.npz"))
    assert back.records.tobytes() == records.tobytes()
    assert back.records.dtype == RECORD
    assert back.events == events


def test_a_run_with_a_seed_of_numpy_is_saved(tmp_path: Path) -> None:
    run = simulate("epoll", Workload(requests=10), seed=np.int64(3))  # type: ignore[arg-type]
    assert Run.load(run.save(tmp_path / "run.npz")).seed == 3


def test_save_replaces_a_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    path.write_bytes(b"what was here before" * 10_000)
    small_run().save(path)
    assert len(Run.load(path).records) == 4
    assert list(tmp_path.iterdir()) == [path]


def test_save_says_where_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(IosimError, match=r"cannot write .*missing/run\.npz: .*choose a place"):
        small_run().save(tmp_path / "missing" / "run.npz")
    assert list(tmp_path.iterdir()) == []


def rewritten(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """The saved run with its description changed, and a seal that fits."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in ("records", "pulses")}
        about = json.loads(str(archive["about"]))
    archive = io.BytesIO()
    np.savez(archive, about=np.array(json.dumps(change(about))), **arrays)
    path.write_bytes(results._sealed(archive.getvalue()))


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda about: {key: value for key, value in about.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [
        without("tasks"),
        without("elapsed_ns"),
        lambda about: about | {"colour": "red"},
        lambda about: about | {"tasks": [1]},
        lambda about: list(about),
        lambda about: "text",
    ],
    ids=["no tasks", "no elapsed", "unknown", "wrong tasks", "a list", "a text"],
)
def test_description_of_another_version(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    path = small_run().save(tmp_path / "run.npz")
    rewritten(path, change)
    with pytest.raises(IosimError, match=r"run\.npz was saved by another version of iosim"):
        Run.load(path)


def test_another_format(tmp_path: Path) -> None:
    path = small_run().save(tmp_path / "run.npz")
    path.write_bytes(path.read_bytes().replace(b"iosim run 3 ", b"iosim run 4 "))
    with pytest.raises(IosimError, match="run format 4, this iosim reads 3: make the run again"):
        Run.load(path)


def test_one_written_before_there_were_checksums(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    np.savez(path, records=small_run().records, about=np.array('{"format": 2}'))
    with pytest.raises(IosimError, match=r"not a saved run of format 3.* checksum is missing;"):
        Run.load(path)


def test_any_byte_counts(tmp_path: Path) -> None:
    """Also those that a reader of archives skips, such as the time of an entry; whatever is there
    is what was saved."""
    path = small_run().save(tmp_path / "run.npz")
    whole = bytearray(path.read_bytes())
    for place in range(0, len(whole), 5):
        whole[place] ^= 4
        path.write_bytes(whole)
        with pytest.raises(IosimError, match=r"run\.npz (is not a saved run|has run format 7)"):
            Run.load(path)
        whole[place] ^= 4
    path.write_bytes(whole)
    assert Run.load(path).summary() == small_run().summary()


def test_other_programs_read_the_arrays(tmp_path: Path) -> None:
    with np.load(small_run().save(tmp_path / "run.npz")) as archive:
        assert (archive["records"] == small_run().records).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_cut_off_file(share: float, tmp_path: Path) -> None:
    path = small_run().save(tmp_path / "run.npz")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(IosimError, match=r"run\.npz is not a saved run"):
        Run.load(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none.npz", tmp_path, tmp_path / "pipe"):
        with pytest.raises(IosimError, match=r"cannot read run .*; make the run again"):
            Run.load(path)


def test_file_never_runs_code(tmp_path: Path) -> None:
    """A pickle inside the archive is refused, not loaded."""
    path = tmp_path / "run.npz"
    np.savez(path, records=np.array([{"a": 1}], dtype=object), about=np.array("{}"))
    with pytest.raises(IosimError, match="is not a saved run"):
        Run.load(path)
