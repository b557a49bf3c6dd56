"""Connections and the byte streams on them."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import Call


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
