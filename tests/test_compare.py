"""Verdicts on runs made up for them."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_runs import real_run

from iosim.agreement import DISTANCES, FIGURES
from iosim.compare import Cell, Comparison, compare
from iosim.costs import CostProfile
from iosim.results import PULSE, RECORD, Run
from iosim.seeds import replication_seed
from iosim.workload import Workload

REQUESTS, GAP_NS = 1_000, 1_000


def run(latency_ns: int, slow_to: int = 0, slower: float = 1.0, cpu_ns: int = 500) -> Run:
    """Requests that all take the same and as much processor time, but up to one at which the core
    gets to full speed they take so many times as much. A pulse comes with every tenth."""
    number = np.arange(REQUESTS)
    factor = np.where(number < slow_to, slower, 1.0)
    records = np.zeros(REQUESTS, RECORD)
    records["intended_ns"] = number * GAP_NS
    records["done_ns"] = records["replied_ns"] = records["intended_ns"] + latency_ns * factor
    spent_ns = np.cumsum(cpu_ns * factor)
    pulses = np.zeros(REQUESTS // 10, PULSE)
    pulses["at_ns"] = records["intended_ns"][::10]
    pulses["took_ns"] = 100 * factor[::10]
    pulses["server_ns"] = spent_ns[::10]
    return real_run(records, pulses, REQUESTS * GAP_NS, int(spent_ns[-1]))


def cell(simulated: Run, real: Sequence[Run]) -> Cell:
    simulated = replace(simulated, pulses=np.zeros(0, PULSE))
    return Cell("epoll", Workload(requests=REQUESTS), [simulated], real, full_speed_ns=100)


@pytest.mark.parametrize(
    ("latency_ns", "cpu_ns", "verdict"),
    [
        (200, 500, "agrees within noise"),
        (204, 500, "agrees within noise"),
        (214, 500, "agrees within 10 %"),
        (200, 610, "agrees within 25 %"),
        (200, 900, "disagrees in CPU"),
        (300, 500, "disagrees in p50, p90, p99"),
    ],
)
def test_verdict(latency_ns: int, cpu_ns: int, verdict: str) -> None:
    """Reality differs from itself by 3 %."""
    real = [run(200), run(206, cpu_ns=515), run(200)]
    assert cell(run(latency_ns, cpu_ns=cpu_ns), real).verdict == verdict


def test_what_passed_at_less_than_full_speed_does_not_count() -> None:
    slow = [run(200, slow_to=part, slower=1.6) for part in (500, 700, 600)]  # and as long slow
    found = cell(run(200), slow)
    assert found.calm_share == pytest.approx(0.4, abs=0.02)
    assert found.agreement.real["p50"] == found.agreement.real["p99"] == 200
    assert found.agreement.real["cpu_ns_per_request"] == pytest.approx(500, rel=0.03)
    assert found.verdict == "agrees within noise"


def test_too_noisy_to_tell() -> None:
    """Of two of three runs too little is left: the verdict says so, and the figures are of what
    there is."""
    slow = [run(200, slow_to=part, slower=1.6) for part in (950, 950, 500)]
    assert cell(run(200), slow).agreement.real["p50"] == 200
    assert (
        cell(run(200), slow).verdict == "too noisy to tell: full speed in 19% of the time"
    )  # (4 + 4 + 49) of 3 * 99
    slow = [run(200, slow_to=950, slower=1.6)] * 3
    assert cell(run(200), slow).agreement.real["p50"] == 320
    assert cell(run(200), slow).verdict.startswith("too noisy to tell")


def without_pulses(run: Run) -> Run:
    return replace(run, pulses=np.zeros(0, PULSE))


def test_without_pulses_everything_counts() -> None:
    real = [without_pulses(run(200, slow_to=900, slower=2.0))] * 2
    assert cell(run(400), real).agreement.errors["p50"] == 0


def test_a_single_run_has_no_noise_to_agree_within() -> None:
    found = cell(run(200), [run(200)])
    assert found.verdict == "agrees within 5 %"
    assert (found.agreement.noise, found.agreement.distance_noise) == ({}, {})
    assert found.agreement.intervals == {}
    assert found.agreement.distances == {"demerit": 0, "ks": 0}
    assert cell(run(300), [run(200)]).verdict == "disagrees in p50, p90, p99"


def test_noise_that_hides_an_error_of_the_limit() -> None:
    """Processor time of real runs is up to 32 % from their median, the error in it is 20 %."""
    real = [run(200), run(200), run(200, cpu_ns=660)]
    assert cell(run(200, cpu_ns=600), real).verdict == (
        "too noisy to tell in CPU: real runs are 32% apart"
    )
    # What is wrong all the same is said.
    assert cell(run(300, cpu_ns=600), real).verdict == "disagrees in p50, p90, p99"
    assert cell(run(200, cpu_ns=700), real).verdict == "disagrees in CPU"


def test_distances_and_their_noise() -> None:
    """Real runs of 200, 206 and 200 ns: the second is 6 from all of both others, the others each 6
    from one half. The mean of all is 202."""
    found = cell(run(210), [run(200), run(206), run(200)]).agreement
    apart = np.sqrt((2 * 10**2 + 4**2) / 3) / 202
    assert found.distances == pytest.approx({"demerit": apart, "ks": 1})
    assert found.distance_noise == pytest.approx({"demerit": 6 / 200, "ks": 1})
    assert found.intervals["p50"] == pytest.approx((210 / 206 - 1, 210 / 200 - 1))
    assert found.intervals["demerit"] == pytest.approx((4 / 206, 10 / 200))
    assert set(found.intervals) == {*FIGURES, *DISTANCES}


def test_distances_are_of_what_counts() -> None:
    """At half speed everything takes 320 ns, but that does not count."""
    found = cell(run(200), [run(200, slow_to=500, slower=1.6)] * 3).agreement
    assert found.distances == found.distance_noise == {"demerit": 0, "ks": 0}


def comparison(**latencies_ns: tuple[int, int]) -> Comparison:
    """Models by name with a latency simulated and a real one, from which real runs are 3 % off."""
    return Comparison(
        "profile",
        [
            replace(
                cell(run(simulated), [run(real), run(real), run(real * 103 // 100)]), model=name
            )
            for name, (simulated, real) in latencies_ns.items()
        ],
    )


def test_orders() -> None:
    orders = comparison(epoll=(210, 200), poll=(290, 300), select=(280, 400)).orders
    assert set(orders) == {"cpu_ns_per_request", "p50"}
    assert orders["p50"].kendall_tau == pytest.approx(1 / 3)
    winner = orders["p50"].as_dict()["winner"]
    assert (winner["real"], winner["simulated"], winner["agrees"]) == ("epoll", "epoll", True)
    assert (winner["gap"], winner["noise"]) == pytest.approx((0.5, 0.03))
    # All take the same processor time.
    assert orders["cpu_ns_per_request"].kendall_tau is None
    assert orders["cpu_ns_per_request"].as_dict()["winner"]["agrees"] is None


def test_winners_differ() -> None:
    winner = comparison(epoll=(300, 200), poll=(250, 300)).orders["p50"].winner
    assert winner is not None
    assert (winner.real, winner.simulated, winner.agrees) == ("epoll", "poll", False)


def test_no_order_of_one_model_or_of_those_that_tell_nothing() -> None:
    assert comparison(epoll=(200, 200)).orders == {}
    noisy = cell(run(200), [run(200, slow_to=950, slower=1.6)] * 3)
    two = comparison(epoll=(210, 200), poll=(290, 300))
    assert replace(two, cells=[*two.cells, noisy]).orders["p50"].models == 2


def test_plain_data() -> None:
    """As JSON takes it, NaN left out."""
    data = comparison(epoll=(210, 200), poll=(290, 300)).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data


def test_repeats_have_the_seeds_of_replications_on_both_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The runs themselves are made up: here it is their seeds that count."""
    asked: dict[str, list[int]] = {"run_real": [], "simulate": []}
    for name, seeds in asked.items():

        def made_up(*_: Any, seed: int, seeds: list[int] = seeds, **__: Any) -> Run:
            seeds.append(seed)
            return replace(run(200), seed=seed)

        monkeypatch.setattr(sys.modules["iosim.compare"], name, made_up)
    monkeypatch.setattr(sys.modules["iosim.compare"], "why_not", lambda _: None)
    result = compare(["epoll"], profile=CostProfile.shipped("native"), repeats=3, seed=5)
    expected = [replication_seed(5, repeat) for repeat in range(3)]
    assert asked == {"run_real": expected, "simulate": expected}
    assert result.seeds == result.as_dict()["seeds"] == expected
