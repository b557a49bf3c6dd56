"""What this process may have of the host's processor time, and what others take."""

from __future__ import annotations

from typing import NamedTuple

from iosim.procfs import HERE, Files


class Ticks(NamedTuple):
    """What a core did since boot, in clock ticks: /proc/stat, proc_stat(5)."""

    busy: int
    """For programs and interrupts."""
    stolen: int
    """Taken by the hypervisor for other machines."""
    total: int


def ticks(files: Files = HERE) -> dict[int, Ticks]:
    """By core; those that the file does not tell are missing."""
    found = {}
    for line in (files.text("/proc/stat") or "").splitlines():
        name, *values = line.split() or [""]
        core = name.removeprefix("cpu")
        if core.isdecimal() and core != name and all(value.isdecimal() for value in values):
            # Guest time, the last two, is contained in user and nice.
            user, nice, system, idle, iowait, irq, softirq, stolen = (
                [int(value) for value in values] + 8 * [0]
            )[:8]
            busy = user + nice + system + irq + softirq
            found[int(core)] = Ticks(busy, stolen, busy + stolen + idle + iowait)
    return found


def cpu_quota(files: Files = HERE) -> float | None:
    """How many cores' worth of time this process's control groups allow; None is no limit.

    cpu.max of version 2 and cpu.cfs_quota_us of version 1: so many microseconds in each period.
    """
    quotas = []
    for group in files.groups("cpu"):
        both = (files.text(f"{group}/cpu.max") or "").split()
        if len(both) != 2:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            both = [files.text(f"{group}/{name}") or "" for name in names]
        # "max" and -1 are no limit.
        if both[0].isdecimal() and both[1].isdecimal() and int(both[1]):
            quotas.append(int(both[0]) / int(both[1]))
    return min(quotas, default=None)
