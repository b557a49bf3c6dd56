"""State machines as literal tables: (state, event) -> state. What a table lacks cannot happen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

AnyState = TypeVar("AnyState", bound=Enum)

Table = Mapping[tuple[AnyState, str], AnyState]


class IllegalTransition(RuntimeError):
    """Something happened to an object whose state does not allow it.

    No mistake in the input, so no IosimError: either the simulated kernel or a program of the
    user's is wrong (it closes a descriptor twice), and the traceback leads to the call.
    """


def next_state(table: Table[AnyState], about: Any, state: AnyState, event: str) -> AnyState:
    """The state of `about` after `event`; raises IllegalTransition if the table has none."""
    try:
        return table[state, event]
    except KeyError:
        raise IllegalTransition(f"{about} is {state.name}: {event!r} cannot happen to it") from None


class TaskState(Enum):
    """Task states, as the scheduler tells them apart."""

    RUNNING = "holds a core"
    RUNNABLE = "waits for a core"
    SLEEPING = "waits for an event, or has not begun"
    EXITED = "has run to its end"


TASK: Table[TaskState] = {
    (TaskState.SLEEPING, "wake"): TaskState.RUNNABLE,
    (TaskState.RUNNABLE, "dispatch"): TaskState.RUNNING,
    (TaskState.RUNNING, "preempt"): TaskState.RUNNABLE,
    (TaskState.RUNNING, "sleep"): TaskState.SLEEPING,
    (TaskState.RUNNING, "exit"): TaskState.EXITED,
}


class SocketState(Enum):
    """The server's end of a connection."""

    NEW = "not yet connected"
    QUEUED = "on the backlog"
    QUEUED_HALF_CLOSED = "on the backlog, the peer has hung up"
    QUEUED_RESET = "on the backlog, the peer has reset the connection"
    ESTABLISHED = "accepted"
    HALF_CLOSED = "accepted, the peer has hung up (CLOSE_WAIT of RFC 9293)"
    RESET = "accepted, the peer has reset the connection"
    CLOSED = "closed by the program"


SOCKET: Table[SocketState] = {
    (SocketState.NEW, "connect"): SocketState.QUEUED,
    (SocketState.QUEUED, "accept"): SocketState.ESTABLISHED,
    (SocketState.QUEUED, "fin"): SocketState.QUEUED_HALF_CLOSED,
    (SocketState.QUEUED, "rst"): SocketState.QUEUED_RESET,
    (SocketState.QUEUED_HALF_CLOSED, "accept"): SocketState.HALF_CLOSED,
    (SocketState.QUEUED_HALF_CLOSED, "rst"): SocketState.QUEUED_RESET,
    # A connection that was reset on the backlog is accepted all the same, and says so when read.
    (SocketState.QUEUED_RESET, "accept"): SocketState.RESET,
    (SocketState.ESTABLISHED, "fin"): SocketState.HALF_CLOSED,
    (SocketState.ESTABLISHED, "rst"): SocketState.RESET,
    (SocketState.ESTABLISHED, "close"): SocketState.CLOSED,
    (SocketState.HALF_CLOSED, "rst"): SocketState.RESET,
    (SocketState.HALF_CLOSED, "close"): SocketState.CLOSED,
    (SocketState.RESET, "close"): SocketState.CLOSED,
    # The peer does not know yet.
    (SocketState.CLOSED, "fin"): SocketState.CLOSED,
    (SocketState.CLOSED, "rst"): SocketState.CLOSED,
}


class RequestState(Enum):
    """One submission of an io_uring."""

    PREPARED = "written into the submission queue"
    SUBMITTED = "being tried by the ring for the first time"
    ARMED = "waits for its socket"
    DUE = "its socket is ready, the ring has still to try it again"
    COMPLETED = "its completion is posted"
    CANCELLED = "its completion says ECANCELED"


RING_REQUEST: Table[RequestState] = {
    (RequestState.PREPARED, "submit"): RequestState.SUBMITTED,
    (RequestState.SUBMITTED, "arm"): RequestState.ARMED,
    (RequestState.SUBMITTED, "complete"): RequestState.COMPLETED,
    (RequestState.ARMED, "ready"): RequestState.DUE,
    (RequestState.ARMED, "cancel"): RequestState.CANCELLED,
    # Somebody else was quicker and took the data.
    (RequestState.DUE, "arm"): RequestState.ARMED,
    (RequestState.DUE, "complete"): RequestState.COMPLETED,
    (RequestState.DUE, "cancel"): RequestState.CANCELLED,
}

TABLES: Mapping[str, Table[Any]] = {
    "task": TASK,
    "socket": SOCKET,
    "ring request": RING_REQUEST,
}
"""All tables by what they are about; each starts with the state in which its object begins."""
