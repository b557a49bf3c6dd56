"""POSIX AIO of the C library."""

from __future__ import annotations

from iosim.calibrate.bench import BATCH, SMALL_BYTES, Bench, benchmark, each
from iosim.kernel import READ_BYTES, SIGRTMIN, Call


@benchmark(needs="aio")
def aio(bench: Bench) -> Call[None]:
    """Reads of data that is there: handing one over (aio_read_ns), taking its result
    (aio_return_ns), and what the helper thread does for it (aio_helper_ns).

    The data is there first: a helper that had to wait for it would add its wake-up. A helper is
    switched to for each read, or nearly; if it takes the core from the program at once, the program
    is switched to once more.
    """
    kernel = bench.kernel
    yield from kernel.sigblock([SIGRTMIN])
    yield from kernel.aio_init(1024)
    # A helper sleeps in read; on a nonblocking socket it would get EAGAIN.
    yield from bench.connect(nonblocking=False)
    for _ in range(bench.rounds):
        yield from bench.feed(bench.fds)
        before_ns = bench.place.calm_pulse_ns()
        helpers_ns = kernel.thread_time_ns() - kernel.process_time_ns()
        block = each(lambda fd: kernel.aio_read(fd, READ_BYTES, SIGRTMIN), bench.fds)
        switches = -kernel.involuntary_switches()
        spent_ns, pulse_ns = yield from bench.spent(block)
        switches += kernel.involuntary_switches()
        each_times = round(16 * switches / BATCH) / 16
        expected = {"aio_read_ns": 1, "context_switch_ns": each_times}
        about = f"aio_read, preempted {each_times} times"
        bench.note(about, spent_ns / BATCH, pulse_ns, **expected)
        done = []
        for _ in bench.fds:
            done.append((yield from kernel.sigwaitinfo((SIGRTMIN,)))[1])
        yield from bench.time("aio_return", each(kernel.aio_return, done), BATCH, aio_return_ns=1)
        helpers_ns += kernel.process_time_ns() - kernel.thread_time_ns()
        pulse_ns = max(before_ns, bench.place.pulse_ns())
        expected = {"aio_helper_ns": 1.0, "context_switch_ns": 1.0} | bench.copy(SMALL_BYTES)
        bench.note("helper", helpers_ns / BATCH, pulse_ns, **expected)
