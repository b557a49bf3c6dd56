"""Conformance scenarios: a program, the steps of its clients, and the transcript both kernels owe.

A client takes its next step only when the machine is at rest: every thread of the program sleeps.
So a scenario needs no clock. A program that does not sleep in a call of its own lets the clients
act with `kernel.step()`, which sleeps until the next step has been taken, or waits for its other
threads with `kernel.rest()`, which sleeps until they do. A thread that sleeps with a timeout below
a second is not at rest: the timeout comes first. The scenario ends when the machine is at rest and
either the program has ended or no step is left.

The transcript has a line for each call that a thread makes, in the notation of strace(1):

    recv(c0, 100) = 3          the call returned 3
    recv(c0, 100) = EAGAIN     it returned a negative error number
    recv(c0, 100) raises EPIPE it raised an OSError
    recv(c0, 100) sleeps       the scenario ended before it returned

Connections are named c0, c1, ... in the order in which their descriptors were got, epoll instances
e0, ..., signalfds s0, ..., further listening sockets l1, ... The lines of the first thread come
first, then those of the threads it spawned ("1: ..."), in turn of theirs ("1.1: ..."), then those
of the clients ("client: ..."), as far as they have a result.
"""

from __future__ import annotations

import errno
import inspect
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from textwrap import dedent
from typing import Any, Protocol

from iosim.errors import IosimError
from iosim.kernel import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    EPOLLONESHOT,
    SIGRTMIN,
    Call,
    Completion,
    Kernel,
    Notify,
)


class Client(Protocol):
    """All clients of a scenario; connections are numbered in the order of connecting."""

    def connect(self) -> object:
        """Open a connection."""

    def start_connect(self) -> object:
        """Begin to open a connection; a full backlog may delay it."""

    def finish_connect(self, connection: int) -> object:
        """Wait until it is open."""

    def send(self, connection: int, nbytes: int) -> object:
        """Send so many bytes, all of them; gives the error if there is one."""

    def start_send(self, connection: int, nbytes: int) -> object:
        """Send so many bytes while the next steps are taken."""

    def sending(self, connection: int) -> object:
        """Whether bytes of `start_send` are left that the server's machine does not take."""

    def recv(self, connection: int, nbytes: int) -> object:
        """Take so many bytes, waiting for them, or fewer at the end of the stream; gives how many.

        Gives the error if there is one and no byte before it.
        """

    def shutdown(self, connection: int) -> object:
        """End its stream, but go on reading: shutdown(2) with SHUT_WR."""

    def close(self, connection: int) -> object:
        """Close it."""

    def abort(self, connection: int) -> object:
        """Close it by a reset: SO_LINGER with a time of 0, socket(7)."""


Step = Callable[[Client], object]

REQUEST_BYTES = 64
REPLY_BYTES = 1 << 24
"""What `kernel.requests` counts in, and the size of a reply to each: one that no socket holds."""


@dataclass(frozen=True)
class Scenario:
    """One rule of the kernel and a program that depends on it."""

    name: str
    group: str
    rule: str
    """The sentence of the manual that is checked, and where it stands: `recv(2): "..."`."""
    program: Callable[..., Call[None]]
    steps: Sequence[Step]
    expect: str
    needs: str | None = None
    """The facility of the host that it cannot do without, as `iosim.models.Model.needs`."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Limits of the machine by their names in `iosim.Machine`."""

    def run(self, kernel: Recorder, listener: int) -> Call[None]:
        """The program; when it has ended, its other threads come to rest."""
        yield from self.program(kernel, listener)
        yield from kernel.rest()


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    rule: str, *steps: Step, expect: str, needs: str | None = None, **limits: int
) -> Callable[[Callable[..., Call[None]]], Callable[..., Call[None]]]:
    """Register the program below as a scenario; its group is the name of its module."""

    def register(program: Callable[..., Call[None]]) -> Callable[..., Call[None]]:
        name, group = program.__name__, program.__module__.rpartition(".")[2]
        assert name not in SCENARIOS, f"two scenarios named {name}"
        SCENARIOS[name] = Scenario(
            name, group, rule, program, steps, dedent(expect).strip(), needs, limits
        )
        return program

    return register


def refused(call: Call[Any]) -> Call[None]:
    """A call that raises OSError, as the transcript shows."""
    try:
        yield from call
    except OSError:
        return


class Side(Protocol):
    """What a scenario needs of the kernel that it runs on."""

    def begin(self, thread: str, call: str, timeout_ns: int | None) -> None:
        """A thread makes a call, which returns after `timeout_ns` at the latest."""

    def end(self, thread: str, result: str) -> None:
        """The call returns."""

    def pause(self, thread: str, kernel: Any) -> Call[None]:
        """Sleep until the clients have seen to `rest` or `step`, which the thread is in."""


REST, STEP = "rest", "step"
_DESCRIPTORS = ("fd", "epfd", "listener")
_OPENS = {"accept": "c", "epoll_create": "e", "reuseport": "l", "signalfd": "s"}


_NAMED = {
    "op": {EPOLL_CTL_ADD: "ADD", EPOLL_CTL_DEL: "DEL", EPOLL_CTL_MOD: "MOD"},
    "events": {EPOLLIN: "IN", EPOLLET: "ET", EPOLLONESHOT: "ONESHOT", EPOLLEXCLUSIVE: "EXCLUSIVE"},
}


class Names:
    """Names for descriptors, which the two kernels number differently."""

    def __init__(self, listener: int) -> None:
        self._known = {listener: "l0"}
        self._given = {"l": 1}

    def give(self, kind: str, fd: int) -> str:
        """Name a new descriptor."""
        number = self._given.get(kind, 0)
        self._given[kind] = number + 1
        self._known[fd] = f"{kind}{number}"
        return self._known[fd]

    def of(self, fd: int) -> str:
        return self._known.get(fd, str(fd))


class Recorder:
    """A kernel that tells its side of every call, as the transcript shows it."""

    def __init__(self, kernel: Kernel, side: Side, names: Names, thread: str = "") -> None:
        self._kernel = kernel
        self._side = side
        self._names = names
        self._thread = thread
        self._spawned = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._kernel, name)
        if not inspect.isgeneratorfunction(call):
            return call
        signature = inspect.signature(call)

        def recorded(*args: Any, **options: Any) -> Call[Any]:
            given = signature.bind(*args, **options).arguments
            shown = ", ".join(self._argument(*pair) for pair in given.items())
            timeout_ns = given.get("ns") if name == "nanosleep" else given.get("timeout_ns")
            self._side.begin(self._thread, f"{name}({shown})", timeout_ns)
            try:
                result = yield from call(*args, **options)
            except OSError as error:
                self._side.end(self._thread, f" raises {errno.errorcode[error.errno or 0]}")
                raise
            except IosimError:
                self._side.end(self._thread, " raises IosimError")
                raise
            self._side.end(self._thread, self._result(name, result))
            return result

        return recorded

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> Call[None]:
        yield from self._kernel.spawn(self._in_thread(program), *args)

    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        signal = self._in_thread(notify) if callable(notify) else notify
        yield from self.__getattr__("aio_read")(fd, nbytes, signal)

    def _in_thread(self, program: Callable[..., Call[None]]) -> Callable[..., Call[None]]:
        """The program on a recorder of its own, as the next thread."""
        self._spawned += 1
        thread = f"{self._thread}.{self._spawned}".strip(".")
        side, names = self._side, self._names

        @wraps(program)
        def recorded(kernel: Kernel, *args: Any) -> Call[None]:
            yield from program(Recorder(kernel, side, names, thread), *args)

        return recorded

    @property
    def quiet(self) -> Kernel:
        """The kernel without transcript, for calls whose results no rule fixes."""
        return self._kernel

    def rest(self) -> Call[None]:
        """Sleep until every other thread sleeps."""
        yield from self._pause(REST)

    def step(self) -> Call[None]:
        """Sleep until the clients have taken their next step."""
        yield from self._pause(STEP)

    def _pause(self, what: str) -> Call[None]:
        self._side.begin(self._thread, what, None)
        yield from self._side.pause(self._thread, self._kernel)
        self._side.end(self._thread, "")

    def note(self, what: str) -> None:
        """Put a line of the program's own into the transcript."""
        self._side.begin(self._thread, what, None)
        self._side.end(self._thread, "")

    def _argument(self, name: str, value: Any) -> str:
        if name in _DESCRIPTORS:
            return self._names.of(value)
        if callable(value):
            return str(value.__name__)
        if name.startswith("signal") or name == "notify":
            return self._signals(value)
        if name in _NAMED:
            return _flags(value, _NAMED[name])
        return str(value) if isinstance(value, int | str) else "..."

    def _result(self, name: str, result: Any) -> str:
        if result is None or name == "io_uring_setup":
            return ""
        if name in _OPENS and result >= 0:
            return f" = {self._names.give(_OPENS[name], result)}"
        if name in ("select", "poll", "epoll_wait") and isinstance(result, list):
            return f" = [{', '.join(map(self._names.of, result))}]"
        if name == "sigwaitinfo" and isinstance(result, tuple):
            return f" = {self._taken(*result)}"
        if name == "read_signals" and isinstance(result, list):
            return f" = [{', '.join(self._taken(*signal) for signal in result)}]"
        if isinstance(result, list) and all(isinstance(one, Completion) for one in result):
            return f" = [{', '.join(map(self._completion, result))}]"
        return f" = {number(result)}"

    def _completion(self, completion: Completion) -> str:
        what, result = completion
        # An accept is told by its user_data: what it returns is a descriptor.
        if str(what).startswith("accept") and result >= 0:
            told = f"{what}: {self._names.give('c', result)}"
        else:
            told = f"{what}: {number(result)}"
        if completion.buffer is not None:
            told += f" in buffer {completion.buffer}"
        return f"{told}, more" if completion.more else told

    def _taken(self, signal: int, value: int) -> str:
        return f"{self._signals(signal)} {self._names.of(value)}"

    def _signals(self, signals: int | Iterable[int]) -> str:
        if not isinstance(signals, int):
            return f"[{', '.join(map(self._signals, signals))}]"
        if signals >= SIGRTMIN:
            return f"SIGRTMIN+{signals - SIGRTMIN}" if signals > SIGRTMIN else "SIGRTMIN"
        return signal.Signals(signals).name


def _flags(value: int, names: Mapping[int, str]) -> str:
    """A number by the name of its value, or those of its bits."""
    return names.get(value) or "|".join(name for bit, name in names.items() if value & bit)


def number(result: Any) -> str:
    """A result; negative error numbers by name."""
    if isinstance(result, int) and result < 0:
        return errno.errorcode.get(-result, str(result))
    return str(result)


class Transcript:
    """The calls of each thread as they begin and end."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = {}
        self.open: dict[str, tuple[str, int | None]] = {}
        """The call that each thread is in, with its timeout."""
        self._released: set[str] = set()
        """Threads that may go on from `rest` or `step` and have not yet done so."""

    def begin(self, thread: str, call: str, timeout_ns: int | None) -> None:
        self._lines.setdefault(thread, [])
        self.open[thread] = call, timeout_ns

    def end(self, thread: str, result: str) -> None:
        call, _ = self.open.pop(thread)
        self._released.discard(thread)
        if call not in (REST, STEP):
            self._lines[thread].append(call + result)

    def at_rest(self) -> bool:
        """Whether no thread is in a call that will soon end by itself."""
        timeouts = [ns for _, ns in self.open.values() if ns is not None]
        return not self._released and not any(ns < 1_000_000_000 for ns in timeouts)

    def resting(self, what: str) -> bool:
        """Whether a thread is in `rest`, or in `step`."""
        return any(call == what for call, _ in self.open.values())

    def release(self, what: str) -> list[str]:
        """Let the threads in `rest`, or in `step`, go on; their names, in the order they came."""
        names = [name for name, (call, _) in self.open.items() if call == what]
        self._released.update(names)
        return names

    def text(self, left_out: Iterable[str] = ()) -> str:
        """The whole transcript; calls of the names `left_out` are not shown."""
        lines = []
        for thread in sorted(self._lines, key=lambda name: (name == "client", name)):
            calls = list(self._lines[thread])
            if thread in self.open:
                calls.append(f"{self.open[thread][0]} sleeps")
            prefix = f"{thread}: " if thread else ""
            lines += [prefix + call for call in calls if call.partition("(")[0] not in left_out]
        return "\n".join(lines)


class TellingClient:
    """The clients' steps; what those return that return something is told to a transcript."""

    def __init__(self, client: Any, transcript: Transcript) -> None:
        self._client = client
        self._transcript = transcript

    def __getattr__(self, name: str) -> Any:
        act = getattr(self._client, name)

        def told(*args: Any) -> Any:
            result = act(*args)
            if result is not None:
                self._transcript.begin("client", f"{name}({', '.join(map(str, args))})", None)
                self._transcript.end("client", f" = {number(result)}")
            return result

        return told
