"""The tables of states: every pair of state and event, misuse of the objects that obey them, and
whether all that they allow really happens."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

import pytest
from conformance.scenario import SCENARIOS
from conformance.simulated import Simulated
from conformance.test_scenarios import PATIENCE_S  # noqa: F401 (it registers the scenarios)
from round_costs import free_costs, round_costs
from transitions import LEGAL, watched

from iosim.errors import IosimError
from iosim.kernel import Call, Kernel
from iosim.machine import Machine
from iosim.models import MODELS
from iosim.sim import simulate
from iosim.sim.boot import boot
from iosim.sim.cpu import EXIT, Task
from iosim.sim.kernel import SimKernel
from iosim.sim.rings import Ring, Submission
from iosim.sim.sockets import Connection, Listener, connect, finish, hang_up, reset
from iosim.sim.states import TABLES, Event, IllegalTransition, State, states
from iosim.sim.system import System
from iosim.workload import Workload

ALLOWED = {
    "task": """
        SLEEPING wake RUNNABLE
        RUNNABLE dispatch RUNNING
        RUNNING preempt RUNNABLE
        RUNNING sleep SLEEPING
        RUNNABLE sleep SLEEPING
        RUNNING exit EXITED
    """,
    "socket": """
        NEW connect ESTABLISHED
        ESTABLISHED fin CLOSE_WAIT
        ESTABLISHED shutdown FIN_WAIT
        ESTABLISHED rst RESET
        ESTABLISHED close CLOSED
        FIN_WAIT fin ENDED
        FIN_WAIT rst RESET
        FIN_WAIT close CLOSED
        CLOSE_WAIT shutdown ENDED
        CLOSE_WAIT rst RESET
        CLOSE_WAIT close CLOSED
        ENDED rst ENDED
        ENDED close CLOSED
        RESET close CLOSED
        CLOSED fin CLOSED
        CLOSED rst CLOSED
    """,
    "ring request": """
        PREPARED arm ARMED
        PREPARED complete COMPLETED
        PREPARED complete_with_more DUE
        ARMED ready DUE
        DUE arm ARMED
        DUE complete COMPLETED
        DUE complete_with_more DUE
    """,
}


class Thing:
    """Something with a state."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __str__(self) -> str:
        return "connection 7"


PAIRS = [
    (name, state, event)
    for name, table in TABLES.items()
    for state in states(table)
    for event in dict.fromkeys(event for _, event in table)
]


@pytest.mark.parametrize(("name", "state", "event"), PAIRS)
def test_every_pair(name: str, state: State, event: str) -> None:
    lines = [line.split() for line in ALLOWED[name].strip().splitlines()]
    allowed = {(before, happens): after for before, happens, after in lines}
    after = allowed.get((state.name, event.replace(" ", "_")))
    thing = Thing(state)
    if after is not None:
        Event(TABLES[name], event).happens_to(thing)
        assert thing.state.name == after
        return
    with pytest.raises(IllegalTransition) as caught:
        Event(TABLES[name], event).happens_to(thing)
    assert thing.state is state
    error = caught.value
    assert (error.thing, error.state, error.event) == ("connection 7", state, event)
    assert str(error) == f"connection 7 is {state.name}: {event!r} cannot happen to it"
    assert not isinstance(error, IosimError)


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached_from_the_first(name: str) -> None:
    table: Any = TABLES[name]
    reached: set[Enum] = set()
    found = {states(table)[0]}
    while found != reached:
        reached = found
        found = reached | {after for (before, _), after in table.items() if before in reached}
    assert reached == set(states(table))


def test_a_table_has_no_other_events() -> None:
    with pytest.raises(AssertionError, match="no event 'cancel'"):
        Event(TABLES["ring request"], "cancel")


# --- misuse of the objects ----------------------------------------------------------------------


def rest(kernel: Kernel, *_: Any) -> Call[None]:
    yield from kernel.nanosleep(10**9)


def started() -> tuple[System, Task]:
    """A machine with a thread that sleeps."""
    workload = Workload()
    system = boot(round_costs(), Machine(), workload, workload.schedule(1), 1)
    thread = system.start(rest)
    system.env.run(until=10_000)
    return system, thread


def dispatch_a_sleeper() -> None:
    _, thread = started()
    thread.take_core()


def exit_asleep() -> None:
    _, thread = started()
    thread.enter(EXIT, 10_000)


def connected() -> tuple[System, Listener, Connection]:
    system, _ = started()
    listener, connection = system.open(Listener(8)), Connection(3)
    connect(system, listener, connection)
    return system, listener, connection


def connect_twice() -> None:
    connect(*connected())


def end_the_stream_twice() -> None:
    system, _, connection = connected()
    hang_up(system, connection)
    hang_up(system, connection)


def send_after_a_reset() -> None:
    system, _, connection = connected()
    reset(system, connection)
    hang_up(system, connection)


def close_unconnected() -> None:
    system, _ = started()
    finish(system, Connection(3))


def submit_twice(opcode: str) -> None:
    """A program of the library cannot: each `prep_` call makes a submission of its own."""

    def program(kernel: SimKernel, listener: int) -> Call[None]:
        ring: Ring = yield from kernel.io_uring_setup(4)
        fd = listener if opcode == "accept" else 99
        entry = Submission(ring, opcode, fd, 10, "twice")
        ring.prepare(entry)
        ring.prepare(entry)
        yield from kernel.io_uring_enter(ring, 0)

    system, _ = started()
    listener = system.open(Listener(8))
    system.start(program, listener.fd)
    system.env.run()


MISUSE: dict[str, tuple[Callable[[], None], str]] = {
    "dispatch a sleeper": (
        dispatch_a_sleeper,
        "thread 'rest 0' is SLEEPING: 'dispatch' cannot happen to it",
    ),
    "exit asleep": (exit_asleep, "thread 'rest 0' is SLEEPING: 'exit' cannot happen to it"),
    "connect twice": (
        connect_twice,
        "connection 3 is ESTABLISHED: 'connect' cannot happen to it",
    ),
    "end the stream twice": (
        end_the_stream_twice,
        "connection 3 is CLOSE_WAIT: 'fin' cannot happen to it",
    ),
    "send after a reset": (
        send_after_a_reset,
        "connection 3 is RESET: 'fin' cannot happen to it",
    ),
    "close unconnected": (close_unconnected, "connection 3 is NEW: 'close' cannot happen to it"),
    "arm twice": (
        lambda: submit_twice("accept"),
        "accept on descriptor 3 is ARMED: 'arm' cannot happen to it",
    ),
    "complete twice": (
        lambda: submit_twice("recv"),
        "recv on descriptor 99 is COMPLETED: 'complete' cannot happen to it",
    ),
}


@pytest.mark.parametrize(("misuse", "message"), MISUSE.values(), ids=MISUSE.keys())
def test_misuse(misuse: Callable[[], None], message: str) -> None:
    with pytest.raises(IllegalTransition) as caught:
        misuse()
    assert str(caught.value) == message


# --- what happens in runs -----------------------------------------------------------------------


def compute_and_exit(kernel: Kernel, ns: int) -> Call[None]:
    yield from kernel.compute(ns)


def crowd(kernel: Kernel, listener: int) -> Call[None]:
    """Serve one connection while thirty threads compute, each beyond the lock's interval."""
    fd = yield from kernel.accept(listener)
    for number in range(30):
        yield from kernel.spawn(compute_and_exit, 11_000_000 + number * 100_000)
    while True:
        for request in kernel.requests(fd, (yield from kernel.recv(fd))):
            yield from kernel.send(fd, request.reply_bytes)


CROWDED = Workload(connections=1, requests=500, rate_per_s=1_000)


def test_a_thread_that_lost_its_core_gets_it_back_to_exit() -> None:
    """Letting go of the interpreter lock wakes another thread, which may take the core at once."""
    with watched() as seen:
        simulate(crowd, CROWDED, machine=Machine(protected_slice_ns=0))
    assert {(before.name, after.name) for _, before, after in seen} >= {
        ("RUNNABLE", "SLEEPING"),
        ("RUNNING", "EXITED"),
    }


def test_what_happens_is_what_the_tables_allow() -> None:
    """Nothing else, and nothing less: no table promises what never happens."""
    with watched() as seen:
        for scenario in SCENARIOS.values():
            Simulated(scenario, SimKernel).run()
        load = Workload(connections=8, requests=200, arrivals="closed", service=3_000)
        for model in MODELS:
            simulate(model, load, profile=free_costs(), machine=Machine(protected_slice_ns=0))
        simulate(crowd, CROWDED, machine=Machine(protected_slice_ns=0))
    assert seen == LEGAL
