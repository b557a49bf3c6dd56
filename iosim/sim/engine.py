"""What iosim needs of SimPy beyond its public parts."""

from __future__ import annotations

from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Any

import simpy
from simpy.events import NORMAL, URGENT, EventPriority

from iosim.program import not_a_call

__all__ = ["FIRST", "Alarm", "Environment", "Pause", "Process", "Timer", "call_in", "events_made"]

_TOLD_AFTER = 10_000
"""Events, which take some hundredths of a second."""

FIRST = EventPriority(URGENT - 1)
"""The priority of what is there before anything else of its instant looks."""


class Environment(simpy.Environment):
    """SimPy's environment with a clock of whole nanoseconds in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = 0

    @property
    def now(self) -> int:
        """The clock, as SimPy calls it."""
        return self.now_ns

    def schedule(
        self, event: simpy.Event, priority: EventPriority = NORMAL, delay: float = 0
    ) -> None:
        """Have an event happen after a delay of whole nanoseconds.

        If it has failed, it raises that itself, so that `run_to` need not ask each event.
        """
        if not event._ok:
            event.callbacks.append(_raise)
        heappush(self._queue, (self.now_ns + delay, priority, next(self._eid), event))

    def jump(self, to_ns: int) -> bool:
        """Move the clock on if nothing at all happens until then.

        Exactly what waiting for a `Pause` would do, without making one: it would be the next event.
        """
        queue = self._queue
        if queue and queue[0][0] <= to_ns:
            return False
        self.now_ns = to_ns
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

    def run_to(self, last: simpy.Event, told: Callable[[], object] | None = None) -> bool:
        """Process events up to and with `last`; False if there are none left before it.

        `Environment.run` without its two calls per event. Every so many events, `told` is called.
        """
        queue: list[tuple[int, EventPriority, int, simpy.Event]] = self._queue  # type: ignore[assignment]
        while queue:
            for _turn in range(_TOLD_AFTER):
                self.now_ns, _, _, event = heappop(queue)
                callbacks, event.callbacks = event.callbacks, None  # type: ignore[assignment]
                for callback in callbacks:
                    callback(event)
                if event is last:
                    return True
                if not queue:
                    break
            if told is not None:
                told()
        return False


def _raise(event: simpy.Event) -> None:
    """What has failed fails the run, unless somebody has dealt with it."""
    if not event.defused:
        raise event._value


class Alarm(simpy.Event):
    """An event that one process waits for and somebody else sets to go off at some time.

    `Event.succeed` takes no delay, and a `Timeout` to call it would be a second event.
    """

    _ok, _value = True, None

    def successor(self) -> Alarm:
        """A fresh alarm for whoever waits for this one, which then rings for nobody."""
        fresh = Alarm(self.env)
        fresh.callbacks, self.callbacks = self.callbacks, []
        return fresh

    def renew(self) -> None:
        """Be ready to ring again, for whoever will wait from now on."""
        self.callbacks = []

    def ring_at(self, at_ns: int) -> None:
        """Go off at that time."""
        env = self.env
        heappush(env._queue, (at_ns, NORMAL, next(env._eid), self))


class Process(simpy.Process):
    """A process that begins when an event happens: without one of its own to begin with."""

    def __init__(self, generator: Generator[simpy.Event, Any, Any], first: simpy.Event) -> None:
        self.env = first.env
        self.callbacks: list[Callable[[Any], object]] = []  # type: ignore[assignment]
        self._generator = generator
        self._target = first
        self._go_on = self._resume
        """A method would be bound anew for each event."""
        first.callbacks.append(self._go_on)

    def _resume(self, event: simpy.Event) -> None:
        """SimPy's without what is not used here: values of events, their failures, interrupts."""
        try:
            target = self._generator.send(None)
        except StopIteration as end:
            self.succeed(end.value)
        else:
            try:
                target.callbacks.append(self._go_on)
            except AttributeError:
                # What waits is a program, which takes this for an error in its own line.
                self._generator.throw(not_a_call(target))


class Pause(simpy.Event):
    """A `Timeout` in half the time: most events of a run are made here."""

    _ok, _value = True, None

    env: Environment

    def __init__(self, env: Environment, until_ns: int) -> None:
        self.env = env
        self.callbacks: list[Callable[[Any], object]] = []  # type: ignore[assignment]
        heappush(env._queue, (until_ns, NORMAL, next(env._eid), self))


class Timer(simpy.Event):
    """An event that calls back whenever it goes off, and is set anew for each time.

    It comes before anything that processes do at that instant, so a try made at the very time data
    arrives finds it.
    """

    _ok, _value = True, None

    def __init__(
        self,
        env: Environment,
        callback: Callable[[simpy.Event], object],
        priority: EventPriority = URGENT,
    ) -> None:
        self.env = env
        self._callbacks: list[Callable[[Any], Any]] = [callback]
        self._priority = priority

    def set(self, at_ns: int) -> None:
        """Go off at that time; once is enough until then."""
        self.callbacks = self._callbacks
        env = self.env
        heappush(env._queue, (at_ns, self._priority, next(env._eid), self))


def call_in(env: Environment, delay_ns: int, callback: Callable[[simpy.Event], object]) -> None:
    """Call back after a delay, as a `Timer` does."""
    Timer(env, callback).set(env.now_ns + delay_ns)


def events_made(env: simpy.Environment) -> int:
    """How many events have been scheduled so far (each look counts as one)."""
    return next(env._eid)
