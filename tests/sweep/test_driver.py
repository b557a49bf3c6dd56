"""The driver on engines that fail in every way."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import misbehaving
import pytest
from processes import alive, children, wait_until

import iosim
from iosim.costs import CostProfile
from iosim.errors import Interrupted, IosimError, RunFailed
from iosim.host import why_not
from iosim.seeds import replication_seed
from iosim.sweep import Counts, Design, Store, drive, frame
from iosim.sweep.driver import Work
from iosim.sweep.engines import Engine, Serial, local
from iosim.sweep.points import Finished, Point, work_on

PYTHON = {"python": CostProfile.shipped("python")}


def design(connections: int = 20, **sweep: Any) -> Design:
    axes = {"workload.connections": list(range(1, connections + 1))}
    return Design.of({"sweep": {"axes": axes, **sweep}, "model": "epoll"})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.create(tmp_path / "s.sweep", design(), PYTHON) as store:
        yield store


def outcomes(store: Store) -> list[tuple[int, Any]]:
    return [(row.number, row.error or row.outcome["empty_polls"]) for row in store.rows()]


# --- undisturbed -----------------------------------------------------------------------------


def test_every_point_is_run_once_and_in_order(store: Store) -> None:
    seen: list[int] = []

    def work(packed: bytes, points: list[Point]) -> list[Finished]:
        seen.extend(point.number for point in points)
        return misbehaving.counting(packed, points)

    assert drive(store, Engine(Serial(), 1), work=work) == Counts(20, 20, 0)
    assert seen == list(range(20))
    assert outcomes(store) == [(number, number) for number in range(20)]
    assert drive(store, Engine(Serial(), 1), work=work) == Counts(20, 20, 0)
    assert len(seen) == 20


def test_progress_tells_what_is_finished(store: Store) -> None:
    told: list[Counts] = []
    drive(
        store,
        Engine(Serial(), 1),
        progress=lambda counts, _: told.append(counts),
        work=misbehaving.counting,
    )
    assert told[-1] == Counts(20, 20, 0)
    finished = [counts.finished for counts in told]
    assert finished == sorted(finished)


def test_equal_points_are_run_once_and_are_each_in_the_table(tmp_path: Path) -> None:
    points = [{"model": "epoll", "workload.burst": burst} for burst in (1, 2, 1, 2, 1)]
    listed = Design.of({"sweep": {"design": "list", "points": points}})
    with Store.create(tmp_path / "s", listed, PYTHON) as store:
        counts = drive(store, Engine(Serial(), 1), work=misbehaving.counting)
        assert counts == Counts(5, 5, 0)
        assert outcomes(store) == [(0, 0), (1, 1), (2, 0), (3, 1), (4, 0)]


class Slow(Executor):
    """Keeps calls until it is asked for one; tells how many wait."""

    def __init__(self, slots: int) -> None:
        self.calls: list[tuple[Future[Any], Callable[[], Any]]] = []
        self.most = 0
        self._slots = slots

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.calls.append((future, lambda: fn(*args, **kwargs)))
        self.most = max(self.most, len(self.calls))
        if len(self.calls) >= self._slots:
            self.finish(-1)  # the last one first
        return future

    def finish(self, which: int) -> None:
        future, call = self.calls.pop(which)
        if future.set_running_or_notify_cancel():
            future.set_result(call())


def test_work_in_flight_is_bounded(tmp_path: Path) -> None:
    """Of a design of ten million points, two batches for each slot are out, and no more."""
    many = {"workload.connections": list(range(1, 1_001)), "workload.burst": list(range(1, 1_001))}
    endless = Design.of({"sweep": {"axes": many, "replications": 10}, "model": "epoll"})
    out: dict[int, int] = {}

    class Enough(Exception):
        pass

    class Counting(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            out[len(out)] = len(args[1])
            future: Future[Any] = Future()
            if len(out) <= 3:
                future.set_result(fn(*args))
            return future

    told: list[int] = []

    def progress(counts: Counts, rate: float) -> None:
        told.append(len(out))
        if len(told) == 3:
            raise Enough

    with Store.create(tmp_path / "s", endless, PYTHON) as store, pytest.raises(Enough):
        drive(store, Engine(Counting(), 3), progress=progress, work=misbehaving.counting)
    assert told[0] == 3  # one for each slot until it is known how long a point takes
    assert max(told) <= 3 + 3 + 6
    assert max(out.values()) <= 64


def test_batches_hold_what_takes_a_fifth_of_a_second(tmp_path: Path) -> None:
    sizes: list[int] = []

    def work(packed: bytes, points: list[Point]) -> list[Finished]:
        sizes.append(len(points))
        return [one._replace(took_s=0.02) for one in misbehaving.counting(packed, points)]

    with Store.create(tmp_path / "s", design(41), PYTHON) as store:
        drive(store, Engine(Serial(), 1), work=work)
    assert sizes == [1, 10, 10, 10, 10]


# --- points that fail ------------------------------------------------------------------------


def test_a_point_that_raises_does_not_stop_the_sweep(tmp_path: Path) -> None:
    """One program starves, another wants more memory than there is."""
    points = [
        {"model": "epoll"},
        {"model": "blocking-pool", "param.threads": 1},
        {"model": "blocking", "machine.memory_bytes": "1MiB"},
        {"model": "poll"},
    ]
    small = {"connections": 40, "requests": 100}
    listed = Design.of({"sweep": {"design": "list", "points": points}, "workload": small})
    with Store.create(tmp_path / "s", listed, PYTHON) as store:
        assert drive(store, Engine(Serial(), 1)) == Counts(4, 4, 2)
        errors = [row.error for row in store.rows()]
        assert errors[0] is errors[3] is None
        assert "were not answered within 10 s" in str(errors[1])
        assert "memory" in str(errors[2])
        table = frame(store)
        assert list(table["error"].isna()) == [True, False, False, True]
        assert list(table["throughput_per_s"].isna()) == [False, True, True, False]
        assert store.forget_failures() == 2
        assert store.counts() == Counts(4, 2, 0)
        assert drive(store, Engine(Serial(), 1)) == Counts(4, 4, 2)


def test_a_call_that_fails_as_a_whole_stops_it_and_says_why(store: Store) -> None:
    with pytest.raises(RunFailed, match="not of a point"):
        drive(store, Engine(Serial(), 1), work=misbehaving.raising)


def test_a_worker_of_another_version_is_refused(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["iosim.sweep.points"], "iosim_version", lambda: "9.9")
    with pytest.raises(IosimError, match=r"a worker has iosim 9\.9 and the sweep"):
        drive(store, Engine(Serial(), 1))
    assert store.counts().finished == 0


# --- workers that die ------------------------------------------------------------------------


def test_a_point_that_kills_its_workers_is_set_aside_and_no_other_is_blamed(store: Store) -> None:
    with local(2) as engine:
        assert drive(store, engine, work=misbehaving.killing) == Counts(20, 20, 2)
    expected: list[tuple[int, Any]] = [(number, number) for number in range(20)]
    expected[6] = 6, "seven"
    expected[12] = 12, "its worker died 3 times while it ran alone (out of memory?)"
    assert outcomes(store) == expected
    assert [(number, json.loads(values)) for number, values, _ in store.failures(9)] == [
        (6, {"workload.connections": 7}),
        (12, {"workload.connections": 13}),
    ]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_no_other_point_is_blamed_either_where_all_in_flight_is_lost_together(
    tmp_path: Path,
) -> None:
    """As it is with a process pool, and with a cluster whose scheduler guesses."""

    class Pool(Executor):
        broken = -1
        pool = None

        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            try:
                assert self.pool is not None
                return self.pool.submit(fn, *args)
            except (AssertionError, BrokenExecutor):
                self.broken += 1
                self.pool = ProcessPoolExecutor(3, multiprocessing.get_context("fork"))
                return self.pool.submit(fn, *args)

    axes = {"workload.connections": [5, 13, 6, 8, 9]}
    killer = Design.of({"sweep": {"axes": axes}, "model": "epoll"})
    executor = Pool()
    with Store.create(tmp_path / "s", killer, PYTHON) as store:
        assert drive(store, Engine(executor, 3), work=misbehaving.killing) == Counts(5, 5, 1)
        assert [number for number, _, _ in store.failures(9)] == [1]
    assert executor.broken >= 3


def test_a_process_pool_of_the_user_that_breaks_is_told(store: Store) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(os._exit, 1).exception()
        with pytest.raises(RunFailed, match=r"takes no more work.*--resume"):
            drive(store, Engine(pool, 1), work=misbehaving.counting)


def test_dropped_work_is_told(store: Store) -> None:
    class Cancelling(Executor):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[Any] = Future()
            future.cancel()
            return future

    with pytest.raises(RunFailed, match=r"cluster has dropped its work.*--resume"):
        drive(store, Engine(Cancelling(), 1), work=misbehaving.counting)


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import iosim\niosim.sweep(axes={'workload.burst': [1]}, model='epoll', workers=1)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "3 worker processes died one after the other as they started" in done.stderr
    assert "if __name__ == '__main__'" in done.stderr.splitlines()[-1]


def test_workers_end_with_their_driver(tmp_path: Path) -> None:
    """Killed without a chance to tell them."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, signal\n"
        "from iosim.sweep.engines import Workers\n"
        "if __name__ == '__main__':\n"
        "    workers = Workers(2)\n"
        "    print('ready', flush=True)\n"
        "    signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "ready\n"
        workers = [pid for pid, command in children(driver.pid).items() if "spawn_main" in command]
        assert len(workers) == 2
        driver.kill()
        wait_until(lambda: not any(map(alive, workers)))


# --- Ctrl-C ----------------------------------------------------------------------------------


def interrupting(times: int) -> Work:
    """Work during whose second call the user presses Ctrl-C."""
    calls = 0

    def work(packed: bytes, points: list[Point]) -> list[Finished]:
        nonlocal calls
        calls += 1
        if calls == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)
        return [one._replace(took_s=0.1) for one in misbehaving.counting(packed, points)]

    return work


def test_ctrl_c_once_finishes_what_is_in_flight(store: Store) -> None:
    said: list[str] = []
    with pytest.raises(Interrupted) as stop:
        drive(
            store,
            Engine(Serial(), 1),
            work=interrupting(1),
            interrupted=lambda: said.append("finishing"),
        )
    assert said == ["finishing"]
    assert "3 of 20 points are finished and kept: go on by `iosim sweep --resume" in str(stop.value)
    assert stop.value.exit_code == 130
    assert [number for number, _ in outcomes(store)] == [0, 1, 2]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert drive(store, Engine(Serial(), 1), work=misbehaving.counting).finished == 20


def test_ctrl_c_twice_stops_at_once(store: Store) -> None:
    with pytest.raises(Interrupted, match="1 of 20 points are finished and kept"):
        drive(store, Engine(Serial(), 1), work=interrupting(2))
    assert [number for number, _ in outcomes(store)] == [0]


# --- Python ----------------------------------------------------------------------------------


def test_a_sweep_from_python_is_a_table(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {
        "axes": {"model": ["epoll", "poll"], "workload.connections": [5, 10]},
        "workload": {"requests": 50, "rate": "5k/s"},
        "replications": 2,
        "store": tmp_path / "s.sweep",
    }
    with Serial() as executor:
        table = iosim.sweep(**arguments, executor=executor)
    assert list(table["model"]) == ["epoll"] * 4 + ["poll"] * 4
    assert list(table["workload.connections"]) == [5, 5, 10, 10] * 2
    assert list(table["seed"]) == [1, replication_seed(1, 1)] * 4
    load = iosim.Workload(connections=5, requests=50, rate_per_s="5k/s")
    run = iosim.simulate("poll", load, seed=int(table.loc[5, "seed"]))
    assert table.loc[5, "latency_ns.p99"] == run.summary()["latency_ns"]["p99"]
    assert table.loc[5, "throughput_per_s"] == run.summary()["throughput_per_s"]
    assert table.equals(iosim.sweep(**arguments, executor=Slow(1)))  # from the store


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    slow = CostProfile.shipped("native").scaled(recv_ns=10).model_copy(update={"name": "slow"})
    with Serial() as executor:
        table = iosim.sweep(
            axes={"profile": ["native", "slow"]},
            model="epoll",
            workload={"requests": 50},
            profiles=[slow],
            executor=executor,
        )
    assert table.loc[1, "cpu_ns_per_request"] > table.loc[0, "cpu_ns_per_request"]


@pytest.mark.parametrize("workers", [-1, 0, 1.5, "2", True])
def test_workers_are_a_whole_number_from_1_on(workers: Any, tmp_path: Path) -> None:
    with pytest.raises(IosimError, match=f"workers = {workers!r} must be a whole number from 1 on"):
        iosim.sweep(
            axes={"workload.burst": [1]}, model="epoll", store=tmp_path / "s", workers=workers
        )
    assert not list(tmp_path.iterdir())


def test_arguments_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("")
    with Serial() as executor, pytest.raises(IosimError, match="workers and executor"):
        iosim.sweep(axes={"workload.burst": [1]}, model="epoll", workers=1, executor=executor)
    with pytest.raises(IosimError, match="leave out seed, axes, model, or it"):
        iosim.sweep(tmp_path / "d.toml", axes={}, seed=2, model="epoll")


def test_an_interrupted_sweep_without_a_store_says_that_nothing_is_kept() -> None:
    class Interrupting(Serial):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted, match="0 of 1 points are finished and lost with it") as stop:
        iosim.sweep(axes={"workload.burst": [1]}, model="epoll", executor=Interrupting())
    assert "--resume" not in str(stop.value)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_real_runs_are_points_that_run_alone(tmp_path: Path) -> None:
    table = {
        "sweep": {"axes": {"workload.connections": [2, 4], "kernel": ["real", "simulated"]}},
        "model": "epoll",
        "workload": {"requests": 40, "rate": "2k/s"},
    }
    spans: list[tuple[list[int], int]] = []
    executor = Slow(1)
    with Store.create(tmp_path / "s", Design.of(table), PYTHON) as store:

        def work(packed: bytes, points: list[Point]) -> list[Finished]:
            spans.append(([point.number for point in points], len(executor.calls)))
            return work_on(packed, points)

        assert drive(store, Engine(executor, 2), work=work) == Counts(4, 4, 0)
        found = frame(store)
    # Simulated points first; then each real one while nothing else is in flight.
    assert [numbers for numbers, _ in spans][-2:] == [[0], [2]]
    assert [others for _, others in spans][-2:] == [0, 0]
    assert sorted(number for numbers, _ in spans[:-2] for number in numbers) == [1, 3]
    assert list(found["kernel"]) == ["real", "simulated"] * 2
    assert list(found["events_per_request"].isna()) == [True, False] * 2
