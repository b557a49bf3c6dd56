"""State machines as literal tables: (state, event) -> state. What a table lacks cannot happen.

The objects of the simulated kernel obey these tables: their `state` changes by an `Event` only.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Generic, Self, TypeVar


class State(IntEnum):
    """A state and what it means; the first of a class is where its objects begin.

    As integers, members make fast keys: those of a plain Enum are hashed in Python.
    """

    meaning: str

    def __new__(cls, meaning: str) -> Self:
        number = len(cls.__members__) + 1
        state = int.__new__(cls, number)
        state._value_ = number
        state.meaning = meaning
        return state


AnyState = TypeVar("AnyState", bound=State)

Table = Mapping[tuple[AnyState, str], AnyState]


class IllegalTransition(RuntimeError):
    """Something happened to an object whose state does not allow it.

    It is the simulated kernel that is wrong, or whoever drives its parts. What a program does wrong
    its call refuses with the error of the manual, and what a user gives wrong is an IosimError.
    """

    def __init__(self, thing: Any, state: State, event: str) -> None:
        # SimPy makes exceptions anew from their arguments, and other processes do from text.
        super().__init__(str(thing), state, event)
        self.thing = str(thing)
        self.state = state
        self.event = event

    def __str__(self) -> str:
        return f"{self.thing} is {self.state.name}: {self.event!r} cannot happen to it"


class Event(Generic[AnyState]):
    """One event of a table, ready for use."""

    __slots__ = ("after", "name")

    def __init__(self, table: Table[AnyState], name: str) -> None:
        self.name = name
        self.after = {before: after for (before, event), after in table.items() if event == name}
        """The state that follows, by the state before."""
        assert self.after, f"the table has no event {name!r}"

    def happens_to(self, thing: Any) -> None:
        """Change the state of an object; raises IllegalTransition if that does not allow it."""
        try:
            thing.state = self.after[thing.state]
        except KeyError:
            raise IllegalTransition(thing, thing.state, self.name) from None


class TaskState(State):
    """A thread, as the scheduler sees it."""

    SLEEPING = "waits for an event, or has not begun"
    RUNNABLE = "waits for a core"
    RUNNING = "holds a core"
    EXITED = "has run to its end"


TASK: Table[TaskState] = {
    (TaskState.SLEEPING, "wake"): TaskState.RUNNABLE,
    (TaskState.RUNNABLE, "dispatch"): TaskState.RUNNING,
    (TaskState.RUNNING, "preempt"): TaskState.RUNNABLE,
    (TaskState.RUNNING, "sleep"): TaskState.SLEEPING,
    # Preempted by a thread that it woke, with nothing left to pay for: Linux lets it have the core
    # once more, to go to sleep.
    (TaskState.RUNNABLE, "sleep"): TaskState.SLEEPING,
    (TaskState.RUNNING, "exit"): TaskState.EXITED,
}


class SocketState(State):
    """The server's end of a connection, which is ESTABLISHED before it is accepted.

    The names are those of RFC 9293, section 3.3.2, as far as it has them.
    """

    NEW = "not yet connected"
    ESTABLISHED = "both streams go on"
    FIN_WAIT = "the program has ended its stream"
    CLOSE_WAIT = "the client has ended its stream"
    RESET = "the client has reset the connection"
    ENDED = "both have ended their streams"
    CLOSED = "the program has closed it, or its listener before it was accepted"


SOCKET: Table[SocketState] = {
    (SocketState.NEW, "connect"): SocketState.ESTABLISHED,
    (SocketState.ESTABLISHED, "fin"): SocketState.CLOSE_WAIT,
    (SocketState.ESTABLISHED, "rst"): SocketState.RESET,
    (SocketState.ESTABLISHED, "shutdown"): SocketState.FIN_WAIT,
    (SocketState.ESTABLISHED, "close"): SocketState.CLOSED,
    (SocketState.FIN_WAIT, "fin"): SocketState.ENDED,
    (SocketState.FIN_WAIT, "rst"): SocketState.RESET,
    (SocketState.FIN_WAIT, "close"): SocketState.CLOSED,
    (SocketState.CLOSE_WAIT, "rst"): SocketState.RESET,
    (SocketState.CLOSE_WAIT, "shutdown"): SocketState.ENDED,
    (SocketState.CLOSE_WAIT, "close"): SocketState.CLOSED,
    (SocketState.RESET, "close"): SocketState.CLOSED,
    # It discards what the program has sent last; a reader has met the end already.
    (SocketState.ENDED, "rst"): SocketState.ENDED,
    (SocketState.ENDED, "close"): SocketState.CLOSED,
    # The client does not know yet.
    (SocketState.CLOSED, "fin"): SocketState.CLOSED,
    (SocketState.CLOSED, "rst"): SocketState.CLOSED,
}


class RequestState(State):
    """One submission of an io_uring."""

    PREPARED = "in the submission queue, or tried for the first time"
    ARMED = "waits for its socket"
    DUE = "its socket is ready, the ring has still to try it again or is at it"
    COMPLETED = "its last completion is posted"


RING_REQUEST: Table[RequestState] = {
    (RequestState.PREPARED, "arm"): RequestState.ARMED,
    (RequestState.PREPARED, "complete"): RequestState.COMPLETED,
    # A multishot request says that more will come (IORING_CQE_F_MORE).
    (RequestState.PREPARED, "complete with more"): RequestState.DUE,
    (RequestState.ARMED, "ready"): RequestState.DUE,
    # Somebody else was quicker and took the data.
    (RequestState.DUE, "arm"): RequestState.ARMED,
    (RequestState.DUE, "complete"): RequestState.COMPLETED,
    (RequestState.DUE, "complete with more"): RequestState.DUE,
}

TABLES: Mapping[str, Table[Any]] = {
    "task": TASK,
    "socket": SOCKET,
    "ring request": RING_REQUEST,
}
"""All tables by what they are about."""


def states(table: Table[AnyState]) -> list[AnyState]:
    """All states of a table, the one in which its objects begin first."""
    return list(type(next(iter(table.values()))))
