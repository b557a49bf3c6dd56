"""Buffers, ends of streams, resets and the backlog of the simulated kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_costs import free_costs, round_costs

from iosim.costs import CostProfile
from iosim.errors import RunFailed
from iosim.kernel import EAGAIN, ECONNRESET, EPIPE, Call, Kernel
from iosim.machine import Machine
from iosim.models import MODELS
from iosim.models.blocking import serve
from iosim.sim import simulate
from iosim.sim.cpu import Cpu
from iosim.sim.engine import Environment, call_in
from iosim.sim.kernel import SimKernel
from iosim.sim.sockets import (
    Connection,
    Listener,
    accept_one,
    connect,
    deliver,
    drain,
    finish,
    hang_up,
    put,
    reset,
    shut_down,
    take,
)
from iosim.sim.system import System
from iosim.sim.wakeups import Luck, WakeUps
from iosim.workload import Workload

RECEIVE, SEND, CLIENT = 100, 60, 40
"""Bytes that the three buffers hold."""

SMALL = Machine(receive_buffer_bytes=RECEIVE, send_buffer_bytes=SEND)


class Reader:
    """The client of one connection: reads when it is told to, and notes what else it is told."""

    def __init__(self) -> None:
        self.buffered = 0
        self.size = CLIENT
        self.told: list[str] = []

    def transmit(self, connection: Connection, nbytes: int, now_ns: int) -> int:
        taken = min(nbytes, self.size - self.buffered)
        self.buffered += taken
        return taken

    def finish(self, connection: Connection) -> None:
        self.told.append("FIN")

    def reset(self, connection: Connection) -> None:
        self.told.append("RST")


class Setup:
    """A machine with one connection, which the program may have accepted, and its client."""

    def __init__(self, profile: CostProfile | None = None, workload: Workload | None = None):
        self.env = Environment()
        profile = profile or round_costs()
        workload = workload or Workload()
        wakeups = WakeUps(profile.wakeup)
        cpu = Cpu(self.env, SMALL, profile.prices(), Luck(1), wakeups)
        schedule = workload.schedule(1)
        self.system = System(self.env, cpu, profile.prices(), SMALL, workload, schedule)
        self.client = Reader()
        self.system.peer = self.client
        self.listener = self.system.open(Listener(SMALL.backlog))
        self.connection = Connection(0)
        self.seen: list[tuple[int, Any]] = []
        """Time and result of each call of a program that `run` ran."""

        def start(program: Callable[..., Call[None]], *args: Any) -> SimKernel:
            thread = SimKernel(self.system, program.__name__)
            self.system.launch(thread, program(thread, *args))
            return thread

        self.system.start = start

    def run(self, *calls: tuple[Any, ...]) -> None:
        """Have a thread accept the connection and make these calls, (name, arguments...)."""

        def program(kernel: Kernel, fd: int) -> Call[None]:
            for name, *args in calls:
                result = yield from getattr(kernel, name)(fd, *args)
                self.seen.append((int(self.env.now_ns), result))

        self.accept()
        self.system.start(program, self.connection.fd)
        self.env.run()

    def accept(self) -> None:
        """The connection as it is after accept."""
        connect(self.system, self.listener, self.connection)
        accept_one(self.system, self.listener)

    def at(self, ns: int, act: Callable[[], object]) -> None:
        call_in(self.env, ns, lambda _: act())

    def read(self, nbytes: int) -> None:
        """The client reads."""
        self.client.buffered -= nbytes
        drain(self.system, self.connection)


# --- a program's calls, to the nanosecond -------------------------------------------------------

# The thread runs at 1000. A call is made when the one before it is paid for: 100 and 1 a byte.


def test_a_nonblocking_send_takes_what_fits() -> None:
    """40 bytes go to the client, 60 into the send buffer. The client reads 10 at 5000, which is not
    a third of the send buffer; 10 more at 6000 are. Until then poll has cost 0 + 0 and sleeps."""
    setup = Setup()
    setup.at(5_000, lambda: setup.read(10))
    setup.at(6_000, lambda: setup.read(10))
    setup.run(("set_nonblocking",), ("send", 200), ("send", 200), ("wait_writable",), ("send", 200))
    # fcntl at 1000; send at 1100, 100 + 100; EAGAIN at 1300; poll from 1400 on, woken at 6000 and
    # running 1000 later; 100 for poll before send is made.
    assert setup.seen == [
        (1_000, None),
        (1_100, 100),
        (1_300, EAGAIN),
        (7_000, None),
        (7_100, 20),
    ]
    assert setup.client.buffered == CLIENT
    assert setup.system.syscalls == {"fcntl": 1, "send": 3, "poll": 1}


def test_a_blocking_send_sleeps_until_it_has_taken_all() -> None:
    """100 of 150 bytes at once, at 1000. The client reads all 40 at 5000: it then has 40 of the 60
    in the buffer, 20 are left, and 40 more fit in; the other 10 follow when it reads at 9000."""
    setup = Setup()
    setup.at(5_000, lambda: setup.read(40))
    setup.at(9_000, lambda: setup.read(40))
    setup.run(("send", 150), ("close",))
    # Woken at 5000, the thread puts 40 in at 6000 and pays 40; woken at 9000, it puts 10 in.
    assert setup.seen == [(10_000, 150), (10_010, None)]
    assert setup.client.buffered == CLIENT
    assert setup.client.told == []
    setup.read(40)
    assert (setup.client.buffered, setup.client.told) == (30, ["FIN"])


def test_a_reset_ends_a_blocking_send() -> None:
    setup = Setup()
    setup.at(5_000, lambda: reset(setup.system, setup.connection))
    setup.run(("send", 150), ("send", 1), ("send", 1), ("recv",))
    assert [result for _, result in setup.seen] == [100, ECONNRESET, EPIPE, 0]
    assert setup.seen[0][0] == 6_000
    # What was in the send buffer is discarded.
    setup.read(CLIENT)
    assert setup.client.buffered == 0


def test_the_end_wakes_every_reader() -> None:
    setup = Setup()
    results = []

    def program(kernel: Kernel) -> Call[None]:
        results.append((yield from kernel.recv(setup.connection.fd)))

    setup.accept()
    for _ in range(3):
        setup.system.start(program)
    setup.at(50_000, lambda: hang_up(setup.system, setup.connection))
    setup.env.run()
    assert results == [0, 0, 0]


# --- nothing is lost ----------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["deliver", "take", "put", "read"]),
            st.integers(1, 250),
        )
    ),
    st.sampled_from([None, "shut_down", "close"]),
)
def test_bytes_in_are_bytes_out_and_buffered(steps: list[tuple[str, int]], end: str | None) -> None:
    setup = Setup()
    system, connection, client = setup.system, setup.connection, setup.client
    setup.accept()
    told = {"deliver": 0, "take": 0, "put": 0, "read": 0}

    def check() -> None:
        out = connection.out
        unsent = 0 if out is None else out.unsent
        assert told["deliver"] == told["take"] + connection.unread
        assert told["put"] == told["read"] + client.buffered + unsent
        assert connection.unread >= 0
        assert 0 <= unsent <= SEND
        assert 0 <= client.buffered <= CLIENT
        # Bytes wait only where the next buffer is full.
        assert not unsent or client.buffered == CLIENT

    for step, nbytes in steps:
        if step == "deliver":
            deliver(system, connection, nbytes)
        elif step == "take":
            nbytes = take(system, connection, nbytes)
            assert nbytes <= RECEIVE
        elif step == "put":
            nbytes = max(0, put(system, connection, nbytes))
        else:
            nbytes = min(nbytes, client.buffered)
            setup.read(nbytes)
        told[step] += nbytes
        check()
    if end == "shut_down":
        shut_down(system, connection)
        assert put(system, connection, 1) == EPIPE
    elif end == "close":
        unread = connection.unread
        finish(system, connection)
        if unread:
            assert client.told == ["RST"]
            return
    while client.buffered:
        told["read"] += client.buffered
        setup.read(client.buffered)
    check()
    assert told["put"] == told["read"]
    assert client.told == (["FIN"] if end else [])


# --- the backlog --------------------------------------------------------------------------------


def test_a_full_backlog_takes_one_more_than_its_limit() -> None:
    setup = Setup()
    listener = Listener(limit=2)
    for _ in range(3):
        assert not listener.full
        connect(setup.system, listener, Connection(0))
    assert listener.full


def lazy(kernel: Kernel, listener: int) -> Call[None]:
    """Accept three connections, the next one never."""
    for _ in range(3):
        yield from kernel.accept(listener)
    yield from kernel.nanosleep(10**12)


def test_clients_that_find_no_room_fail_the_run() -> None:
    """Three accepted, two and one more waiting: the seventh finds no room."""
    machine = Machine(backlog=2)
    with pytest.raises(RunFailed, match=r"connection 7 of 8 .* Machine.backlog = 2"):
        simulate(lazy, Workload(connections=8, requests=8), machine=machine)


@pytest.mark.parametrize("model", [model for model in MODELS if model != "blocking-serial"])
def test_clients_connect_as_room_appears(model: str) -> None:
    """The records do not show whether connections waited on the backlog or for room on it.

    Polls alone fall at other moments after setting up. A program that serves one connection to its
    end before the next never makes room before the load begins.
    """
    load = Workload(connections=50, requests=100, rate_per_s="1k/s", arrivals="even")
    few = simulate(model, load, profile=free_costs(), machine=Machine(backlog=3))
    many = simulate(model, load, profile=free_costs())
    assert len(few.records) == load.requests
    if model not in ("nonblocking", "nonblocking-sleep"):
        assert few.records.tobytes() == many.records.tobytes()


def slow(kernel: Kernel, listener: int) -> Call[None]:
    """A thread per connection, but one connection a second."""
    while True:
        fd = yield from kernel.accept(listener)
        yield from kernel.nanosleep(10**9)
        yield from kernel.spawn(serve, fd)


def test_a_slow_program_is_waited_for() -> None:
    """It takes a second for each connection; the clients wait 5 s for room."""
    load = Workload(connections=6, requests=6, arrivals="closed")
    run = simulate(slow, load, machine=Machine(backlog=1))
    assert len(run.records) == 6


# --- resets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["nonblocking", "nonblocking-sleep"])
def test_models_that_never_rest_survive_a_reset(model: str) -> None:
    """As conformance/rules/models.py does for the others."""
    load = Workload(request_bytes=64, reply_bytes=500, connections=1, requests=2)
    setup = Setup(workload=load)
    second = Connection(0)
    setup.system.start(MODELS[model].program, setup.listener.fd)
    system = setup.system
    connect(system, setup.listener, setup.connection)
    setup.at(100_000, lambda: deliver(system, setup.connection, 64))
    setup.at(1_000_000, lambda: reset(system, setup.connection))
    setup.at(2_000_000, lambda: setattr(setup.client, "size", 1_000))
    setup.at(2_000_000, lambda: connect(system, setup.listener, second))
    setup.at(3_000_000, lambda: deliver(system, second, 64))
    setup.env.run(until=5_000_000)
    assert system.files[second.fd] is second
    assert setup.connection not in system.files
    assert setup.client.buffered == CLIENT + 500


@pytest.mark.parametrize("model", MODELS)
def test_models_close_a_connection_that_was_reset(model: str) -> None:
    setup = Setup()
    setup.system.start(MODELS[model].program, setup.listener.fd)
    connect(setup.system, setup.listener, setup.connection)
    setup.at(1_000_000, lambda: reset(setup.system, setup.connection))
    setup.env.run(until=900_000)
    assert setup.connection in setup.system.files
    setup.env.run(until=10_000_000)  # beyond a time slice of the polling kernel thread
    assert setup.connection not in setup.system.files
