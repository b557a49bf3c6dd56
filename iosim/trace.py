"""What happened inside a run, event by event: for timelines, and for the trace viewer Perfetto.

Times are nanoseconds from the start of the load, as those of the request records; what the program
did to set itself up has negative times.
"""

from __future__ import annotations

import gzip
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from iosim.errors import IosimError
from iosim.files import replacing
from iosim.kernel import EAGAIN
from iosim.results import RECORD

RING = "io_uring"
"""The thread name of what a ring carries out."""


@dataclass(slots=True)
class TracedCall:
    """A system call of a thread, a read of a helper thread, or an operation of a ring."""

    thread: str
    name: str
    """As the method of `iosim.kernel.Kernel` is called; "read" for a helper's read."""
    args: tuple[Any, ...]
    begin_ns: int
    """When the thread made the call. For a ring: when it took the submission up."""
    end_ns: int | None = None
    """When the call returned; None if the run ended before."""
    result: Any = None

    @property
    def empty(self) -> bool:
        """The call found nothing."""
        return bool(self.result == EAGAIN)


@dataclass(slots=True)
class Copy:
    """Received data moves from kernel to user: phase 2, with the fixed price of the read."""

    thread: str
    """Who copies: a thread of the program, a helper thread, the kernel thread of SQPOLL, or a ring
    on the thread that has entered it."""
    fd: int
    begin_ns: int
    end_ns: int
    nbytes: int


@dataclass(slots=True)
class StateChange:
    """A thread enters a task state: RUNNING, RUNNABLE, SLEEPING or EXITED."""

    thread: str
    at_ns: int
    state: str


@dataclass(slots=True)
class Signal:
    """A signal is sent to the program, merges with one already pending, or is taken by a thread."""

    at_ns: int
    what: Literal["sent", "merged", "taken"]
    signal: int
    value: int
    """The descriptor it speaks of, -1 for none."""
    thread: str = ""
    """Who took it."""


@dataclass(slots=True)
class Message:
    """Something crosses the network: a request is on its socket, a reply leaves, it arrives."""

    at_ns: int
    what: Literal["request", "reply", "replied"]
    number: int
    """Row of the request in the run's records."""
    connection: int
    """Index of the connection in the workload."""


@dataclass
class Trace:
    """Give one to `iosim.sim.simulate` and find it filled; each list is in order of time.

    An empty try costs an entry too, and a spinning program makes millions in a second: trace short
    runs.
    """

    limit: int = 2_000_000
    """Calls to keep; a run that makes more is refused."""
    calls: list[TracedCall] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    states: list[StateChange] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    connections: dict[int, int] = field(default_factory=dict)
    """Index of the connection in the workload, by descriptor."""
    records: npt.NDArray[np.void] = field(default_factory=lambda: np.empty(0, RECORD))
    """The request records of the run."""
    end_ns: int = 0
    """When the run ended."""

    def call(self, thread: str, name: str, args: tuple[Any, ...], begin_ns: int) -> TracedCall:
        """Take down a call that begins; whoever makes it fills in end and result."""
        if len(self.calls) >= self.limit:
            raise IosimError(
                f"the run makes more than {self.limit} calls, too many to trace: "
                "simulate fewer requests, or raise the trace's limit"
            )
        self.calls.append(made := TracedCall(thread, name, args, begin_ns))
        return made

    def close(self, records: npt.NDArray[np.void], origin_ns: int, end_ns: int) -> None:
        """The run is over: count all times from `origin_ns` and add what the network did."""
        for spans in (self.calls, self.copies):
            for span in spans:
                span.begin_ns -= origin_ns
                if span.end_ns is not None:
                    span.end_ns -= origin_ns
        for moments in (self.states, self.signals):
            for moment in moments:
                moment.at_ns -= origin_ns
        self.records = records
        self.end_ns = end_ns - origin_ns
        for number, record in enumerate(records):
            connection = int(record["connection"])
            self.messages += [
                Message(int(record["ready_ns"]), "request", number, connection),
                Message(int(record["done_ns"]), "reply", number, connection),
                Message(int(record["replied_ns"]), "replied", number, connection),
            ]
        self.calls.sort(key=lambda call: call.begin_ns)
        self.copies.sort(key=lambda copy: copy.begin_ns)
        self.states.sort(key=lambda change: change.at_ns)
        self.messages.sort(key=lambda message: message.at_ns)

    @property
    def threads(self) -> list[str]:
        """All threads, in the order of their first change of state."""
        return list(dict.fromkeys(change.thread for change in self.states))

    def spells(self, thread: str) -> list[tuple[str, int, int]]:
        """(state, begin, end) of one thread, without gaps up to the end of the run."""
        changes = [change for change in self.states if change.thread == thread]
        ends = [change.at_ns for change in changes[1:]] + [self.end_ns]
        return [
            (change.state, change.at_ns, end_ns)
            for change, end_ns in zip(changes, ends, strict=True)
            if end_ns > change.at_ns
        ]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write Chrome trace JSON, which ui.perfetto.dev opens; gzipped if the name ends in .gz."""
        path = Path(path)
        text = json.dumps({"traceEvents": _chrome(self), "displayTimeUnit": "ns"})
        with replacing(path) as temporary:
            temporary.write_bytes(
                gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode()
            )
        return path


def _chrome(trace: Trace) -> list[dict[str, Any]]:
    """Events of the Chrome trace format: calls and states per thread, phases per connection."""
    events: list[dict[str, Any]] = []
    tracks: dict[tuple[int, str], int] = {}

    def track(process: int, name: str) -> dict[str, int]:
        if (process, name) not in tracks:
            tracks[process, name] = len(tracks) + 1
            about = {"pid": process, "tid": tracks[process, name], "args": {"name": name}}
            events.append({"ph": "M", "name": "thread_name", **about})
        return {"pid": process, "tid": tracks[process, name]}

    def slice_(process: int, on: str, name: str, begin_ns: int, end_ns: int, **args: Any) -> None:
        where = track(process, on)
        span = {"ts": begin_ns / 1000, "dur": (end_ns - begin_ns) / 1000}
        events.append({"ph": "X", "name": name, **where, **span, "args": args})

    for process, name in ((1, "server threads"), (2, "connections"), (3, "io_uring by socket")):
        events.append({"ph": "M", "pid": process, "name": "process_name", "args": {"name": name}})
    for call in trace.calls:
        end_ns = trace.end_ns if call.end_ns is None else call.end_ns
        process, on = (
            (1, call.thread) if call.thread != RING else (3, f"{call.name} {call.args[0]}")
        )
        said = {"args": repr(call.args), "result": repr(call.result)}
        slice_(process, on, call.name, call.begin_ns, end_ns, **said)
    for thread in trace.threads:
        for state, begin_ns, end_ns in trace.spells(thread):
            slice_(1, f"{thread}: state", state, begin_ns, end_ns)
    for signal in trace.signals:
        name = f"signal {signal.signal} {signal.what}"
        at = {"ts": signal.at_ns / 1000, "s": "t", "args": {"value": signal.value}}
        events.append({"ph": "i", "name": name, **track(1, signal.thread or "signals sent"), **at})
    busy_ns: dict[str, int] = {}
    for number, record in enumerate(trace.records):
        on = f"connection {record['connection']}"
        moments = [int(record[f"{name}_ns"]) for name in ("arrival", "ready", "copied", "done")]
        names = ("on its way to the socket", "data ready", "serving", "reply on its way")
        for name, begin_ns, end_ns in zip(
            names, moments, [*moments[1:], int(record["replied_ns"])], strict=True
        ):
            # Requests may overlap on one connection, slices of one track may not.
            begin_ns = max(begin_ns, busy_ns.get(on, begin_ns))
            if end_ns > begin_ns:
                slice_(2, on, name, begin_ns, end_ns, request=number)
                busy_ns[on] = end_ns
    return events
