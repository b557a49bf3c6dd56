"""Verdicts on runs made up for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from iosim.compare import Cell
from iosim.results import PULSE, RECORD, Run, TaskTimes
from iosim.workload import Workload

REQUESTS, GAP_NS = 1_000, 1_000


def run(latency_ns: int, slow_to: int = 0, slower: float = 1.0, cpu_ns: int = 500) -> Run:
    """Requests that all take the same and as much processor time, but up to one at which the core
    gets to full speed they take so many times as much. A pulse comes with every tenth."""
    number = np.arange(REQUESTS)
    factor = np.where(number < slow_to, slower, 1.0)
    records = np.zeros(REQUESTS, RECORD)
    records["intended_ns"] = number * GAP_NS
    records["done_ns"] = records["replied_ns"] = records["intended_ns"] + latency_ns * factor
    spent_ns = np.cumsum(cpu_ns * factor)
    pulses = np.zeros(REQUESTS // 10, PULSE)
    pulses["at_ns"] = records["intended_ns"][::10]
    pulses["took_ns"] = 100 * factor[::10]
    pulses["server_ns"] = spent_ns[::10]
    return Run(
        model="epoll",
        kernel="real",
        seed=1,
        records=records,
        tasks=(TaskTimes("program", int(spent_ns[-1]), 0, 0),),
        syscalls={},
        empty_polls=0,
        context_switches=0,
        wakeups=0,
        drops=0,
        wait_for_data_ns=0,
        copy_data_ns=0,
        elapsed_ns=REQUESTS * GAP_NS,
        cores=1,
        wall_s=0.0,
        pulses=pulses,
    )


def cell(simulated: Run, real: Sequence[Run]) -> Cell:
    simulated = replace(simulated, pulses=np.zeros(0, PULSE))
    return Cell("epoll", Workload(requests=REQUESTS), [simulated], real, full_speed_ns=100)


@pytest.mark.parametrize(
    ("latency_ns", "cpu_ns", "verdict"),
    [
        (200, 500, "agrees within noise"),
        (204, 500, "agrees within noise"),
        (214, 500, "agrees within 10 %"),
        (200, 610, "agrees within 25 %"),
        (200, 900, "disagrees in CPU"),
        (300, 500, "disagrees in p50, p99"),
    ],
)
def test_verdict(latency_ns: int, cpu_ns: int, verdict: str) -> None:
    """Reality differs from itself by 3 %."""
    real = [run(200), run(206, cpu_ns=515), run(200)]
    assert cell(run(latency_ns, cpu_ns=cpu_ns), real).verdict == verdict


def test_what_passed_at_less_than_full_speed_does_not_count() -> None:
    slow = [run(200, slow_to=part, slower=1.6) for part in (500, 700, 600)]  # and as long slow
    found = cell(run(200), slow)
    assert found.calm_share == pytest.approx(0.4, abs=0.02)
    assert found.real["p50"] == found.real["p99"] == 200
    assert found.real["cpu_ns_per_request"] == pytest.approx(500, rel=0.03)
    assert found.verdict == "agrees within noise"


def test_too_noisy_to_tell() -> None:
    """Of two of three runs too little is left: the verdict says so, and the figures are of what
    there is."""
    slow = [run(200, slow_to=part, slower=1.6) for part in (950, 950, 500)]
    assert cell(run(200), slow).real["p50"] == 200
    assert (
        cell(run(200), slow).verdict == "too noisy to tell: full speed in 19% of the time"
    )  # (4 + 4 + 49) of 3 * 99
    slow = [run(200, slow_to=950, slower=1.6)] * 3
    assert cell(run(200), slow).real["p50"] == 320
    assert cell(run(200), slow).verdict.startswith("too noisy to tell")


def test_without_pulses_everything_counts() -> None:
    real = [replace(run(200), pulses=np.zeros(0, PULSE))]
    assert cell(run(200), real).verdict == "agrees within noise"
