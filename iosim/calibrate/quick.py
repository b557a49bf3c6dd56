"""Calibration in under a minute: measure this host and return its cost profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from iosim.calibrate import bench
from iosim.costs import ABOUT, CALLS, Cost, CostProfile, WakeUp
from iosim.errors import HostRefused
from iosim.host import facts, run_real, why_not
from iosim.host.child import child
from iosim.host.thishost import cores
from iosim.results import Run
from iosim.workload import Workload

Samples = Mapping[str, Sequence[float]]
Progress = Callable[[float, str], None]
"""Told how much is done (0 to 1) and what is measured next."""

IDLE_NS = (10_000, 30_000, 60_000, 100_000, 200_000, 400_000, 1_000_000, 4_000_000, 20_000_000)
"""Pauses after which the wake-up of a sleeping server is measured."""
WAKE_SECONDS = 1.0
"""How long each of them is measured for."""
PASSES = 2
"""Times that all pauses are gone through."""
QUANTILES = (np.arange(20) + 0.5) / 20

_PARTS = 6


def quick(progress: Progress = lambda *_: None) -> CostProfile:
    """Measure the costs of this host under this Python, by micro-benchmarks alone.

    Raises HostRefused where real runs are impossible.
    """
    if (reason := why_not()) is not None:
        raise HostRefused(f"cannot calibrate: {reason}; use --profile native or --profile python")
    steps = _PARTS + 1 + PASSES * len(IDLE_NS)
    samples = _bench(lambda part, name: progress(part / steps, name))
    costs = _costs(samples)
    progress(_PARTS / steps, "delivery")
    costs |= _delivery(costs)
    seen: dict[int, list[tuple[WakeUp, float]]] = {idle_ns: [] for idle_ns in IDLE_NS}
    for number, idle_ns in enumerate(PASSES * IDLE_NS):
        progress((_PARTS + 1 + number) / steps, f"wake-up after {idle_ns / 1000:.0f} us")
        seen[idle_ns].append(_wakeup(costs, idle_ns))
    # A busy neighbour only ever adds: the quieter of the passes is nearer to the cost itself.
    quietest = {idle_ns: min(both, key=lambda one: one[0].cpu_ns) for idle_ns, both in seen.items()}
    wakeup = sorted((row for row, _ in quietest.values()), key=lambda row: row.idle_ns)
    waking_send_ns = quietest[100_000][1]
    costs["client_wake_ns"] = Cost(
        value=max(0.0, waking_send_ns - costs["client_send_ns"].value), source="measured"
    )
    costs |= _sleep(samples, wakeup)
    costs |= _assumed()
    progress(1, "done")
    host = facts()
    return CostProfile(
        name=f"{host['cpu']}, {host['python']}",
        runtime="python",
        host=host,
        costs={name: costs[name] for name in ABOUT},
        wakeup=wakeup,
        wakeup_source="measured",
    )


def _bench(progress: Callable[[int, str], None]) -> Samples:
    """Run the micro-benchmarks of single calls; passes commands on to their peer."""
    first, last = cores()[0], cores()[-1]
    with (
        child("benchmark", "iosim.calibrate.bench", last) as server,
        child("benchmark's peer", "iosim.calibrate.peer", first) as peer,
    ):
        parts = 0
        while True:
            message = server.hear(60)
            if message[0] == "samples":
                samples: Samples = message[1]
                return samples
            if message[0] == "part":
                progress(parts, message[1])
                parts += 1
                server.tell(None)
            else:
                server.tell(peer.ask(message))


def _cost(values: Sequence[float], less_ns: float = 0, note: str = "") -> Cost:
    """The median, not below zero, with the quartiles as spread."""
    low, middle, high = np.quantile(np.asarray(values) - less_ns, [0.25, 0.5, 0.75])
    return Cost(
        value=round(max(0.0, float(middle)), 2),
        source="measured",
        spread=(round(float(low), 2), round(float(high), 2)),
        note=note,
    )


def _costs(samples: Samples) -> dict[str, Cost]:
    """Prices of single calls from the samples of the micro-benchmarks."""
    user_ns = float(np.median(samples["user_ns"]))
    costs = {"user_ns": _cost(samples["user_ns"])}
    for name in ABOUT:
        if name in samples and name != "user_ns":
            costs[name] = _cost(samples[name], user_ns if name in CALLS else 0)
    small, large = bench.SMALL, bench.LARGE
    per_byte = (np.median(samples["recv_large"]) - np.median(samples["recv_ns"])) / (large - small)
    costs["copy_ns_per_byte"] = Cost(value=max(0.0, float(per_byte)), source="measured")
    costs["request_ns"] = _cost(samples["answer"], float(np.median(samples["send_ns"])))
    few, many = bench.FEW, bench.MANY
    joining_ns = []
    for kind in ("select", "poll"):
        scan = {
            end: (
                np.median(samples[f"{kind} {many} {end}"])
                - np.median(samples[f"{kind} {few} {end}"])
            )
            / (many - few)
            for end in ("first", "last")
        }
        # The wait queues of the descriptors before the ready one are joined: poll(2) does not know
        # yet that it will not sleep.
        fd_ns = max(0.0, float(scan["first"]))
        joining_ns.append(max(0.0, float(scan["last"] - scan["first"])))
        costs[f"{kind}_fd_ns"] = Cost(value=fd_ns, source="measured")
        costs[f"{kind}_ns"] = _cost(samples[f"{kind} {few} first"], user_ns + few * fd_ns)
    costs["scan_sleep_fd_ns"] = Cost(value=float(np.mean(joining_ns)), source="measured")
    batch = bench.BATCH
    one_ns = float(np.median(samples["epoll_wait 1"]))
    event_ns = max(0.0, float(np.median(samples[f"epoll_wait {batch}"]) - one_ns) / (batch - 1))
    costs["epoll_event_ns"] = Cost(value=event_ns, source="measured")
    costs["epoll_wait_ns"] = _cost(samples["epoll_wait 1"], user_ns + event_ns)
    if "uring arm" in samples:
        enter_ns = float(np.median(samples["uring_enter_ns"])) / batch
        costs["uring_sqe_ns"] = _cost(samples["uring arm"], enter_ns)
        costs["uring_recv_ns"] = _cost(samples["uring complete"], enter_ns)
        costs["uring_send_ns"] = _cost(samples["uring send"], enter_ns)
    if "aio helper" in samples:
        switch_ns = costs["context_switch_ns"].value
        costs["aio_helper_ns"] = _cost(samples["aio helper"], switch_ns)
    native = CostProfile.shipped("native").costs
    for name in ("uring_enter_ns", "uring_sqe_ns", "uring_recv_ns", "uring_send_ns"):
        costs.setdefault(name, native[name])
    for name in ("aio_read_ns", "aio_return_ns", "aio_helper_ns"):
        costs.setdefault(name, native[name])
    return costs


def _delivery(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """How long data takes to the other end, seen by a server that spins on one socket.

    Data is found half a round of tries (recv, accept) after it has come, on average.
    """
    run = run_real(
        "nonblocking",
        Workload(connections=1, arrivals="even", rate_per_s=2_000, requests=2_000),
        seed=7,
    )
    user_ns = costs["user_ns"].value
    late_ns = costs["eagain_ns"].value + costs["recv_ns"].value + 2 * user_ns
    return {
        "delivery_ns": _cost(run.records["copied_ns"] - run.records["sent_ns"], late_ns),
        "reply_ns": _cost(run.records["replied_ns"] - run.records["done_ns"]),
    }


def _wakeup(costs: Mapping[str, Cost], idle_ns: int) -> tuple[WakeUp, float]:
    """Waking a server that sleeps in epoll_wait on one connection; also what the waking send took.

    epoll_wait parts the wake-up from the first steps after it, whose caches have gone cold.
    """
    requests = int(min(3_000, max(60, WAKE_SECONDS * 1e9 / (idle_ns + 60_000))))
    run = run_real(
        "epoll",
        Workload(connections=1, arrivals="closed", think_ns=idle_ns, requests=requests),
        seed=7,
    )
    records = run.records
    user_ns = costs["user_ns"].value
    wait_ns = costs["epoll_wait_ns"].value + costs["epoll_event_ns"].value + user_ns
    recv_ns, send_ns = (costs[name].value + user_ns for name in ("recv_ns", "send_ns"))
    steps_ns = recv_ns + costs["request_ns"].value
    latency = records["noticed_ns"] - records["sent_ns"] - costs["delivery_ns"].value - wait_ns
    quiet = records["sent_ns"][1:] - records["done_ns"][:-1] - send_ns
    cold_ns = float(np.median(records["done_ns"] - records["noticed_ns"])) - steps_ns
    row = WakeUp(
        idle_ns=max(0, int(np.median(quiet))),
        latency_ns=[round(float(q)) for q in np.quantile(np.maximum(0, latency), QUANTILES)],
        cpu_ns=round(max(0.0, run.cpu_ns / requests - wait_ns - steps_ns - send_ns)),
        cold_ns=round(max(0.0, cold_ns)),
    )
    return row, _send_ns(run)


def _send_ns(run: Run) -> float:
    took: Any = run.provenance["load"]["send_ns"]
    return float(took)


def _sleep(samples: Samples, wakeup: Sequence[WakeUp]) -> dict[str, Cost]:
    """nanosleep of 100 us, less what every wake-up after that long costs."""
    nearest = min(wakeup, key=lambda row: abs(row.idle_ns - 100_000))
    middle_ns = float(np.median(nearest.latency_ns))
    return {
        "nanosleep_ns": _cost(samples["nanosleep cpu"], nearest.cpu_ns),
        "timer_slack_ns": _cost(samples["nanosleep late"], middle_ns),
    }


def _assumed() -> dict[str, Cost]:
    """Costs that are not measured: of a network card, which loopback does not have, of a handler
    apart from the call that it interrupts, of what is new with rings, of caches that are too small,
    and of memory."""
    native = CostProfile.shipped("native").costs
    card = ("irq_ns", "softirq_ns_per_packet")
    rings = ("uring_multishot_ns", "uring_buffer_ns", "uring_peek_ns", "sqpoll_look_ns")
    caches = ("copy_miss_ns_per_byte", "fd_miss_ns")
    memory = ("thread_bytes", "socket_bytes", "epoll_item_bytes", "poll_entry_bytes")
    return {name: native[name] for name in (*card, "signal_handler_ns", *rings, *caches, *memory)}
