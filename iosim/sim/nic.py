"""The network card's wire: packets, lost packets, and each connection's bytes in order.

What TCP does beyond that is left out, since the requests simulated here take a few packets: a
message leaves in one piece, without a congestion window; a loss is noticed by timeout and not by
the duplicate acknowledgements of later packets; acknowledgements occupy neither link nor processor.
After a timeout a client sends one lost packet at a time, each when the one before is acknowledged:
the window of one packet that RFC 5681 begins again with, though it would grow.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import gcd

from iosim.machine import Nic
from iosim.sim.engine import FIRST, Environment, Timer
from iosim.sim.memo import Memo
from iosim.sim.napi import Ksoftirqd, RxQueue
from iosim.sim.sockets import Connection, deliver, spread
from iosim.sim.system import System

_RETRANSMIT_MAX_NS = 120_000_000_000
"""TCP_RTO_MAX of Linux."""


class Link:
    """One direction of the wire: packets take it one after the other."""

    def __init__(self, nic: Nic) -> None:
        common = gcd(nic.link_bits_per_s, 1_000_000_000)
        self._ticks_per_ns = nic.link_bits_per_s // common
        """Ticks are so short that a packet takes a whole number of them: roundings would add up to
        a link that is faster than it is."""
        ticks_per_bit = 1_000_000_000 // common
        self._latency_ns = nic.latency_ns
        self._length = Memo(lambda payload_bytes: nic.packet_bits(payload_bytes) * ticks_per_bit)
        """How many ticks a packet occupies the link, by its payload."""
        self._free = 0
        """The tick from which on the link is free."""

    def carry(self, now_ns: int, payload_bytes: int) -> int:
        """Send a packet as soon as the link is free; when it is at the other end."""
        begin = now_ns * self._ticks_per_ns
        if begin < self._free:
            begin = self._free
        self._free = free = begin + self._length[payload_bytes]
        return free // self._ticks_per_ns + self._latency_ns


class Uplink(Link):
    """The direction to the server. It is told of packets before they are sent, so that each has
    one event only: its arrival."""

    def __init__(self, nic: Nic, env: Environment, arrive: Callable[[Packet], None]) -> None:
        super().__init__(nic)
        self._env = env
        self._on_arrival = arrive
        self._packets: deque[tuple[int, Packet]] = deque()
        """When each is sent, in that order; the first is the next to arrive."""
        self._free_before = 0
        """What `_free` was before the first of them."""
        self._arrival = Timer(env, self._arrive, FIRST)

    @property
    def busy(self) -> bool:
        """Whether packets are still to arrive."""
        return bool(self._packets)

    def send(self, packet: Packet, sent_ns: int) -> None:
        """A client sends a packet at `sent_ns`, now or later."""
        packets = self._packets
        place = len(packets)
        while place and sent_ns < packets[place - 1][0]:
            place -= 1
        packets.insert(place, (sent_ns, packet))
        if place:
            return
        if len(packets) > 1:
            # What would have been the next to arrive is sent later.
            self._free = self._free_before
            self._arrival = Timer(self._env, self._arrive, FIRST)
        self._carry_first()

    def _carry_first(self) -> None:
        """Foresee the arrival of the first packet."""
        sent_ns, packet = self._packets[0]
        self._free_before = self._free
        self._arrival.set(self.carry(sent_ns, packet.nbytes))

    def _arrive(self, arrival: object) -> None:
        """The first packet arrives, unless it was another one when this arrival was foreseen."""
        if arrival is not self._arrival:
            return
        packets = self._packets
        # All that is sent from now on comes behind it, so that it can stay the first meanwhile.
        self._on_arrival(packets[0][1])
        packets.popleft()
        if packets:
            self._carry_first()


class Stream:
    """What a client sends on one connection, put in order."""

    __slots__ = ("connection", "early", "expected", "lost", "queue", "sent", "timeouts")

    def __init__(self, connection: Connection, queue: RxQueue[Packet]) -> None:
        self.connection = connection
        self.queue = queue
        self.sent = 0
        """Packets sent so far, and so the place of the next one."""
        self.expected = 0
        """Place of the packet that the socket gets next."""
        self.early: dict[int, Packet] = {}
        """By place: packets that wait for one before them."""
        self.lost: deque[Packet] = deque()
        """Packets to send again, the first of which is on its way or waits for its timeout."""
        self.timeouts = 0
        """Times that the first of them was lost."""


class Packet:
    """A part of a request."""

    __slots__ = ("last", "nbytes", "number", "place", "stream")

    def __init__(self, stream: Stream, number: int, nbytes: int, last: bool) -> None:
        self.stream = stream
        self.place = stream.sent
        stream.sent += 1
        self.number = number
        """Of the request."""
        self.nbytes = nbytes
        self.last = last
        """It ends the request."""


class Card:
    """The network card, the wire and the clients' end of it."""

    def __init__(self, system: System, nic: Nic, crossed: Callable[[int], None]) -> None:
        """`crossed` is called when the last packet of a request comes, also if it is dropped."""
        self._system = system
        self._nic = nic
        self._env = system.env
        self._crossed = crossed
        self._payload_bytes = nic.payload_bytes
        self._in, self._out = Uplink(nic, system.env, self._arrive), Link(nic)
        helpers = [Ksoftirqd(system, core) for core in range(len(system.cpu.cores))]
        self._queues: list[RxQueue[Packet]] = [
            RxQueue(system, nic, helpers[queue % len(helpers)], self._receive)
            for queue in range(nic.queues)
        ]
        self._streams: dict[int, Stream] = {}
        """By client; the ones that have sent something."""
        self.drops = 0
        """Packets that found their ring full."""

    @property
    def sending(self) -> bool:
        """Whether packets are on their way to the server, or will be sent again."""
        return self._in.busy

    def request(self, connection: Connection, number: int, nbytes: int, sent_ns: int) -> None:
        """A client sends a request at `sent_ns`, now or later."""
        stream = self._streams.get(connection.client)
        if stream is None:
            queue = self._queues[spread(connection.client) % len(self._queues)]
            stream = self._streams[connection.client] = Stream(connection, queue)
        while nbytes:
            part = self._payload_bytes if nbytes > self._payload_bytes else nbytes
            nbytes -= part
            self._in.send(Packet(stream, number, part, not nbytes), sent_ns)

    def reply(self, nbytes: int, now_ns: int) -> int:
        """The server sends `nbytes`; when the last of them is at the client."""
        arrival_ns = now_ns
        while nbytes:
            part = self._payload_bytes if nbytes > self._payload_bytes else nbytes
            nbytes -= part
            arrival_ns = self._out.carry(now_ns, part)
        return arrival_ns

    def _arrive(self, packet: Packet) -> None:
        """The packet is at the card, which keeps it if there is room."""
        if packet.last:
            self._crossed(packet.number)
        if packet.stream.queue.take(packet):
            self._system.records.arrival_ns[packet.number] = self._env.now_ns
            return
        self.drops += 1
        stream, nic = packet.stream, self._nic
        if not stream.lost or stream.lost[0] is not packet:
            stream.lost.append(packet)
        if stream.lost[0] is packet:
            timeout_ns = min(nic.retransmit_ns << stream.timeouts, _RETRANSMIT_MAX_NS)
            stream.timeouts += 1
            # The client's clock has run since the packet left it.
            rest_ns = max(0, timeout_ns - nic.latency_ns)
            self._in.send(packet, self._env.now_ns + rest_ns)

    def _receive(self, packet: Packet) -> None:
        """The kernel has processed a packet: what is in order goes to the socket."""
        stream = packet.stream
        if stream.lost and stream.lost[0] is packet:
            self._recover(stream)
        if packet.place != stream.expected:
            stream.early[packet.place] = packet
            return
        nbytes, place, number = 0, packet.place, packet.number
        ordered: Packet | None = packet
        while ordered is not None:
            place += 1
            nbytes += ordered.nbytes
            if ordered.last:
                self._system.records.ready_ns[ordered.number] = self._env.now_ns
            ordered = stream.early.pop(place, None)
        stream.expected = place
        deliver(self._system, stream.connection, nbytes, number)

    def _recover(self, stream: Stream) -> None:
        """The first of the lost packets has come: the next is sent when that is acknowledged."""
        stream.lost.popleft()
        stream.timeouts = 0
        if stream.lost:
            self._in.send(stream.lost[0], self._env.now_ns + self._nic.latency_ns)
