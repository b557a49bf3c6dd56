"""POSIX AIO of the C library."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import fmean

from iosim.calibrate.bench import SMALL_BYTES, Bench, benchmark, each, in_turn
from iosim.kernel import READ_BYTES, SIGRTMIN, Call

READS = 32
"""Each for a helper of its own."""
PAUSE_NS = 200_000
"""After each, so that its helper gets as far as it can. Else another one might take the read it was
woken for, and it would end, and others be started."""


@benchmark(needs="aio")
def aio(bench: Bench) -> Call[None]:
    """Reads of data that is there: handing one over (aio_read_ns), taking its result
    (aio_return_ns), and what the helper thread does for it (aio_take_ns, aio_helper_ns). And reads
    that have to wait, which helpers only take up (aio_take_ns).

    A helper that wakes up with data would add its wake-up. A helper is switched to for each read;
    if it takes the core from the program at once, the program is switched to once more.
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
    for _ in range(1 + 3 * bench.rounds):
        yield from bench.answer(bench.fds)
        yield from bench.feed(bench.fds)
        yield from _helped(bench, "helper", _hand_over_and_take(bench), taken | done)
        yield from _helped(bench, "helper, no data", _hand_over(bench), taken)
        yield from bench.feed(bench.fds)
        yield from _take(bench)


def _helped(
    bench: Bench, about: str, block: Call[None], expected: Mapping[str, float]
) -> Call[None]:
    """Take down the processor time of all helpers while the program does something."""
    kernel = bench.kernel
    threads = bench.place.threads()
    before_ns = bench.place.calm_pulse_ns()
    helpers_ns = kernel.thread_time_ns() - kernel.process_time_ns()
    yield from block
    helpers_ns += kernel.process_time_ns() - kernel.thread_time_ns()
    pulse_ns = max(before_ns, bench.place.pulse_ns())
    # If it was started all the same, that is another cost.
    if bench.place.threads() == threads:
        bench.note(about, helpers_ns / READS, pulse_ns, **expected)


def _hand_over(bench: Bench) -> Call[None]:
    """Begin a read on every connection, and let its helper get on with it before the next."""
    kernel, threads = bench.kernel, bench.place.threads()
    spent_ns: dict[int, list[float]] = {}
    before_ns = bench.place.calm_pulse_ns()
    for fd in bench.fds:
        began_ns, switches = kernel.thread_time_ns(), -kernel.involuntary_switches()
        yield from kernel.aio_read(fd, READ_BYTES, SIGRTMIN)
        took_ns = kernel.thread_time_ns() - began_ns - bench.overhead_ns
        switches += kernel.involuntary_switches()
        spent_ns.setdefault(switches, []).append(took_ns)
        yield from kernel.nanosleep(PAUSE_NS)
    pulse_ns = max(before_ns, bench.place.pulse_ns())
    if bench.place.threads() != threads:
        return
    for switches, took in spent_ns.items():
        about, expected = f"aio_read, preempted {switches} times", {"context_switch_ns": switches}
        bench.note(about, fmean(took), pulse_ns, aio_read_ns=1, **expected)


def _take(bench: Bench) -> Call[None]:
    """Take the results of the reads on all connections."""
    kernel, done = bench.kernel, []
    for _ in bench.fds:
        done.append((yield from kernel.sigwaitinfo((SIGRTMIN,)))[1])
    yield from bench.time("aio_return", each(kernel.aio_return, done), READS, aio_return_ns=1)


def _hand_over_and_take(bench: Bench) -> Call[None]:
    yield from _hand_over(bench)
    yield from _take(bench)
