"""This host as a place to calibrate: each benchmark in a fresh process, its peer in another."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iosim.caches import Caches
from iosim.calibrate.bench import BENCHMARKS, Bench, Row
from iosim.costs import caches_of
from iosim.host import facts, run_real, why_not
from iosim.host.child import Pipe, attach, child
from iosim.host.kernel import HostKernel
from iosim.host.server import listen, raise_file_limit
from iosim.host.thishost import cores
from iosim.host.thread import Server
from iosim.kernel import Call, drive
from iosim.models import MODELS, Model
from iosim.results import Run
from iosim.workload import Workload

_PATIENCE_S = 60
_RECEIVE_BUFFER_BYTES = 4 << 20


class ThisHost:
    """The host, under this Python."""

    def __init__(self) -> None:
        self.caches = caches_of(facts())

    def why_not(self, facility: str | None) -> str | None:
        """Why this host cannot run benchmarks, or those of a facility; None when it can."""
        model = next((model for model in MODELS.values() if model.needs == facility), None)
        return why_not(model if facility else None)

    def measure(self, name: str, rounds: int) -> list[Row]:
        """Run one benchmark, and pass on what it wants of its peer."""
        first, last = cores()[0], cores()[-1]
        with (
            child(f"benchmark {name}", __name__, last) as server,
            child("benchmark's peer", "iosim.calibrate.peer", first) as peer,
        ):
            server.tell((name, rounds, self.caches))
            while (message := server.hear(_PATIENCE_S))[0] != "rows":
                server.tell(peer.ask(message, _PATIENCE_S))
            rows: list[Row] = message[1]
            return rows

    def run(self, model: str | Model, workload: Workload, seed: int) -> Run:
        """Run a server."""
        return run_real(model, workload, seed=seed)


class HostPeer:
    """The peer's process, reached through the pipe to the parent."""

    def __init__(self, pipe: Pipe, port: int) -> None:
        self._pipe = pipe
        self._port = port

    def connect(self, count: int) -> Call[None]:
        self._ask("connect", self._port, count)
        return
        yield

    def send(self, first: int, count: int, nbytes: int) -> Call[float]:
        return self._ask("send", first, count, nbytes)
        yield

    def drain(self, count: int, nbytes: int) -> Call[None]:
        self._ask("drain", count, nbytes)
        return
        yield

    def hang_up(self, count: int) -> Call[None]:
        self._ask("hang up", count)
        return
        yield

    def _ask(self, *command: Any) -> float:
        self._pipe.tell(command)
        answer: float = self._pipe.hear()
        return answer


class HostPlace:
    """What a benchmark has beyond the calls of the real kernel."""

    ends = 2  # the peer's end of each connection is on this host too

    def __init__(self, pipe: Pipe, caches: Caches) -> None:
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
        self._server = Server(listener, 64, 64, [0])
        self._server.run = self._run
        self.kernel = HostKernel(self._server, "benchmark")
        self.listener = listener.fileno()
        self.peer = HostPeer(pipe, listener.getsockname()[1])
        self.caches = caches
        self._filler = bytearray(2 * caches.l2_bytes)

    def _run(self, program: Callable[..., Call[None]], *args: Any) -> None:
        drive(program(HostKernel(self._server, "thread"), *args))

    def memory_bytes(self) -> int:
        """What the kernel keeps for sockets and threads, and what this process touches, proc(5)."""
        kernel = _kilobytes("/proc/meminfo", "Slab", "KernelStack", "PageTables")
        return 1024 * (kernel + _kilobytes("/proc/self/status", "VmRSS"))

    def evict(self) -> bool:
        self._filler.count(1)
        return True


def _kilobytes(file: str, *fields: str) -> int:
    """The sum of fields, each a line `Field:   123 kB`."""
    lines = (line.split() for line in Path(file).read_text().splitlines())
    return sum(int(line[1]) for line in lines if line[0].rstrip(":") in fields)


def main() -> None:
    """Run the benchmark that the parent names and tell it what was measured."""
    pipe = attach(sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    raise_file_limit()
    threading.stack_size(256 * 1024)
    name, rounds, caches = pipe.hear()
    bench = Bench(name, HostPlace(pipe, caches), rounds)
    gc.disable()
    drive(bench.find_overhead())
    drive(BENCHMARKS[name](bench))
    pipe.tell(("rows", bench.rows))
    pipe.hear()
