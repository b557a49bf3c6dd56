"""Checks of the cores: two for a run, each its own, at one speed."""

from __future__ import annotations

from collections.abc import Sequence

from iosim.doctor.finding import Finding, unknown
from iosim.host.resources import cpu_quota
from iosim.host.thishost import mitigations as mitigated
from iosim.host.thishost import virtualised
from iosim.procfs import Files

_CPU = "/sys/devices/system/cpu"
_CPU_ABI = "Documentation/ABI/testing/sysfs-devices-system-cpu"
_NEEDED = 2
"""One core for the server and one for the load; both may spin."""


def usable(files: Files, cores: Sequence[int]) -> Finding:
    """How many cores there are, and how many this process may use."""
    source = "sched_getaffinity(2); " + _CPU_ABI + ", online"
    path = f"{_CPU}/online"
    online = files.cores(path)
    value = f"{len(cores)} usable" + (f" of {len(online)}" if online else "")
    if len(cores) >= _NEEDED:
        return Finding("cores", value, source)
    if online and len(online) >= _NEEDED:
        remedy = "let this process use more of them (taskset(1), cpuset(7), docker --cpuset-cpus)"
    else:
        remedy = "measure on a host with two"
    return Finding(
        "cores",
        value,
        source,
        "problem",
        f"a real run needs two cores, one for the server and one for the load: {remedy}",
    )


def siblings(files: Files, cores: Sequence[int]) -> Finding:
    """Whether the cores of a run, the first and the last, are threads of one physical core."""
    first, last = cores[0], cores[-1]
    source = "Documentation/admin-guide/cputopology.rst, core_cpus_list"
    if first == last:
        return Finding("hyper-threads", "a single core", source)

    def together(core: int) -> list[int] | None:
        # The second is the name until Linux 5.2.
        for name in ("core_cpus_list", "thread_siblings_list"):
            if (found := files.cores(f"{_CPU}/cpu{core}/topology/{name}")) is not None:
                return found
        return None

    shared = together(first)
    if shared is None:
        return unknown("hyper-threads", f"{_CPU}/cpu{first}/topology/core_cpus_list", source)
    if last not in shared:
        hidden = ", as far as the hypervisor tells" if virtualised(files) else ""
        return Finding("hyper-threads", f"cores {first} and {last} are apart{hidden}", source)
    others = [core for core in cores if core not in shared]
    if others:
        remedy = f"start it as `taskset -c {first},{others[0]} iosim ...`"
    else:
        remedy = f"switch them off (echo off > {_CPU}/smt/control) if that leaves two cores"
    return Finding(
        "hyper-threads",
        f"cores {first} and {last} are threads of one physical core",
        source,
        "warning",
        f"the load generator spins and slows the server beside it: {remedy}",
    )


def pinning(reason: str | None) -> Finding:
    """Whether processes can be pinned; `reason` is why they cannot."""
    source = "sched_setaffinity(2), tried"
    if reason is None:
        return Finding("pinning", "possible", source)
    return Finding(
        "pinning",
        reason,
        source,
        "problem",
        "server and load must stay on cores of their own: allow the call in the sandbox's filter",
    )


def quota(files: Files) -> Finding:
    """Whether the control group lets the process have two cores all the time."""
    source = "Documentation/admin-guide/cgroup-v2.rst, cpu.max; cgroups(7)"
    cores = cpu_quota(files)
    if cores is None:
        return Finding("CPU quota", "none", source)
    value = f"{cores:.2g} cores"
    if cores >= _NEEDED:
        return Finding("CPU quota", value, source)
    return Finding(
        "CPU quota",
        value,
        source,
        "problem",
        "server and load together use two cores, and are stopped for the rest of each period once "
        "the quota is used up: raise it to 2 (docker --cpus 2, cpu.max)",
    )


def governor(files: Files, cores: Sequence[int]) -> Finding:
    """Whether the cores of a run keep their frequency."""
    source = "Documentation/admin-guide/pm/cpufreq.rst, scaling_governor"
    paths = (f"{_CPU}/cpu{core}/cpufreq/scaling_governor" for core in (cores[0], cores[-1]))
    found = sorted({name for path in paths if (name := files.text(path)) is not None})
    if not found:
        who = "the hypervisor decides" if virtualised(files) else "the firmware decides"
        return Finding("frequency scaling", f"none here: {who}", source)
    value = f"governor {', '.join(found)}"
    if found == ["performance"]:
        return Finding("frequency scaling", value, source)
    return Finding(
        "frequency scaling",
        value,
        source,
        "warning",
        "a core that has been idle computes more slowly for a while, so that light loads look "
        "dear: set the governor `performance` (cpupower frequency-set -g performance)",
    )


def turbo(files: Files) -> Finding:
    """Whether the frequency depends on temperature and on what the other cores do."""
    source = "Documentation/admin-guide/pm/intel_pstate.rst, no_turbo; cpufreq.rst, boost"
    path, off = f"{_CPU}/intel_pstate/no_turbo", 1
    setting = files.number(path)
    if setting is None:
        path, off = f"{_CPU}/cpufreq/boost", 0
        setting = files.number(path)
    if setting is None:
        return Finding("turbo", "no control here", source)
    if setting == off:
        return Finding("turbo", "off", source)
    return Finding(
        "turbo",
        "on",
        source,
        "warning",
        "the frequency falls as the processor warms up and as more cores work: switch it off "
        f"for long comparisons (echo {off} > {path})",
    )


def virtualisation(files: Files) -> Finding:
    """Whether this is a virtual machine, as far as the processor tells."""
    value = "none told"
    if virtualised(files):
        value = "a virtual machine: wake-ups are dearer, results hold for it alone"
    return Finding("virtualisation", value, "the flag hypervisor of /proc/cpuinfo, proc_cpuinfo(5)")


def mitigations(files: Files) -> Finding:
    """How many vulnerabilities of the processor make system calls dearer here."""
    count = len(mitigated(files))
    return Finding(
        "mitigations",
        f"{count or 'no'} vulnerabilit{'y' if count == 1 else 'ies'} of the processor mitigated",
        "Documentation/admin-guide/hw-vuln/; " + _CPU_ABI + ", vulnerabilities",
    )
