"""Checks of the clocks and timers with which runs are measured."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median, quantiles

from iosim import units
from iosim.doctor.finding import Finding, unknown
from iosim.host.jitter import Jitter
from iosim.host.load import SPIN_NS
from iosim.procfs import Files

_FOLDER = "/sys/devices/system/clocksource/clocksource0"
_SLOW = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
"""Not readable by a program itself (vdso(7)), and slow or coarse for the kernel as well."""
_STEP_NS = 1_000
"""Calibration takes the time of blocks of 8 to 64 calls of at least some hundred nanoseconds each:
a clock must tell a microsecond apart."""


def source(files: Files) -> Finding:
    """Which counter the kernel takes the time from."""
    document = "current_clocksource; clocksource= of Documentation/admin-guide/kernel-parameters"
    path = f"{_FOLDER}/current_clocksource"
    name = files.text(path)
    if not name:
        return unknown("clock source", path, document)
    if name not in _SLOW:
        return Finding("clock source", name, document)
    return Finding(
        "clock source",
        name,
        document,
        "problem",
        "each reading takes a microsecond or more, and a real run reads the clock several times "
        f"per request: choose another of {_FOLDER}/available_clocksource (tsc, kvm-clock), or boot "
        "with tsc=reliable if the kernel has given up the TSC",
    )


def reading(seen: Sequence[Jitter]) -> Finding:
    """What a reading costs, and whether the clocks are fine enough and never go back."""
    document = "clock_gettime(2), vdso(7); measured"
    read_ns = median(one.monotonic.read_ns for one in seen)
    call_ns = median(one.thread_time.read_ns for one in seen)
    steps_ns = [one.thread_time.step_ns for one in seen]
    value = f"{read_ns:.0f} ns a reading, {call_ns:.0f} ns of thread time"
    if any(one.monotonic.backwards for one in seen):
        return Finding(
            "clock reading",
            "CLOCK_MONOTONIC goes back",
            document,
            "problem",
            "the counters of the cores do not agree: boot with another clocksource= (hpet is slow "
            "and right)",
        )
    if not 0 < min(steps_ns) <= max(steps_ns) <= _STEP_NS:
        moves = f"in steps of {units.format_time(max(steps_ns))}" if min(steps_ns) else "not at all"
        return Finding(
            "clock reading",
            f"thread time moves {moves}",
            document,
            "problem",
            "single calls cannot be priced: use a kernel with CONFIG_HIGH_RES_TIMERS, outside of "
            "emulating sandboxes",
        )
    # The clock of a thread's time always takes a system call.
    if read_ns > call_ns / 2:
        return Finding(
            "clock reading",
            value,
            document,
            "warning",
            "the clock is read by a system call, which is in every figure: boot without vdso=0, "
            "run outside of emulating sandboxes",
        )
    return Finding("clock reading", value, document)


def timers(seen: Sequence[Jitter], slack_ns: int | None) -> Finding:
    """How late sleeping threads wake up; `slack_ns` is what the kernel may add on purpose."""
    late_ns = [late for one in seen for late in one.late_ns]
    high_ns = quantiles(late_ns, n=100)[98]
    value = f"{units.format_time(median(late_ns))} late (p99 {units.format_time(high_ns)})"
    if slack_ns is not None:
        value += f", slack {units.format_time(slack_ns)}"
    document = "clock_nanosleep(2), measured; proc_pid_timerslack_ns(5)"
    if high_ns <= SPIN_NS:
        return Finding("timers", value, document)
    return Finding(
        "timers",
        value,
        document,
        "warning",
        f"the load generator wakes {units.format_time(SPIN_NS)} before a request is due, and would "
        "send late: end other programs, and see a run's `late sends`",
    )
