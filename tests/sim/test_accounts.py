"""User and system time to the nanosecond, by the word of other witnesses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_costs import free_costs

from iosim.costs import CostProfile
from iosim.kernel import SIGIO, Call, Kernel
from iosim.machine import Interference, Machine, Nic
from iosim.models import MODELS, Aio, Epoll, Model, Poll, Select, get
from iosim.service import Service
from iosim.sim import simulate
from iosim.sim.accounts import Use
from iosim.sim.boot import boot
from iosim.sim.clients import Clients
from iosim.sim.cpu import RUNNING, Core, Cpu, Task
from iosim.sim.engine import call_in
from iosim.sim.interference import interfere
from iosim.sim.kernel import SimKernel
from iosim.sim.patience import Patience
from iosim.sim.simulate import _load
from iosim.sim.sockets import Listener
from iosim.sim.states import Event, TaskState
from iosim.workload import PATIENCE_NS, Workload, stream

NATIVE = CostProfile.shipped("native")
SWITCHES_ARE_FREE = NATIVE.model_copy(
    update={
        "costs": NATIVE.costs
        | {
            "user_ns": NATIVE.costs["user_ns"].model_copy(update={"value": 150}),
            "context_switch_ns": NATIVE.costs["context_switch_ns"].model_copy(update={"value": 0}),
        },
        "wakeup": [row.model_copy(update={"cold_ns": row.cpu_ns}) for row in NATIVE.wakeup],
    }
)
"""So that a thread runs from the moment that it has the core."""


class EveryTry(SimKernel):
    """The simulated kernel that makes every empty try, and so pays for each."""

    try_each = Kernel.try_each


class Witness:
    """Sees when threads run and on which core, what is taken from the cores, and all payments."""

    def __init__(self) -> None:
        self.payments: dict[Task, list[tuple[int, int]]] = defaultdict(list)
        """(system, user), in turn."""
        self.spells: dict[Task, list[tuple[Core, int, int]]] = defaultdict(list)
        self.taken: dict[Core, list[tuple[int, int]]] = defaultdict(list)
        self._running: dict[Task, tuple[Core, int]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        enter, pay, interrupt = Task.enter, Task.pay, Cpu.interrupt

        def seen_enter(task: Task, event: Event[TaskState], since_ns: int) -> None:
            enter(task, event, since_ns)
            if task in self._running:
                core, begin_ns = self._running.pop(task)
                self.spells[task].append((core, begin_ns, since_ns))
            if task.state is RUNNING:
                self._running[task] = task.core, since_ns

        def seen_pay(task: Task) -> Any:
            self.payments[task].append((task.debt_ns - task.debt_user_ns, task.debt_user_ns))
            yield from pay(task)

        def seen_interrupt(cpu: Cpu, core: Core, ns: int, *use: Any) -> int:
            end_ns = interrupt(cpu, core, ns, *use)
            self.taken[core].append((end_ns - ns, end_ns))
            return end_ns

        with (
            mock.patch.object(Task, "enter", seen_enter),
            mock.patch.object(Task, "pay", seen_pay),
            mock.patch.object(Cpu, "interrupt", seen_interrupt),
        ):
            yield

    def worked_ns(self, task: Task, now_ns: int) -> int:
        """How long the thread has run, without what was taken from its cores meanwhile."""
        spells = list(self.spells[task])
        if task in self._running:
            spells.append((*self._running[task], now_ns))
        return sum(
            end_ns
            - begin_ns
            - sum(
                max(0, min(end_ns, until_ns) - max(begin_ns, since_ns))
                for since_ns, until_ns in self.taken[core]
            )
            for core, begin_ns, end_ns in spells
        )

    def user_ns(self, task: Task, worked_ns: int) -> int:
        """How much of so much work is user time."""
        total_ns = 0
        for system_ns, user_ns in self.payments[task]:
            worked_ns -= system_ns
            if worked_ns <= 0:
                break
            total_ns += min(worked_ns, user_ns)
            worked_ns -= user_ns
        return total_ns


LOADS = st.builds(
    Workload,
    connections=st.integers(1, 8),
    arrivals=st.sampled_from(["poisson", "closed"]),
    rate_per_s=st.sampled_from([2_000, 50_000, 500_000]),
    think_ns=st.sampled_from([0, 20_000]),
    request_bytes=st.sampled_from([64, 3_000]),
    reply_bytes=st.sampled_from([1, 10_000]),
    service=st.builds(
        Service,
        mean_ns=st.sampled_from([0, 500, 20_000]),
        distribution=st.sampled_from(["constant", "exponential"]),
    ),
    requests=st.integers(8, 60),
)
SHARED = [
    Epoll(workers=3),
    Epoll(workers=2, listener="reuseport"),
    Select(workers=2),
    Poll(workers=2),
    Aio(completion="callback"),
]
WHOSE = st.sampled_from([*map(get, MODELS), *SHARED])
TAKING = Interference(per_s=20_000, duration_ns=[100, 3_000, 70_000])
MACHINES = [
    Machine(),
    Machine(cores=2, protected_slice_ns=0),
    Machine(cores=2, time_slice_ns=1_000, protected_slice_ns=300),
    Machine(interference=TAKING, protected_slice_ns=300),
    Machine(cores=3, time_slice_ns=2_000, protected_slice_ns=700, interference=TAKING),
    Machine(nic=Nic(queues=2, mtu_bytes=200, napi_budget=3), protected_slice_ns=700),
    Machine(cores=2, nic=Nic(mtu_bytes=200, coalesce_ns=3_000), time_slice_ns=3_000),
]


@pytest.mark.long
@settings(max_examples=200)
@given(
    WHOSE,
    LOADS,
    st.sampled_from(MACHINES),
    st.sampled_from(["native", "python"]),
    st.integers(0, 2**32),
    st.lists(st.integers(1, 100_000), min_size=5, max_size=20),
)
def test_a_run_that_is_cut_at_any_moment(
    model: Model, load: Workload, machine: Machine, runtime: str, seed: int, gaps_ns: list[int]
) -> None:
    """The kernel's part of each payment comes first and the user's last, whatever interrupts it."""
    profile = SWITCHES_ARE_FREE.model_copy(update={"runtime": runtime})
    witness = Witness()
    with witness.watching():
        schedule = load.schedule(seed)
        system = boot(profile, machine, load, schedule, seed, kernel=EveryTry)
        env = system.env
        listener = system.open(Listener(machine.backlog))
        clients = Clients(system, schedule, load.service_of(seed), listener)
        if machine.interference is not None:
            interfere(system.cpu, machine.interference, stream(seed, "interference"))
        system.start(model.program, listener.fd)
        patience = Patience(system, clients, model, PATIENCE_NS)
        env.process(_load(system, clients, patience))
        while not clients.origin_ns:
            env.step()
        for gap_ns in gaps_ns:
            env.run(env.now_ns + gap_ns)
            spent = system.cpu.spent_ns()
            worked = {task: witness.worked_ns(task, env.now_ns) for task in system.tasks}
            user_ns = sum(core[Use.USER] for core in spent)
            assert user_ns + sum(core[Use.SYSTEM] for core in spent) == sum(worked.values())
            assert user_ns == sum(witness.user_ns(*pair) for pair in worked.items())


ONLY_THE_LANGUAGE = free_costs(user_ns=700, request_ns=30, eagain_ns=0)


@pytest.mark.parametrize("runtime", ["native", "python"])
@pytest.mark.parametrize("model", [*map(get, MODELS), *SHARED], ids=repr)
def test_calls_that_cost_nothing_but_the_languages_share(model: Model, runtime: str) -> None:
    """Then all that the program's threads do is user time."""
    costs = ONLY_THE_LANGUAGE.model_copy(update={"runtime": runtime})
    serial = model.name == "blocking-serial"
    load = Workload(connections=1 if serial else 5, requests=60, rate_per_s=100_000, service=1_000)
    run = simulate(model, load, profile=costs, machine=Machine(receive_buffer_bytes=50))
    (core,) = run.core_times
    assert core.system_ns == sum(
        task.running_ns for task in run.tasks if task.name == "io_uring SQ"
    )
    assert core.user_ns + core.system_ns == sum(task.running_ns for task in run.tasks)
    assert core.user_ns > 60 * 1_030


@pytest.mark.parametrize(
    "model",
    ["blocking", "select", "poll", "epoll", "epoll-et", "sigio", "rtsig", "aio", "io_uring"],
)
def test_user_time_is_what_was_computed_framed_and_called(model: str) -> None:
    """The load begins and ends with the program asleep: one call returns that was made before, and
    one is made that does not return."""
    costs = free_costs(user_ns=700, request_ns=30, reply_ns=100_000, recv_ns=11, client_send_ns=1)
    load = Workload(connections=3, requests=40, arrivals="even", rate_per_s=5_000, service=1_000)
    run = simulate(model, load, profile=costs)
    (core,) = run.core_times
    assert core.user_ns == 40 * 1_030 + 700 * sum(run.syscalls.values())


def test_a_handler_in_the_midst_of_computing() -> None:
    """It comes after 4000 ns of user time and takes 400."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.sigaction(SIGIO, lambda _: None)
        yield from kernel.compute(10_000)

    load = Workload(requests=1)
    system = boot(free_costs(signal_handler_ns=400), Machine(), load, load.schedule(1), 1)
    env = system.env
    system.start(program, 0)
    call_in(env, 4_000, lambda _: system.signals.send(SIGIO, -1))
    for now_ns, user_ns in ((3_999, 3_999), (4_001, 4_000), (4_399, 4_000), (4_401, 4_001)):
        env.run(now_ns)
        (core,) = system.cpu.spent_ns()
        assert core[Use.USER] == user_ns
        assert core[Use.SYSTEM] == now_ns - user_ns
