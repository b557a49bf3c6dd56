"""Micro-benchmarks of single calls, run as programs on the real kernel.

Each prices one call by the processor time of a block of equal calls. What the calls need (data on
the sockets, room in the buffers) is prepared between the blocks by a peer on another core, so that
data crosses cores as in a real run. Nothing here resembles a server under load: whole runs stay
unseen until they are used for validation.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from time import thread_time_ns
from typing import Any

from iosim.host import libaio, liburing
from iosim.host.child import Pipe, attach
from iosim.host.kernel import HostKernel
from iosim.host.server import listen, raise_file_limit
from iosim.host.thread import Server
from iosim.kernel import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    READ_BYTES,
    SIGIO,
    SIGRTMIN,
    Call,
    Kernel,
    drive,
)
from iosim.models.base import answer

SMALL, LARGE = 64, 32 * 1024
"""Message sizes, bytes: the price of a call is taken at one, that of a byte from both."""
BATCH = 64
"""Connections, and calls in a block."""
FEW, MANY = 16, 480
"""Descriptors watched in the scans."""
ROUNDS = 40


class Bench:
    """One server end, its peer, and the samples so far."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.samples: dict[str, list[float]] = defaultdict(list)
        self.listener = listen(0)
        self.server = Server(self.listener, SMALL, SMALL, [0])
        self.kernel = HostKernel(self.server, "bench")
        self.fds: list[int] = []
        self._overhead_ns = 0.0

    def peer(self, *command: Any) -> float:
        """Have the peer do something; returns its answer."""
        self._pipe.tell(command)
        result: float = self._pipe.hear()
        return result

    def do(self, call: Call[Any]) -> Any:
        """Make one call and return its result."""
        try:
            while True:
                next(call)
        except StopIteration as stop:
            return stop.value

    def time(self, name: str | None, calls: int, block: Call[None]) -> float:
        """Processor time per call of a block, ns; recorded under `name`."""
        began_ns = thread_time_ns()
        drive(block)
        spent_ns = (thread_time_ns() - began_ns - self._overhead_ns) / calls
        if name is not None:
            self.samples[name].append(spent_ns)
        return spent_ns

    def connect(self, count: int) -> None:
        """Open connections; accepting them is timed."""
        self.peer("connect", self.listener.getsockname()[1], count)
        accepted: list[int] = []

        def accept_all(kernel: Kernel) -> Call[None]:
            for _ in range(count):
                accepted.append((yield from kernel.accept(self.listener.fileno(), True)))

        self.time("accept_ns", count, accept_all(self.kernel))
        self.fds += accepted

    def hang_up(self, count: int) -> None:
        """Close the newest connections; closing is timed."""
        self.peer("hang up", count)
        self.time("close_ns", count, each(self.kernel.close, self.fds[-count:]))
        del self.fds[-count:]

    def find_overhead(self) -> None:
        """What timing itself costs, and a call that does nothing: the runtime's share."""

        def nothing(_: int) -> Call[None]:
            return
            yield

        empty = [self.time(None, 1, each(nothing, ())) for _ in range(200)]
        self._overhead_ns = sorted(empty)[len(empty) // 2]
        for _ in range(ROUNDS):
            self.time("user_ns", BATCH, each(nothing, self.fds))


def each(call: Callable[[int], Call[Any]], fds: Sequence[int]) -> Call[None]:
    """Make one call per descriptor."""
    for fd in fds:
        yield from call(fd)


def sockets(bench: Bench) -> None:
    """recv, EAGAIN, send, framing; sizes."""
    kernel, fds = bench.kernel, bench.fds
    for _ in range(ROUNDS):
        bench.time("eagain_ns", BATCH, each(kernel.recv, fds))
        bench.samples["client_send_ns"].append(bench.peer("send", 0, BATCH, SMALL))
        bench.time("recv_ns", BATCH, each(kernel.recv, fds))
        bench.time("send_ns", BATCH, each(lambda fd: kernel.send(fd, SMALL), fds))
        bench.peer("drain", BATCH, SMALL)
        bench.peer("send", 0, BATCH, SMALL)
        drive(each(kernel.recv, fds))
        bench.time("answer", BATCH, each(lambda fd: answer(kernel, fd, SMALL), fds))
        bench.peer("drain", BATCH, SMALL)
        bench.peer("send", 0, BATCH, LARGE)
        bench.time("recv_large", BATCH, each(lambda fd: kernel.recv(fd, READ_BYTES), fds))
    for _ in range(ROUNDS):
        bench.time("fcntl_ns", BATCH, each(kernel.set_nonblocking, fds))


def readiness(bench: Bench) -> None:
    """select, poll and epoll_wait: few and many descriptors, the ready one first and last."""
    kernel = bench.kernel
    bench.connect(MANY - BATCH)
    calls = 8
    epfd = bench.do(kernel.epoll_create())

    def ready_one(call: Callable[[Any], Call[Any]], watched: Any) -> Call[None]:
        for _ in range(calls):
            yield from call(watched)

    ends = {"first": bench.fds[0], "last": bench.fds[-1]}
    sets = {}
    for kind, make in (("select", kernel.fd_set), ("poll", kernel.poll_set)):
        for count in (FEW, MANY):
            for end, fd in ends.items():
                watched = make()
                others = [other for other in bench.fds if other not in ends.values()]
                members = others[: count - 1]
                for member in [fd, *members] if end == "first" else [*members, fd]:
                    watched.add(member)
                sets[kind, count, end] = watched
    for fd in bench.fds:
        drive(kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd))
    for end, fd in ends.items():
        bench.peer("send", bench.fds.index(fd), 1, SMALL)
        for _ in range(ROUNDS):
            for (kind, count, at), watched in sets.items():
                if at == end:
                    call = kernel.select if kind == "select" else kernel.poll
                    bench.time(f"{kind} {count} {end}", calls, ready_one(call, watched))
            bench.time("epoll_wait 1", calls, ready_one(lambda e: kernel.epoll_wait(e, 512), epfd))
        drive(each(kernel.recv, [fd]))
    bench.peer("send", 0, BATCH, SMALL)
    for _ in range(ROUNDS):
        bench.time(
            f"epoll_wait {BATCH}", calls, ready_one(lambda e: kernel.epoll_wait(e, 512), epfd)
        )
    drive(each(kernel.recv, bench.fds[:BATCH]))
    fds = bench.fds[:BATCH]
    for _ in range(ROUNDS):
        drive(each(lambda fd: kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, fd), fds))
        bench.time("epoll_ctl_ns", BATCH, each(lambda fd: kernel.epoll_ctl(epfd, 1, fd), fds))
    bench.hang_up(MANY - BATCH)


def signals(bench: Bench) -> None:
    """sigwaitinfo of queued signals, sigsuspend with its handler."""
    kernel = bench.kernel
    drive(kernel.sigblock([SIGIO, SIGRTMIN]))
    for _ in range(ROUNDS):
        for _ in range(BATCH):
            signal.pthread_kill(threading.get_ident(), SIGRTMIN)
        bench.time(
            "sigwaitinfo_ns", BATCH, each(lambda _: kernel.sigwaitinfo((SIGRTMIN,)), bench.fds)
        )
        for _ in range(8):
            signal.pthread_kill(threading.get_ident(), SIGIO)
            bench.time("sigsuspend_ns", 1, each(lambda _: kernel.sigsuspend(), [0]))


def rings(bench: Bench) -> None:
    """io_uring: arming receives, completing them, sending."""
    if liburing.why_not() is not None:
        return
    kernel, fds = bench.kernel, bench.fds
    ring = bench.do(kernel.io_uring_setup(1024))

    def receive() -> Call[None]:
        for fd in fds:
            kernel.prep_recv(ring, fd, READ_BYTES, fd)
        yield from kernel.io_uring_enter(ring, 0)

    def complete() -> Call[None]:
        yield from kernel.io_uring_enter(ring, BATCH)

    def send() -> Call[None]:
        for fd in fds:
            kernel.prep_send(ring, fd, SMALL, fd)
        yield from kernel.io_uring_enter(ring, BATCH)

    for _ in range(ROUNDS):
        bench.time("uring_enter_ns", BATCH, each(lambda _: kernel.io_uring_enter(ring, 0), fds))
        bench.time("uring arm", BATCH, receive())
        bench.peer("send", 0, BATCH, SMALL)
        bench.time("uring complete", BATCH, complete())
        bench.time("uring send", BATCH, send())
        bench.peer("drain", BATCH, SMALL)


def aio(bench: Bench) -> None:
    """glibc AIO: submitting, the helpers' work, taking results."""
    if libaio.why_not() is not None:
        return
    kernel, fds = bench.kernel, bench.fds
    for fd in fds:
        # A helper sleeps in read; on a nonblocking socket it would get EAGAIN.
        bench.server.connections[fd].socket.setblocking(True)
    drive(kernel.aio_init(1024))

    for _ in range(ROUNDS):
        # The data is there first: a helper that had to wait for it would add its wake-up.
        bench.peer("send", 0, BATCH, SMALL)
        before_ns, main_before_ns = time.process_time_ns(), thread_time_ns()
        bench.time(
            "aio_read_ns", BATCH, each(lambda fd: kernel.aio_read(fd, READ_BYTES, SIGRTMIN), fds)
        )
        done = [bench.do(kernel.sigwaitinfo((SIGRTMIN,)))[1] for _ in fds]
        bench.time("aio_return_ns", BATCH, each(kernel.aio_return, done))
        helpers_ns = time.process_time_ns() - before_ns - (thread_time_ns() - main_before_ns)
        bench.samples["aio helper"].append(helpers_ns / BATCH)


def threads(bench: Bench) -> None:
    """Queues between threads, switching between them, starting them, sleeping."""
    kernel = bench.kernel
    queue = kernel.queue()
    for _ in range(ROUNDS):
        bench.time("queue_put_ns", BATCH, each(lambda n: kernel.put(queue, n), bench.fds))
        bench.time("queue_get_ns", BATCH, each(lambda _: kernel.get(queue), bench.fds))
    for _ in range(ROUNDS):
        bench.samples["context_switch_ns"].append(_switch_ns())

    def start(_: int) -> Call[None]:
        threading.Thread(target=int, daemon=True).start()
        return
        yield

    for _ in range(8):
        bench.time("thread_create_ns", BATCH, each(start, bench.fds))
    for _ in range(3 * ROUNDS):
        began_ns, cpu_began_ns = time.monotonic_ns(), thread_time_ns()
        drive(kernel.nanosleep(100_000))
        bench.samples["nanosleep cpu"].append(thread_time_ns() - cpu_began_ns)
        bench.samples["nanosleep late"].append(time.monotonic_ns() - began_ns - 100_000)


def _switch_ns() -> float:
    """One switch between two threads that pass a byte back and forth, without the pipe calls."""
    there, back, alone = os.pipe(), os.pipe(), os.pipe()

    def echo() -> None:
        while byte := os.read(there[0], 1):
            os.write(back[1], byte)

    def passing(read: int, write: int, times: int) -> int:
        began_ns = time.process_time_ns()
        for _ in range(times):
            os.write(write, b"x")
            os.read(read, 1)
        return time.process_time_ns() - began_ns

    other = threading.Thread(target=echo)
    other.start()
    both_ns = passing(back[0], there[1], BATCH)
    os.close(there[1])
    other.join()
    calls_ns = passing(alone[0], alone[1], 2 * BATCH)
    for fd in (there[0], *back, *alone):
        os.close(fd)
    return (both_ns - calls_ns) / (2 * BATCH)


def main() -> None:
    """Run every micro-benchmark; tells the parent how far it is and, at the end, all samples."""
    pipe = attach(sys.argv[1:])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    raise_file_limit()
    threading.stack_size(256 * 1024)
    bench = Bench(pipe)
    gc.disable()
    bench.connect(BATCH)
    bench.find_overhead()
    for part in (sockets, readiness, signals, rings, threads, aio):
        pipe.tell(("part", part.__name__))
        pipe.hear()
        part(bench)
    pipe.tell(("samples", dict(bench.samples)))
    pipe.hear()
