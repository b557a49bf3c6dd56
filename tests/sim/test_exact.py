"""Whole request records of small scenarios, each number added up by hand.

The costs differ from each other, so that charging the wrong one shows. Every comment names the
summands in the order in which they fall due; what a program does in between is free.
"""

from __future__ import annotations

import pytest
from round_costs import profile

from iosim.costs import WakeUp
from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model, get
from iosim.results import RECORD, Run
from iosim.sim import simulate
from iosim.workload import Workload

COSTS = profile(
    {
        "accept_ns": 700,
        "close_ns": 500,
        "recv_ns": 300,
        "eagain_ns": 100,
        "request_ns": 20,
        "send_ns": 500,
        "copy_ns_per_byte": 1,
        "delivery_ns": 1_000,
        "reply_ns": 2_000,
        "select_ns": 400,
        "select_fd_ns": 10,
        "select_number_ns": 5,
        "poll_ns": 600,
        "poll_fd_ns": 10,
        "scan_join_fd_ns": 30,
        "scan_leave_fd_ns": 0,
        "epoll_wait_ns": 200,
        "epoll_event_ns": 50,
        "epoll_ctl_ns": 250,
        "fcntl_ns": 100,
        "sigsuspend_ns": 700,
        "sigwaitinfo_ns": 800,
        "uring_enter_ns": 100,
        "uring_reap_ns": 0,
        "uring_prep_ns": 0,
        "uring_sqe_ns": 150,
        "uring_recv_ns": 250,
        "uring_send_ns": 450,
        "uring_multishot_ns": 220,
        "uring_buffer_ns": 40,
        "uring_peek_ns": 70,
        "sqpoll_look_ns": 80,
        "aio_read_ns": 350,
        "aio_return_ns": 60,
        "aio_take_ns": 0,
        "aio_helper_ns": 900,
        "nanosleep_ns": 400,
        "timer_slack_ns": 5_000,
        "thread_create_ns": 1_000,
        "context_switch_ns": 1_500,
        "irq_ns": 600,
        "softirq_ns_per_packet": 400,
        "client_send_ns": 200,
        "client_wake_ns": 400,
        "client_turn_ns": 0,
    },
    # Runs again after 3000, and what it does first takes 400 longer.
    WakeUp(idle_ns=0, latency_ns=[3_000.0], cpu_ns=1_000, cold_ns=400),
)

ONE = Workload(
    connections=1,
    requests=1,
    arrivals="even",
    rate_per_s=100_000,
    request_bytes=50,
    reply_bytes=30,
    service=2_000,
)
"""Due after 10,000 ns. On its socket 1000 (delivery) + 50 (copy) later."""

THREE = Workload(
    connections=3,
    requests=3,
    arrivals="closed",
    request_bytes=50,
    reply_bytes=30,
    service=2_000,
)
"""One request on each connection, all due at once; a send keeps the client 200 + 50 busy, and 400
longer if it wakes the core."""

# The program waits for clients when they look for the first time, at 100,000. They connect at once,
# and the load starts 10 ms later.

# recv of one request takes 300 + 50 = 350, framing and computing 20 + 2000 = 2020, send
# 500 + 30 = 530, and a reply is at the client 2000 + 30 = 2030 after its send began.

NONBLOCKING_SLEEP_1 = get("nonblocking-sleep", interval_ns=91_000)
NONBLOCKING_SLEEP_3 = get("nonblocking-sleep", interval_ns=90_800)
"""A pass (of 2 or 4 tries, 100 each), the sleep, its slack 5000, the wake-up 3000 + 400 and the
call 400 make a period of 100,000, which divides the time before the load."""

ONE_EXPECTED = {
    # Wake-up 3000, recv 350; the read itself brings the news. The 400 of the cold caches come after
    # the call that was woken, in all models.
    "blocking": (0, 10_000, 10_000, 11_050, 11_050, 14_400, 14_400, 16_820, 18_850),
    "blocking-pool": (0, 10_000, 10_000, 11_050, 11_050, 14_400, 14_400, 16_820, 18_850),
    "blocking-serial": (0, 10_000, 10_000, 11_050, 11_050, 14_400, 14_400, 16_820, 18_850),
    # 3000 + 400 wake-up, 100 fcntl, and accept every 100, so also at 100,000: 700. Then recv is
    # tried at 100,700 and every 200 after it: 100 after all multiples of 200. Found at 11,100.
    "nonblocking": (0, 10_000, 10_000, 11_050, 11_050, 11_450, 11_450, 13_470, 15_500),
    # The first pass has no connection yet and ends at 3600, the second begins at 103,400: 700
    # accept, 200 for two tries, 99,800. The passes begin at 4100 of every 100,000.
    "nonblocking-sleep": (0, 10_000, 10_000, 11_050, 11_050, 104_450, 104_450, 106_470, 108_500),
    # 3000 wake-up, 400 select, 2 x 10 scan and 4 x 5 numbers; then recv 350.
    "select": (0, 10_000, 10_000, 11_050, 11_050, 14_490, 15_240, 17_260, 19_290),
    # 600 poll, 2 x 10 scan of listener and connection.
    "poll": (0, 10_000, 10_000, 11_050, 11_050, 14_670, 15_420, 17_440, 19_470),
    # 200 epoll_wait, 50 for one event.
    "epoll": (0, 10_000, 10_000, 11_050, 11_050, 14_300, 15_050, 17_070, 19_100),
    "epoll-et": (0, 10_000, 10_000, 11_050, 11_050, 14_300, 15_050, 17_070, 19_100),
    # 3000 + 400 wake-up, 700 sigsuspend; SIGIO names no socket, so recv brings the news.
    "sigio": (0, 10_000, 10_000, 11_050, 11_050, 15_500, 15_500, 17_520, 19_550),
    # 800 sigwaitinfo, which names the socket.
    "rtsig": (0, 10_000, 10_000, 11_050, 11_050, 14_850, 15_600, 17_620, 19_650),
    # Helper: 3000 + 400 wake-up, 900 + 50 read, copied at 15,400. It signals and sleeps: 1500
    # switch, 800 sigwaitinfo, noticed; 60 aio_return before the framing.
    "aio": (0, 10_000, 10_000, 11_050, 11_050, 17_700, 15_400, 19_780, 21_810),
    # 3000 + 400 wake-up, 250 + 50 in the ring: copied and noticed in one. The send is submitted
    # by the next io_uring_enter, 100.
    "io_uring": (0, 10_000, 10_000, 11_050, 11_050, 14_750, 14_750, 16_870, 18_900),
    # As io_uring, but 220 + 50 for one more completion of the receive; then 40 to give the buffer
    # back.
    "io_uring-multishot": (0, 10_000, 10_000, 11_050, 11_050, 14_720, 14_720, 16_880, 18_910),
    # The kernel thread has looked for longer than its protected slice when the load starts: 80
    # look, 250 + 50 in the ring; then the program preempts it, 1500; 2020, 100 io_uring_enter, 1500
    # switch to the thread that sends.
    "io_uring-sqpoll": (0, 10_000, 10_000, 11_050, 11_050, 12_930, 11_430, 16_550, 18_580),
}

THREE_EXPECTED = {
    # The first is woken at 1050 and runs at 4050 (+400 cold); the core is free again after its
    # send. Each of the others is switched to, 1500, reads 350, computes 2020, sends 530.
    "blocking": [
        (0, 0, 0, 1_050, 1_050, 4_400, 4_400, 6_820, 8_850),
        (1, 0, 650, 1_700, 1_700, 9_200, 9_200, 11_220, 13_250),
        (2, 0, 900, 1_950, 1_950, 13_600, 13_600, 15_620, 17_650),
    ],
    "blocking-pool": [
        (0, 0, 0, 1_050, 1_050, 4_400, 4_400, 6_820, 8_850),
        (1, 0, 650, 1_700, 1_700, 9_200, 9_200, 11_220, 13_250),
        (2, 0, 900, 1_950, 1_950, 13_600, 13_600, 15_620, 17_650),
    ],
    # The second waits until the first client has hung up, with its reply at 8850: 3000 + 400
    # wake-up, 300 recv of the end, 500 close, 700 accept, 350 recv.
    "blocking-serial": [
        (0, 0, 0, 1_050, 1_050, 4_400, 4_400, 6_820, 8_850),
        (1, 0, 650, 1_700, 1_700, 14_100, 14_100, 16_120, 18_150),
        (2, 0, 900, 1_950, 1_950, 23_400, 23_400, 25_420, 27_450),
    ],
    # From 100,000 on 700 accept and 100 for recv, for each connection; the last accept in vain,
    # 100, ends at 102,500. From there a pass of 400: the sockets are tried at 100, 200 and 300 of
    # every 400. Found at 1300; the pointer goes on from there.
    "nonblocking": [
        (0, 0, 0, 1_050, 1_050, 1_650, 1_650, 3_670, 5_700),
        (1, 0, 250, 1_300, 1_300, 4_550, 4_550, 6_570, 8_600),
        (2, 0, 500, 1_550, 1_550, 7_450, 7_450, 9_470, 11_500),
    ],
    # The first pass ends at 3600; the second begins at 103,200 and ends, with three accepted, at
    # 105,700. After 99,600 the third does, so a pass begins at 5300 of every 100,000.
    "nonblocking-sleep": [
        (0, 0, 0, 1_050, 1_050, 5_650, 5_650, 7_670, 9_700),
        (1, 0, 250, 1_300, 1_300, 8_550, 8_550, 10_570, 12_600),
        (2, 0, 500, 1_550, 1_550, 11_450, 11_450, 13_470, 15_500),
    ],
    # All three are there when the program runs at 4050 (+400): 400 select, 4 x 10 scan and 6 x 5
    # numbers.
    "select": [
        (0, 0, 0, 1_050, 1_050, 4_520, 5_270, 7_290, 9_320),
        (1, 0, 650, 1_700, 1_700, 4_520, 8_170, 10_190, 12_220),
        (2, 0, 900, 1_950, 1_950, 4_520, 11_070, 13_090, 15_120),
    ],
    # 600 poll, 4 x 10 scan.
    "poll": [
        (0, 0, 0, 1_050, 1_050, 4_690, 5_440, 7_460, 9_490),
        (1, 0, 650, 1_700, 1_700, 4_690, 8_340, 10_360, 12_390),
        (2, 0, 900, 1_950, 1_950, 4_690, 11_240, 13_260, 15_290),
    ],
    # 200 epoll_wait, 3 x 50 events.
    "epoll": [
        (0, 0, 0, 1_050, 1_050, 4_400, 5_150, 7_170, 9_200),
        (1, 0, 650, 1_700, 1_700, 4_400, 8_050, 10_070, 12_100),
        (2, 0, 900, 1_950, 1_950, 4_400, 10_950, 12_970, 15_000),
    ],
    # As epoll, and after each answer a recv that finds nothing, 100.
    "epoll-et": [
        (0, 0, 0, 1_050, 1_050, 4_400, 5_150, 7_170, 9_200),
        (1, 0, 650, 1_700, 1_700, 4_400, 8_150, 10_170, 12_200),
        (2, 0, 900, 1_950, 1_950, 4_400, 11_150, 13_170, 15_200),
    ],
    # Three SIGIO have merged into one: 4050 + 400 + 700, then a rescan that finds all three.
    "sigio": [
        (0, 0, 0, 1_050, 1_050, 5_500, 5_500, 7_520, 9_550),
        (1, 0, 650, 1_700, 1_700, 8_400, 8_400, 10_420, 12_450),
        (2, 0, 900, 1_950, 1_950, 11_300, 11_300, 13_320, 15_350),
    ],
    # A signal each: 800 sigwaitinfo, 350 recv, 2020, 530 send, 100 for the recv that drains.
    "rtsig": [
        (0, 0, 0, 1_050, 1_050, 4_850, 5_600, 7_620, 9_650),
        (1, 0, 650, 1_700, 1_700, 9_050, 9_400, 11_420, 13_450),
        (2, 0, 900, 1_950, 1_950, 12_850, 13_200, 15_220, 17_250),
    ],
    # The first helper runs at 4050 (+400) and has read at 5400; its signal makes the program
    # runnable behind the other two helpers, each 1500 switch + 950 read: 7850, 10,300. The program
    # is switched to at 11,800; per request 800 sigwaitinfo, 60 aio_return, 2020, then 530 send
    # and 350 aio_read, which wakes a helper that rests. The second one to be woken has had less of
    # the core and takes it, at 18,970, and the first read; the third takes the other; the first
    # finds none and ends; and the second is woken again by the end of its stream: with the switch
    # back 5 * 1500.
    "aio": [
        (0, 0, 0, 1_050, 1_050, 12_600, 5_400, 14_680, 16_710),
        (1, 0, 650, 1_700, 1_700, 16_360, 7_850, 18_440, 20_470),
        (2, 0, 900, 1_950, 1_950, 27_620, 10_300, 29_700, 31_730),
    ],
    # The ring reads all three in one call, 300 each from 4450 on. The program computes three
    # replies, 6060, and submits them together: 100 enter, then 480 a send and 150 to arm a recv.
    "io_uring": [
        (0, 0, 0, 1_050, 1_050, 5_350, 4_750, 11_510, 13_540),
        (1, 0, 650, 1_700, 1_700, 5_350, 5_050, 12_140, 14_170),
        (2, 0, 900, 1_950, 1_950, 5_350, 5_350, 12_770, 14_800),
    ],
    # 270 a completion; each buffer given back, 40, before its request is framed; 480 a send, and
    # nothing to arm.
    "io_uring-multishot": [
        (0, 0, 0, 1_050, 1_050, 5_260, 4_720, 11_540, 13_570),
        (1, 0, 650, 1_700, 1_700, 5_260, 4_990, 12_020, 14_050),
        (2, 0, 900, 1_950, 1_950, 5_260, 5_260, 12_500, 14_530),
    ],
    # 80 look, then the kernel thread reads all three, 300 each. The program wants the core from the
    # first on and has it after this round of work, 1500; it computes 3 x 2020 and enters, 100.
    # 1500, and the kernel thread sends, 480 each, and arms a receive after each, 150.
    "io_uring-sqpoll": [
        (0, 0, 0, 1_050, 1_050, 3_530, 1_430, 11_190, 13_220),
        (1, 0, 250, 1_300, 1_300, 3_530, 1_730, 11_820, 13_850),
        (2, 0, 500, 1_550, 1_550, 3_530, 2_030, 12_450, 14_480),
    ],
}


def rows(run: Run) -> list[tuple[int, ...]]:
    assert run.records.dtype == RECORD
    return [tuple(map(int, record)) for record in run.records]


def test_every_model_is_here() -> None:
    assert set(ONE_EXPECTED) == set(THREE_EXPECTED) == set(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_one_request(name: str) -> None:
    model: str | Model = NONBLOCKING_SLEEP_1 if name == "nonblocking-sleep" else name
    assert rows(simulate(model, ONE, profile=COSTS)) == [ONE_EXPECTED[name]]


@pytest.mark.parametrize("name", MODELS)
def test_three_requests_at_once(name: str) -> None:
    model: str | Model = NONBLOCKING_SLEEP_3 if name == "nonblocking-sleep" else name
    assert rows(simulate(model, THREE, profile=COSTS)) == THREE_EXPECTED[name]


def test_pipelined_requests_are_read_in_one_call() -> None:
    """A send keeps the client busy for 1000 + 50, the first one 400 longer since it wakes the core.

    One recv takes all three at 4150, for 300 + 150; 400 come after it. Framing them takes 60; then
    each is computed and sent, 2000 + 530, before the next.
    """
    workload = ONE.model_copy(update={"requests": 3, "rate_per_s": 10_000_000})
    costs = COSTS.scaled(client_send_ns=5)
    assert rows(simulate("blocking", workload, profile=costs)) == [
        (0, 100, 100, 1_150, 1_150, 4_600, 4_600, 7_060, 9_090),
        (0, 200, 1_550, 2_600, 2_600, 4_600, 4_600, 9_590, 11_620),
        (0, 300, 2_600, 3_650, 3_650, 4_600, 4_600, 12_120, 14_150),
    ]


def test_user_time_is_added_to_each_call() -> None:
    """recv is the only call that ends before the reply begins: 50 later than without."""
    costs = dict(COSTS.costs)
    costs["user_ns"] = costs["user_ns"].model_copy(update={"value": 50})
    run = simulate("blocking", ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert rows(run) == [(0, 10_000, 10_000, 11_050, 11_050, 14_450, 14_450, 16_870, 18_900)]


def test_taking_completions_costs_once_a_call() -> None:
    """The call that brings the request takes 30 longer, and so does its reply."""
    costs = dict(COSTS.costs)
    costs["uring_reap_ns"] = costs["uring_reap_ns"].model_copy(update={"value": 30})
    run = simulate("io_uring", ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert rows(run) == [(0, 10_000, 10_000, 11_050, 11_050, 14_780, 14_750, 16_900, 18_930)]


def test_filling_in_a_submission_delays_the_next_call() -> None:
    """The receive in front, 40, before the load; then the reply's send and the next receive."""
    costs = dict(COSTS.costs)
    costs["uring_prep_ns"] = costs["uring_prep_ns"].model_copy(update={"value": 40})
    run = simulate("io_uring", ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert rows(run) == [(0, 10_000, 10_000, 11_050, 11_050, 14_750, 14_750, 16_950, 18_980)]


def test_a_call_on_a_ring_that_has_slept_costs_more() -> None:
    """By 30, before the receive."""
    costs = dict(COSTS.costs)
    costs["uring_wait_ns"] = costs["uring_wait_ns"].model_copy(update={"value": 30})
    run = simulate("io_uring", ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert rows(run) == [(0, 10_000, 10_000, 11_050, 11_050, 14_780, 14_780, 16_900, 18_930)]


@pytest.mark.parametrize(("model", "base_ns"), [("select", 14_490), ("poll", 14_670)])
def test_wait_queues_are_left_after_the_sleep(model: str, base_ns: int) -> None:
    """2 x 25 for listener and connection delay the news; joining them took place before."""
    costs = dict(COSTS.costs)
    costs["scan_leave_fd_ns"] = costs["scan_leave_fd_ns"].model_copy(update={"value": 25})
    run = simulate(model, ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert run.records["noticed_ns"].tolist() == [base_ns + 50]


def test_a_helper_takes_a_read_up_before_there_is_data() -> None:
    """So it costs processor time and delays no answer."""
    costs = dict(COSTS.costs)
    costs["aio_take_ns"] = costs["aio_take_ns"].model_copy(update={"value": 60})
    before = simulate("aio", ONE, profile=COSTS)
    after = simulate("aio", ONE, profile=COSTS.model_copy(update={"costs": costs}))
    assert rows(after) == rows(before)


def test_the_generator_is_busy_while_it_takes_a_reply() -> None:
    """Requests are due every 10,000, and a reply comes 8900 after each; taking it lasts 2500 here,
    so that the next request leaves late."""
    costs = dict(COSTS.costs)
    costs["client_turn_ns"] = costs["client_turn_ns"].model_copy(update={"value": 2_500})
    load = ONE.model_copy(update={"requests": 2})
    run = simulate("blocking", load, profile=COSTS.model_copy(update={"costs": costs}))
    first_ns = int(run.records["replied_ns"][0])
    assert run.records["intended_ns"].tolist() == [10_000, 20_000]
    assert 17_500 < first_ns < 20_000
    assert run.records["sent_ns"].tolist() == [10_000, first_ns + 2_500]


# 50 bytes and 78 of headers take 102 ns at 10 Gbit/s, 30 bytes 86 ns.
NIC = Machine(nic=Nic(latency_ns=5_000))


def test_network_card_interrupts() -> None:
    """At the card at 15,102; 600 + 400 of interrupt work later on its socket. Then as epoll does:
    3000 + 250 noticed, 400 + 350 copied, 2020 done, 5086 replied."""
    assert rows(simulate("epoll", ONE, profile=COSTS, machine=NIC)) == [
        (0, 10_000, 10_000, 15_102, 16_102, 19_352, 20_102, 22_122, 27_208)
    ]


def test_interrupt_delays_a_spinning_program() -> None:
    """The try under way at 15,102 is a recv that would end at 15,200; it ends 1000 later, and after
    an accept the recv at 16,300 finds the data."""
    assert rows(simulate("nonblocking", ONE, profile=COSTS, machine=NIC)) == [
        (0, 10_000, 10_000, 15_102, 16_102, 16_650, 16_650, 18_670, 23_756)
    ]


def test_two_cores_serve_at_the_same_time() -> None:
    workload = THREE.model_copy(update={"connections": 2, "requests": 2})
    assert rows(simulate("blocking", workload, profile=COSTS, machine=Machine(cores=2))) == [
        (0, 0, 0, 1_050, 1_050, 4_400, 4_400, 6_820, 8_850),
        (1, 0, 650, 1_700, 1_700, 5_050, 5_050, 7_470, 9_500),
    ]


def test_sqpoll_on_a_core_of_its_own() -> None:
    """The kernel thread reads from 1050 + 80 on, 300 each, and has woken the program with the
    first at 1430: 3000 + 400. It computes 6060 and submits without a switch: 80 until the thread
    sees that, then 480 a send and 150 to arm a recv."""
    machine = Machine(cores=2)
    assert rows(simulate("io_uring-sqpoll", THREE, profile=COSTS, machine=machine)) == [
        (0, 0, 0, 1_050, 1_050, 4_430, 1_430, 10_970, 13_000),
        (1, 0, 250, 1_300, 1_300, 4_430, 1_730, 11_600, 13_630),
        (2, 0, 500, 1_550, 1_550, 4_430, 2_030, 12_230, 14_260),
    ]


def test_kernel_thread_of_sqpoll_sleeps_after_its_idle_time() -> None:
    """Asleep 10 ms after the last connection was accepted, it is woken, 3000 + 400, reads, 300, and
    wakes the program, 3000 + 400."""
    machine = Machine(cores=2)
    assert rows(simulate("io_uring-sqpoll", ONE, profile=COSTS, machine=machine)) == [
        (0, 10_000, 10_000, 11_050, 11_050, 17_750, 14_750, 20_250, 22_280)
    ]


def test_multishot_fills_buffers_and_begins_anew_without() -> None:
    """Two buffers of 20 bytes for the 50 of a request: 220 + 20 twice, and -ENOBUFS. The program
    gives both back, 80, and submits the receive again: 100 enter, 150 to arm it, 220 + 10."""
    model = get("io_uring-multishot", buffers=2, buffer_bytes=20)
    assert rows(simulate(model, ONE, profile=COSTS)) == [
        (0, 10_000, 10_000, 11_050, 11_050, 15_490, 15_490, 17_650, 19_680)
    ]


def test_full_receive_buffer_holds_the_sender_back() -> None:
    """A buffer of 20 bytes passes the 50 of a request in three reads, 20 + 20 + 10: each 300 and
    its copy; only the last completes the request."""
    machine = Machine(receive_buffer_bytes=20)
    assert rows(simulate("blocking", ONE, profile=COSTS, machine=machine)) == [
        (0, 10_000, 10_000, 11_050, 11_050, 15_400, 15_400, 17_420, 19_450)
    ]
