"""A simulated machine to calibrate: its costs are known, so that the estimate can be checked."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from iosim.calibrate.bench import BENCHMARKS, Bench, Exchange, Peer, Row, turns
from iosim.costs import CostProfile
from iosim.errors import RunFailed
from iosim.kernel import Call
from iosim.machine import Machine
from iosim.sim.boot import boot
from iosim.sim.engine import Alarm, call_in
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
        self._measured: Counter[str] = Counter()

    def why_not(self, facility: str | None) -> str | None:
        """Why this place cannot use a facility; everything can be simulated."""
        return None

    def measure(self, name: str, rounds: int, patience_s: float = 0) -> list[Row]:
        """Run one benchmark; nothing disturbs it."""
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
            over.ring_at(system.env.now_ns)

        system.start(main)
        if not system.env.run_to(over):
            raise RunFailed(f"benchmark {name} waits for ever on the simulated kernel")
        rows = benches[0].rows
        # Of its own, so that benchmarks that are new do not change what others find.
        generator = np.random.default_rng([self._seed, self._measured[name], *name.encode()])
        self._measured[name] += 1
        for row in rows:
            factors = np.exp(self._noise * generator.standard_normal(len(row.values)))
            row.values[:] = (np.array(row.values) * factors).tolist()
        return rows


class SimulatedPlace:
    """What a benchmark has beyond the calls of the simulated kernel."""

    ends = 1

    def __init__(self, kernel: SimKernel, listener: Listener, caches: Any) -> None:
        self.kernel = kernel
        self.listener = listener.fd
        self.caches = caches
        self.peer: Peer = SimulatedPeer(kernel, listener)
        self._timer = 0

    def threads(self) -> int:
        return len(self.kernel.system.tasks)

    def most_connections(self) -> int:
        return 1 << 20

    most_threads = most_connections

    def set_timer(self, ns: int) -> None:
        if (ticks := self.kernel.cpu.ticks) is not None:
            ticks.take_back(self._timer)
            self._timer = ticks.set(self.kernel.now_ns + ns)

    def memory_bytes(self) -> int:
        return self.kernel.system.memory.taken_bytes

    def evict(self, nbytes: int | None = None) -> bool:
        return False

    def calm_pulse_ns(self) -> float:
        return 0

    pulse_ns = calm_pulse_ns

    def handoffs_ns(self, count: int) -> Sequence[tuple[float, float]]:
        prices = self.kernel.system.prices
        return [(prices.gil_handoff_ns + prices.context_switch_ns, 0)] * count

    def gaps_ns(self) -> tuple[int, Sequence[int]]:
        return 1, ()


class SimulatedPeer:
    """The other ends of the connections: they take everything at once."""

    def __init__(self, kernel: SimKernel, listener: Listener) -> None:
        self._kernel = kernel
        self._system: System = kernel.system
        self._listener = listener
        self._connections: list[Connection] = []
        self._opened = 0
        self._pauses_ns: deque[int] = deque()
        self._turns: Iterator[Connection] = iter(())
        self._left_bytes = 0
        self._exchanged: list[Exchange] = []
        kernel.system.peer = self

    # --- the benchmark's commands, each after what it has done so far is done --------------------

    def connect(self, count: int) -> Call[tuple[float, float]]:
        yield from self._kernel.pay()
        self._system.memory.add("sockets", count)
        for _ in range(count):
            self._connections.append(Connection(self._opened))
            self._opened += 1
            connect(self._system, self._listener, self._connections[-1])
        return self._system.prices.client_connect_ns, 0

    def send(self, first: int, count: int, nbytes: int, step: int = 1) -> Call[tuple[float, float]]:
        yield from self._kernel.pay()
        for connection in self._connections[first : first + count * step : step]:
            deliver(self._system, connection, nbytes)
        prices = self._system.prices
        return prices.client_send_ns + prices.copy_ns(nbytes), 0

    def exchange(self, pauses_ns: Sequence[int], nbytes: int, connections: int = 1) -> Call[None]:
        yield from self._kernel.pay()
        self._exchanged = []
        self._turns = (self._connections[turn] for turn in turns(len(pauses_ns), connections))
        self._pauses_ns.extend(pauses_ns)
        self._message_bytes = nbytes
        self._send_in(self._pauses_ns.popleft())

    def exchanged(self) -> Call[list[Exchange]]:
        yield from self._kernel.pay()
        return self._exchanged

    def _send_in(self, delay_ns: int) -> None:
        """Send the next message of an exchange."""
        prices = self._system.prices
        copy_ns = prices.copy_ns(self._message_bytes)
        sent_ns = self._system.env.now_ns + delay_ns
        self._left_bytes = self._message_bytes

        def arrive(_: object) -> None:
            woke = deliver(self._system, next(self._turns), self._message_bytes)
            took_ns = prices.client_send_ns + copy_ns + (prices.client_wake_ns if woke else 0)
            self._exchanged.append(Exchange(sent_ns, took_ns, 0))

        call_in(self._system.env, delay_ns + round(prices.delivery_ns + copy_ns), arrive)

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
        if self._left_bytes:
            self._left_bytes -= nbytes
            if not self._left_bytes:
                self._answered(now_ns)
        return nbytes

    def _answered(self, now_ns: int) -> None:
        """An exchange is over, and the next one begins."""
        prices = self._system.prices
        way_ns = round(prices.reply_ns + prices.copy_ns(self._message_bytes))
        self._exchanged[-1] = self._exchanged[-1]._replace(replied_ns=now_ns + way_ns)
        if self._pauses_ns:
            known_ns = now_ns - self._system.env.now_ns + way_ns + prices.client_turn_ns
            self._send_in(known_ns + self._pauses_ns.popleft())

    def finish(self, connection: Connection) -> None:
        pass

    reset = finish
