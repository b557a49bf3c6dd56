"""One thread of a simulated server: the state every group of calls works on."""

from __future__ import annotations

from collections.abc import Collection, Generator
from typing import Any

import simpy

from iosim.program import failure
from iosim.sim.cpu import EXIT, RUNNING, SLEEPING, Task
from iosim.sim.engine import call_in
from iosim.sim.pending import ALL_SIGNALS, Pending
from iosim.sim.states import IllegalTransition, TaskState
from iosim.sim.system import File, System

EXITED = TaskState.EXITED

Wait = Generator[simpy.Event, Any, None]


class Thread(Task):
    """A task of the scheduler that runs a program and so can make calls."""

    __slots__ = (
        "_threads_then",
        "awaited",
        "blocked",
        "connections",
        "pending",
        "requests_taken",
        "system",
        "user_share_ns",
        "wanted",
    )

    def __init__(self, system: System, name: str, helper: bool = False) -> None:
        super().__init__(system.cpu, name, helper)
        self.system = system
        self.blocked: frozenset[int] = ALL_SIGNALS if helper else frozenset()
        """The signal mask. The C library's helpers take no signals."""
        self.awaited: Collection[int] = ()
        """Signals that the thread sleeps for, in sigsuspend, sigwaitinfo or read of a signalfd."""
        self.wanted: Collection[int] = ()
        """The last set of signals that it has asked for, and which is a good one."""
        self.pending = Pending()
        self.user_share_ns = system.prices.user_ns
        """What the language adds to each call."""
        self.connections = 0
        """How many it has accepted."""
        self.requests_taken = 0
        """How many requests it has framed."""
        self._threads_then = 0
        """How many threads there were when it last found nobody who would connect."""
        system.tasks.append(self)
        if not helper:
            system.signals.threads[self] = None
        system.memory.add("threads")

    def live(self, program: Wait) -> Wait:
        """Take the core, run the program to its end, give the core back."""
        self.take_core()
        try:
            yield from program
        except (Exception, SystemExit) as error:
            if self.helper or isinstance(error, IllegalTransition):
                raise
            raise failure(self.name.rpartition(" ")[0], error) from error
        yield from self.pay()
        # Letting go of the interpreter lock may have cost it the core, which it needs to exit.
        yield from self.come_back()
        self.blocked = ALL_SIGNALS
        self.system.signals.threads.pop(self, None)
        self.system.memory.remove("threads")
        self.give_up_core(EXIT)

    @property
    def now_ns(self) -> int:
        """The thread's own time: the clock, plus the work it has not yet paid for."""
        now_ns: int = self.env.now_ns + self.debt_ns - self.cold_ns
        return now_ns

    def charge(self, price_ns: int) -> None:
        """Owe for a call, the price of which includes the language's share.

        The busiest calls do so in place.
        """
        self.debt_ns += price_ns
        self.debt_user_ns += self.user_share_ns

    def found_nothing(self) -> None:
        """A look for news, and so for new connections, was in vain."""
        self._threads_then = len(self.system.tasks)

    def waits_for_clients(self) -> bool:
        """Whether it sleeps in a call, or has looked for connections in vain since the last thread
        was started. The C library's threads and the kernel's do not count."""
        if self.scan is not None:
            self.scan.count()
        if self.helper or self._threads_then == len(self.system.tasks):
            return True
        return self.state in (SLEEPING, EXITED) and not self.waits_for_lock()

    def waits_for_lock(self) -> bool:
        """Whether it sleeps until the interpreter's lock is free."""
        return False

    def noticed(self, ready: list[int]) -> None:
        """Note when the program learned that these are readable, or that nothing is."""
        if not ready:
            self.found_nothing()
        # `self.now_ns`, without the time that a property takes.
        now_ns = self.env.now_ns + self.debt_ns - self.cold_ns
        files = self.system.files
        for fd in ready:
            # A signal, or a request of a ring, may be about a descriptor that is closed.
            if (file := files[fd]) is not None:
                file.noticed_ns = now_ns

    def sleep_on(self, file: File) -> Wait:
        """Sleep until `file` has something to read; its descriptor may be closed meanwhile.

        "The blocking I/O system call holds a reference to the underlying open file description, and
        this reference keeps the description open until the I/O system call completes" (close(2)).
        """
        if file.sleepers is None:
            file.sleepers = []
        file.sleepers.append(self)
        file.holders += 1
        yield from self.sleep()
        file.holders -= 1

    def sleep_for_data(self, file: File | None = None) -> Wait:
        """Sleep in phase 1, on `file` or on what the caller has arranged."""
        self.waiting_since_ns = self.env.now_ns
        return self.sleep() if file is None else self.sleep_on(file)

    def wants(self, signal: int) -> bool:
        return signal in self.awaited or signal not in self.blocked

    def signalled(self, signal: int) -> bool:
        """A signal that the thread wants is pending; True if that woke an idle core.

        A handler acts at once, as calls do. A thread that runs goes on that much later; one that
        sleeps is woken to run it and then sleeps on.
        """
        if signal in self.awaited:
            self.awaited = ()
            return self.cpu.wake(self)
        price_ns = self.run_handlers()
        if self.state is RUNNING:
            self.hold_up(price_ns)
            return False
        self.debt_ns += price_ns
        return self.cpu.interrupt_sleep(self)

    def run_handlers(self) -> int:
        """Run the handlers of the pending signals that are not blocked; returns what that costs.

        Signals of one number that are delivered together run the handler once.
        """
        signals, handled, price_ns = self.system.signals, 0, 0
        unblocked = ALL_SIGNALS - self.blocked
        while (taken := signals.take(self, unblocked)) is not None:
            if taken[0] != handled:
                handled = taken[0]
                signals.handle(handled)
            price_ns += self.system.prices.signal_handler_ns
        return price_ns


class Deadline:
    """When a call of a thread gives up waiting; `None` is never, 0 is at once.

    The timer is set when the thread is about to sleep, and does nothing once the call is `over`.
    """

    __slots__ = ("_due_ns", "_set", "_thread", "over", "passed")

    def __init__(self, thread: Thread, timeout_ns: int, unit_ns: int) -> None:
        """`unit_ns` is what the timeout is rounded up to a multiple of."""
        self._thread = thread
        self._due_ns = thread.env.now_ns - -timeout_ns // unit_ns * unit_ns
        self._set = False
        self.passed = timeout_ns == 0
        self.over = False

    def set(self) -> None:
        """Have the thread woken in time, if that has not been done."""
        if not (self._set or self.passed):
            self._set = True
            env, slack_ns = self._thread.env, self._thread.system.prices.timer_slack_ns
            call_in(env, max(0, self._due_ns - env.now_ns) + slack_ns, self._ring)

    def _ring(self, _: object) -> None:
        if not self.over:
            self.passed = True
            self._thread.cpu.wake(self._thread)
