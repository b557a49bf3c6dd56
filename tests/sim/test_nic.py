"""The network card: exact times of small scenarios, added up by hand, and what always holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_costs import free_costs

from iosim.errors import IosimError
from iosim.machine import Machine, Nic
from iosim.results import Run
from iosim.sim import napi, nic, simulate
from iosim.workload import Workload

COSTS = free_costs(irq_ns=600, softirq_ns_per_packet=400)
"""A packet alone is on its socket 1000 after it came; others of its poll follow every 400."""

# 22 bytes and 78 of headers are 800 bits: 800 ns on this link. A full packet has 60 bytes: 1104.
WIRE: dict[str, Any] = {"link_bits_per_s": 10**9, "latency_ns": 200, "mtu_bytes": 100}


def run(card: dict[str, Any], cores: int = 1, **workload: Any) -> Run:
    load = {"arrivals": "closed", "connections": 1, "requests": 1, "request_bytes": 22}
    machine = Machine(nic=Nic.of(**(WIRE | card)), cores=cores)
    return simulate("epoll", Workload.of(**(load | workload)), profile=COSTS, machine=machine)


def times(run: Run, name: str) -> list[int]:
    return [int(at) for at in run.records[name]]


def test_one_packet() -> None:
    """800 + 200 there, 600 + 400 of interrupt; the reply of 64 bytes takes 60 + 4: 1104 + 656."""
    done = run({})
    assert times(done, "arrival_ns") == [1_000]
    assert times(done, "ready_ns") == [2_000]
    assert times(done, "replied_ns") == [2_000 + 1_104 + 656 + 200]
    assert done.drops == 0


def test_a_message_of_several_packets() -> None:
    """60 + 60 + 22 bytes come at 1304, 2408 and 3208. The first is done at 2304, before the second
    comes, which has an interrupt of its own and is done at 3408; the third joins its poll."""
    done = run({}, request_bytes=142)
    assert times(done, "arrival_ns") == [3_208]
    assert times(done, "ready_ns") == [3_808]


def test_packets_queue_for_the_link() -> None:
    """Three clients send at once; each packet holds the link for 800."""
    done = run({}, connections=3, requests=3)
    assert times(done, "arrival_ns") == [1_000, 1_800, 2_600]


def test_a_burst_goes_through_one_interrupt() -> None:
    """They come every 400 from 600 on: done at 1600, then one after the other."""
    done = run({"link_bits_per_s": 2 * 10**9}, connections=4, requests=4)
    assert times(done, "arrival_ns") == [600, 1_000, 1_400, 1_800]
    assert times(done, "ready_ns") == [1_600, 2_000, 2_400, 2_800]


def test_coalescing_by_time() -> None:
    """The interrupt comes 5000 after the first packet and finds all three."""
    done = run({"coalesce_ns": 5_000}, connections=3, requests=3)
    assert times(done, "ready_ns") == [7_000, 7_400, 7_800]


def test_coalescing_by_frames() -> None:
    """The second packet, at 1800, brings the interrupt; the third joins the poll."""
    done = run({"coalesce_ns": 5_000, "coalesce_frames": 2}, connections=3, requests=3)
    assert times(done, "ready_ns") == [2_800, 3_200, 3_600]


def test_coalescing_begins_anew_after_an_interrupt() -> None:
    """As above two packets are done at 2800 and 3200. The first client has its reply at 2800 + 1960
    and sends again: the packet comes at 5760 and waits for 5000 of its own."""
    done = run({"coalesce_ns": 5_000, "coalesce_frames": 2}, connections=2, requests=3)
    assert times(done, "ready_ns") == [2_800, 3_200, 11_760]


def test_full_ring_drops_and_later_data_waits() -> None:
    """142 bytes in three packets 276 apart on 4 Gbit/s: the ring has room for one, which it holds
    from 476 to 1476; the others come at 752 and 952 and are lost. 10,000 after the first of them
    left the client (552) it is sent again, for 276 + 200: there at 11,028, done at 12,028. The
    acknowledgement takes 200; then the last needs 200 + 200 and 1000."""
    done = run(
        {"link_bits_per_s": 4 * 10**9, "rx_ring": 1, "retransmit_ns": 10_000}, request_bytes=142
    )
    assert done.drops == 2
    assert times(done, "arrival_ns") == [12_628]
    assert times(done, "ready_ns") == [13_628]


def test_data_behind_a_loss_waits_for_it() -> None:
    """On 1.5 Gbit/s the three packets come at 936, 1672 and 2205; the ring holds the first until
    1936, so that the second is lost. It left the client at 1472, leaves it again 10,000 later, is
    there 736 + 200 after that and done 1000 later; only then has the socket got the third too."""
    done = run(
        {"link_bits_per_s": 15 * 10**8, "rx_ring": 1, "retransmit_ns": 10_000}, request_bytes=142
    )
    assert done.drops == 1
    assert times(done, "arrival_ns") == [12_408]
    assert times(done, "ready_ns") == [13_408]


def test_each_loss_of_a_packet_doubles_its_timeout() -> None:
    """Two packets come at 300 and 400, and the ring holds the first until 1300. The second left its
    client at 200 and leaves again 300 later, at 600 with its bits: lost at 800. The next time it
    sets out 600 later, at 1200, and is there at 1500."""
    done = run(
        {"link_bits_per_s": 8 * 10**9, "rx_ring": 1, "retransmit_ns": 300},
        connections=2,
        requests=2,
    )
    assert done.drops == 2
    assert times(done, "arrival_ns") == [300, 1_500]


def test_what_is_sent_earlier_goes_before_a_packet_that_waits_for_its_timeout() -> None:
    """As above, but the timeout is 10,000: the lost packet leaves at 400 + 10,000 - 200. The first
    client has its reply at 1300 + 138 + 82 + 200 and sends again, on a link that is free."""
    done = run(
        {"link_bits_per_s": 8 * 10**9, "rx_ring": 1, "retransmit_ns": 10_000},
        connections=2,
        requests=3,
    )
    assert done.drops == 1
    assert times(done, "arrival_ns") == [300, 10_500, 2_020]


def test_two_queues_interrupt_two_cores() -> None:
    """Clients 0 and 1 of these three differ in queue: both are processed at the same time."""
    first, second = (nic.spread(client) % 2 for client in (0, 1))
    one = run({"link_bits_per_s": 4 * 10**9}, connections=2, requests=2, cores=2)
    two = run({"link_bits_per_s": 4 * 10**9, "queues": 2}, connections=2, requests=2, cores=2)
    assert first != second
    assert times(one, "ready_ns") == [1_400, 1_800]
    assert times(two, "ready_ns") == [1_400, 1_600]


def test_rest_of_an_exhausted_budget_is_left_to_ksoftirqd() -> None:
    """Four packets at 600, 1000, 1400 and 1800; the poll ends after the first, at 1600, which woke
    the program. Its computing of 3000 comes first, then ksoftirqd gets the core: 5000, 5400, 5800.
    """
    done = run(
        {"link_bits_per_s": 2 * 10**9, "napi_budget": 1},
        connections=4,
        requests=4,
        service=3_000,
    )
    (helper,) = [task for task in done.tasks if task.helper]
    assert helper.name == "ksoftirqd/0"
    assert helper.running_ns == 3 * 400
    assert helper.runnable_ns == 3_000
    assert times(done, "ready_ns") == [1_600, 5_000, 5_400, 5_800]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"coalesce_frames": 8}, "without coalesce_ns"),
        ({"coalesce_frames": 9, "coalesce_ns": 1, "rx_ring": 8}, "the ring holds only"),
        ({"queues": 0, "rx_ring": 0}, "queues.*rx_ring"),
    ],
)
def test_impossible_card_is_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(IosimError, match=said):
        Nic.of(**values)


def possible(card: dict[str, Any]) -> dict[str, Any]:
    """No more frames to wait for than the ring holds, and none without a time."""
    frames = min(card["coalesce_frames"], card["rx_ring"])
    return card | {"coalesce_frames": frames if card["coalesce_ns"] else 0}


CARDS = st.builds(
    dict,
    rx_ring=st.sampled_from([1, 2, 5, 512]),
    queues=st.integers(1, 3),
    coalesce_ns=st.sampled_from([0, 700, 30_000]),
    coalesce_frames=st.sampled_from([0, 1, 2, 5]),
    napi_budget=st.sampled_from([1, 3, 64]),
    retransmit_ns=st.just(20_000),
    link_bits_per_s=st.sampled_from([10**9, 15 * 10**8, 10**10]),
).map(possible)


class Books:
    """Where each packet is, kept by looking on at what the card does."""

    def __init__(self) -> None:
        self.sent: dict[nic.Stream, list[nic.Packet]] = {}
        self.on_the_way: set[nic.Packet] = set()
        self.lost: set[nic.Packet] = set()
        """Dropped, and not yet sent again."""
        self.drops = 0
        self.delivered: Counter[int] = Counter()
        """Bytes that sockets have got, by client."""

    def check(self, card: nic.Card) -> None:
        """The balance now, of all bytes and of each connection's order."""
        packets = [packet for sent in self.sent.values() for packet in sent]
        ringed = [packet for queue in card._queues for packet in queue._ring]
        early = [packet for stream in self.sent for packet in stream.early.values()]
        assert volume(packets) == self.delivered.total() + sum(
            map(volume, (ringed, early, self.on_the_way, self.lost))
        )
        for stream, sent in self.sent.items():
            in_order = sent[: stream.expected]
            assert self.delivered[stream.connection.client] == volume(in_order)
            assert stream.expected not in stream.early
            assert not {*in_order, *stream.early.values()} & {*ringed, *self.on_the_way, *self.lost}
            # A client sends one lost packet at a time again.
            again = [packet for packet in stream.lost if packet not in self.lost]
            assert again in ([], [stream.lost[0]] if stream.lost else [])
        assert self.lost <= {packet for stream in self.sent for packet in stream.lost}


def volume(packets: Iterable[nic.Packet]) -> int:
    return sum(packet.nbytes for packet in packets)


@settings(max_examples=60)
@given(CARDS, st.integers(1, 6), st.integers(0, 20), st.sampled_from([1, 61, 142, 500]))
def test_nothing_is_lost_for_good(
    card: dict[str, Any], connections: int, more: int, nbytes: int
) -> None:
    """At every delivery, the bytes sent are those delivered, held back, in a ring, on the way or
    about to be, and lost behind others that are sent again first; a socket has got the first ones
    that its client sent, each once. A packet is dropped by a full ring and by no other."""
    books = Books()
    make, send, take = nic.Packet.__init__, nic.Uplink.send, napi.RxQueue.take
    receive, deliver = nic.Card._receive, nic.deliver

    def checked_make(self: nic.Packet, stream: nic.Stream, *args: Any, **options: Any) -> None:
        make(self, stream, *args, **options)
        books.sent.setdefault(stream, []).append(self)

    def checked_send(self: nic.Uplink, packet: nic.Packet, sent_ns: int) -> None:
        assert packet not in books.on_the_way
        books.lost.discard(packet)
        books.on_the_way.add(packet)
        send(self, packet, sent_ns)

    def checked_take(self: napi.RxQueue[nic.Packet], packet: nic.Packet) -> bool:
        before = len(self._ring)
        books.on_the_way.remove(packet)
        taken = take(self, packet)
        assert taken == (before < card["rx_ring"])
        assert len(self._ring) == before + taken
        if not taken:
            books.lost.add(packet)
            books.drops += 1
        return taken

    def checked_receive(self: nic.Card, packet: nic.Packet) -> None:
        receive(self, packet)
        books.check(self)

    def checked_deliver(system: Any, connection: Any, nbytes: int, number: int) -> bool:
        books.delivered[connection.client] += nbytes
        return deliver(system, connection, nbytes, number)

    with (
        mock.patch.object(nic.Packet, "__init__", checked_make),
        mock.patch.object(nic.Uplink, "send", checked_send),
        mock.patch.object(napi.RxQueue, "take", checked_take),
        mock.patch.object(nic.Card, "_receive", checked_receive),
        mock.patch.object(nic, "deliver", checked_deliver),
    ):
        done = run(
            card,
            cores=2,
            connections=connections,
            requests=connections + more,
            request_bytes=nbytes,
        )
    assert done.drops == books.drops
    assert not books.on_the_way | books.lost
    assert books.delivered.total() == nbytes * len(done.records)
    assert (done.records["replied_ns"] > done.records["ready_ns"]).all()
