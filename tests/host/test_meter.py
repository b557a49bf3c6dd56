"""The server's looks at its core: one at a time, in order, with a gap between them."""

from __future__ import annotations

import pytest

from iosim.host import meter
from iosim.host.meter import GAP_NS, Meter


def times(looks: Meter) -> list[int]:
    return [at_ns for at_ns, _, _ in looks.seen]


def test_looks_once_it_is_started_and_after_a_gap() -> None:
    looks = Meter()
    looks.look(1)
    assert not looks.seen
    looks.start()
    for at_ns in (2, 3, GAP_NS + 1, GAP_NS + 2, 2 * GAP_NS):
        looks.look(at_ns)
    assert times(looks) == [2, GAP_NS + 2]


def test_a_thread_that_was_held_up_on_its_way_does_not_look() -> None:
    """It found a look due, and another thread has looked since."""
    looks = Meter()
    looks.start()
    looks.look(20)
    looks.look(10)
    assert times(looks) == [20]


def test_only_one_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks while another is about it goes on, however late that other is."""
    looks = Meter()

    def pulse_ns() -> int:
        looks.look(5 * GAP_NS)
        return 1_000

    monkeypatch.setattr(meter, "pulse_ns", pulse_ns)
    looks.start()
    looks.look(10)
    assert times(looks) == [10]
    looks.look(5 * GAP_NS)
    assert times(looks) == [10, 5 * GAP_NS]
