"""Checks of what the kernel limits: connections, backlog, queued signals, memory, calls."""

from __future__ import annotations

from iosim import units
from iosim.compare import LIGHT
from iosim.doctor.finding import Finding, judge, unknown
from iosim.host.thishost import most_connections
from iosim.host.thread import BACKLOG
from iosim.procfs import Files
from iosim.room import memory_bytes

_MANY = 10_000
"""Connections at which the models are far apart: Kegel's C10K problem."""
_RUN_BYTES = 256 * 2**20
"""Three interpreters of some 50 MiB (this one, server, load) and the records of a million requests,
72 bytes each."""


def connections(files: Files, most_files: int) -> Finding:
    """How many connections a real run can have: open files and local ports."""
    most, limit = most_connections(most_files, files)
    # Fewer is worse: counted from the top, so that `judge` applies.
    verdict = judge(-most, 1 - _MANY, 1 - LIGHT.connections)
    return Finding(
        "connections",
        f"up to {max(0, most):,}: {limit}",
        "RLIMIT_NOFILE, getrlimit(2); net.ipv4.ip_local_port_range, ip(7)",
        verdict,
        ""
        if verdict == "ok"
        else f"the models differ most from some {_MANY:,} connections on: raise that limit "
        "(`ulimit -Hn 65536` as root, docker --ulimit nofile=65536, `sysctl -w "
        "net.ipv4.ip_local_port_range='1024 65535'`)",
    )


def backlog(files: Files) -> Finding:
    """How many connections may wait for accept."""
    path, source = "/proc/sys/net/core/somaxconn", "net.core.somaxconn, listen(2)"
    most = files.number(path)
    if most is None:
        return unknown("backlog", path, source)
    if most >= BACKLOG:
        return Finding("backlog", f"{most:,}", source)
    return Finding(
        "backlog",
        f"{most:,}",
        source,
        "warning",
        "clients that connect faster than a program accepts are turned away and try again after a "
        f"second: `sysctl -w net.core.somaxconn={BACKLOG}`",
    )


def signals(queued: int, wanted: int) -> Finding:
    """How many real-time signals may be queued, against one for each connection."""
    source = "RLIMIT_SIGPENDING, getrlimit(2)"
    if queued >= wanted:
        return Finding("queued signals", f"up to {queued:,}", source)
    return Finding(
        "queued signals",
        f"up to {queued:,}",
        source,
        "warning",
        "rtsig has one queued for each connection with news and falls back to a scan of all beyond "
        f"that: raise it (ulimit -i {wanted})",
    )


def memory(files: Files) -> Finding:
    """Whether a run finds room without swapping."""
    source = "MemAvailable, proc_meminfo(5); memory.max, Documentation/admin-guide/cgroup-v2.rst"
    available = memory_bytes(files)
    if available is None:
        return unknown("memory", "/proc/meminfo", source)
    value = f"{units.format_bytes(available)} available"
    if available >= _RUN_BYTES:
        return Finding("memory", value, source)
    return Finding(
        "memory",
        value,
        source,
        "problem",
        f"the processes of a run take up to {units.format_bytes(_RUN_BYTES)} and would be swapped "
        "out or killed: end other programs or raise the container's limit",
    )


def io_uring(files: Files, reason: str | None) -> Finding:
    """Whether rings can be set up; `reason` is why they cannot."""
    source = "io_uring_setup(2), tried; kernel.io_uring_disabled, admin-guide/sysctl/kernel.rst"
    if reason is None:
        return Finding("io_uring", "allowed", source)
    if files.number("/proc/sys/kernel/io_uring_disabled"):
        remedy = "`sysctl -w kernel.io_uring_disabled=0` as root"
    else:
        remedy = (
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp filter of "
            "the container; it takes Linux 5.6 or later"
        )
    return Finding(
        "io_uring",
        reason,
        source,
        "warning",
        f"the models on io_uring are left out of real runs: {remedy}",
    )


def aio(reason: str | None) -> Finding:
    """Whether the C library has POSIX AIO; `reason` is why it cannot be used."""
    source = "aio(7), looked up in the C library"
    if reason is None:
        return Finding("POSIX AIO", "in the C library", source)
    return Finding(
        "POSIX AIO",
        reason,
        source,
        "warning",
        "the model aio is left out of real runs: use a Python that is built for glibc",
    )
