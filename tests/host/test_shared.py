"""What the threads of a real server share: nothing is lost or counted twice when they meet."""

from __future__ import annotations

import errno
import multiprocessing
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from iosim.host import thishost
from iosim.host.child import Pipe
from iosim.host.kernel import HostKernel
from iosim.host.server import listen, snapshot
from iosim.host.thread import Server
from iosim.program import drive
from iosim.workload import Workload

pytestmark = pytest.mark.skipif(thishost.why_not() is not None, reason=str(thishost.why_not()))


@pytest.fixture
def server() -> Iterator[Server]:
    with listen(0) as listener:
        yield Server(listener, Workload(), replies_only=True)


def in_threads(count: int, act: Callable[[int], object]) -> list[BaseException]:
    """Do something in several threads that begin together; the errors that come of it."""
    errors, together = [], threading.Barrier(count)

    def run(number: int) -> None:
        together.wait()
        try:
            act(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


class Meddling(dict[str, int]):
    """Counters of a thread that makes a call for the first time whenever they are gone through."""

    def items(self) -> Any:
        for pair in super().items():
            yield pair
            self[f"call {len(self)}"] = 1


def test_a_thread_may_make_new_calls_while_all_are_counted(server: Server) -> None:
    for _ in range(2):
        kernel = HostKernel(server, "one")
        kernel.syscalls = Meddling(recv=1)  # type: ignore[assignment]
    assert snapshot(server, 0).syscalls == {"recv": 2}


def test_threads_that_follow_one_another_are_told_apart(server: Server) -> None:
    """The system gives the number of a thread that has ended to another one."""
    first, second = HostKernel(server, "first"), HostKernel(server, "second")
    assert first.native_id == second.native_id
    assert first.number != second.number
    server.ended[first.number] = "what it has counted"
    tasks = snapshot(server, 0).tasks
    assert tasks[first.number] == "what it has counted"
    assert tasks[second.number].name == "second"


def test_threads_share_the_reads_of_the_c_library(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    class Slow:
        def __init__(self) -> None:
            made.append(self)
            others.wait(0.1)

    others = threading.Event()
    monkeypatch.setattr("iosim.host.thread.Aio", Slow)
    assert in_threads(8, lambda _: server.reads()) == []
    assert len(made) == 1


def test_of_threads_that_close_a_descriptor_one_does(server: Server) -> None:
    with socket.create_connection(server.listener.getsockname()) as client:
        sock, peer = server.listener.accept()
        fd = server.adopt(sock, peer[1])
        errors = in_threads(8, lambda _: drive(HostKernel(server, "closer").close(fd)))
        assert [getattr(error, "errno", error) for error in errors] == [errno.EBADF] * 7
        assert client.recv(1) == b""


def test_requests_are_counted_once(server: Server) -> None:
    """Two threads that count what one of them has read get what there is, together."""
    with socket.create_connection(server.listener.getsockname()):
        sock, peer = server.listener.accept()
        fd = server.adopt(sock, peer[1])
        connection = server.sockets[fd]
        connection.uncounted = 64 * 800
        found: list[int] = []

        def count(number: int) -> None:
            kernel = HostKernel(server, "counter")
            for _ in range(100):
                found.append(len(kernel.requests(fd, 64)))

        assert in_threads(8, count) == []
        assert sum(found) == 800
        assert (connection.uncounted, connection.received) == (0, 0)
        assert connection.owed_bytes == 64 * 800
        drive(HostKernel(server, "closer").close(fd))


def test_connections_are_numbered_once(server: Server) -> None:
    pairs = [socket.socketpair() for _ in range(16)]
    assert in_threads(16, lambda number: server.adopt(pairs[number][0], 0)) == []
    assert sorted(c.number for c in server.every_connection) == list(range(16))  # type: ignore[type-var]
    for pair in pairs:
        for end in pair:
            end.close()


def test_messages_of_several_threads_do_not_mix() -> None:
    """A large message is written in two parts."""
    ours, theirs = multiprocessing.Pipe()
    pipe = Pipe(theirs)
    heard: list[bytes] = []

    def hear() -> None:
        import cloudpickle

        for _ in range(80):
            heard.append(cloudpickle.loads(ours.recv_bytes()))

    hearing = threading.Thread(target=hear)
    hearing.start()
    messages = [bytes([number]) * 50_000 for number in range(8)]
    assert in_threads(8, lambda n: [pipe.tell(messages[n]) for _ in range(10)]) == []
    hearing.join()
    assert sorted(heard) == sorted(messages * 10)
    for end in ours, theirs:
        end.close()
