"""Run a program under a workload on the simulated kernel."""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from typing import Any

import simpy

from iosim.costs import CostProfile
from iosim.errors import STARVED, RunFailed
from iosim.kernel import Program
from iosim.limits import check_limits
from iosim.machine import Machine
from iosim.models import Model, get, resolve
from iosim.provenance import provenance
from iosim.results import CoreTimes, Run, TaskTimes
from iosim.sim.boot import boot
from iosim.sim.clients import Clients
from iosim.sim.engine import Environment
from iosim.sim.interference import interfere
from iosim.sim.sockets import Listener
from iosim.sim.states import TaskState
from iosim.sim.system import System
from iosim.trace import Trace
from iosim.units import parse_seed
from iosim.workload import Workload, stream

SETTLE_NS = 10_000_000
"""The load starts when the program has accepted all connections, or none for this long. One that
serves a connection to its end before the next never accepts them all; then clients hang up after
their last reply, to let others in."""

CONNECT_NS = 5_000_000_000
"""How long a client waits for room in the backlog, as the load generator of a real run does."""


def simulate(
    model: str | Model | Program,
    workload: Workload | None = None,
    *,
    profile: CostProfile | str = "python",
    machine: Machine | None = None,
    seed: int = 1,
    trace: Trace | None = None,
    oversubscribe: bool = False,
) -> Run:
    """Simulate one run; equal arguments give equal records.

    `model` is a name, a model or a program of your own; `profile` a cost profile or the name of a
    shipped one; `trace` is filled with every call and what led to it, which changes no record.
    Raises IosimError for a run that would be too long or too large, see `iosim.limits`, and when
    the server takes more than `machine.memory_bytes`, which it mostly does before the load starts;
    with `oversubscribe` it goes on all the same.
    Raises RunFailed when the program can never answer the remaining requests.
    """
    began_s = time.perf_counter()
    workload = workload or Workload()
    machine = machine or Machine()
    if isinstance(profile, str):
        profile = CostProfile.shipped(profile)
    model = get(model) if isinstance(model, str) else model
    name, program = resolve(model)
    seed = parse_seed(seed)
    check_limits(workload, model, machine, profile, traced=trace is not None)
    schedule = workload.schedule(seed)
    system = boot(profile, machine, workload, schedule, seed, trace=trace)
    if oversubscribe:
        system.memory.limit_bytes = None
    env, cpu = system.env, system.cpu
    listener = system.open(Listener(machine.backlog))
    collecting = gc.isenabled()
    # A million long-lived objects would be traversed again and again, to free nothing.
    gc.disable()
    try:
        clients = Clients(system, schedule, listener)
        if machine.interference is not None:
            interfere(cpu, machine.interference, stream(seed, "interference"))
        system.start(program, listener.fd)
        env.process(_load(system, clients, listener))
        _run(env, clients)
        system.catch_up()
    finally:
        if collecting:
            gc.enable()
    records = system.records.table(clients.origin_ns)
    if trace is not None:
        trace.close(records, clients.origin_ns, int(env.now_ns))
    return Run(
        model=name,
        kernel="simulated",
        seed=seed,
        records=records,
        tasks=tuple(
            TaskTimes(
                task.name,
                spent[TaskState.RUNNING],
                spent[TaskState.RUNNABLE],
                spent[TaskState.SLEEPING],
                task.helper,
            )
            for task, spent in zip(system.tasks, system.load_spent_ns(), strict=True)
        ),
        syscalls=dict(sorted(system.syscalls.items())),
        empty_polls=system.empty_polls,
        context_switches=system.load_switches(),
        wakeups=system.load_wakeups(),
        drops=clients.drops,
        wait_for_data_ns=system.wait_for_data_ns,
        copy_data_ns=system.copy_data_ns,
        elapsed_ns=env.now_ns - clients.origin_ns,
        cores=machine.cores,
        wall_s=time.perf_counter() - began_s,
        events=system.load_events(),
        core_times=tuple(
            CoreTimes(**{f"{use.name.lower()}_ns": ns for use, ns in spent.items()})
            for spent in system.load_core_ns()
        ),
        memory_bytes=system.memory.peak_bytes(),
        provenance=provenance(
            model=model,
            workload=workload,
            seed=seed,
            machine=machine,
            profile=profile,
            oversubscribe=oversubscribe,
        ),
    )


def _load(
    system: System, clients: Clients, listener: Listener
) -> Generator[simpy.Event, Any, None]:
    """Wait until the program has settled, then start the load."""
    yield from clients.connect_in_turn()
    waiting, since_ns = clients.waiting, 0
    while waiting and system.env.now_ns - since_ns < (
        CONNECT_NS if clients.unconnected else SETTLE_NS
    ):
        yield system.env.timeout(SETTLE_NS)
        if clients.waiting != waiting:
            waiting, since_ns = clients.waiting, system.env.now_ns
    if clients.unconnected:
        connections = system.workload.connections
        raise RunFailed(
            f"connection {connections - clients.unconnected + 1} of {connections} was not taken: "
            f"Machine.backlog = {system.machine.backlog} limits how many wait for a program that "
            "does not accept; use fewer connections, a larger backlog or another model"
        )
    clients.start(hang_up=bool(waiting))


def _run(env: Environment, clients: Clients) -> None:
    """Run to the last reply."""
    if not env.run_to(clients.done):
        raise RunFailed(
            f"{clients.unanswered} requests can never be answered: every thread sleeps; {STARVED}"
        )
