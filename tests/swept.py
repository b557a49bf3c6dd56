"""Sweeps as a user runs them, in processes of their own that can be disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from processes import children, wait_until

from iosim.errors import IosimError, RunFailed
from iosim.sweep import Counts, Design, Store, drive, export, profiles_of
from iosim.sweep.engines import serial

DESIGN = """
[sweep]
replications = {replications}
[sweep.axes]
model = ["epoll", "blocking"]
"workload.connections" = [5, 300]
"workload.rate" = ["1k/s", "5k/s"]
[workload]
requests = {requests}
[machine]
memory_bytes = "5MiB"
"""
"""There is no memory for a thread for each of 300 connections: a quarter of the points fails."""

FAILED = RunFailed.exit_code
"""Of a sweep some of whose points failed."""

IOSIM = sys.executable, "-m", "iosim"


def write_design(folder: Path, replications: int, requests: int = 600) -> Path:
    """A design of 8 points for each replication."""
    file = folder / "design.toml"
    file.write_text(DESIGN.format(replications=replications, requests=requests))
    return file


def undisturbed(folder: Path, file: Path) -> bytes:
    """The table of a design that nothing came in the way of, run in this process."""
    design = Design.load(file)
    with Store.create(folder / "undisturbed.sweep", design, profiles_of(design)) as store:
        with serial() as engine:
            drive(store, engine)
        return table(store.path)


def table(path: Path) -> bytes:
    """The exported table of a store."""
    with Store.read(path) as store:
        export(store, path.with_suffix(".csv"))
    return path.with_suffix(".csv").read_bytes()


def finished(path: Path) -> int:
    """How many points are in a store; 0 while there is none."""
    try:
        return counts(path).finished
    except IosimError as refusal:
        if "there is no store" in str(refusal) or "holds no sweep yet" in str(refusal):
            return 0
        raise


def counts(path: Path) -> Counts:
    with Store.read(path) as store:
        return store.counts()


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`iosim sweep` in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        (*IOSIM, "sweep", *map(str, arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit code and what was said on standard error, when it has ended."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def run(*arguments: object, **options: Any) -> tuple[int, str]:
    return end(start(*arguments, **options))


def workers(driver: subprocess.Popen[str]) -> list[int]:
    """The worker processes of a driver."""
    return [pid for pid, command in children(driver.pid).items() if "spawn_main" in command]


def wait_for(path: Path, points: int, driver: subprocess.Popen[str]) -> None:
    """Wait until so many points are in the store, or the driver has ended."""
    wait_until(lambda: finished(path) >= points or driver.poll() is not None)


def kill(pid: int) -> None:
    """End a process that may have ended already."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
