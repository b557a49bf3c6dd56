"""Signal-driven input on real TCP connections."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from iosim.host.siglib import handle, set_async, sigsuspend, sigwaitinfo

SIGIO = 29
RT = 34
LATER_RT = 36
RLIMIT_SIGPENDING = 11


@pytest.fixture(autouse=True)
def blocked() -> Iterator[None]:
    """Block the signals in this thread; a stray one meets a handler that does nothing."""
    signals = {SIGIO, RT, LATER_RT}
    handlers = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        handle(number)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    yield
    while signal.sigtimedwait(signals, 0):
        pass
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection, as (client, server)."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    with client, server:
        yield client, server


def pass_byte(client: socket.socket, server: socket.socket) -> None:
    """Send a byte and receive it: the kernel has signalled by the time it can be received."""
    client.sendall(b"x")
    assert server.recv(1, socket.MSG_WAITALL) == b"x"


def send_here(signo: int) -> None:
    signal.pthread_kill(threading.get_ident(), signo)


@pytest.mark.parametrize("blocking", [True, False])
def test_only_the_async_flag_changes(
    pair: tuple[socket.socket, socket.socket], blocking: bool
) -> None:
    _, server = pair
    server.setblocking(blocking)
    before = fcntl.fcntl(server, fcntl.F_GETFL)
    set_async(server.fileno(), RT)
    assert fcntl.fcntl(server, fcntl.F_GETFL) == before | os.O_ASYNC


def test_realtime_signals_queue_and_carry_the_descriptor(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    set_async(server.fileno(), RT)
    pass_byte(client, server)
    pass_byte(client, server)
    assert sigwaitinfo([RT, SIGIO]) == (RT, server.fileno())
    assert sigwaitinfo((SIGIO, RT)) == (RT, server.fileno())
    assert not signal.sigpending()


def test_sigio_merges_and_carries_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    set_async(server.fileno(), SIGIO)
    pass_byte(client, server)
    pass_byte(client, server)
    assert sigwaitinfo({SIGIO}) == (SIGIO, -1)
    assert not signal.sigpending()


def test_lowest_signal_comes_first(pair: tuple[socket.socket, socket.socket]) -> None:
    """signal(7): of several pending real-time signals the lowest-numbered is delivered first."""
    client, server = pair
    set_async(server.fileno(), LATER_RT)
    pass_byte(client, server)
    set_async(server.fileno(), RT)
    pass_byte(client, server)
    assert sigwaitinfo([LATER_RT, RT])[0] == RT
    assert sigwaitinfo([LATER_RT, RT])[0] == LATER_RT


def test_waiting_signal_comes_from_a_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        set_async(listener.fileno(), RT)
        with socket.create_connection(listener.getsockname()), listener.accept()[0]:
            assert sigwaitinfo([RT]) == (RT, listener.fileno())


def test_end_of_stream_signals(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    set_async(server.fileno(), RT)
    client.shutdown(socket.SHUT_WR)
    assert sigwaitinfo([RT]) == (RT, server.fileno())


def test_input_already_there_sends_nothing(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    client.sendall(b"x")
    assert server.recv(1, socket.MSG_PEEK) == b"x"
    set_async(server.fileno(), RT)
    assert not signal.sigpending()


def test_full_queue_sends_sigio_instead(pair: tuple[socket.socket, socket.socket]) -> None:
    """fcntl(2), F_SETSIG: when the signal queue is full the kernel falls back on SIGIO."""
    client, server = pair
    set_async(server.fileno(), RT)
    soft, hard = resource.getrlimit(RLIMIT_SIGPENDING)
    resource.setrlimit(RLIMIT_SIGPENDING, (0, hard))
    try:
        pass_byte(client, server)
    finally:
        resource.setrlimit(RLIMIT_SIGPENDING, (soft, hard))
    assert sigwaitinfo([RT, SIGIO]) == (SIGIO, -1)
    assert not signal.sigpending()


def test_other_signals_carry_nothing() -> None:
    send_here(RT)
    assert sigwaitinfo([RT]) == (RT, -1)


def test_waiting_outlasts_other_signals() -> None:
    def send(_signo: int, _frame: object) -> None:
        send_here(RT)

    before = signal.signal(signal.SIGALRM, send)
    try:
        # Again and again, as one that comes before the wait has begun does not interrupt it.
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.05)
        assert sigwaitinfo([RT]) == (RT, -1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        while signal.sigtimedwait([RT], 0) is not None:
            pass


def test_signals_go_to_the_thread_that_asked(pair: tuple[socket.socket, socket.socket]) -> None:
    client, server = pair
    taken: list[tuple[int, int]] = []

    def serve() -> None:
        set_async(server.fileno(), RT)
        pass_byte(client, server)
        taken.append(sigwaitinfo([RT]))

    signal.pthread_sigmask(signal.SIG_BLOCK, [RT])
    thread = threading.Thread(target=serve)
    thread.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [RT])
    thread.join()
    assert taken == [(RT, server.fileno())]


def test_sigsuspend_takes_one_and_blocks_again() -> None:
    """sigaction(2): a signal is blocked while its handler runs, and sigsuspend(2) restores the
    mask when the first handler returns, so the second of two queued signals stays."""
    send_here(RT)
    send_here(RT)
    sigsuspend()
    assert signal.sigpending() == {RT}
    assert RT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    sigsuspend()
    assert not signal.sigpending()


def test_sigsuspend_sleeps_until_a_handler_has_run(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    client, server = pair
    calls: list[int] = []
    signal.signal(SIGIO, lambda number, _: calls.append(number))
    set_async(server.fileno(), SIGIO)
    thread = threading.Thread(target=client.sendall, args=(b"x",))
    thread.start()
    sigsuspend()
    assert calls == [SIGIO]
    thread.join()


def test_handlers_belong_to_the_main_thread() -> None:
    refused: list[bool] = []

    def install() -> None:
        with pytest.raises(ValueError, match="main thread"):
            handle(RT)
        refused.append(True)

    thread = threading.Thread(target=install)
    thread.start()
    thread.join()
    assert refused
