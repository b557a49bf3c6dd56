"""What spinning sees, exactly, on a clock that is made up; and that it runs on real cores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate, chain, count, repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from processes import children

from iosim.host import why_not
from iosim.host.jitter import GAP_NS, Clock, Jitter, clock, jitter, spin
from iosim.host.thishost import cores


def stepping(*steps_ns: int, then_ns: int = 100) -> Callable[[], int]:
    """A clock whose readings are so far apart."""
    times: Iterator[int] = accumulate(chain(steps_ns, repeat(then_ns)), initial=5)
    return lambda: next(times)


def test_a_quiet_core_has_no_gaps() -> None:
    assert spin(1_000_000, stepping()) == (1_000_000, ())


def test_gaps_are_longer_than_the_limit() -> None:
    now = stepping(100, GAP_NS, 100, GAP_NS + 1, 5 * GAP_NS)
    assert spin(1_000_000, now) == (1_000_001, (GAP_NS + 1, 5 * GAP_NS))


def test_the_gap_that_runs_over_the_end_counts() -> None:
    assert spin(1_000, stepping(900, 90_000)) == (90_900, (90_000,))


@given(st.lists(st.integers(0, 3 * GAP_NS), min_size=1, max_size=200))
def test_what_is_lost_is_part_of_what_was_spun(steps_ns: list[int]) -> None:
    spun_ns, gaps_ns = spin(1_000_000, stepping(*steps_ns))
    assert spun_ns >= 1_000_000
    assert sum(gaps_ns) <= spun_ns
    assert all(gap_ns > GAP_NS for gap_ns in gaps_ns)


def test_clocks() -> None:
    fine = count(7, 50)
    assert clock(lambda: next(fine), 1_000) == Clock(read_ns=50, step_ns=50, backwards=0)
    coarse = (n // 200 * 4_000_000 for n in count())
    assert clock(lambda: next(coarse), 2_000).step_ns == 4_000_000
    still = repeat(3)
    assert clock(lambda: next(still), 1_000) == Clock(read_ns=0, step_ns=0, backwards=0)
    back = stepping(10, -1, 10, -30, then_ns=10)
    assert clock(back, 1_000).backwards == 2


def seen(gaps_ns: tuple[int, ...] = (), work_ns: tuple[float, ...] = (100.0,)) -> Jitter:
    steady = Clock(50, 1, 0)
    return Jitter(0, 10**9, gaps_ns, 0, work_ns, (60_000,), steady, steady)


def test_shares() -> None:
    assert seen().lost == 0
    assert seen((10**7, 2 * 10**7)).lost == 0.03
    assert seen().unsteady == 0
    assert seen(work_ns=(100, 104, 90, 100, 101)).unsteady == pytest.approx(-0.1)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_on_real_cores() -> None:
    """How quiet they are is up to the host; what was measured holds together anyway."""
    before = children()
    pair = [cores()[0], cores()[-1]]
    both = jitter(pair)
    assert [one.core for one in both] == pair
    for one in both:
        assert one.spun_ns >= 10**9
        assert 0 <= one.lost < 1
        # A thread that waits for its core does not read the clock.
        assert one.queued_ns < one.spun_ns
        assert one.stolen is None or 0 <= one.stolen <= 1
        assert all(work_ns > 0 for work_ns in one.work_ns)
        assert all(late_ns >= 0 for late_ns in one.late_ns)
        assert one.monotonic.read_ns > 0
        assert one.monotonic.backwards == 0
    assert children().keys() <= before.keys()
