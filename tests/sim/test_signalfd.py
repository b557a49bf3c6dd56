"""signalfd on simulated time: what a read takes and costs, and whom a signal wakes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from round_costs import free_costs, round_costs

from iosim.kernel import EPOLL_CTL_ADD, SIGIO, SIGRTMIN, Call, Kernel
from iosim.machine import Machine
from iosim.models.base import answer
from iosim.sim import simulate
from iosim.sim.boot import boot
from iosim.sim.kernel import SimKernel
from iosim.sim.signalfd import SignalFile
from iosim.trace import Trace
from iosim.workload import Workload

COSTS = round_costs().scaled(signalfd_ns=3, signalfd_event_ns=0.4, eagain_ns=0.7)
"""A read of one signal takes 300 ns, each further one 40, a read in vain 70; a wake-up 1000."""

THREE = Workload(
    connections=1,
    requests=3,
    arrivals="even",
    rate_per_s=1_000_000,
    request_bytes=50,
    reply_bytes=30,
)
"""Due after 1000, 2000 and 3000 ns, each on its socket 50 later."""


def signalling(kernel: Kernel, listener: int, signal: int = SIGRTMIN) -> Call[int]:
    """A connection that sends a signal, which is blocked."""
    yield from kernel.sigblock([signal])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, signal)
    return fd


def traced(program: object, load: Workload = THREE) -> Trace:
    trace = Trace()
    simulate(program, load, profile=COSTS, trace=trace)  # type: ignore[arg-type]
    return trace


def test_a_read_costs_its_first_signal_and_each_further_one() -> None:
    def serve(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from signalling(kernel, listener)
        signals = yield from kernel.signalfd([SIGRTMIN], nonblocking=True)
        # Long enough for the load to come, which begins after the program has set itself up.
        yield from kernel.compute(50_000_000)
        for count in (2, 8, 8):
            yield from kernel.read_signals(signals, count)
        yield from answer(kernel, fd, (yield from kernel.recv(fd)))

    trace = traced(serve)
    (connection,) = trace.connections
    found = [
        ((call.end_ns or 0) - call.begin_ns, call.result)
        for call in trace.calls
        if call.name == "read_signals"
    ]
    one = (SIGRTMIN, connection)
    assert found == [(300 + 40, (one, one)), (300, (one,)), (70, ())]


def test_a_read_sleeps_until_the_signal_and_brings_the_news() -> None:
    def serve(kernel: Kernel, listener: int) -> Call[None]:
        yield from signalling(kernel, listener)
        signals = yield from kernel.signalfd([SIGRTMIN])
        while True:
            for _, fd in (yield from kernel.read_signals(signals, 8)):
                yield from answer(kernel, fd, (yield from kernel.recv(fd)))

    load = THREE.model_copy(update={"requests": 1})
    run = simulate(serve, load, profile=COSTS)
    # Wake-up 1000, read 300; then recv, 100 and 50 for the copy.
    noticed_ns = 1_050 + 1_000 + 300
    assert run.records["noticed_ns"].tolist() == [noticed_ns]
    assert run.records["copied_ns"].tolist() == [noticed_ns + 150]
    # To wait for signals is the program's choice: with other work it would have gone on.
    assert run.wait_for_data_ns == 0


def test_epoll_then_read() -> None:
    def serve(kernel: Kernel, listener: int) -> Call[None]:
        yield from signalling(kernel, listener)
        signals = yield from kernel.signalfd([SIGRTMIN])
        epfd = yield from kernel.epoll_create()
        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, signals)
        while True:
            yield from kernel.epoll_wait(epfd, 8)
            for _, fd in (yield from kernel.read_signals(signals, 8)):
                yield from answer(kernel, fd, (yield from kernel.recv(fd)))

    run = simulate(serve, THREE.model_copy(update={"requests": 1}), profile=COSTS)
    # Wake-up 1000, epoll_wait 100 and 100 for its event, read 300.
    assert run.records["noticed_ns"].tolist() == [1_050 + 1_000 + 200 + 300]


@pytest.mark.parametrize("by", ["read_signals", "epoll_wait", "poll"])
def test_a_signal_outside_the_set_wakes_in_vain(by: str) -> None:
    """All signalfds of a process share one wait queue (signalfd_notify of Linux)."""

    def serve(kernel: Kernel, listener: int) -> Call[None]:
        fds.append((yield from signalling(kernel, listener)))
        signals = yield from kernel.signalfd([SIGIO])
        if by == "read_signals":
            yield from kernel.read_signals(signals, 8)
        elif by == "poll":
            polled = kernel.poll_set()
            polled.add(signals)
            yield from kernel.poll(polled)
        else:
            epfd = yield from kernel.epoll_create()
            yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, signals)
            yield from kernel.epoll_wait(epfd, 8)

    def main(kernel: Kernel, listener: int) -> Call[None]:
        yield from kernel.sigblock([SIGRTMIN])
        yield from kernel.spawn(serve, listener)
        yield from kernel.nanosleep(50_000_000)
        # A reply ends the run.
        yield from answer(kernel, fds[0], (yield from kernel.recv(fds[0])))

    fds: list[int] = []
    load = THREE.model_copy(update={"requests": 1})
    states = [(s.at_ns, s.state) for s in traced(main, load).states if s.thread == "serve 1"]
    assert [(at_ns, state) for at_ns, state in states if at_ns > 0] == [
        (1_050, "RUNNABLE"),
        (2_050, "RUNNING"),
        (2_050, "SLEEPING"),
    ]


SIGNALS = st.lists(st.sampled_from((SIGIO, SIGRTMIN, SIGRTMIN + 1, SIGRTMIN + 2)), max_size=20)


@given(SIGNALS, st.lists(st.integers(1, 5), max_size=10), st.booleans())
def test_reads_take_what_sigwaitinfo_would(
    sent: list[int], counts: list[int], by_process: bool
) -> None:
    """However much a read asks for: in the same order, and all that is of the set."""
    wanted = {SIGIO, SIGRTMIN, SIGRTMIN + 2}
    load = Workload(requests=1)
    taken = []
    for one_by_one in (True, False):
        system = boot(free_costs(), Machine(), load, load.schedule(1), 1)
        thread, other = SimKernel(system, "thread"), SimKernel(system, "other")
        thread.blocked = other.blocked = frozenset(range(1, 65))
        file = system.open(SignalFile(system, wanted))
        system.signals.files.append(file)
        for value, signal in enumerate(sent):
            to_process = by_process and value % 2
            system.signals.send(signal, value, None if to_process else thread)
        found: list[tuple[int, int]] = []
        for count in [*counts, len(sent)]:
            system.current = thread
            before = len(found)
            if one_by_one:
                for _ in range(count):
                    if (one := system.signals.take(thread, wanted)) is not None:
                        found.append(one)
            else:
                readable = file.readable()
                found += file.take(thread, count)
                assert readable == (len(found) > before)
        assert not file.readable()
        system.current = other
        assert not file.readable()
        taken.append(found)
    assert taken[0] == taken[1]
    assert len(taken[0]) == sum(s in wanted for s in sent if s != SIGIO) + min(
        sent.count(SIGIO), len({by_process and v % 2 for v, s in enumerate(sent) if s == SIGIO})
    )


def test_a_signal_is_for_one_thread_to_read() -> None:
    load = Workload(requests=1)
    system = boot(free_costs(), Machine(), load, load.schedule(1), 1)
    mine, others = SimKernel(system, "mine"), SimKernel(system, "other's")
    mine.blocked = others.blocked = frozenset((SIGRTMIN,))
    file = system.open(SignalFile(system, (SIGRTMIN,)))
    system.signals.send(SIGRTMIN, 7, mine)
    readable = []
    for thread in (mine, others):
        system.current = thread
        readable.append(file.readable())
    assert readable == [True, False]
    assert file.take(others, 1) == []
    system.signals.send(SIGRTMIN, 8)
    assert file.take(others, 2) == [(SIGRTMIN, 8)]
    assert file.take(mine, 2) == [(SIGRTMIN, 7)]


def test_a_closed_signalfd_is_told_no_more() -> None:
    def opens_and_closes(kernel: SimKernel) -> Call[None]:
        signals = yield from kernel.signalfd([SIGRTMIN])
        (file,) = kernel.system.signals.files
        assert file.fd == signals
        yield from kernel.close(signals)
        assert not kernel.system.signals.files
        ended.append(True)

    ended: list[bool] = []
    load = Workload(requests=1)
    system = boot(free_costs(), Machine(), load, load.schedule(1), 1)
    system.start(opens_and_closes)
    system.env.run()
    assert ended
