"""Connections and the byte streams on them."""

from __future__ import annotations

from typing import Any

from conformance.scenario import refused, scenario

from iosim.kernel import EAGAIN, EPOLL_CTL_ADD, SIGRTMIN, Call

LARGE = 1 << 24
"""More bytes than all buffers between two programs hold."""


@scenario(
    'recv(2): "If no messages are available at the socket, the receive calls wait for a message to '
    "arrive, unless the socket is nonblocking (see fcntl(2)), in which case the value -1 is "
    'returned and errno is set to EAGAIN or EWOULDBLOCK."',
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        set_nonblocking(c0)
        recv(c0, 100) = EAGAIN
        recv(c0, 100) = 3
        recv(c0, 100) = EAGAIN
        recv(c0, 100) = 0
    """,
)
def nonblocking_recv(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.set_nonblocking(fd)
    yield from kernel.recv(fd, 100)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)
    yield from kernel.recv(fd, 100)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)


# --- streams -----------------------------------------------------------------------------------


@scenario(
    'recv(2): "The receive calls normally return any data available, up to the requested amount, '
    'rather than waiting for receipt of the full amount requested."',
    lambda client: client.connect(),
    lambda client: client.send(0, 10),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        recv(c0, 4) = 4
        recv(c0, 100) = 6
        recv(c0, 100) = 1
        recv(c0, 100) sleeps
    """,
)
def partial_reads(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 4)
    while True:
        yield from kernel.recv(fd, 100)


@scenario(
    'tcp(7): "TCP does not preserve record boundaries."',
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.send(0, 4),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 7
    """,
)
def messages_merge_into_one_read(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.recv(fd, 100)


@scenario(
    'recv(2): "When a stream socket peer has performed an orderly shutdown, the return value will '
    'be 0 (the traditional "end-of-file" return)."',
    lambda client: client.connect(),
    lambda client: client.send(0, 5),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        recv(c0, 3) = 3
        recv(c0, 3) = 2
        recv(c0, 3) = 0
        recv(c0, 3) = 0
    """,
)
def the_stream_ends_after_its_data(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    for _ in range(4):
        yield from kernel.recv(fd, 3)


@scenario(
    'shutdown(2): "If how is SHUT_WR, further transmissions will be disallowed."',
    lambda client: client.connect(),
    lambda client: client.shutdown(0),
    lambda client: client.recv(0, 10),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 0
        send(c0, 10) = 10
        close(c0)
        client: recv(0, 10) = 10
        client: recv(0, 1) = 0
    """,
)
def a_client_that_shuts_down_still_reads(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 100)
    yield from kernel.send(fd, 10)
    yield from kernel.close(fd)
    yield from kernel.step()
    yield from kernel.step()


@scenario(
    'send(2), EPIPE: "The local end has been shut down on a connection oriented socket."',
    lambda client: client.connect(),
    lambda client: client.recv(0, 100),
    lambda client: client.send(0, 5),
    expect="""
        accept(l0) = c0
        send(c0, 10) = 10
        shutdown(c0)
        send(c0, 10) = EPIPE
        wait_writable(c0)
        recv(c0, 100) = 5
        client: recv(0, 100) = 10
    """,
)
def a_server_that_shuts_down_still_reads(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 10)
    yield from kernel.shutdown(fd)
    yield from kernel.send(fd, 10)
    yield from kernel.wait_writable(fd)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)


@scenario(
    "close(2) ends the stream; what is in the send buffer still goes out before (socket(7), "
    "SO_LINGER: otherwise the call returns immediately and the closing is done in the background).",
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    expect="""
        accept(l0) = c0
        send(c0, 200000) = 200000
        close(c0)
        client: recv(0, 16777216) = 200000
    """,
    send_buffer_bytes=200_000,
)
def close_sends_what_is_buffered(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 200_000)
    yield from kernel.close(fd)
    yield from kernel.step()


# --- a full send buffer ------------------------------------------------------------------------


@scenario(
    'send(2): "When the message does not fit into the send buffer of the socket, send() normally '
    "blocks, unless the socket has been placed in nonblocking I/O mode. In nonblocking mode it "
    'would fail with the error EAGAIN or EWOULDBLOCK in this case."',
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    expect="""
        accept(l0) = c0
        set_nonblocking(c0)
        EAGAIN
        wait_writable(c0)
        all of it in several sends
        client: recv(0, 16777216) = 16777216
    """,
)
def a_full_send_buffer_gives_eagain_until_the_client_reads(
    kernel: Any, listener: int
) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.set_nonblocking(fd)
    left = LARGE
    while (sent := (yield from kernel.quiet.send(fd, left))) != EAGAIN:
        left -= sent
    kernel.note("EAGAIN")
    yield from kernel.wait_writable(fd)
    while left:
        left -= yield from _send_some(kernel.quiet, fd, left)
    kernel.note("all of it in several sends")


def _send_some(kernel: Any, fd: int, nbytes: int) -> Call[int]:
    while (sent := (yield from kernel.send(fd, nbytes))) == EAGAIN:
        yield from kernel.wait_writable(fd)
    return int(sent)


@scenario(
    'send(2): "When the message does not fit into the send buffer of the socket, send() normally '
    'blocks".',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        send(c0, 16777216) sleeps
    """,
)
def a_blocking_send_sleeps_while_the_client_does_not_read(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, LARGE)


@scenario(
    "POSIX.1-2008, send: without room for the message, and without O_NONBLOCK, send shall block "
    "until space is available; it returns how much it sent.",
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        send(c0, 16777216) = 16777216
        close(c0)
        client: recv(0, 16777216) = 16777216
        client: recv(0, 1) = 0
    """,
)
def a_blocking_send_takes_all_bytes(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, LARGE)
    yield from kernel.close(fd)
    yield from kernel.step()


@scenario(
    'send(2): "On success, these calls return the number of bytes sent", here those before the '
    'reset, which the next call tells of: "ECONNRESET Connection reset by peer."',
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        a part
        send(c0, 1) = ECONNRESET
        send(c0, 1) = EPIPE
        recv(c0, 100) = 0
    """,
)
def a_reset_ends_a_blocking_send(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    sent = yield from kernel.quiet.send(fd, LARGE)
    kernel.note("a part" if 0 < sent < LARGE else "all or nothing")
    yield from kernel.send(fd, 1)
    yield from kernel.send(fd, 1)
    yield from kernel.recv(fd, 100)


# --- resets ------------------------------------------------------------------------------------


@scenario(
    "tcp(7), ERRORS; socket(7), SO_ERROR: get and clear the pending socket error. A call that "
    "returns it clears it as well.",
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = ECONNRESET
        recv(c0, 100) = 0
        send(c0, 10) = EPIPE
    """,
)
def a_reset_wakes_recv_and_is_told_once(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 100)
    yield from kernel.recv(fd, 100)
    yield from kernel.send(fd, 10)


@scenario(
    'send(2), ERRORS: "ECONNRESET Connection reset by peer."; MSG_NOSIGNAL: "The EPIPE error is '
    'still returned."',
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        send(c0, 10) = ECONNRESET
        send(c0, 10) = EPIPE
        recv(c0, 100) = 0
    """,
)
def send_after_a_reset(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.send(fd, 10)
    yield from kernel.send(fd, 10)
    yield from kernel.recv(fd, 100)


@scenario(
    "recv(2): data available is returned first; Linux keeps what has been received before a reset.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        recv(c0, 2) = 2
        recv(c0, 100) = 1
        recv(c0, 100) = ECONNRESET
        recv(c0, 100) = 0
    """,
)
def data_before_a_reset_is_read(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.recv(fd, 2)
    for _ in range(3):
        yield from kernel.recv(fd, 100)


@scenario(
    "RFC 9293, section 3.10.7.1: a closed connection answers data with a reset. Linux makes it an "
    'EPIPE after the end of the stream: send(2), "if the peer on a stream-oriented socket has '
    'closed the connection. The EPIPE error is still returned."',
    lambda client: client.connect(),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 0
        send(c0, 10) = 10
        send(c0, 10) = EPIPE
        recv(c0, 100) = 0
    """,
)
def send_to_a_client_that_has_closed(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 100)
    yield from kernel.send(fd, 10)
    yield from kernel.send(fd, 10)
    yield from kernel.recv(fd, 100)


@scenario(
    "recv(2): 0 at the end of the stream, also when a reset follows it.",
    lambda client: client.connect(),
    lambda client: client.shutdown(0),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 0
        send(c0, 10) = EPIPE
    """,
)
def a_reset_after_the_end_of_the_stream(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.recv(fd, 100)
    yield from kernel.send(fd, 10)


@scenario(
    "poll(2), POLLERR and POLLHUP: set whenever the condition is true, so a reset connection is "
    "ready; select(2): a file is ready if the operation does not block, even if it fails.",
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0)
        epoll_wait(e0, 8) = [c0]
        poll(...) = [c0]
        select(...) = [c0]
        wait_writable(c0)
        recv(c0, 100) = ECONNRESET
        epoll_wait(e0, 8) = [c0]
    """,
)
def a_reset_connection_is_ready(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
    yield from kernel.epoll_wait(epfd, 8)
    for empty, call in (kernel.poll_set, kernel.poll), (kernel.fd_set, kernel.select):
        watched = empty()
        watched.add(listener)
        watched.add(fd)
        yield from call(watched)
    yield from kernel.wait_writable(fd)
    yield from kernel.recv(fd, 100)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    "RFC 1122, section 4.2.2.13: a host that closes while received data is still pending should "
    "send a RST, to show that data was lost.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.recv(0, 5),
    lambda client: client.recv(0, 1),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        send(c0, 5) = 5
        recv(c0, 2) = 2
        close(c0)
        client: recv(0, 5) = 5
        client: recv(0, 1) = ECONNRESET
        client: recv(0, 1) = 0
    """,
)
def close_with_unread_data_resets_the_client(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 5)
    yield from kernel.recv(fd, 2)
    yield from kernel.close(fd)
    for _ in range(3):
        yield from kernel.step()


@scenario(
    "RFC 1122, section 4.2.2.13: without pending data a close ends the stream in order; new data "
    "that is received after it should be answered by a RST.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.recv(0, 1),
    lambda client: client.send(0, 3),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 3
        close(c0)
        client: recv(0, 1) = 0
        client: send(0, 3) = EPIPE
    """,
)
def data_for_a_closed_connection_resets_the_client(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 100)
    yield from kernel.close(fd)
    for _ in range(3):
        yield from kernel.step()


@scenario(
    "RFC 1122, section 4.2.2.13, from the other side: a client that closes with unread data resets "
    "the server.",
    lambda client: client.connect(),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        send(c0, 5) = 5
        recv(c0, 100) = ECONNRESET
    """,
)
def a_client_that_closes_with_unread_data_resets_the_server(
    kernel: Any, listener: int
) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 5)
    yield from kernel.recv(fd, 100)


# --- accept ------------------------------------------------------------------------------------


@scenario(
    'accept(2): "It extracts the first connection request on the queue of pending connections".',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(1, 7),
    lambda client: client.send(0, 5),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        recv(c0, 100) = 5
        recv(c1, 100) = 7
    """,
)
def connections_are_accepted_in_order(kernel: Any, listener: int) -> Call[None]:
    for _ in range(4):
        yield from kernel.step()
    first = yield from kernel.accept(listener)
    second = yield from kernel.accept(listener)
    yield from kernel.recv(first, 100)
    yield from kernel.recv(second, 100)


@scenario(
    'accept(2): "If the socket is marked nonblocking and no pending connections are present on the '
    'queue, accept() fails with the error EAGAIN or EWOULDBLOCK."',
    lambda client: client.connect(),
    expect="""
        set_nonblocking(l0)
        accept(l0) = EAGAIN
        accept(l0) = c0
        accept(l0) = EAGAIN
    """,
)
def nonblocking_accept(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.set_nonblocking(listener)
    yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.accept(listener)
    yield from kernel.accept(listener)


@scenario(
    'accept(2): "On Linux, the new socket returned by accept() does not inherit file status flags '
    'such as O_NONBLOCK and O_ASYNC from the listening socket."',
    lambda client: client.connect(),
    expect="""
        set_nonblocking(l0)
        accept(l0) = c0
        recv(c0, 100) sleeps
    """,
)
def an_accepted_socket_does_not_inherit_nonblocking(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.set_nonblocking(listener)
    yield from kernel.step()
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 100)


@scenario(
    'accept4(2): "SOCK_NONBLOCK Set the O_NONBLOCK file status flag on the open file description '
    '(see open(2)) referred to by the new file descriptor"; the listening socket still blocks.',
    lambda client: client.connect(),
    expect="""
        accept(l0, True) = c0
        recv(c0, 100) = EAGAIN
        accept(l0, True) sleeps
    """,
)
def accept4_makes_the_new_socket_nonblocking(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener, nonblocking=True)
    yield from kernel.recv(fd, 100)
    yield from kernel.accept(listener, nonblocking=True)


@scenario(
    "accept(2): a connection is on the queue once it is complete, whatever its client does then; "
    'recv(2): "When a stream socket peer has performed an orderly shutdown, the return value will '
    'be 0".',
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.close(0),
    lambda client: client.connect(),
    lambda client: client.abort(1),
    expect="""
        accept(l0) = c0
        recv(c0, 100) = 3
        recv(c0, 100) = 0
        accept(l0) = c1
        recv(c1, 100) = ECONNRESET
        recv(c1, 100) = 0
    """,
)
def connections_closed_before_accept_are_accepted(kernel: Any, listener: int) -> Call[None]:
    for _ in range(5):
        yield from kernel.step()
    for _ in range(2):
        fd = yield from kernel.accept(listener)
        while (yield from kernel.recv(fd, 100)):
            pass


@scenario(
    'listen(2): "If a connection request arrives when the queue is full, [...] if the underlying '
    "protocol supports retransmission, the request may be ignored so that a later reattempt at "
    'connection succeeds." Linux lets one more than the backlog wait.',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.start_connect(),
    lambda client: client.finish_connect(2),
    expect="""
        set_nonblocking(l0)
        accept(l0) = c0
        accept(l0) = c1
        accept(l0) = EAGAIN
        poll(...) = [l0]
        accept(l0) = c2
    """,
    backlog=1,
)
def a_full_backlog_ignores_a_client_until_it_tries_again(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.set_nonblocking(listener)
    for _ in range(3):
        yield from kernel.step()
    for _ in range(3):
        yield from kernel.accept(listener)
    yield from kernel.step()
    # The client is connected before its last packet has reached the listener.
    watched = kernel.poll_set()
    watched.add(listener)
    yield from kernel.poll(watched)
    yield from kernel.accept(listener)


@scenario(
    "close(2) of a listening socket: connections not accepted are aborted (RFC 9293, section "
    "3.10.4), those accepted live on.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.recv(1, 1),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        close(l0)
        recv(c0, 100) = 3
        client: recv(1, 1) = ECONNRESET
    """,
)
def closing_a_listener_resets_those_who_wait(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.close(listener)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)


# --- closing -----------------------------------------------------------------------------------


@scenario(
    'close(2), EBADF: "fd isn\'t a valid open file descriptor."; likewise recv(2), send(2), '
    "shutdown(2) and fcntl(2).",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        close(c0)
        close(c0) raises EBADF
        recv(c0) raises EBADF
        send(c0, 1) raises EBADF
        shutdown(c0) raises EBADF
        set_nonblocking(c0) raises EBADF
        wait_writable(c0)
        close(999) raises EBADF
    """,
)
def a_closed_descriptor_is_no_descriptor(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.close(fd)
    for call in (
        kernel.close(fd),
        kernel.recv(fd),
        kernel.send(fd, 1),
        kernel.shutdown(fd),
        kernel.set_nonblocking(fd),
        kernel.wait_writable(fd),
        kernel.close(999),
    ):
        yield from refused(call)


# --- the wrong kind of descriptor --------------------------------------------------------------


@scenario(
    'accept(2), EINVAL: "Socket is not listening for connections". recv(2), ENOTCONN: "The socket '
    'is associated with a connection-oriented protocol and has not been connected". What is not '
    "connected takes no data either: EPIPE of send(2).",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        accept(c0) raises EINVAL
        reuseport(c0) raises EINVAL
        recv(l0) raises ENOTCONN
        send(l0, 1) = EPIPE
        shutdown(l0)
        send(l0, 1) = EPIPE
        accept(l0) = c1
        recv(l0) raises ENOTCONN
        recv(c0) = 3
        accept(c0) raises EINVAL
    """,
)
def connections_and_listeners_are_different_sockets(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from refused(kernel.accept(fd))
    yield from refused(kernel.reuseport(fd))
    yield from refused(kernel.recv(listener))
    yield from kernel.send(listener, 1)
    yield from kernel.shutdown(listener)
    yield from kernel.send(listener, 1)
    yield from kernel.accept(listener)
    yield from refused(kernel.recv(listener))
    yield from kernel.recv(fd)
    yield from refused(kernel.accept(fd))


@scenario(
    'recv(2), send(2), shutdown(2), accept(2), getsockname(2), ENOTSOCK: "The file descriptor '
    'sockfd does not refer to a socket."',
    expect="""
        epoll_create() = e0
        recv(e0) raises ENOTSOCK
        send(e0, 1) raises ENOTSOCK
        shutdown(e0) raises ENOTSOCK
        accept(e0) raises ENOTSOCK
        reuseport(e0) raises ENOTSOCK
        signalfd([SIGRTMIN]) = s0
        recv(s0) raises ENOTSOCK
        send(s0, 1) raises ENOTSOCK
        shutdown(s0) raises ENOTSOCK
        accept(s0) raises ENOTSOCK
        reuseport(s0) raises ENOTSOCK
    """,
)
def what_is_no_socket(kernel: Any, listener: int) -> Call[None]:
    for opened in kernel.epoll_create(), kernel.signalfd([SIGRTMIN]):
        fd = yield from opened
        for call in (
            kernel.recv(fd),
            kernel.send(fd, 1),
            kernel.shutdown(fd),
            kernel.accept(fd),
            kernel.reuseport(fd),
        ):
            yield from refused(call)


@scenario(
    'epoll_wait(2), EINVAL: "epfd is not an epoll file descriptor".',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        signalfd([SIGRTMIN]) = s0
        epoll_wait(c0, 8) raises EINVAL
        epoll_wait(l0, 8, 0) raises EINVAL
        epoll_wait(s0, 8) raises EINVAL
    """,
)
def what_is_no_epoll_instance(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    signals = yield from kernel.signalfd([SIGRTMIN])
    yield from refused(kernel.epoll_wait(fd, 8))
    yield from refused(kernel.epoll_wait(listener, 8, 0))
    yield from refused(kernel.epoll_wait(signals, 8))


@scenario(
    "poll(2), POLLOUT: only a connection ever becomes writable (tcp_poll, ep_eventpoll_poll and "
    "signalfd_poll of Linux).",
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        signalfd([SIGRTMIN]) = s0
        accept(l0) = c0
        wait_writable(c0)
        1: wait_writable(l0) sleeps
        2: wait_writable(e0) sleeps
        3: wait_writable(s0) sleeps
    """,
)
def only_connections_become_writable(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    signals = yield from kernel.signalfd([SIGRTMIN])
    for fd in listener, epfd, signals:
        yield from kernel.spawn(lambda kernel, fd: (yield from kernel.wait_writable(fd)), fd)
    fd = yield from kernel.accept(listener)
    yield from kernel.wait_writable(fd)


HOLDS = (
    'close(2), "Multithreaded processes and close()": "the blocking I/O system call holds a '
    "reference to the underlying open file description, and this reference keeps the description "
    'open until the I/O system call completes". '
)


@scenario(
    HOLDS,
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        close(c0)
        1: recv(c0, 100) = 3
        client: recv(0, 1) = 0
    """,
)
def a_thread_in_recv_outlives_the_descriptor(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(_call, "recv", fd, 100)
    yield from _close_and_step_twice(kernel, fd)


def _call(kernel: Any, name: str, *args: Any) -> Call[None]:
    yield from getattr(kernel, name)(*args)


def _close_and_step_twice(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.rest()
    yield from kernel.close(fd)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.step()


@scenario(
    HOLDS,
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        close(c0)
        1: send(c0, 16777216) = 16777216
        client: recv(0, 16777216) = 16777216
        client: recv(0, 1) = 0
    """,
)
def a_thread_in_send_outlives_the_descriptor(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(_call, "send", fd, LARGE)
    yield from _close_and_step_twice(kernel, fd)


@scenario(
    HOLDS + "So the socket goes on listening.",
    lambda client: client.connect(),
    lambda client: client.recv(0, 1),
    expect="""
        close(l0)
        1: accept(l0) = c0
        1: close(c0)
        client: recv(0, 1) = 0
    """,
)
def a_thread_in_accept_outlives_the_descriptor(kernel: Any, listener: int) -> Call[None]:
    def accept(kernel: Any) -> Call[None]:
        fd = yield from kernel.accept(listener)
        yield from kernel.close(fd)

    yield from kernel.spawn(accept)
    yield from _close_and_step_twice(kernel, listener)


# --- how the two streams end ---------------------------------------------------------------------

NOT_CONNECTED = 'shutdown(2), ENOTCONN: "The specified socket is not connected." '


@scenario(
    NOT_CONNECTED + "Nor is one whose streams have both ended (RFC 9293, figure 5).",
    lambda client: client.connect(),
    lambda client: client.shutdown(0),
    expect="""
        accept(l0) = c0
        shutdown(c0)
        shutdown(c0)
        recv(c0, 10) = 0
        shutdown(c0) raises ENOTCONN
        close(c0)
    """,
)
def the_server_ends_its_stream_first(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.shutdown(fd)
    yield from kernel.shutdown(fd)
    yield from kernel.recv(fd, 10)
    yield from _shut_down_in_vain(kernel, fd)
    yield from kernel.close(fd)


def _shut_down_in_vain(kernel: Any, fd: int) -> Call[None]:
    try:
        yield from kernel.shutdown(fd)
    except OSError:
        pass


@scenario(
    NOT_CONNECTED + "Nor is one whose streams have both ended (RFC 9293, figure 5).",
    lambda client: client.connect(),
    lambda client: client.shutdown(0),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        recv(c0, 10) = 0
        shutdown(c0)
        shutdown(c0) raises ENOTCONN
        send(c0, 10) = EPIPE
        recv(c0, 10) = 0
        client: recv(0, 1) = 0
    """,
)
def the_client_ends_its_stream_first(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.recv(fd, 10)
    yield from kernel.shutdown(fd)
    yield from kernel.step()
    yield from _shut_down_in_vain(kernel, fd)
    yield from kernel.send(fd, 10)
    yield from kernel.recv(fd, 10)


@scenario(
    NOT_CONNECTED + "Nor is one after a reset.",
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        shutdown(c0) raises ENOTCONN
        recv(c0, 10) = ECONNRESET
        shutdown(c0) raises ENOTCONN
    """,
)
def shutdown_after_a_reset(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from _shut_down_in_vain(kernel, fd)
    yield from kernel.recv(fd, 10)
    yield from _shut_down_in_vain(kernel, fd)


@scenario(
    "RFC 9293, section 3.10.7.4: a reset in FIN-WAIT aborts the connection, and readers are told.",
    lambda client: client.connect(),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        shutdown(c0)
        recv(c0, 10) = ECONNRESET
        recv(c0, 10) = 0
        send(c0, 10) = EPIPE
    """,
)
def a_reset_after_the_server_has_shut_down(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.shutdown(fd)
    yield from kernel.step()
    yield from kernel.recv(fd, 10)
    yield from kernel.recv(fd, 10)
    yield from kernel.send(fd, 10)


@scenario(
    "tcp_reset in net/ipv4/tcp_input.c: ECONNRESET is pending after a reset in LAST_ACK, while the "
    "last bytes are still unsent. But a read has met the end of the stream (SOCK_DONE in "
    "tcp_recvmsg_locked).",
    lambda client: client.connect(),
    lambda client: client.shutdown(0),
    lambda client: client.abort(0),
    expect="""
        accept(l0) = c0
        set_nonblocking(c0)
        recv(c0, 10) = 0
        shutdown(c0)
        recv(c0, 10) = 0
        send(c0, 10) = ECONNRESET
        send(c0, 10) = EPIPE
        recv(c0, 10) = 0
    """,
)
def a_reset_after_both_ends(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.set_nonblocking(fd)
    yield from kernel.quiet.send(fd, LARGE)
    yield from kernel.step()
    yield from kernel.recv(fd, 10)
    yield from kernel.shutdown(fd)
    yield from kernel.step()
    yield from kernel.recv(fd, 10)
    yield from kernel.send(fd, 10)
    yield from kernel.send(fd, 10)
    yield from kernel.recv(fd, 10)


@scenario(
    "close(2) after shutdown(2): the stream has ended already; data that comes is answered by a "
    "RST (RFC 1122, section 4.2.2.13).",
    lambda client: client.connect(),
    lambda client: client.recv(0, 1),
    lambda client: client.send(0, 3),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        shutdown(c0)
        close(c0)
        client: recv(0, 1) = 0
        client: send(0, 3) = EPIPE
    """,
)
def close_after_shutdown(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.shutdown(fd)
    yield from kernel.close(fd)
    for _ in range(3):
        yield from kernel.step()


@scenario(
    "RFC 9293, section 3.6: each side closes for itself, and may do so after the other.",
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        send(c0, 10) = 10
        close(c0)
        client: recv(0, 16777216) = 10
    """,
)
def a_client_closes_after_the_server(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 10)
    yield from kernel.close(fd)
    yield from kernel.step()
    yield from kernel.step()
