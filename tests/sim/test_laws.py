"""What must hold in every simulated run, whatever the model, the load and the machine."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple
from importlib import import_module
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transitions import LEGAL, watched

from iosim.costs import CostProfile
from iosim.machine import Interference, Machine, Nic
from iosim.models import MODELS, get
from iosim.results import Run
from iosim.service import Service
from iosim.sim import simulate
from iosim.sim.cpu import Task
from iosim.sim.engine import Environment
from iosim.sim.states import TaskState
from iosim.sim.system import System
from iosim.trace import Trace
from iosim.workload import Workload

NATIVE, PYTHON = CostProfile.shipped("native"), CostProfile.shipped("python")

INTERFERENCE = Interference(per_s=20_000, duration_ns=[100, 3_000, 70_000])

MACHINES = [
    Machine(),
    Machine(cores=2),
    Machine(cores=3, time_slice_ns=5_000),
    Machine(nic=Nic()),
    Machine(nic=Nic(link_bits_per_s="1Gbit/s", mtu_bytes=100), cores=2),
    Machine(nic=Nic(rx_ring=2, retransmit_ns="50us"), cores=2),
    Machine(nic=Nic(queues=3, coalesce_ns="20us", coalesce_frames=8), cores=2),
    Machine(nic=Nic(queues=2, rx_ring=40, napi_budget=4, retransmit_ns="1ms", mtu_bytes=600)),
    Machine(receive_buffer_bytes=1_000),
    Machine(queued_signals=1),
    Machine(cores=2, protected_slice_ns=0, interference=INTERFERENCE),
    Machine(time_slice_ns=50_000, protected_slice_ns=3_000, nic=Nic(), interference=INTERFERENCE),
    Machine(backlog=1),
]


@st.composite
def scenarios(draw: st.DrawFn) -> tuple[str, Workload, Machine, int]:
    """A model, a workload that it can finish, a machine and a seed."""
    model = draw(st.sampled_from(list(MODELS)))
    connections = draw(st.integers(1, 12))
    # One connection after the other: each must carry a request, or those behind it starve.
    serial = model == "blocking-serial"
    workload = Workload(
        connections=connections,
        active=None if serial else draw(st.sampled_from([1, "50%", None])),
        arrivals="closed"
        if serial
        else draw(st.sampled_from(["poisson", "even", "bursty", "closed"])),
        rate_per_s=draw(st.sampled_from([2_000, 50_000, 500_000, 5_000_000])),
        think_ns=draw(st.sampled_from([0, 777, 100_000])),
        request_bytes=draw(st.sampled_from([1, 64, 3_000, 65_536, 150_000])),
        reply_bytes=draw(st.sampled_from([1, 64, 100_000])),
        service=Service(
            mean_ns=draw(st.sampled_from([0, 1, 2_000, 30_000])),
            distribution=draw(st.sampled_from(["constant", "exponential"])),
        ),
        requests=connections + draw(st.integers(0, 60)),
    )
    # A completion that finds the signal queue full is lost: sigqueue(3) fails, and nobody is told.
    machines = [m for m in MACHINES if model != "aio" or m.queued_signals > 1]
    if serial:
        # Its clients wait on the backlog, which must hold them all.
        machines = [m for m in machines if m.backlog > 1]
    return model, workload, draw(st.sampled_from(machines)), draw(st.integers(0, 2**32))


def time_integral(begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> int:
    """The integral over time of how many of the spans are under way, which never is negative."""
    changes = sorted([(int(t), 1) for t in begin] + [(int(t), -1) for t in end], key=lambda c: c[0])
    present = area = last = 0
    for at, same_instant in _grouped(changes):
        area += present * (at - last)
        present += same_instant
        assert present >= 0
        last = at
    assert present == 0
    return area


def _grouped(changes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    total: dict[int, int] = {}
    for at, change in changes:
        total[at] = total.get(at, 0) + change
    return list(total.items())


def check_requests(run: Run, workload: Workload, seed: int) -> None:
    """Every request is served once, in order, and moves forward in time."""
    records = run.records
    schedule = workload.schedule(seed)
    assert len(records) == workload.requests
    nic = run.provenance["machine"]["nic"]
    # No card drops what its ring can hold.
    if nic is None or workload.requests * -(-workload.request_bytes // 60) <= nic["rx_ring"]:
        assert run.drops == 0
    if workload.arrivals != "closed" or run.model == "blocking-serial":
        assert (records["connection"] == schedule.connection).all()
    else:
        # Whoever is free takes the next request; at first all are.
        assert (np.diff(records["sent_ns"]) >= 0).all()
        active = np.unique(schedule.connection)
        assert sorted(records["connection"][: len(active)]) == active.tolist()
        assert np.isin(records["connection"], active).all()
    on_the_way = ("intended_ns", "sent_ns", "arrival_ns", "ready_ns")
    if get(run.model).family == "asynchronous":
        served = ("copied_ns", "noticed_ns")
    else:
        served = ("noticed_ns", "copied_ns")
    for before, after in pairwise((*on_the_way, *served, "done_ns", "replied_ns")):
        assert (records[before] <= records[after]).all(), (before, after)
    if get(run.model).family == "blocking":
        assert (records["noticed_ns"] == records["copied_ns"]).all()
    for client in range(workload.connections):
        own = records[records["connection"] == client]
        for name in ("sent_ns", "ready_ns", "copied_ns", "done_ns", "replied_ns"):
            assert (np.diff(own[name]) >= 0).all(), name
        if workload.arrivals == "closed":
            pause_ns = NATIVE.prices().client_turn_ns + workload.think_ns
            waited_ns = own["intended_ns"][1:] - own["replied_ns"][:-1] - pause_ns
            # Over loopback the generator may be busy when a reply comes.
            assert (waited_ns == 0).all() if nic is not None else (waited_ns >= 0).all()
    if workload.arrivals != "closed":
        assert (records["intended_ns"] == schedule.intended_ns).all()
    assert run.elapsed_ns == records["replied_ns"].max()


def check_times(run: Run) -> None:
    """The threads' times add up."""
    assert run.tasks
    for task in run.tasks:
        spent = task.running_ns + task.runnable_ns + task.sleeping_ns
        # The C library may start a helper only when a read is waiting.
        assert spent <= run.elapsed_ns if task.helper else spent == run.elapsed_ns
        assert min(task.running_ns, task.runnable_ns, task.sleeping_ns) >= 0
    assert sum(task.running_ns for task in run.tasks) <= run.cores * run.elapsed_ns
    assert len(run.core_times) == run.cores
    for core in run.core_times:
        uses = astuple(core)
        assert min(uses) >= 0
        assert sum(uses) == run.elapsed_ns


@settings(max_examples=400)
@given(scenarios())
def test_laws(scenario: tuple[str, Workload, Machine, int]) -> None:
    model, workload, machine, seed = scenario
    run = simulate(model, workload, profile=NATIVE, machine=machine, seed=seed)
    check_requests(run, workload, seed)
    check_times(run)
    # Little's law without limits: over a busy period that begins and ends empty, the number in the
    # system, summed over time, is the time in the system, summed over requests.
    records = run.records
    for begin, end in [
        ("intended_ns", "replied_ns"),
        ("ready_ns", "copied_ns"),
        ("copied_ns", "done_ns"),
    ]:
        waited = int((records[end] - records[begin]).sum())
        assert time_integral(records[begin], records[end]) == waited
    assert time_integral(records["intended_ns"], records["replied_ns"]) == run.latency_ns.sum()


@settings(max_examples=60)
@given(scenarios())
def test_the_scheduler_keeps_its_rules(scenario: tuple[str, Workload, Machine, int]) -> None:
    """Seen from the trace, a second witness: no more threads run at once than there are cores, and
    the number that run, summed over time, is what the threads' accounts say."""
    model, workload, machine, seed = scenario
    trace = Trace()
    run = simulate(model, workload, profile=NATIVE, machine=machine, seed=seed, trace=trace)
    changes: Counter[int] = Counter()
    ran_ns: Counter[str] = Counter()
    for thread in trace.threads:
        for state, begin_ns, end_ns in trace.spells(thread):
            if state == "RUNNING" and end_ns > 0:
                changes[max(0, begin_ns)] += 1
                changes[end_ns] -= 1
                ran_ns[thread] += end_ns - max(0, begin_ns)
    running = 0
    for at in sorted(changes):
        running += changes[at]
        assert 0 <= running <= machine.cores
    assert {task.name: task.running_ns for task in run.tasks if task.running_ns} == +ran_ns


PLACES = {
    TaskState.RUNNING: {("core",)},
    TaskState.RUNNABLE: {("queue",), ("core",)},
    TaskState.SLEEPING: {()},
    TaskState.EXITED: {()},
}
"""Where a thread may be in each state; a core that is being switched to it is its own already."""


def check_places(system: System) -> None:
    """No thread is in two states: it is in one place at most, and its state goes with that."""
    places: dict[Task, list[str]] = {task: [] for task in system.tasks}
    for core in system.cpu.cores:
        for task in core.queue:
            places[task].append("queue")
        if core.current is not None:
            places[core.current].append("core")
    for task, found in places.items():
        assert tuple(found) in PLACES[task.state]


@settings(max_examples=60)
@given(scenarios(), st.sampled_from([NATIVE, PYTHON]))
def test_no_task_is_in_two_states(
    scenario: tuple[str, Workload, Machine, int], profile: CostProfile
) -> None:
    """After every event of a run; and what changes a state is in the tables."""

    def run(env: Environment, clients: Any, progress: object) -> None:
        while clients.done.callbacks is not None:
            env.step()
            check_places(clients._system)

    model, workload, machine, seed = scenario
    with patch.object(import_module("iosim.sim.simulate"), "_run", run), watched() as seen:
        simulate(model, workload, profile=profile, machine=machine, seed=seed)
    assert {name for name, _, _ in seen} >= {"TaskState", "SocketState"}
    assert seen <= LEGAL


@pytest.mark.parametrize("arrivals", ["poisson", "even", "bursty"])
def test_all_models_see_the_same_arrivals(arrivals: str) -> None:
    """Common random numbers: a seed fixes who is to send what and when, whoever serves."""
    workload = Workload.of(
        connections=6,
        arrivals=arrivals,
        rate_per_s=20_000,
        requests=200,
        service="exponential(3us)",
    )
    records = {
        model: simulate(model, workload, profile=NATIVE, seed=5).records
        for model in MODELS
        if model != "blocking-serial"
    }
    first = records["epoll"]
    for other in records.values():
        assert (other["connection"] == first["connection"]).all()
        assert (other["intended_ns"] == first["intended_ns"]).all()
    assert len({other.tobytes() for other in records.values()}) > 5
    again = simulate("epoll", workload, profile=NATIVE, seed=6).records
    assert (again["connection"] != first["connection"]).any()


def test_streams_do_not_disturb_each_other() -> None:
    """A service time that is drawn leaves arrivals and connections as they were."""
    fixed = Workload(requests=500, service=1_000)
    drawn = fixed.model_copy(update={"service": "exponential(1us)"})
    one, other = fixed.schedule(3), drawn.schedule(3)
    assert (one.intended_ns == other.intended_ns).all()
    assert (one.connection == other.connection).all()
    assert (one.service_ns != other.service_ns).any()
