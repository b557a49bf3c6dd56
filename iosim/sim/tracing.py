"""The simulated kernel with somebody who takes everything down.

It charges what `SimKernel` charges, at the same times. Only `try_each` makes its empty tries one by
one, so that each of them is in the trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Sized
from functools import wraps
from typing import Any

from iosim.kernel import Call, Kernel
from iosim.sim.aio import Helper
from iosim.sim.kernel import SimKernel
from iosim.sim.pending import Signals
from iosim.sim.rings import RingWork, SqThread, Submission
from iosim.sim.sockets import Connection
from iosim.sim.states import Event, TaskState
from iosim.sim.system import AnyFile, System
from iosim.sim.thread import Thread
from iosim.trace import RING, Copy, Signal, StateChange, Trace, TracedCall

_PAYS_LATER = frozenset({"compute", "aio_init"})
"""Calls that touch nothing shared, so that they need not wait until earlier ones are paid for."""


class TracedSystem(System):
    """A system whose threads write into a trace."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts[:-1])
        self.trace: Trace = parts[-1]
        self.signals = TracedSignals(self)
        self.in_ring: dict[Submission, TracedCall] = {}
        """Submissions under way."""

    def open(self, file: AnyFile) -> AnyFile:
        super().open(file)
        if isinstance(file, Connection):
            self.trace.connections[file.fd] = file.client
        return file


class TracedSignals(Signals):
    """Pending signals; each that is sent is taken down."""

    def __init__(self, system: TracedSystem) -> None:
        super().__init__(system.machine.queued_signals)
        self._system = system

    def send(self, signal: int, fd: int, thread: Any = None) -> bool:
        told = Signal(int(self._system.env.now_ns), "sent", signal, fd)
        self._system.trace.signals.append(told)
        sent = self._sent
        woke = super().send(signal, fd, thread)
        if self._sent == sent:
            told.what = "merged"
        return woke

    def take(self, thread: Any, wanted: Collection[int]) -> tuple[int, int] | None:
        taken = super().take(thread, wanted)
        if taken is not None:
            told = Signal(thread.now_ns, "taken", *taken, thread.name)
            self._system.trace.signals.append(told)
        return taken


class TracedThread(Thread):
    """A thread whose changes of state are taken down."""

    __slots__ = ()
    system: TracedSystem

    def enter(self, event: Event[TaskState], since_ns: int) -> None:
        super().enter(event, since_ns)
        self.system.trace.states.append(StateChange(self.name, since_ns, self.state.name))


class TracedHelper(TracedThread, Helper):
    """A helper thread of the C library."""

    __slots__ = ()

    def read(self, file: Any, nbytes: int) -> Call[int]:
        trace, fd = self.system.trace, file.fd
        made = trace.call(self.name, "read", (fd, nbytes), self.now_ns)
        taken = yield from super().read(file, nbytes)
        made.end_ns, made.result = self.now_ns, taken
        if taken > 0:
            prices = self.system.prices
            price_ns = round(prices.aio_helper_ns + prices.copy_ns(taken))
            trace.copies.append(Copy(self.name, fd, made.end_ns - price_ns, made.end_ns, taken))
        return taken


class TracedRingWork(TracedThread, RingWork):
    """What a ring carries out: a call for each completion."""

    __slots__ = ()

    def _take_up(self, submission: Submission) -> None:
        self._take_down(submission)
        super()._take_up(submission)

    def _post(
        self, submission: Submission, result: int, buffer: int | None = None, more: bool = False
    ) -> None:
        trace, made = self.system.trace, self.system.in_ring.pop(submission)
        super()._post(submission, result, buffer, more)
        made.end_ns, made.result = self.now_ns, result
        if made.name == "recv" and result > 0:
            copier = self.name if self.helper else RING
            prices = self.system.prices
            ring_ns = prices.uring_multishot_ns if submission.multishot else prices.uring_recv_ns
            begin_ns = made.end_ns - round(ring_ns + prices.copy_ns(result))
            trace.copies.append(Copy(copier, submission.fd, begin_ns, made.end_ns, result))
        if more:
            self._take_down(submission)

    def _take_down(self, submission: Submission) -> None:
        """The ring begins, or goes on, with a submission."""
        args = (submission.fd, submission.nbytes) if submission.nbytes else (submission.fd,)
        made = self.system.trace.call(RING, submission.opcode, args, self.now_ns)
        self.system.in_ring[submission] = made


class TracedSqThread(TracedRingWork, SqThread):
    """The kernel thread of SQPOLL."""

    __slots__ = ()


class TracedKernel(TracedRingWork, SimKernel):
    """`SimKernel`, every call taken down (see the end of this file)."""

    __slots__ = ("last_call",)

    helper_type = TracedHelper
    sq_thread_type = TracedSqThread
    try_each = Kernel.try_each

    def __init__(self, system: System, name: str, helper: bool = False) -> None:
        super().__init__(system, name, helper)
        self.last_call: TracedCall | None = None

    def settle(self) -> Call[None]:
        """Pay; if others held the core meanwhile, the last call has taken that much longer."""
        due_ns = self.env.now_ns + self.debt_ns
        yield from self.pay()
        if self.last_call is not None and self.last_call.end_ns is not None:
            self.last_call.end_ns += self.env.now_ns - due_ns


def _plain(value: Any) -> Any:
    """An argument or result as it is now, without what belongs to the simulated kernel."""
    if value is None or isinstance(value, int | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(value)
    if isinstance(value, Sized):
        return f"{len(value)} descriptors"
    return getattr(value, "__name__", type(value).__name__.lower())


def _traced(name: str, call: Callable[..., Call[Any]]) -> Callable[..., Call[Any]]:
    """The call, taken down."""

    @wraps(call)
    def traced(self: TracedKernel, *args: Any, **options: Any) -> Call[Any]:
        if self.debt_ns and name not in _PAYS_LATER:
            yield from self.settle()
        trace = self.system.trace
        given = tuple(_plain(value) for value in (*args, *options.values()))
        made = self.last_call = trace.call(self.name, name, given, self.now_ns)
        result = yield from call(self, *args, **options)
        made.end_ns, made.result = self.now_ns, _plain(result)
        if name == "recv" and result > 0:
            prices = self.system.prices
            price_ns = prices.recv_ns + round(prices.copy_ns(result))
            begin_ns = made.end_ns - price_ns
            trace.copies.append(Copy(self.name, args[0], begin_ns, made.end_ns, result))
        return result

    return traced


for _name in dir(Kernel):
    _call = getattr(SimKernel, _name)
    if inspect.isgeneratorfunction(_call) and _name not in vars(TracedKernel):
        setattr(TracedKernel, _name, _traced(_name, _call))
