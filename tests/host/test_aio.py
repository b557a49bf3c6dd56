"""glibc's asynchronous reads on real TCP connections.

Each scenario has a process of its own: aio_init(3) counts only once per process, and the signals
go to the whole process.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from queue import SimpleQueue

import pytest

from iosim.host import libaio as aio
from iosim.host.kernel import HostKernel
from iosim.host.libaio import Aio
from iosim.host.siglib import sigwaitinfo
from iosim.host.thread import Server
from iosim.program import drive
from iosim.workload import Workload

pytestmark = pytest.mark.skipif(aio.why_not() is not None, reason=str(aio.why_not()))

SIGNAL = 35
RLIMIT_SIGPENDING = 11


def start(threads: int, connections: int) -> tuple[Aio, list[tuple[socket.socket, socket.socket]]]:
    """An `Aio` with `threads` helpers, and connections as (client, server)."""
    aio = Aio()
    aio.init(threads)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        pairs = [
            (socket.create_connection(listener.getsockname()), listener.accept()[0])
            for _ in range(connections)
        ]
    return aio, pairs


def reads_give_counts() -> None:
    aio, [(client, server)] = start(threads=1, connections=1)
    fd = server.fileno()
    aio.read(fd, 4, SIGNAL)
    assert aio.result(fd) == -errno.EINPROGRESS
    client.sendall(b"hello")
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fd)
    assert aio.result(fd) == 4
    aio.read(fd, 4, SIGNAL)
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fd)
    assert aio.result(fd) == 1
    client.shutdown(socket.SHUT_WR)
    aio.read(fd, 64, SIGNAL)
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fd)
    assert aio.result(fd) == 0


def failures_are_results() -> None:
    aio, [(_, server)] = start(threads=1, connections=1)
    server.setblocking(False)
    aio.read(server.fileno(), 4, SIGNAL)
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, server.fileno())
    assert aio.result(server.fileno()) == -errno.EAGAIN


def reads_wait_for_a_helper() -> None:
    """aio_init(3): at most aio_threads helpers; each sleeps in the read of a quiet socket."""
    aio, pairs = start(threads=2, connections=3)
    for _, server in pairs:
        aio.read(server.fileno(), 1, SIGNAL)
    (quiet, _), (busy, _), (waiting, _) = pairs
    fds = [server.fileno() for _, server in pairs]
    waiting.sendall(b"x")
    busy.sendall(b"x")
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fds[1])
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fds[2])
    assert aio.result(fds[0]) == -errno.EINPROGRESS
    quiet.sendall(b"x")
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fds[0])


def first_read_fixes_the_helpers() -> None:
    first, [(client, server)] = start(threads=2, connections=1)
    client.sendall(b"x")
    first.read(server.fileno(), 1, SIGNAL)
    second = Aio()
    second.init(2)
    with pytest.raises(OSError, match="begun to read with 2") as refused:
        second.init(3)
    assert refused.value.errno == errno.EBUSY


def shutdown_ends_a_forgotten_read() -> None:
    aio, [(_, server)] = start(threads=1, connections=1)
    fd = server.fileno()
    aio.read(fd, 1, SIGNAL)
    aio.forget(fd)
    server.shutdown(socket.SHUT_RD)
    assert sigwaitinfo([SIGNAL]) == (SIGNAL, fd)
    aio.forget(fd)


def callbacks_run_in_threads_of_their_own() -> None:
    aio, pairs = start(threads=2, connections=2)
    me = threading.get_native_id()
    called: SimpleQueue[tuple[int, bool]] = SimpleQueue()

    def call(fd: int) -> None:
        called.put((fd, threading.get_native_id() != me))

    first, second = (server.fileno() for _, server in pairs)
    for (client, _), fd in zip(pairs, (first, second), strict=True):
        for sent in (b"x", b"xy"):
            aio.read(fd, 10, call)
            client.sendall(sent)
            assert called.get() == (fd, True)
            assert aio.result(fd) == len(sent)
            aio.forget(fd)
    assert called.empty()


def full_signal_queue_loses_the_read() -> None:
    """sigqueue(3) fails with EAGAIN at RLIMIT_SIGPENDING; glibc makes that the read's result."""
    aio, pairs = start(threads=1, connections=3)
    first, second, third = (server.fileno() for _, server in pairs)
    for client, _ in pairs:
        client.sendall(b"x")
    _, hard = resource.getrlimit(RLIMIT_SIGPENDING)
    resource.setrlimit(RLIMIT_SIGPENDING, (0, hard))
    for fd in (first, second):
        aio.read(fd, 1, SIGNAL)
    # The only helper has dealt with the first read and its signal once the second is done.
    while aio.result(second) == -errno.EINPROGRESS:
        pass
    resource.setrlimit(RLIMIT_SIGPENDING, (hard, hard))
    aio.read(third, 1, SIGNAL)
    told = [sigwaitinfo([SIGNAL])[1]]
    while told[-1] != third:
        told.append(sigwaitinfo([SIGNAL])[1])
    assert first not in told
    assert aio.result(first) == -errno.EAGAIN


@pytest.mark.parametrize(
    "scenario",
    [
        reads_give_counts,
        failures_are_results,
        reads_wait_for_a_helper,
        first_read_fixes_the_helpers,
        shutdown_ends_a_forgotten_read,
        callbacks_run_in_threads_of_their_own,
        full_signal_queue_loses_the_read,
    ],
)
def test_aio(scenario: Callable[[], None]) -> None:
    # Blocked before anything is imported: a thread that a library starts (OpenBLAS does) would
    # otherwise take the signal, whose default action ends the process, signal(7).
    process = ProcessPoolExecutor(
        max_workers=1,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.pthread_sigmask,
        initargs=(signal.SIG_BLOCK, [SIGNAL]),
    )
    with process:
        process.submit(scenario).result()


def test_a_read_is_forgotten_before_its_descriptor_is_free() -> None:
    """close(2): descriptors can be reused, by another thread at once, which may read there."""
    open_at_forget = []

    class Forgetful(Aio):
        def forget(self, fd: int) -> None:
            open_at_forget.append(os.fstat(fd))

    client, end = socket.socketpair()
    with client, end, socket.socket() as listener:
        server = Server(listener, Workload(request_bytes=1, reply_bytes=1))
        server.aio = Forgetful()
        drive(HostKernel(server, "main").close(server.adopt(end, 0)))
    assert len(open_at_forget) == 1
