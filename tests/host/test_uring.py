"""The ring against real TCP connections."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from iosim.host import liburing as uring
from iosim.host.liburing import Ring

pytestmark = pytest.mark.skipif(uring.why_not() is not None, reason=str(uring.why_not()))

BUFFER = ctypes.create_string_buffer(64)
ADDRESS = ctypes.addressof(BUFFER)


REFUSED_FLAG = 1 << 31


@pytest.fixture(params=[uring._TASK_FLAGS, (REFUSED_FLAG, 0)], ids=["new", "old"])
def ring(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    """A ring as a new kernel gives it, and as one does that refuses the newer flags."""
    monkeypatch.setattr(uring, "_TASK_FLAGS", request.param)
    with closing(Ring(2)) as ring:
        yield ring


def taken(ring: Ring, min_complete: int) -> list[tuple[int, int]]:
    """Completions without their flags."""
    return [(data, result) for data, result, _ in ring.enter(min_complete)[0]]


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    """Fifty connections, as (client, server)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = [
            (socket.create_connection(listener.getsockname()), listener.accept()[0])
            for _ in range(50)
        ]
    yield made
    for client, server in made:
        client.close()
        server.close()


def test_accept_receive_send(ring: Ring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ring.prep_accept(listener.fileno(), 2**64 - 1, socket.SOCK_NONBLOCK)
        client = socket.create_connection(listener.getsockname())
        [(data, fd)] = taken(ring, 1)
    assert data == 2**64 - 1
    with client, socket.socket(fileno=fd) as server:
        assert not os.get_blocking(fd)
        client.sendall(b"hello")
        ring.prep_recv(fd, ADDRESS, 4, 7)
        assert taken(ring, 1) == [(7, 4)]
        assert BUFFER.raw[:4] == b"hell"
        ring.prep_send(fd, ADDRESS, 4, 8)
        assert taken(ring, 1) == [(8, 4)]
        assert client.recv(64) == b"hell"
        client.shutdown(socket.SHUT_WR)
        assert server.recv(64) == b"o"
        ring.prep_recv(fd, ADDRESS, 4, 9)
        assert taken(ring, 1) == [(9, 0)]


def test_failures_are_results(ring: Ring) -> None:
    ring.prep_recv(-1, ADDRESS, 1, 1)
    assert taken(ring, 1) == [(1, -errno.EBADF)]


def test_nothing_is_there(ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    assert taken(ring, 0) == []
    ring.prep_recv(pairs[0][1].fileno(), ADDRESS, 1, 1)
    assert taken(ring, 0) == []


def test_submit_leaves_completions_to_enter(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    client, server = pairs[0]
    ring.prep_send(server.fileno(), ADDRESS, 3, 1)
    ring.submit()
    assert len(client.recv(3, socket.MSG_WAITALL)) == 3
    ring.prep_send(server.fileno(), ADDRESS, 2, 2)
    ring.submit()
    assert taken(ring, 2) == [(1, 3), (2, 2)]


def test_submitting_makes_room(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    for number, (_, server) in enumerate(pairs):
        if not ring.space_left:
            assert ring.submit() == 1
        ring.prep_send(server.fileno(), ADDRESS, 1 + number, number)
    found = []
    while done := taken(ring, 0):
        assert len(done) <= ring.cq_entries
        found += done
    assert found == [(number, 1 + number) for number in range(len(pairs))]


def test_overflow_loses_nothing(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    """IORING_FEAT_NODROP: completions beyond the queue's size wait in the kernel."""
    for number, (_, server) in enumerate(pairs):
        if not ring.space_left:
            ring.submit()
        ring.prep_recv(server.fileno(), ADDRESS, 1, number)
    assert taken(ring, 0) == []
    for client, _ in pairs:
        client.sendall(b"x")
    found = taken(ring, len(pairs))
    assert len(found) == ring.cq_entries
    while done := taken(ring, 0):
        found += done
    assert sorted(found) == [(number, 1) for number in range(len(pairs))]


def test_queues_wrap_around(ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    client, server = pairs[0]
    for number in range(100):
        ring.prep_send(client.fileno(), ADDRESS, 1, 2 * number)
        assert taken(ring, 1) == [(2 * number, 1)]
        ring.prep_recv(server.fileno(), ADDRESS, 1, 2 * number + 1)
        assert taken(ring, 1) == [(2 * number + 1, 1)]


def test_enter_lets_other_threads_run(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    client, server = pairs[0]
    ring.prep_recv(server.fileno(), ADDRESS, 1, 1)
    sender = threading.Thread(target=client.sendall, args=(b"x",))
    sender.start()
    assert taken(ring, 1) == [(1, 1)]
    sender.join()


def test_enter_outlasts_signals(
    ring: Ring, pairs: list[tuple[socket.socket, socket.socket]]
) -> None:
    client, server = pairs[0]
    before = signal.signal(signal.SIGALRM, lambda *_: client.sendall(b"x"))
    try:
        ring.prep_recv(server.fileno(), ADDRESS, 1, 1)
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        assert taken(ring, 1) == [(1, 1)]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_kernel_thread_submits(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    """io_uring_setup(2), IORING_SETUP_SQPOLL: without a system call while the thread is awake."""
    client, server = pairs[0]
    with closing(Ring(2, sqpoll_idle_ms=10_000)) as ring:
        # A new thread finds nothing to do and sleeps at once.
        ring.prep_send(server.fileno(), ADDRESS, 2, 1)
        assert taken(ring, 1) == [(1, 2)]
        assert not ring.needs_wakeup
        ring.prep_send(server.fileno(), ADDRESS, 3, 2)
        assert ring.submit() == 0
        assert len(client.recv(5, socket.MSG_WAITALL)) == 5
        assert taken(ring, 1) == [(2, 3)]


def test_close_ends_what_is_under_way(pairs: list[tuple[socket.socket, socket.socket]]) -> None:
    client, server = pairs[0]
    ring = Ring(2)
    ring.prep_recv(server.fileno(), ADDRESS, 1, 1)
    ring.submit()
    server.close()
    ring.close()
    assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSYS, "no io_uring"), (errno.EPERM, "EPERM"), (errno.ENOMEM, "ulimit")],
)
def test_why_not_gives_a_reason(monkeypatch: pytest.MonkeyPatch, number: int, words: str) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, "refused")

    monkeypatch.setattr(uring, "_setup", refuse)
    reason = uring.why_not()
    assert reason is not None
    assert words in reason
    assert "\n" not in reason
