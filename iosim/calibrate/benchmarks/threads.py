"""Threads, what passes between them, and sleep."""

from __future__ import annotations

from statistics import median
from typing import Any

from iosim.calibrate.bench import BATCH, SMALL_BYTES, Bench, benchmark, in_turn, times
from iosim.kernel import Call, Kernel
from iosim.models.base import answer

PAUSE_NS = 100_000
WAKE_PAUSE_NS = 60_000
THREADS = (256, 3_072)
"""That are woken in turn: the memory of so many is not in a second-level cache, and not all of it
in L3."""
GO_ROUND_FOR = 20
"""Rounds: going round is many measurements."""


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
    """Two threads that pass an item to and fro on one core: a switch for each pass, and the calls
    to sleep and to be woken, beside putting and taking (context_switch_ns, queue_wait_ns).

    The benchmark `aio` has switches without queues, and so tells the two apart.
    """
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
        spent_ns, pulse_ns = yield from bench.spent(times(BATCH, pass_it), kernel.process_time_ns)
        names = ("context_switch_ns", "queue_put_ns", "queue_get_ns", "queue_wait_ns")
        expected = dict.fromkeys(names, 1.0)
        bench.note("pass", spent_ns / (2 * BATCH), pulse_ns, **expected)
    yield from kernel.put(there, 0)


@benchmark()
def threads_in_turn(bench: Bench) -> Call[None]:
    """Waking one of many threads, which sleep in recv on connections of their own, in turn, beside
    waking always the same one: its memory has left the caches meanwhile (thread_miss_ns,
    thread_far_ns), as have its connection's data."""
    kernel = bench.kernel
    spent_ns: list[int] = []
    all_answered = kernel.queue()
    wanted = 0

    def answer_each(kernel: Kernel, fd: int) -> Call[None]:
        while True:
            # Else the tick of the idle core would go on some times and not at others.
            bench.place.set_timer(2 * WAKE_PAUSE_NS)
            began_ns = kernel.thread_time_ns()
            if (nbytes := (yield from kernel.recv(fd))) <= 0:
                return
            yield from answer(kernel, fd, nbytes)
            spent_ns.append(kernel.thread_time_ns() - began_ns)
            if len(spent_ns) == wanted:
                yield from kernel.put(all_answered, 1)

    def woken(threads: int) -> Call[tuple[list[float], float]]:
        """Go round twice; what each took the second time, the middle of so many in a row."""
        nonlocal wanted
        spent_ns.clear()
        wanted = 2 * max(threads, BATCH)
        before_ns = bench.place.pulse_ns()
        yield from bench.peer.exchange([WAKE_PAUSE_NS] * wanted, SMALL_BYTES, threads)
        yield from kernel.get(all_answered)
        yield from bench.peer.exchanged()
        middles_ns = [
            median(spent_ns[first : first + BATCH]) for first in range(wanted // 2, wanted, BATCH)
        ]
        return middles_ns, max(before_ns, bench.place.pulse_ns())

    for many in THREADS:
        if many > bench.place.most_threads():
            break
        before = len(bench.fds)
        yield from bench.connect(many - before, nonblocking=False)
        for fd in bench.fds[before:]:
            yield from kernel.spawn(answer_each, fd)
        expected = in_turn(many, threads=many)
        for _ in range(-(-bench.rounds // GO_ROUND_FOR)):
            (one_ns,), pulse_ns = yield from woken(1)
            many_ns, many_pulse_ns = yield from woken(many)
            pulse_ns = max(pulse_ns, many_pulse_ns)
            for each_ns in many_ns:
                bench.note(f"{many} instead of 1", each_ns - one_ns, pulse_ns, **expected)
    yield from bench.peer.hang_up(len(bench.fds))


@benchmark()
def interpreter_lock(bench: Bench) -> Call[None]:
    """Threads that pass the global interpreter lock on, and a switch each time (gil_handoff_ns).

    No program of system calls: the place has threads of its own for it.
    """
    bench.place.calm_pulse_ns()
    for took_ns, pulse_ns in bench.place.handoffs_ns(bench.rounds):
        bench.note("passed on", took_ns, pulse_ns, gil_handoff_ns=1, context_switch_ns=1)
    return
    yield


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

    late_ns = 0

    def sleep() -> Call[Any]:
        nonlocal late_ns
        began_ns = kernel.monotonic_ns()
        yield from kernel.nanosleep(PAUSE_NS)
        late_ns = kernel.monotonic_ns() - began_ns - PAUSE_NS

    for _ in range(8 * bench.rounds):
        # What sleeping does to the core's speed is part of it, see `wakeups`.
        spent_ns, _ = yield from bench.spent(sleep())
        bench.note("processor time", spent_ns)
        bench.note("late", late_ns)
