"""Threads, what passes between them, and sleep."""

from __future__ import annotations

from typing import Any

from iosim.calibrate.bench import BATCH, Bench, benchmark, times
from iosim.kernel import Call, Kernel

PAUSE_NS = 100_000


@benchmark()
def queues(bench: Bench) -> Call[None]:
    """Putting an item into a queue nobody waits at, and taking one that is there
    (queue_put_ns, queue_get_ns)."""
    kernel = bench.kernel
    queue = kernel.queue()
    for _ in range(bench.rounds):
        yield from bench.time("put", times(BATCH, kernel.put, queue, 1), BATCH, queue_put_ns=1)
        yield from bench.time("get", times(BATCH, kernel.get, queue), BATCH, queue_get_ns=1)


@benchmark()
def context_switch(bench: Bench) -> Call[None]:
    """Two threads that pass an item to and fro on one core: a switch for each pass, beside
    putting and taking (context_switch_ns)."""
    kernel = bench.kernel
    there, back = kernel.queue(), kernel.queue()

    def echo(kernel: Kernel) -> Call[None]:
        while (yield from kernel.get(there)):
            yield from kernel.put(back, 1)

    def pass_it() -> Call[None]:
        yield from kernel.put(there, 1)
        yield from kernel.get(back)

    yield from kernel.spawn(echo)
    yield from pass_it()
    for _ in range(bench.rounds):
        began_ns = kernel.process_time_ns()
        yield from times(BATCH, pass_it)
        spent_ns = (kernel.process_time_ns() - began_ns) / (2 * BATCH)
        bench.note("pass", spent_ns, context_switch_ns=1, queue_put_ns=1, queue_get_ns=1)
    yield from kernel.put(there, 0)


@benchmark()
def thread_create(bench: Bench) -> Call[None]:
    """Starting threads that end at once (thread_create_ns)."""
    kernel = bench.kernel
    ended = kernel.queue()

    def end(kernel: Kernel) -> Call[None]:
        yield from kernel.put(ended, 1)

    for _ in range(bench.rounds):
        spawn = times(BATCH, kernel.spawn, end)
        yield from bench.time("spawn", spawn, BATCH, thread_create_ns=1)
        yield from times(BATCH, kernel.get, ended)


@benchmark()
def nanosleep(bench: Bench) -> Call[None]:
    """Sleeping for 100 us: its processor time (nanosleep_ns) and how late it ends
    (timer_slack_ns), each beside the wake-up from so short a sleep."""
    kernel = bench.kernel

    def late_ns() -> Call[Any]:
        began_ns = kernel.monotonic_ns()
        yield from kernel.nanosleep(PAUSE_NS)
        bench.note("late", kernel.monotonic_ns() - began_ns - PAUSE_NS)

    for _ in range(4 * bench.rounds):
        yield from bench.time("processor time", late_ns(), 1)
