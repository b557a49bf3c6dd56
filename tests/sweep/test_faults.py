"""Whatever befalls a sweep, no finished point is lost, none is in the table twice, and when it has
been resumed the table is that of an undisturbed one, byte for byte.

    python -m pytest tests/sweep/test_faults.py --faults 20
"""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest
from processes import alive, wait_until
from swept import (
    FAILED,
    counts,
    end,
    finished,
    kill,
    run,
    start,
    table,
    undisturbed,
    wait_for,
    workers,
    write_design,
)

from iosim.errors import IosimError
from iosim.sweep import Store

REPLICATIONS = 16


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "s.sweep"


def check_resumed(store: Path, expected: bytes) -> None:
    """Resume, and compare."""
    code, said = run("--resume", store, "--serial")
    assert code in (0, FAILED), said
    assert table(store) == expected


def test_the_undisturbed_table_has_rows_that_failed_and_rows_that_did_not(
    expected: bytes,
) -> None:
    rows = expected.decode().splitlines()[1:]
    assert len(rows) == 8 * REPLICATIONS
    assert sum("memory" in row for row in rows) == len(rows) / 4


def test_workers_are_killed(tmp_path: Path, store: Path, request: pytest.FixtureRequest) -> None:
    """Again and again, each time after some progress."""
    times = request.config.getoption("--faults")
    file = write_design(tmp_path, 8 * times)
    driver = start(file, "--store", store, "--workers", 2)
    killed: set[int] = set()
    for _ in range(times):
        before = finished(store)
        wait_until(lambda before=before: finished(store) > before, driver)
        wait_until(lambda: bool(set(workers(driver)) - killed), driver)
        victim = min(set(workers(driver)) - killed)
        kill(victim)
        killed.add(victim)
    code, said = end(driver)
    assert code == FAILED, said
    assert len(killed) == times
    assert table(store) == undisturbed(tmp_path, file)


def test_the_driver_is_killed_at_random_moments(
    file: Path, expected: bytes, store: Path, request: pytest.FixtureRequest
) -> None:
    """Resumed after each time. Nothing that was seen finished is missing afterwards, and its
    workers end with it."""
    chance = random.Random(1)
    total, seen = 8 * REPLICATIONS, 0
    for _ in range(request.config.getoption("--faults")):
        how = ("--resume", store) if seen else (file, "--store", store)
        driver = start(*how, "--workers", 2)
        wait_for(store, min(total - 1, seen + chance.randrange(12)), driver)
        for _ in range(chance.randrange(2_000)):
            os.sched_yield()
        seen = finished(store)
        left = workers(driver)
        driver.kill()
        end(driver)
        wait_until(lambda left=left: not any(map(alive, left)))
        assert finished(store) >= seen
        seen = finished(store)
    if not seen:
        run(file, "--store", store)
    check_resumed(store, expected)


def test_ctrl_c_once(file: Path, expected: bytes, store: Path) -> None:
    """Sent to all processes in the foreground, as a terminal does."""
    driver = start(file, "--store", store, "--workers", 2)
    wait_for(store, 1, driver)
    os.killpg(driver.pid, signal.SIGINT)
    code, said = end(driver)
    assert code == 130
    assert "iosim: finishing what has begun" in said
    assert f"go on by `iosim sweep --resume {store}`" in said
    assert "Traceback" not in said
    so_far = finished(store)
    assert f"{so_far} of {8 * REPLICATIONS} points are finished and kept" in said
    assert 0 < so_far < 8 * REPLICATIONS
    check_resumed(store, expected)


@pytest.mark.long
def test_ctrl_c_twice(tmp_path: Path, store: Path) -> None:
    """Each point takes seconds, and none is finished once it has been pressed twice."""
    slow = write_design(tmp_path, 1, requests=1_000_000)
    driver = start(slow, "--store", store, "--workers", 2)
    wait_until(lambda: len(workers(driver)) == 2 and store.exists(), driver)
    left = workers(driver)
    wait_until(lambda: all(cpu_ticks(pid) > 200 for pid in left), driver)  # it is simulating
    os.killpg(driver.pid, signal.SIGINT)
    assert driver.stderr is not None
    assert driver.stderr.readline() == "\n"
    assert "Ctrl-C again stops at once" in driver.stderr.readline()
    os.killpg(driver.pid, signal.SIGINT)
    code, said = end(driver)
    assert code == 130
    assert "0 of 8 points are finished and kept" in said
    assert "Traceback" not in said
    assert not any(map(alive, left))


def cpu_ticks(pid: int) -> int:
    """The processor time that a process has had, in ticks of 10 ms, proc(5)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_disk_without_room(file: Path, expected: bytes, store: Path) -> None:
    """A limit on the size of files has write(2) fail just as well."""
    driver = start(
        *(file, "--store", store, "--serial"),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    code, said = end(driver)
    assert code == 2
    assert f"cannot write to {store}" in said
    assert "what was finished is kept: make room" in said
    assert "Traceback" not in said
    assert 0 < counts(store).finished < 8 * REPLICATIONS
    check_resumed(store, expected)


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"this user cannot mount a small disk: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk(file: Path, expected: bytes, tmp_path: Path) -> None:
    """A real one: ENOSPC, until there is room again."""
    with small_disk(tmp_path) as disk:
        store = disk / "s.sweep"
        code, said = run(file, "--store", store, "--serial")
        assert code == 2
        assert f"cannot write to {store}" in said
        assert 0 < counts(store).finished < 8 * REPLICATIONS
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        check_resumed(store, expected)


@contextmanager
def read_only(folder: Path) -> Iterator[str]:
    """Nothing in the folder can be changed; tells how the system says so."""
    if os.geteuid():
        folder.chmod(0o555)
        (folder / "s.sweep").chmod(0o444)
        try:
            yield "Permission denied"
        finally:
            folder.chmod(0o755)
    else:  # who may do everything but write to what is mounted to be read
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        yield "Read-only file system"


def test_a_store_that_cannot_be_written_to(expected: bytes, tmp_path: Path) -> None:
    """Refused before anything runs; it can be looked at and exported all the same."""
    with small_disk(tmp_path) if not os.geteuid() else nullcontext(tmp_path) as folder:
        store = folder / "s.sweep"
        run(write_design(folder, 1), "--store", store, "--serial")
        before = store.read_bytes()
        with read_only(folder) as reason:
            code, said = run("--resume", store, "--serial")
            assert code == 2
            assert f"cannot use {store}: {reason}; name a file that you may write to" in said
            assert counts(store).finished == 8
        assert store.read_bytes() == before


def test_two_drivers_on_one_store(file: Path, expected: bytes, store: Path) -> None:
    """The second is refused, by either way in, and the first is not disturbed."""
    first = start(file, "--store", store, "--workers", 1)
    wait_for(store, 1, first)
    os.kill(first.pid, signal.SIGSTOP)
    try:
        code, said = run(file, "--store", store, "--serial")
        assert code == 2
        assert f"another iosim fills {store}" in said
        with pytest.raises(IosimError, match="another iosim fills"), Store.resume(store):
            pass
        assert 0 < counts(store).finished < 8 * REPLICATIONS
    finally:
        os.kill(first.pid, signal.SIGCONT)
    code, said = end(first)
    assert code == FAILED, said
    assert table(store) == expected
