"""io_uring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from iosim.calibrate.bench import BATCH, SMALL_BYTES, Bench, benchmark, each, in_turn, times
from iosim.kernel import EPOLL_CTL_ADD, READ_BYTES, Call, Kernel

ENTRIES = 1_024
EACH = 1 / BATCH
"""The share of a call that every entry of a batch bears."""


@benchmark(needs="io_uring")
def io_uring_enter(bench: Bench) -> Call[None]:
    """A call with nothing to submit and nothing to take (uring_enter_ns)."""
    ring = yield from bench.kernel.io_uring_setup(ENTRIES)
    for _ in range(bench.rounds):
        block = times(BATCH, bench.kernel.io_uring_enter, ring, 0)
        yield from bench.time("empty", block, BATCH, uring_enter_ns=1)


@benchmark(needs="io_uring")
def io_uring_entries(bench: Bench) -> Call[None]:
    """Filling in receives (uring_prep_ns), and one call for many entries: receives that must wait
    (uring_sqe_ns), their completions (uring_recv_ns), and sends (uring_send_ns); and sends one by
    one (uring_reap_ns)."""
    kernel = bench.kernel
    ring = yield from kernel.io_uring_setup(ENTRIES)
    yield from bench.connect()
    fds = bench.fds

    def receive() -> Call[None]:
        for fd in fds:
            kernel.prep_recv(ring, fd, READ_BYTES, fd)
        return
        yield

    def send() -> Call[None]:
        for fd in fds:
            kernel.prep_send(ring, fd, SMALL_BYTES, fd)
        yield from kernel.io_uring_enter(ring, BATCH)

    def send_one(fd: int) -> Call[None]:
        kernel.prep_send(ring, fd, SMALL_BYTES, fd)
        yield from kernel.io_uring_enter(ring, 1)

    copy = bench.copy(SMALL_BYTES)
    call = {"uring_enter_ns": 1.0, "uring_reap_ns": 1.0}
    calls = dict.fromkeys(call, EACH)
    # The first receive on a connection makes its buffer.
    yield from receive()
    yield from kernel.io_uring_enter(ring, 0)
    yield from bench.feed(fds)
    yield from kernel.io_uring_enter(ring, BATCH)
    yield from bench.answer(fds)
    for _ in range(bench.rounds):
        yield from bench.time("fill in", receive(), BATCH, uring_prep_ns=1)
        block = kernel.io_uring_enter(ring, 0)
        yield from bench.time("arm", block, BATCH, uring_sqe_ns=1, uring_enter_ns=EACH)
        yield from bench.feed(fds)
        block = kernel.io_uring_enter(ring, BATCH)
        yield from bench.time("complete", block, BATCH, uring_recv_ns=1, **calls, **copy)
        entry = {"uring_prep_ns": 1.0, "uring_send_ns": 1.0} | copy | in_turn(BATCH)
        yield from bench.time("send", send(), BATCH, **entry, **calls)
        yield from bench.peer.drain(BATCH, SMALL_BYTES)
        one_by_one = each(send_one, fds)
        yield from bench.time("send one by one", one_by_one, BATCH, **entry, **call)
        yield from bench.peer.drain(BATCH, SMALL_BYTES)


@benchmark(needs="io_uring")
def io_uring_multishot(bench: Bench) -> Call[None]:
    """Receives that complete again and again (uring_multishot_ns), and giving back the buffers
    that they fill (uring_buffer_ns)."""
    kernel = bench.kernel
    ring = yield from kernel.io_uring_setup(ENTRIES)
    yield from kernel.io_uring_register_buffers(ring, 2 * BATCH, 4_096)
    yield from bench.connect()
    for fd in bench.fds:
        kernel.prep_recv_multishot(ring, fd, fd)
    yield from kernel.io_uring_enter(ring, 0)
    buffers: list[int] = []

    def complete() -> Call[None]:
        for done in (yield from kernel.io_uring_enter(ring, BATCH)):
            assert done.buffer is not None
            buffers.append(done.buffer)

    def give_back() -> Call[None]:
        for buffer in buffers:
            kernel.io_uring_return_buffer(ring, buffer)
        return
        yield

    copy: dict[str, Any] = bench.copy(SMALL_BYTES)
    calls = {"uring_enter_ns": EACH, "uring_reap_ns": EACH}
    yield from bench.answer(bench.fds)
    for _ in range(bench.rounds):
        yield from bench.feed(bench.fds)
        yield from bench.time("complete", complete(), BATCH, uring_multishot_ns=1, **calls, **copy)
        yield from bench.time("give back", give_back(), BATCH, uring_buffer_ns=1)
        buffers.clear()
        yield from bench.answer(bench.fds)


MESSAGES = 18
"""In a row, one by one."""
WARM_UP = 2
"""Of them, not counted."""
PAUSE_NS = 60_000
"""Before each."""
STALLED_NS = 300_000
"""An answer that takes longer had to wait until the scheduler took the core from the thread."""


@benchmark(needs="io_uring")
def io_uring_sqpoll(bench: Bench) -> Call[None]:
    """Submitting while the kernel thread of SQPOLL is awake (uring_peek_ns)."""
    kernel = bench.kernel
    ring = yield from kernel.io_uring_setup(ENTRIES, sqpoll_idle_ns=2_000_000_000)
    yield from bench.connect(1)
    fd = bench.fds[0]

    def submit() -> Call[None]:
        kernel.prep_send(ring, fd, SMALL_BYTES, fd)
        yield from kernel.io_uring_submit(ring)

    yield from submit()
    yield from kernel.io_uring_enter(ring, 1)
    yield from bench.peer.drain(1, SMALL_BYTES)
    for _ in range(bench.rounds):
        block = times(BATCH, submit)
        yield from bench.time("submit", block, BATCH, uring_prep_ns=1, uring_peek_ns=1)
        yield from kernel.io_uring_enter(ring, BATCH)
        yield from bench.peer.drain(1, BATCH * SMALL_BYTES)


@benchmark(needs="io_uring")
def io_uring_woken(bench: Bench) -> Call[None]:
    """A message to a program that sleeps in io_uring_enter, and its answer, beside one that sleeps
    in epoll_wait (uring_wait_ns): by processor time."""
    kernel = bench.kernel
    ring = yield from kernel.io_uring_setup(ENTRIES)
    yield from bench.connect(1)
    fd = bench.fds[0]
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)

    def by_epoll(last: bool) -> Call[None]:
        yield from kernel.epoll_wait(epfd, 1)
        kernel.requests(fd, (yield from kernel.recv(fd)))
        yield from kernel.send(fd, SMALL_BYTES)

    def by_ring(last: bool) -> Call[None]:
        yield from _answer(kernel, ring, fd, last)

    def block(answer: Callable[[bool], Call[None]]) -> Call[tuple[list[int], float]]:
        before_ns = bench.place.pulse_ns()
        yield from bench.peer.exchange([PAUSE_NS] * MESSAGES, SMALL_BYTES)
        spent_ns = []
        for number in range(MESSAGES):
            # Else the tick of the idle core would go on some times and not at others.
            bench.place.set_timer(2 * PAUSE_NS)
            began_ns = kernel.process_time_ns()
            yield from answer(number == MESSAGES - 1)
            spent_ns.append(kernel.process_time_ns() - began_ns)
        yield from bench.peer.exchanged()
        return spent_ns[WARM_UP:-1], max(before_ns, bench.place.pulse_ns())

    expected = dict.fromkeys(("uring_wait_ns", "uring_recv_ns", "uring_send_ns"), 1.0)
    expected |= {"uring_enter_ns": 2, "uring_reap_ns": 2, "uring_prep_ns": 2, "uring_sqe_ns": 1}
    expected |= dict.fromkeys(("epoll_wait_ns", "epoll_event_ns", "recv_ns", "send_ns"), -1)
    for _ in range(2 * bench.rounds):
        epoll_ns, pulse_ns = yield from block(by_epoll)
        kernel.prep_recv(ring, fd, READ_BYTES, "received")
        ring_ns, ring_pulse_ns = yield from block(by_ring)
        for difference_ns in np.subtract(ring_ns, epoll_ns).tolist():
            about = "io_uring instead of epoll"
            bench.note(about, difference_ns, max(pulse_ns, ring_pulse_ns), **expected)


def _answer(kernel: Kernel, ring: Any, fd: int, last: bool = False) -> Call[None]:
    """Wait for a message and answer it through a ring, and for the end of that; unless it is the
    last, receive the next."""
    sent = False
    while not sent:
        for what, nbytes in (yield from kernel.io_uring_enter(ring, 1)):
            if what == "received":
                kernel.requests(fd, nbytes)
                kernel.prep_send(ring, fd, SMALL_BYTES, "sent")
                if not last:
                    kernel.prep_recv(ring, fd, READ_BYTES, "received")
            sent = sent or what == "sent"


@benchmark(needs="io_uring")
def io_uring_sqpoll_answer(bench: Bench) -> Call[None]:
    """From a message to its answer through a ring that a kernel thread on the same core works,
    which looks for work without end (sqpoll_look_ns), and the processor time of the program.

    It finds the message, carries out the receive, and the program is woken; that submits the
    answer and sleeps, and the thread finds the submission. When it is carried out the program is
    woken once more.
    """
    kernel = bench.kernel
    ring = yield from kernel.io_uring_setup(ENTRIES, sqpoll_idle_ns=2_000_000_000)
    yield from bench.connect(1)
    fd = bench.fds[0]
    steps = "uring_enter", "uring_reap", "uring_wait", "context_switch"
    program = {f"{step}_ns": 2.0 for step in steps} | {"request_ns": 1.0, "uring_prep_ns": 2.0}
    others = "delivery", "sqpoll_look", "uring_recv", "reply"
    answer = {f"{step}_ns": 1.0 for step in (*steps, *others)}
    answer |= {"request_ns": 1.0, "uring_prep_ns": 2.0, "context_switch_ns": 2.0}
    # Into the socket at this end, out of it, and into that at the other.
    answer |= {name: 3 * times for name, times in bench.copy(SMALL_BYTES).items()}
    kernel.prep_recv(ring, fd, READ_BYTES, "received")
    for _ in range(4 * bench.rounds):
        before_ns = bench.place.pulse_ns()
        yield from bench.peer.exchange([PAUSE_NS] * MESSAGES, SMALL_BYTES)
        began_ns = kernel.thread_time_ns()
        for _ in range(MESSAGES):
            yield from _answer(kernel, ring, fd)
        spent_ns = kernel.thread_time_ns() - began_ns
        pulse_ns = max(before_ns, bench.place.pulse_ns())
        bench.note("program", spent_ns / MESSAGES, pulse_ns, **program)
        for one in (yield from bench.peer.exchanged())[WARM_UP:]:
            took_ns = one.replied_ns - one.sent_ns
            if took_ns < STALLED_NS:
                bench.note("answer", took_ns, pulse_ns, **answer)
