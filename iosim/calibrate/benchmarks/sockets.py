"""The shortest calls, and those on one socket."""

from __future__ import annotations

from iosim.calibrate.bench import BATCH, SMALL_BYTES, Bench, benchmark, each, in_turn, times
from iosim.kernel import Call
from iosim.models.base import answer

SIZES_BYTES = (1, 64, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576)
"""What recv is timed with."""
MANY = (12 * BATCH, 48 * BATCH)
"""Connections: the data of so many is not in a second-level cache, and not all of it in L3."""


@benchmark()
def language(bench: Bench) -> Call[None]:
    """A call that does nothing: what the program's language adds to each (user_ns)."""
    for _ in range(bench.rounds):
        yield from bench.time("nothing", times(BATCH, bench.kernel.nothing), BATCH, user_ns=1)


@benchmark()
def system_call(bench: Bench) -> Call[None]:
    """getppid, which only enters the kernel and leaves it (syscall_ns)."""
    for _ in range(bench.rounds):
        yield from bench.time("getppid", times(BATCH, bench.kernel.getppid), BATCH, syscall_ns=1)


@benchmark()
def fcntl(bench: Bench) -> Call[None]:
    """Setting a flag of a descriptor (fcntl_ns)."""
    yield from bench.connect()
    block = bench.kernel.set_nonblocking
    for _ in range(bench.rounds):
        yield from bench.time("set_nonblocking", each(block, bench.fds), BATCH, fcntl_ns=1)


@benchmark()
def accept_and_close(bench: Bench) -> Call[None]:
    """accept of connections that wait (accept_ns), close after the peer hung up (close_ns).

    The peer times by its own clock how long it takes to connect (client_connect_ns).
    """
    kernel = bench.kernel

    def accept() -> Call[None]:
        for _ in range(BATCH):
            bench.fds.append((yield from kernel.accept(bench.listener, True)))

    for _ in range(bench.rounds):
        took_ns, pulse_ns = yield from bench.peer.connect(BATCH)
        bench.note("connect", took_ns, pulse_ns, client_connect_ns=1)
        yield from bench.time("accept", accept(), BATCH, accept_ns=1)
        yield from bench.peer.hang_up(BATCH)
        yield from bench.time("close", each(kernel.close, bench.fds), BATCH, close_ns=1)
        bench.fds.clear()


@benchmark()
def recv(bench: Bench) -> Call[None]:
    """recv of data that is there, of many sizes: the call (recv_ns) and each byte.

    The data has just come from another core. A message that does not come whole, since the host
    does not allow so large a receive buffer, is left out.
    """
    kernel = bench.kernel
    yield from bench.connect()
    for nbytes in SIZES_BYTES:
        fds = bench.fds[: max(1, min(BATCH, 262_144 // nbytes))]
        taken: list[int] = []

        def take(fd: int, nbytes: int = nbytes, taken: list[int] = taken) -> Call[None]:
            taken.append((yield from kernel.recv(fd, nbytes)))

        for _ in range(bench.rounds):
            yield from bench.answer(fds)
            yield from bench.feed(fds, nbytes)
            taken.clear()
            spent_ns, pulse_ns = yield from bench.spent(each(take, fds))
            if taken == [nbytes] * len(fds):
                expected = {"recv_ns": 1} | bench.copy(nbytes)
                bench.note(f"{nbytes} B", spent_ns / len(fds), pulse_ns, **expected)
                continue
            # More may be on its way, and would be taken for the next message.
            missing = [nbytes - max(0, got) for got in taken]
            for fd, left in zip(fds, missing, strict=True):
                while left:
                    left -= max(0, (yield from kernel.recv(fd, nbytes)))
            break


@benchmark()
def recv_nothing(bench: Bench) -> Call[None]:
    """recv on an empty nonblocking socket (eagain_ns)."""
    yield from bench.connect()
    for _ in range(bench.rounds):
        yield from bench.time("EAGAIN", each(bench.kernel.recv, bench.fds), BATCH, eagain_ns=1)


@benchmark()
def send(bench: Bench) -> Call[None]:
    """send, with the receive work that loopback does inside it, to a peer that does not wait.

    (send_ns). The peer's own sends are timed by its clock (client_send_ns).
    """
    kernel = bench.kernel
    yield from bench.connect()
    for _ in range(bench.rounds):
        block = each(lambda fd: kernel.send(fd, SMALL_BYTES), bench.fds)
        copy = bench.copy(SMALL_BYTES) | in_turn(BATCH)
        yield from bench.time(f"{SMALL_BYTES} B", block, BATCH, send_ns=1, **copy)
        yield from bench.peer.drain(BATCH, SMALL_BYTES)
    for _ in range(bench.rounds):
        took_ns, pulse_ns = yield from bench.peer.send(0, BATCH, SMALL_BYTES)
        bench.note("peer", took_ns, pulse_ns, client_send_ns=1, **bench.copy(SMALL_BYTES))
        yield from bench.empty(bench.fds)


@benchmark()
def connections_in_turn(bench: Bench) -> Call[None]:
    """recv and send on many connections in turn, beside few: data of those that have been left
    alone has left the caches (connection_miss_ns, connection_far_ns)."""
    kernel, copy = bench.kernel, bench.copy(SMALL_BYTES)
    both = {"recv_ns": 1.0, "send_ns": 1.0} | {name: 2 * times for name, times in copy.items()}

    def request(fd: int) -> Call[None]:
        yield from kernel.recv(fd)
        yield from kernel.send(fd, SMALL_BYTES)

    for many in (BATCH, *MANY):
        if many > bench.place.most_connections():
            break
        yield from bench.connect(many - len(bench.fds))
        expected = both | in_turn(many)
        for number in range(1 + max(2, bench.rounds * BATCH // many)):
            for first in range(many // BATCH):
                # Neighbours are near in memory, too, and what is fetched ahead for one would help
                # the next.
                fds = bench.fds[first :: many // BATCH]
                yield from bench.feed(fds)
                if number:
                    about = f"{many} connections"
                    yield from bench.time(about, each(request, fds), BATCH, **expected)
                else:
                    # The first request on a connection makes its buffers.
                    yield from each(request, fds)
            yield from bench.peer.drain(many, SMALL_BYTES)


@benchmark()
def framing(bench: Bench) -> Call[None]:
    """A request that is complete: the program's own steps (request_ns), and with the answer."""
    kernel = bench.kernel
    yield from bench.connect()

    def look(fd: int) -> Call[None]:
        for request in kernel.requests(fd, SMALL_BYTES):
            if request.service_ns:
                yield from kernel.compute(request.service_ns)

    copy = bench.copy(SMALL_BYTES) | in_turn(BATCH)
    for _ in range(bench.rounds):
        yield from bench.feed(bench.fds)
        yield from bench.empty(bench.fds)
        yield from bench.time("request", each(look, bench.fds), BATCH, request_ns=1)
        yield from bench.feed(bench.fds)
        yield from bench.empty(bench.fds)
        block = each(lambda fd: answer(kernel, fd, SMALL_BYTES), bench.fds)
        yield from bench.time("answer", block, BATCH, request_ns=1, send_ns=1, **copy)
        yield from bench.peer.drain(BATCH, SMALL_BYTES)
