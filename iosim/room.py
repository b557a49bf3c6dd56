"""How much memory this process could still have."""

from __future__ import annotations

import resource

from iosim.procfs import HERE, Files

_PAGE_BYTES = resource.getpagesize()


def memory_bytes(files: Files = HERE) -> int | None:
    """What a new program could have: MemAvailable, proc_meminfo(5), or a control group's limit;
    None where the host does not tell."""
    rooms = []
    for line in (files.text("/proc/meminfo") or "").splitlines():
        name, _, value = line.partition(":")
        size = value.removesuffix("kB").strip()
        if name == "MemAvailable" and size.isdecimal():
            rooms.append(int(size) * 1024)
    if not rooms:
        return None
    for group in files.groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = files.number(f"{group}/{name}")
            rooms += [] if limit is None else [limit]
    return min(rooms)


def address_bytes(files: Files = HERE) -> int | None:
    """What RLIMIT_AS, getrlimit(2), leaves this process, whose size is the first number of
    /proc/self/statm, proc_pid_statm(5); None where there is no limit."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    taken = files.numbers("/proc/self/statm")
    if limit == resource.RLIM_INFINITY or taken is None:
        return None
    return max(0, limit - taken[0] * _PAGE_BYTES)
