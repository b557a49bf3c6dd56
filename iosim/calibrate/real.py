"""This host as a place to calibrate: each benchmark in a fresh process, its peer in another."""

from __future__ import annotations

import gc
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

from iosim.caches import Caches
from iosim.calibrate.bench import BENCHMARKS, OTHERS, Bench, Exchange, Row
from iosim.costs import caches_of
from iosim.host import facts, why_not
from iosim.host.child import Pipe, attach, child
from iosim.host.gil import handoffs_ns
from iosim.host.jitter import spin
from iosim.host.kernel import HostKernel
from iosim.host.pulse import calm_pulse_ns, pulse_ns
from iosim.host.resources import ticks
from iosim.host.server import listen, raise_file_limit
from iosim.host.thishost import cores, most_connections, most_threads, open_files
from iosim.host.thread import Server
from iosim.kernel import Call
from iosim.models import MODELS
from iosim.program import drive
from iosim.workload import Workload

_PATIENCE_S = 60
_CALM_NS = 300_000_000
"""How long to wait for full speed before a measurement; slow spells were seen to last for 10 to
500 ms."""
_LOOK_NS = 50_000_000
"""How long to look for full speed when no benchmark has run yet."""
_GAPS_NS = 1_000_000_000
_RECEIVE_BUFFER_BYTES = 4 << 20


class ThisHost:
    """The host, under this Python."""

    def __init__(self, caches: Caches | None = None) -> None:
        """`caches` are those that a profile knows of; by default what the host tells."""
        self.caches = caches or caches_of(facts())
        self._pulse_ns = math.inf
        """The shortest so far."""

    def why_not(self, facility: str | None) -> str | None:
        """Why this host cannot run benchmarks, or those of a facility; None when it can."""
        model = next((model for model in MODELS.values() if model.needs == facility), None)
        return why_not(model if facility else None)

    def measure(self, name: str, rounds: int, patience_s: float = 1.0) -> list[Row]:
        """Run one benchmark, and pass on what it wants of its peer."""
        first, last = cores()[0], cores()[-1]
        before = _spent()
        with (
            child(f"benchmark {name}", __name__, last) as server,
            child("benchmark's peer", "iosim.calibrate.peer", first) as peer,
        ):
            server.tell((name, rounds, self.caches, self._pulse_ns, round(patience_s * 1e9)))
            while (message := server.hear(_PATIENCE_S))[0] != "rows":
                server.tell(peer.ask(message, _PATIENCE_S))
            rows: list[Row] = message[1]
            self._pulse_ns = message[2]
        rows.append(Row(name, OTHERS, {}, [_others(before, _spent())], [0]))
        return rows


class HostPeer:
    """The peer's process, reached through the pipe to the parent."""

    def __init__(self, pipe: Pipe, port: int) -> None:
        self._pipe = pipe
        self._port = port

    def connect(self, count: int) -> Call[tuple[float, float]]:
        took: tuple[float, float] = self._ask("connect", self._port, count)
        return took
        yield

    def send(self, first: int, count: int, nbytes: int, step: int = 1) -> Call[tuple[float, float]]:
        took: tuple[float, float] = self._ask("send", first, count, nbytes, step)
        return took
        yield

    def exchange(self, pauses_ns: Sequence[int], nbytes: int, connections: int = 1) -> Call[None]:
        self._ask("exchange", pauses_ns, nbytes, connections)
        return
        yield

    def exchanged(self) -> Call[list[Exchange]]:
        seen: list[Exchange] = self._ask("exchanged")
        return seen
        yield

    def drain(self, count: int, nbytes: int) -> Call[None]:
        self._ask("drain", count, nbytes)
        return
        yield

    def hang_up(self, count: int) -> Call[None]:
        self._ask("hang up", count)
        return
        yield

    def _ask(self, *command: Any) -> Any:
        self._pipe.tell(command)
        return self._pipe.hear()


class HostPlace:
    """What a benchmark has beyond the calls of the real kernel."""

    ends = 2  # the peer's end of each connection is on this host too

    def __init__(
        self, pipe: Pipe, caches: Caches, shortest_pulse_ns: float, patience_ns: int
    ) -> None:
        listener = listen(0)
        try:
            # A message of 1 MiB shall fit; the usual limit, net.core.rmem_max, is below that.
            option = socket.SO_RCVBUFFORCE  # type: ignore[attr-defined]
        except AttributeError:
            option = 33  # <asm-generic/socket.h>
        try:
            listener.setsockopt(socket.SOL_SOCKET, option, _RECEIVE_BUFFER_BYTES)
        except PermissionError:
            pass
        self._server = Server(listener, Workload(request_bytes=64, reply_bytes=64))
        self._server.run = self._run
        self.kernel = HostKernel(self._server, "benchmark")
        self.listener = listener.fileno()
        self.peer = HostPeer(pipe, listener.getsockname()[1])
        self.caches = caches
        self._filler = bytearray()
        self.shortest_pulse_ns = shortest_pulse_ns
        self._patience_ns = patience_ns
        if shortest_pulse_ns == math.inf:
            until_ns = monotonic_ns() + _LOOK_NS
            while monotonic_ns() < until_ns:
                self.pulse_ns()

    def _run(self, program: Callable[..., Call[None]], *args: Any) -> None:
        drive(program(HostKernel(self._server, "thread"), *args))

    def threads(self) -> int:
        return len(os.listdir("/proc/self/task"))

    def most_connections(self) -> int:
        return most_connections(open_files())[0]

    def most_threads(self) -> int:
        return min(most_threads(), self.most_connections())

    def set_timer(self, ns: int) -> None:
        signal.setitimer(signal.ITIMER_REAL, ns / 1e9)

    def memory_bytes(self) -> int:
        """What the kernel keeps for sockets and threads, and what this process touches, proc(5)."""
        kernel = _kilobytes("/proc/meminfo", "Slab", "KernelStack", "PageTables")
        return 1024 * (kernel + _kilobytes("/proc/self/status", "VmRSS"))

    def evict(self, nbytes: int | None = None) -> bool:
        nbytes = nbytes or 2 * self.caches.l2_bytes
        if len(self._filler) < nbytes:
            self._filler = bytearray(nbytes)
        self._filler.count(1, 0, nbytes)
        return True

    def calm_pulse_ns(self) -> float:
        began_ns = monotonic_ns()
        pulse = calm_pulse_ns(self.shortest_pulse_ns, min(_CALM_NS, self._patience_ns))
        self._patience_ns = max(0, self._patience_ns - (monotonic_ns() - began_ns))
        return pulse

    def pulse_ns(self) -> float:
        pulse = pulse_ns()
        self.shortest_pulse_ns = min(self.shortest_pulse_ns, pulse)
        return pulse

    def handoffs_ns(self, count: int) -> Sequence[tuple[float, float]]:
        return handoffs_ns(count)

    def gaps_ns(self) -> tuple[int, Sequence[int]]:
        return spin(_GAPS_NS)


def _spent() -> tuple[float, float, float]:
    """Seconds so far: processor time of this program and its children that have ended; of all
    programs; and time of all cores."""
    mine = os.times()
    cores = ticks().values()
    busy, total = (sum(core.busy for core in cores), sum(core.total for core in cores))
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    own_s = mine.user + mine.system + mine.children_user + mine.children_system
    return own_s, busy * tick_s, total * tick_s


def _others(before: tuple[float, float, float], after: tuple[float, float, float]) -> float:
    """The share of the cores that other programs had in between."""
    own_s, busy_s, total_s = (b - a for a, b in zip(before, after, strict=True))
    return max(0.0, busy_s - own_s) / max(1e-9, total_s)


def _kilobytes(file: str, *fields: str) -> int:
    """The sum of fields, each a line `Field:   123 kB`."""
    lines = (line.split() for line in Path(file).read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0].rstrip(":") in fields)


def main() -> None:
    """Run the benchmark that the parent names and tell it what was measured."""
    pipe = attach(sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    # Timers of benchmarks need only be due.
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    raise_file_limit()
    threading.stack_size(256 * 1024)
    name, rounds, *about = pipe.hear()
    place = HostPlace(pipe, *about)
    bench = Bench(name, place, rounds)
    gc.disable()
    drive(bench.find_overhead())
    drive(BENCHMARKS[name](bench))
    pipe.tell(("rows", bench.rows, place.shortest_pulse_ns))
    pipe.hear()
