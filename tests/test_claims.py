"""What the document that the project starts from claims about the models, borne out by runs.

On the shipped native profile; every run is simulated, so each figure is the same everywhere.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from iosim.costs import CostProfile
from iosim.errors import IosimError, RunFailed
from iosim.machine import Machine
from iosim.models import MODELS, get
from iosim.results import Run
from iosim.sim import simulate
from iosim.workload import Workload

NATIVE = CostProfile.shipped("native")
PRICES = NATIVE.prices()


def run_model(name: str, load: Workload, **parameters: object) -> Run:
    return simulate(get(name, **parameters), load, profile=NATIVE)


def light(connections: int, **changes: object) -> Workload:
    """10,000 requests a second: far below what any of the models can do."""
    return Workload.of(connections=connections, requests=2_000, **changes)


def median_wait_ns(run: Run) -> float:
    """From data on the socket to data in the program."""
    return float(np.median(run.records["copied_ns"] - run.records["ready_ns"]))


COPY_NS = PRICES.recv_ns + round(64 * PRICES.copy_ns_per_byte)
"""What reading one request of 64 bytes takes."""


# --- blocking --------------------------------------------------------------------------------


def test_blocking_sleeps_in_phase_1_and_is_blocked_in_phase_2() -> None:
    """On one connection: what the thread does not run, it waits for data or for the core."""
    load = light(1, arrivals="closed", think_ns=100_000)
    run = run_model("blocking", load)
    (server,) = [task for task in run.tasks if task.name.startswith("serve")]
    assert run.wait_for_data_ns == server.sleeping_ns + server.runnable_ns
    assert run.wait_for_data_ns > 0.8 * run.elapsed_ns
    assert run.copy_data_ns == load.requests * COPY_NS


def test_pool_serves_many_clients_until_it_is_too_small() -> None:
    """A pool of enough threads serves as a thread per connection does; in one of half as many the
    other half of the clients wait until a first one has gone, so for half of the run."""
    load = light(40, arrivals="closed", think_ns=100_000)
    each = run_model("blocking", load)
    enough = run_model("blocking-pool", load, threads=40)
    half = run_model("blocking-pool", load, threads=20)
    assert len(enough.tasks) == 40
    assert np.median(enough.latency_ns) == pytest.approx(np.median(each.latency_ns), rel=0.05)
    assert max(each.latency_ns) < 0.1 * each.elapsed_ns
    assert 0.4 * half.elapsed_ns < max(half.latency_ns) < 0.6 * half.elapsed_ns
    served_late = half.records["copied_ns"] - half.records["ready_ns"] > 1_000_000
    assert np.unique(half.records["connection"][served_late]).size == 20


def test_one_thread_for_all_connections_starves_those_behind_an_idle_one() -> None:
    with pytest.raises(RunFailed, match="starves behind idle connections"):
        run_model("blocking-serial", light(10, active=2))


# --- nonblocking -----------------------------------------------------------------------------


def test_nonblocking_burns_a_whole_core_while_others_sleep() -> None:
    load = light(8, rate_per_s=1_000)
    for name in MODELS:
        if name == "blocking-serial":
            continue
        run = run_model(name, load)
        if name == "nonblocking":
            (task,) = run.tasks
            assert task.running_ns == run.elapsed_ns
            assert run.empty_polls > 100 * load.requests
        elif name == "io_uring-sqpoll":
            # The kernel's thread looks in vain in its stead.
            program, kernel = run.tasks
            assert kernel.running_ns > 0.9 * run.elapsed_ns > 10 * program.running_ns
        else:
            assert run.summary()["utilisation"] < 0.1


def test_nonblocking_never_waits_but_is_blocked_in_the_copy() -> None:
    load = light(1, arrivals="closed", think_ns=100_000)
    run = run_model("nonblocking", load)
    assert run.wait_for_data_ns == 0
    assert run.copy_data_ns == load.requests * COPY_NS


def test_latency_of_nonblocking_grows_with_the_sockets_it_scans() -> None:
    """Data comes at a random moment of a scan and so is found half a scan later."""
    waits = []
    for connections in (1, 10, 100, 1_000):
        wait_ns = median_wait_ns(run_model("nonblocking", light(connections, active=1)))
        half_a_scan_ns = (connections + 1) * PRICES.eagain_ns / 2
        assert wait_ns == pytest.approx(half_a_scan_ns + PRICES.recv_ns, rel=0.15)
        waits.append(wait_ns)
    assert waits == sorted(waits)


def test_sleeping_between_polls_trades_processor_for_delay() -> None:
    load = light(8, rate_per_s=1_000)
    runs = [run_model("nonblocking", load)] + [
        run_model("nonblocking-sleep", load, interval_ns=interval_ns)
        for interval_ns in (10_000, 100_000, 1_000_000)
    ]
    for shorter, longer in pairwise(runs):
        assert longer.cpu_ns < shorter.cpu_ns
        assert median_wait_ns(longer) > median_wait_ns(shorter)
    assert median_wait_ns(runs[-1]) > 1_000_000 / 3


# --- multiplexing ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["select", "poll", "epoll", "epoll-et"])
def test_multiplexing_serves_many_connections_with_one_thread(name: str) -> None:
    load = light(1_000)
    assert len(run_model(name, load).tasks) == 1
    assert len(run_model("blocking", load).tasks) == 1_001


@pytest.mark.parametrize("name", ["select", "poll", "epoll", "epoll-et"])
def test_multiplexing_does_not_pay_on_a_single_connection(name: str) -> None:
    """Two waits for what blocking does in one: more calls, more processor time, a later answer."""
    load = light(1, arrivals="closed", think_ns=50_000)
    one, other = run_model("blocking", load), run_model(name, load)
    assert sum(one.syscalls.values()) <= 2 * load.requests
    assert sum(other.syscalls.values()) >= 3 * load.requests - 1
    assert other.cpu_ns > one.cpu_ns
    assert np.median(other.latency_ns) > np.median(one.latency_ns)


def test_multiplexing_pays_with_many_connections() -> None:
    """Under a load that neither can carry, epoll spends a wait on many requests at once where
    blocking switches threads for each."""
    load = Workload(connections=500, rate_per_s=1_000_000, requests=20_000)
    epoll, blocking = run_model("epoll", load), run_model("blocking", load)
    assert epoll.cpu_ns < blocking.cpu_ns
    assert epoll.summary()["throughput_per_s"] > blocking.summary()["throughput_per_s"]


def test_scan_of_select_and_poll_grows_with_what_they_watch() -> None:
    """From 10 to 1000 idle connections: 990 times the price of one, and what falls out of L2 of
    those and the listener."""
    select_ns = PRICES.select_fd_ns + PRICES.select_number_ns
    for name, scan in (("select", select_ns), ("poll", PRICES.poll_fd_ns)):
        few, many = (run_model(name, light(n, active=1, rate_per_s=100)) for n in (10, 1_000))
        more_ns = (many.cpu_ns - few.cpu_ns) / few.syscalls[name]
        # A call that sleeps scans twice and joins and leaves the wait queues in between.
        queues_ns = PRICES.scan_join_fd_ns + PRICES.scan_leave_fd_ns
        in_l2_ns = 990 * (2 * scan + queues_ns)
        assert more_ns == pytest.approx(in_l2_ns + 2 * PRICES.scan_miss_ns(1_001), rel=0.01)
        assert more_ns > 1.1 * in_l2_ns


@pytest.mark.parametrize("name", ["epoll", "epoll-et", "rtsig", "io_uring", "io_uring-multishot"])
def test_idle_connections_cost_nothing_where_the_kernel_calls_back(name: str) -> None:
    """The very same records with 10 connections as with 1000, one of which is active."""
    few, many = (run_model(name, light(connections, active=1)) for connections in (10, 1_000))
    assert (few.records == many.records).all()
    assert few.cpu_ns == many.cpu_ns


def test_poll_watches_more_than_select_can() -> None:
    load = light(1_100)
    with pytest.raises(IosimError, match=r"select cannot watch descriptor 1024.*poll or epoll"):
        run_model("select", load)
    assert len(run_model("poll", load).records) == load.requests


# --- signal-driven and asynchronous ----------------------------------------------------------


@pytest.mark.parametrize("name", ["sigio", "rtsig"])
def test_signal_driven_is_free_in_phase_1_and_blocked_in_phase_2(name: str) -> None:
    load = light(1, arrivals="closed", think_ns=100_000)
    run = run_model(name, load)
    assert run.wait_for_data_ns == 0
    assert run.copy_data_ns == load.requests * COPY_NS


def test_one_sigio_means_a_scan_of_all_sockets_where_rtsig_names_one() -> None:
    load = light(100, active=1, arrivals="even", rate_per_s=1_000)
    sigio, rtsig = run_model("sigio", load), run_model("rtsig", load)
    assert sigio.empty_polls > 99 * load.requests
    assert rtsig.empty_polls <= load.requests


@pytest.mark.parametrize("name", ["aio", "io_uring", "io_uring-multishot", "io_uring-sqpoll"])
def test_asynchronous_waits_in_neither_phase(name: str) -> None:
    run = run_model(name, light(8))
    assert run.wait_for_data_ns == 0
    assert run.copy_data_ns == 0
    assert "recv" not in run.syscalls
    # It is told when all is over: the data are in its memory before it learns of them.
    assert (run.records["noticed_ns"] >= run.records["copied_ns"]).all()


def test_sqpoll_wants_a_core_of_its_own() -> None:
    """On one core a program that has had its share of the core waits for a slice of the looking
    thread; on two the program submits without a system call."""
    load = light(8, arrivals="even", rate_per_s=20_000, service=10_000)
    shared, own = (
        simulate("io_uring-sqpoll", load, profile=NATIVE, machine=Machine(cores=cores))
        for cores in (1, 2)
    )
    assert shared.summary()["latency_ns"]["p99"] > Machine().time_slice_ns / 2
    assert own.summary()["latency_ns"]["p99"] < Machine().time_slice_ns / 50


@pytest.mark.parametrize("active", [40, 10])
def test_aio_with_fewer_helpers_than_connections_starves(active: int) -> None:
    """A read occupies its helper until data comes. So a quiet connection keeps a helper, and one
    that has no more to say keeps it for good: the last requests find none, though the processor
    has nothing to do."""
    load = light(40, active=active, rate_per_s=1_000)
    assert run_model("aio", load, threads=40).summary()["utilisation"] < 0.1
    with pytest.raises(RunFailed, match="were not answered within 10 s"):
        run_model("aio", load, threads=20)


def test_aio_reads_that_have_waited_longest_come_first() -> None:
    """Two connections that take turns are served by one helper, as glibc's run list does it."""
    load = light(2, arrivals="closed", think_ns=100_000)
    run = run_model("aio", load, threads=1)
    assert sum(task.helper for task in run.tasks) == 1
    assert len(run.records) == load.requests
