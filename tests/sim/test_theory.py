"""The simulator against queueing theory.

With every cost zero but the computing, epoll on one connection is the textbook's single server:
requests queue in the order in which they arrive (on the socket and, once read, in the program's
memory), the server never idles while one waits, and a reply leaves when its computing ends. So the
latency is that of M/D/1 or M/M/1.

A mean is estimated from independent replications (seeds), each without its first requests, which
still see the empty system; the interval is Student's t at 99.9 %. The seeds are fixed: a test that
passes keeps passing until the simulator changes.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from round_costs import free_costs
from scipy import stats

from iosim.machine import Machine
from iosim.models import MODELS
from iosim.results import Run
from iosim.sim import simulate
from iosim.workload import Workload

REPLICATIONS = 12
REQUESTS = 5_000
WARM_UP = 500
"""Requests left out; the relaxation time at the loads below is about 100 service times."""

SERVICE_NS = 10_000


@cache
def replicate(load: float, service: str, connections: int = 1, model: str = "epoll") -> list[Run]:
    workload = Workload.of(
        connections=connections,
        rate_per_s=load * 1e9 / SERVICE_NS,
        service=service,
        requests=REQUESTS,
    )
    return [
        simulate(model, workload, profile=free_costs(), seed=seed)
        for seed in range(1, REPLICATIONS + 1)
    ]


def interval(values: list[float]) -> tuple[float, float]:
    """99.9 % confidence interval of the mean of independent values."""
    half = stats.t.ppf(0.9995, len(values) - 1) * stats.sem(values)
    return np.mean(values) - half, np.mean(values) + half


def mean_wait_ns(run: Run) -> float:
    """Time from due to the begin of computing."""
    return float(np.mean(run.latency_ns[WARM_UP:])) - SERVICE_NS


@pytest.mark.parametrize("load", [0.3, 0.6, 0.75])
@pytest.mark.parametrize(
    # Pollaczek and Khinchine: load * S * (1 + c^2) / (2 * (1 - load)), c^2 = 0 and 1.
    ("service", "factor"),
    [("10us", 0.5), ("exponential(10us)", 1.0)],
    ids=["M/D/1", "M/M/1"],
)
def test_mean_wait(load: float, service: str, factor: float) -> None:
    low, high = interval([mean_wait_ns(run) for run in replicate(load, service)])
    expected = factor * load * SERVICE_NS / (1 - load)
    assert low <= expected <= high
    assert high - low < 0.5 * expected  # an interval that holds everything would say nothing


@pytest.mark.parametrize("model", ["poll", "epoll-et", "io_uring"])
def test_mean_wait_does_not_depend_on_the_order_of_service(model: str) -> None:
    """Conservation law: no model looks at the service time before it serves, so the order that it
    picks among 20 connections leaves the mean as it is. io_uring is the exception: it submits the
    replies of a batch together, so a reply waits for those behind it."""
    runs = replicate(0.6, "10us", connections=20, model=model)
    low, high = interval([mean_wait_ns(run) for run in runs])
    expected = 0.5 * 0.6 * SERVICE_NS / 0.4
    if model == "io_uring":
        assert low > expected
    else:
        assert low <= expected <= high


def test_distribution_of_latency_in_mm1() -> None:
    """Exponential with mean S / (1 - load): its median and 90 % quantile too."""
    runs = replicate(0.6, "exponential(10us)")
    mean_ns = SERVICE_NS / (1 - 0.6)
    for share in (0.5, 0.9):
        low, high = interval([float(np.quantile(r.latency_ns[WARM_UP:], share)) for r in runs])
        assert low <= -mean_ns * np.log(1 - share) <= high


def test_utilisation_law() -> None:
    """Utilisation is rate times service time: exactly with the rate that a run had, and in the
    mean with the rate offered."""
    runs = replicate(0.6, "exponential(10us)")
    for run in runs:
        workload = Workload.model_validate(run.provenance["workload"])
        work_ns = int(workload.schedule(run.seed).service_ns.sum())
        assert run.cpu_ns == work_ns
        assert run.summary()["utilisation"] == work_ns / run.elapsed_ns
    low, high = interval([run.summary()["utilisation"] for run in runs])
    assert low <= 0.6 <= high


def test_saturated_server_is_busy_throughout() -> None:
    """Offered twice what it can do, a server does 1/S requests a second once a queue has formed,
    and each request waits for half its service time more than the one before."""
    slopes = []
    for run in replicate(2.0, "10us"):
        answers = run.records["replied_ns"][WARM_UP:]
        assert (np.diff(answers) == SERVICE_NS).all()
        slopes.append(float(np.polyfit(np.arange(REQUESTS), run.latency_ns, 1)[0]))
    low, high = interval(slopes)
    assert low <= SERVICE_NS / 2 <= high


@pytest.mark.parametrize("model", sorted(set(MODELS) - {"nonblocking", "nonblocking-sleep"}))
def test_free_calls_leave_only_the_computing(model: str) -> None:
    """Alone on its connection and never waiting, a request takes its service time, whatever the
    model: what the models add are costs, and here there are none."""
    workload = Workload(
        connections=1, arrivals="even", rate_per_s=10_000, service=SERVICE_NS, requests=20
    )
    # The kernel thread of SQPOLL looks for work all the time: it needs a core of its own.
    machine = Machine(cores=2 if model == "io_uring-sqpoll" else 1)
    run = simulate(model, workload, profile=free_costs(), machine=machine)
    tries_ns = 2 if model == "sigio" else 0  # an empty try costs one, as it must not be free
    assert (run.latency_ns >= SERVICE_NS).all()
    assert (run.latency_ns <= SERVICE_NS + tries_ns).all()
