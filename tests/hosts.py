"""Hosts as files: what /proc and /sys say on some, recorded or made up to be hostile."""

from __future__ import annotations

from pathlib import Path

from iosim.procfs import Files

CPU = "/sys/devices/system/cpu"

VIRTUAL_MACHINE = {
    f"{CPU}/online": "0-1\n",
    f"{CPU}/cpu0/topology/core_cpus_list": "0\n",
    f"{CPU}/cpu1/topology/core_cpus_list": "1\n",
    f"{CPU}/vulnerabilities/meltdown": "Not affected\n",
    f"{CPU}/vulnerabilities/spectre_v1": "Mitigation: usercopy/swapgs barriers\n",
    f"{CPU}/vulnerabilities/spectre_v2": "Mitigation: Enhanced IBRS\n",
    f"{CPU}/vulnerabilities/mds": "Vulnerable\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "kvm-clock\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu tsc hypervisor\n\n"
    "processor\t: 1\n",
    "/proc/meminfo": "MemTotal:       24689664 kB\nMemAvailable:   23790592 kB\n",
    "/proc/sys/net/core/somaxconn": "4096\n",
    "/proc/sys/net/ipv4/ip_local_port_range": "32768\t60999\n",
    "/proc/sys/kernel/io_uring_disabled": "0\n",
    "/proc/self/cgroup": "0::/\n",
    "/proc/loadavg": "0.12 0.30 0.28 1/108 6642\n",
    "/proc/pressure/cpu": "some avg10=0.75 avg60=5.97 avg300=1.90 total=10194649\n",
}
"""Two cores, quiet, nothing in the way."""

LAPTOP = VIRTUAL_MACHINE | {
    f"{CPU}/online": "0-3\n",
    f"{CPU}/cpu0/topology/core_cpus_list": "0,2\n",
    f"{CPU}/cpu3/topology/core_cpus_list": "1,3\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
    f"{CPU}/cpu3/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/intel_pstate/no_turbo": "0\n",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "/proc/cpuinfo": "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu tsc\n",
}
"""Four cores, which are two with two threads each, and a frequency that varies."""


def host(root: Path, *parts: dict[str, str]) -> Files:
    """A host with these files, later ones in place of earlier ones."""
    for files in parts:
        for path, text in files.items():
            file = root / path.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    return Files(root)
