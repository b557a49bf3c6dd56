"""What this process may have of the host's processor time and memory, and what others take."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import NamedTuple

from iosim.host.files import HERE, Files


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
    for group in _groups("cpu", files):
        both = (files.text(f"{group}/cpu.max") or "").split()
        if len(both) != 2:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            both = [files.text(f"{group}/{name}") or "" for name in names]
        # "max" and -1 are no limit.
        if both[0].isdecimal() and both[1].isdecimal() and int(both[1]):
            quotas.append(int(both[0]) / int(both[1]))
    return min(quotas, default=None)


def memory_bytes(files: Files = HERE) -> int | None:
    """What a new program could have: MemAvailable, proc_meminfo(5), or a control group's limit."""
    rooms = []
    for line in (files.text("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        size = value.removesuffix("kB").strip()
        if name == "MemAvailable" and size.isdecimal():
            rooms.append(int(size) * 1024)
    if not rooms:
        return None
    for group in _groups("memory", files):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = files.number(f"{group}/{name}")
            rooms += [] if limit is None else [limit]
    return min(rooms)


def _groups(controller: str, files: Files) -> list[str]:
    """The folders of this process's control group and of all above it, cgroups(7).

    Where a container sees its own group as the root only, the others are missing.
    """
    folders = []
    for line in (files.text("/proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, colon, path = rest.partition(":")
        if colon and (not controllers or controller in controllers.split(",")):
            mount = f"/sys/fs/cgroup/{controller}" if controllers else "/sys/fs/cgroup"
            own = PurePosixPath(path)
            folders += [f"{mount}{group}".rstrip("/") for group in (own, *own.parents)]
    return folders
