"""Real runs made up for tests."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

from iosim.results import Run, TaskTimes


def real_run(
    records: npt.NDArray[Any], pulses: npt.NDArray[Any], elapsed_ns: int, cpu_ns: int = 0
) -> Run:
    """A run of which only requests, pulses and processor time are known."""
    return Run(
        model="epoll",
        kernel="real",
        seed=1,
        records=records,
        tasks=(TaskTimes("program", cpu_ns, 0, 0),),
        syscalls={},
        empty_polls=0,
        context_switches=0,
        wakeups=0,
        drops=0,
        wait_for_data_ns=0,
        copy_data_ns=0,
        elapsed_ns=elapsed_ns,
        cores=1,
        wall_s=0.0,
        pulses=pulses,
    )
