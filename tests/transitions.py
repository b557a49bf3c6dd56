"""Which transitions happen to the objects of the simulated kernel, seen from outside."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from iosim.sim.cpu import Task
from iosim.sim.rings import Submission
from iosim.sim.sockets import Connection
from iosim.sim.states import TABLES, State

Transition = tuple[str, State, State]
"""With the name of the state's class: as integers, states of several classes are equal."""

LEGAL: set[Transition] = {
    (type(before).__name__, before, after)
    for table in TABLES.values()
    for (before, _), after in table.items()
}


class Watched:
    """Stands in for the slot `state` of a class and notes every change."""

    def __init__(self, slot: Any, seen: set[Transition]) -> None:
        self._slot = slot
        self._seen = seen

    def __get__(self, thing: Any, owner: type) -> State:
        state: State = self._slot.__get__(thing, owner)
        return state

    def __set__(self, thing: Any, state: State) -> None:
        try:
            before = self._slot.__get__(thing, type(thing))
        except AttributeError:
            pass  # It is the first state.
        else:
            self._seen.add((type(state).__name__, before, state))
        self._slot.__set__(thing, state)


@contextmanager
def watched() -> Iterator[set[Transition]]:
    """Collects all transitions while the context lasts."""
    seen: set[Transition] = set()
    with ExitStack() as stack:
        for cls in (Task, Connection, Submission):
            stack.enter_context(patch.object(cls, "state", Watched(vars(cls)["state"], seen)))
        yield seen
