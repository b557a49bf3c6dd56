"""What a micro-benchmark is, and what it has to work with.

A benchmark is a program: it makes its calls on a `Kernel`, and so it runs on the real one to
measure a host, and on the simulated one to prove that it measures what it says. It times blocks of
equal calls. Beside each measurement it says what a call should cost: so many times this cost of the
profile, so many times that one. Nothing need be subtracted by hand, then: the costs that fit all
measurements best are the estimate (`iosim.calibrate.estimate`).

A core that runs slowly for a while, through no fault of the program, would spoil all that. So a
pulse, a short piece of work, is timed before and after each block, and tells whether the block
counts (`iosim.calibrate.quiet`).

Nothing here resembles a server under load. Whole runs stay unseen until they validate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any, NamedTuple, Protocol

from iosim.caches import SCAN_BYTES, Caches
from iosim.kernel import Call, Kernel

SMALL_BYTES = 64
"""The message where its size does not matter."""
BATCH = 64
"""Connections, and calls in a block."""
CONNECTIONS, THREADS = "connections in turn", "threads in turn"
"""What a row expects beside costs, see `in_turn`."""
_GOLDEN = 0.618034
OTHERS = "other programs"
"""What a row tells of that is no measurement: their share of the host's cores meanwhile."""


@dataclass
class Row:
    """What was measured again and again, and what it should be."""

    benchmark: str
    about: str
    expected: Mapping[str, float]
    """How often each cost of the profile is in it, by name; and see `in_turn`."""
    values: list[float] = field(default_factory=list)
    """ns, or bytes where the costs are."""
    pulses_ns: list[float] = field(default_factory=list)
    """For each value the longer of the pulses before and after; 0 where no speed matters."""


class Exchange(NamedTuple):
    """A message to the server and its answer, as the peer saw them; its clock is the server's."""

    sent_ns: int
    """Begin of the send."""
    took_ns: float
    """How long that took."""
    replied_ns: int
    """When the answer was there."""


class Peer(Protocol):
    """The other end of the connections, on another core."""

    def connect(self, count: int) -> Call[tuple[float, float]]:
        """Open connections; returns the time that each took, ns, and the pulse of its core."""

    def send(self, first: int, count: int, nbytes: int, step: int = 1) -> Call[tuple[float, float]]:
        """Send on `count` connections from `first` on, every `step`-th; returns the time that each
        send took, ns, and the pulse of its core."""

    def exchange(self, pauses_ns: Sequence[int], nbytes: int, connections: int = 1) -> Call[None]:
        """Begin to send, so long after each answer of as many bytes, on the first connections in
        turn: those of `turns`."""

    def exchanged(self) -> Call[list[Exchange]]:
        """What has come of it, when all is answered."""

    def drain(self, count: int, nbytes: int) -> Call[None]:
        """Take what the server has sent on the first connections."""

    def hang_up(self, count: int) -> Call[None]:
        """Close the newest connections."""


class Place(Protocol):
    """Where a benchmark runs: its side of the kernel, and what it needs beyond that."""

    @property
    def kernel(self) -> Kernel:
        """The kernel, as the benchmark's thread sees it."""

    @property
    def listener(self) -> int:
        """A listening socket."""

    @property
    def peer(self) -> Peer:
        """Who connects to it."""

    @property
    def caches(self) -> Caches:
        """Those of the core that the benchmark runs on."""

    @property
    def ends(self) -> int:
        """How many ends of each connection are in `memory_bytes`."""

    def threads(self) -> int:
        """How many threads the program has, those of its libraries included."""

    def most_connections(self) -> int:
        """How many there can be."""

    def most_threads(self) -> int:
        """How many threads the program can have."""

    def set_timer(self, ns: int) -> None:
        """Set a timer of the kernel that is due in so long a time, and may be set anew before."""

    def memory_bytes(self) -> int:
        """Memory in use: of the machine, or of the simulated server."""

    def evict(self, nbytes: int | None = None) -> bool:
        """Go through so much other data, by default enough to put everything out of the
        second-level cache; False if there is no cache to be seen."""

    def calm_pulse_ns(self) -> float:
        """Wait for a while, at most, until the core runs at full speed; returns the pulse."""

    def pulse_ns(self) -> float:
        """How long a short piece of work takes now."""

    def handoffs_ns(self, count: int) -> Sequence[tuple[float, float]]:
        """How long it takes from one thread to another on the core when the interpreter's lock
        changes hands, and the pulse then; nothing without such a lock."""

    def gaps_ns(self) -> tuple[int, Sequence[int]]:
        """Read the clock in a loop: for how long, and the gaps in which others had the core."""


class Bench:
    """One run of a benchmark: its connections and what it has measured."""

    def __init__(self, name: str, place: Place, rounds: int) -> None:
        self._name = name
        self._rows: dict[str, Row] = {}
        self.overhead_ns = 0.0
        """What reading a clock of processor time twice takes."""
        self.place = place
        """What else is there."""
        self.kernel = place.kernel
        self.listener = place.listener
        self.peer = place.peer
        self.rounds = rounds
        """How often to repeat each measurement."""
        self.fds: list[int] = []
        """The connections, in the order in which the peer numbers them."""

    @property
    def rows(self) -> list[Row]:
        """What has been measured."""
        return list(self._rows.values())

    def note(self, about: str, value: float, pulse_ns: float = 0, **expected: float) -> None:
        """Take down one measurement, and the pulse meanwhile."""
        row = self._rows.get(about)
        if row is None:
            row = self._rows[about] = Row(self._name, about, expected)
        row.values.append(value)
        row.pulses_ns.append(pulse_ns)

    def time(self, about: str, block: Call[Any], calls: int, **expected: float) -> Call[None]:
        """Time a block of calls, by the processor time of this thread; `expected` is for one."""
        spent_ns, pulse_ns = yield from self.spent(block)
        self.note(about, spent_ns / calls, pulse_ns, **expected)

    def spent(
        self, block: Call[Any], clock_ns: Callable[[], int] | None = None
    ) -> Call[tuple[float, float]]:
        """The processor time of a block, by the clock of this thread or another, without that of
        reading the clock; and the longer of the pulses before and after."""
        clock_ns = clock_ns or self.kernel.thread_time_ns
        before_ns = self.place.calm_pulse_ns()
        began_ns = clock_ns()
        yield from block
        spent_ns = clock_ns() - began_ns - self.overhead_ns
        return spent_ns, max(before_ns, self.place.pulse_ns())

    def find_overhead(self) -> Call[None]:
        """What timing itself costs."""
        seen = []
        for _ in range(200):
            spent_ns, _ = yield from self.spent(times(0, self.kernel.nothing))
            seen.append(spent_ns)
        self.overhead_ns = sorted(seen)[len(seen) // 2]

    def connect(self, count: int = BATCH, nonblocking: bool = True) -> Call[None]:
        """Open connections, so many at a time that all of them can wait to be accepted."""
        for first in range(0, count, BATCH):
            portion = min(BATCH, count - first)
            yield from self.peer.connect(portion)
            for _ in range(portion):
                self.fds.append((yield from self.kernel.accept(self.listener, nonblocking)))

    def copy(self, nbytes: int) -> dict[str, float]:
        """What a copy of so many bytes should cost."""
        return copy(nbytes, self.place.caches)

    def scan(
        self, kind: str, fds: int, highest: int, joined: int = 0, evicted: bool = False
    ) -> dict[str, float]:
        """What select or poll should cost, see `scan`."""
        return scan(kind, fds, highest, self.place.caches, joined, evicted)

    def feed(self, fds: Sequence[int], nbytes: int = SMALL_BYTES) -> Call[None]:
        """Have the peer send on connections that are equally far apart."""
        first, step = self.fds.index(fds[0]), 1
        if len(fds) > 1:
            step = self.fds.index(fds[1]) - first
        yield from self.peer.send(first, len(fds), nbytes, step)

    def empty(self, fds: Sequence[int]) -> Call[None]:
        """Read what is there."""
        yield from each(self.kernel.recv, fds)

    def answer(self, fds: Sequence[int]) -> Call[None]:
        """Answer what has been read, on the first connections.

        As long as a connection answers, its acknowledgements are delayed until they can go with an
        answer (tcp(7), TCP_QUICKACK). Else the next reads would send them, for half as much again
        as a send, which no server's reads do.
        """
        yield from each(lambda fd: self.kernel.send(fd, SMALL_BYTES), fds)
        yield from self.peer.drain(len(fds), SMALL_BYTES)


Benchmark = Callable[[Bench], Call[None]]

BENCHMARKS: dict[str, Benchmark] = {}
"""All of them by name, in the order of their modules."""
CHECKS: set[str] = set()
"""Those that a calibration leaves out: they measure what it must be able to predict."""
NEEDS: dict[str, str] = {}
"""The facility of the host that a benchmark cannot do without, as `iosim.models.Model.needs`."""


def benchmark(needs: str | None = None, check: bool = False) -> Callable[[Benchmark], Benchmark]:
    """Register the program below."""

    def register(program: Benchmark) -> Benchmark:
        BENCHMARKS[program.__name__] = program
        if check:
            CHECKS.add(program.__name__)
        if needs is not None:
            NEEDS[program.__name__] = needs
        return program

    return register


def copy(nbytes: int, caches: Caches) -> dict[str, float]:
    """What a copy of so many bytes should cost."""
    beyond = nbytes * caches.steps(2 * nbytes)
    return {"copy_ns_per_byte": nbytes, "copy_miss_ns_per_byte": beyond}


def turns(messages: int, connections: int) -> list[int]:
    """On which of the connections each message goes: on all in turn, with neighbours in memory far
    apart in time, as at random, so that nothing fetches ahead."""
    steps = range(round(_GOLDEN * connections), connections + 1)
    step = next(step for step in steps if gcd(step, connections) == 1)
    return [number * step % connections for number in range(messages)]


def in_turn(connections: int, threads: int = 0) -> dict[str, float]:
    """What a request on each of so many connections in turn should cost beyond one on the same
    connection as the last, and waking a thread for each of so many: how much that is of each cost
    depends on the caches, and on the third-level one as measured."""
    return {CONNECTIONS: float(connections)} | ({THREADS: float(threads)} if threads else {})


def scan(
    kind: str, fds: int, highest: int, caches: Caches, joined: int = 0, evicted: bool = False
) -> dict[str, float]:
    """What select or poll of so many descriptors should cost that joins and leaves so many wait
    queues, and finds what it needs in the caches, or all of it outside L2."""
    steps = 1 if evicted else caches.steps(fds * SCAN_BYTES)
    costs = {f"{kind}_ns": 1, f"{kind}_fd_ns": fds}
    costs |= dict.fromkeys(("scan_join_fd_ns", "scan_leave_fd_ns"), joined)
    if kind == "select":
        costs["select_number_ns"] = highest
    return costs | {"fd_miss_ns": fds * steps}


def each(call: Callable[[Any], Call[Any]], arguments: Sequence[Any]) -> Call[None]:
    """Make one call for each of the arguments."""
    for argument in arguments:
        yield from call(argument)


def times(count: int, call: Callable[..., Call[Any]], *arguments: Any) -> Call[None]:
    """Make the same call again and again."""
    for _ in range(count):
        yield from call(*arguments)
