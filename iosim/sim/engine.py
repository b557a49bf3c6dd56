"""What iosim needs of SimPy beyond its public parts."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, URGENT, EventPriority

__all__ = ["Alarm", "Environment", "Pause", "call_in", "events_made"]


class Environment(simpy.Environment):
    """SimPy's environment with a clock of whole nanoseconds in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    def jump(self, delay_ns: int) -> bool:
        """Move the clock on by `delay_ns` if nothing at all happens until then.

        Exactly what waiting for a `Pause` would do, without making one: it would be the next event.
        """
        now_ns = self.now_ns + delay_ns
        queue = self._queue
        if queue and queue[0][0] <= now_ns:
            return False
        self._now = self.now_ns = now_ns
        return True

    @property
    def scheduled(self) -> int:
        """How many events are still to come."""
        return len(self._queue)

    def step(self) -> None:
        """Process the next event."""
        if self._queue:
            self.now_ns = int(self._queue[0][0])
        super().step()

    def run_to(self, last: simpy.Event) -> bool:
        """Process events up to and with `last`; False if there are none left before it.

        `Environment.run` without its two calls per event.
        """
        queue = self._queue
        while last.callbacks is not None:
            if not queue:
                return False
            now_ns, _, _, event = heappop(queue)
            self._now = self.now_ns = int(now_ns)
            callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not event.defused:
                raise event._value
        return True


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
        """Go off after `delay_ns`."""
        _schedule(self, delay_ns, NORMAL)


class Pause(simpy.Event):
    """A `Timeout` in half the time: most events of a run are made here."""

    def __init__(self, env: simpy.Environment, delay_ns: int, priority: EventPriority = NORMAL):
        self.env = env
        self.callbacks: list[Callable[[Any], object]] = []  # type: ignore[assignment]
        _schedule(self, delay_ns, priority)


def _schedule(event: simpy.Event, delay_ns: int, priority: EventPriority) -> None:
    event._ok = True
    event._value = None
    env = event.env
    heappush(env._queue, (env._now + delay_ns, priority, next(env._eid), event))


def call_in(
    env: simpy.Environment, delay_ns: int, callback: Callable[[simpy.Event], object]
) -> None:
    """Call back after a delay, before anything that processes do at that instant.

    So a try made at the very time data arrives finds it.
    """
    Pause(env, delay_ns, URGENT).callbacks.append(callback)


def events_made(env: simpy.Environment) -> int:
    """How many events have been scheduled so far (each look counts as one)."""
    return next(env._eid)
