"""The clients: how they connect, what they send and when, and how replies reach them.

Over loopback one thread sends and takes for all of them (`iosim.sim.generator`), as in a real run,
so a request may leave later than intended. Behind a network card they are many machines, which
delay nobody but themselves.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from iosim.errors import CLOSED_EARLY, RunFailed
from iosim.program import unasked
from iosim.sim.engine import Alarm, Environment, Pause, call_in
from iosim.sim.generator import NOBODY, LoadGenerator
from iosim.sim.nic import Card
from iosim.sim.sockets import Connection, Listener, connect, deliver, hang_up
from iosim.sim.system import System
from iosim.workload import Schedule, ServiceOf

LOOK_NS = 100_000
"""How often clients look whether they can connect."""


class Clients:
    """All clients of one run.

    In a closed loop whoever is free takes the next request, unless `hang_up` gives each connection
    a share of its own. `who` has a request is a client there; else it is the request's number.
    """

    def __init__(
        self, system: System, schedule: Schedule, service: ServiceOf, listener: Listener
    ) -> None:
        """Connections are opened and requests sent as `schedule` says; `service` tells what those
        take that it does not know."""
        workload, prices, nic = system.workload, system.prices, system.machine.nic
        self._system = system
        self._env: Environment = system.env
        self._records = system.records
        self._schedule = schedule
        self._service = service
        self._listener = listener
        self._request_bytes = workload.request_bytes
        self._reply_bytes = workload.reply_bytes
        self._requests = workload.requests
        self._closed_loop = workload.arrivals == "closed"
        self._shared = False
        """Whether connections take their requests from one counter."""
        self._hang_up = False
        self._connection_of = schedule.connection.tolist()
        self._intended_ns = schedule.intended_ns.tolist()
        self._connect_ns = workload.connect_gap_ns + prices.client_connect_ns
        self._wake_ns = prices.client_wake_ns
        self._pause_ns = prices.client_turn_ns + workload.think_ns
        """From a reply at a client behind a card to its next request."""
        self._way_out_ns = round(prices.reply_ns + prices.copy_ns(workload.reply_bytes))
        copy_ns = prices.copy_ns(workload.request_bytes)
        self._generator = LoadGenerator(
            system.env,
            self._arrive,
            requests=workload.requests,
            send_ns=round(prices.client_send_ns + copy_ns),
            way_ns=round(prices.delivery_ns + copy_ns),
            take_ns=prices.client_turn_ns,
            pause_ns=workload.think_ns,
        )
        self._card = None if nic is None else Card(system, nic, self._crossed)
        if nic is None:
            # What arrives over loopback is on its socket at once.
            self._records.ready_ns = self._records.arrival_ns
        self._thinking = 0
        """Clients behind a card whose next request is due some time."""
        self._sent = 0
        """Requests sent so far."""
        self._served: dict[int, int] = {}
        """By client: how many requests it has taken from the counter."""
        self.unanswered = workload.requests
        """Requests without a reply so far."""
        self.news_ns = 0
        """When the last request was sent, or the last reply known of."""
        self.origin_ns = 0
        self.done = Alarm(self._env)
        # All of them will be there before the load: what they take is known from the start.
        system.memory.add("sockets", workload.connections)
        self._connections = [Connection(client) for client in range(workload.connections)]
        self.unconnected = workload.connections
        """Clients that have not been able to connect so far."""
        system.peer = self

    @property
    def waiting(self) -> int:
        """Clients that the program has not accepted so far."""
        return self.unconnected + sum(len(one.backlog) for one in self._listener.group)

    @property
    def drops(self) -> int:
        """Packets dropped by the network card."""
        return 0 if self._card is None else self._card.drops

    @property
    def busy_ns(self) -> int:
        """For how long the load generator has been sending and taking; behind a card it is none."""
        return self._generator.busy_ns

    @property
    def sending(self) -> bool:
        """Whether more will be sent before a reply comes, or again."""
        if self._card is None:
            return not self._generator.waiting
        if self._card.sending:
            return True
        return self._thinking > 0 if self._closed_loop else self._sent < self._requests

    def connect(self, patience_ns: int) -> Generator[simpy.Event, Any, None]:
        """Open the connections one after the other.

        A client that met a full backlog would have to try again after a second, and so would those
        behind it (TCP_TIMEOUT_INIT in the kernel's include/net/tcp.h). A load generator avoids it
        and waits for room, for `patience_ns` at most.
        """
        env = self._env
        for connection in self._connections:
            yield Pause(env, env.now_ns + self._connect_ns)
            since_ns = env.now_ns
            while (listener := self._listener.of_group(connection)).full:
                if env.now_ns - since_ns >= patience_ns:
                    return
                yield Pause(env, env.now_ns + LOOK_NS)
            connect(self._system, listener, connection)
            self.unconnected -= 1

    def start(self, hang_up: bool) -> None:
        """Begin the load now; `hang_up` closes every connection after its last reply."""
        self._hang_up = hang_up
        self._shared = self._closed_loop and not hang_up
        self.origin_ns = self.news_ns = self._env.now_ns
        self._system.start_counting()
        first = self._schedule.first()
        if self._shared:
            self._system.following = [NOBODY] * self._requests
        else:
            for client, number in first.items():
                connection = self._connections[client]
                connection.reading = connection.answering = number
        if self._closed_loop:
            for client, number in first.items():
                self._be_due(self.origin_ns, client if self._shared else number)
        else:
            self._be_due(self.origin_ns + self._intended_ns[0], 0)
        if self._card is None:
            self._generator.start()

    def _be_due(self, due_ns: int, who: int) -> None:
        """A request is to be sent then, or as soon as possible."""
        if self._card is None:
            self._generator.be_due(due_ns, who)
        else:
            self._send_over_wire(who, due_ns)

    def _begin(self, who: int, due_ns: int, sent_ns: int) -> tuple[int, Connection]:
        """A request is sent: its number and its connection."""
        number = who
        if self._shared:
            number = self._sent
            served = self._served.get(who, 0)
            self._served[who] = served + 1
            self._connection_of[number] = self._records.connection[number] = who
            self._system.service_ns[number] = self._service(who, served)
        connection = self._connections[self._connection_of[number]]
        if self._shared:
            connection.reading = connection.answering = number
        self._sent += 1
        self._records.intended_ns[number] = due_ns
        self._records.sent_ns[number] = sent_ns
        self.news_ns = self._env.now_ns
        return number, connection

    def _follow(self) -> None:
        """Open loop: the next request is due some time."""
        if self._sent < self._requests and not self._closed_loop:
            self._be_due(self.origin_ns + self._intended_ns[self._sent], self._sent)

    # --- over loopback ---------------------------------------------------------------------------

    def _arrive(self, who: int, due_ns: int, sent_ns: int) -> int:
        """A request is on the server's machine; how much longer that has kept the generator."""
        number, connection = self._begin(who, due_ns, sent_ns)
        self._records.arrival_ns[number] = self._env.now_ns
        woke = deliver(self._system, connection, self._request_bytes, number)
        self._follow()
        return self._wake_ns if woke else 0

    # --- behind a network card -------------------------------------------------------------------

    def _send_over_wire(self, who: int, sent_ns: int) -> None:
        """Hand a request to the wire, which is told of it before it is sent."""
        assert self._card is not None
        number, connection = self._begin(who, sent_ns, sent_ns)
        self._card.request(connection, number, self._request_bytes, sent_ns)

    def _crossed(self, number: int) -> None:
        """A request has come over the wire, for the first time or again."""
        if number == self._sent - 1:
            self._follow()

    def _think(self, replied_ns: int, who: int) -> None:
        """A client has its reply; so long after that it sends its next request."""
        self._thinking += 1
        due_ns = replied_ns + self._pause_ns

        def send(_: object) -> None:
            self._thinking -= 1
            if not self._shared or self._sent < self._requests:
                self._send_over_wire(who, due_ns)

        call_in(self._env, due_ns - self._env.now_ns, send)

    # --- what the server sends, see `iosim.sim.system.Peer` --------------------------------------

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
                self._replied(connection, number, following, replied_ns)
            else:
                connection.sent += part
        return nbytes

    def finish(self, connection: Connection) -> None:
        """The program ends its stream to a client, which must not wait for a reply then."""
        if connection.answering >= 0:
            self._env.event().fail(RunFailed(CLOSED_EARLY))

    reset = finish

    def _replied(
        self, connection: Connection, number: int, following: int, replied_ns: int
    ) -> None:
        """The whole reply is at the client at `replied_ns`; `following` is its next request, if
        that is known."""
        self._records.replied_ns[number] = replied_ns
        self.news_ns = self._env.now_ns
        who = NOBODY
        if self._closed_loop:
            who = connection.client if self._shared else following
        if self._card is None:
            self._generator.replied(replied_ns, who)
        elif who != NOBODY:
            self._think(replied_ns, who)
        if self._hang_up and following < 0:
            delay_ns = replied_ns - self._env.now_ns
            call_in(self._env, delay_ns, lambda _: hang_up(self._system, connection))
        self.unanswered -= 1
        if not self.unanswered:
            self.done.ring_at(replied_ns)
