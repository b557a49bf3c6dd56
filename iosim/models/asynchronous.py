"""Asynchronous I/O: the program submits a read, and is told when data is in its memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from iosim.kernel import ENOBUFS, READ_BYTES, SIGRTMIN, Call, Completion, Kernel, Notify
from iosim.models.base import Model, answer, bounded, thread_count
from iosim.models.stevens import A_COMPLETION, NOT_BLOCKED, free_until, free_while


@dataclass(frozen=True)
class Aio(Model):
    """POSIX AIO as glibc does it: helper threads sleep in the reads and report the end of each.

    With `completion` "signal" the main thread waits for signals and answers; with "callback" each
    end starts a new thread that answers.

    A read occupies its helper until data comes. With fewer helpers than connections the reads
    beyond them wait; glibc's own limit, unless a program raises it with aio_init(3), is 20.
    """

    family = "asynchronous"
    phase_1 = free_until(A_COMPLETION)
    phase_2 = free_while("helper thread")
    needs = "aio"

    threads: int = thread_count(1024)
    completion: Literal["signal", "callback"] = "signal"

    @property
    def name(self) -> str:
        return "aio"

    def threads_made(self, connections: int, requests: int) -> int:
        helpers = min(self.threads, connections)
        # Some end and are made again, for one request in 13 at most of the loads that were tried.
        again = requests // 8 if self.completion == "signal" else requests
        return 2 + helpers + again

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        if self.completion == "callback":
            yield from kernel.aio_init(self.threads)
            yield from accept_and_read(kernel, listener, completed)
            return
        yield from kernel.sigblock([SIGRTMIN])
        yield from kernel.aio_init(self.threads)
        yield from kernel.spawn(accept_and_read, listener, SIGRTMIN)
        while True:
            _, fd = yield from kernel.sigwaitinfo((SIGRTMIN,))
            yield from answer_and_read(kernel, fd, SIGRTMIN)


def accept_and_read(kernel: Kernel, listener: int, notify: Notify) -> Call[None]:
    """Accept connections and start the first read on each."""
    while True:
        fd = yield from kernel.accept(listener)
        yield from kernel.aio_read(fd, READ_BYTES, notify)


def answer_and_read(kernel: Kernel, fd: int, notify: Notify) -> Call[None]:
    """A read on `fd` has ended: answer, and start the next."""
    if (nbytes := (yield from kernel.aio_return(fd))) > 0:
        yield from answer(kernel, fd, nbytes)
        yield from kernel.aio_read(fd, READ_BYTES, notify)
    else:
        yield from kernel.close(fd)


def completed(kernel: Kernel, fd: int) -> Call[None]:
    """The program of the thread that a completion starts."""
    yield from answer_and_read(kernel, fd, completed)


ACCEPTING, RECEIVING, SENDING = "accept", "recv", "send"
"""What a submission is for; it is tagged with that and its descriptor."""


class Replies:
    """Replies on their way through a ring.

    At most one send is under way per connection: a ring may carry out two in any order, and after
    one that took fewer bytes than asked for, the next would leave a gap in the stream.
    """

    def __init__(self, kernel: Kernel, ring: Any) -> None:
        self._kernel = kernel
        self._ring = ring
        self._unsent: dict[int, int] = {}
        """Bytes of the connections that a send is under way for."""

    def answer(self, fd: int, nbytes: int) -> Call[None]:
        """Serve every request that the `nbytes` just received on `fd` complete."""
        owed = 0
        for request in self._kernel.requests(fd, nbytes):
            if request.service_ns:
                yield from self._kernel.compute(request.service_ns)
            owed += request.reply_bytes
        if fd in self._unsent:
            self._unsent[fd] += owed
        elif owed:
            yield from self._send(fd, owed)

    def sent(self, fd: int, result: int) -> Iterable[Any]:
        """A send has completed: go on with the rest. A connection that failed gets no more."""
        unsent = self._unsent.pop(fd) - result
        return self._send(fd, unsent) if unsent and result > 0 else ()

    def _send(self, fd: int, nbytes: int) -> Call[None]:
        kernel, ring = self._kernel, self._ring
        self._unsent[fd] = nbytes
        yield from room(kernel, ring)
        kernel.prep_send(ring, fd, nbytes, (SENDING, fd))


def room(kernel: Kernel, ring: Any) -> Iterable[Any]:
    """Make room for one more submission: something to `yield from`, nothing if there is some."""
    return () if kernel.sq_space_left(ring) else kernel.io_uring_submit(ring)


@dataclass(frozen=True)
class IoUring(Model):
    """io_uring(7): submissions and completions pass through shared rings, one call for many."""

    family = "asynchronous"
    phase_1 = free_until(A_COMPLETION)
    phase_2 = NOT_BLOCKED
    needs = "io_uring"

    entries: int = bounded(1024, 1 << 15, "a ring has no more: IORING_MAX_ENTRIES")

    @property
    def name(self) -> str:
        return "io_uring"

    def set_up(self, kernel: Kernel) -> Call[Any]:
        """The ring."""
        return (yield from kernel.io_uring_setup(self.entries))

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        ring = yield from self.set_up(kernel)
        replies = Replies(kernel, ring)
        kernel.prep_accept(ring, listener, (ACCEPTING, listener))
        while True:
            for (what, fd), result in (yield from kernel.io_uring_enter(ring, min_complete=1)):
                if what is ACCEPTING:
                    yield from room(kernel, ring)
                    kernel.prep_recv(ring, result, READ_BYTES, (RECEIVING, result))
                    yield from room(kernel, ring)
                    kernel.prep_accept(ring, listener, (ACCEPTING, listener))
                elif what is SENDING:
                    yield from replies.sent(fd, result)
                elif result > 0:
                    yield from replies.answer(fd, result)
                    yield from room(kernel, ring)
                    kernel.prep_recv(ring, fd, READ_BYTES, (RECEIVING, fd))
                else:
                    yield from kernel.close(fd)


@dataclass(frozen=True)
class IoUringSqpoll(IoUring):
    """io_uring(7) with IORING_SETUP_SQPOLL: a kernel thread takes submissions without a call.

    The thread looks for work without end, and sleeps after `idle_ns` without any. It wants a core
    of its own: on one core, whoever of it and the program has something to do waits until the
    scheduler takes the core from the other.
    """

    phase_2 = free_while("kernel thread")

    idle_ns: int = bounded(
        10_000_000, (2**32 - 1) * 1_000_000, "sq_thread_idle has 32 bits, and counts milliseconds"
    )

    @property
    def name(self) -> str:
        return "io_uring-sqpoll"

    def threads_made(self, connections: int, requests: int) -> int:
        return 2

    def set_up(self, kernel: Kernel) -> Call[Any]:
        return (yield from kernel.io_uring_setup(self.entries, sqpoll_idle_ns=self.idle_ns))


@dataclass(frozen=True)
class IoUringMultishot(IoUring):
    """io_uring(7) with multishot requests: one submission accepts or receives again and again.

    Data comes in buffers that all connections share, a power of two of them: an idle connection
    holds none. A receive that finds no buffer ends and is submitted again.
    """

    buffers: int = bounded(
        1024, 1 << 15, "io_uring_register_buf_ring(3) takes no others", power_of_two=True
    )
    buffer_bytes: int = bounded(16 * 1024, 2**32 - 1, "the length of a buffer has 32 bits")

    @property
    def name(self) -> str:
        return "io_uring-multishot"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        ring = yield from self.set_up(kernel)
        yield from kernel.io_uring_register_buffers(ring, self.buffers, self.buffer_bytes)
        replies = Replies(kernel, ring)
        kernel.prep_accept_multishot(ring, listener, (ACCEPTING, listener))
        while True:
            for done in (yield from kernel.io_uring_enter(ring, min_complete=1)):
                (what, fd), result = done
                if what is SENDING:
                    yield from replies.sent(fd, result)
                elif what is ACCEPTING:
                    yield from self.receive(kernel, ring, result)
                    if not done.more:
                        yield from room(kernel, ring)
                        kernel.prep_accept_multishot(ring, listener, (ACCEPTING, listener))
                else:
                    yield from self.received(kernel, ring, replies, done)

    def received(self, kernel: Kernel, ring: Any, replies: Replies, done: Completion) -> Call[None]:
        """Use what a receive has brought, give its buffer back, and keep receiving."""
        (_, fd), result = done
        if done.buffer is not None:
            # Counting is all that is done with the data.
            kernel.io_uring_return_buffer(ring, done.buffer)
        if result > 0:
            yield from replies.answer(fd, result)
        elif result != ENOBUFS:
            yield from kernel.close(fd)
            return
        if not done.more:
            yield from self.receive(kernel, ring, fd)

    def receive(self, kernel: Kernel, ring: Any, fd: int) -> Call[None]:
        """Submit a receive that goes on by itself."""
        yield from room(kernel, ring)
        kernel.prep_recv_multishot(ring, fd, (RECEIVING, fd))
