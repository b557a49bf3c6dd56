"""The same design on real clusters that the tests start: one worker of each is killed on the way,
and the table is that of an undisturbed sweep of this host."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from processes import children, wait_until
from swept import FAILED, end, finished, kill, run, start, table, wait_for

from iosim.errors import HostRefused, IosimError
from iosim.sweep.clusters import dask

BIN = Path(sys.executable).parent
REPLICATIONS = 30

needs_dask = pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the extra iosim[dask] is missing"
)
needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="the extra iosim[ray] is missing"
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def service(log: Path, *command: object) -> Iterator[subprocess.Popen[str]]:
    """A process and what it starts, ended when the context is left."""
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONWARNINGS": "ignore"}
    with (
        open(log, "w") as out,
        subprocess.Popen(
            tuple(map(str, command)),
            stdout=out,
            stderr=out,
            text=True,
            start_new_session=True,
            env=environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


# --- Dask ------------------------------------------------------------------------------------


@contextmanager
def dask_scheduler(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    port = free_port()
    command = BIN / "dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"
    with service(folder / "scheduler.log", *command) as scheduler:
        wait_until(lambda: listens(port), scheduler)
        yield scheduler, f"tcp://127.0.0.1:{port}"


@contextmanager
def dask_worker(log: Path, address: str) -> Iterator[subprocess.Popen[str]]:
    command = BIN / "dask", "worker", address, "--nthreads", 1, "--no-nanny", "--no-dashboard"
    with service(log, *command) as worker:
        wait_until(lambda: "Registered to" in log.read_text(), worker)
        yield worker


@needs_dask
def test_dask_with_a_worker_killed_and_then_the_scheduler(
    file: Path, expected: bytes, tmp_path: Path
) -> None:
    store, other = tmp_path / "s.sweep", tmp_path / "other.sweep"
    with ExitStack() as stack:
        scheduler, address = stack.enter_context(dask_scheduler(tmp_path))
        code, said = run(file, "--store", store, "--dask", address)
        assert code == 3
        assert f"the Dask scheduler at {address} has no workers: start `dask worker" in said
        logs = [tmp_path / f"worker{number}.log" for number in (1, 2)]
        first, _ = (stack.enter_context(dask_worker(log, address)) for log in logs)
        driver = start(file, "--store", store, "--dask", address)
        wait_for(store, 20, driver)
        first.kill()
        assert finished(store) < 8 * REPLICATIONS
        code, said = end(driver)
        assert code == FAILED, said
        assert table(store) == expected
        driver = start(file, "--store", other, "--dask", address)
        wait_for(other, 1, driver)
        scheduler.kill()
        code, said = end(driver)
        assert code == 4
        assert f"go on by `iosim sweep --resume {other}`" in said
    assert 0 < finished(other) < 8 * REPLICATIONS
    run("--resume", other, "--serial")
    assert table(other) == expected


@needs_dask
def test_no_dask_there(file: Path, tmp_path: Path) -> None:
    port = free_port()
    code, said = run(file, "--store", tmp_path / "s", "--dask", f"tcp://127.0.0.1:{port}")
    assert code == 3
    assert f"no Dask scheduler answers at tcp://127.0.0.1:{port} (Connection refused)" in said
    assert not list(tmp_path.iterdir())
    assert "is `dask scheduler` running there" in said
    assert said.count("\n") == 1
    with pytest.raises(IosimError, match="'scheduler' is not the address of a Dask sched"):
        dask("scheduler")


@needs_dask
def test_something_else_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections and never answers, which libraries wait for without end."""
    monkeypatch.setattr(sys.modules["iosim.sweep.clusters"], "_ANSWER_S", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        with pytest.raises(HostRefused, match="what listens there does not answer"):
            dask(address)


# --- Ray -------------------------------------------------------------------------------------


@needs_ray
def test_ray_with_a_worker_killed(file: Path, expected: bytes, tmp_path: Path) -> None:
    store, port = tmp_path / "s.sweep", free_port()
    log = tmp_path / "ray.log"
    command = (
        *(BIN / "ray", "start", "--head", "--block", "--port", port, "--num-cpus", 2),
        *("--node-ip-address", "127.0.0.1", "--include-dashboard", "false"),
        *("--disable-usage-stats", "--object-store-memory", 100_000_000),
    )
    with service(log, *command) as head:
        wait_until(lambda: "Ray runtime started" in log.read_text(), head)
        driver = start(file, "--store", store, "--ray", f"127.0.0.1:{port}")
        wait_for(store, 20, driver)
        kill(ray_workers(head.pid)[0])
        assert finished(store) < 8 * REPLICATIONS
        code, said = end(driver)
        assert code == FAILED, said
    assert table(store) == expected


def ray_workers(head: int) -> list[int]:
    """The processes of a cluster that run the driver's calls."""
    found: list[int] = []
    for pid, command in children(head).items():
        if command.startswith("ray::work_on"):
            found.append(pid)
        found += ray_workers(pid)
    return found


@needs_ray
def test_no_ray_there(file: Path, tmp_path: Path) -> None:
    port = free_port()
    code, said = run(file, "--store", tmp_path / "s", "--ray", f"127.0.0.1:{port}")
    assert code == 3
    assert f"no Ray cluster answers at 127.0.0.1:{port} (Connection refused)" in said
    assert not list(tmp_path.iterdir())
    assert "is `ray start --head` running there" in said
    assert said.count("\n") == 1
