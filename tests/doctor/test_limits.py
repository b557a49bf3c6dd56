"""What the doctor says about limits and permissions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import VIRTUAL_MACHINE, host

from iosim.doctor import limits, python
from iosim.host.thread import BACKLOG
from iosim.procfs import Files


@pytest.mark.parametrize(
    ("most_files", "verdict", "value"),
    [
        (1_048_576, "ok", "up to 28,232: 28232 local ports"),
        (10_064, "ok", "up to 10,000: a process may have 10064 open files"),
        (10_063, "warning", "up to 9,999: a process may have 10063 open files"),
        (1_024, "warning", "up to 960: a process may have 1024 open files"),
        # The lightest load has 64 connections.
        (128, "warning", "up to 64: a process may have 128 open files"),
        (127, "problem", "up to 63: a process may have 127 open files"),
        (16, "problem", "up to 0: a process may have 16 open files"),
    ],
)
def test_connections(most_files: int, verdict: str, value: str, tmp_path: Path) -> None:
    found = limits.connections(host(tmp_path, VIRTUAL_MACHINE), most_files)
    assert found.verdict == verdict
    assert found.value.startswith(value)
    assert bool(found.advice) == (verdict != "ok")


def test_few_ports(tmp_path: Path) -> None:
    ports = {"/proc/sys/net/ipv4/ip_local_port_range": "60000 60999\n"}
    found = limits.connections(host(tmp_path, ports), 1_048_576)
    assert (found.verdict, found.value.split(":")[0]) == ("warning", "up to 1,000")
    assert "ip_local_port_range" in found.value


def test_backlog(tmp_path: Path) -> None:
    path = "/proc/sys/net/core/somaxconn"
    assert limits.backlog(host(tmp_path, {path: f"{BACKLOG}\n"})).verdict == "ok"
    found = limits.backlog(host(tmp_path, {path: "128\n"}))
    assert (found.verdict, found.value) == ("warning", "128")
    assert f"somaxconn={BACKLOG}" in found.advice
    found = limits.backlog(host(tmp_path, {path: "many\n"}))
    assert (found.verdict, path in found.value) == ("warning", True)


def test_signals() -> None:
    assert limits.signals(96_365, 19_936).verdict == "ok"
    found = limits.signals(1_000, 19_936)
    assert found.verdict == "warning"
    assert "ulimit -i 19936" in found.advice


def test_memory(tmp_path: Path) -> None:
    files = host(tmp_path, VIRTUAL_MACHINE)
    found = limits.memory(files)
    assert (found.verdict, found.value) == ("ok", "22.7 GiB available")
    host(tmp_path, {"/sys/fs/cgroup/memory.max": str(128 * 2**20)})
    found = limits.memory(files)
    assert (found.verdict, found.value) == ("problem", "128 MiB available")
    assert limits.memory(Files(tmp_path / "empty")).verdict == "warning"


REFUSED = "io_uring_setup failed: /proc/sys/kernel/io_uring_disabled is 2, not 0 (EPERM)"
FILTERED = "io_uring_setup failed: forbidden, probably by the seccomp filter of a container (EPERM)"


def test_io_uring(tmp_path: Path) -> None:
    """Which of the two forbids it decides what to do."""
    switch = "/proc/sys/kernel/io_uring_disabled"
    files = host(tmp_path, {switch: "0\n"})
    assert limits.io_uring(files, None).verdict == "ok"
    found = limits.io_uring(files, FILTERED)
    assert (found.verdict, found.value) == ("warning", FILTERED)
    assert "seccomp" in found.advice
    assert "sysctl" not in found.advice
    found = limits.io_uring(host(tmp_path, {switch: "2\n"}), REFUSED)
    assert (found.verdict, found.value) == ("warning", REFUSED)
    assert "kernel.io_uring_disabled=0" in found.advice


def test_aio() -> None:
    assert limits.aio(None).verdict == "ok"
    assert limits.aio("the C library has no aio_init(3)").verdict == "warning"


def test_python() -> None:
    usual = dict.fromkeys(python.build(), False)
    assert python.interpreter("3.13.1", usual).verdict == "ok"
    for name in usual:
        found = python.interpreter("3.13.1", usual | {name: True})
        assert (found.verdict, found.value) == ("warning", f"3.13.1, {name}")
