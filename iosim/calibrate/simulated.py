"""A simulated machine to calibrate: its costs are known, so that the estimate can be checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from iosim.calibrate.bench import BENCHMARKS, Bench, Peer, Row
from iosim.costs import CostProfile
from iosim.errors import RunFailed
from iosim.kernel import Call
from iosim.machine import Machine
from iosim.models import Model
from iosim.results import Run
from iosim.sim import simulate
from iosim.sim.boot import boot
from iosim.sim.engine import Alarm
from iosim.sim.kernel import SimKernel
from iosim.sim.sockets import Connection, Listener, connect, deliver, hang_up
from iosim.sim.system import System
from iosim.workload import Workload


class Simulated:
    """A place to calibrate with the costs of `profile`, and errors of measurement if so wished.

    `noise` is the standard deviation of the logarithm of every measured value.
    """

    def __init__(
        self, profile: CostProfile, machine: Machine | None = None, noise: float = 0, seed: int = 1
    ) -> None:
        self.profile = profile
        self.caches = profile.caches
        self._machine = machine or Machine()
        self._noise = noise
        self._seed = seed
        self._generator = np.random.default_rng(seed)

    def why_not(self, facility: str | None) -> str | None:
        """Why this place cannot use a facility; everything can be simulated."""
        return None

    def measure(self, name: str, rounds: int) -> list[Row]:
        """Run one benchmark."""
        workload = Workload(request_bytes=64, reply_bytes=64)
        schedule = workload.schedule(self._seed)
        system = boot(self.profile, self._machine, workload, schedule, self._seed)
        listener = system.open(Listener(self._machine.backlog))
        over = Alarm(system.env)
        benches: list[Bench] = []

        def main(kernel: SimKernel) -> Call[None]:
            bench = Bench(name, SimulatedPlace(kernel, listener, self.caches), rounds)
            benches.append(bench)
            yield from BENCHMARKS[name](bench)
            over.ring_in(0)

        system.start(main)
        if not system.env.run_to(over):
            raise RunFailed(f"benchmark {name} waits for ever on the simulated kernel")
        rows = benches[0].rows
        for row in rows:
            factors = np.exp(self._noise * self._generator.standard_normal(len(row.values)))
            row.values[:] = (np.array(row.values) * factors).tolist()
        return rows

    def run(self, model: str | Model, workload: Workload, seed: int) -> Run:
        """Run a server."""
        return simulate(model, workload, profile=self.profile, machine=self._machine, seed=seed)


class SimulatedPlace:
    """What a benchmark has beyond the calls of the simulated kernel."""

    ends = 1

    def __init__(self, kernel: SimKernel, listener: Listener, caches: Any) -> None:
        self.kernel = kernel
        self.listener = listener.fd
        self.caches = caches
        self.peer: Peer = SimulatedPeer(kernel, listener)

    def memory_bytes(self) -> int:
        return self.kernel.system.memory.taken_bytes

    def evict(self) -> bool:
        return False


class SimulatedPeer:
    """The other ends of the connections: they take everything at once."""

    def __init__(self, kernel: SimKernel, listener: Listener) -> None:
        self._kernel = kernel
        self._system: System = kernel.system
        self._listener = listener
        self._connections: list[Connection] = []
        self._opened = 0
        kernel.system.peer = self

    # --- the benchmark's commands, each after what it has done so far is done --------------------

    def connect(self, count: int) -> Call[None]:
        yield from self._kernel.pay()
        self._system.memory.add("sockets", count)
        for _ in range(count):
            self._connections.append(Connection(self._opened, -1))
            self._opened += 1
            connect(self._system, self._listener, self._connections[-1])

    def send(self, first: int, count: int, nbytes: int) -> Call[float]:
        yield from self._kernel.pay()
        for connection in self._connections[first : first + count]:
            deliver(self._system, connection, nbytes)
        prices = self._system.prices
        return prices.client_send_ns + prices.copy_ns(nbytes)

    def drain(self, count: int, nbytes: int) -> Call[None]:
        return
        yield

    def hang_up(self, count: int) -> Call[None]:
        yield from self._kernel.pay()
        for connection in self._connections[-count:]:
            hang_up(self._system, connection)
        del self._connections[-count:]

    # --- what the server's kernel sends, see iosim.sim.system.Peer --------------------------------

    def transmit(self, connection: Connection, nbytes: int, now_ns: int) -> int:
        return nbytes

    def finish(self, connection: Connection) -> None:
        pass

    reset = finish
