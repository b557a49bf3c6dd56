"""Asynchronous I/O: the program submits a read; the kernel copies and reports completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from iosim.kernel import READ_BYTES, SIGRTMIN, Call, Kernel, Notify
from iosim.models.base import Model, answer


@dataclass(frozen=True)
class Aio(Model):
    """POSIX AIO as glibc does it: helper threads sleep in the reads and report the end of each.

    With `completion` "signal" the main thread waits for signals and answers; with "callback" each
    end starts a new thread that answers.

    A read occupies its helper until data comes. With fewer helpers than connections the reads
    beyond them wait; glibc's own limit, unless a program raises it with aio_init(3), is 20.
    """

    family = "asynchronous"
    phase_1 = "free until a completion signal"
    phase_2 = "free: a helper thread copies"
    needs = "aio"

    threads: int = 1024
    completion: Literal["signal", "callback"] = "signal"

    @property
    def name(self) -> str:
        return "aio"

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


@dataclass(frozen=True)
class IoUring(Model):
    """io_uring(7): submissions and completions pass through shared rings, one call for many."""

    family = "asynchronous"
    phase_1 = "free until a completion"
    phase_2 = "free: the kernel copies"
    needs = "io_uring"

    entries: int = 1024

    @property
    def name(self) -> str:
        return "io_uring"

    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        ring = yield from kernel.io_uring_setup(self.entries)
        accepting, receiving, sending = "accept", "recv", "send"
        kernel.prep_accept(ring, listener, (accepting, listener))
        while True:
            for (what, fd), result in (yield from kernel.io_uring_enter(ring, min_complete=1)):
                if what is accepting:
                    kernel.prep_recv(ring, result, READ_BYTES, (receiving, result))
                    kernel.prep_accept(ring, listener, (accepting, listener))
                elif what is receiving and result > 0:
                    for request in kernel.requests(fd, result):
                        if request.service_ns:
                            yield from kernel.compute(request.service_ns)
                        kernel.prep_send(ring, fd, request.reply_bytes, (sending, fd))
                    kernel.prep_recv(ring, fd, READ_BYTES, (receiving, fd))
                elif what is receiving:
                    yield from kernel.close(fd)
