"""When the tick of an idle core goes on, and what that changes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_costs import free_costs

from iosim.costs import WakeUp
from iosim.models import get
from iosim.sim import simulate
from iosim.sim.ticks import ACK_DELAY_NS, Ticks
from iosim.workload import Workload

MS = 1_000_000
TICK_NS = 4 * MS


def test_a_timer_is_due_at_the_tick_after_it() -> None:
    ticks = Ticks(SimpleNamespace(now_ns=0), TICK_NS)  # type: ignore[arg-type]
    assert not ticks.go_on(0)
    ticks.set(9 * MS)
    assert [ms for ms in range(20) if ticks.go_on(ms * MS)] == [8, 9, 10, 11]
    tick = ticks.set(4 * MS)
    assert [ms for ms in range(8) if ticks.go_on(ms * MS)] == [0, 1, 2, 3]
    ticks.take_back(tick)
    assert not ticks.go_on(0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30 * MS)), max_size=150))
def test_each_connection_has_one_timer(messages: list[tuple[int, int]]) -> None:
    """Each message sets that of its connection anew, also long after it has gone off."""
    clock = SimpleNamespace(now_ns=0)
    ticks = Ticks(clock, TICK_NS)  # type: ignore[arg-type]
    connections = [SimpleNamespace(ack_tick=0) for _ in range(10)]
    due: dict[int, int] = {}
    for number, pause_ns in messages:
        clock.now_ns += pause_ns
        ticks.delay_ack(connections[number])
        due[number] = (clock.now_ns + ACK_DELAY_NS) // TICK_NS + 1
        now = clock.now_ns // TICK_NS
        # A core that idles now looks at the next tick; those after it are as well known.
        for tick in range(now, now + 15):
            assert ticks.go_on(tick * TICK_NS) == (tick + 1 in due.values())


@pytest.mark.parametrize("model", ["epoll", "io_uring"])
def test_wake_ups_are_cheaper_while_timers_are_due(model: str) -> None:
    """For the first 40 ms none is; then those of some of the 40 connections are, as the next
    message on each comes after 40 ms on average."""
    ticking = [WakeUp(idle_ns=0, latency_ns=[300], cpu_ns=0)]
    profile = free_costs().model_copy(
        update={
            "wakeup": [WakeUp(idle_ns=0, latency_ns=[1_000], cpu_ns=0)],
            "wakeup_ticking": ticking,
        }
    )
    workload = Workload(connections=40, requests=400, arrivals="even", rate_per_s=1_000)
    run = simulate(get(model), workload, profile=profile)
    latency_ns, at_ns = run.latency_ns, run.records["intended_ns"]
    assert set(np.unique(latency_ns)) == {300, 1_000}
    assert (latency_ns[at_ns < ACK_DELAY_NS] == 1_000).all()
    without = simulate(
        get(model), workload, profile=profile.model_copy(update={"wakeup_ticking": []})
    )
    assert (without.latency_ns == 1_000).all()


def test_a_sleeper_has_the_tick_go_on_by_its_own_timer() -> None:
    """Unless that is due after the next tick, as after 1.1 of every 4 ms."""
    profile = free_costs().model_copy(
        update={
            "wakeup": [WakeUp(idle_ns=0, latency_ns=[1_000], cpu_ns=1_000)],
            "wakeup_ticking": [WakeUp(idle_ns=0, latency_ns=[0], cpu_ns=0)],
        }
    )
    workload = Workload(connections=1, requests=40, arrivals="even", rate_per_s=100)
    model = get("nonblocking-sleep", interval_ns=1_100_000)
    run = simulate(model, workload, profile=profile)
    dear = run.cpu_ns / 1_000
    assert 0.2 < dear / run.summary()["wakeups"] < 0.3
