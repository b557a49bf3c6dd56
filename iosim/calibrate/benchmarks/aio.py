"""POSIX AIO of the C library."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean
from typing import NamedTuple

from iosim.calibrate.bench import SMALL_BYTES, Bench, benchmark, each, in_turn
from iosim.kernel import READ_BYTES, SIGRTMIN, Call

READS = 32
"""In a row, each for a helper. Of some a helper takes two at once, which shows the more the more
its memory has left the caches meanwhile."""
PAUSE_NS = 2_000_000
"""Long enough for all helpers to get as far as they can."""


class HandOver(NamedTuple):
    """Reads begun on all connections: processor time for each of them, how often the program lost
    the core meanwhile for each, and the pulse."""

    spent_ns: float
    switches: float
    pulse_ns: float


@benchmark(needs="aio")
def aio(bench: Bench) -> Call[None]:
    """Reads of data that is there: handing one over (aio_read_ns), taking its result
    (aio_return_ns), and what the helper thread does for it (aio_take_ns, aio_helper_ns). And reads
    that have to wait, which helpers only take up (aio_take_ns).

    A helper that wakes up with data would add its wake-up. A helper is switched to for each read,
    or nearly; if it takes the core from the program at once, the program is switched to once more.
    """
    kernel = bench.kernel
    yield from kernel.sigblock([SIGRTMIN])
    yield from kernel.aio_init(1024)
    # A helper sleeps in read; on a nonblocking socket it would get EAGAIN.
    yield from bench.connect(READS, nonblocking=False)
    taken = {"aio_take_ns": 1.0, "context_switch_ns": 1.0}
    # A helper for each connection, and the program.
    taken |= in_turn(1, threads=READS + 1)
    done = {"aio_helper_ns": 1.0} | bench.copy(SMALL_BYTES)
    begun: list[HandOver] = []
    # Many rounds do not count: a helper that is told of a read which another has taken ends.
    for _ in range(6 * bench.rounds):
        yield from bench.answer(bench.fds)
        yield from bench.feed(bench.fds)
        yield from _helped(bench, "helper", _hand_over_and_take(bench, begun), taken | done)
        yield from _helped(bench, "helper, no data", _hand_over(bench, begun), taken)
        yield from bench.feed(bench.fds)
        yield from _take(bench)
    begun.sort(key=lambda one: one.switches)
    middle = len(begun) // 2
    for about, some in (("seldom", begun[:middle]), ("often", begun[middle:])):
        for one in some:
            expected = {"aio_read_ns": 1.0, "context_switch_ns": fmean(o.switches for o in some)}
            bench.note(f"aio_read, {about} preempted", one.spent_ns, one.pulse_ns, **expected)


def _helped(
    bench: Bench, about: str, block: Call[None], expected: Mapping[str, float]
) -> Call[None]:
    """Take down the processor time of all helpers while the program does something."""
    kernel = bench.kernel
    # A helper that has not come to rest cannot take a read, and another would be started.
    yield from kernel.nanosleep(PAUSE_NS)
    threads = bench.place.threads()
    before_ns = bench.place.calm_pulse_ns()
    helpers_ns = kernel.thread_time_ns() - kernel.process_time_ns()
    yield from block
    helpers_ns += kernel.process_time_ns() - kernel.thread_time_ns()
    pulse_ns = max(before_ns, bench.place.pulse_ns())
    # If it was started all the same, that is another cost.
    if bench.place.threads() == threads:
        bench.note(about, helpers_ns / READS, pulse_ns, **expected)


def _hand_over(bench: Bench, begun: list[HandOver]) -> Call[None]:
    """Begin a read on every connection, and let the helpers get on with it."""
    kernel, threads = bench.kernel, bench.place.threads()
    block = each(lambda fd: kernel.aio_read(fd, READ_BYTES, SIGRTMIN), bench.fds)
    switches = -kernel.involuntary_switches()
    spent_ns, pulse_ns = yield from bench.spent(block)
    switches += kernel.involuntary_switches()
    yield from kernel.nanosleep(PAUSE_NS)
    if bench.place.threads() == threads:
        begun.append(HandOver(spent_ns / READS, switches / READS, pulse_ns))


def _take(bench: Bench) -> Call[None]:
    """Take the results of the reads on all connections."""
    kernel, done = bench.kernel, []
    for _ in bench.fds:
        done.append((yield from kernel.sigwaitinfo((SIGRTMIN,)))[1])
    yield from bench.time("aio_return", each(kernel.aio_return, done), READS, aio_return_ns=1)


def _hand_over_and_take(bench: Bench, begun: list[HandOver]) -> Call[None]:
    yield from _hand_over(bench, begun)
    yield from _take(bench)
