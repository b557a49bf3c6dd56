"""Facts of a host, from files as kernels and containers have them, and from broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import CPU, LAPTOP, VIRTUAL_MACHINE, host
from hypothesis import given
from hypothesis import strategies as st

from iosim.errors import HostRefused
from iosim.host import thishost
from iosim.host.resources import Ticks, cpu_quota, ticks
from iosim.host.thishost import (
    facts,
    mitigations,
    most_connections,
    most_threads,
    virtualised,
)
from iosim.procfs import Files
from iosim.room import memory_bytes
from iosim.workload import Workload

MISSING = "/proc/nothing"


def test_text_and_numbers(tmp_path: Path) -> None:
    files = host(tmp_path, {"/a": " 1 \n", "/b": "32768\t60999\n", "/c": "max 100000\n", "/d": ""})
    assert files.text("/a") == "1"
    assert files.text("/d") == ""
    assert files.number("/a") == 1
    assert files.numbers("/b") == [32768, 60999]
    for path in ("/b", "/c", "/d", MISSING):
        assert files.number(path) is None
    for path in ("/c", "/d", MISSING):
        assert files.numbers(path) is None


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "noise").write_bytes(b"\xff\x00\xfe")
    files = Files(tmp_path)
    assert files.text(MISSING) is None
    assert files.text("/folder") is None
    assert files.number("/noise") is None
    assert files.cores("/noise") is None


@given(st.sets(st.integers(0, 300), min_size=1))
def test_a_list_of_cores(tmp_path_factory: pytest.TempPathFactory, cores: set[int]) -> None:
    """Written as the kernel does it, with runs joined, and read back."""
    runs: list[list[int]] = []
    for core in sorted(cores):
        if runs and core == runs[-1][-1] + 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    text = ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)
    files = host(tmp_path_factory.mktemp("host"), {"/online": text})
    assert files.cores("/online") == sorted(cores)


@pytest.mark.parametrize("text", ["", "0-", "-1", "a-b", "0,,1"])
def test_no_list_of_cores(text: str, tmp_path: Path) -> None:
    assert host(tmp_path, {"/online": text}).cores("/online") is None


def test_glob(tmp_path: Path) -> None:
    files = host(tmp_path, VIRTUAL_MACHINE)
    assert files.glob(f"{CPU}/cpu*/topology") == [f"{CPU}/cpu{n}/topology" for n in (0, 1)]
    assert files.glob("/sys/none/*") == []


def test_ticks(tmp_path: Path) -> None:
    """proc_stat(5): user nice system idle iowait irq softirq steal guest guest_nice."""
    stat = "cpu  9 9 9 9 9 9 9 9 9 9\ncpu0 1 2 4 8 16 32 64 128 1 2\ncpu7 1 0 0 3\nintr 5 6\n"
    seen = ticks(host(tmp_path, {"/proc/stat": stat}))
    assert seen == {0: Ticks(103, 128, 255), 7: Ticks(1, 0, 4)}


@pytest.mark.parametrize("stat", ["", "\n\n", "cpu0 x y\n", "cpu\n", "0 1 2 3 4\n"])
def test_no_ticks(stat: str, tmp_path: Path) -> None:
    assert ticks(host(tmp_path, {"/proc/stat": stat})) == {}


GROUP = "/sys/fs/cgroup"
THREADS = "/proc/sys/kernel/threads-max"


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({}, None),
        ({"/proc/self/cgroup": "0::/\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", f"{GROUP}/cpu.max": "max 100000\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", f"{GROUP}/cpu.max": "50000 100000\n"}, 0.5),
        # The tightest of the groups above counts.
        (
            {
                "/proc/self/cgroup": "0::/a/b\n",
                f"{GROUP}/a/cpu.max": "150000 100000\n",
                f"{GROUP}/a/b/cpu.max": "400000 100000\n",
            },
            1.5,
        ),
        # Version 1, the controller alone and together with another; -1 is no limit.
        (
            {
                "/proc/self/cgroup": "3:cpuset:/\n1:cpu,cpuacct:/docker/f00\n0::/\n",
                f"{GROUP}/cpu/cpu.cfs_quota_us": "25000\n",
                f"{GROUP}/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.25,
        ),
        (
            {
                "/proc/self/cgroup": "1:cpu:/\n",
                f"{GROUP}/cpu/cpu.cfs_quota_us": "-1\n",
                f"{GROUP}/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
        ),
        # Broken.
        ({"/proc/self/cgroup": "nonsense\n0:\n", f"{GROUP}/cpu.max": "1 1\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", f"{GROUP}/cpu.max": "50000 0\n"}, None),
        ({"/proc/self/cgroup": "0::/\n", f"{GROUP}/cpu.max": "50000\n"}, None),
    ],
)
def test_cpu_quota(files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    assert cpu_quota(host(tmp_path, files)) == quota


def test_memory(tmp_path: Path) -> None:
    """What is available, or less if a control group has less."""
    files = host(tmp_path, VIRTUAL_MACHINE)
    assert memory_bytes(files) == 23_790_592 * 1024
    host(tmp_path, {f"{GROUP}/memory.max": "max\n"})
    assert memory_bytes(files) == 23_790_592 * 1024
    host(tmp_path, {f"{GROUP}/memory.max": "1048576\n"})
    assert memory_bytes(files) == 2**20
    assert memory_bytes(host(tmp_path, {"/proc/meminfo": "MemAvailable: lots\n"})) is None
    assert memory_bytes(Files(tmp_path / "empty")) is None


def test_facts(tmp_path: Path) -> None:
    cache = f"{CPU}/cpu0/cache/index0"
    files = host(
        tmp_path,
        VIRTUAL_MACHINE,
        {f"{cache}/level": "1\n", f"{cache}/type": "Data\n", f"{cache}/size": "48K\n"},
        {f"{CPU}/cpu0/cache/index1/level": "2\n"},
    )
    found = facts(files)
    assert (found["cpu"], found["l1d_bytes"], found["l2_bytes"]) == ("Some CPU", 48 * 1024, None)
    assert found["virtualised"] is True
    # CONFIG_HZ of Linux is one of few.
    assert found["tick_ns"] in {10_000_000, 4_000_000, 3_333_333, 1_000_000}
    assert found["mitigations"] == "spectre_v1 spectre_v2"
    assert mitigations(Files(tmp_path / "empty")) == []
    assert virtualised(host(tmp_path, LAPTOP)) is False


def test_most_threads(tmp_path: Path) -> None:
    """The least of the limits, less what others need."""
    pids = "/sys/fs/cgroup/pids.max"
    assert most_threads(host(tmp_path, {pids: "1000\n"})) == 1_000 - 256
    assert most_threads(host(tmp_path, {pids: "max\n", THREADS: "900\n"})) == 900 - 256
    assert most_threads(host(tmp_path, {pids: "100\n"})) == 0


def test_a_limit_below_what_a_run_needs_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thishost, "open_files", lambda: 50)
    with pytest.raises(HostRefused, match=r"no real run: a process may have 50 .*needs 64 beside"):
        thishost.check(Workload(connections=1))
    monkeypatch.setattr(thishost, "open_files", lambda: 74)
    thishost.check(Workload(connections=10))
    with pytest.raises(HostRefused, match="11 connections are more than the 10 that this host"):
        thishost.check(Workload(connections=11))


def test_most_connections(tmp_path: Path) -> None:
    files = host(tmp_path, VIRTUAL_MACHINE)
    assert most_connections(20_000, files)[0] == 20_000 - 64
    most, limit = most_connections(1_000_000, files)
    assert most == 60_999 - 32_768 + 1
    assert "net.ipv4.ip_local_port_range" in limit
    most, limit = most_connections(1_000_000, Files(tmp_path / "empty"))
    assert most == 1_000_000 - 64
    assert "ulimit -Hn" in limit
