"""What every other scenario relies on: `rest` and `step`."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import Call


@scenario(
    'scenario.py: kernel.rest() "sleeps until they do"; that does not end a kernel.step(), which '
    '"sleeps until the next step has been taken".',
    lambda client: client.connect(),
    lambda client: client.send(0, 7),
    expect="""
        accept(l0, True) = c0
        recv(c0, 100) = 7
        1: rests
        1: get(...) sleeps
    """,
)
def a_rest_is_not_a_step(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener, nonblocking=True)
    yield from kernel.spawn(rest)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)


def rest(kernel: Any) -> Call[None]:
    yield from kernel.rest()
    kernel.note("rests")
    yield from kernel.get(kernel.queue())


@scenario(
    'scenario.py: kernel.step() "sleeps until the next step has been taken": one that a thread '
    "comes to because of a step ends with the step after it.",
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 2),
    expect="""
        accept(l0) = c0
        get(...) = 2
        1: recv(c0, 100) = 1
        1: recv(c0, 100) = 2
        1: put(..., 2)
    """,
)
def a_step_lets_go_who_waited_for_it(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    queue = kernel.queue()
    yield from kernel.spawn(read_before_and_after_a_step, fd, queue)
    yield from kernel.rest()
    yield from kernel.step()
    yield from kernel.get(queue)


def read_before_and_after_a_step(kernel: Any, fd: int, queue: Any) -> Call[None]:
    yield from kernel.recv(fd, 100)
    yield from kernel.step()
    yield from kernel.put(queue, (yield from kernel.recv(fd, 100)))
