"""Every pair of state and event, legal and illegal, of every table."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from iosim.errors import IosimError
from iosim.sim.states import TABLES, IllegalTransition, next_state

LEGAL = {
    "task": """
        SLEEPING wake RUNNABLE
        RUNNABLE dispatch RUNNING
        RUNNING preempt RUNNABLE
        RUNNING sleep SLEEPING
        RUNNING exit EXITED
    """,
    "socket": """
        NEW connect QUEUED
        QUEUED accept ESTABLISHED
        QUEUED fin QUEUED_HALF_CLOSED
        QUEUED rst QUEUED_RESET
        QUEUED_HALF_CLOSED accept HALF_CLOSED
        QUEUED_HALF_CLOSED rst QUEUED_RESET
        QUEUED_RESET accept RESET
        ESTABLISHED fin HALF_CLOSED
        ESTABLISHED rst RESET
        ESTABLISHED close CLOSED
        HALF_CLOSED rst RESET
        HALF_CLOSED close CLOSED
        RESET close CLOSED
        CLOSED fin CLOSED
        CLOSED rst CLOSED
    """,
    "ring request": """
        PREPARED submit SUBMITTED
        SUBMITTED arm ARMED
        SUBMITTED complete COMPLETED
        ARMED ready DUE
        ARMED cancel CANCELLED
        DUE arm ARMED
        DUE complete COMPLETED
        DUE cancel CANCELLED
    """,
}

PAIRS = [
    (name, state, event)
    for name, table in TABLES.items()
    for state in type(next(iter(table.values())))
    for event in dict.fromkeys(event for _, event in table)
]


@pytest.mark.parametrize(("name", "state", "event"), PAIRS)
def test_every_pair(name: str, state: Enum, event: str) -> None:
    table: Any = TABLES[name]
    lines = [line.split() for line in LEGAL[name].strip().splitlines()]
    legal = {(before, happens): after for before, happens, after in lines}
    after = legal.get((state.name, event))
    if after is not None:
        assert next_state(table, "it", state, event).name == after
        return
    with pytest.raises(IllegalTransition) as caught:
        next_state(table, "connection 7", state, event)
    assert str(caught.value) == f"connection 7 is {state.name}: {event!r} cannot happen to it"
    assert not isinstance(caught.value, IosimError)


@pytest.mark.parametrize("name", TABLES)
def test_every_state_can_be_reached_from_the_first(name: str) -> None:
    table: Any = TABLES[name]
    first = next(iter(table))[0]
    reached, found = set(), {first}
    while found != reached:
        reached = found
        found = reached | {after for (before, _), after in table.items() if before in reached}
    assert reached == set(type(first))
