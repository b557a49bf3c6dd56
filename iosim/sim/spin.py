"""try_each without making the empty tries.

The k-th try after the start is made at `begin + k * period`, at position `(start + k) mod slots`.
So the try that meets an arrival is known the moment data arrives, and the tries before it are
counted instead of made. While another thread wants the core, they are made: when it wakes up, the
scan ends within a try, and what is left of that is paid for as after any call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Sequence
from itertools import chain

from iosim.kernel import EAGAIN, Call, Kernel
from iosim.sim.engine import Alarm
from iosim.sim.system import File
from iosim.sim.thread import Thread

_STEPS = 16
"""To look up where a descriptor stands takes as long as so many steps from one to the next.

Where few descriptors have something to read, they are looked up; where many do, one is come upon
within a few steps. The shorter way takes the square root of the number of descriptors at worst.
"""


class Scan:
    """One call of try_each under way, up to the first news."""

    def __init__(
        self, thread: Thread, fds: Sequence[int], listener: int, start: int, spin: bool
    ) -> None:
        self._thread = thread
        self._env = thread.env
        self._fds = fds
        self._listener = listener
        self._start = start
        self._slots = len(fds) + 1
        self._period_ns = thread.system.prices.eagain_ns
        self._user_ns = thread.system.prices.user_ns
        """As much of it is user time, and comes last."""
        self._begin_ns = thread.env.now_ns
        self._slice_left_ns = thread.slice_end_ns - thread.env.now_ns
        self.broken_off = False
        """Whether the scan has ended for the sake of another thread."""
        self.position = start
        """Where the pointer stands, once the scan is over, at the try that is due."""
        self._counted = 0
        self._worked_ns = 0
        """Work on tries that is done; interrupt work may have come since then."""
        self.last = None if spin else self._slots - start - 1
        """Number of the last try of the pass."""
        self.hit: int | None = None
        """Number of the try that will meet news, as far as is known."""
        readable = thread.system.readable
        if _STEPS * len(readable) ** 2 < self._slots:
            for fd in readable:
                self._consider(fd)
        else:
            self.hit = self._come_upon(readable)
        self.alarm = Alarm(thread.env)
        self._set_alarm()

    def count(self) -> None:
        """Enter the tries made in vain since the last count into the counters."""
        made, _ = self._progress()
        system = self._thread.system
        # The listener is the last position of every pass.
        accepts = (self._start + made) // self._slots - (self._start + self._counted) // self._slots
        system.empty_polls += made - self._counted
        if accepts:
            self._thread.found_nothing()
        system.syscalls["accept4"] += accepts
        system.syscalls["recv"] += made - self._counted - accepts
        self._counted = made

    def notify(self, file: File) -> bool:
        """News while the scan is under way: it may end earlier than known so far."""
        if self._consider(file.fd):
            self._move_alarm()
        return False

    def hold_up(self, ns: int) -> None:
        """Interrupt work of `ns` delays every try to come."""
        _, self._worked_ns = self._progress()
        self._begin_ns += ns
        self._move_alarm()

    def break_off(self) -> None:
        """Another thread wants the core: from now on the thread is as if it made each try."""
        self.broken_off = True
        self.end()
        self.alarm = self.alarm.successor()
        self.alarm.ring_at(self._env.now_ns)

    def end(self) -> None:
        """The thread goes on in the midst of a try, or with the one that is due: enter the tries
        into its account."""
        thread = self._thread
        thread.scan = None
        thread.system.pollers.remove(self)
        self.count()
        made, worked_ns = self._progress()
        self.position = (self._start + made) % self._slots
        unpaid_ns, unpaid_user_ns = self._unpaid_ns(made, worked_ns)
        thread.debt_ns += unpaid_ns
        thread.debt_user_ns += unpaid_user_ns
        thread.user_ns += made * self._user_ns - unpaid_user_ns
        thread.sure_user_ns = thread.user_ns
        now_ns = self._env.now_ns
        thread.held_up_ns = self._begin_ns + worked_ns - now_ns
        thread.disturbed = thread.held_up_ns > 0
        slice_left_ns = self._slice_left_ns - worked_ns
        if slice_left_ns < 0:
            slice_left_ns %= thread.cpu.time_slice_ns
        thread.slice_end_ns = now_ns + slice_left_ns

    def passed_user_ns(self) -> int:
        """The user time of the tries up to now."""
        made, worked_ns = self._progress()
        return made * self._user_ns - self._unpaid_ns(made, worked_ns)[1]

    def _unpaid_ns(self, made: int, worked_ns: int) -> tuple[int, int]:
        """What is left of the last of the tries that have been made, and of its user time."""
        unpaid_ns = made * self._period_ns - worked_ns
        return unpaid_ns, min(unpaid_ns, self._user_ns)

    def _progress(self) -> tuple[int, int]:
        """How many tries have been made, the last of which may be under way, and the work done.

        One due at this very instant has not been made.
        """
        worked_ns = self._env.now_ns - self._begin_ns
        if worked_ns < self._worked_ns:
            worked_ns = self._worked_ns
        return -(-worked_ns // self._period_ns), worked_ns

    def _consider(self, fd: int) -> bool:
        """Work out which try meets news on `fd`; True if that ends the scan earlier."""
        position = self._position_of(fd)
        if position is None:
            return False
        first, _ = self._progress()
        number = first + (position - self._start - first) % self._slots
        if self.last is not None and number > self.last:
            return False
        if self.hit is not None and number >= self.hit:
            return False
        self.hit = number
        return True

    def _come_upon(self, readable: Container[int]) -> int | None:
        """The first try that meets what is there at the start, found by going from try to try."""
        fds, start, last = self._fds, self._start, self._slots - 1
        positions = chain(range(start, last), (last,), range(start if self.last is None else 0))
        for number, position in enumerate(positions):
            if (self._listener if position == last else fds[position]) in readable:
                return number
        return None

    def _position_of(self, fd: int) -> int | None:
        """Index of a descriptor, without a search that would cost time per idle socket."""
        if fd == self._listener:
            return self._slots - 1
        # Descriptors count up, and so does a list that each joins when it has been accepted.
        fds = self._fds
        place = bisect_left(fds, fd)
        if place < len(fds) and fds[place] == fd:
            return place
        known = self._thread.system.positions
        position = known.get(fd)
        if position is None or position >= len(fds) or fds[position] != fd:
            known.clear()
            known.update((fd, position) for position, fd in enumerate(fds))
            position = known.get(fd)
        return position

    def _set_alarm(self) -> None:
        final = self.last if self.hit is None else self.hit
        if final is not None:
            self.alarm.ring_at(self._begin_ns + final * self._period_ns)

    def _move_alarm(self) -> None:
        self.alarm = self.alarm.successor()
        self._set_alarm()


class SpinCalls(Thread, Kernel):
    """The loop of `Kernel.try_each`, jumped over."""

    __slots__ = ()

    def try_each(
        self, fds: Sequence[int], listener: int, start: int = 0, spin: bool = False
    ) -> Call[tuple[int, int]]:
        system = self.system
        while True:
            yield from self.pay()
            # Another thread may want the core between two tries. One that is pinned to its core is
            # woken by interrupts only, and they break the scan off.
            if self.core.queue or system.roaming > 1:
                found = yield from super().try_each(fds, listener, start)
                if found[1] != EAGAIN or not spin:
                    return found
                start = 0
                continue
            scan = self.scan = Scan(self, fds, listener, start, spin)
            system.pollers.append(scan)
            yield scan.alarm
            if not scan.broken_off:
                scan.end()
            start = scan.position
            if not scan.broken_off:
                break
        # The try that is due: the one that meets news, or the last of the pass.
        if start < len(fds):
            return start, (yield from self.recv(fds[start]))
        return start, (yield from self.accept(listener, nonblocking=True))
