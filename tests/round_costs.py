"""Cost profiles with round numbers, so that a person can add up what a run must take."""

from __future__ import annotations

from iosim.costs import ABOUT, Cost, CostProfile, WakeUp


def profile(costs: dict[str, float], wakeup: WakeUp) -> CostProfile:
    """A profile of these costs; what is not named costs nothing."""
    return CostProfile(
        name="round",
        runtime="native",
        costs={name: Cost(value=costs.get(name, 0), source="assumed") for name in ABOUT},
        wakeup=[wakeup],
        wakeup_source="assumed",
    )


def round_costs() -> CostProfile:
    """Every call or switch 100 ns, a wake-up 1000 ns, 1 ns a byte; the network only copies."""
    free = ("user_ns", "request_ns", "delivery_ns", "reply_ns", "client_turn_ns")
    values = {name: 100.0 for name in ABOUT if name.endswith("_ns") and name not in free}
    scan = ("select_fd_ns", "select_number_ns", "poll_fd_ns", "fd_miss_ns")
    parts = ("scan_join_fd_ns", "scan_leave_fd_ns", "uring_prep_ns", "aio_take_ns")
    parts += ("connection_miss_ns", "connection_far_ns", "thread_miss_ns", "thread_far_ns")
    parts += ("uring_wait_ns",)
    values |= {"copy_ns_per_byte": 1} | dict.fromkeys(scan + parts, 0)
    return profile(values, WakeUp(idle_ns=0, latency_ns=[1000.0], cpu_ns=0))


def free_costs(**costs: float) -> CostProfile:
    """What is not named costs nothing, but an empty try; a thread that is woken runs at once."""
    return profile({"eagain_ns": 1, **costs}, WakeUp(idle_ns=0, latency_ns=[0.0], cpu_ns=0))
