"""How the time of a thread is split into the two phases of a read: what is counted where, and how
that and the kernel's accounts give the phases, exactly."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import pytest

from iosim.host.kernel import HostKernel
from iosim.host.run import _task_times
from iosim.host.server import Snapshot, Task, listen
from iosim.host.thread import Server
from iosim.kernel import EAGAIN, Call
from iosim.program import drive
from iosim.workload import Workload


@pytest.fixture
def kernel() -> Iterator[HostKernel]:
    with listen(0) as listener:
        yield HostKernel(Server(listener, Workload()), "main")


def received(kernel: HostKernel, fd: int) -> list[int]:
    """What a recv returns."""
    results: list[int] = []

    def program() -> Call[None]:
        results.append((yield from kernel.recv(fd)))

    drive(program())
    return results


def test_time_in_recv_counts_by_whether_it_may_sleep(kernel: HostKernel) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = kernel.server.adopt(ours, 0)
        theirs.send(bytes(10))
        assert received(kernel, fd) == [10]
        in_recv_ns = kernel.in_recv_ns
        assert in_recv_ns > 0
        assert kernel.in_copy_ns == 0
        drive(kernel.set_nonblocking(fd))
        assert received(kernel, fd) == [EAGAIN]
        assert kernel.in_copy_ns == 0
        theirs.send(bytes(10))
        assert received(kernel, fd) == [10]
        assert kernel.in_copy_ns > 0
        assert kernel.in_recv_ns == in_recv_ns


def phases(
    running: int, runnable: int, recv: int = 0, copy: int = 0, readiness: int = 0, free: int = 0
) -> tuple[int, int]:
    """Time in phase 1 and in phase 2 of a thread that was counted for 1,000 ns."""

    def at(now_ns: int, share: int) -> Snapshot:
        times = (share * ns for ns in (running, runnable, 0, 0, recv, copy, readiness, free))
        task = Task("program", now_ns, *times, helper=False)
        return Snapshot(now_ns, 0, {1: task}, Counter(), 0)

    (times,), wait_ns, copy_ns = _task_times(at(5_000, 1), at(6_000, 2))
    assert (times.running_ns, times.runnable_ns) == (running, runnable)
    assert times.running_ns + times.runnable_ns + times.sleeping_ns == 1_000
    return wait_ns, copy_ns


def test_a_recv_that_sleeps() -> None:
    """All that the thread sleeps it sleeps in recv."""
    assert phases(running=300, runnable=0, recv=800) == (700, 100)


def test_a_readiness_call_that_sleeps() -> None:
    """What it takes of the processor itself is not told apart from its sleep."""
    assert phases(running=300, runnable=0, readiness=750, recv=100) == (700, 100)
    assert phases(running=300, runnable=0, readiness=650, recv=100) == (700, 50)


def test_other_sleep_is_no_phase() -> None:
    assert phases(running=300, runnable=0, free=700, recv=100) == (0, 100)
    assert phases(running=300, runnable=0, free=700, copy=100) == (0, 100)


def test_a_thread_that_is_kept_from_running() -> None:
    """Where that happened is not known: if it was in recv, nothing of that was copying."""
    assert phases(running=300, runnable=400, readiness=300, recv=100) == (400, 0)
