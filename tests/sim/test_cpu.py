"""Scheduling, and where the time of the cores goes, on scenarios small enough to add up by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest
from round_costs import free_costs, profile

from iosim.costs import CostProfile, WakeUp
from iosim.errors import RunFailed
from iosim.kernel import Call, Kernel
from iosim.machine import Interference, Machine, Nic
from iosim.models.blocking import serve
from iosim.results import CoreTimes, Run
from iosim.sim import simulate
from iosim.sim.clients import LOOK_NS
from iosim.sim.engine import call_in
from iosim.sim.pending import Gil
from iosim.workload import Workload, stream

MS = 1_000_000

ONE = Workload(connections=1, requests=1, arrivals="even", rate_per_s=1_000)
"""A request that is there 1 ms after the start."""

SWITCHING = free_costs(context_switch_ns=100)


def beside(*computing_ns: int) -> Callable[[Kernel, int], Call[None]]:
    """A program that serves its connections one by one beside threads that compute."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        for ns in computing_ns:
            yield from kernel.spawn(compute, ns)
        yield from serve(kernel, fd)

    return program


def compute(kernel: Kernel, ns: int) -> Call[None]:
    while True:
        yield from kernel.compute(ns)
        yield from kernel.epoll_create()  # which pays


def noticed_ns(run: Run) -> int:
    return int(run.records["copied_ns"][0])


def test_a_thread_that_wakes_up_preempts_one_that_has_run_for_long() -> None:
    run = simulate(beside(100 * MS), ONE, profile=SWITCHING)
    assert noticed_ns(run) == MS + 100
    assert run.context_switches == 2  # there and back again


def test_the_preempted_thread_goes_on_where_it_was() -> None:
    """Ten requests, 1 ms apart, each taking 200 of switching there and back and 1000 to serve: what
    the other thread does in 10 ms takes it that much longer."""
    done: list[int] = []

    def finish(kernel: Any) -> Call[None]:
        yield from kernel.nanosleep(20 * MS)  # beyond the settling of 10 ms: the load has begun
        began_ns = kernel.now_ns
        yield from kernel.compute(10 * MS)
        yield from kernel.pay()
        done.append(kernel.now_ns - began_ns)

    def program(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        yield from kernel.spawn(finish)
        yield from serve(kernel, fd)

    load = ONE.model_copy(update={"requests": 40, "service": 1_000})
    machine = Machine(time_slice_ns=100 * MS)
    simulate(program, load, profile=SWITCHING, machine=machine)
    assert done == [10 * MS + 10 * 1_200]


def test_a_thread_is_protected_in_the_beginning_of_its_slice() -> None:
    """The load starts in the middle of a slice of the computing thread; its protection never ends,
    but its slice does."""
    machine = Machine(time_slice_ns=3 * MS, protected_slice_ns=100 * MS)
    run = simulate(beside(100 * MS), ONE, profile=SWITCHING, machine=machine)
    assert run.context_switches == 2
    # Slices of 3 ms since the thread was switched to, at 100; the load begins at 10 ms.
    assert noticed_ns(run) == (100 + 12 * MS) - 10 * MS + 100


def test_a_thread_that_has_waited_preempts_until_it_has_run_for_as_long() -> None:
    """It first wakes up in the midst of a slice of the other thread, which is protected, and waits
    for 2 ms. That makes up for six bursts of 0.3 ms and a part of the seventh. Then it waits again,
    for the rest of a slice of which 1 ms has passed: seven times 1 ms since the first one ended."""
    waited: list[int] = []

    def program(kernel: Any, listener: int) -> Call[None]:
        yield from kernel.spawn(compute, 100 * MS)
        for _ in range(8):
            due_ns = kernel.now_ns + MS
            yield from kernel.nanosleep(MS)
            waited.append(kernel.now_ns - due_ns)
            yield from kernel.compute(MS * 3 // 10)
            yield from kernel.pay()
        yield from serve(kernel, (yield from kernel.accept(listener)))

    machine = Machine(time_slice_ns=3 * MS, protected_slice_ns=100 * MS)
    load = ONE.model_copy(update={"rate_per_s": 10})
    simulate(program, load, profile=free_costs(), machine=machine)
    assert waited == [2 * MS, *[0] * 6, 2 * MS]


def test_interrupt_work_holds_up_one_thread_only() -> None:
    """A thread has 500 left to compute when an interrupt of 1000 comes. 700 later, when it would
    have been done without that, another one takes the core: it is held up by the other 300."""
    took_ns: list[int] = []

    def short(kernel: Any, due_ns: int) -> Call[None]:
        yield from kernel.nanosleep(due_ns - kernel.env.now_ns)
        yield from kernel.compute(50)
        yield from kernel.pay()

    def program(kernel: Any, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        env = kernel.env
        due_ns = env.now_ns + MS
        yield from kernel.spawn(short, due_ns)
        yield from kernel.nanosleep(MS // 2)
        left_ns = due_ns - env.now_ns
        call_in(env, left_ns - 700, lambda _: kernel.cpu.interrupt(kernel.core, 1_000))
        yield from kernel.compute(left_ns - 700 + 500)
        yield from kernel.pay()
        took_ns.append(env.now_ns - due_ns)
        yield from serve(kernel, fd)

    machine = Machine(protected_slice_ns=0)
    simulate(program, ONE, profile=SWITCHING, machine=machine)
    # 300 held up, two switches, 50 of the other thread, 500 left.
    assert took_ns == [300 + 2 * 100 + 50 + 500]


def test_an_idle_core_takes_over_a_waiting_thread() -> None:
    """The first of three threads finds the second core idle. The second waits for the main thread
    to sleep, the third behind the first: until the second has ended."""
    ended: dict[int, int] = {}

    def once(kernel: Any, ns: int) -> Call[None]:
        yield from kernel.compute(ns)
        yield from kernel.pay()
        ended[ns] = kernel.now_ns

    def program(kernel: Any, listener: int) -> Call[None]:
        yield from kernel.accept(listener)
        for ns in (9 * MS, MS, 3 * MS):
            yield from kernel.spawn(once, ns)
        yield from kernel.accept(listener)

    machine = Machine(cores=2, time_slice_ns=100 * MS)
    costs = free_costs(context_switch_ns=100, client_send_ns=1)
    with pytest.raises(RunFailed, match="1 of 1 requests were not answered"):
        simulate(program, ONE, profile=costs, machine=machine)
    ends_ns = {9 * MS: 9 * MS, MS: 100 + MS, 3 * MS: 100 + MS + 100 + 3 * MS}
    # The program waits when clients look for the first time.
    assert ended == {ns: LOOK_NS + end_ns for ns, end_ns in ends_ns.items()}


TIMES = profile(
    {
        "recv_ns": 300,
        "send_ns": 500,
        "request_ns": 20,
        "eagain_ns": 1,
        "irq_ns": 600,
        "softirq_ns_per_packet": 400,
        "reply_ns": 10_000,
    },
    WakeUp(idle_ns=0, latency_ns=[3_000.0], cpu_ns=1_000, cold_ns=400),
)


def times(model: str, machine: Machine, costs: CostProfile = TIMES, **load: Any) -> CoreTimes:
    """What one core did in a run."""
    run = simulate(model, ONE.model_copy(update=load), profile=costs, machine=machine)
    (core,) = run.core_times
    return core


def test_account_of_one_request() -> None:
    """Woken 3000 after the arrival, the last 600 of it switching. 400 cold, 300 recv, 20 framing,
    2000 computing; then send, which the program pays for before it sleeps in recv again. The reply
    is there 10,000 after send began, when the core has idled for 9500."""
    assert times("blocking", Machine(), service=2_000) == CoreTimes(
        user_ns=2_020,
        system_ns=400 + 300 + 500,
        softirq_ns=0,
        switch_ns=600,
        stolen_ns=0,
        idle_ns=MS + 2_400 + 9_500,
    )


def test_account_of_interrupt_work() -> None:
    """The card's interrupt, 600 + 400, comes while the core idles, before the wake-up."""
    times_ns = times("blocking", Machine(nic=Nic()))
    assert times_ns.softirq_ns == 1_000
    assert times_ns.switch_ns == 600
    assert times_ns.user_ns == 20
    assert times_ns.system_ns == 400 + 300 + 500


def test_account_of_stolen_time() -> None:
    """Of every millisecond, a quarter is stolen: of what the program does and of idling."""
    machine = Machine(interference=Interference(per_s=10_000, duration_ns=[20_000, 30_000]))
    load = {"requests": 1_000, "service": 100_000}
    stolen = times("blocking", machine, **load)
    own = times("blocking", Machine(), **load)
    elapsed_ns = sum(vars_of(stolen).values())
    assert stolen.stolen_ns / elapsed_ns == pytest.approx(0.25, abs=0.02)
    assert stolen.user_ns == own.user_ns == 1_000 * 100_020
    assert own.stolen_ns == 0


def vars_of(times: CoreTimes) -> dict[str, int]:
    return {name: getattr(times, name) for name in CoreTimes.__dataclass_fields__}


def test_stolen_time_delays_what_runs() -> None:
    """50 ns every 10 us: computing for 10 ms takes about 1000 * 50 longer."""
    machine = Machine(interference=Interference(per_s=100_000, duration_ns=[50]))
    load = ONE.model_copy(update={"service": 10 * MS})
    quiet = simulate("epoll", load, profile=TIMES).latency_ns[0]
    noisy = simulate("epoll", load, profile=TIMES, machine=machine).latency_ns[0]
    assert noisy - quiet == pytest.approx(50_000, rel=0.1)
    assert (noisy - quiet) % 50 == 0


@pytest.mark.parametrize(("runtime", "takes_ns"), [("native", MS), ("python", 2 * MS)])
def test_the_global_interpreter_lock(runtime: str, takes_ns: int) -> None:
    """Two cores compute at the same time, unless the language has a lock against it."""
    costs = free_costs().model_copy(update={"runtime": runtime})
    load = Workload(connections=2, requests=2, arrivals="closed", service=MS)
    run = simulate("blocking", load, profile=costs, machine=Machine(cores=2))
    assert run.elapsed_ns == takes_ns


def test_system_calls_run_beside_the_global_interpreter_lock() -> None:
    costs = free_costs(recv_ns=MS).model_copy(update={"runtime": "python"})
    load = Workload(connections=2, requests=2, arrivals="closed", service=MS)
    run = simulate("blocking", load, profile=costs, machine=Machine(cores=2))
    assert run.elapsed_ns == 3 * MS


def test_threads_of_the_kernel_know_no_interpreter_lock() -> None:
    """A flood of packets, which ksoftirqd takes over, under a profile of Python."""
    machine = Machine(nic=Nic(napi_budget=1))
    load = Workload(connections=20, requests=200, rate_per_s=50_000, request_bytes=9_000)
    run = simulate("blocking", load, machine=machine)
    assert "ksoftirqd/0" in {task.name for task in run.tasks}
    assert len(run.records) == 200


@pytest.mark.parametrize("cores", [1, 2])
def test_one_that_waits_for_the_lock_gets_it_after_an_interval(cores: int) -> None:
    """To go on after recv, 200, the thread needs the lock: the one that computes has to let go 5 ms
    later. On one core there is a switch before recv, and one before the thread goes on."""
    costs = free_costs(context_switch_ns=100, recv_ns=200).model_copy(update={"runtime": "python"})
    run = simulate(beside(100 * MS), ONE, profile=costs, machine=Machine(cores=cores))
    switches_ns = 2 * 100 if cores == 1 else 0
    assert run.records["done_ns"][0] == MS + 200 + 5 * MS + switches_ns


def test_whoever_has_to_let_go_of_the_lock_waits_for_another_to_take_it() -> None:
    """Two that compute for 12 ms take turns of 5 ms: 5 + 5, 5 + 5, 2 + 2."""
    ended: list[int] = []

    def twelve_ms(kernel: Any) -> Call[None]:
        yield from kernel.compute(12 * MS)
        yield from kernel.pay()
        ended.append(kernel.now_ns)

    def program(kernel: Any, listener: int) -> Call[None]:
        yield from kernel.spawn(twelve_ms)
        yield from kernel.spawn(twelve_ms)
        yield from serve(kernel, (yield from kernel.accept(listener)))

    costs = free_costs().model_copy(update={"runtime": "python"})
    load = ONE.model_copy(update={"rate_per_s": 10})
    simulate(program, load, profile=costs, machine=Machine(cores=2))
    assert ended == [22 * MS, 24 * MS]


def test_who_has_slept_for_the_lock_pays_for_waking_up_before_it_sleeps_again() -> None:
    """A thread cannot begin its nap of 1 ms before another one, which computes, lets go of the
    lock. Then it takes 1000 to wake up and 100 more since it is cold, and 1000 to wake up after the
    nap; what is cold then comes after the call.
    """
    at_ns: list[int] = []

    def nap(kernel: Any) -> Call[None]:
        yield from kernel.nanosleep(MS)
        at_ns.append(kernel.now_ns)

    def program(kernel: Any, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        kernel.requests(fd, (yield from kernel.recv(fd)))
        yield from kernel.spawn(nap)
        yield from kernel.compute(2 * MS)
        yield from kernel.pay()
        at_ns.append(kernel.now_ns)
        yield from kernel.nanosleep(2 * MS)
        yield from kernel.send(fd, ONE.reply_bytes)

    wakeup = WakeUp(idle_ns=0, latency_ns=[1000.0], cpu_ns=100, cold_ns=100)
    costs = profile({"eagain_ns": 1}, wakeup).model_copy(update={"runtime": "python"})
    simulate(program, ONE, profile=costs, machine=Machine(cores=2))
    let_go_ns, up_again_ns = at_ns
    assert up_again_ns - let_go_ns == 1100 + MS + 1000


def test_an_interval_in_which_the_lock_changed_hands_does_not_count() -> None:
    woken: list[Any] = []
    a, b, c = (Mock(**{"cpu.wake": woken.append}) for _ in range(3))
    gil: Any = Gil(stream(1, "gil"))
    gil.take(a, 0)
    gil.wait(b, MS)
    assert gil.left_ns(2 * MS, 5 * MS) == 4 * MS
    gil.let_go()
    assert woken == [b]
    gil.wait(c, 3 * MS)
    gil.take(b, 4 * MS)
    # The first interval of c ends at 8 ms in vain, the second at 13 ms.
    assert gil.left_ns(12 * MS, 5 * MS) == MS


def test_nobody_asks_for_the_lock_in_the_interval_after_it_changed_hands() -> None:
    """At 1 ms b asks in 5 ms, and who knows of the switch at 0 knows that nobody does in 4."""
    a, b = Mock(), Mock()
    gil: Any = Gil(stream(1, "gil"))
    gil.take(a, 0)
    gil.wait(b, MS)
    for wanted_ns in (0, 1, 4 * MS):
        assert wanted_ns <= gil.left_ns(MS, wanted_ns) <= 5 * MS
    assert gil.left_ns(MS, 4 * MS + 1) == 5 * MS
    assert gil.left_ns(5 * MS, 0) == MS
    assert gil.left_ns(6 * MS, 0) == 0
