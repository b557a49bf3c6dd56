"""Which parts of a real run count."""

from __future__ import annotations

import numpy as np
import pytest
from made_runs import real_run

from iosim.calm import calm, shortest_pulse_ns
from iosim.results import PULSE, RECORD, Run


def run(pulses: list[tuple[int, int, int]], requests: list[tuple[int, int]]) -> Run:
    """A run with pulses (when, how long, server's processor time) and requests (from, to)."""
    records = np.zeros(len(requests), RECORD)
    records["intended_ns"], records["replied_ns"] = np.array(requests).T
    records["done_ns"] = records["replied_ns"]
    elapsed_ns = int(records["replied_ns"].max())
    return real_run(records, np.array(pulses, PULSE), elapsed_ns)


PULSES = [(0, 10, 0), (100, 11, 40), (200, 10, 70), (300, 15, 170), (400, 10, 250), (500, 10, 260)]
"""Calm from 0 to 200 and from 400 to 500."""


def test_calm_is_what_lies_between_two_short_pulses_in_a_row() -> None:
    part = calm(run(PULSES, [(10, 60), (90, 190), (410, 450)]), 10)
    assert part.share == pytest.approx(3 / 5)
    assert part.latency_ns.tolist() == [50, 100, 40]
    assert part.cpu_ns_per_request == pytest.approx((70 + 10) / 3)


def test_a_request_counts_if_it_was_answered_while_all_was_calm() -> None:
    """However long it took: only the end matters. It may not lie within a slow spell, before the
    first pulse, or after the last."""
    requests = [(190, 210), (390, 410), (150, 450), (210, 390), (-9, -1), (450, 501), (20, 40)]
    part = calm(run(PULSES, requests), 10)
    assert part.latency_ns.tolist() == [20, 300, 20]


def test_processor_time_is_shared_by_the_requests_that_were_done_in_it() -> None:
    part = calm(run(PULSES, [(190, 210), (390, 410), (150, 450)]), 10)
    assert part.cpu_ns_per_request == pytest.approx((70 + 10) / 2)


def test_a_run_that_was_never_calm() -> None:
    part = calm(run(PULSES, [(10, 60)]), 5)
    assert (part.share, len(part.latency_ns)) == (0, 0)
    assert np.isnan(part.cpu_ns_per_request)


@pytest.mark.parametrize(("pulses", "full_speed_ns"), [(PULSES, None), ([], 5)])
def test_everything_counts(pulses: list[tuple[int, int, int]], full_speed_ns: float | None) -> None:
    part = calm(run(pulses, [(10, 60), (310, 330)]), full_speed_ns)
    assert (part.share, part.latency_ns.tolist()) == (1, [50, 20])


def test_shortest_pulse_is_not_the_odd_one() -> None:
    pulses = [(at, 10 + (at != 50) * 10, 0) for at in range(100)]
    assert shortest_pulse_ns([run(pulses, [(1, 2)])]) == 20
    assert shortest_pulse_ns([run([], [(1, 2)])]) == 0
