"""io_uring: submissions wait on their sockets, the ring carries them out and posts completions.

Who does that is the thread that enters the ring (IORING_SETUP_DEFER_TASKRUN), or with SQPOLL a
kernel thread, which looks for work without end. Its empty looks are not simulated: it is told of
work, and finds it one look later.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

from iosim.arguments import A_RING, error, not_lent, ring_number, size, whole, wrong
from iosim.errors import sq_full
from iosim.kernel import EAGAIN, EPIPE, Call, Completion, Kernel
from iosim.sim.engine import Alarm
from iosim.sim.sockets import Connection, Listener, accept_one, put, release, take
from iosim.sim.states import RING_REQUEST, Event, RequestState
from iosim.sim.system import File, System
from iosim.sim.thread import Thread

ARM, READY = Event(RING_REQUEST, "arm"), Event(RING_REQUEST, "ready")
COMPLETE = Event(RING_REQUEST, "complete")
COMPLETE_WITH_MORE = Event(RING_REQUEST, "complete with more")

PREPARED, ARMED = RequestState.PREPARED, RequestState.ARMED

_ON: dict[str, type[File]] = {"accept": Listener, "recv": Connection, "send": Connection}
"""What the operations are for."""

_WANTS = {"accept": "backlog", "recv": "unread", "send": "out"}
"""What the calls of the same names look for first."""

_MOST_ENTRIES, _MOST_COMPLETIONS, _MOST_BUFFERS = 1 << 15, 1 << 16, 1 << 15


class Submission:
    """One submission queue entry."""

    __slots__ = (
        "fd",
        "file",
        "multishot",
        "nbytes",
        "opcode",
        "ring",
        "sent",
        "state",
        "user_data",
    )

    def __init__(
        self, ring: Ring, opcode: str, fd: int, nbytes: int, user_data: Any, multishot: bool = False
    ) -> None:
        self.ring = ring
        self.opcode = opcode
        self.fd = fd
        self.nbytes = nbytes
        self.sent = 0
        self.user_data = user_data
        self.multishot = multishot
        self.file: Any = None
        """What the descriptor named when the ring took the entry up; the request holds it."""
        self.state = PREPARED

    def __str__(self) -> str:
        return f"{self.opcode} on descriptor {self.fd}"

    def notify(self, file: File) -> bool:
        """The socket it waits for is ready: leave the rest to the thread that works the ring."""
        if self.state is not ARMED:
            # The ring is at it, or will be, and looks at the socket before it arms it again.
            return False
        READY.happens_to(self)
        if not self.multishot:
            self.disarm()
        ring = self.ring
        ring.due.append(self)
        return ring.wake() if ring.sq_thread is None else ring.sq_thread.tell()

    def arm(self) -> None:
        """Wait until the socket is readable."""
        ARM.happens_to(self)
        file = self.file
        if self not in file.watchers:
            file.watchers += (self,)

    def arm_for_room(self) -> None:
        """Wait until the socket is writable."""
        ARM.happens_to(self)
        self.file.way_out().waiting.append(self)

    def disarm(self) -> None:
        """Wait no more."""
        watchers = self.file.watchers
        if self in watchers:
            place = watchers.index(self)
            self.file.watchers = watchers[:place] + watchers[place + 1 :]


Posted = tuple[Completion, Connection | None, int]
"""A completion, the socket whose data was copied for it, and when that was done."""


class Ring:
    """Both rings and the work between them."""

    def __init__(self, owner: Thread, entries: int, cq_entries: int) -> None:
        self.owner = owner
        """The thread that has made it (IORING_SETUP_SINGLE_ISSUER)."""
        self.entries = entries
        self.space_left = entries
        """Submissions that can be prepared."""
        self.cq_entries = cq_entries
        self.prepared: list[Submission] = []
        self.published: deque[Submission] = deque()
        """Submitted, and not yet taken up by the kernel thread of SQPOLL."""
        self.due: deque[Submission] = deque()
        """Armed submissions whose socket has become readable (task work)."""
        self.completed: list[Posted] = []
        """The completion queue."""
        self.overflown: deque[Posted] = deque()
        """What did not fit it (IORING_FEAT_NODROP)."""
        self.buffers: deque[int] | None = None
        """Provided buffers that are free, in the order in which they were given."""
        self.lent: set[int] = set()
        """Those that the program has."""
        self.buffer_bytes = 0
        self.waiting: Thread | None = None
        self.wanted = 0
        """How many completions the waiting thread sleeps for, if another thread posts them."""
        self.sq_thread: SqThread | None = None

    def has_room(self) -> bool:
        """Whether the next completion fits the queue; those in overflow come before it."""
        return not self.overflown and len(self.completed) < self.cq_entries

    def prepare(self, submission: Submission) -> None:
        """Put an entry into the submission queue."""
        if not self.space_left:
            raise sq_full(self.entries)
        self.space_left -= 1
        self.prepared.append(submission)

    def submit(self) -> list[Submission]:
        """Empty the submission queue into the hands of the thread that enters the ring."""
        prepared, self.prepared = self.prepared, []
        self.space_left = self.entries
        return prepared

    def wake(self) -> bool:
        """Wake the thread that waits in a call; True if that woke an idle core."""
        thread, self.waiting, self.wanted = self.waiting, None, 0
        return thread is not None and thread.cpu.wake(thread)

    def flush(self) -> None:
        """Move what is in overflow into the queue, as far as it has room."""
        while self.overflown and len(self.completed) < self.cq_entries:
            self.completed.append(self.overflown.popleft())

    def take(self, now_ns: int) -> list[Completion]:
        """Empty the completion queue into the program's hands."""
        posted, self.completed = self.completed, []
        completions = []
        for completion, source, copied_ns in posted:
            completions.append(completion)
            if source is not None:
                source.copied_ns = copied_ns
                source.noticed_ns = now_ns
        return completions


class RingWork(Thread):
    """What is done for a ring by whichever thread works it."""

    __slots__ = ()

    def _carry_out(self, submissions: Iterable[Submission]) -> Call[None]:
        """Carry submissions out in turn, or arm each on its socket until that is readable."""
        for submission in submissions:
            if self.debt_ns or self.disturbed:
                yield from self.pay()
            if submission.state is PREPARED:
                self._take_up(submission)
            if submission.multishot and submission.file is not None:
                yield from self._go_on(submission)
                continue
            result = self._attempt(submission)
            if result is not None:
                if submission.ring.sq_thread is not None and self.debt_ns:
                    yield from self.pay()
                self._post(submission, result)

    def _take_up(self, submission: Submission) -> None:
        """Look the descriptor up; from now on the request holds what it names."""
        files, fd = self.system.files, submission.fd
        # What is of another kind refuses it, see `_refusal`.
        if 0 <= fd < len(files) and type(file := files[fd]) is _ON[submission.opcode]:
            submission.file = file
            file.holders += 1
        if submission.multishot:
            self.debt_ns += self.system.prices.uring_sqe_ns

    def _attempt(self, submission: Submission) -> int | None:
        """The result of a submission, or None if it has been armed."""
        system, prices, file = self.system, self.system.prices, submission.file
        if file is None:
            return self._refusal(submission)
        if submission.opcode == "send":
            # All of it, in several steps if need be (MSG_WAITALL, io_uring_prep_send(3)).
            left = submission.nbytes - submission.sent
            taken = put(system, file, left)
            if taken > 0:
                submission.sent += taken
                self.debt_ns += system.copy_ns[taken]
            if taken != left and (taken == EAGAIN or (submission.sent and not file.shut)):
                submission.arm_for_room()
                self.debt_ns += prices.uring_sqe_ns
                return None
            self.debt_ns += prices.uring_send_ns + system.reply_on(file)
            return submission.sent or taken
        if not file.readable():
            submission.arm()
            self.debt_ns += prices.uring_sqe_ns
            return None
        if submission.opcode == "accept":
            self.debt_ns += prices.uring_recv_ns
            self.connections += 1
            return accept_one(system, file).fd
        result = take(system, file, submission.nbytes)
        self.debt_ns += prices.uring_recv_ns
        if result > 0:
            self.debt_ns += system.copy_ns[result]
        return result

    def _refusal(self, submission: Submission) -> int:
        """What comes of a request on a descriptor that is not open, or names another kind of file:
        that of the call."""
        try:
            getattr(self.system.file(submission.fd), _WANTS[submission.opcode])
        except OSError as error:
            return -(error.errno or 0)
        return EPIPE

    def _go_on(self, submission: Submission) -> Call[None]:
        """A multishot request takes what there is, a completion at a time, and stays armed.

        It ends with an error, with the stream, and when a completion does not fit the queue: then
        the kernel makes that the last one instead of letting the overflow grow without bound.
        """
        system, prices, ring = self.system, self.system.prices, submission.ring
        file, more = submission.file, True
        receives = submission.opcode == "recv"
        while more:
            if self.debt_ns:
                yield from self.pay()
            # A buffer is chosen before the socket is asked.
            if receives and not ring.buffers:
                more = False
                self._post(submission, -errno.ENOBUFS)
                break
            if not file.readable():
                break
            buffer = None
            if not receives:
                result = accept_one(system, file).fd
                self.connections += 1
                self.debt_ns += prices.uring_multishot_ns
                more = ring.has_room()
            else:
                assert ring.buffers is not None
                result = take(system, file, ring.buffer_bytes)
                self.debt_ns += prices.uring_multishot_ns + system.copy_ns[max(0, result)]
                more = result > 0 and ring.has_room()
                buffer = ring.buffers.popleft() if result > 0 else None
            if ring.sq_thread is not None and self.debt_ns:
                yield from self.pay()
            self._post(submission, result, buffer, more)
            if not file.readable():
                break
        if more:
            submission.arm()

    def _post(
        self, submission: Submission, result: int, buffer: int | None = None, more: bool = False
    ) -> None:
        """Post a completion; unless there will be more, the request lets go of its file.

        The thread of SQPOLL must have paid for the work: the program looks at the queue meanwhile.
        """
        ring, file = submission.ring, submission.file
        completion = Completion((submission.user_data, result))
        if buffer is not None:
            completion.buffer = buffer
            ring.lent.add(buffer)
        if more:
            completion.more = True
        source, copied_ns = None, 0
        if submission.opcode == "recv" and result >= 0:
            # `self.now_ns`, without the time that a property takes.
            source, copied_ns = file, self.env.now_ns + self.debt_ns - self.cold_ns
        posted = completion, source, copied_ns
        # As `ring.has_room()` tells, in less time.
        if ring.overflown or len(ring.completed) >= ring.cq_entries:
            ring.overflown.append(posted)
        else:
            ring.completed.append(posted)
        if ring.sq_thread is not None and len(ring.completed) >= ring.wanted > 0:
            ring.wake()
        if more:
            COMPLETE_WITH_MORE.happens_to(submission)
            return
        COMPLETE.happens_to(submission)
        if file is None:
            return
        if submission.multishot:
            submission.disarm()
        file.holders -= 1
        if not file.holders:
            release(self.system, file)


class SqThread(RingWork):
    """The kernel thread of IORING_SETUP_SQPOLL."""

    __slots__ = ("_idle_ns", "_looking", "_ring", "_told", "needs_wakeup")

    def __init__(self, system: System, ring: Ring, idle_ns: int) -> None:
        super().__init__(system, "io_uring SQ", helper=True)
        self._ring = ring
        self._idle_ns = idle_ns
        self._looking: Alarm | None = None
        self._told = False
        self.needs_wakeup = False

    @property
    def preemptible(self) -> bool:
        """Only while it looks for work: it asks itself, after each round of work, whether another
        thread wants the core (need_resched and cond_resched in io_sq_thread of io_uring/sqpoll.c).
        """
        return self._looking is not None

    def work(self) -> Call[None]:
        """Carry out submissions; look for more until the idle time is over, then sleep.

        A new thread that finds nothing sleeps at once, as Linux's does.
        """
        ring = self._ring
        while True:
            while ring.published or ring.due:
                yield from self._carry_out(self._found())
                yield from self.pay()
                yield from self._let_go()
                yield from self._look()
            yield from self.pay()
            if not (ring.published or ring.due):
                self.needs_wakeup = True
                yield from self.sleep()
                self.needs_wakeup = False

    def _let_go(self) -> Call[None]:
        """Let the thread run that wanted the core meanwhile, if it has not got it since."""
        wanted_by, self.wanted_by = self.wanted_by, None
        if wanted_by is not None and self.core.queue and self.core.queue[0] is wanted_by:
            yield from self.step_aside()

    def _found(self) -> Iterator[Submission]:
        """Take up submissions, and those whose socket has become readable, until none is left."""
        ring = self._ring
        while ring.published or ring.due:
            if not ring.published:
                yield ring.due.popleft()
                continue
            submission = ring.published.popleft()
            ring.space_left += 1
            if ring.waiting is not None and not ring.wanted:
                ring.wake()
            yield submission

    def tell(self) -> bool:
        """There is work; True if that woke an idle core."""
        if self._looking is None:
            return self.cpu.wake(self)
        if not self._told:
            self._told = True
            self._looking = self._looking.successor()
            self._looking.ring_at(self.env.now_ns + self.system.prices.sqpoll_look_ns)
        return False

    def _look(self) -> Call[None]:
        """Hold the core until there is work, or there was none for the idle time.

        Others that want the core get it as from a busy program.
        """
        yield from self.pay()
        ring, env = self._ring, self.env
        until_ns = env.now_ns + self._idle_ns
        while not (ring.published or ring.due) and env.now_ns < until_ns:
            self._looking, self._told = Alarm(env), False
            self._looking.ring_at(min(until_ns, self.slice_end_ns))
            yield self._looking
            self._looking = None
            yield from self.come_back()
            if env.now_ns >= self.slice_end_ns:
                yield from self.begin_slice()


class RingCalls(RingWork, Kernel):
    """The calls on rings."""

    __slots__ = ()

    sq_thread_type: ClassVar[type[SqThread]] = SqThread

    def io_uring_setup(
        self, entries: int, cq_entries: int | None = None, sqpoll_idle_ns: int | None = None
    ) -> Call[Ring]:
        yield from self.pay()
        system = self.system
        system.syscalls["io_uring_setup"] += 1
        entries = whole("entries", entries)
        room = 4 * entries if cq_entries is None else whole("cq_entries", cq_entries)
        if sqpoll_idle_ns is not None:
            sqpoll_idle_ns = size("sqpoll_idle_ns", sqpoll_idle_ns)
        sizes = _rounded(entries, _MOST_ENTRIES), _rounded(room, _MOST_COMPLETIONS)
        if entries < 1 or room < 1 or sizes[1] < sizes[0]:
            raise error(errno.EINVAL, "io_uring_setup")
        ring = Ring(self, *sizes)
        if sqpoll_idle_ns is not None:
            idle_ns = max(1, -(-sqpoll_idle_ns // 1_000_000)) * 1_000_000
            ring.sq_thread = self.sq_thread_type(system, ring, idle_ns)
            system.launch(ring.sq_thread, ring.sq_thread.work())
        return ring

    def sq_space_left(self, ring: Ring) -> int:
        try:
            return ring.space_left
        except AttributeError:
            raise wrong("ring", ring, A_RING) from None

    def prep_accept(self, ring: Ring, listener: int, user_data: Any) -> None:
        self._prepare(Submission(ring, "accept", listener, 0, user_data))

    def prep_accept_multishot(self, ring: Ring, listener: int, user_data: Any) -> None:
        self._prepare(Submission(ring, "accept", listener, 0, user_data, multishot=True))

    def prep_recv(self, ring: Ring, fd: int, nbytes: int, user_data: Any) -> None:
        self._prepare(Submission(ring, "recv", fd, nbytes, user_data))

    def prep_recv_multishot(self, ring: Ring, fd: int, user_data: Any) -> None:
        self._prepare(Submission(ring, "recv", fd, 0, user_data, multishot=True))

    def prep_send(self, ring: Ring, fd: int, nbytes: int, user_data: Any) -> None:
        self._prepare(Submission(ring, "send", fd, nbytes, user_data))

    def _prepare(self, submission: Submission) -> None:
        """Put an entry into the submission queue; that takes the program's own time."""
        try:
            if (submission.fd | submission.nbytes) < 0:
                raise TypeError
            submission.ring.prepare(submission)
        except (AttributeError, TypeError):
            self._prepare_checked(submission)
        prep_ns = self.system.prices.uring_prep_ns
        self.debt_ns += prep_ns
        self.debt_user_ns += prep_ns

    def _prepare_checked(self, submission: Submission) -> None:
        """Put an entry into the queue that there is something wrong with, or its descriptor."""
        if not isinstance(submission.ring, Ring):
            raise wrong("ring", submission.ring, A_RING)
        whole("fd", submission.fd)
        ring_number("nbytes", submission.nbytes)
        submission.ring.prepare(submission)

    def _own(self, ring: Any) -> None:
        """Whether a ring may be used here (IORING_SETUP_SINGLE_ISSUER of io_uring_setup(2))."""
        if not isinstance(ring, Ring):
            raise wrong("ring", ring, A_RING)
        if ring.owner is not self:
            raise error(errno.EEXIST, "the ring is that of another thread")

    def io_uring_register_buffers(self, ring: Ring, count: int, nbytes: int) -> Call[None]:
        self._own(ring)
        yield from self.pay()
        self.system.syscalls["io_uring_register"] += 1
        count, nbytes = whole("count", count), size("nbytes", nbytes, 1)
        if not 0 < count <= _MOST_BUFFERS or count & count - 1:
            raise error(errno.EINVAL, f"count = {count}")
        if ring.buffers is not None:
            raise error(errno.EEXIST, "io_uring_register")
        ring.buffers, ring.buffer_bytes = deque(range(count)), nbytes

    def io_uring_return_buffer(self, ring: Ring, buffer: int) -> None:
        try:
            ring.lent.remove(buffer)
            assert ring.buffers is not None
            ring.buffers.append(buffer)
        except (AttributeError, KeyError, TypeError):
            if not isinstance(ring, Ring):
                raise wrong("ring", ring, A_RING) from None
            raise not_lent(buffer) from None
        self.charge(self.system.prices.uring_buffer_ns)

    def io_uring_needs_wakeup(self, ring: Ring) -> bool:
        if not isinstance(ring, Ring):
            raise wrong("ring", ring, A_RING)
        return ring.sq_thread is not None and ring.sq_thread.needs_wakeup

    def io_uring_submit(self, ring: Ring) -> Call[None]:
        self._own(ring)
        yield from self.pay()
        if ring.sq_thread is None:
            self._charge_enter()
            yield from self._carry_out(ring.submit())
            return
        woke = self._publish(ring)
        if woke or not ring.space_left:
            self._charge_enter()
        else:
            self.charge(self.system.prices.uring_peek_ns)
        while not ring.space_left:
            yield from self.pay()
            if not ring.space_left:
                yield from self._wait(ring, 0)

    def io_uring_enter(self, ring: Ring, min_complete: int) -> Call[list[Completion]]:
        self._own(ring)
        if min_complete.__class__ is not int or min_complete < 0:
            min_complete = whole("min_complete", min_complete, 0)
        yield from self.pay()
        if min_complete > ring.cq_entries:
            min_complete = ring.cq_entries
        if ring.sq_thread is not None:
            return (yield from self._enter_polled(ring, min_complete))
        self._charge_enter()
        if ring.prepared:
            yield from self._carry_out(ring.submit())
        while True:
            while ring.due:
                due = list(ring.due)
                ring.due.clear()
                yield from self._carry_out(due)
            if ring.overflown:
                ring.flush()
            if len(ring.completed) >= min_complete:
                break
            if self.debt_ns or self.disturbed:
                yield from self.pay()
            if not ring.due:
                yield from self._wait(ring, min_complete)
        return self._reap(ring)

    def _enter_polled(self, ring: Ring, min_complete: int) -> Call[list[Completion]]:
        """io_uring_enter where a kernel thread works the ring."""
        woke = self._publish(ring)
        waits = len(ring.completed) < min_complete or (ring.overflown and not ring.completed)
        if woke or waits:
            self._charge_enter()
        else:
            self.charge(self.system.prices.uring_peek_ns)
        if waits:
            ring.flush()
        while len(ring.completed) < min_complete:
            yield from self.pay()
            if len(ring.completed) < min_complete:
                yield from self._wait(ring, min_complete)
            ring.flush()
        return self._reap(ring)

    def _reap(self, ring: Ring) -> list[Completion]:
        """Take all completions there are."""
        if ring.completed:
            self.debt_ns += self.system.prices.uring_reap_ns
        return ring.take(self.env.now_ns + self.debt_ns - self.cold_ns)

    def _publish(self, ring: Ring) -> bool:
        """Show what was prepared to the kernel thread; True if it slept and had to be woken."""
        assert ring.sq_thread is not None
        if not ring.prepared:
            return False
        ring.published += ring.prepared
        ring.prepared = []
        slept = ring.sq_thread.needs_wakeup
        ring.sq_thread.tell()
        return slept

    def _wait(self, ring: Ring, wanted: int) -> Call[None]:
        """Sleep until the ring has news.

        The program has nothing else to do; with other work it would have gone on. So this is no
        waiting for data.
        """
        ring.waiting, ring.wanted = self, wanted
        yield from self.sleep()
        self.debt_ns += self.system.prices.uring_wait_ns

    def _charge_enter(self) -> None:
        system = self.system
        system.syscalls["io_uring_enter"] += 1
        self.debt_ns += system.prices.uring_enter_ns
        self.debt_user_ns += self.user_share_ns


def _rounded(number: int, most: int) -> int:
    """The next power of two, cut to the kernel's limit (IORING_SETUP_CLAMP)."""
    return min(1 << max(0, number - 1).bit_length(), most)
