"""Scenarios on the simulated kernel."""

from __future__ import annotations

import simpy
from conformance.scenario import (
    REPLY_BYTES,
    REQUEST_BYTES,
    REST,
    STEP,
    Names,
    Recorder,
    Scenario,
    TellingClient,
    Transcript,
)
from round_costs import round_costs

from iosim.kernel import ECONNRESET, EPIPE, Call
from iosim.machine import Machine
from iosim.sim.boot import boot
from iosim.sim.cpu import SLEEPING, Task
from iosim.sim.engine import call_in
from iosim.sim.kernel import SimKernel
from iosim.sim.sockets import Connection, Listener, connect, deliver, drain, hang_up, reset
from iosim.sim.states import TaskState
from iosim.sim.system import System
from iosim.workload import Workload


class End:
    """The client's end of a connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.connected = False
        self.buffered = 0
        self.ended = False
        """Whether nothing comes after what is buffered."""
        self.error = 0
        self.shut = False
        """Whether it has ended its own stream."""
        self.closed = False


class Clients:
    """The clients' ends of the connections; a `Peer` that reads only when it is told to."""

    RECEIVE_BUFFER_BYTES = 131_072

    def __init__(self, system: System, listener: Listener) -> None:
        self._system = system
        self._listener = listener
        self._ends: list[End] = []
        system.peer = self

    # --- what the server's kernel sends ---------------------------------------------------------

    def transmit(self, connection: Connection, nbytes: int, now_ns: int) -> int:
        end = self._ends[connection.client]
        if end.closed:
            reset(self._system, connection)
            return nbytes
        taken = min(nbytes, self.RECEIVE_BUFFER_BYTES - end.buffered)
        end.buffered += taken
        return taken

    def finish(self, connection: Connection) -> None:
        self._ends[connection.client].ended = True

    def reset(self, connection: Connection) -> None:
        end = self._ends[connection.client]
        end.error = EPIPE if end.ended else ECONNRESET
        end.ended = True

    # --- the steps ------------------------------------------------------------------------------

    def connect(self) -> None:
        self.start_connect()
        assert self._ends[-1].connected, "the backlog is full: use start_connect"

    def start_connect(self) -> None:
        end = End(Connection(len(self._ends)))
        self._ends.append(end)
        self._try_to_connect(end)

    def _try_to_connect(self, end: End) -> None:
        """Join the backlog, or have the SYN dropped and send another after a second (tcp(7))."""
        listener = self._listener.of_group(end.connection)
        if listener.full:
            call_in(self._system.env, 1_000_000_000, lambda _: self._try_to_connect(end))
        else:
            end.connected = True
            connect(self._system, listener, end.connection)

    def finish_connect(self, connection: int) -> None:
        while not self._ends[connection].connected:
            self._system.env.step()

    def send(self, connection: int, nbytes: int) -> int | None:
        end = self._ends[connection]
        if end.error:
            error, end.error = end.error, 0
            return error
        deliver(self._system, end.connection, nbytes)
        return None

    def start_send(self, connection: int, nbytes: int) -> None:
        self.send(connection, nbytes)

    def sending(self, connection: int) -> bool:
        return self._ends[connection].connection.unread > self._system.receive_buffer_bytes

    def recv(self, connection: int, nbytes: int) -> int:
        end, left = self._ends[connection], nbytes
        while left and (end.buffered or not end.ended):
            if not end.buffered:
                self._system.env.step()
            taken = min(left, end.buffered)
            end.buffered -= taken
            left -= taken
            drain(self._system, end.connection)
        if left == nbytes and end.error == ECONNRESET:
            end.error = 0
            return ECONNRESET
        return nbytes - left

    def shutdown(self, connection: int) -> None:
        end = self._ends[connection]
        end.shut = True
        hang_up(self._system, end.connection)

    def close(self, connection: int) -> None:
        end = self._ends[connection]
        end.closed = True
        if end.buffered:
            reset(self._system, end.connection)
        elif not end.shut:
            hang_up(self._system, end.connection)

    def abort(self, connection: int) -> None:
        end = self._ends[connection]
        end.closed = True
        reset(self._system, end.connection)


class Simulated(Transcript):
    """One scenario on the simulated kernel."""

    def __init__(self, scenario: Scenario, kernel: type[SimKernel]) -> None:
        super().__init__()
        machine = Machine(**scenario.limits)
        workload = Workload(request_bytes=REQUEST_BYTES, reply_bytes=REPLY_BYTES)
        system = boot(round_costs(), machine, workload, workload.schedule(1), 1, kernel=kernel)
        self._system = system
        self._env = system.env
        listener = system.open(Listener(machine.backlog))
        self._clients = TellingClient(Clients(system, listener), self)
        self._steps = iter(scenario.steps)
        self._paused: dict[str, Task] = {}

        def main(kernel: SimKernel) -> Call[None]:
            names = Names(listener.fd)
            yield from scenario.run(Recorder(kernel, self, names), listener.fd)
            self._over = True

        self._over = False
        system.start(main)

    def pause(self, thread: str, kernel: Task) -> Call[None]:
        yield from kernel.pay()
        self._paused[thread] = kernel
        yield from kernel.sleep()

    def run(self) -> None:
        """Let the program and the clients act until nothing is left to do."""
        env, tasks = self._env, self._system.tasks
        while not self._over:
            asleep = all(task.state in (SLEEPING, TaskState.EXITED) for task in tasks)
            if not (asleep and self.at_rest()) or not self._act():
                try:
                    env.step()
                except simpy.core.EmptySchedule:
                    return

    def _act(self) -> bool:
        """At rest: let go on who waited for it, or take a step; False if there is none."""
        waiting_for, step = REST if self.resting(REST) else STEP, None
        if waiting_for == STEP:
            step = next(self._steps, None)
            assert step or not self.resting(STEP), "the program waits for a step that is not there"
            if step is None:
                return False
        # Those that come to wait while the step is taken wait for the next one.
        threads = self.release(waiting_for)
        if step is not None:
            step(self._clients)
        for thread in threads:
            self._system.cpu.wake(self._paused.pop(thread))
        return True
