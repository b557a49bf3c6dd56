"""Workloads: what may be written, what is refused, and the requests that are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from iosim.errors import IosimError
from iosim.workload import STREAMS, Workload, stream


def test_units_as_people_write_them() -> None:
    assert Workload.of(
        connections="10k",
        active="10%",
        rate_per_s="20k/s",
        think_ns="1ms",
        request_bytes="64KiB",
        reply_bytes="1kB",
        service="5us",
        requests="100k",
    ) == Workload(
        connections=10_000,
        active=0.1,
        rate_per_s=20_000,
        think_ns=1_000_000,
        request_bytes=65_536,
        reply_bytes=1_000,
        service=5_000,
        requests=100_000,
    )


@pytest.mark.parametrize(
    ("active", "expected"),
    [
        (None, 1_000),
        (1, 1),
        ("1", 1),
        (1_000, 1_000),
        ("1k", 1_000),
        ("0.2k", 200),
        (2.0, 2),  # of whole numbers only 1.0 could be a share
        ("2.0", 2),
        (0.5, 500),
        ("0.5", 500),
        (np.float64(0.5), 500),
        (np.int64(5), 5),
        ("10%", 100),
        ("0.1%", 1),
        ("0.01%", 1),  # at least one
        ("100%", 1_000),  # all, not the count 1
    ],
)
def test_active_connections(active: object, expected: int) -> None:
    assert Workload.of(connections=1_000, active=active).active_connections == expected


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"connections": 0}, "connections: .*greater than 0, got 0"),
        ({"connections": "1.5"}, "connections: '1.5' is not a count"),
        ({"rate_per_s": -1}, "rate_per_s: -1 is not a rate: it must not be negative"),
        ({"rate_per_s": 0}, "rate_per_s: .*greater than 0"),
        ({"rate_per_s": "20k/min"}, "rate_per_s: '20k/min' is not a rate: write .*20k/s"),
        ({"request_bytes": "64k"}, "request_bytes: '64k' is not a size: write .*64KiB"),
        ({"request_bytes": 0}, "request_bytes: .*greater than 0"),
        ({"reply_bytes": 0}, "reply_bytes: .*greater than 0"),
        ({"service": "5"}, "service: '5' is not a time: write .*20us"),
        ({"service": -5}, "service: -5 is not a time: it must not be negative"),
        ({"service": True}, "service: True is not a time"),
        ({"service": "exponential(5)"}, "service: '5' is not a time: write .*20us"),
        ({"service": "normal(5us)"}, "service: 'normal.5us.' .*unknown distribution: write a time"),
        ({"service": "exponentail(5us)"}, "unknown distribution .did you mean exponential.*50us"),
        ({"service": "exponential"}, "service: 'exponential' is not a time"),
        ({"requests": 0}, "requests: .*greater than 0"),
        ({"arrivals": "burst"}, "arrivals: .*'even', 'bursty' or 'closed', got 'burst'"),
        ({"burst": 0}, "burst: .*greater than 0"),
        ({"connections": 10, "active": 11}, "active = 11 of 10 connections: .*at most all"),
        ({"connections": 10, "active": 0}, "active = 0 of 10 connections: at least one"),
        ({"active": "200%"}, "active: '200%' is neither a count nor a share"),
        ({"active": "0%"}, "active: '0%' is neither a count nor a share"),
        ({"active": "-5%"}, "active: '-5%' is neither"),
        ({"active": "many"}, "active: 'many' is neither a count nor a share of all: write 100 or"),
        ({"active": -0.5}, "active: -0.5 is neither"),
        ({"active": 1.5}, "active: 1.5 is neither"),
        ({"active": float("nan")}, "active: nan is neither"),
        ({"active": True}, "active: True is neither"),
        ({"active": 1.0}, "active: 1.0 could be one connection or all of them: write 1 or 100%"),
        ({"active": "1.0"}, "active: '1.0' could be one connection or all of them"),
        ({"active": "1.00"}, "active: '1.00' could be one connection or all of them"),
        ({"colour": "red"}, "colour: Extra inputs"),
    ],
)
def test_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(IosimError, match=said) as caught:
        Workload.of(**values)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_every_mistake_is_said_at_once() -> None:
    with pytest.raises(IosimError) as caught:
        Workload.of(connections=0, rate_per_s=-1, request_bytes="64k", service="5", seed=3)
    for where in ("connections", "rate_per_s", "request_bytes", "service", "seed"):
        assert f"{where}: " in str(caught.value)


def test_open_loop_is_due_in_order_at_the_offered_rate() -> None:
    even = Workload(arrivals="even", rate_per_s=50_000, requests=100).schedule(1)
    assert even.intended_ns.tolist() == list(range(20_000, 2_020_000, 20_000))
    drawn = Workload(rate_per_s=50_000, requests=20_000).schedule(1)
    gaps = np.diff(drawn.intended_ns, prepend=0)
    assert (gaps >= 0).all()
    # Poisson arrivals have exponential gaps; whole nanoseconds do not show at this size.
    assert stats.kstest(gaps, stats.expon(scale=20_000).cdf).pvalue > 0.001


def test_bursts_are_due_at_once_at_the_offered_rate() -> None:
    load = Workload(arrivals="bursty", burst=7, rate_per_s=50_000, requests=20_000)
    due, sizes = np.unique(load.schedule(1).intended_ns, return_counts=True)
    assert set(sizes[:-1].tolist()) == {7}
    assert sizes[-1] == 20_000 % 7
    gaps = np.diff(due, prepend=0)
    assert stats.kstest(gaps, stats.expon(scale=7 * 20_000).cdf).pvalue > 0.001


def test_a_burst_of_one_is_poisson() -> None:
    alone = Workload(arrivals="bursty", burst=1, requests=100).schedule(1)
    assert alone.intended_ns.tolist() == Workload(requests=100).schedule(1).intended_ns.tolist()


@pytest.mark.parametrize("active", [None, 3, "25%"])
def test_active_connections_share_the_load_evenly_spread(active: object) -> None:
    load = Workload.of(connections=40, active=active, requests=20_000)
    used, requests = np.unique(load.schedule(1).connection, return_counts=True)
    assert len(used) == load.active_connections
    assert np.ptp(np.diff(used)) <= 1
    assert used[0] == 0
    assert stats.chisquare(requests).pvalue > 0.001


def test_closed_loop_gives_every_connection_its_turns() -> None:
    schedule = Workload(connections=3, arrivals="closed", think_ns=5, requests=7).schedule(1)
    assert schedule.connection.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert set(schedule.intended_ns.tolist()) == {5}


def test_service_times() -> None:
    constant = Workload(service=5_000, requests=10).schedule(1)
    assert set(constant.service_ns.tolist()) == {5_000}
    drawn = Workload(service="exponential(5us)", requests=20_000).schedule(1)
    assert stats.kstest(drawn.service_ns, stats.expon(scale=5_000).cdf).pvalue > 0.001


@given(st.integers(0, 2**63 - 1), st.integers(1, 50), st.integers(1, 200))
def test_a_seed_fixes_the_requests(seed: int, connections: int, requests: int) -> None:
    load = Workload(connections=connections, requests=requests, service="exponential(5us)")
    one, again = load.schedule(seed), load.schedule(seed)
    for name in ("connection", "intended_ns", "service_ns"):
        assert getattr(one, name).tobytes() == getattr(again, name).tobytes()
        assert len(getattr(one, name)) == requests


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_following_request_on_the_same_connection(connections: list[int]) -> None:
    schedule = Workload(connections=6, requests=len(connections)).schedule(1)
    schedule.connection[:] = connections
    for number, following in enumerate(schedule.following()):
        later = [
            k for k in range(number + 1, len(connections)) if connections[k] == connections[number]
        ]
        assert following == (later[0] if later else -1)


def test_streams_differ_from_each_other_and_between_seeds() -> None:
    draws = {stream(seed, name).random() for seed in (1, 2) for name in STREAMS}
    assert len(draws) == 2 * len(STREAMS)


def test_a_seed_of_numpy_is_a_seed() -> None:
    ours, theirs = Workload().schedule(3), Workload().schedule(np.int64(3))
    assert ours.intended_ns.tolist() == theirs.intended_ns.tolist()


def test_round_trip_through_json() -> None:
    load = Workload.of(connections=7, active="50%", rate_per_s="3k/s", service="exponential(2us)")
    assert Workload.model_validate_json(load.model_dump_json()) == load


def test_a_copy_is_checked_like_the_first() -> None:
    load = Workload(connections=10)
    assert load.model_copy(update={"service": "5us"}) == Workload(connections=10, service=5_000)
    with pytest.raises(IosimError, match="active = 11 of 10 connections"):
        load.model_copy(update={"active": 11})
    with pytest.raises(IosimError, match="service_ns: Extra"):
        load.model_copy(update={"service_ns": 5})
