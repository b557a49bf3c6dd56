"""select, poll and epoll."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import EPOLL_CTL_ADD, EPOLLET, EPOLLIN, Call


@scenario(
    'epoll(7): "If the rfd file descriptor has been added to the epoll interface using the EPOLLET '
    "(edge-triggered) flag, the call to epoll_wait(2) done in step 5 will probably hang despite "
    'the available data still present in the file input buffer".',
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e0, 8) = [c0]
        recv(c0, 10) = 10
        epoll_wait(e0, 8) sleeps
    """,
)
def edge_triggered_is_silent_with_data_left(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.recv(fd, 10)
    yield from kernel.epoll_wait(epfd, 8)
