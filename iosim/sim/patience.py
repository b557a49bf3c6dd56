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
from iosim.sim.engine import Pause
from iosim.sim.states import TaskState
from iosim.sim.system import System


class Patience:
    """How long clients wait for a reply when nothing more will be sent before it."""

    def __init__(self, system: System, clients: Clients, model: object, patience_ns: int) -> None:
        self._system = system
        self._clients = clients
        self._model = model
        self._patience_ns = patience_ns

    def wait(self) -> Generator[simpy.Event, Any, None]:
        """Wait as long as there is news; raises RunFailed when there has been none for too long."""
        env, clients = self._system.env, self._clients
        while clients.sending or env.now_ns - clients.news_ns < self._patience_ns:
            since_ns = env.now_ns if clients.sending else clients.news_ns
            yield Pause(env, since_ns + self._patience_ns)
        left, requests = clients.unanswered, self._system.workload.requests
        said = f"{left} of {requests} requests were not answered within"
        said += f" {self._patience_ns / 1e9:g} s"
        why = self._why(requests - left)
        raise RunFailed(f"{said}: {why}" if why else said)

    def _why(self, answered: int) -> str:
        connections = self._system.workload.connections
        states = {task.state for task in self._system.tasks if not task.helper}
        stands = Standstill(
            accepted=connections - self._clients.waiting,
            ended=states == {TaskState.EXITED},
            asleep=states <= {TaskState.SLEEPING, TaskState.EXITED},
            hint=None if isinstance(self._model, Model) else forgotten(self._model),
        )
        return stands.why(answered, connections, self._model)
