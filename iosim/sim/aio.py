"""POSIX AIO as glibc implements it: helper threads that make ordinary blocking reads, aio(7)."""

from __future__ import annotations

import errno
from typing import Any, ClassVar

from iosim.arguments import (
    SIGNALS,
    aio_has_begun,
    error,
    notification,
    size,
    under_way,
    whole,
)
from iosim.kernel import EAGAIN, Call, Notify
from iosim.sim.pending import AioReads, Read
from iosim.sim.sockets import release, take
from iosim.sim.thread import Thread


class Helper(Thread):
    """One of the C library's threads."""

    __slots__ = ()

    def work(self, pool: AioReads, read: Read | None) -> Call[None]:
        """Carry out the read that it was started for, then the oldest there is, until it is woken
        for one that another has taken meanwhile (handle_fildes_io in glibc's rt/aio_misc.c)."""
        while read is not None or (read := (yield from self._next(pool))) is not None:
            yield from self._carry_out(pool, *read)
            read = None
        pool.helpers -= 1

    def _next(self, pool: AioReads) -> Call[Read | None]:
        """The oldest read, which may have to be waited for."""
        if not pool.reads:
            yield from self.pay()
        if not pool.reads:
            pool.resting += 1
            pool.idle.append(self)
            yield from self.sleep()
            pool.resting -= 1
        if not pool.reads:
            return None
        read = pool.reads.popleft()
        if pool.reads:
            call_helper(self, type(self), None)
        return read

    def _carry_out(self, pool: AioReads, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        """Read, and report the end of it."""
        pool.busy[fd] = None
        try:
            file = self.system.file(fd)
            taken = yield from self.read(file, nbytes)
            yield from self.pay()
            file.copied_ns = self.now_ns
        except OSError as failed:
            # What is no socket is "unsuitable for reading" (read(2), EINVAL).
            taken = -errno.EINVAL if failed.errno == errno.ENOTSOCK else -(failed.errno or 0)
        pool.results[fd] = taken
        self.report(fd, notify)
        yield from self.pay()
        # Reads on one descriptor are carried out one after the other.
        if (following := pool.busy.pop(fd)) is not None:
            pool.reads.append((fd, *following))

    def report(self, fd: int, notify: Notify) -> None:
        """Tell the program that the read on `fd` has ended."""
        system = self.system
        if callable(notify):
            # The new thread blocks no signals, whatever the program's threads block.
            system.start(notify, fd)
            self.charge(system.prices.thread_create_ns)
        elif system.signals.refuses(notify):
            # glibc makes the failure of sigqueue(3) that of the read, whose data is lost.
            system.aio.results[fd] = EAGAIN
        else:
            system.signals.send(notify, fd)

    def read(self, file: Any, nbytes: int) -> Call[int]:
        """Sleep until there is data, and take it."""
        prices = self.system.prices
        self.debt_ns += prices.aio_take_ns
        while not (file.unread or file.readable()) and nbytes:
            yield from self.pay()
            if not file.readable():
                yield from self.sleep_on(file)
        taken = take(self.system, file, nbytes)
        self.debt_ns += round(prices.aio_helper_ns + prices.copy_ns(max(0, taken)))
        if not file.holders:
            release(self.system, file)
        return taken


def call_helper(thread: Thread, kind: type[Helper], read: Read | None) -> None:
    """Have a helper come: one that rests, or a new one, with its first read if it is known, as long
    as there may be more."""
    system, pool = thread.system, thread.system.aio
    if pool.resting:
        if read is not None:
            pool.reads.append(read)
        if pool.idle:
            thread.cpu.wake(pool.idle.popleft())
    elif pool.helpers < pool.limit:
        pool.helpers += 1
        pool.started += 1
        helper = kind(system, f"aio helper {pool.started}", helper=True)
        system.launch(helper, helper.work(pool, read))
        thread.charge(system.prices.thread_create_ns)
    elif read is not None:
        pool.reads.append(read)


class AioCalls(Thread):
    """aio_init, aio_read and aio_return."""

    __slots__ = ()

    helper_type: ClassVar[type[Helper]] = Helper

    def aio_init(self, threads: int) -> Call[None]:
        pool = self.system.aio
        # glibc makes at least one of them.
        threads = max(1, whole("threads", threads))
        if pool.started and threads != pool.limit:
            raise OSError(errno.EBUSY, aio_has_begun(threads, pool.limit))
        pool.limit = threads
        return
        yield

    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        if notify.__class__ is not int or not 0 < notify < SIGNALS:
            notification(notify)
        if fd.__class__ is not int or nbytes.__class__ is not int or nbytes < 0:
            fd, nbytes = whole("fd", fd), size("nbytes", nbytes)
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        pool = system.aio
        system.syscalls["aio_read"] += 1
        if fd in pool.begun:
            raise under_way(fd)
        pool.begun.add(fd)
        if fd in pool.busy:
            pool.busy[fd] = (nbytes, notify)
            self.charge(system.prices.aio_read_ns)
            return
        call_helper(self, self.helper_type, (fd, nbytes, notify))
        self.charge(system.prices.aio_read_ns)

    def aio_return(self, fd: int) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["aio_return"] += 1
        self.charge(system.prices.aio_return_ns)
        pool = system.aio
        if fd not in pool.begun:
            raise error(errno.EINVAL, f"no read has been begun on {whole('fd', fd)}")
        if fd not in pool.results:
            return -errno.EINPROGRESS
        pool.begun.remove(fd)
        return pool.results.pop(fd)
