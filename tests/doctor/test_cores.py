"""What the doctor says about cores: on recorded hosts and on hostile ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from hosts import CPU, LAPTOP, VIRTUAL_MACHINE, host

from iosim.doctor import cores
from iosim.procfs import Files

GROUP = "/sys/fs/cgroup"


def test_two_cores_are_enough(tmp_path: Path) -> None:
    found = cores.usable(host(tmp_path, VIRTUAL_MACHINE), [0, 1])
    assert (found.verdict, found.value, found.advice) == ("ok", "2 usable of 2", "")
    assert cores.usable(Files(tmp_path / "empty"), [0, 1]).value == "2 usable"


def test_a_machine_of_one_core(tmp_path: Path) -> None:
    found = cores.usable(host(tmp_path, {f"{CPU}/online": "0\n"}), [0])
    assert (found.verdict, found.value) == ("problem", "1 usable of 1")
    assert "a host with two" in found.advice


def test_a_cpuset_of_one_core(tmp_path: Path) -> None:
    """The others are there: what to do is another thing."""
    found = cores.usable(host(tmp_path, LAPTOP), [2])
    assert (found.verdict, found.value) == ("problem", "1 usable of 4")
    assert "cpuset" in found.advice


def test_hyper_threads(tmp_path: Path) -> None:
    laptop = host(tmp_path, LAPTOP)
    assert cores.siblings(laptop, [0, 1, 2, 3]).verdict == "ok"
    found = cores.siblings(laptop, [0, 2])
    assert (found.verdict, "threads of one physical core" in found.value) == ("warning", True)
    assert "smt/control" in found.advice
    # With another choice at hand the way out names it.
    assert "taskset -c 0,1 iosim" in cores.siblings(laptop, [0, 1, 2]).advice
    assert cores.siblings(laptop, [0]).verdict == "ok"


def test_hyper_threads_by_the_old_name(tmp_path: Path) -> None:
    files = host(tmp_path, {f"{CPU}/cpu0/topology/thread_siblings_list": "0-1\n"})
    assert cores.siblings(files, [0, 1]).verdict == "warning"
    assert cores.siblings(files, [0, 2]).verdict == "ok"


def test_hyper_threads_that_a_hypervisor_hides(tmp_path: Path) -> None:
    assert "hypervisor" in cores.siblings(host(tmp_path, VIRTUAL_MACHINE), [0, 1]).value
    assert cores.siblings(Files(tmp_path / "empty"), [0, 1]).verdict == "warning"


def test_pinning() -> None:
    assert cores.pinning(None).verdict == "ok"
    found = cores.pinning("sched_setaffinity failed: Operation not permitted")
    assert (found.verdict, found.value) == (
        "problem",
        "sched_setaffinity failed: Operation not permitted",
    )


@pytest.mark.parametrize(
    ("limit", "verdict", "value"),
    [
        ("max 100000", "ok", "none"),
        ("50000 100000", "problem", "0.5 cores"),
        ("199999 100000", "problem", "2 cores"),
        ("200000 100000", "ok", "2 cores"),
        ("broken", "ok", "none"),
    ],
)
def test_quota(limit: str, verdict: str, value: str, tmp_path: Path) -> None:
    found = cores.quota(host(tmp_path, VIRTUAL_MACHINE, {f"{GROUP}/cpu.max": limit}))
    assert (found.verdict, found.value) == (verdict, value)


def test_governor(tmp_path: Path) -> None:
    """Only the cores of a run count: the first and the last."""
    laptop = host(tmp_path, LAPTOP)
    found = cores.governor(laptop, [0, 3])
    assert (found.verdict, found.value) == ("warning", "governor performance, powersave")
    assert cores.governor(laptop, [3]).verdict == "ok"
    found = cores.governor(laptop, [1, 2])
    assert (found.verdict, found.value) == ("ok", "none here: the firmware decides")
    hypervisor = host(tmp_path / "other", VIRTUAL_MACHINE)
    assert "hypervisor" in cores.governor(hypervisor, [0, 1]).value


@pytest.mark.parametrize(
    ("path", "text", "verdict", "value"),
    [
        ("intel_pstate/no_turbo", "0", "warning", "on"),
        ("intel_pstate/no_turbo", "1", "ok", "off"),
        ("cpufreq/boost", "1", "warning", "on"),
        ("cpufreq/boost", "0", "ok", "off"),
        ("cpufreq/boost", "?", "ok", "no control here"),
    ],
)
def test_turbo(path: str, text: str, verdict: str, value: str, tmp_path: Path) -> None:
    found = cores.turbo(host(tmp_path, {f"{CPU}/{path}": text}))
    assert (found.verdict, found.value) == (verdict, value)
    # What to write there switches it off.
    off = {"0": "1", "1": "0"}
    assert found.advice == "" or f"echo {off[text]} > {CPU}/{path}" in found.advice


def test_virtualisation_and_mitigations(tmp_path: Path) -> None:
    files = host(tmp_path, VIRTUAL_MACHINE)
    assert "virtual machine" in cores.virtualisation(files).value
    assert cores.mitigations(files).value == "2 vulnerabilities of the processor mitigated"
    empty = Files(tmp_path / "empty")
    assert cores.virtualisation(empty).value == "none told"
    assert cores.mitigations(empty).value == "no vulnerabilities of the processor mitigated"
