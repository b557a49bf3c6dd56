"""Signal handlers on simulated time: when they run and what they cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from round_costs import round_costs

from iosim.errors import RunFailed
from iosim.kernel import SIGIO, SIGRTMIN, Call, Kernel
from iosim.machine import Machine
from iosim.models import get
from iosim.models.base import answer
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload

HANDLER_NS = 400

LOAD = Workload(
    connections=1,
    requests=1,
    arrivals="even",
    rate_per_s=100_000,
    request_bytes=50,
    reply_bytes=30,
    service=0,
)
"""One request, due after 10,000 ns and 50 later on its socket."""


def program(
    then: Callable[[Kernel, int, list[int]], Call[None]], signal: int = SIGIO, block: bool = False
) -> Callable[[Kernel, int], Call[None]]:
    """Accept one connection that signals, with a handler that takes the number down; go on."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        came: list[int] = []
        yield from kernel.sigaction(signal, came.append)
        if block:
            yield from kernel.sigblock([signal])
        fd = yield from kernel.accept(listener)
        yield from kernel.set_async(fd, signal)
        yield from then(kernel, fd, came)

    return program


def calls(program: Any, load: Workload = LOAD, **options: Any) -> dict[str, list[tuple[int, int]]]:
    """Begin and end of the calls under load, or under way when it began, by name."""
    trace = Trace()
    profile = round_costs().scaled(signal_handler_ns=HANDLER_NS / 100)
    simulate(program, load, profile=profile, trace=trace, **options)
    found: dict[str, list[tuple[int, int]]] = {}
    for call in trace.calls:
        if call.end_ns is not None and call.end_ns >= 0:
            found.setdefault(call.name, []).append((call.begin_ns, call.end_ns))
    return found


def reply(kernel: Kernel, fd: int) -> Call[None]:
    yield from answer(kernel, fd, (yield from kernel.recv(fd)))


def compute(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
    # The load begins long after the program has set itself up.
    yield from kernel.nanosleep(10_000_000)
    while not came:
        yield from kernel.compute(1_000_000)
    yield from reply(kernel, fd)


def test_handler_makes_computing_longer_and_is_seen_at_its_end() -> None:
    computing = calls(program(compute))["compute"]
    # Only the computing that the signal falls into takes longer.
    assert [end - begin for begin, end in computing[:-1]] == [1_000_000] * (len(computing) - 1)
    begin_ns, end_ns = computing[-1]
    assert begin_ns <= 10_050 < end_ns
    assert end_ns - begin_ns == 1_000_000 + HANDLER_NS


def test_handler_beyond_a_time_slice() -> None:
    def long(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
        while not came:
            yield from kernel.compute(50_000_000)
        yield from reply(kernel, fd)

    (begin_ns, end_ns) = calls(program(long), machine=Machine(time_slice_ns=1_000))["compute"][-1]
    assert end_ns - begin_ns == 50_000_000 + HANDLER_NS


def test_blocked_signals_do_not_interrupt() -> None:
    def block(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
        yield from kernel.compute(50_000_000)
        assert not came
        yield from kernel.sigunblock([SIGIO])
        assert came == [SIGIO]
        yield from reply(kernel, fd)

    found = calls(program(block, block=True))
    ((begin_ns, end_ns),) = found["compute"]
    assert end_ns - begin_ns == 50_000_000
    ((begin_ns, end_ns),) = found["sigunblock"]
    assert end_ns - begin_ns == 100 + HANDLER_NS


def test_handler_interrupts_a_sleep_that_goes_on() -> None:
    """Wake-up 1000, handler, asleep again; the timer's time stays as it was."""

    def nap(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
        yield from kernel.nanosleep(50_000_000)
        assert came == [SIGIO]
        yield from reply(kernel, fd)

    def undisturbed(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        yield from kernel.nanosleep(50_000_000)
        yield from reply(kernel, fd)

    trace = Trace()
    profile = round_costs().scaled(signal_handler_ns=HANDLER_NS / 100)
    simulate(program(nap), LOAD, profile=profile, trace=trace)
    states = [(change.at_ns, change.state) for change in trace.states if change.at_ns > 0]
    assert states[:3] == [
        (10_050, "RUNNABLE"),
        (11_050, "RUNNING"),
        (11_050 + HANDLER_NS, "SLEEPING"),
    ]
    ((begin_ns, end_ns),) = calls(program(nap))["nanosleep"]
    ((begin_2_ns, end_2_ns),) = calls(undisturbed)["nanosleep"]
    assert end_ns - begin_ns == end_2_ns - begin_2_ns


def test_wake_up_while_the_handler_runs_is_not_lost() -> None:
    """The data that signals is what recv sleeps for: both wake the thread at once."""

    def receive(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
        while True:
            yield from reply(kernel, fd)
            assert came

    load = LOAD.model_copy(update={"requests": 3})
    found = calls(program(receive), load)
    assert len(found["recv"]) == 3
    # 1000 wake-up, then the handler, which was to run before recv returns; 100 and 50 for recv.
    assert found["recv"][0][1] == 10_050 + 1_000 + HANDLER_NS + 150


def test_data_that_comes_while_the_handler_runs_ends_the_sleep() -> None:
    def serve(kernel: Kernel, listener: int) -> Call[None]:
        came: list[int] = []
        yield from kernel.sigaction(SIGIO, came.append)
        fds = []
        for _ in range(2):
            fds.append((yield from kernel.accept(listener)))
        first, second = (fds[connection] for connection in order)
        yield from kernel.set_async(first, SIGIO)
        yield from reply(kernel, second)
        assert came == [SIGIO]
        yield from reply(kernel, first)

    # The second request comes 500 after the first, half of the wake-up that the signal causes.
    load = LOAD.model_copy(update={"connections": 2, "requests": 2, "rate_per_s": 2_000_000})
    order = load.schedule(1).connection.tolist()
    assert sorted(order) == [0, 1]
    found = calls(serve, load)
    (_, first_end_ns), _ = found["recv"]
    signal_ns = 500 + 50
    assert first_end_ns == signal_ns + 1_000 + HANDLER_NS + 150


def test_signals_while_a_handler_runs() -> None:
    """Each further signal costs its handler; the sleep goes on after the last."""

    def nap(kernel: Kernel, fd: int, came: list[int]) -> Call[None]:
        yield from kernel.nanosleep(50_000_000)
        assert came == [SIGRTMIN] * 3
        for _ in range(3):
            yield from reply(kernel, fd)

    load = LOAD.model_copy(update={"requests": 3, "rate_per_s": 2_500_000})
    trace = Trace()
    profile = round_costs().scaled(signal_handler_ns=HANDLER_NS / 100)
    simulate(program(nap, SIGRTMIN), load, profile=profile, trace=trace)
    states = [(change.at_ns, change.state) for change in trace.states if change.at_ns > 0]
    first_ns = next(s.at_ns for s in trace.signals if s.what == "sent" and s.at_ns > 0)
    # All three come while the thread is being woken.
    assert states[1:3] == [
        (first_ns + 1_000, "RUNNING"),
        (first_ns + 1_000 + 3 * HANDLER_NS, "SLEEPING"),
    ]


def test_signal_without_handler_ends_the_program() -> None:
    def careless(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        yield from kernel.set_async(fd, SIGRTMIN)
        yield from kernel.recv(fd)

    with pytest.raises(RunFailed, match="signal 34 ends the program"):
        simulate(careless, LOAD)


def test_background_work_until_the_signal() -> None:
    """Stevens' signal-driven model with something else to do: the handler reports readiness, and
    the program answers after the piece of work it is at."""

    def serve(kernel: Kernel, listener: int) -> Call[None]:
        came: list[int] = []
        yield from kernel.sigaction(SIGIO, came.append)
        fd = yield from kernel.accept(listener)
        yield from kernel.set_async(fd, SIGIO)
        while True:
            while not came:
                yield from kernel.compute(20_000)
            came.clear()
            yield from reply(kernel, fd)

    load = LOAD.model_copy(update={"requests": 20, "rate_per_s": 5_000})
    run = simulate(serve, load, profile=round_costs())
    late_ns = run.records["copied_ns"] - run.records["ready_ns"]
    assert (late_ns > 0).all()
    assert (late_ns <= 20_000 + 100 + 150).all()
    assert run.summary()["utilisation"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("completion", ["signal", "callback"])
def test_aio_completions(completion: str) -> None:
    load = LOAD.model_copy(update={"requests": 20, "connections": 4})
    model = get("aio", completion=completion)
    run = simulate(model, load, profile=round_costs())
    assert (run.records["replied_ns"] > run.records["ready_ns"]).all()
    # A thread for every read that has ended beside the first one and, with signals, the accepter.
    started = [task for task in run.tasks if not task.helper]
    assert len(started) == (2 if completion == "signal" else 1 + 20)


def test_callback_costs_a_new_thread() -> None:
    """The helper pays for the thread before it gives way."""
    profile = round_costs().scaled(thread_create_ns=7)
    runs = [
        simulate(get("aio", completion="callback"), LOAD, profile=p)
        for p in (round_costs(), profile)
    ]
    first, second = (int(run.records["replied_ns"][0]) for run in runs)
    assert second - first == 600
