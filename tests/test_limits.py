"""What is refused before it begins: runs too long for 64 bits, or too large for the memory."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import pytest

from iosim import limits
from iosim.costs import CostProfile
from iosim.errors import HostRefused, IosimError
from iosim.host import run_real
from iosim.kernel import Call, Kernel
from iosim.limits import LONGEST_NS, check_limits
from iosim.machine import Interference, Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.sim import simulate
from iosim.sweep import Design, profiles_of
from iosim.workload import Workload

NATIVE = CostProfile.shipped("native")
GIB = 2**30

# --- time --------------------------------------------------------------------------------------

TOO_LONG: list[tuple[dict[str, Any], Machine, str]] = [
    ({"rate_per_s": 1e-9, "requests": 200}, Machine(), "rate_per_s = 1e-09 for 200 requests"),
    ({"rate_per_s": 1e-300}, Machine(), "rate_per_s = 1e-300 for 20000 requests"),
    ({"rate_per_s": 1e-9, "arrivals": "bursty", "burst": "1M"}, Machine(), "rate_per_s = 1e-09"),
    ({"service": "1e8s"}, Machine(), "service = 100000000s for 20000 requests"),
    ({"service": 2**62, "requests": 1}, Machine(), "service = 4611686018427387904ns"),
    (
        {"service": "exponential(1e8s)", "requests": 1},
        Machine(),
        "exponential(100000000s)",
    ),
    ({"connect_gap_ns": "1e9s"}, Machine(), "connect_gap_ns = 1000000000s for 64"),
    (
        {"arrivals": "closed", "think_ns": "9e18ns", "requests": 1},
        Machine(),
        "think_ns = 9000000000s before 1 requests",
    ),
    ({}, Machine(nic=Nic(latency_ns=2**62)), "latency_ns = 4611686018427387904ns for"),
    ({}, Machine(nic=Nic(coalesce_ns=2**60)), "coalesce_ns = 1152921504606846976ns for"),
    (
        {"request_bytes": GIB, "requests": 200},
        Machine(nic=Nic.of(link_bits_per_s="1bit/s")),
        "link_bits_per_s = 1 for 200 requests of 1073741824 bytes",
    ),
    (
        {"reply_bytes": GIB, "requests": 200},
        Machine(nic=Nic.of(link_bits_per_s="1bit/s")),
        "replies of 1073741824",
    ),
    ({"request_bytes": 2**62}, Machine(), "by cost profile 'native"),
]


@pytest.mark.parametrize(("load", "machine", "said"), TOO_LONG)
def test_a_run_that_is_too_long_is_refused_with_its_largest_cause(
    load: dict[str, Any], machine: Machine, said: str
) -> None:
    workload = Workload.of(**load)
    with pytest.raises(IosimError, match=re.escape(said)) as refusal:
        simulate("epoll", workload, profile=NATIVE, machine=machine)
    assert "146 years; " in str(refusal.value)


def test_pauses_of_the_model_and_costs_count_too() -> None:
    with pytest.raises(IosimError, match="interval_ns = 9000000000s for 20000 requests"):
        simulate(get("nonblocking-sleep", interval_ns=9 * 10**18), Workload(), profile=NATIVE)
    dear = NATIVE.scaled(recv_ns=1.5e9)
    with pytest.raises(IosimError, match=r"by cost profile 'native.*cheaper costs"):
        simulate("epoll", Workload(requests=5_000_000), profile=dear)


def test_interference_makes_a_run_longer() -> None:
    load = Workload(service=LONGEST_NS // 4, requests=2)
    check_limits(load, None, Machine(), NATIVE)
    nearly_all = Interference(per_s=1, duration_ns=[900_000_000])
    with pytest.raises(IosimError, match="for 2 requests: the run could take 731 years"):
        check_limits(load, None, Machine(interference=nearly_all), NATIVE)


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    "machine", [Machine(), Machine(nic=Nic(link_bits_per_s=10**8))], ids=["loopback", "card"]
)
@pytest.mark.parametrize(
    "load",
    [
        {"rate_per_s": 1e6, "service": "exponential(1ms)"},
        {"arrivals": "closed", "think_ns": "10ms", "request_bytes": 100_000},
        {"arrivals": "even", "rate_per_s": 100, "reply_bytes": 100_000},
    ],
    ids=["open", "closed", "even"],
)
def test_no_run_takes_longer_than_was_estimated(
    model: Model, machine: Machine, load: dict[str, Any]
) -> None:
    connections = 1 if model.name == "blocking-serial" else 5
    workload = Workload.of(**load, connections=connections, requests=40)
    run = simulate(model, workload, profile=NATIVE, machine=machine)
    parts = [*limits._times(workload, model), *limits._simulated_times(workload, machine, NATIVE)]
    assert run.elapsed_ns <= sum(part.amount for part in parts)


def test_a_real_run_is_refused_alike() -> None:
    with pytest.raises(IosimError, match="rate_per_s = 1e-09 for 20000 requests"):
        check_limits(Workload(rate_per_s=1e-9), get("epoll"))


# --- memory ------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that has 2 GiB available."""
    monkeypatch.setattr(limits, "memory_bytes", lambda: 2 * GIB)
    monkeypatch.setattr(limits, "address_bytes", lambda: None)


@pytest.mark.parametrize(
    ("model", "load", "machine", "said"),
    [
        (
            MODELS["epoll"],
            {"connections": "5G"},
            {},
            "connections = 5000000000: the run would",
        ),
        (MODELS["epoll"], {"requests": "1e15"}, {}, "requests = 1000000000000000: the run would"),
        (MODELS["epoll"], {}, {"cores": 10**9}, "cores = 1000000000: the run would take"),
        (
            MODELS["epoll"],
            {},
            {"nic": {"queues": 99_999_999_999}},
            "queues = 99999999999: the run would take some 128 TiB of this host's memory, and this "
            "process has 2 GiB available; use fewer queues",
        ),
        (get("epoll", workers=2**20), {}, {}, "1048576 threads: the run would take some 3.7"),
        (get("blocking-pool", threads=10**6), {}, {}, "1000000 threads: "),
        (MODELS["blocking"], {"connections": "1M"}, {}, "1000001 threads: "),
        (
            MODELS["epoll"],
            {"request_bytes": "20GiB", "requests": 1},
            {"nic": {}},
            "1 requests of 14708793 packets at once",
        ),
    ],
)
def test_a_run_that_is_too_large_is_refused_with_its_largest_cause(
    model: Model, load: dict[str, Any], machine: dict[str, Any], said: str
) -> None:
    with pytest.raises(HostRefused, match=re.escape(said)):
        simulate(model, Workload.of(**load), machine=Machine.of(**machine), profile=NATIVE)


def test_the_address_space_is_a_limit_too(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Workload(requests=1_000_000)
    check_limits(load, None, Machine(), NATIVE)
    monkeypatch.setattr(limits, "address_bytes", lambda: 100 * 2**20)
    with pytest.raises(HostRefused, match=r"has 100 MiB left of its address space \(ulimit -v\)"):
        check_limits(load, None, Machine(), NATIVE)


def test_what_a_trace_takes_counts() -> None:
    load = Workload(requests=1_000_000)
    check_limits(load, None, Machine(), NATIVE)
    with pytest.raises(HostRefused, match=r"a trace of requests = 1000000: .* trace fewer"):
        check_limits(load, None, Machine(), NATIVE, traced=True)


def test_a_real_run_takes_memory_too() -> None:
    with pytest.raises(HostRefused, match="requests = 1000000000000000"):
        run_real("epoll", Workload(requests=10**15))
    large = get("io_uring-multishot", buffers=32_768, buffer_bytes=2**20)
    with pytest.raises(HostRefused, match="buffers = 32768 of buffer_bytes = 1048576"):
        check_limits(Workload(), large)


def test_a_host_that_does_not_tell_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: None)
    check_limits(Workload(connections=10**7), None, Machine(), NATIVE)


def test_no_look_at_the_host_for_a_short_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "memory_bytes", lambda: 0)
    check_limits(Workload(), MODELS["epoll"], Machine(), NATIVE)


def idle(kernel: Kernel, listener: int) -> Call[None]:
    """A program of the user's."""
    yield from kernel.accept(listener)


def test_a_program_is_not_known_to_make_threads() -> None:
    check_limits(Workload(connections=1_000_000), idle, Machine(), NATIVE)


@pytest.mark.parametrize(
    ("model", "few", "many"),
    [
        ("epoll", {"requests": 500}, {"requests": 5_000}),
        ("rtsig", {"connections": 10, "requests": 10}, {"connections": 2_000}),
        ("blocking", {"connections": 10, "requests": 10}, {"connections": 500}),
        ("aio", {"connections": 10, "requests": 10}, {"connections": 500}),
    ],
)
def test_memory_is_estimated_from_above(
    model: str, few: dict[str, int], many: dict[str, int]
) -> None:
    """Python's own count of what it allocates, which other versions may raise a little."""

    def taken(load: dict[str, int]) -> tuple[int, float]:
        workload = Workload(**{"connections": 10} | load)
        tracemalloc.start()
        simulate(model, workload, profile=NATIVE)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        parts = limits._sizes(workload, get(model), Machine())
        return peak, sum(part.amount for part in parts)

    taken(few)  # what is loaded once
    (small, expected_small), (large, expected_large) = taken(few), taken(few | many)
    rise = (large - small) / (expected_large - expected_small)
    assert 0.3 < rise < 1.2


# --- sweeps ------------------------------------------------------------------------------------


def test_a_sweep_is_checked_before_its_first_run() -> None:
    axes = {"workload.connections": [10, "1G"]}
    design = Design.of({"model": "epoll", "sweep": {"axes": axes}})
    with pytest.raises(HostRefused, match=r"point 1 \(workload.connections = 1000000000\): conn"):
        design.common(profiles_of(design))
    axes = {"workload.rate": [10, 1e-9]}
    design = Design.of({"model": "epoll", "kernel": "real", "sweep": {"axes": axes}})
    with pytest.raises(IosimError, match=r"point 1 .*: rate_per_s = 1e-09 for 20000 requests"):
        design.common(profiles_of(design))
