"""Checks of how quiet the host is: what others take, how steady it is, how far runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from iosim import units
from iosim.agreement import LIMIT, SHORT
from iosim.doctor.finding import Finding, judge
from iosim.host.jitter import GAP_NS, Jitter
from iosim.host.resources import Ticks
from iosim.procfs import Files

_IN_P99, _IN_MEAN = 0.01, 0.10
"""Shares of lost time. A request that comes while the core is gone waits for it: from 1 % on that
makes the 99th percentile; at 10 % a core does a tenth less than its figures say."""

_BUSY = 0.10
"""Share of other programs that is worth a word; it is measured in clock ticks, for so short a time
that a single one is several per cent. What they really take is seen by `lost`."""

_TELLS = LIMIT / 3
"""From this noise on, only differences that are near to the limit of agreement can be told from
it; beyond the limit itself none that count."""


def others(
    files: Files, cores: Sequence[int], before: Mapping[int, Ticks], after: Mapping[int, Ticks]
) -> Finding:
    """What other programs do on the cores of a run while iosim does nothing."""
    shares = {
        core: (after[core].busy - before[core].busy)
        / max(1, after[core].total - before[core].total)
        for core in sorted({*cores} & before.keys() & after.keys())
    }
    told = [f"core {core} {share:.0%}" for core, share in shares.items()]
    load = (files.text("/proc/loadavg") or "").split()
    told += [f"load {load[0]}"] if load else []
    pressure = (files.text("/proc/pressure/cpu") or "").partition("avg10=")[2].split()
    told += [f"pressure {pressure[0]}%"] if pressure else []
    source = "proc_stat(5); proc_loadavg(5); Documentation/accounting/psi.rst"
    if max(shares.values(), default=0) < _BUSY:
        return Finding("other programs", ", ".join(told) or "not told", source)
    return Finding(
        "other programs",
        ", ".join(told),
        source,
        "warning",
        "they take time from what is measured: end them, or keep them off these cores "
        "(isolcpus=, cpuset(7))",
    )


def lost(seen: Sequence[Jitter]) -> Finding:
    """What a spinning thread lost on each core, and to whom."""
    worst = max(seen, key=lambda one: one.lost)
    value = f"{worst.lost:.2%} on core {worst.core}"
    if worst.gaps_ns:
        value += (
            f": {len(worst.gaps_ns) / worst.spun_ns * 1e9:.0f} gaps/s over "
            f"{units.format_time(GAP_NS)}, up to {units.format_time(max(worst.gaps_ns))}"
        )
    source = "measured as by Documentation/trace/osnoise-tracer.rst; run_delay of sched-stats.rst"
    verdict = judge(worst.lost, _IN_P99, _IN_MEAN)
    if verdict == "ok":
        return Finding("lost time", value, source)
    gone_ns = sum(worst.gaps_ns)
    if worst.queued_ns > gone_ns / 2:
        remedy = "other programs had most of it: end them (top(1) shows them)"
    elif (worst.stolen or 0) > worst.lost / 2:
        remedy = "the hypervisor took most of it: see stolen time"
    else:
        remedy = (
            "interrupts had it, or a hypervisor that does not tell: move interrupts to other cores "
            "(/proc/irq/*/smp_affinity) or measure on hardware of your own"
        )
    return Finding("lost time", value, source, verdict, f"latencies include it; {remedy}")


def stolen(seen: Sequence[Jitter]) -> Finding:
    """What the hypervisor admits to have taken meanwhile."""
    source = "steal of /proc/stat, proc_stat(5)"
    shares = {one.core: one.stolen for one in seen if one.stolen is not None}
    if not shares:
        return Finding("stolen time", "not told", source)
    value = ", ".join(f"core {core} {share:.1%}" for core, share in shares.items())
    verdict = judge(max(shares.values()), _IN_P99, _IN_MEAN)
    return Finding(
        "stolen time",
        value,
        source,
        verdict,
        ""
        if verdict == "ok"
        else "other machines on this hardware take it: measure at another time, on a dedicated "
        "instance, or on hardware of your own",
    )


def speed(seen: Sequence[Jitter]) -> Finding:
    """Whether the same work takes the same processor time again and again."""
    value = ", ".join(f"core {one.core} {one.unsteady:+.1%}" for one in seen)
    verdict = judge(max(abs(one.unsteady) for one in seen), _TELLS, LIMIT)
    return Finding(
        "steady speed",
        value,
        "CLOCK_THREAD_CPUTIME_ID, clock_gettime(2), measured",
        verdict,
        ""
        if verdict == "ok"
        else "the cores change speed (frequency, a busy hyper-thread beside them, caches shared "
        "with neighbours): fix the frequency, end other programs, or repeat more often",
    )


def noise(figures: Mapping[str, float]) -> Finding:
    """How far short real runs of the same load differ from each other."""
    told = [f"{SHORT[name]} ±{abs(share):.1%}" for name, share in figures.items()]
    verdict = judge(expected(figures), _TELLS, LIMIT)
    return Finding(
        "noise floor",
        ", ".join(told),
        "iosim.agreement.noise of short runs",
        verdict,
        ""
        if verdict == "ok"
        else f"differences below {expected(figures):.0%} between models, or between simulation and "
        "reality, say nothing here: cure what is above, and make more and longer runs (--repeats, "
        "--requests)",
    )


def expected(figures: Mapping[str, float]) -> float:
    """The share by which two runs may differ, the tail of latency left aside."""
    return max(abs(share) for name, share in figures.items() if name not in ("p90", "p99"))
