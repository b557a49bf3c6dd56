"""What the doctor makes of measured figures; every bound from both sides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hosts import VIRTUAL_MACHINE, host

from iosim.doctor import clocks, quiet
from iosim.host.jitter import Clock, Jitter
from iosim.host.load import SPIN_NS
from iosim.host.resources import Ticks
from iosim.procfs import Files

TSC = Clock(read_ns=60, step_ns=40, backwards=0)
THREAD_TIME = Clock(read_ns=270, step_ns=250, backwards=0)
QUIET = Jitter(
    core=0,
    spun_ns=10**9,
    gaps_ns=(),
    queued_ns=0,
    work_ns=(100.0, 101.0, 99.0),
    late_ns=(60_000,) * 100,
    monotonic=TSC,
    thread_time=THREAD_TIME,
    stolen=0.0,
)


def losing(ns: int, **others: object) -> list[Jitter]:
    """A quiet core, and one that lost so much of a second."""
    return [QUIET, replace(QUIET, core=3, gaps_ns=(ns,), **others)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("lost_ns", "verdict"),
    [
        (9_999_999, "ok"),
        (10_000_000, "warning"),
        (99_999_999, "warning"),
        (100_000_000, "problem"),
    ],
)
def test_lost_time(lost_ns: int, verdict: str) -> None:
    found = quiet.lost(losing(lost_ns))
    assert found.verdict == verdict
    assert "on core 3: 1 gaps/s over 20 us" in found.value
    assert bool(found.advice) == (verdict != "ok")


def test_nothing_lost() -> None:
    assert quiet.lost([QUIET]).value == "0.00% on core 0"


def test_who_had_the_lost_time() -> None:
    """Each has its own way out."""
    assert "other programs" in quiet.lost(losing(10**8, queued_ns=6 * 10**7)).advice
    assert "hypervisor took most" in quiet.lost(losing(10**8, stolen=0.06)).advice
    assert "interrupts" in quiet.lost(losing(10**8, queued_ns=10**7, stolen=0.01)).advice
    assert "interrupts" in quiet.lost(losing(10**8, stolen=None)).advice


def test_stolen_time() -> None:
    for share, verdict in ((0.009, "ok"), (0.01, "warning"), (0.1, "problem")):
        found = quiet.stolen([QUIET, replace(QUIET, core=1, stolen=share)])
        assert found.verdict == verdict
    assert quiet.stolen([replace(QUIET, stolen=None)]).value == "not told"


def test_speed() -> None:
    for slowest, verdict in ((109.0, "ok"), (110.0, "warning"), (70.0, "problem")):
        work_ns = (100.0, 100.0, slowest)
        found = quiet.speed([QUIET, replace(QUIET, core=1, work_ns=work_ns)])
        assert found.verdict == verdict


def test_noise() -> None:
    """The tail is shown, but the verdict is by what can be known from so short a run."""
    noise = {"throughput_per_s": 0.001, "cpu_ns_per_request": -0.03, "p50": 0.02, "p99": 0.9}
    found = quiet.noise(noise)
    assert (found.verdict, found.value) == (
        "ok",
        "throughput ±0.1%, CPU ±3.0%, p50 ±2.0%, p99 ±90.0%",
    )
    for share, verdict in ((-0.099, "ok"), (-0.11, "warning"), (0.3, "problem")):
        assert quiet.noise(noise | {"p50": share}).verdict == verdict
    assert "below 11%" in quiet.noise(noise | {"p50": -0.11}).advice


def test_other_programs(tmp_path: Path) -> None:
    files = host(tmp_path, VIRTUAL_MACHINE)
    before = {core: Ticks(100, 0, 1_000) for core in range(3)}
    after = {0: Ticks(100, 0, 1_030), 1: Ticks(130, 0, 1_030), 2: Ticks(102, 0, 1_030)}
    found = quiet.others(files, (0, 2), before, after)
    assert found.verdict == "ok"
    assert found.value == "core 0 0%, core 2 7%, load 0.12, pressure 0.75%"
    # Core 1 is busy: that matters only if a run uses it.
    found = quiet.others(files, (0, 1), before, after)
    assert found.verdict == "warning"
    assert "core 1 100%" in found.value


def test_other_programs_where_nothing_is_told(tmp_path: Path) -> None:
    found = quiet.others(Files(tmp_path), (0, 1), {}, {})
    assert (found.verdict, found.value) == ("ok", "not told")


# --- clocks ----------------------------------------------------------------------------------

SOURCE = "/sys/devices/system/clocksource/clocksource0/current_clocksource"


@pytest.mark.parametrize("name", ["tsc", "kvm-clock", "arch_sys_counter"])
def test_fast_clock_sources(name: str, tmp_path: Path) -> None:
    found = clocks.source(host(tmp_path, {SOURCE: f"{name}\n"}))
    assert (found.verdict, found.value) == ("ok", name)


@pytest.mark.parametrize("name", ["hpet", "acpi_pm", "jiffies"])
def test_slow_clock_sources(name: str, tmp_path: Path) -> None:
    found = clocks.source(host(tmp_path, {SOURCE: f"{name}\n"}))
    assert (found.verdict, found.value) == ("problem", name)
    assert "tsc" in found.advice


def test_unknown_clock_source(tmp_path: Path) -> None:
    for files in (Files(tmp_path / "empty"), host(tmp_path, {SOURCE: "\n"})):
        found = clocks.source(files)
        assert (found.verdict, SOURCE in found.value) == ("warning", True)


def test_reading_the_clock() -> None:
    assert clocks.reading([QUIET]).verdict == "ok"
    # As dear as the clock that always takes a system call: it takes one too.
    found = clocks.reading([replace(QUIET, monotonic=replace(TSC, read_ns=200))])
    assert (found.verdict, "system call" in found.advice) == ("warning", True)


def test_clocks_that_cannot_be_used() -> None:
    back = replace(QUIET, monotonic=replace(TSC, backwards=1))
    assert clocks.reading([QUIET, back]).verdict == "problem"
    for step_ns, verdict in (
        (0, "problem"),
        (1_000, "ok"),
        (1_001, "problem"),
        (4 * 10**6, "problem"),
    ):
        coarse = replace(QUIET, thread_time=replace(THREAD_TIME, step_ns=step_ns))
        assert clocks.reading([QUIET, coarse]).verdict == verdict


def test_timers() -> None:
    found = clocks.timers([QUIET], 50_000)
    assert (found.verdict, found.value) == ("ok", "60 us late (p99 60 us), slack 50 us")
    assert clocks.timers([QUIET], None).value == "60 us late (p99 60 us)"
    # A load generator that wakes up after a request was due sends it late.
    late = replace(QUIET, late_ns=(SPIN_NS + 1,) * 100)
    assert clocks.timers([late], 50_000).verdict == "warning"
    punctual = replace(QUIET, late_ns=(SPIN_NS,) * 100)
    assert clocks.timers([punctual], 50_000).verdict == "ok"
