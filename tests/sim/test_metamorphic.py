"""How runs change when what goes in changes: laws over random models, loads and machines."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.results import Run
from iosim.sim import simulate
from iosim.workload import Workload

SEEDS = st.integers(0, 2**32)
CONNECTIONS = st.integers(1, 12)
LOADS: dict[str, Any] = {
    "arrivals": st.sampled_from(["poisson", "even", "bursty", "closed"]),
    "rate_per_s": st.sampled_from([2_000, 20_000, 200_000]),
    "think_ns": st.sampled_from([0, 50_000]),
    "service": st.sampled_from(["0", "3us", "exponential(20us)"]),
    "requests": st.integers(12, 60),
}
ANY = st.sampled_from([name for name in MODELS if name != "blocking-serial"])
CARDS = st.sampled_from([None, Nic(), Nic(queues=3, coalesce_ns=5_000)])


def run(model: str | Model, load: Workload, seed: int, profile: str = "native", **kept: Any) -> Run:
    return simulate(model, load, profile=profile, seed=seed, machine=Machine(**kept))


@settings(max_examples=60)
@given(ANY, st.builds(Workload, connections=CONNECTIONS, **LOADS), CARDS, st.integers(1, 3), SEEDS)
def test_a_seed_fixes_a_run(
    model: str, load: Workload, nic: Nic | None, cores: int, seed: int
) -> None:
    one, other = (run(model, load, seed, nic=nic, cores=cores) for _ in range(2))
    assert (one.records == other.records).all()
    assert (one.tasks, one.core_times) == (other.tasks, other.core_times)
    assert (one.syscalls, one.events) == (other.syscalls, other.events)


@settings(max_examples=60)
@given(ANY, st.builds(Workload, connections=CONNECTIONS, **LOADS), CARDS, SEEDS)
def test_a_request_takes_at_least_its_service(
    model: str, load: Workload, nic: Nic | None, seed: int
) -> None:
    """Each is answered once; a program that computes for several before it answers any, as the
    io_uring models do, takes at least as long for all of them."""
    records = run(model, load, seed, nic=nic).records
    assert len(records) == load.requests
    service_of = load.service_of(seed)
    for client in np.unique(records["connection"]).tolist():
        own = records[records["connection"] == client]
        for number, record in enumerate(own):
            spent_ns = int(record["done_ns"] - record["ready_ns"])
            assert spent_ns >= service_of(client, number)
    assert (records["replied_ns"] >= records["done_ns"]).all()


@settings(max_examples=30)
@given(
    st.sampled_from(["epoll", "epoll-et", "rtsig", "io_uring", "io_uring-multishot"]),
    st.builds(Workload, connections=CONNECTIONS, active=st.none(), **LOADS),
    st.integers(1, 300),
    SEEDS,
)
def test_idle_connections_change_nothing(model: str, load: Workload, times: int, seed: int) -> None:
    """With no caches to leave, what happens to those that are active is what would happen alone.
    In a run of its own each request has the same number, and so the same wake-up."""
    alone = run(model, load, seed)
    crowd = load.model_copy(
        update={"connections": load.connections * times, "active": load.connections}
    )
    among = run(model, crowd, seed)
    names = [name for name in alone.records.dtype.names or () if name != "connection"]
    if load.service.distribution == "constant":  # Else it belongs to the connection's number.
        for name in names:
            assert (alone.records[name] == among.records[name]).all(), name
    assert (alone.records["connection"] * times == among.records["connection"]).all()


@settings(max_examples=40)
@given(
    st.sampled_from(["select", "poll", "epoll", "epoll-et"]),
    st.integers(2, 5),
    st.integers(1, 4),
    st.builds(Workload, connections=st.integers(1, 40), **LOADS),
    SEEDS,
)
def test_shares_of_workers_add_up(
    model: str, workers: int, cores: int, load: Workload, seed: int
) -> None:
    done = run(get(model, workers=workers), load, seed, cores=cores)
    assert len(done.workers) == workers
    assert sum(worker.requests for worker in done.workers) == load.requests
    assert sum(worker.connections for worker in done.workers) == load.connections
    assert sum(worker.running_ns for worker in done.workers) == done.cpu_ns
    for core in done.core_times:
        spent = (core.user_ns, core.system_ns, core.softirq_ns, core.switch_ns, core.idle_ns)
        assert sum(spent) + core.stolen_ns == done.elapsed_ns


@settings(max_examples=12)
@given(
    st.sampled_from(["shared", "reuseport"]),
    st.integers(1, 4),
    st.sampled_from([8, 12]),
    st.sampled_from(["2us", "20us"]),
    SEEDS,
)
def test_more_cores_serve_more(
    listener: str, cores: int, per_core: int, service: str, seed: int
) -> None:
    """A saturated closed loop behind a card, with as many workers as cores: the cores are enough
    for at least what fewer of them have served, but for 5 % that chance may take."""
    load = Workload(
        connections=per_core * 2 * cores, arrivals="closed", service=service, requests=1_500
    )

    def throughput_per_s(count: int) -> float:
        nic = Nic(link_bits_per_s="100Gbit/s", queues=count, rx_ring=4_096)
        model = get("epoll", workers=count, listener=listener)
        return float(run(model, load, seed, nic=nic, cores=count).summary()["throughput_per_s"])

    assert throughput_per_s(2 * cores) >= 0.95 * throughput_per_s(cores)
