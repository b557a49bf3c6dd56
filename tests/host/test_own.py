"""A server that is none of the library's, under load."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iosim import HostRefused, Workload, load_server, why_not
from iosim.results import Run

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

LOAD = Workload(
    connections=3, rate_per_s=2_000, requests=60, request_bytes=10, reply_bytes=7, arrivals="even"
)


def serve(connection: socket.socket) -> None:
    """Answer every 10 bytes with 7, in pieces."""
    received = 0
    with connection:
        while data := connection.recv(4):
            whole, received = divmod(received + len(data), 10)
            for _ in range(whole):
                connection.sendall(b"1234")
                connection.sendall(b"567")


@pytest.fixture
def port() -> Iterator[int]:
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        for _ in range(LOAD.connections):
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    with listener:
        yield listener.getsockname()[1]


def test_every_request_is_answered(port: int, tmp_path: Path) -> None:
    run = load_server(port, LOAD, pid=os.getpid(), seed=3)
    schedule = LOAD.schedule(3)
    assert run.records["connection"].tolist() == schedule.connection.tolist()
    assert run.records["intended_ns"].tolist() == schedule.intended_ns.tolist()
    assert (run.records["intended_ns"] <= run.records["sent_ns"]).all()
    assert (run.records["sent_ns"] < run.records["replied_ns"]).all()
    assert run.cpu_ns > 0
    assert Run.load(run.save(tmp_path / "run.npz")).summary()["requests"] == 60


def test_closed_loop(port: int) -> None:
    run = load_server(port, LOAD.model_copy(update={"arrivals": "closed"}))
    for client in range(3):
        own = run.records[run.records["connection"] == client]
        assert (own["intended_ns"][1:] > own["replied_ns"][:-1]).all()
    assert run.cpu_ns == 0  # not asked for


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(HostRefused, match=f"connection 1 of 3: Connection refused; .*{port}"):
        load_server(port, LOAD)


def test_no_such_process(port: int) -> None:
    with pytest.raises(HostRefused, match=r"process 4194305: .*; name the server's own"):
        load_server(port, LOAD, pid=4_194_305)
