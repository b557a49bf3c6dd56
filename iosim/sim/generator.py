"""The load generator of a closed loop over loopback: one thread that does one thing at a time.

As that of real runs (`iosim.host.load`): it sends whatever is due, then takes all replies that have
come by now, then looks again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from iosim.sim.engine import Environment, call_in


class ClosedLoop:
    """Who sends the next request when."""

    def __init__(
        self,
        env: Environment,
        send: Callable[[int, int], None],
        send_ns: int,
        take_ns: int,
        pauses_ns: list[int],
    ) -> None:
        """`send` is told the number of a request and when it was due, as its send begins; `take_ns`
        is how long a reply takes; each request is due its pause after the reply before it."""
        self._env = env
        self._send = send
        self._send_ns = send_ns
        self._take_ns = take_ns
        self._pauses_ns = pauses_ns
        self._due: deque[tuple[int, int]] = deque()
        """Requests and when they are due, in the order in which that became known."""
        self._come: deque[tuple[int, int]] = deque()
        """Replies that have come, or are about to: when, and the request that follows or -1."""
        self._taking: deque[int] = deque()
        """What follows the replies that are being taken."""
        self._idle = True
        self._later_ns = 0
        """How much longer the send under way takes."""

    def start(self, numbers: Iterable[int]) -> None:
        """All of these are due now."""
        now_ns = self._env.now_ns
        self._due.extend((now_ns, number) for number in numbers)
        self._go_on()

    def replied(self, at_ns: int, following: int) -> None:
        """A reply comes, after which `following` is the client's next request, or -1."""
        self._come.append((at_ns, following))
        self._look_at(at_ns)

    def hold_up(self, ns: int) -> None:
        """The send under way takes longer."""
        self._later_ns += ns

    def _look_at(self, at_ns: int) -> None:
        call_in(self._env, at_ns - self._env.now_ns, self._look)

    def _look(self, _: object) -> None:
        if self._idle:
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next thing there is to do."""
        now_ns, due, come, taking = self._env.now_ns, self._due, self._come, self._taking
        if not taking and due and due[0][0] <= now_ns:
            due_ns, number = due.popleft()
            self._send(number, due_ns)
            self._be_busy(self._send_ns)
            return
        if not taking:
            while come and come[0][0] <= now_ns:
                taking.append(come.popleft()[1])
        if taking:
            self._be_busy(self._take_ns)
            return
        self._idle = True
        if due:
            self._look_at(due[0][0])

    def _be_busy(self, ns: int) -> None:
        self._idle = False
        call_in(self._env, ns, self._done)

    def _done(self, _: object) -> None:
        """A send or the taking of a reply is over."""
        if self._later_ns:
            later_ns, self._later_ns = self._later_ns, 0
            self._be_busy(later_ns)
            return
        if self._taking:
            following = self._taking.popleft()
            if following >= 0:
                self._due.append((self._env.now_ns + self._pauses_ns[following], following))
        self._go_on()
