"""How fast the server's core runs during a real run, and what the server has used of it by then.

The server looks itself, every few milliseconds at most and when it has just sent a reply. A process
of its own for that would wake the core up when it idles, and what a wake-up takes depends on that.
"""

from __future__ import annotations

import math
from threading import Lock
from time import process_time_ns, thread_time_ns

from iosim.host.pulse import pulse_ns

GAP_NS = 4_000_000
"""A core's slow spells last for 10 ms and more, and a look takes about 5 us."""


class Meter:
    """The looks of one server; until it is started there are none."""

    def __init__(self) -> None:
        self.due_ns: float = math.inf
        """When to look next."""
        self.seen: list[tuple[int, int, int]] = []
        """Rows of `iosim.results.PULSE`, on the clocks of this process."""
        self._spent_ns = 0
        self._looking = Lock()

    def start(self) -> None:
        """Look from now on."""
        self.due_ns = 0

    def look(self, now_ns: int) -> None:
        """Take a pulse, unless another thread is about it, or has taken one since `now_ns`."""
        if not self._looking.acquire(blocking=False):
            return
        try:
            if now_ns < self.due_ns:
                return
            self.due_ns = now_ns + GAP_NS
            used_ns, began_ns = process_time_ns(), thread_time_ns()
            self.seen.append((now_ns, pulse_ns(), used_ns - self._spent_ns))
            self._spent_ns += thread_time_ns() - began_ns
        finally:
            self._looking.release()
