"""Receive buffers and flow control."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import EAGAIN, EPOLL_CTL_ADD, EPOLLET, EPOLLIN, Call

LARGE = 1 << 24
"""More bytes than all buffers between two programs hold."""


def read(kernel: Any, fd: int, nbytes: int) -> Call[int]:
    """Read so many bytes, without a line for each call; returns how many calls it took."""
    calls = 0
    while nbytes:
        nbytes -= yield from kernel.quiet.recv(fd)
        calls += 1
    return calls


@scenario(
    'tcp(7): "TCP does not preserve record boundaries."',
    lambda client: client.connect(),
    lambda client: client.send(0, 1000),
    lambda client: client.send(0, 2000),
    expect="""
        accept(l0) = c0
        recv(c0, 1500) = 1500
        recv(c0, 65536) = 1500
    """,
)
def segments_are_one_stream(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.recv(fd, 1500)
    yield from kernel.recv(fd, 65536)


@scenario(
    'recv(2): "The receive calls normally return any data available, up to the requested amount, '
    'rather than waiting for receipt of the full amount requested."',
    lambda client: client.connect(),
    lambda client: client.start_send(0, 1_000_000),
    expect="""
        accept(l0) = c0
        1000000 bytes in several reads
        recv(c0, 65536) sleeps
    """,
)
def a_large_message_is_read_in_pieces(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    calls = yield from read(kernel, fd, 1_000_000)
    kernel.note(f"1000000 bytes in {'several reads' if calls > 1 else 'one read'}")
    yield from kernel.recv(fd, 65536)


@scenario(
    "tcp(7), tcp_rmem: these parameters regulate receive buffer sizes; a sender must not go beyond "
    "the window that is left (RFC 9293, section 3.8.6).",
    lambda client: client.connect(),
    lambda client: client.start_send(0, LARGE),
    lambda client: client.sending(0),
    expect="""
        accept(l0) = c0
        client: sending(0) = True
    """,
    receive_buffer_bytes=10_000,
)
def a_full_receive_buffer_stalls_the_sender(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()


@scenario(
    "RFC 9293, section 3.8.6: the window is how much the receiver is prepared to take; reading "
    'opens it again. tcp(7): "TCP guarantees that the data arrives in order and retransmits lost '
    'packets."',
    lambda client: client.connect(),
    lambda client: client.start_send(0, LARGE),
    lambda client: client.sending(0),
    lambda client: client.sending(0),
    expect="""
        accept(l0) = c0
        set_nonblocking(c0)
        nothing is lost
        recv(c0, 65536) = EAGAIN
        client: sending(0) = True
        client: sending(0) = False
    """,
    receive_buffer_bytes=10_000,
)
def reading_makes_room_for_the_sender(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    yield from read(kernel, fd, LARGE)
    yield from kernel.step()
    yield from kernel.set_nonblocking(fd)
    kernel.note("nothing is lost")
    yield from kernel.recv(fd, 65536)


@scenario(
    'recv(2): "The receive calls normally return any data available, up to the requested amount": '
    "not more than the receive buffer holds.",
    lambda client: client.connect(),
    lambda client: client.start_send(0, 1_000_000),
    expect="""
        accept(l0) = c0
        a read is less than the message
        the message is there
        recv(c0, 65536) sleeps
    """,
    receive_buffer_bytes=10_000,
)
def a_message_larger_than_the_receive_buffer_passes(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    first = yield from kernel.quiet.recv(fd, 65536)
    if first < 65536:
        kernel.note("a read is less than the message")
    yield from read(kernel, fd, 1_000_000 - first)
    kernel.note("the message is there")
    yield from kernel.recv(fd, 65536)


@scenario(
    "tcp(7): it provides a reliable, stream-oriented, full-duplex connection between two sockets.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    lambda client: client.send(1, 7),
    lambda client: client.send(0, 20),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        recv(c1, 1000) = 7
        recv(c0, 1000) = 120
    """,
)
def connections_do_not_mix(kernel: Any, listener: int) -> Call[None]:
    first = yield from kernel.accept(listener)
    second = yield from kernel.accept(listener)
    for _ in range(3):
        yield from kernel.step()
    yield from kernel.recv(second, 1000)
    yield from kernel.recv(first, 1000)


@scenario(
    'epoll(7), edge-triggered: "Since even with edge-triggered epoll, multiple events can be '
    'generated upon receipt of multiple chunks of data": what a full receive buffer held back is '
    "such a chunk.",
    lambda client: client.connect(),
    lambda client: client.start_send(0, 1_000_000),
    expect="""
        accept(l0, True) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        the message is there
        epoll_wait(e0, 1) sleeps
    """,
    receive_buffer_bytes=10_000,
)
def edge_triggered_reports_what_was_held_back(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener, nonblocking=True)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET)
    left = 1_000_000
    while left:
        yield from kernel.quiet.epoll_wait(epfd, 1)
        while (got := (yield from kernel.quiet.recv(fd))) != EAGAIN:
            left -= got
    kernel.note("the message is there")
    yield from kernel.epoll_wait(epfd, 1)
