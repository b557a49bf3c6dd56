"""Timeouts to the nanosecond, workers, and who of them gets which connections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_costs import free_costs, profile, round_costs

from iosim.caches import SCAN_BYTES
from iosim.costs import WakeUp
from iosim.errors import RunFailed
from iosim.kernel import EPOLL_CTL_ADD, Call, Kernel
from iosim.machine import Machine
from iosim.models import Epoll, Model, Poll, Select, get
from iosim.results import Run
from iosim.sim import simulate
from iosim.sim.boot import boot
from iosim.sim.readiness import WatchedSet
from iosim.trace import Trace
from iosim.workload import Workload

ONE = Workload(connections=1, requests=1, arrivals="even", rate_per_s=10)
"""Due after 100 ms: long after what the programs below wait for."""

TIMER = profile(
    {"timer_slack_ns": 50_000, "eagain_ns": 1}, WakeUp(idle_ns=0, latency_ns=[3_000.0], cpu_ns=0)
)

Wait = Callable[[Kernel, int, int | None], Call[list[int]]]


def by_select(kernel: Kernel, fd: int, timeout_ns: int | None) -> Call[list[int]]:
    fds = kernel.fd_set()
    fds.add(fd)
    return (yield from kernel.select(fds, timeout_ns))


def by_poll(kernel: Kernel, fd: int, timeout_ns: int | None) -> Call[list[int]]:
    fds = kernel.poll_set()
    fds.add(fd)
    return (yield from kernel.poll(fds, timeout_ns))


def by_epoll(kernel: Kernel, fd: int, timeout_ns: int | None) -> Call[list[int]]:
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
    return (yield from kernel.epoll_wait(epfd, 8, timeout_ns))


WAITS = {"select": by_select, "poll": by_poll, "epoll_wait": by_epoll}


def serve_after(wait: Wait, *timeouts_ns: int | None) -> Callable[..., Call[None]]:
    """A program that waits on its one connection with each of these timeouts, then serves it."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        for timeout_ns in timeouts_ns:
            yield from wait(kernel, fd, timeout_ns)
        nbytes = yield from kernel.recv(fd)
        for request in kernel.requests(fd, nbytes):
            yield from kernel.send(fd, request.reply_bytes)

    return program


def waited(name: str, *timeouts_ns: int | None) -> list[tuple[int, Any]]:
    """How long each wait took, and its result."""
    trace = Trace()
    simulate(serve_after(WAITS[name], *timeouts_ns), ONE, profile=TIMER, trace=trace)
    return [(c.end_ns - c.begin_ns, c.result) for c in trace.calls if c.name == name]


@pytest.mark.parametrize(
    ("name", "timeout_ns", "took_ns"),
    [
        # Rounded up to whole units; then the timer's slack, 50,000, and the wake-up, 3000.
        ("select", 1_000, 54_000),
        ("select", 1_001, 55_000),
        ("poll", 1, 1_053_000),
        ("poll", 2_000_000, 2_053_000),
        ("poll", 2_000_001, 3_053_000),
        ("epoll_wait", 1_000_001, 2_053_000),
        ("select", 0, 0),
        ("poll", 0, 0),
        ("epoll_wait", 0, 0),
    ],
)
def test_how_long_a_timeout_is(name: str, timeout_ns: int, took_ns: int) -> None:
    assert waited(name, timeout_ns) == [(took_ns, ())]


@pytest.mark.parametrize("name", WAITS)
def test_data_ends_the_wait_and_its_timer(name: str) -> None:
    """The first wait ends with data, which stays; the program then computes on past the timer."""
    (first_ns, found), (second_ns, again) = waited(name, 500_000_000, 500_000_000)
    assert 0 < first_ns < 500_000_000
    assert found == again != ()
    assert second_ns == 0


@pytest.mark.parametrize("name", WAITS)
def test_a_timer_left_behind_wakes_nobody(name: str) -> None:
    """Two runs that differ in a timeout that is never reached are equal, wake-up for wake-up."""
    load = Workload(connections=1, requests=50, rate_per_s=1_000)
    wait = WAITS[name]

    def server(timeout_ns: int | None) -> Callable[..., Call[None]]:
        def program(kernel: Kernel, listener: int) -> Call[None]:
            fd = yield from kernel.accept(listener)
            yield from wait(kernel, fd, timeout_ns)
            while nbytes := (yield from kernel.recv(fd)):
                for request in kernel.requests(fd, nbytes):
                    yield from kernel.send(fd, request.reply_bytes)

        return program

    never = simulate(server(None), load, profile=round_costs())
    unreached = simulate(server(20_000_000), load, profile=round_costs())
    assert (never.records == unreached.records).all()
    assert never.wakeups == unreached.wakeups
    assert never.tasks == unreached.tasks


def test_a_program_asleep_for_ever_is_still_found_out() -> None:
    with pytest.raises(RunFailed, match="1 of 1 requests were not answered within 10 s"):
        simulate(serve_nobody, ONE, profile=round_costs())


def serve_nobody(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from by_epoll(kernel, fd, 1_000)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_wait(epfd, 8)


@pytest.mark.parametrize(
    ("name", "connections", "took_ns"),
    [
        # 10 for each that is watched, of select 1 for each number up to the highest, which is
        # connections + 3. Of 8 in an L2 for 4, a share of 0.7968 comes from memory, 4 steps of 25
        # away.
        ("poll", 4, 40),
        ("poll", 8, 80 + 637),
        ("select", 4, 40 + 7),
        ("select", 8, 80 + 11 + 637),
    ],
)
def test_a_scan_beyond_l2(name: str, connections: int, took_ns: int) -> None:
    def program(kernel: Kernel, listener: int) -> Call[None]:
        fds = (kernel.poll_set if name == "poll" else kernel.fd_set)()
        for _ in range(connections):
            fds.add((yield from kernel.accept(listener)))
        yield from (kernel.poll if name == "poll" else kernel.select)(fds, 0)
        for fd in (yield from (kernel.poll if name == "poll" else kernel.select)(fds)):
            nbytes = yield from kernel.recv(fd)
            for request in kernel.requests(fd, nbytes):
                yield from kernel.send(fd, request.reply_bytes)

    costs = free_costs(poll_fd_ns=10, select_fd_ns=10, select_number_ns=1, fd_miss_ns=25)
    costs = costs.model_copy(update={"host": {"l2_bytes": 4 * SCAN_BYTES}})
    trace = Trace()
    load = ONE.model_copy(update={"connections": connections})
    simulate(program, load, profile=costs, trace=trace)
    first = next(call for call in trace.calls if call.name == name)
    assert first.end_ns - first.begin_ns == took_ns


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30))))
def test_highest_is_the_highest(steps: list[tuple[bool, int]]) -> None:
    fds = WatchedSet(boot(round_costs(), Machine(), ONE, ONE.schedule(1), 1))
    for add, fd in steps:
        (fds.add if add else fds.discard)(fd)
        assert fds.highest == max((fd for fd in range(31) if fd in fds), default=-1)


# --- workers ------------------------------------------------------------------------------------

CROWD = Workload(connections=60, connect_gap_ns=1_000_000, requests=600, rate_per_s=20_000)
FOUR = Machine(cores=4)

EVERY_WAY: list[Model] = [
    *(Epoll(workers=4, listener=how) for how in ("shared", "exclusive", "reuseport")),
    Epoll(trigger="edge", workers=4),
    Poll(workers=4),
    Select(workers=4),
]


def counted(model: Model, load: Workload, machine: Machine = FOUR) -> tuple[Run, Counter[str]]:
    """The run, and how many connections each thread accepted."""
    trace = Trace()
    run = simulate(model, load, profile="native", machine=machine, trace=trace)
    accepts = [call for call in trace.calls if call.name == "accept"]
    return run, Counter(call.thread for call in accepts if call.result and call.result > 0)


@pytest.mark.parametrize("model", EVERY_WAY, ids=repr)
@pytest.mark.parametrize("cores", [1, 4])
def test_workers_answer_everything_once(model: Model, cores: int) -> None:
    run, accepted = counted(model, CROWD, Machine(cores=cores))
    assert (run.records["replied_ns"] > run.records["done_ns"]).all()
    assert sum(accepted.values()) == CROWD.connections
    assert len(run.tasks) == 4
    assert run.syscalls["send"] == CROWD.requests


def test_one_worker_is_the_model_as_it_was() -> None:
    for name in ("epoll", "poll", "select"):
        assert len(simulate(get(name), CROWD).tasks) == 1


def test_exclusive_gives_the_first_worker_everything() -> None:
    """With time between connections the first on the list always waits again."""
    _, accepted = counted(Epoll(workers=4, listener="exclusive"), CROWD)
    assert accepted == {"worker 1": CROWD.connections}


def test_reuseport_spreads_connections() -> None:
    """A hash: about as many as chance would give each of four, 15 of 60 (deviation 3.4)."""
    _, accepted = counted(Epoll(workers=4, listener="reuseport"), CROWD)
    assert len(accepted) == 4
    assert all(abs(count - 15) < 4 * 3.4 for count in accepted.values())


def wakeups_per_connection(model: Model) -> float:
    """How often a thread began to run again while the connections were made."""
    trace = Trace()
    quiet = CROWD.model_copy(update={"requests": 1})
    simulate(model, quiet, profile=free_costs(), machine=FOUR, trace=trace)
    accepts = [c for c in trace.calls if c.name == "accept" and c.result and c.result > 0]
    first_ns, last_ns = accepts[0].begin_ns - 1, accepts[-1].begin_ns + 1
    woken = [s for s in trace.states if s.state == "RUNNABLE" and first_ns < s.at_ns < last_ns]
    return len(woken) / len(accepts)


@pytest.mark.parametrize(
    ("model", "wakeups"),
    [
        (Epoll(workers=4, listener="shared"), 4),
        (Epoll(workers=4, listener="exclusive"), 1),
        (Epoll(workers=4, listener="reuseport"), 1),
        (Poll(workers=4), 4),
        (Select(workers=4), 4),
    ],
    ids=repr,
)
def test_the_herd(model: Model, wakeups: int) -> None:
    """A connection wakes every worker that watches for it, or one."""
    assert wakeups_per_connection(model) == pytest.approx(wakeups, abs=0.05)


@pytest.mark.parametrize("name", ["poll", "select"])
@pytest.mark.parametrize("ready", range(4))
@pytest.mark.parametrize("timeout_ns", [None, 0])
def test_joins_the_wait_queues_before_the_first_that_is_ready(
    name: str, ready: int, timeout_ns: int | None
) -> None:
    """7 for each of them, but none if the call cannot sleep."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        fds = []
        watched = kernel.poll_set()
        for _ in range(4):
            fds.append((yield from kernel.accept(listener)))
            watched.add(fds[-1])
        (fd,) = yield from kernel.poll(watched)
        others = [other for other in fds if other != fd]
        watched = (kernel.poll_set if name == "poll" else kernel.fd_set)()
        for other in [*others[:ready], fd, *others[ready:]]:
            watched.add(other)
        yield from (kernel.poll if name == "poll" else kernel.select)(watched, timeout_ns)
        kernel.requests(fd, (yield from kernel.recv(fd)))
        yield from kernel.send(fd, 64)

    trace = Trace()
    load = ONE.model_copy(update={"connections": 4, "request_bytes": 64, "reply_bytes": 64})
    queues = free_costs(scan_join_fd_ns=5, scan_leave_fd_ns=2)
    run = simulate(program, load, profile=queues, trace=trace)
    again = [call for call in trace.calls if call.name in ("poll", "select")][1]
    position = ready if name == "poll" else int(run.records["connection"][0])
    assert again.end_ns - again.begin_ns == (7 * position if timeout_ns is None else 0)
