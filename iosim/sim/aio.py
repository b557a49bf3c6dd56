"""POSIX AIO as glibc implements it: helper threads that make ordinary blocking reads, aio(7)."""

from __future__ import annotations

from typing import Any, ClassVar

from iosim.kernel import EAGAIN, Call, Notify
from iosim.sim.pending import AioReads
from iosim.sim.sockets import release, take
from iosim.sim.thread import Thread


class Helper(Thread):
    """One of the C library's threads."""

    __slots__ = ()

    def work(self, pool: AioReads) -> Call[None]:
        """Carry out reads, oldest first; sleep while there is none."""
        system = self.system
        while True:
            while not pool.reads:
                yield from self.pay()
                if not pool.reads:
                    pool.idle.append(self)
                    yield from self.sleep()
            fd, nbytes, notify = pool.reads.popleft()
            file = system.files[fd]
            # Reads on one descriptor are carried out one after the other, by one helper.
            following: tuple[int, Notify] | None = (nbytes, notify)
            while following is not None:
                pool.busy[fd] = None
                nbytes, notify = following
                taken = yield from self.read(file, nbytes)
                yield from self.pay()
                file.copied_ns = self.now_ns
                pool.results[fd] = taken
                self.report(fd, notify)
                yield from self.pay()
                following = pool.busy.pop(fd)
                if following is not None and pool.reads:
                    # Reads that have waited longer come first.
                    pool.reads.append((fd, *following))
                    following = None

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
        while not file.readable():
            yield from self.pay()
            if not file.readable():
                yield from self.sleep_on(file)
        taken = take(self.system, file, nbytes)
        self.debt_ns += round(prices.aio_helper_ns + prices.copy_ns(max(0, taken)))
        if not file.holders:
            release(self.system, file)
        return taken


class AioCalls(Thread):
    """aio_init, aio_read and aio_return."""

    __slots__ = ()

    helper_type: ClassVar[type[Helper]] = Helper

    def aio_init(self, threads: int) -> Call[None]:
        self.system.aio.limit = threads
        return
        yield

    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        pool = system.aio
        system.syscalls["aio_read"] += 1
        if fd in pool.busy:
            pool.busy[fd] = (nbytes, notify)
            self.charge(system.prices.aio_read_ns)
            return
        pool.reads.append((fd, nbytes, notify))
        if pool.idle:
            self.cpu.wake(pool.idle.popleft())
        elif pool.helpers < pool.limit:
            pool.helpers += 1
            helper = self.helper_type(system, f"aio helper {pool.helpers}", helper=True)
            system.launch(helper, helper.work(pool))
        self.charge(system.prices.aio_read_ns)

    def aio_return(self, fd: int) -> Call[int]:
        if self.debt_ns:
            yield from self.pay()
        system = self.system
        system.syscalls["aio_return"] += 1
        self.charge(system.prices.aio_return_ns)
        return system.aio.results.pop(fd)
