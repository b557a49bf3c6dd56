"""Jumping over empty tries is exact: the loop that defines `try_each` gives the same run."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iosim.costs import CostProfile
from iosim.kernel import READ_BYTES, Call, Kernel
from iosim.machine import Interference, Machine, Nic
from iosim.models import Model, get
from iosim.models.base import answer
from iosim.results import Run
from iosim.service import Service
from iosim.sim import simulate
from iosim.sim.kernel import SimKernel
from iosim.workload import Workload

NATIVE = CostProfile.shipped("native")
AT_ONCE = NATIVE.scaled(client_send_ns=0, client_wake_ns=0)
"""The clients take no time: what they send at the same moment comes at the same moment."""


class Reference(SimKernel):
    """The simulated kernel without the short cut: every empty try is made."""

    try_each = Kernel.try_each


def run_both(
    model: Model, workload: Workload, machine: Machine, seed: int, profile: CostProfile = NATIVE
) -> tuple[Run, Run]:
    """The run with the short cut, and the one without."""
    fast = simulate(model, workload, profile=profile, machine=machine, seed=seed)
    with mock.patch.object(sys.modules["iosim.sim.boot"], "SimKernel", Reference):
        slow = simulate(model, workload, profile=profile, machine=machine, seed=seed)
    return fast, slow


def outcome(run: Run) -> dict[str, object]:
    """All of a run but what it took to make."""
    return {
        "records": run.records.tolist(),
        "tasks": run.tasks,
        "cores": run.core_times,
        "syscalls": {name: calls for name, calls in run.syscalls.items() if calls},
        "empty_polls": run.empty_polls,
        "switches": (run.context_switches, run.wakeups),
        "blocked": (run.wait_for_data_ns, run.copy_data_ns),
        "elapsed_ns": run.elapsed_ns,
    }


WORKLOADS = st.builds(
    Workload,
    connections=st.integers(1, 12),
    active=st.sampled_from([1, "50%", None]),
    arrivals=st.sampled_from(["poisson", "even", "bursty", "closed"]),
    rate_per_s=st.sampled_from([20_000, 50_000, 200_000, 2_000_000]),
    think_ns=st.sampled_from([0, 777, 20_000]),
    request_bytes=st.sampled_from([1, 64, 3_000, 20_000]),
    reply_bytes=st.sampled_from([1, 10_000]),
    service=st.builds(
        Service,
        mean_ns=st.sampled_from([0, 1, 500, 20_000]),
        distribution=st.sampled_from(["constant", "exponential"]),
    ),
    requests=st.integers(1, 14),
)
MODELS = st.sampled_from(
    [
        get("nonblocking"),
        get("sigio"),
        get("nonblocking-sleep"),
        get("nonblocking-sleep", interval_ns=0),
        get("nonblocking-sleep", interval_ns=3_333),
    ]
)
MACHINES = st.sampled_from(
    [
        Machine(),
        Machine(cores=2),
        Machine(nic=Nic(latency_ns=0, retransmit_ns=50_000)),
        Machine(nic=Nic(link_bits_per_s="1Gbit/s", retransmit_ns=50_000)),
        # So many short frames that interrupts come while earlier ones are still being made up for.
        Machine(nic=Nic(latency_ns=100, mtu_bytes=100, retransmit_ns=50_000)),
        # Polls that ksoftirqd ends, packets that are lost and come late.
        Machine(nic=Nic(latency_ns=100, napi_budget=2, coalesce_ns=3_000, retransmit_ns=50_000)),
        Machine(
            nic=Nic(latency_ns=99, napi_budget=1, rx_ring=9, retransmit_ns=9_000),
            time_slice_ns=1_000,
        ),
        # On one core: what ksoftirqd and the program do at the same nanosecond on two of them has
        # no order of its own.
        Machine(nic=Nic(queues=4, napi_budget=2, retransmit_ns=50_000), time_slice_ns=3_001),
        # ksoftirqd gets work while the program still pays for the try within which it was woken.
        Machine(
            nic=Nic(queues=4, napi_budget=1, mtu_bytes=100, retransmit_ns=50_000),
            protected_slice_ns=5_000,
        ),
        # A link on which packets take no time.
        Machine(nic=Nic(queues=4, napi_budget=2, link_bits_per_s=10**15, retransmit_ns=50_000)),
        Machine(
            nic=Nic(queues=2, napi_budget=1, retransmit_ns=50_000),
            time_slice_ns=3_001,
            interference=Interference(per_s=20_000, duration_ns=[100, 3_000, 20_000]),
        ),
        Machine(time_slice_ns=1_000),
        Machine(receive_buffer_bytes=1_000),
    ]
)


@settings(max_examples=120)
@given(MODELS, WORKLOADS, MACHINES, st.integers(0, 2**32), st.sampled_from([NATIVE, AT_ONCE]))
def test_jumping_over_empty_tries_is_exact(
    model: Model, workload: Workload, machine: Machine, seed: int, profile: CostProfile
) -> None:
    fast, slow = run_both(model, workload, machine, seed, profile)
    assert outcome(fast) == outcome(slow)


@pytest.mark.parametrize("model", ["nonblocking", "nonblocking-sleep", "sigio"])
@pytest.mark.parametrize("active", [1, 3, 40, 150])
@pytest.mark.parametrize("rate_per_s", [200_000, 5_000_000])
def test_few_and_many_of_many_connections(model: str, active: int, rate_per_s: int) -> None:
    """News is looked up where it is rare, and come upon where it is not."""
    workload = Workload(connections=150, active=active, rate_per_s=rate_per_s, requests=300)
    fast, slow = run_both(get(model), workload, Machine(), seed=active)
    assert outcome(fast) == outcome(slow)


@dataclass(frozen=True)
class Rearranging(Model):
    """Tries its connections in another order after each request, and some of them only now and
    then: whoever has been served goes to the end, swaps places with the first, or is left out."""

    family = phase_1 = ""

    @property
    def name(self) -> str:
        return "rearranging"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.set_nonblocking(listener)
        fds: list[int] = []
        left_out: list[int] = []
        served = position = 0
        while True:
            position, result = yield from kernel.try_each(fds, listener, position, spin=True)
            if position == len(fds):
                fds.insert(0, result)
                continue
            fd = fds[position]
            yield from answer(kernel, fd, result)
            served += 1
            if served % 5 == 0:
                left_out.append(fds.pop(position))
            elif served % 2:
                fds.append(fds.pop(position))
            else:
                fds[0], fds[position] = fd, fds[0]
            if served % 7 == 0 or len(fds) < 2:
                fds[1:1] = left_out
                left_out.clear()


@pytest.mark.parametrize("connections", [2, 10, 100])
@pytest.mark.parametrize("rate_per_s", [20_000, 200_000, 5_000_000])
def test_program_may_rearrange_its_descriptors(connections: int, rate_per_s: int) -> None:
    workload = Workload(connections=connections, rate_per_s=rate_per_s, requests=200)
    fast, slow = run_both(Rearranging(), workload, Machine(), seed=1)
    assert outcome(fast) == outcome(slow)


def test_short_cut_is_taken() -> None:
    """Otherwise the test above compares a loop with itself."""
    made = 0

    class Counting(SimKernel):
        def recv(self, fd: int, nbytes: int = READ_BYTES) -> Call[int]:
            nonlocal made
            made += 1
            return super().recv(fd, nbytes)

    workload = Workload(connections=8, rate_per_s=1_000, requests=20)
    with mock.patch.object(sys.modules["iosim.sim.boot"], "SimKernel", Counting):
        run = simulate("nonblocking", workload, profile=NATIVE)
    assert run.syscalls["recv"] > 10_000
    assert made < 100


@pytest.mark.parametrize("latency_ns", range(80, 520, 20))
def test_interrupt_at_any_phase_of_a_try(latency_ns: int) -> None:
    """Every distance between the arrival and the next try, that of zero included."""
    machine = Machine(nic=Nic(latency_ns=latency_ns))
    workload = Workload(connections=2, arrivals="even", rate_per_s=100_000, requests=5)
    fast, slow = run_both(get("nonblocking"), workload, machine, seed=1)
    assert outcome(fast) == outcome(slow)


@pytest.mark.parametrize("protected_slice_ns", [0, 1_234, 10**9])
@pytest.mark.parametrize("time_slice_ns", [1_000, 1_777])
def test_ksoftirqd_takes_the_core_from_a_spinning_program(
    time_slice_ns: int, protected_slice_ns: int
) -> None:
    """Bursts beyond the budget of a poll: the scan is broken off, now and then by a time slice that
    ends within a try."""
    nic = Nic(latency_ns=99, napi_budget=1, rx_ring=9, retransmit_ns=9_000)
    machine = Machine(nic=nic, time_slice_ns=time_slice_ns, protected_slice_ns=protected_slice_ns)
    workload = Workload(
        connections=5, requests=30, rate_per_s=50_000, request_bytes=9_000, service=500
    )
    for seed in range(4):
        fast, slow = run_both(get("nonblocking"), workload, machine, seed)
        assert any(task.name == "ksoftirqd/0" for task in fast.tasks)
        assert outcome(fast) == outcome(slow)


@pytest.mark.parametrize("burst", [4, 8])
def test_packets_of_several_clients_at_once(burst: int) -> None:
    """Interrupt work of other queues is under way when ksoftirqd takes the core."""
    nic = Nic(queues=4, napi_budget=2, retransmit_ns=50_000)
    machine = Machine(nic=nic, time_slice_ns=3_001)
    workload = Workload(
        connections=2,
        arrivals="bursty",
        burst=burst,
        rate_per_s=50_000,
        request_bytes=1,
        reply_bytes=1,
        requests=8,
    )
    for seed in range(6):
        fast, slow = run_both(get("nonblocking"), workload, machine, seed, AT_ONCE)
        assert outcome(fast) == outcome(slow)


@pytest.mark.parametrize("protected_slice_ns", [4_800, 5_250, 5_700])
def test_protection_that_ends_within_a_try(protected_slice_ns: int) -> None:
    """Who woke up before that and was not let in does not take the core when it ends."""
    nic = Nic(queues=4, napi_budget=1, mtu_bytes=100, retransmit_ns=50_000)
    machine = Machine(nic=nic, time_slice_ns=3_001, protected_slice_ns=protected_slice_ns)
    workload = Workload(
        connections=3,
        arrivals="bursty",
        burst=4,
        rate_per_s=200_000,
        request_bytes=1,
        reply_bytes=1,
        requests=30,
    )
    profile = AT_ONCE.scaled(eagain_ns=8, softirq_ns_per_packet=0.2)
    fast, slow = run_both(get("nonblocking"), workload, machine, 44, profile)
    assert outcome(fast) == outcome(slow)
