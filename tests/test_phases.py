"""Where the time of a request goes."""

from __future__ import annotations

import numpy as np
import pytest

from iosim.phases import PHASES, explain, phases_ns, typical_ns
from iosim.results import RECORD
from iosim.sim import simulate
from iosim.workload import Workload


def records(*latencies_ns: int) -> np.ndarray:
    """Requests due at 0, each sent after 1, noticed after 3, copied after 6, done after 10."""
    made = np.zeros(len(latencies_ns), RECORD)
    for name, at_ns in (("sent", 1), ("noticed", 3), ("copied", 6), ("done", 10)):
        made[f"{name}_ns"] = at_ns
    made["replied_ns"] = latencies_ns
    return made


def test_phases_lie_between_the_stamps() -> None:
    assert phases_ns(records(15)).tolist() == [[1, 2, 3, 4, 5]]


def test_what_is_copied_before_the_program_knows_has_no_copy() -> None:
    made = records(15)
    made["copied_ns"] = 2
    assert phases_ns(made).tolist() == [[1, 2, 0, 7, 5]]


def test_a_figure_is_explained_by_the_requests_about_it() -> None:
    made = records(*range(11, 111))
    assert typical_ns(made, 0.98, 1)["reply"] == pytest.approx(99.5)
    assert typical_ns(made, 0.25, 0.75)["reply"] == pytest.approx(50.5)


@pytest.mark.parametrize("model", ["epoll", "blocking", "io_uring", "aio"])
def test_phases_of_a_run_add_up(model: str) -> None:
    run = simulate(model, Workload(connections=4, rate_per_s=10_000, requests=200))
    took_ns = phases_ns(run.records)
    assert (took_ns >= 0).all()
    assert took_ns.shape == (200, len(PHASES))
    assert took_ns.sum(axis=1).tolist() == run.latency_ns.tolist()


def test_the_widest_phase_is_named() -> None:
    load = Workload(connections=4, rate_per_s=10_000, requests=200)
    run = simulate("epoll", load)
    other = run.records.copy()
    other["replied_ns"] += 5_000
    found = explain([run], [run], other)
    assert {found.widest(region) for region in ("p50", "p99")} == {"reply"}
    phases = found.as_dict()["phases_ns"]["p50"]
    assert phases["reply"]["real"] - phases["reply"]["simulated"] == pytest.approx(5_000)
    assert found.simulated_counts["recv"] == found.real_counts["recv"] > 0.5
