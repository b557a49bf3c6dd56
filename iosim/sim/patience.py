"""Gives up a simulated run in which no more replies come, as the load generator of a real run does.

All threads of the program may sleep for good, or have returned; or time passes, and the program
still answers nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from iosim.errors import RunFailed
from iosim.forgotten import forgotten
from iosim.models import Model
from iosim.program import Standstill
from iosim.sim.clients import Clients
from iosim.sim.engine import call_last
from iosim.sim.states import TaskState
from iosim.sim.system import System
from iosim.workload import Schedule

PATIENCE_NS = 10_000_000_000
"""How long clients wait for any reply, beyond what requests and clients take by themselves."""


class Patience:
    """Looks at times whether there has been a reply since it last did."""

    def __init__(self, system: System, clients: Clients, schedule: Schedule, model: object) -> None:
        self._system = system
        self._clients = clients
        self._model = model
        self._last_due_ns = int(schedule.intended_ns.max())
        """Open loop: when the last request is due. Closed: how long clients think."""
        self._unanswered = clients.unanswered
        self._ns = PATIENCE_NS + int(schedule.service_ns.sum())
        if system.workload.arrivals == "closed":
            self._ns += self._last_due_ns

    def after(self, start: Generator[simpy.Event, Any, None]) -> Generator[simpy.Event, Any, None]:
        """Start the load, and wait from then on."""
        yield from start
        self._look_in(self._last_due_ns + self._ns)

    def _look_in(self, ns: int) -> None:
        env = self._system.env
        call_last(env, env.now_ns + ns, self._look)

    def _look(self, _: object) -> None:
        left = self._clients.unanswered
        if left == self._unanswered:
            raise RunFailed(self.why())
        self._unanswered = left
        self._look_in(self._ns)

    def why(self) -> str:
        """Why the remaining requests are given up."""
        left, requests = self._clients.unanswered, self._system.workload.requests
        connections = self._system.workload.connections
        states = {task.state for task in self._system.tasks if not task.helper}
        stands = Standstill(
            accepted=connections - self._clients.waiting,
            ended=states == {TaskState.EXITED},
            asleep=states <= {TaskState.SLEEPING, TaskState.EXITED},
            hint=None if isinstance(self._model, Model) else forgotten(self._model),
        )
        why = stands.why(requests - left, connections, self._model)
        if not (stands.ended or stands.asleep):
            why = f"no reply for {self._ns / 1e9:.0f} s of simulated time; {why}".removesuffix("; ")
        return f"{left} of {requests} requests can never be answered: {why}"
