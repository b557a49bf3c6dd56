"""Whether the tick of an idle core goes on, which makes waking it up cheaper.

A core that idles stops its tick, and starts it again when it wakes up, unless a timer is due by the
next tick anyway (NO_HZ_IDLE, timers/no_hz.rst of the kernel's documentation; tick_nohz_next_event
in kernel/time/tick-sched.c). On the virtual machine where it was tried that took 5 us of processor
time, and made a thread 5 us later. Many connections have it go on: after each message TCP sets a
timer that would send the acknowledgement, if no message the other way takes it along before.
"""

from __future__ import annotations

from typing import Protocol

from iosim.sim.engine import Environment

ACK_DELAY_NS = 40_000_000
"""TCP_DELACK_MIN in the kernel's include/net/tcp.h. A timer is not taken back when its work is done
before, only set anew by the next message (sk_reset_timer)."""
_MOST = 64
"""Ticks that timers are remembered of before the past ones are forgotten."""


class Acknowledging(Protocol):
    """A connection."""

    ack_tick: int
    """When its timer is due, or was."""


class Ticks:
    """The timers that are due at each tick. Those of all cores count for each."""

    def __init__(self, env: Environment, tick_ns: int) -> None:
        self._env = env
        self._tick_ns = tick_ns
        self._due: dict[int, int] = {}
        """How many, by the number of the tick."""

    def go_on(self, idle_since_ns: int) -> bool:
        """Whether they do on a core that has idled since then."""
        return self._due.get(idle_since_ns // self._tick_ns + 1, 0) > 0

    def set(self, due_ns: int) -> int:
        """Set a timer, to be taken back once it has gone off; returns its tick."""
        tick = -(-due_ns // self._tick_ns)
        self._add(tick)
        return tick

    def take_back(self, tick: int) -> None:
        """Of a timer that is due by that tick."""
        if tick in self._due:
            self._due[tick] -= 1

    def delay_ack(self, connection: Acknowledging) -> None:
        """A message has come or gone; its timer is due at the first tick after the delay."""
        tick = (self._env.now_ns + ACK_DELAY_NS) // self._tick_ns + 1
        before = connection.ack_tick
        if tick == before:
            return
        connection.ack_tick = tick
        # As `take_back` and `_add` do, in less time.
        due = self._due
        if before in due:
            due[before] -= 1
        if tick in due:
            due[tick] += 1
        else:
            self._add(tick)

    def _add(self, tick: int) -> None:
        due = self._due
        if tick in due:
            due[tick] += 1
            return
        if len(due) >= _MOST:
            past = self._env.now_ns // self._tick_ns
            self._due = due = {at: count for at, count in due.items() if at > past}
        due[tick] = 1
