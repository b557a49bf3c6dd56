"""Scenarios on the simulated kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy
from conformance.scenario import REST, STEP, Names, Recorder, Scenario, TellingClient, Transcript
from round_costs import round_costs

from iosim.kernel import Call
from iosim.machine import Machine
from iosim.sim.cpu import Cpu, State, Task
from iosim.sim.engine import Environment
from iosim.sim.kernel import SimKernel
from iosim.sim.sockets import Connection, Listener, connect, deliver, hang_up
from iosim.sim.system import System
from iosim.sim.wakeups import WakeUps
from iosim.workload import Workload, stream


class Clients:
    """The clients' ends of the connections."""

    def __init__(self, system: System, listener: Listener) -> None:
        self._system = system
        self._listener = listener
        self._connections: list[Connection] = []
        self._received: list[int] = []
        system.transmit = self._transmit

    def _transmit(self, connection: Connection, nbytes: int, _: int) -> None:
        self._received[connection.client] += nbytes

    def connect(self) -> None:
        connection = Connection(len(self._connections), -1)
        self._connections.append(connection)
        self._received.append(0)
        connect(self._system, self._listener, connection)

    def send(self, connection: int, nbytes: int) -> None:
        deliver(self._system, self._connections[connection], nbytes)

    def recv(self, connection: int, nbytes: int) -> int:
        taken = min(nbytes, self._received[connection])
        self._received[connection] -= taken
        return taken

    def close(self, connection: int) -> None:
        hang_up(self._system, self._connections[connection])


class Simulated(Transcript):
    """One scenario on the simulated kernel."""

    def __init__(self, scenario: Scenario, kernel: type[SimKernel]) -> None:
        super().__init__()
        machine = Machine(**scenario.limits)
        workload = Workload()
        self._env = Environment()
        prices = round_costs().prices()
        wakeups = WakeUps(round_costs().wakeup, stream(1, "wakeups"))
        cpu = Cpu(self._env, machine, prices, wakeups)
        system = System(self._env, cpu, prices, machine, workload, workload.schedule(1))
        self._system = system
        listener = system.open(Listener())
        self._clients = TellingClient(Clients(system, listener), self)
        self._steps = iter(scenario.steps)
        self._paused: list[Task] = []

        def start(program: Callable[..., Call[None]], *args: Any) -> SimKernel:
            thread = kernel(system, f"{len(system.tasks)}")
            system.launch(thread, program(thread, *args))
            return thread

        def main(kernel: SimKernel) -> Call[None]:
            names = Names(listener.fd)
            yield from scenario.program(Recorder(kernel, self, names), listener.fd)
            self._over = True

        system.start = start
        self._over = False
        start(main)

    def pause(self, thread: Task) -> Call[None]:
        yield from thread.pay()
        self._paused.append(thread)
        yield from thread.sleep()

    def run(self) -> None:
        """Let the program and the clients act until nothing is left to do."""
        env, tasks = self._env, self._system.tasks
        while not self._over:
            asleep = all(task.state is State.SLEEPING for task in tasks)
            if not (asleep and self.at_rest()) or not self._act():
                try:
                    env.step()
                except simpy.core.EmptySchedule:
                    return

    def _act(self) -> bool:
        """At rest: let go on who waited for it, or take a step; False if there is none."""
        if not self.resting(REST):
            step = next(self._steps, None)
            assert step or not self.resting(STEP), "the program waits for a step that is not there"
            if step is None:
                return False
            step(self._clients)
        self.release()
        paused, self._paused = self._paused, []
        for task in paused:
            self._system.cpu.wake(task)
        return True
