"""io_uring: submissions wait on their sockets, the ring carries them out and posts completions."""

from __future__ import annotations

from collections import deque
from typing import Any

from iosim.kernel import EAGAIN, Call, Completion, Kernel
from iosim.sim.sockets import accept_one, put, take
from iosim.sim.system import File
from iosim.sim.thread import Thread


class Submission:
    """One submission queue entry."""

    __slots__ = ("fd", "nbytes", "opcode", "ring", "sent", "user_data")

    def __init__(self, ring: Ring, opcode: str, fd: int, nbytes: int, user_data: Any) -> None:
        self.ring = ring
        self.opcode = opcode
        self.fd = fd
        self.nbytes = nbytes
        self.sent = 0
        self.user_data = user_data

    def notify(self, file: File) -> bool:
        """The socket it waits for is readable: leave the rest to the thread that owns the ring."""
        file.watchers = tuple(w for w in file.watchers if w is not self)
        self.ring.due.append(self)
        thread = self.ring.waiting
        if thread is None:
            return False
        self.ring.waiting = None
        return thread.cpu.wake(thread)


class Ring:
    """Both rings and the work between them."""

    def __init__(self, entries: int) -> None:
        self.entries = entries
        self.prepared: list[Submission] = []
        self.due: deque[Submission] = deque()
        """Armed submissions whose socket has become readable (task work)."""
        self.completed: list[Completion] = []
        self.filled: list[File] = []
        """Sockets with received data that the program has not been told of."""
        self.waiting: Thread | None = None


class RingCalls(Thread, Kernel):
    """io_uring. The ring's work runs on the thread that enters it (IORING_SETUP_DEFER_TASKRUN)."""

    __slots__ = ()

    def io_uring_setup(self, entries: int) -> Call[Ring]:
        yield from self.pay()
        self.system.syscalls["io_uring_setup"] += 1
        return Ring(entries)

    def prep_accept(self, ring: Ring, listener: int, user_data: Any) -> None:
        ring.prepared.append(Submission(ring, "accept", listener, 0, user_data))

    def prep_recv(self, ring: Ring, fd: int, nbytes: int, user_data: Any) -> None:
        ring.prepared.append(Submission(ring, "recv", fd, nbytes, user_data))

    def prep_send(self, ring: Ring, fd: int, nbytes: int, user_data: Any) -> None:
        ring.prepared.append(Submission(ring, "send", fd, nbytes, user_data))

    def io_uring_enter(self, ring: Ring, min_complete: int) -> Call[list[Completion]]:
        yield from self.pay()
        system = self.system
        system.syscalls["io_uring_enter"] += 1
        self.debt_ns += system.prices.uring_enter_ns
        prepared, ring.prepared = ring.prepared, []
        for submission in prepared:
            yield from self._attempt(submission)
        while True:
            while ring.due:
                yield from self._attempt(ring.due.popleft())
            if len(ring.completed) >= min_complete:
                break
            yield from self.pay()
            if not ring.due:
                # The program has nothing else to do; with other work it would have gone on.
                ring.waiting = self
                yield from self.sleep()
        completed, ring.completed = ring.completed, []
        now_ns = self.now_ns
        for file in ring.filled:
            file.noticed_ns = now_ns
        ring.filled.clear()
        return completed

    def _attempt(self, submission: Submission) -> Call[None]:
        """Carry a submission out, or arm it on its socket until that is readable."""
        yield from self.pay()
        system = self.system
        file = system.files[submission.fd]
        prices = system.prices
        if submission.opcode == "send":
            # All of it, in several steps if need be (MSG_WAITALL, io_uring_prep_send(3)).
            taken = put(system, file, submission.nbytes - submission.sent)
            submission.sent += max(0, taken)
            copied_ns = max(0, taken) * prices.copy_ns_per_byte
            if taken == EAGAIN or (0 < submission.sent < submission.nbytes and not file.shut):
                file.way_out().waiting.append(submission)
                self.debt_ns += round(prices.uring_sqe_ns + copied_ns)
                return
            result = submission.sent or taken
            self.debt_ns += round(prices.uring_send_ns + copied_ns)
        elif not file.readable:
            file.watchers = (*file.watchers, submission)
            self.debt_ns += prices.uring_sqe_ns
            return
        elif submission.opcode == "accept":
            result = accept_one(system, file).fd
            self.debt_ns += prices.uring_recv_ns
        else:
            result = take(system, file, submission.nbytes)
            self.debt_ns += round(prices.uring_recv_ns + max(0, result) * prices.copy_ns_per_byte)
            file.copied_ns = self.now_ns
            submission.ring.filled.append(file)
        submission.ring.completed.append(Completion(submission.user_data, result))
