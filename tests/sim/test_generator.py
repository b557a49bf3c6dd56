"""The load generator of a closed loop."""

from __future__ import annotations

from iosim.sim.engine import Environment
from iosim.sim.generator import ClosedLoop

SEND_NS, TAKE_NS = 10, 3


class Server:
    """Answers every request after a fixed time."""

    def __init__(self, answer_ns: int, following: dict[int, int], pauses_ns: list[int]) -> None:
        self.env = Environment()
        self.answer_ns = answer_ns
        self.following = following
        self.seen: list[tuple[int, int, int]] = []
        """Number, when it was due, when it was sent."""
        self.generator = ClosedLoop(self.env, self.take, SEND_NS, TAKE_NS, pauses_ns)

    def take(self, number: int, due_ns: int) -> None:
        self.seen.append((number, due_ns, self.env.now_ns))
        self.generator.replied(self.env.now_ns + self.answer_ns, self.following.get(number, -1))


def test_all_that_is_due_is_sent_before_replies_are_taken() -> None:
    server = Server(5, {0: 2, 1: 3}, [0, 0, 0, 0])
    server.generator.start([0, 1])
    server.env.run()
    # Both replies are there at 20; what follows the first waits until the second is taken.
    assert server.seen == [(0, 0, 0), (1, 0, 10), (2, 23, 26), (3, 26, 36)]


def test_a_pause_begins_when_the_reply_has_been_taken() -> None:
    server = Server(50, {0: 1}, [0, 100])
    server.generator.start([0])
    server.env.run()
    assert server.seen == [(0, 0, 0), (1, 50 + TAKE_NS + 100, 153)]


def test_a_send_that_wakes_a_core_takes_longer() -> None:
    server = Server(5, {}, [0, 0])
    server.generator.start([0, 1])
    server.generator.hold_up(7)
    server.env.run()
    assert [sent_ns for _, _, sent_ns in server.seen] == [0, SEND_NS + 7]


def test_requests_go_out_in_the_order_in_which_they_became_known() -> None:
    """As the generator of real runs, which looks at the first only."""
    server = Server(1, {0: 2, 1: 3}, [0, 0, 500, 0])
    server.generator.start([0, 1])
    server.env.run()
    assert [number for number, _, _ in server.seen] == [0, 1, 2, 3]
    assert server.seen[3][2] == server.seen[2][2] + SEND_NS
