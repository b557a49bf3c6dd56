"""The load generator over loopback: one thread that does one thing at a time.

As that of real runs (`iosim.host.load`): it sends whatever is due, the earliest first, then takes
all replies that have come by now, then looks again.

What it does is worked out when it matters: an event of its own happens only when a request arrives.
Until then replies may come that it takes before that request, so when a send begins is certain only
afterwards; nothing can notice it earlier.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush

import simpy

from iosim.sim.engine import Environment, Timer

NEVER_NS = 2**63
NOBODY = -1


class LoadGenerator:
    """The thread: what it has to do, and when it does it."""

    def __init__(
        self,
        env: Environment,
        arrive: Callable[[int, int, int], int],
        *,
        requests: int,
        send_ns: int,
        way_ns: int,
        take_ns: int,
        pause_ns: int,
    ) -> None:
        """`arrive` is told when a request arrives of whom it is, when it was due and when it was
        sent, and returns how much longer that has kept the generator.

        A send takes `send_ns`, and its request arrives `way_ns` after the send began; a reply takes
        `take_ns`, and `pause_ns` after that the next request is due. It sends so many `requests`.
        """
        self._env = env
        self._on_arrival = arrive
        self._send_ns = send_ns
        self._way_ns = way_ns
        self._take_ns = take_ns
        self._pause_ns = pause_ns
        self.left = requests
        """Requests that are still to be sent."""
        self._due: list[tuple[int, int, int]] = []
        """A heap: when a request is due, its place among all, and whose it is."""
        self._places = 0
        self._come: deque[tuple[int, int]] = deque()
        """Replies that have come, or are about to: when, and who has a request after that."""
        self._followed = 0
        """How many of them have a request after that."""
        self._free_ns = 0
        """When the last thing that has surely been begun is over."""
        self.busy_ns = 0
        """For how long it has been sending and taking."""
        self._next = Timer(env, self._look)
        self._next_ns = NEVER_NS
        """When it goes off."""

    @property
    def waiting(self) -> bool:
        """Whether nothing will be sent before a reply comes."""
        return not self._due

    def start(self) -> None:
        """Begin now with what is due."""
        self._free_ns = self._env.now_ns
        self._foresee()

    def be_due(self, due_ns: int, who: int) -> None:
        """A request is due then."""
        heappush(self._due, (due_ns, self._places, who))
        self._places += 1

    def replied(self, at_ns: int, who: int) -> None:
        """A reply comes then, after which a request of `who` is due, unless that is `NOBODY`."""
        if not self.left:
            who = NOBODY
        self._come.append((at_ns, who))
        if who != NOBODY:
            self._followed += 1
            begin_ns = at_ns if at_ns > self._free_ns else self._free_ns
            self._look_at(begin_ns + self._take_ns + self._pause_ns + self._way_ns)

    def _look_at(self, at_ns: int) -> None:
        """Look at that time at the latest."""
        if at_ns < self._next_ns:
            if self._next_ns != NEVER_NS:
                self._next = Timer(self._env, self._look)
            self._next_ns = at_ns
            self._next.set(at_ns)

    def _look(self, timer: simpy.Event) -> None:
        if timer is not self._next:
            return
        self._next_ns = NEVER_NS
        self._catch_up()
        due, sent_ns = self._due, self._free_ns
        # Only now is it sure that nothing has come between.
        if due and due[0][0] <= sent_ns and sent_ns + self._way_ns == self._env.now_ns:
            due_ns, _, who = heappop(due)
            self.left -= 1
            if not self.left:
                due.clear()
            later_ns = self._on_arrival(who, due_ns, sent_ns)
            self._free_ns = sent_ns + self._send_ns + later_ns
            self.busy_ns += self._send_ns + later_ns
        self._foresee()

    def _catch_up(self) -> None:
        """Take the replies that are taken before the next send, as far as that is sure by now."""
        now_ns, due, come = self._env.now_ns, self._due, self._come
        while True:
            free_ns = self._free_ns
            if due and due[0][0] <= free_ns:
                return
            if come and come[0][0] <= free_ns:
                if free_ns > now_ns:
                    return  # More may come by then.
                self._take(free_ns)
                continue
            idle_to_ns = NEVER_NS
            if due:
                idle_to_ns = due[0][0]
            if come and come[0][0] < idle_to_ns:
                idle_to_ns = come[0][0]
            if idle_to_ns > now_ns:
                return
            self._free_ns = idle_to_ns

    def _take(self, now_ns: int) -> None:
        """Take all replies that have come by then, one after the other."""
        come = self._come
        while come and come[0][0] <= now_ns:
            _, who = come.popleft()
            self._free_ns += self._take_ns
            self.busy_ns += self._take_ns
            if who != NOBODY:
                self._followed -= 1
                if self.left:
                    self.be_due(self._free_ns + self._pause_ns, who)

    def _foresee(self) -> None:
        """Look again when the next request arrives at the earliest."""
        free_ns, earliest_ns = self._free_ns, NEVER_NS
        if self._due:
            due_ns = self._due[0][0]
            earliest_ns = due_ns if due_ns > free_ns else free_ns
        if self._followed and self.left:
            at_ns = self._come[0][0]
            taken_ns = (at_ns if at_ns > free_ns else free_ns) + self._take_ns
            if taken_ns + self._pause_ns < earliest_ns:
                earliest_ns = taken_ns + self._pause_ns
        if earliest_ns != NEVER_NS:
            self._look_at(earliest_ns + self._way_ns)
