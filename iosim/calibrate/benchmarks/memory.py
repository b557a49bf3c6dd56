"""Memory of what a server keeps."""

from __future__ import annotations

from functools import partial

from iosim.calibrate.bench import Bench, benchmark, each, times
from iosim.kernel import EPOLL_CTL_ADD, Call, Kernel

SOCKETS, LISTS, THREADS = 4_000, 8, 500
"""Enough that the rest of the machine does not matter."""


@benchmark()
def sockets_memory(bench: Bench) -> Call[None]:
    """Many idle connections (socket_bytes), and their places on interest lists
    (epoll_item_bytes)."""
    kernel, place = bench.kernel, bench.place
    before = place.memory_bytes()
    yield from bench.connect(SOCKETS)
    spent = (place.memory_bytes() - before) / SOCKETS
    bench.note("connection", spent, socket_bytes=place.ends)
    before = place.memory_bytes()
    for _ in range(LISTS):
        epfd = yield from kernel.epoll_create()
        yield from each(partial(kernel.epoll_ctl, epfd, EPOLL_CTL_ADD), bench.fds)
    spent = (place.memory_bytes() - before) / (LISTS * SOCKETS)
    bench.note("interest list", spent, epoll_item_bytes=1)


@benchmark()
def threads_memory(bench: Bench) -> Call[None]:
    """Many threads that sleep (thread_bytes)."""
    kernel, place = bench.kernel, bench.place
    over, begun = kernel.queue(), kernel.queue()

    def sleep(kernel: Kernel) -> Call[None]:
        yield from kernel.put(begun, 1)
        yield from kernel.get(over)

    before = place.memory_bytes()
    yield from times(THREADS, kernel.spawn, sleep)
    yield from times(THREADS, kernel.get, begun)
    bench.note("thread", (place.memory_bytes() - before) / THREADS, thread_bytes=1)
    yield from times(THREADS, kernel.put, over, 1)
