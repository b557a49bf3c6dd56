"""Measurements count by the pulses around them, never by themselves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from iosim.calibrate import quiet
from iosim.calibrate.bench import Row


def row(*measured: tuple[float, float], about: str = "block", benchmark: str = "recv") -> Row:
    """A row of values and their pulses."""
    values, pulses_ns = map(list, zip(*measured, strict=True))
    return Row(benchmark, about, {"recv_ns": 1}, values, pulses_ns)


def test_what_was_measured_at_full_speed_counts() -> None:
    """The shortest pulse takes 10: up to 11.5 is full speed. The lowest value of all is none."""
    seen = row((100, 10), (101, 11), (160, 16), (20, 15), (103, 11.4), (104, 11.7))
    counting, disturbed = quiet([[seen]])
    assert [one.values for one in counting] == [[100, 101, 103]]
    assert disturbed == []


def test_a_pass_with_few_quiet_values_does_not_count_if_another_has_them() -> None:
    slow = row((100, 10), (160, 16), (161, 16), (162, 16))
    fast = row((100, 10), (101, 10), (102, 10), (160, 16))
    counting, disturbed = quiet([[slow], [fast]])
    assert [one.values for one in counting] == [[100, 101, 102]]
    assert disturbed == []


def test_what_was_never_quiet_counts_where_it_was_calmest_and_is_named() -> None:
    quick = row(*[(100.0, 10.0)] * 100)
    slow = row(*[(200.0 + k, 15.0 + k) for k in range(8)], benchmark="send")
    counting, disturbed = quiet([[quick, slow]])
    assert [one.values for one in counting] == [[100] * 100, [200, 201]]
    assert disturbed == ["send"]


def test_without_pulses_everything_counts() -> None:
    """In a simulation, of memory, and in samples of rows that time has no part in."""
    seen = row((5, 0), (7, 0))
    assert quiet([[seen]]) == ([seen], [])


def test_what_was_measured_hardly_ever_does_not_count() -> None:
    often, seldom = row(*[(100.0, 10.0)] * 5), row((9_000, 10), (9_000, 10), about="rare")
    assert quiet([[often, seldom]]) == ([often], [])


@given(st.lists(st.lists(st.floats(1, 100), min_size=3, max_size=9), min_size=1, max_size=4))
def test_no_measurement_is_lost_and_none_is_made_up(passes: list[list[float]]) -> None:
    rows = [row(*((float(k), pulse) for k, pulse in enumerate(one))) for one in passes]
    counting, _ = quiet([[one] for one in rows])
    assert 0 < len(counting) <= len(passes)
    pairs = {pair for one in rows for pair in zip(one.values, one.pulses_ns, strict=True)}
    for one in counting:
        assert one.values
        assert pairs.issuperset(zip(one.values, one.pulses_ns, strict=True))
