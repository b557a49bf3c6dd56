"""Where the time of each core goes, to the nanosecond."""

from __future__ import annotations

from enum import IntEnum


class Use(IntEnum):
    """What a core does with its time."""

    USER = 0
    """The program's own computing, and what its language adds to each call."""
    SYSTEM = 1
    """Calls of the kernel."""
    SOFTIRQ = 2
    """Interrupt work, whoever was held up by it."""
    SWITCH = 3
    """From one thread to another, or out of idling into a thread."""
    STOLEN = 4
    """Taken by others: a hypervisor or whatever shares the core."""
    IDLE = 5


_USER, _SYSTEM, _SWITCH, _IDLE = map(int, (Use.USER, Use.SYSTEM, Use.SWITCH, Use.IDLE))
# A list takes plain integers faster than members of a class.


class Account:
    """One core's time by use. It is booked span by span, each without gap from the last.

    Interrupt work and stolen time fall into spans of other uses, and shorten them.
    """

    __slots__ = ("_spent_ns", "_taken_ns", "_to_give_ns", "since_ns")

    def __init__(self) -> None:
        self._spent_ns = [0] * len(Use)
        self._taken_ns: list[tuple[Use, int]] = []
        """What has been taken out of the present span, by whom; it may reach into the next."""
        self._to_give_ns = 0
        """The sum of that."""
        self.since_ns = 0
        """Begin of the present span."""

    def take(self, use: Use, ns: int) -> None:
        """Take `ns` out of the present span."""
        self._taken_ns.append((use, ns))
        self._to_give_ns += ns

    def book_run(self, now_ns: int, user_ns: int, later_ns: int) -> None:
        """A thread has run up to now, `user_ns` of it in user mode.

        Of what has been taken, `later_ns` fall into later spans.
        """
        ran_ns = now_ns - self.since_ns
        self.since_ns = now_ns
        if self._taken_ns:
            ran_ns -= self._give(ran_ns, later_ns)
        spent_ns = self._spent_ns
        spent_ns[_USER] += user_ns
        spent_ns[_SYSTEM] += ran_ns - user_ns

    def book_switch(self, now_ns: int, switch_ns: int, later_ns: int) -> None:
        """A thread begins to run; the last `switch_ns` went into that, what was before was idle.

        Of what has been taken, `later_ns` fall into later spans.
        """
        idle_ns = now_ns - self.since_ns - switch_ns
        self.since_ns = now_ns
        if self._taken_ns:
            idle_ns -= self._give(idle_ns, later_ns)
        spent_ns = self._spent_ns
        spent_ns[_SWITCH] += switch_ns
        spent_ns[_IDLE] += idle_ns

    def _give(self, most_ns: int, later_ns: int) -> int:
        """Book what has been taken by now, `most_ns` at most; the rest stays for later spans."""
        given_ns = self._to_give_ns - later_ns
        if given_ns > most_ns:
            given_ns = most_ns
        if given_ns <= 0:
            return 0
        self._to_give_ns -= given_ns
        if not self._to_give_ns:  # As a rule, all of it is given.
            for use, ns in self._taken_ns:
                self._spent_ns[use] += ns
            self._taken_ns.clear()
            return given_ns
        taken_ns, self._taken_ns = self._taken_ns, []
        left_ns = given_ns
        for use, ns in taken_ns:
            now_given_ns = ns if ns < left_ns else left_ns
            left_ns -= now_given_ns
            self._spent_ns[use] += now_given_ns
            if ns > now_given_ns:
                self._taken_ns.append((use, ns - now_given_ns))
        return given_ns

    def copy(self) -> Account:
        """An account that can be booked on without changing this one."""
        twin = Account()
        twin._spent_ns = self._spent_ns.copy()
        twin._taken_ns = self._taken_ns.copy()
        twin._to_give_ns = self._to_give_ns
        twin.since_ns = self.since_ns
        return twin

    @property
    def spent_ns(self) -> dict[Use, int]:
        """Time by use, up to the last booking."""
        return dict(zip(Use, self._spent_ns, strict=True))
