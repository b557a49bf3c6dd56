"""What a message takes to the other end, and what waking a thread up for it adds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import numpy as np

from iosim.calibrate.bench import SMALL_BYTES, Bench, benchmark
from iosim.calibrate.benchmarks.readiness import COUNTS
from iosim.kernel import EAGAIN, EPOLL_CTL_ADD, Call, FdSet

OFTEN = {10_000: 2, 30_000: 3, 60_000: 4, 100_000: 4, 200_000: 3, 400_000: 1}
"""Pauses after which the wake-up of a sleeping program is measured, and how often each comes in a
row, mixed: about as requests come at random every 100 us. Cores and hypervisors go by the last
pauses when they choose how deeply to sleep; on the virtual machine where it was tried a wake-up
after 100 us took 27 us of processor time where all pauses were so long, and 40 us among others."""
SELDOM = {1_000_000: 16, 4_000_000: 4, 20_000_000: 1}
"""Longer ones, not mixed, so that a row of them does not take too long."""
IDLE_NS = (*OFTEN, *SELDOM)
TICKING_NS = tuple(OFTEN)[1:]
"""Pauses after which it is measured while the tick goes on. Setting a timer takes the shortest."""
TIMER_NS = 50_000
"""So long after each pause a timer is due that has the tick go on, unless the next tick comes in
between."""
CHUNK = 16
"""Messages in a row."""
WARM_UP = 2
"""Before them, and not counted."""
PAUSE_NS = 1_000_000
"""Between messages to poll."""
SCAN_NS = 100_000
"""About how long poll takes before it sleeps over the most descriptors: the core idles as long."""
_GOLDEN = 0.618034


@benchmark()
def delivery(bench: Bench) -> Call[None]:
    """From the begin of a send to data at the other end, seen by a program that spins on its socket
    (delivery_ns), and back again (reply_ns). And how long it then takes the other end, beyond the
    pause it makes, until the next send (client_turn_ns).

    Data is found half an empty try after it has come, on average: pauses differ, so that it comes
    at all times of a try.
    """
    kernel, copy = bench.kernel, bench.copy(SMALL_BYTES)
    twice = {name: 2 * times for name, times in copy.items()}
    yield from bench.connect(1)
    fd = bench.fds[0]
    expected = {"delivery_ns": 1.0, "recv_ns": 1.0, "eagain_ns": 0.5} | twice
    for first in range(0, 16 * bench.rounds, CHUNK):
        before_ns = bench.place.pulse_ns()
        parts = (number * _GOLDEN % 1 for number in range(first, first + CHUNK))
        pauses_ns = [0, 0] + [50_000 + int(20_000 * part) for part in parts]
        yield from bench.peer.exchange(pauses_ns, SMALL_BYTES)
        seen = []
        for _ in range(WARM_UP + CHUNK):
            while (yield from kernel.recv(fd)) == EAGAIN:
                pass
            seen.append(kernel.monotonic_ns())
            yield from kernel.send(fd, SMALL_BYTES)
        pulse_ns = max(before_ns, bench.place.pulse_ns())
        told = yield from bench.peer.exchanged()
        turns = zip(told, told[1:], pauses_ns[1:], strict=False)
        for exchange, following, pause_ns in list(turns)[WARM_UP:]:
            turn_ns = following.sent_ns - exchange.replied_ns - pause_ns
            bench.note("turn", turn_ns, pulse_ns, client_turn_ns=1)
        for copied_ns, exchange in list(zip(seen, told, strict=True))[WARM_UP:]:
            bench.note("there", copied_ns - exchange.sent_ns, pulse_ns, **expected)
            bench.note("back", exchange.replied_ns - copied_ns, pulse_ns, reply_ns=1, **copy)


@benchmark()
def wakeups(bench: Bench) -> Call[None]:
    """Waking a program that sleeps in epoll_wait, after pauses of many lengths.

    For each: for how long it slept; how late after the send it knows of the message; how long it
    then takes until the answer is there; its processor time for all that; and what the send took
    that woke it. `iosim.calibrate.estimate` takes off what is known.
    """
    yield from _all_woken(bench, [[idle_ns] * times for idle_ns, times in SELDOM.items()])


@benchmark()
def wakeups_ticking(bench: Bench) -> Call[None]:
    """The same while the tick of the idle core goes on, since a timer is due: after short pauses,
    as a longer one would be interrupted by it."""
    yield from _all_woken(bench, [], TIMER_NS)


def _all_woken(
    bench: Bench, seldom: Sequence[list[int]], timer_ns: int | None = None
) -> Call[None]:
    """Answer messages after short pauses, and after those of `seldom`."""
    kernel = bench.kernel
    yield from bench.connect(1)
    fd = bench.fds[0]
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
    looking_ns = _looking_ns(bench)
    mixed = [idle_ns for idle_ns, times in OFTEN.items() for _ in range(times)]
    generator = np.random.default_rng(1)
    for _ in range(bench.rounds):
        rows = [generator.permutation(mixed).tolist() for _ in range(3)]
        for pauses_ns in [*rows, *seldom]:
            yield from _woken(bench, epfd, fd, pauses_ns, looking_ns, timer_ns)


@benchmark()
def poll_woken(bench: Bench) -> Call[None]:
    """How much later poll returns that slept over many descriptors instead of one: it looks at all
    of them again and leaves their wait queues (scan_leave_fd_ns)."""
    kernel, count = bench.kernel, max(COUNTS)
    yield from bench.connect(count)
    fd = bench.fds[0]
    alone, everything = kernel.poll_set(), kernel.poll_set()
    alone.add(fd)
    for each in bench.fds:
        everything.add(each)

    def late(pause_ns: int, watched: FdSet) -> Call[tuple[list[int], float]]:
        before_ns = bench.place.pulse_ns()
        yield from bench.peer.exchange([pause_ns] * (WARM_UP + CHUNK), SMALL_BYTES)
        seen = []
        for _ in range(WARM_UP + CHUNK):
            yield from kernel.poll(watched)
            seen.append(kernel.monotonic_ns())
            kernel.requests(fd, (yield from kernel.recv(fd)))
            yield from kernel.send(fd, SMALL_BYTES)
        pulse_ns = max(before_ns, bench.place.pulse_ns())
        told = yield from bench.peer.exchanged()
        late_ns = [at_ns - one.sent_ns for at_ns, one in zip(seen, told, strict=True)]
        return late_ns[WARM_UP:], pulse_ns

    expected = bench.scan("poll", count, 0)
    for name, times in bench.scan("poll", 1, 0).items():
        expected[name] -= times
    expected["scan_leave_fd_ns"] = count - 1
    for _ in range(bench.rounds):
        one_ns, pulse_ns = yield from late(PAUSE_NS, alone)
        all_ns, all_pulse_ns = yield from late(PAUSE_NS + SCAN_NS, everything)
        for difference_ns in np.subtract(all_ns, one_ns).tolist():
            about = f"{count} instead of 1"
            bench.note(about, difference_ns, max(pulse_ns, all_pulse_ns), **expected)


def _looking_ns(bench: Bench) -> float:
    """Processor time that looking at the clocks adds to a message."""
    kernel = bench.kernel
    spent_ns = []
    for _ in range(200):
        began_ns = kernel.process_time_ns()
        kernel.monotonic_ns()
        kernel.monotonic_ns()
        spent_ns.append(kernel.process_time_ns() - began_ns)
    return median(spent_ns)


def _woken(
    bench: Bench,
    epfd: int,
    fd: int,
    pauses_ns: list[int],
    looking_ns: float,
    timer_ns: int | None,
) -> Call[None]:
    """Answer a message after each pause, with a timer that is due so long after it."""
    kernel = bench.kernel
    before_ns = bench.place.pulse_ns()
    all_pauses_ns = pauses_ns[:1] * WARM_UP + pauses_ns
    yield from bench.peer.exchange(all_pauses_ns, SMALL_BYTES)
    seen = []
    for pause_ns in all_pauses_ns:
        if timer_ns is not None:
            bench.place.set_timer(pause_ns + timer_ns)
        spent_ns, began_ns = kernel.process_time_ns(), kernel.monotonic_ns()
        yield from kernel.epoll_wait(epfd, 1)
        noticed_ns = kernel.monotonic_ns()
        kernel.requests(fd, (yield from kernel.recv(fd)))
        yield from kernel.send(fd, SMALL_BYTES)
        seen.append((began_ns, noticed_ns, kernel.process_time_ns() - spent_ns))
    pulse_ns = max(before_ns, bench.place.pulse_ns())
    told = yield from bench.peer.exchanged()
    for idle_ns, (began_ns, noticed_ns, spent_ns), exchange in list(
        zip(all_pauses_ns, seen, told, strict=True)
    )[WARM_UP:]:
        for what, value in (
            ("slept", exchange.sent_ns - began_ns),
            ("late", noticed_ns - exchange.sent_ns),
            ("answer", exchange.replied_ns - noticed_ns),
            ("processor time", spent_ns - looking_ns),
            ("send", exchange.took_ns),
        ):
            bench.note(f"{what}, {idle_ns}", value, pulse_ns)
