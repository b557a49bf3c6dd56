"""Whether a run fits: its times into 64-bit nanoseconds, and its data into this host's memory.

Both are estimated before it begins, from above: the time as if everything came one after the other,
the memory by what was measured. A run that does not fit would end in the middle, or with times that
have overflown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields
from typing import NamedTuple

from iosim.costs import CALLS, CostProfile
from iosim.errors import HostRefused, IosimError
from iosim.kernel import READ_BYTES
from iosim.machine import Machine, Nic
from iosim.models import IoUringMultishot, Model
from iosim.room import address_bytes, memory_bytes
from iosim.service import Service
from iosim.units import format_bytes, write_time
from iosim.workload import Workload

LONGEST_NS = 2**62
"""146 years. Half of what 64 bits hold: how long queues get, and how often packets are lost, is not
known beforehand."""
_YEAR_NS = 365.25 * 86_400 * 1e9
_RETRANSMIT_MAX_NS = 120e9
"""See `Nic.retransmit_ns`."""

# What a run takes in this process, and a real one in its two others. Measured as the rise of the
# largest resident set (ru_maxrss, getrusage(2)) from a few of each to tens of thousands, CPython
# 3.11 on x86-64, and rounded up. Of connections and requests the dearest model counts.
_CONNECTION_BYTES, _REAL_CONNECTION_BYTES = 576, 2_048
_REQUEST_BYTES, _REAL_REQUEST_BYTES = 352, 1_024
_PACKET_BYTES = 288
_TRACED_REQUEST_BYTES = 2_048
_THREAD_BYTES = 3_800
_CORE_BYTES = 3_328
_QUEUE_BYTES = 1_408
_SMALL_BYTES = 64 * 2**20
"""So much is there: a look at what the host has would take a short run noticeably longer."""


class _Part(NamedTuple):
    """What makes a run long, or large."""

    amount: float
    """ns or bytes."""
    cause: str
    way_out: str


def check_limits(
    workload: Workload,
    model: object = None,
    machine: Machine | None = None,
    profile: CostProfile | None = None,
    *,
    traced: bool = False,
) -> None:
    """Raise IosimError for a run that could take longer than `LONGEST_NS`, and HostRefused for one
    that needs more memory than this host has left; both name the largest cause.

    Without `machine` and `profile` the run is a real one. A `model` that is a program of the user's
    is not known to make threads.
    """
    known = model if isinstance(model, Model) else None
    sizes = list(_sizes(workload, known, machine))
    if traced:
        size, cause = workload.requests * _TRACED_REQUEST_BYTES, "a trace of requests"
        sizes.append(_Part(size, f"{cause} = {workload.requests}", "trace fewer"))
    _check_memory(sizes)
    times = list(_times(workload, known))
    if machine is not None and profile is not None:
        times += _simulated_times(workload, machine, profile)
    _check_time(times, machine)


# --- time --------------------------------------------------------------------------------------


def _check_time(parts: list[_Part], machine: Machine | None) -> None:
    total_ns = sum(part.amount for part in parts)
    if machine is not None and machine.interference is not None:
        total_ns /= 1 - machine.interference.share
    if total_ns < LONGEST_NS:
        return
    worst, years = max(parts), total_ns / _YEAR_NS
    raise IosimError(
        f"{worst.cause}: the run could take {years:{',.0f' if years < 1e6 else '.0e'}} years, and "
        f"times are whole nanoseconds below 2**62, {LONGEST_NS / _YEAR_NS:.0f} years; "
        f"{worst.way_out}"
    )


def _times(workload: Workload, model: Model | None) -> Iterator[_Part]:
    """What the workload and the model's own pauses take."""
    requests, connections = workload.requests, workload.connections
    if workload.arrivals == "closed":
        rounds = -(-requests // workload.active_connections)
        yield _Part(
            rounds * workload.think_ns,
            f"think_ns = {write_time(workload.think_ns)} before {rounds} requests of a client",
            "think for less time or make fewer requests",
        )
    else:
        burst = workload.burst if workload.arrivals == "bursty" else 1
        bursts = -(-requests // burst)
        gaps = bursts if workload.arrivals == "even" else _most_of_exponential(bursts)
        yield _Part(
            gaps * burst * 1e9 / workload.rate_per_s,
            f"rate_per_s = {workload.rate_per_s:g} for {requests} requests",
            "use a higher rate or fewer requests",
        )
    yield _Part(
        connections * workload.connect_gap_ns,
        f"connect_gap_ns = {write_time(workload.connect_gap_ns)} for {connections} connections",
        "use a shorter gap or fewer connections",
    )
    yield _Part(
        _most_of_service(workload.service, requests),
        f"service = {workload.service} for {requests} requests",
        "compute for less time or make fewer requests",
    )
    for field in fields(model) if model is not None else ():
        if field.name.endswith("_ns"):
            pause_ns = getattr(model, field.name)
            yield _Part(
                pause_ns * (requests + connections),
                f"{field.name} = {write_time(pause_ns)} for {requests} requests",
                "let the model pause for less time or make fewer requests",
            )


def _most_of_exponential(count: int) -> float:
    """What the sum of so many exponential variables of mean 1 exceeds less than once in 10**15
    times: nine standard deviations, and for few of them the tail of one."""
    return count + 9 * math.sqrt(count) + 45


def _most_of_service(service: Service, requests: int) -> float:
    constant = service.distribution == "constant"
    return service.mean_ns * (requests if constant else _most_of_exponential(requests))


def _simulated_times(workload: Workload, machine: Machine, profile: CostProfile) -> Iterator[_Part]:
    """What the calls and the network of a simulated run take."""
    requests, sizes = workload.requests, (workload.request_bytes, workload.reply_bytes)
    exchanged = f"{requests} requests of {sizes[0]} bytes and replies of {sizes[1]}"
    yield _Part(
        _processing_ns(workload, profile),
        f"{exchanged} by cost profile {profile.name!r}",
        "use smaller requests and replies, fewer of them, or cheaper costs",
    )
    if (nic := machine.nic) is None:
        return
    packets = _packets(nic, sizes[0]) + _packets(nic, sizes[1])
    bits = sum(sizes) * 8 + packets * nic.packet_bits(0)
    yield _Part(
        requests * bits * 1e9 / nic.link_bits_per_s,
        f"link_bits_per_s = {nic.link_bits_per_s} for {exchanged}",
        "use a faster link, or less to send",
    )
    for name, times in (("latency_ns", 2 * requests), ("coalesce_ns", packets * requests)):
        yield _Part(
            getattr(nic, name) * times,
            f"{name} = {write_time(getattr(nic, name))} for {requests} requests",
            "use a shorter time or fewer requests",
        )
    packet_ns = sum(profile.costs[name].value for name in ("irq_ns", "softirq_ns_per_packet"))
    yield _Part(
        requests * packets * packet_ns,
        f"{exchanged} in {packets} packets by cost profile {profile.name!r}",
        "send fewer packets, or let them cost less",
    )
    # As if each packet were lost once.
    yield _Part(
        min(nic.retransmit_ns, _RETRANSMIT_MAX_NS) * packets * requests,
        f"retransmit_ns = {write_time(nic.retransmit_ns)} for {exchanged}",
        "send a packet again sooner, or send fewer",
    )


def _processing_ns(workload: Workload, profile: CostProfile) -> float:
    """Every call once for each piece of a request and of its reply, with a wake-up; and for each
    request its copies and a scan of all connections, with nothing in the caches."""
    costs = {name: cost.value for name, cost in profile.costs.items()}
    rows = [*profile.wakeup, *profile.wakeup_ticking]
    wakeup_ns = max(max(row.latency_ns) + row.cpu_ns + row.cold_ns for row in rows)
    calls_ns = sum(cost for name, cost in costs.items() if name.endswith("_ns"))
    calls_ns += len(CALLS) * costs["user_ns"]
    pieces = 2 + workload.request_bytes // READ_BYTES + workload.reply_bytes // READ_BYTES
    misses = 1 + profile.caches.memory_steps
    byte_ns = costs["copy_ns_per_byte"] + misses * costs["copy_miss_ns_per_byte"]
    copies_ns = 3 * (workload.request_bytes + workload.reply_bytes) * byte_ns
    fd_ns = max(cost for name, cost in costs.items() if name.endswith("_fd_ns"))
    scan_ns = workload.connections * (fd_ns + misses * costs["fd_miss_ns"])
    each_ns = pieces * (calls_ns + wakeup_ns) + copies_ns + scan_ns
    return (workload.requests + workload.connections) * each_ns


def _packets(nic: Nic, nbytes: int) -> int:
    return -(-nbytes // nic.payload_bytes)


# --- memory ------------------------------------------------------------------------------------


def _check_memory(parts: list[_Part]) -> None:
    total = sum(part.amount for part in parts)
    if total < _SMALL_BYTES:
        return
    rooms = [
        (room, limit)
        for room, limit in (
            (memory_bytes(), "available"),
            (address_bytes(), "left of its address space (ulimit -v)"),
        )
        if room is not None
    ]
    room, limit = min(rooms, default=(math.inf, ""))
    if total <= room:
        return
    worst = max(parts)
    raise HostRefused(
        f"{worst.cause}: the run would take some {format_bytes(total)} of this host's memory, and "
        f"this process has {format_bytes(room)} {limit}; {worst.way_out}"
    )


def _sizes(workload: Workload, model: Model | None, machine: Machine | None) -> Iterator[_Part]:
    """What the run takes of this host's memory."""
    requests, connections = workload.requests, workload.connections
    each = _REAL_CONNECTION_BYTES if machine is None else _CONNECTION_BYTES
    yield _Part(connections * each, f"connections = {connections}", "use fewer connections")
    each = _REAL_REQUEST_BYTES if machine is None else _REQUEST_BYTES
    yield _Part(requests * each, f"requests = {requests}", "make fewer requests")
    if machine is None:
        if isinstance(model, IoUringMultishot):
            cause = f"buffers = {model.buffers} of buffer_bytes = {model.buffer_bytes}"
            yield _Part(model.buffers * model.buffer_bytes, cause, "use fewer or smaller buffers")
        return
    if model is not None:
        count = model.threads_made(connections, requests)
        yield _Part(count * _THREAD_BYTES, f"{count} threads", "use fewer threads")
    yield _Part(machine.cores * _CORE_BYTES, f"cores = {machine.cores}", "use fewer cores")
    if (nic := machine.nic) is not None:
        yield _Part(nic.queues * _QUEUE_BYTES, f"queues = {nic.queues}", "use fewer queues")
        packets = _packets(nic, workload.request_bytes)
        at_once = min(requests, workload.active_connections if workload.arrivals == "closed" else 1)
        yield _Part(
            at_once * packets * _PACKET_BYTES,
            f"{at_once} requests of {packets} packets at once",
            "send smaller requests",
        )
