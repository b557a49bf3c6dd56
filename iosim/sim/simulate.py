"""Run a program under a workload on the simulated kernel."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Generator
from contextlib import nullcontext
from typing import Any

import simpy

from iosim.checked import expect
from iosim.costs import CostProfile
from iosim.errors import RunFailed
from iosim.kernel import Program
from iosim.limits import check_limits
from iosim.machine import Machine
from iosim.models import Model, get, resolve
from iosim.provenance import provenance
from iosim.results import CoreTimes, Run, TaskTimes
from iosim.sim.boot import boot
from iosim.sim.clients import LOOK_NS, Clients
from iosim.sim.engine import Environment, Pause
from iosim.sim.interference import interfere
from iosim.sim.patience import Patience
from iosim.sim.sockets import Listener
from iosim.sim.states import TaskState
from iosim.sim.system import System
from iosim.sim.watchdog import Watchdog
from iosim.trace import Trace
from iosim.units import parse_seed
from iosim.workload import PATIENCE_NS, Workload, stream

START_NS = 1_000_000_000
"""Clients connect when every thread of the program waits for them, or after this long."""

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
    patience_ns: int = PATIENCE_NS,
    progress: Callable[[float], object] | None = None,
) -> Run:
    """Simulate one run; equal arguments give equal records.

    `model` is a name, a model or a program of your own; `profile` a cost profile or what
    `CostProfile.named` takes; `trace` is filled with every call and what led to it, which changes
    no record. `progress` is told the share of the requests that are answered, every now and then;
    it changes no record either.

    Raises IosimError for a run that would be too long or too large, see `iosim.limits`, and when
    the server takes more than `machine.memory_bytes`, which it mostly does before the load starts;
    with `oversubscribe` it goes on all the same. Raises RunFailed when all is sent and no reply has
    come for `patience_ns` and what all requests take to compute.
    """
    began_s = time.perf_counter()
    workload = Workload() if workload is None else expect(Workload, workload, "workload")
    machine = Machine() if machine is None else expect(Machine, machine, "machine")
    if isinstance(profile, str):
        profile = CostProfile.named(profile)
    expect(CostProfile, profile, "profile")
    if trace is not None:
        expect(Trace, trace, "trace")
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
        clients = Clients(system, schedule, workload.service_of(seed), listener)
        if machine.interference is not None:
            interfere(cpu, machine.interference, stream(seed, "interference"))
        patience = Patience(system, clients, model, patience_ns + workload.service_sum_ns)
        # The models of the library do not run without end.
        with nullcontext() if isinstance(model, Model) else Watchdog(env, program):
            system.start(program, listener.fd)
            env.process(_load(system, clients, patience))
            _run(env, clients, progress)
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
                task.requests_taken,
                task.connections,
            )
            for task, spent in zip(system.tasks, system.load_spent_ns(), strict=True)
        ),
        syscalls={name: made for name, made in sorted(system.syscalls.items()) if made},
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
        generator_ns=None if machine.nic else clients.busy_ns,
        provenance=provenance(
            model=model,
            workload=workload,
            seed=seed,
            machine=machine,
            profile=profile,
            oversubscribe=oversubscribe,
        ),
    )


def _run(env: Environment, clients: Clients, progress: Callable[[float], object] | None) -> None:
    """Run to the last reply."""
    requests = clients.unanswered

    def told() -> None:
        if progress is not None:
            progress(1 - clients.unanswered / requests)

    env.run_to(clients.done, told if progress is not None else None)


def _load(
    system: System, clients: Clients, patience: Patience
) -> Generator[simpy.Event, Any, None]:
    """Let clients connect when the program waits for them, start the load, and give up when replies
    stay out."""
    env = system.env
    while not system.waits_for_clients() and env.now_ns < START_NS:
        yield Pause(env, env.now_ns + LOOK_NS)
    yield from clients.connect(CONNECT_NS)
    if clients.unconnected:
        connections = system.workload.connections
        raise RunFailed(
            f"connection {connections - clients.unconnected + 1} of {connections} was not taken: "
            f"Machine.backlog = {system.machine.backlog} limits how many wait for a program that "
            "does not accept; use fewer connections, a larger backlog or another model"
        )
    waiting, since_ns = clients.waiting, env.now_ns
    while waiting and env.now_ns - since_ns < SETTLE_NS:
        yield Pause(env, env.now_ns + SETTLE_NS)
        if clients.waiting != waiting:
            waiting, since_ns = clients.waiting, env.now_ns
    clients.start(hang_up=bool(waiting))
    yield from patience.wait()
