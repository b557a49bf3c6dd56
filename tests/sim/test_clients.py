"""When clients connect, who sends the next request, and what a run says of both."""

from __future__ import annotations

import numpy as np
import pytest
from round_costs import free_costs

from iosim.errors import RunFailed
from iosim.kernel import Call, Kernel
from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.sim import simulate
from iosim.workload import Workload

# --- connecting ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gap", ["0", "50us", "100us", "2ms"])
def test_gaps_between_connects_leave_the_load_as_it_is(gap: str) -> None:
    """However long all of them take, nobody hangs up, and all have been accepted before."""
    load = Workload(connections=100, connect_gap_ns=gap, rate_per_s=20_000, requests=100)
    run = simulate("epoll", load, profile="native")
    assert set(run.syscalls) == {"epoll_wait", "recv", "send"}
    assert run.syscalls["recv"] == run.syscalls["send"] == 100


@pytest.mark.parametrize("model", MODELS)
def test_clients_connect_to_a_program_that_waits(model: str) -> None:
    """One after the other, when they first look: at 100 us every program waits for them."""
    costs = free_costs(client_connect_ns=7_000)
    load = Workload(connections=3, requests=3, arrivals="closed")
    system = []

    class Spy(Model):
        family, phase_1, name = "own", "", "spy"  # type: ignore[assignment]

        def program(self, kernel: Kernel, listener: int) -> Call[None]:
            system.append(kernel.system)  # type: ignore[attr-defined]
            return get(model).program(kernel, listener)

    run = simulate(Spy(), load, profile=costs)
    begun_ns = system[0].env.now_ns - run.elapsed_ns
    settled_ns = begun_ns - 100_000 - 3 * 7_000
    assert settled_ns % 10_000_000 == 0


@pytest.mark.parametrize("listener", ["shared", "reuseport"])
def test_workers_share_the_connections(listener: str) -> None:
    load = Workload(connections=64, requests=2_000)
    model = get("epoll", workers=4, listener=listener)
    run = simulate(model, load, profile="native", machine=Machine(cores=4))
    assert [worker.name for worker in run.workers] == ["program 0", *(f"worker {n}" for n in "123")]
    assert sum(worker.connections for worker in run.workers) == 64
    assert sum(worker.requests for worker in run.workers) == 2_000
    assert all(worker.requests > 100 for worker in run.workers)
    assert run.warnings == ()


def test_a_program_that_is_never_ready_gets_its_clients_all_the_same() -> None:
    """It computes for three seconds before it accepts."""

    def late(kernel: Kernel, listener: int) -> Call[None]:
        for _ in range(3_000):
            yield from kernel.compute(1_000_000)
        yield from MODELS["epoll"].program(kernel, listener)

    assert len(simulate(late, Workload(requests=10), profile="native").records) == 10


# --- closed loops --------------------------------------------------------------------------------


@pytest.mark.parametrize("nic", [None, Nic()])
@pytest.mark.parametrize("model", ["epoll", "blocking", "nonblocking", "io_uring"])
def test_all_connections_are_active_to_the_end(model: str, nic: Nic | None) -> None:
    """The response time law, N = X (R + Z), but for the last request of each connection."""
    load = Workload(
        connections=10,
        arrivals="closed",
        service="exponential(300us)",
        requests=500,
        think_ns="1ms",
    )
    run = simulate(model, load, profile="native", machine=Machine(nic=nic))
    last_ns = int(run.records["sent_ns"].max())
    spent_ns = int(run.latency_ns.sum()) + 500 * (load.think_ns + 500)
    assert 10 * last_ns <= spent_ns + 500 * 20_000  # The generator, and the way there and back.
    assert sorted(run.records["connection"][:10]) == list(range(10))


def test_a_connection_that_is_served_faster_sends_more() -> None:
    """Two workers, the second of which computes ten times as long."""

    def slow(kernel: Kernel, fd: int, extra_ns: int) -> Call[None]:
        while nbytes := (yield from kernel.recv(fd)):
            for request in kernel.requests(fd, nbytes):
                yield from kernel.compute(extra_ns)
                yield from kernel.send(fd, request.reply_bytes)

    def program(kernel: Kernel, listener: int) -> Call[None]:
        for extra_ns in (100_000, 1_000_000):
            yield from kernel.spawn(slow, (yield from kernel.accept(listener)), extra_ns)

    load = Workload(connections=2, arrivals="closed", requests=110)
    run = simulate(program, load, profile=free_costs(), machine=Machine(cores=2))
    counts = np.bincount(run.records["connection"]).tolist()
    assert counts == [100, 10]


def test_service_belongs_to_the_request_of_a_connection() -> None:
    """Whatever the model, the n-th request of a connection computes as long; that pairs runs."""
    load = Workload(
        connections=5, arrivals="closed", service="exponential(50us)", requests=200, think_ns=10_000
    )
    service_of = load.service_of(7)
    costs = free_costs()
    for model in ("blocking-pool", "epoll", "nonblocking", "rtsig"):
        run = simulate(model, load, profile=costs, machine=Machine(cores=5), seed=7)
        for client in range(5):
            own = run.records[run.records["connection"] == client]
            computed_ns = (own["done_ns"] - own["copied_ns"]).tolist()
            expected_ns = [service_of(client, number) for number in range(len(own))]
            if model == "blocking-pool":  # A core each, so that nobody waits.
                assert computed_ns == expected_ns
            assert all(spent >= ns for spent, ns in zip(computed_ns, expected_ns, strict=True))


# --- the load generator --------------------------------------------------------------------------


def test_a_generator_at_its_limit_is_named() -> None:
    """A send takes 4381 ns: 228k/s, of 500k that are offered."""
    model = get("epoll", workers=4, listener="reuseport")
    load = Workload(connections=256, rate_per_s="500k/s", requests=5_000)
    over = simulate(model, load, profile="native", machine=Machine(cores=4))
    assert over.generator is not None
    assert over.generator["saturated"]
    assert any("the load generator is saturated: it sends" in text for text in over.warnings)
    assert "of 499k requests/s offered" in over.warnings[0]
    calm = simulate(model, load.model_copy(update={"rate_per_s": 50_000}), profile="native")
    assert calm.generator is not None
    assert not calm.generator["saturated"]
    assert calm.warnings == ()


def test_clients_behind_a_card_delay_nobody() -> None:
    """They are many machines: each request leaves when it is due, and 16 cores serve more than one
    thread could send."""
    machine = Machine(cores=16, nic=Nic(link_bits_per_s="100Gbit/s", queues=16))
    load = Workload(connections=256, rate_per_s="1M/s", requests=5_000)
    run = simulate(
        get("epoll", workers=16, listener="reuseport"), load, machine=machine, profile="native"
    )
    assert (run.records["sent_ns"] == run.records["intended_ns"]).all()
    assert run.generator is None
    assert run.summary()["throughput_per_s"] > 800_000
    assert run.latency_ns.max() < 5_000_000


# --- patience ------------------------------------------------------------------------------------


def sleeps(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        yield from kernel.nanosleep(1_000_000)


def asks(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        yield from kernel.getppid()


def polls(kernel: Kernel, listener: int) -> Call[None]:
    fds = kernel.poll_set()
    fds.add((yield from kernel.accept(listener)))
    while True:
        yield from kernel.poll(fds, 1_000_000)


@pytest.mark.parametrize("program", [sleeps, asks, polls])
def test_a_run_without_replies_is_given_up(program: object) -> None:
    with pytest.raises(RunFailed, match=r"5 of 5 requests were not answered within 0\.02 s"):
        simulate(
            program,
            Workload(connections=1, requests=5),
            profile="native",  # type: ignore[arg-type]
            patience_ns=20_000_000,
        )


def test_patience_lasts_while_requests_are_still_to_come() -> None:
    """One a second, and replies come at once."""
    load = Workload(connections=1, arrivals="even", rate_per_s=1, requests=5)
    assert len(simulate("epoll", load, patience_ns=1_000_000).records) == 5
