"""Where every time is k times as long, everything takes exactly k times as long.

So no time is hidden in the kernel or in a model but those named here. All times are whole units,
which as many threads as share a core divide without a rest; so nothing has to be rounded.
"""

from __future__ import annotations

from dataclasses import astuple, fields, replace
from math import lcm
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from iosim.costs import RATES, Cost, CostProfile, WakeUp, unit
from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.models.asynchronous import IoUringSqpoll
from iosim.results import Run
from iosim.service import Service
from iosim.sim import simulate
from iosim.workload import Schedule, Workload

UNIT = 2520
"""The least common multiple of 1 to 10."""


def whole(ns: float, unit_ns: int = UNIT) -> int:
    """The nearest time of whole units; only no time at all is none."""
    return max(ns > 0, round(ns / unit_ns)) * unit_ns


SHIPPED = {name: CostProfile.shipped(name) for name in ("native", "python")}


def slow_costs(runtime: str, unit_ns: int, k: int) -> CostProfile:
    """A shipped profile, of a host whose caches never miss, without what depends on bytes or on how
    many descriptors are scanned, and with wake-ups that are all alike: that would be rounded."""
    shipped = SHIPPED[runtime]
    costs = dict(shipped.costs)
    for name, cost in costs.items():
        if unit(name) != "bytes":
            ns = 0 if name in RATES else whole(cost.value, unit_ns) * k
            costs[name] = Cost(value=ns, source="assumed")

    def wakeup(latency_ns: int, cpu_ns: int = 3 * UNIT, cold_ns: int = UNIT) -> list[WakeUp]:
        return [
            WakeUp(idle_ns=0, latency_ns=[latency_ns * k], cpu_ns=cpu_ns * k, cold_ns=cold_ns * k)
        ]

    return CostProfile(
        name="slow",
        runtime=shipped.runtime,
        costs=costs,
        wakeup=wakeup(9 * UNIT),
        wakeup_ticking=wakeup(6 * UNIT),
        wakeup_source="assumed",
    )


def slow_machine(machine: Machine, unit_ns: int, k: int) -> Machine:
    times = ("time_slice_ns", "protected_slice_ns", "tick_ns")
    changed: dict[str, object] = {n: whole(getattr(machine, n), unit_ns) * k for n in times}
    if (nic := machine.nic) is not None:
        times = ("latency_ns", "retransmit_ns", "coalesce_ns")
        slower: dict[str, object] = {n: whole(getattr(nic, n), unit_ns) * k for n in times}
        slower["link_bits_per_s"] = nic.link_bits_per_s // k
        changed["nic"] = nic.model_copy(update=slower)
    return machine.model_copy(update=changed)


def slow_model(model: Model, unit_ns: int, k: int) -> Model:
    times = [field.name for field in fields(model) if field.name.endswith("_ns")]
    if isinstance(model, IoUringSqpoll):
        # Linux counts it in milliseconds.
        unit_ns = lcm(unit_ns, 1_000_000)
    return replace(model, **{name: whole(getattr(model, name), unit_ns) * k for name in times})


def slow_run(
    model: Model, workload: Workload, runtime: str, machine: Machine, k: int, unit_ns: int = UNIT
) -> Run:
    """A run in which all times are k times as long, those that are constants of the code too."""
    plain = Workload.schedule

    def schedule(load: Workload, seed: int) -> Schedule:
        # Drawn before it is stretched, since the draws are rounded.
        drawn = plain(workload, seed)
        intended_ns = drawn.intended_ns // unit_ns * unit_ns * k
        return Schedule(drawn.connection, intended_ns, drawn.service_ns // unit_ns * unit_ns * k)

    def constant(place: str, ns: int) -> Any:
        return patch(f"iosim.sim.{place}", whole(ns, unit_ns) * k)

    service = workload.service
    slower = {
        "think_ns": whole(workload.think_ns, unit_ns) * k,
        "service": Service(
            mean_ns=whole(service.mean_ns, unit_ns) * k, distribution=service.distribution
        ),
    }
    with (
        patch.object(Workload, "schedule", schedule),
        constant("simulate.LOOK_NS", 100_000),
        constant("simulate.START_NS", 1_000_000_000),
        constant("simulate.SETTLE_NS", 10_000_000),
        constant("ticks.ACK_DELAY_NS", 40_000_000),
        constant("pending.Gil.INTERVAL_NS", 5_000_000),
    ):
        return simulate(
            slow_model(model, unit_ns, k),
            workload.model_copy(update=slower),
            profile=slow_costs(runtime, unit_ns, k),
            machine=slow_machine(machine, unit_ns, k),
        )


def counts(run: Run) -> dict[str, object]:
    """What of a run does not depend on how long it takes."""
    return {
        "syscalls": run.syscalls,
        "empty_polls": run.empty_polls,
        "switches": (run.context_switches, run.wakeups, run.drops),
        "memory": run.memory_bytes,
    }


def times_ns(run: Run) -> dict[str, list[int]]:
    records = [run.records[name] for name in run.records.dtype.names if name.endswith("_ns")]
    return {
        "records": np.concatenate(records).tolist(),
        "tasks": [ns for task in run.tasks for ns in astuple(task)[1:4]],
        "cores": [ns for core in run.core_times for ns in astuple(core)],
        "whole": [run.wait_for_data_ns, run.copy_data_ns, run.elapsed_ns],
    }


LOADS = {
    "light": Workload(connections=6, rate_per_s=2_000, service=3_000, requests=60),
    "heavy": Workload(connections=6, rate_per_s=300_000, service="exponential(2us)", requests=150),
    "closed": Workload(connections=6, arrivals="closed", think_ns=700, requests=150),
    "long": Workload(connections=4, rate_per_s=60, service=9_000_000, requests=40),
}


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("load", list(LOADS))
@pytest.mark.parametrize("runtime", list(SHIPPED))
@pytest.mark.parametrize("cores", [1, pytest.param(2, marks=pytest.mark.long)])
def test_all_times_are_those_that_are_named(name: str, load: str, runtime: str, cores: int) -> None:
    machine, model = Machine(cores=cores), get(name)
    once = slow_run(model, LOADS[load], runtime, machine, 1)
    thrice = slow_run(model, LOADS[load], runtime, machine, 3)
    assert counts(thrice) == counts(once)
    assert times_ns(thrice) == {
        what: [3 * ns for ns in old] for what, old in times_ns(once).items()
    }


@pytest.mark.parametrize("name", ["nonblocking", "nonblocking-sleep", "epoll", "sigio", "io_uring"])
@pytest.mark.parametrize("rx_ring", [2, 4_096])
def test_with_a_network_card(name: str, rx_ring: int) -> None:
    """A bit takes 2 ns or 4. On a core are one thread of the program and ksoftirqd."""
    nic = Nic(
        link_bits_per_s=500_000_000,
        rx_ring=rx_ring,
        mtu_bytes=100,
        coalesce_ns=9_000,
        napi_budget=2,
        retransmit_ns=100_000,
    )
    load = Workload(connections=6, rate_per_s=20_000, request_bytes=2_000, requests=100)
    once = slow_run(get(name), load, "native", Machine(nic=nic), 1, unit_ns=2)
    twice = slow_run(get(name), load, "native", Machine(nic=nic), 2, unit_ns=2)
    assert (once.drops > 0) == (rx_ring == 2)
    assert counts(twice) == counts(once)
    assert times_ns(twice) == {what: [2 * ns for ns in old] for what, old in times_ns(once).items()}
