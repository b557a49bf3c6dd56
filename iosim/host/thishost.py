"""What this host is, and what it cannot do."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

from iosim.errors import HostRefused
from iosim.host import libaio, liburing
from iosim.models import Model
from iosim.workload import Workload

_SPARE_FILES = 64
"""Descriptors that a process of a run needs beside its connections."""


def cores() -> list[int]:
    """The cores this process may use."""
    return sorted(os.sched_getaffinity(0))


def facts() -> dict[str, str | int | float | bool | None]:
    """The facts that make cost profiles comparable, or not."""
    cpu = _cpuinfo()
    caches = _caches()
    return {
        "cpu": cpu.get("model name") or platform.machine(),
        "architecture": platform.machine(),
        "cores": len(cores()),
        "l1d_bytes": caches.get((1, "Data")),
        "l2_bytes": caches.get((2, "Unified")),
        "l3_bytes": caches.get((3, "Unified")),
        "kernel": platform.release(),
        "virtualised": "hypervisor" in cpu.get("flags", ""),
        "mitigations": _mitigations(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _cpuinfo() -> dict[str, str]:
    try:
        first = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _caches() -> dict[tuple[int, str], int]:
    caches = {}
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level = int((folder / "level").read_text())
            kind = (folder / "type").read_text().strip()
            size = (folder / "size").read_text().strip()
        except OSError:
            continue
        caches[level, kind] = int(size.removesuffix("K")) * 1024
    return caches


def _mitigations() -> str:
    """What the kernel does against processor vulnerabilities; it makes system calls dearer."""
    found = []
    for file in sorted(Path("/sys/devices/system/cpu/vulnerabilities").glob("*")):
        state = file.read_text().strip()
        if state.startswith("Mitigation"):
            found.append(file.name)
    return " ".join(found)


def why_not(model: Model | None = None) -> str | None:
    """Why this host cannot run a model (or anything) for real, in one line; None when it can."""
    if platform.system() != "Linux":
        return f"real runs need Linux, this is {platform.system()}"
    if len(cores()) < 2:
        return "real runs need two cores, one for the server and one for the load"
    if model is None:
        return None
    if model.needs == "io_uring":
        return liburing.why_not()
    if model.needs == "aio":
        return libaio.why_not()
    return None


def most_connections() -> tuple[int, str]:
    """How many connections a real run can have here, and the limit that says so."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    return min(
        (files - _SPARE_FILES, f"a process may have {files} open files (ulimit -Hn)"),
        (high - low + 1, f"{high - low + 1} local ports (net.ipv4.ip_local_port_range)"),
    )


def check(workload: Workload) -> None:
    """Raise HostRefused when this host cannot hold the workload's connections."""
    most, limit = most_connections()
    if workload.connections > most:
        raise HostRefused(
            f"{workload.connections} connections are more than the {most} that this host allows "
            f"in a real run: {limit}; use fewer connections or raise the limit"
        )
