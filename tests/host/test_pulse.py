"""Pulses, waiting for full speed, and threads that pass the interpreter's lock on."""

from __future__ import annotations

import pytest

from iosim.host import pulse
from iosim.host.gil import handoffs_ns


@pytest.fixture
def pulses(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pulses to come; there must be enough of them."""
    coming: list[int] = []
    monkeypatch.setattr(pulse, "pulse_ns", lambda: coming.pop(0))
    return coming


def test_a_pulse_takes_time() -> None:
    assert pulse.pulse_ns() > 0


def test_waits_until_pulses_are_short(pulses: list[int]) -> None:
    pulses[:] = [1_700, 1_200, 1_140, 9_999]
    assert pulse.calm_pulse_ns(1_000, patience_ns=60_000_000_000) == 1_140
    assert pulses == [9_999]


def test_waits_no_longer_than_it_may(pulses: list[int]) -> None:
    pulses[:] = [1_700, 9_999]
    assert pulse.calm_pulse_ns(1_000, patience_ns=0) == 1_700
    assert pulses == [9_999]


def test_the_lock_is_passed_on() -> None:
    """Not every time is seen where others take the core meanwhile."""
    seen = handoffs_ns(50)
    assert 0 < len(seen) <= 100
    assert all(took_ns > 0 and pulse_ns > 0 for took_ns, pulse_ns in seen)
