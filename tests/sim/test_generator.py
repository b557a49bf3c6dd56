"""The load generator over loopback."""

from __future__ import annotations

import random

import pytest

from iosim.sim.engine import Environment, call_in
from iosim.sim.generator import NOBODY, LoadGenerator

SEND_NS, WAY_NS, TAKE_NS = 10, 4, 3


class Server:
    """Answers every request after a fixed time."""

    def __init__(
        self,
        answer_ns: int,
        requests: int,
        pause_ns: int = 0,
        wake_ns: int = 0,
        closed: bool = True,
    ) -> None:
        self.env = Environment()
        self.answer_ns = answer_ns
        self.wake_ns = wake_ns
        self.closed = closed
        self.seen: list[tuple[int, int, int]] = []
        """Whose request it was, when it was due, when it was sent."""
        self.generator = LoadGenerator(
            self.env,
            self.arrive,
            requests=requests,
            send_ns=SEND_NS,
            way_ns=WAY_NS,
            take_ns=TAKE_NS,
            pause_ns=pause_ns,
        )

    def arrive(self, who: int, due_ns: int, sent_ns: int) -> int:
        assert self.env.now_ns == sent_ns + WAY_NS
        self.seen.append((who, due_ns, sent_ns))
        # The answer is known of a while before it comes.
        sent_at_ns = self.env.now_ns + self.answer_ns // 2
        come_ns = sent_ns + self.answer_ns
        call_in(
            self.env,
            sent_at_ns - self.env.now_ns,
            lambda _: self.generator.replied(
                max(come_ns, self.env.now_ns), who if self.closed else NOBODY
            ),
        )
        return self.wake_ns

    def run(self, *due: tuple[int, int]) -> list[tuple[int, int, int]]:
        for due_ns, who in due:
            self.generator.be_due(due_ns, who)
        self.generator.start()
        self.env.run()
        return self.seen


def test_all_that_is_due_is_sent_before_replies_are_taken() -> None:
    """Both replies are there at 20; what follows the first waits until the second is taken."""
    seen = Server(10, requests=4).run((0, 0), (0, 1))
    assert seen == [(0, 0, 0), (1, 0, 10), (0, 23, 26), (1, 26, 36)]


def test_a_pause_begins_when_the_reply_has_been_taken() -> None:
    seen = Server(50, requests=2, pause_ns=100).run((0, 7))
    assert seen == [(7, 0, 0), (7, 50 + TAKE_NS + 100, 153)]


def test_a_send_that_wakes_a_core_takes_longer() -> None:
    seen = Server(1_000, requests=2, wake_ns=7).run((0, 0), (0, 1))
    assert [sent_ns for _, _, sent_ns in seen] == [0, SEND_NS + 7]


def test_a_reply_that_comes_before_a_send_postpones_it() -> None:
    """The reply of the first comes at 20 and is taken until 23; the second is due at 22."""
    seen = Server(20, requests=2, closed=False).run((0, 0), (22, 1))
    assert seen == [(0, 0, 0), (1, 22, 23)]


def test_a_reply_that_comes_with_a_request_waits() -> None:
    seen = Server(22, requests=3, closed=False).run((0, 0), (22, 1), (23, 2))
    assert seen == [(0, 0, 0), (1, 22, 22), (2, 23, 32)]


def test_the_earliest_is_sent_first() -> None:
    seen = Server(1_000, requests=3).run((30, 0), (10, 1), (20, 2))
    assert [who for who, _, _ in seen] == [1, 2, 0]


def test_no_more_than_all_requests_are_sent() -> None:
    """Five clients, seven requests: two of them have a second one."""
    server = Server(100, requests=7)
    assert len(server.run(*((0, who) for who in range(5)))) == 7
    assert server.generator.waiting


def test_time_is_booked_as_busy() -> None:
    server = Server(100, requests=3)
    server.run((0, 0))
    assert server.generator.busy_ns == 3 * SEND_NS + 2 * TAKE_NS


def step_by_step(
    due: list[tuple[int, int]], answer_ns: list[int], pause_ns: int, wake_ns: int, requests: int
) -> list[tuple[int, int, int]]:
    """The same thread as a loop: what `iosim.host.load` does."""
    now_ns, seen = 0, []
    waiting = sorted((due_ns, place, who) for place, (due_ns, who) in enumerate(due))
    come: list[tuple[int, int]] = []
    places = len(due)
    while len(seen) < requests:
        if waiting and waiting[0][0] <= now_ns:
            due_ns, _, who = waiting.pop(0)
            come.append((now_ns + answer_ns[len(seen)], who))
            seen.append((who, due_ns, now_ns))
            now_ns += SEND_NS + wake_ns
            continue
        come.sort(key=lambda reply: reply[0])
        batch = [reply for reply in come if reply[0] <= now_ns]
        if batch:
            for reply in batch:
                come.remove(reply)
                now_ns += TAKE_NS
                waiting.append((now_ns + pause_ns, places, reply[1]))
                places += 1
            waiting.sort()
            continue
        now_ns = min([one[0] for one in waiting] + [reply[0] for reply in come])
    return seen


@pytest.mark.parametrize("seed", range(60))
def test_it_does_what_the_loop_does(seed: int) -> None:
    """Whatever comes in between, the thread sends the same at the same time as one that is
    simulated step by step. Replies come in the order of the requests, as from a queue."""
    chance = random.Random(seed)
    pause_ns, wake_ns = chance.choice([0, 5, 60, 500]), chance.choice([0, 7])
    due = [(chance.randrange(chance.choice([1, 300])), who) for who in range(chance.randint(1, 9))]
    requests = chance.randint(len(due), 60)
    answer_ns = chance.choice([WAY_NS, 15, 40, 200])
    expected = step_by_step(due, [answer_ns] * requests, pause_ns, wake_ns, requests)
    server = Server(answer_ns, requests, pause_ns, wake_ns)
    assert server.run(*due) == expected
