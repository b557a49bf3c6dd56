"""The load generator and the way between it and the server.

The generator is one thread on a core of its own, as in a real run: it cannot send two requests at
once, so a request may leave later than intended. Taking replies costs it nothing.
"""

from __future__ import annotations

from iosim.errors import CLOSED_EARLY, RunFailed
from iosim.sim.engine import Alarm, Environment, call_in
from iosim.sim.sockets import Connection, Listener, connect, deliver, hang_up
from iosim.sim.system import System
from iosim.workload import Schedule


class Clients:
    """All clients of one run."""

    def __init__(self, system: System, schedule: Schedule, listener: Listener) -> None:
        workload, prices = system.workload, system.prices
        self._system = system
        self._records = system.records
        self._nic = system.machine.nic
        self._request_bytes = workload.request_bytes
        self._reply_bytes = workload.reply_bytes
        self._env: Environment = system.env
        self._connection_of = schedule.connection.tolist()
        self._intended_ns = schedule.intended_ns.tolist()
        self._send_ns = round(
            prices.client_send_ns + prices.copy_ns_per_byte * workload.request_bytes
        )
        self._wake_ns = prices.client_wake_ns
        self._way_in_ns, self._way_out_ns = _ways(system)
        self._closed_loop = workload.arrivals == "closed"
        self._hang_up = False
        self._next = 0
        self._free_ns = 0
        """When the generator has finished its last send."""
        self._replies = 0
        self.origin_ns = 0
        self.done = Alarm(self._env)
        self._first = schedule.first()
        self._connections = [
            Connection(client, self._first.get(client, -1))
            for client in range(workload.connections)
        ]
        self._listener = listener
        self._connected = 0
        listener.made_room = self._connect
        self._connect()
        system.peer = self

    def _connect(self) -> None:
        """Connect one client after the other while there is room in the backlog.

        A client that met a full one would have to try again after a second, and so would those
        behind it (TCP_TIMEOUT_INIT in the kernel's include/net/tcp.h); a load generator avoids it.
        """
        while self.unconnected and not self._listener.full:
            connection = self._connections[self._connected]
            self._connected += 1
            connect(self._system, self._listener, connection)

    @property
    def unconnected(self) -> int:
        """Clients that have found no room in the backlog so far."""
        return len(self._connections) - self._connected

    @property
    def waiting(self) -> int:
        """Clients that the program has not accepted so far."""
        return self.unconnected + len(self._listener.backlog)

    @property
    def unanswered(self) -> int:
        """Requests without a reply so far."""
        return len(self._connection_of) - self._replies

    def start(self, hang_up: bool) -> None:
        """Begin the load now; `hang_up` closes every connection after its last reply."""
        self._hang_up = hang_up
        self.origin_ns = self._free_ns = self._env.now_ns
        self._system.start_counting()
        if self._closed_loop:
            for number in self._first.values():
                self._send_now(number, self.origin_ns)
        else:
            self._send_next()

    def _send_next(self) -> None:
        """Open loop: have the next request sent when it is due or the generator is free."""
        if self._next < len(self._intended_ns):
            arrival_ns = self._send(self._next, self.origin_ns + self._intended_ns[self._next])
            call_in(self._env, arrival_ns - self._env.now_ns, self._arrive_next)

    def _arrive_next(self, _: object) -> None:
        number, self._next = self._next, self._next + 1
        self._arrive(number)
        self._send_next()

    def _send_now(self, number: int, due_ns: int) -> None:
        """Closed loop: send a request that has become due."""
        arrival_ns = self._send(number, due_ns)
        call_in(self._env, arrival_ns - self._env.now_ns, lambda _: self._arrive(number))

    def _send(self, number: int, intended_ns: int) -> int:
        """Send a request at `intended_ns` or as soon as the generator is free; its arrival time."""
        sent_ns = max(intended_ns, self._free_ns)
        self._free_ns = sent_ns + self._send_ns
        records = self._records
        records.intended_ns[number] = intended_ns
        records.sent_ns[number] = sent_ns
        return sent_ns + self._way_in_ns

    def _arrive(self, number: int) -> None:
        """The request is on the server's machine."""
        now_ns = self._env.now_ns
        self._records.arrival_ns[number] = now_ns
        if self._nic is None:
            if self._deliver(number, now_ns):
                self._free_ns += self._wake_ns
            return
        system, prices = self._system, self._system.prices
        packets = self._nic.packets(self._request_bytes)
        work_ns = prices.irq_ns + packets * prices.softirq_ns_per_packet
        ready_ns = system.cpu.interrupt(system.cpu.cores[0], work_ns)
        call_in(self._env, ready_ns - now_ns, lambda _: self._deliver(number, ready_ns))

    def _deliver(self, number: int, now_ns: int) -> bool:
        """The request is on its socket; True if that woke an idle core."""
        self._records.ready_ns[number] = now_ns
        connection = self._connections[self._connection_of[number]]
        return deliver(self._system, connection, self._request_bytes)

    def transmit(self, connection: Connection, nbytes: int, now_ns: int) -> int:
        """The program hands `nbytes` of replies to a socket; the client reads all at once."""
        records, reply_bytes = self._records, self._reply_bytes
        taken = nbytes
        while nbytes:
            number = connection.answering
            if not connection.sent:
                records.done_ns[number] = now_ns
            part = min(nbytes, reply_bytes - connection.sent)
            nbytes -= part
            connection.sent += part
            if connection.sent == reply_bytes:
                connection.sent = 0
                connection.answering = self._system.following[number]
                self._replied(number, now_ns + self._way_out_ns)
        return taken

    def finish(self, connection: Connection) -> None:
        """The program ends its stream to a client, which must not wait for a reply then."""
        if connection.answering >= 0 and not self.done.triggered:
            self.done.fail(RunFailed(CLOSED_EARLY))

    reset = finish

    def _replied(self, number: int, replied_ns: int) -> None:
        """The whole reply is at the client at `replied_ns`."""
        self._records.replied_ns[number] = replied_ns
        delay_ns = replied_ns - self._env.now_ns
        following = self._system.following[number]
        if following >= 0 and self._closed_loop:
            due_ns = replied_ns + self._intended_ns[following]
            call_in(
                self._env, due_ns - self._env.now_ns, lambda _: self._send_now(following, due_ns)
            )
        elif following < 0 and self._hang_up:
            connection = self._connections[self._connection_of[number]]
            call_in(self._env, delay_ns, lambda _: hang_up(self._system, connection))
        self._replies += 1
        if self._replies == len(self._connection_of):
            self.done.ring_in(delay_ns)


def _ways(system: System) -> tuple[int, int]:
    """How long a request takes from send to the server, and a reply from send to the client."""
    workload, prices, nic = system.workload, system.prices, system.machine.nic
    if nic is None:
        return (
            round(prices.delivery_ns + workload.request_bytes * prices.copy_ns_per_byte),
            round(prices.reply_ns + workload.reply_bytes * prices.copy_ns_per_byte),
        )
    return (
        nic.latency_ns + nic.wire_ns(workload.request_bytes),
        nic.latency_ns + nic.wire_ns(workload.reply_bytes),
    )
