"""One request's story, taken from a trace: who calls what, who sleeps, who copies, and when."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from iosim.errors import IosimError
from iosim.trace import RING, Copy, Signal, Trace, TracedCall

Kind = Literal["blocked", "polls", "free", "wakes", "copies", "lends", "runs"]

WAITING: tuple[Kind, ...] = ("blocked", "polls", "free")
"""What a program does that waits for data."""

Copier = Literal["program", "ring", "kernel thread", "helper thread"]
"""Who copies data: the program in a read, the kernel for a ring on the thread that has entered it,
or a thread of the kernel's or of the C library's."""

PAUSES = frozenset({"sigsuspend", "sigwaitinfo", "read_signals", "io_uring_enter", "nanosleep"})
"""Calls by which a program that has nothing else to do lets time pass. It could have gone on
instead, so that asleep in one of these it counts as free, unlike in recv or select."""

WAITS = frozenset({"recv", "read", "select", "poll", "epoll_wait"})
"""Calls that are about data and may find none."""


@dataclass(frozen=True)
class Band:
    """What the program's thread does from `begin_ns` to `end_ns`.

    - blocked: asleep in a call that waits for data;
    - polls: makes calls that return EAGAIN;
    - free: asleep by choice, see `PAUSES`;
    - wakes: woken, but not yet at work again: wake-up latency, context switch, run queue;
    - copies: in a read while it copies the data: blocked;
    - lends: the kernel copies for a ring on this thread, which is in no read: not blocked;
    - runs: everything else, above all sending the reply.
    """

    kind: Kind
    begin_ns: int
    end_ns: int
    call: str | None
    """The call it is in."""


@dataclass(frozen=True)
class Story:
    """One request, from the first call that could wait for it to the reply; times of the trace."""

    thread: str
    """The thread of the program that answers."""
    fd: int
    begin_ns: int
    ready_ns: int
    """Data is on the socket."""
    done_ns: int
    """The reply leaves."""
    earlier_done_ns: int | None
    """The reply before it left, if a ring sent it in the call that the story begins with."""
    end_ns: int
    calls: tuple[TracedCall, ...]
    """What the thread called, without its tries at the listening socket."""
    listener_tries: int
    """How many of these were left out."""
    reads: tuple[TracedCall, ...]
    """Reads of this socket that somebody else makes for the thread: a helper thread or a ring."""
    bands: tuple[Band, ...]
    """What the thread does, without gaps from beginning to end."""
    copies: tuple[Copy, ...]
    signals: tuple[tuple[Signal, Signal], ...]
    """(sent, taken) for signals about this socket."""

    def tries(self, band: Band) -> int:
        """How many calls that found nothing began within a band."""
        return sum(
            call.empty and band.begin_ns <= call.begin_ns < band.end_ns for call in self.calls
        )

    @property
    def copier(self) -> Copier:
        """Who copies the data."""
        thread = self.copies[0].thread
        if thread == self.thread:
            return "program"
        if thread == RING:
            return "ring"
        ring = any(read.thread == RING for read in self.reads)
        return "kernel thread" if ring else "helper thread"

    @property
    def copy_begin_ns(self) -> int:
        return self.copies[0].begin_ns

    @property
    def copy_end_ns(self) -> int:
        return self.copies[-1].end_ns

    def spent_ns(
        self, *kinds: Kind, since_ns: int | None = None, until_ns: int | None = None
    ) -> int:
        """Time that the thread spends in these ways within a span (the whole story)."""
        since_ns = self.begin_ns if since_ns is None else since_ns
        until_ns = self.end_ns if until_ns is None else until_ns
        return sum(
            max(0, min(band.end_ns, until_ns) - max(band.begin_ns, since_ns))
            for band in self.bands
            if band.kind in kinds
        )


def tell(trace: Trace, number: int) -> Story:
    """The story of request `number` (a row of the records), if the program was waiting for it."""
    record = trace.records[number]
    ready_ns, done_ns = int(record["ready_ns"]), int(record["done_ns"])
    fd = {connection: fd for fd, connection in trace.connections.items()}[int(record["connection"])]
    earlier = trace.records["done_ns"][trace.records["done_ns"] < done_ns]
    before_ns = int(earlier.max(initial=0))
    reply = next(
        call
        for call in trace.calls
        if call.name == "send" and call.args[0] == fd and _within(done_ns, call)
    )
    thread = reply.thread
    if thread == RING:
        # A ring works in the time of the thread that enters it, and with SQPOLL for the thread
        # that entered it last.
        thread = [
            call.thread
            for call in trace.calls
            if call.name == "io_uring_enter" and call.begin_ns <= done_ns
        ][-1]
    end_ns = reply.end_ns or trace.end_ns
    made = [
        call
        for call in trace.calls
        if call.thread == thread
        and call.begin_ns < end_ns
        and (call.end_ns is None or call.end_ns > before_ns)
        and not (call.name == "send" and _within(before_ns, call))
    ]
    copies = tuple(
        copy for copy in trace.copies if copy.fd == fd and ready_ns <= copy.begin_ns < done_ns
    )
    drawn = [call for call in made if not (call.name == "accept" and call.empty)]
    made = made[made.index(drawn[0]) :]
    begin_ns = made[0].begin_ns
    bands = _bands(trace, thread, made, begin_ns, end_ns)
    if not copies or not any(b.kind in WAITING and b.begin_ns < ready_ns for b in bands):
        raise IosimError(
            f"request {number} did not find the program waiting for it: choose a lighter load"
        )
    return Story(
        thread=thread,
        fd=fd,
        begin_ns=begin_ns,
        ready_ns=ready_ns,
        done_ns=done_ns,
        earlier_done_ns=before_ns if reply.thread == RING and before_ns >= begin_ns else None,
        end_ns=end_ns,
        calls=tuple(call for call in drawn if call.name != "compute"),
        listener_tries=len(made) - len(drawn),
        reads=tuple(
            call
            for call in trace.calls
            if call.name in WAITS
            and call.thread != thread
            and call.args[0] == fd
            and call.begin_ns < ready_ns
            and (call.end_ns is None or call.end_ns > ready_ns)
        ),
        bands=bands,
        copies=copies,
        signals=_signals(trace, fd, begin_ns, end_ns),
    )


def _signals(
    trace: Trace, fd: int, begin_ns: int, end_ns: int
) -> tuple[tuple[Signal, Signal], ...]:
    """Signals about a socket, each with the moment at which the program took it."""
    pairs = []
    for sent in trace.signals:
        if sent.what == "taken" or sent.value != fd or not begin_ns <= sent.at_ns <= end_ns:
            continue
        for taken in trace.signals:
            if (
                taken.what == "taken"
                and taken.signal == sent.signal
                and taken.value in (fd, -1)
                and sent.at_ns <= taken.at_ns <= end_ns
            ):
                pairs.append((sent, taken))
                break
    return tuple(pairs)


def _within(at_ns: int, call: TracedCall) -> bool:
    return call.begin_ns <= at_ns and (call.end_ns is None or at_ns < call.end_ns)


def _bands(
    trace: Trace, thread: str, calls: list[TracedCall], begin_ns: int, end_ns: int
) -> tuple[Band, ...]:
    """Cut the story wherever a call, a copy or a task state begins or ends; name each piece."""
    spells = trace.spells(thread)
    copies = [copy for copy in trace.copies if copy.thread in (thread, RING)]
    cuts = {begin_ns, end_ns}
    for call in calls:
        cuts |= {call.begin_ns, end_ns if call.end_ns is None else call.end_ns}
    for copy in copies:
        cuts |= {copy.begin_ns, copy.end_ns}
    for _, since_ns, until_ns in spells:
        cuts |= {since_ns, until_ns}
    moments = sorted(cut for cut in cuts if begin_ns <= cut <= end_ns)
    bands: list[Band] = []
    position = 0
    for since_ns, until_ns in pairwise(moments):
        while position + 1 < len(calls) and calls[position + 1].begin_ns <= since_ns:
            position += 1
        inside = calls[position] if _within(since_ns, calls[position]) else None
        name = inside.name if inside else None
        state = next((s for s, first, last in spells if first <= since_ns < last), "RUNNING")
        copier = next((c.thread for c in copies if c.begin_ns <= since_ns < c.end_ns), None)
        slept = (
            bool(bands)
            and bands[-1].call == name
            and bands[-1].kind in ("blocked", "free", "wakes")
        )
        kind = _kind(inside, state, copier, slept)
        if bands and bands[-1].kind == kind and (bands[-1].call == name or kind == "polls"):
            # Tries at the listening socket in between do not interrupt the polling.
            since_ns, name = bands[-1].begin_ns, bands.pop().call
        bands.append(Band(kind, since_ns, until_ns, name))
    return tuple(bands)


def _kind(call: TracedCall | None, state: str, copier: str | None, slept: bool) -> Kind:
    """What a thread in that call and state is doing; `copier` is who copies on it, if anybody does,
    and `slept` whether it was asleep in the call before."""
    if copier is not None:
        return "lends" if copier == RING else "copies"
    if call is None:
        return "runs"
    if call.empty:
        return "polls"
    if state == "SLEEPING":
        return "free" if call.name in PAUSES else "blocked"
    if state == "RUNNABLE" or slept:
        return "wakes"
    return "runs"
