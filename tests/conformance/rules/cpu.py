"""Threads: who runs, who sleeps, and who is woken."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import Call

MS = 1_000_000


@scenario(
    "pthread_cond_signal(3p): unblocks at least one of the threads that are blocked on the "
    "condition variable; one item is handed to one thread, and the other sleeps on.",
    expect="""
        put(..., 7)
        1: get(...) = 7
        2: get(...) sleeps
    """,
)
def an_item_wakes_the_thread_that_has_waited_longest(kernel: Any, listener: int) -> Call[None]:
    queue = kernel.queue()
    for _ in range(2):
        yield from kernel.spawn(take, queue)
        yield from kernel.rest()
    yield from kernel.put(queue, 7)


def take(kernel: Any, queue: Any) -> Call[None]:
    yield from kernel.get(queue)


@scenario(
    "A queue between threads keeps its items, in order, until somebody takes them: a condition "
    "variable has no memory, so the state that it guards must be looked at before waiting, "
    "pthread_cond_wait(3p).",
    expect="""
        put(..., 1)
        put(..., 2)
        put(..., 3)
        get(...) = 1
        get(...) = 2
        get(...) = 3
        get(...) sleeps
    """,
)
def items_wait_in_order(kernel: Any, listener: int) -> Call[None]:
    queue = kernel.queue()
    for item in (1, 2, 3):
        yield from kernel.put(queue, item)
    for _ in range(4):
        yield from kernel.get(queue)


@scenario(
    'clock_nanosleep(2): "suspends the execution of the calling thread until either at least the '
    'time specified by t has elapsed"; the shorter sleep ends first, whoever fell asleep first.',
    expect="""
        get(...) = 20
        get(...) = 900
        1: nanosleep(900000000)
        1: put(..., 900)
        2: nanosleep(20000000)
        2: put(..., 20)
    """,
)
def sleeps_end_in_the_order_of_their_ends(kernel: Any, listener: int) -> Call[None]:
    queue = kernel.queue()
    for ms in (900, 20):
        yield from kernel.spawn(sleep_and_tell, ms, queue)
    for _ in range(2):
        yield from kernel.get(queue)


def sleep_and_tell(kernel: Any, ms: int, queue: Any) -> Call[None]:
    yield from kernel.nanosleep(ms * MS)
    yield from kernel.put(queue, ms)


@scenario(
    'sched(7): "If a thread calls [...] another thread with a higher [claim] becomes ready, it '
    'preempts": a thread that wakes up need not wait until one that computes has finished.',
    expect="""
        nanosleep(20000000)
        put(..., 1)
        get(...) = 1
        get(...) = 400
        1: compute(400000000)
        1: put(..., 400)
    """,
)
def a_thread_that_wakes_up_preempts_one_that_computes(kernel: Any, listener: int) -> Call[None]:
    queue = kernel.queue()
    yield from kernel.spawn(compute_and_tell, 400, queue)
    yield from kernel.nanosleep(20 * MS)
    yield from kernel.put(queue, 1)
    for _ in range(2):
        yield from kernel.get(queue)


def compute_and_tell(kernel: Any, ms: int, queue: Any) -> Call[None]:
    yield from kernel.compute(ms * MS)
    yield from kernel.put(queue, ms)


@scenario(
    "sched(7): the default policy shares the processor among the runnable threads in slices of "
    "time; one that needs little is not kept waiting until one that needs much has finished.",
    expect="""
        get(...) = 20
        get(...) = 400
        1: compute(400000000)
        1: put(..., 400)
        2: compute(20000000)
        2: put(..., 20)
    """,
)
def threads_that_compute_share_the_core(kernel: Any, listener: int) -> Call[None]:
    queue = kernel.queue()
    for ms in (400, 20):
        yield from kernel.spawn(compute_and_tell, ms, queue)
    for _ in range(2):
        yield from kernel.get(queue)


@scenario(
    "pthreads(7): threads are scheduled each on its own; one that sleeps in a system call does not "
    "stop the others of its process.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(1, 5),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        recv(c1, 100) = 5
        send(c1, 5) = 5
        1: recv(c0, 100) sleeps
    """,
)
def a_call_that_sleeps_stops_its_own_thread_only(kernel: Any, listener: int) -> Call[None]:
    first = yield from kernel.accept(listener)
    yield from kernel.spawn(read, first)
    second = yield from kernel.accept(listener)
    yield from kernel.recv(second, 100)
    yield from kernel.send(second, 5)


def read(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.recv(fd, 100)


@scenario(
    "accept(2): the call waits until a connection is present; of several threads that wait for one "
    "only one is woken, in the order of their waiting.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        1: accept(l0) = c0
        2: accept(l0) = c1
    """,
)
def threads_in_accept_are_served_in_turn(kernel: Any, listener: int) -> Call[None]:
    for _ in range(2):
        yield from kernel.spawn(accept, listener)
        yield from kernel.rest()
    for _ in range(2):
        yield from kernel.step()
        yield from kernel.rest()


def accept(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
