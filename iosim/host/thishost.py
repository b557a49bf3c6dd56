"""What this host is, and what it cannot do."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time

from iosim.errors import HostRefused, IosimError
from iosim.host import libaio, liburing
from iosim.models import Model, get
from iosim.procfs import HERE, Files
from iosim.workload import Workload

_SPARE_THREADS = 256
"""Threads that others have, and those of a run beside its connections."""
_SPARE_FILES = 64
"""Descriptors that a process of a run needs beside its connections."""
# Python does not name them:
_RLIMIT_SIGPENDING = 11
_CLOCK_MONOTONIC_COARSE = 6


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def facts(files: Files = HERE) -> dict[str, str | int | float | bool | None]:
    """The facts that make cost profiles comparable, or not."""
    cpu = _cpuinfo(files)
    caches = _caches(files)
    return {
        "cpu": cpu.get("model name") or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(cores()),
        "l1d_bytes": caches.get((1, "Data")),
        "l2_bytes": caches.get((2, "Unified")),
        "l3_bytes": caches.get((3, "Unified")),
        "kernel": platform.release(),
        "tick_ns": tick_ns(),
        "virtualised": virtualised(files),
        "mitigations": " ".join(mitigations(files)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def tick_ns() -> int | None:
    """The time from one tick of the kernel to the next, 1 / CONFIG_HZ: the resolution of its coarse
    clocks, clock_getres(2)."""
    if platform.system() != "Linux":
        return None
    return round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9)


def virtualised(files: Files = HERE) -> bool:
    """Whether the processor says that a hypervisor runs it; only those of x86 do."""
    return "hypervisor" in _cpuinfo(files).get("flags", "")


def mitigations(files: Files = HERE) -> list[str]:
    """What the kernel does against processor vulnerabilities; it makes system calls dearer."""
    folder = "/sys/devices/system/cpu/vulnerabilities"
    return [
        path.rpartition("/")[2]
        for path in files.glob(f"{folder}/*")
        if (files.text(path) or "").startswith("Mitigation")
    ]


def _cpuinfo(files: Files) -> dict[str, str]:
    first = (files.text("/proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches(files: Files) -> dict[tuple[int, str], int]:
    caches = {}
    for folder in files.glob("/sys/devices/system/cpu/cpu0/cache/index*"):
        level = files.number(f"{folder}/level")
        kind = files.text(f"{folder}/type")
        size = (files.text(f"{folder}/size") or "").removesuffix("K")
        if level is not None and kind is not None and size.isdecimal():
            caches[level, kind] = int(size) * 1024
    return caches


def why_not(model: str | Model | None = None) -> str | None:
    """Why this host cannot run a model (or anything) for real, in one line; None when it can."""
    if platform.system() != "Linux":
        return f"real runs need Linux, this is {platform.system()}"
    if len(cores()) < 2:
        return "real runs need two cores, one for the server and one for the load"
    if model is None:
        return None
    model = get(model)
    if model.needs == "io_uring":
        return liburing.why_not()
    if model.needs == "aio":
        return libaio.why_not()
    return None


def port(number: object) -> int:
    """The number of a port; raises IosimError if it is none."""
    if type(number) is not int or not 0 <= number <= 65535:
        raise IosimError(
            f"port {number!r}: a port is a whole number from 0 to 65535; 0 is a free one"
        )
    return number


def why_not_pinned() -> str | None:
    """Why processes cannot be pinned to the cores of a run, in one line; None when they can."""
    allowed = cores()
    try:
        for core in (allowed[0], allowed[-1]):
            os.sched_setaffinity(0, {core})
    except OSError as error:
        return f"sched_setaffinity failed: {error.strerror}"
    finally:
        os.sched_setaffinity(0, allowed)
    return None


def open_files() -> int:
    """How many files a process of a run may open: the hard limit, to which it raises its own."""
    return _unless_infinite(resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def queued_signals() -> int:
    """How many signals may be pending for this user, RLIMIT_SIGPENDING in getrlimit(2)."""
    return _unless_infinite(resource.getrlimit(_RLIMIT_SIGPENDING)[0])


def _unless_infinite(limit: int) -> int:
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit


def most_connections(most_files: int, files: Files = HERE) -> tuple[int, str]:
    """How many connections a real run can have with so many open files, and the limit on them."""
    limits = [
        (most_files - _SPARE_FILES, f"a process may have {most_files} open files (ulimit -Hn)")
    ]
    # ip(7): local ports of connections; each has one of its own, as all go to the same address.
    if len(ends := files.numbers("/proc/sys/net/ipv4/ip_local_port_range") or []) == 2:
        ports = ends[1] - ends[0] + 1
        limits.append((ports, f"{ports} local ports (net.ipv4.ip_local_port_range)"))
    return min(limits)


def most_threads(files: Files = HERE) -> int:
    """How many threads there can be beside others: of this user, on this host, in this container
    (clone(2), EAGAIN; pids.max, Documentation/admin-guide/cgroup-v2.rst)."""
    limits = [
        _unless_infinite(resource.getrlimit(resource.RLIMIT_NPROC)[0]),
        files.number("/proc/sys/kernel/threads-max"),
        files.number("/sys/fs/cgroup/pids.max"),
    ]
    return max(0, min(limit for limit in limits if limit is not None) - _SPARE_THREADS)


def check(workload: Workload) -> None:
    """Raise HostRefused when this host cannot hold the workload's connections."""
    most, limit = most_connections(open_files())
    if most < 1:
        raise HostRefused(
            f"this host allows no real run: {limit}, and a run needs {_SPARE_FILES} beside its "
            "connections; raise the limit"
        )
    if workload.connections > most:
        raise HostRefused(
            f"{workload.connections} connections are more than the {most} that this host allows "
            f"in a real run: {limit}; use fewer connections or raise the limit"
        )
