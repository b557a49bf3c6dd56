"""The load generator and the way between it and the server.

The generator is one thread on a core of its own, as in a real run: it does one thing at a time,
send or, over loopback, take a reply, so a request may leave later than intended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any

import simpy

from iosim.errors import CLOSED_EARLY, RunFailed
from iosim.program import unasked
from iosim.sim.engine import Alarm, Environment, Pause, Timer, call_in
from iosim.sim.generator import ClosedLoop
from iosim.sim.nic import Card
from iosim.sim.sockets import Connection, Listener, connect, deliver, hang_up
from iosim.sim.system import System
from iosim.workload import Schedule


class Clients:
    """All clients of one run."""

    def __init__(self, system: System, schedule: Schedule, listener: Listener) -> None:
        workload, prices = system.workload, system.prices
        self._system = system
        self._records = system.records
        nic = system.machine.nic
        self._card = None if nic is None else Card(system, nic, self._crossed)
        if nic is None:
            # What arrives over loopback is on its socket at once.
            self._records.ready_ns = self._records.arrival_ns
        self._request_bytes = workload.request_bytes
        self._reply_bytes = workload.reply_bytes
        self._env: Environment = system.env
        self._connection_of = schedule.connection.tolist()
        self._intended_ns = schedule.intended_ns.tolist()
        self._send_ns = round(prices.client_send_ns + prices.copy_ns(workload.request_bytes))
        self._wake_ns = prices.client_wake_ns
        self._turn_ns = prices.client_turn_ns
        self._way_in_ns = round(prices.delivery_ns + prices.copy_ns(workload.request_bytes))
        self._way_out_ns = round(prices.reply_ns + prices.copy_ns(workload.reply_bytes))
        self._closed_loop = workload.arrivals == "closed"
        self._generator = None
        if self._closed_loop and nic is None:
            self._generator = ClosedLoop(
                self._env, self._send_now, self._send_ns, self._turn_ns, self._intended_ns
            )
        self._hang_up = False
        self._next = 0
        """Open loop: number of the request that is on its way."""
        self._arrival = Timer(self._env, self._arrive_next)
        self._sent_ns = 0
        """When the generator begins its last send, or in an open loop its next."""
        self._free_ns = 0
        """When it has nothing to do after that."""
        self._free_before_ns = 0
        """When it has nothing to do before that."""
        self.unanswered = len(self._connection_of)
        """Requests without a reply so far."""
        self.origin_ns = 0
        self.done = Alarm(self._env)
        self._first = schedule.first()
        # All of them will be there before the load: what they take is known from the start.
        system.memory.add("sockets", workload.connections)
        self._connections = [
            Connection(client, self._first.get(client, -1))
            for client in range(workload.connections)
        ]
        self._listener = listener
        self._to_connect: deque[Connection] = deque()
        listener.made_room = self._connect
        system.peer = self
        if not workload.connect_gap_ns:
            self._to_connect.extend(self._connections)
            self._connect()

    def _connect(self) -> None:
        """Connect one client after the other while there is room in the backlog.

        A client that met a full one would have to try again after a second, and so would those
        behind it (TCP_TIMEOUT_INIT in the kernel's include/net/tcp.h); a load generator avoids it.
        """
        waiting = self._to_connect
        while waiting and not (listener := self._listener.of_group(waiting[0])).full:
            connect(self._system, listener, waiting.popleft())

    @property
    def unconnected(self) -> int:
        """Clients that have found no room in the backlog so far."""
        return len(self._to_connect)

    @property
    def waiting(self) -> int:
        """Clients that the program has not accepted so far."""
        return self.unconnected + sum(len(one.backlog) for one in self._listener.group)

    def connect_in_turn(self) -> Generator[simpy.Event, Any, None]:
        """Open the connections one after the other, if that is how the workload wants them."""
        if gap_ns := self._system.workload.connect_gap_ns:
            for connection in self._connections:
                yield Pause(self._env, self._env.now_ns + gap_ns)
                self._to_connect.append(connection)
                self._connect()

    @property
    def drops(self) -> int:
        """Packets dropped by the network card."""
        return 0 if self._card is None else self._card.drops

    def start(self, hang_up: bool) -> None:
        """Begin the load now; `hang_up` closes every connection after its last reply."""
        self._hang_up = hang_up
        self.origin_ns = self._sent_ns = self._free_ns = self._env.now_ns
        self._system.start_counting()
        if self._generator is not None:
            self._generator.start(self._first.values())
        elif self._closed_loop:
            for number in self._first.values():
                self._send(number, self.origin_ns)
        else:
            self._send_next()

    def _send_next(self) -> None:
        """Open loop: have the next request sent when it is due or the generator is free."""
        number = self._next
        if number < len(self._intended_ns):
            sent_ns = self._send(number, self.origin_ns + self._intended_ns[number])
            if self._card is None:
                self._arrival.set(sent_ns + self._way_in_ns)

    def _arrive_next(self, _: object) -> None:
        arrival_ns = self._sent_ns + self._way_in_ns
        if arrival_ns > self._env.now_ns:
            # It has been postponed meanwhile.
            self._arrival.set(arrival_ns)
            return
        number = self._next
        self._next = number + 1
        self._arrive(number)
        self._send_next()

    def _crossed(self, number: int) -> None:
        """Network card: a request has come over the wire, for the first time or again."""
        if number == self._next and not self._closed_loop:
            self._next += 1
            self._send_next()

    def _send_now(self, number: int, due_ns: int) -> None:
        """Closed loop over loopback: the generator begins to send a request."""
        self._records.intended_ns[number] = due_ns
        self._records.sent_ns[number] = self._env.now_ns
        call_in(self._env, self._way_in_ns, lambda _: self._arrive(number))

    def _send(self, number: int, intended_ns: int) -> int:
        """Send a request at `intended_ns` or as soon as the generator is free; returns when."""
        free_ns, records = self._free_ns, self._records
        sent_ns = intended_ns if intended_ns > free_ns else free_ns  # max() takes much longer
        self._sent_ns = sent_ns
        self._free_before_ns = free_ns
        self._free_ns = sent_ns + self._send_ns
        records.intended_ns[number] = intended_ns
        records.sent_ns[number] = sent_ns
        if self._card is not None:
            connection = self._connections[self._connection_of[number]]
            self._card.request(connection, number, self._request_bytes, sent_ns)
        return sent_ns

    def _arrive(self, number: int) -> None:
        """Loopback: the request is on the server's machine."""
        connection = self._connections[self._connection_of[number]]
        self._records.arrival_ns[number] = self._env.now_ns
        if deliver(self._system, connection, self._request_bytes):
            if self._generator is not None:
                self._generator.hold_up(self._wake_ns)
            else:
                self._free_ns += self._wake_ns

    def transmit(self, connection: Connection, nbytes: int, now_ns: int) -> int:
        """The program hands `nbytes` of replies to a socket; the client reads all at once."""
        unsent = nbytes
        while unsent:
            number, sent = connection.answering, connection.sent
            if number == connection.reading:
                raise unasked(connection, nbytes, nbytes - unsent)
            if not sent:
                self._records.done_ns[number] = now_ns
            part = self._reply_bytes - sent
            if part > unsent:
                part = unsent
            unsent -= part
            if self._card is None:
                replied_ns = now_ns + self._way_out_ns
            else:
                replied_ns = self._card.reply(part, now_ns)
            if sent + part == self._reply_bytes:
                connection.sent = 0
                connection.answering = following = self._system.following[number]
                self._replied(number, following, replied_ns)
            else:
                connection.sent += part
        return nbytes

    def finish(self, connection: Connection) -> None:
        """The program ends its stream to a client, which must not wait for a reply then."""
        if connection.answering >= 0:
            self._env.event().fail(RunFailed(CLOSED_EARLY))

    reset = finish

    def _replied(self, number: int, following: int, replied_ns: int) -> None:
        """The whole reply is at the client at `replied_ns`; `following` is its next request."""
        self._records.replied_ns[number] = replied_ns
        if self._generator is not None:
            self._generator.replied(replied_ns, following)
        elif self._card is None:
            self._take(replied_ns)
        if following >= 0:
            if self._card is not None and self._closed_loop:
                due_ns = replied_ns + self._turn_ns + self._intended_ns[following]
                call_in(
                    self._env, due_ns - self._env.now_ns, lambda _: self._send(following, due_ns)
                )
        elif self._hang_up:
            self._hang_up_at(replied_ns, self._connections[self._connection_of[number]])
        self.unanswered -= 1
        if not self.unanswered:
            self.done.ring_at(replied_ns)

    def _take(self, replied_ns: int) -> None:
        """Open loop over loopback: the generator takes a reply as soon as it can."""
        if replied_ns >= self._sent_ns:
            self._free_ns = max(replied_ns, self._free_ns) + self._turn_ns
            return
        self._free_before_ns = max(replied_ns, self._free_before_ns) + self._turn_ns
        late_ns = self._free_before_ns - self._sent_ns
        if late_ns > 0:
            self._sent_ns += late_ns
            self._free_ns += late_ns
            self._records.sent_ns[self._next] += late_ns

    def _hang_up_at(self, now_ns: int, connection: Connection) -> None:
        delay_ns = now_ns - self._env.now_ns
        call_in(self._env, delay_ns, lambda _: hang_up(self._system, connection))
