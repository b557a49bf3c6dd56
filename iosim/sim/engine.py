"""What iosim needs of SimPy beyond its public parts."""

from __future__ import annotations

from collections.abc import Callable

import simpy
from simpy.events import NORMAL, URGENT

__all__ = ["Alarm", "call_in", "events_made"]


class Alarm(simpy.Event):
    """An event that one process waits for and somebody else sets to go off after a delay.

    `Event.succeed` takes no delay, and a `Timeout` to call it would be a second event.
    """

    def successor(self) -> Alarm:
        """A fresh alarm for whoever waits for this one, which then rings for nobody."""
        fresh = Alarm(self.env)
        fresh.callbacks, self.callbacks = self.callbacks, []
        return fresh

    def ring_in(self, delay_ns: int) -> None:
        self._ok = True
        self._value = None
        self.env.schedule(self, NORMAL, delay_ns)


def call_in(
    env: simpy.Environment, delay_ns: int, callback: Callable[[simpy.Event], object]
) -> None:
    """Call back after a delay, before anything that processes do at that instant.

    So a try made at the very time data arrives finds it.
    """
    event = simpy.Event(env)
    event._ok = True
    event._value = None
    assert event.callbacks is not None
    event.callbacks.append(callback)
    env.schedule(event, URGENT, delay_ns)


def events_made(env: simpy.Environment) -> int:
    """How many events have been scheduled so far (each look counts as one)."""
    return next(env._eid)
