"""Cores, the run queue, and what a thread is to them.

A thread pays for its calls late: a call acts at once and adds its price to `debt_ns`, and the next
call that reads or changes anything shared pays the debt first, by holding the core that long. The
order of all actions is that of their true times, and one SimPy event pays for several calls.

Of what it pays at a time, the kernel's part comes first and the user's last: what the program
computes, and what its language adds to each call.

A thread that is disturbed while it pays, because interrupt work holds it up or another thread takes
the core, notices when the time it had to pay is over, and then makes up for what it lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Any, Protocol

import simpy

from iosim.costs import Prices
from iosim.machine import Machine
from iosim.sim.accounts import Account, Use
from iosim.sim.engine import Alarm, Environment, Pause
from iosim.sim.memo import Memo
from iosim.sim.states import TASK, Event, IllegalTransition, TaskState
from iosim.sim.ticks import Ticks
from iosim.sim.wakeups import Luck, WakeUps

Work = Generator[simpy.Event, Any, None]


class Scan(Protocol):
    """A loop of empty tries that is jumped over, see `iosim.sim.spin`."""

    def hold_up(self, ns: int) -> None:
        """Interrupt work delays the tries to come."""

    def count(self) -> None:
        """Enter the tries made so far into the counters."""

    def passed_user_ns(self) -> int:
        """The user time of the tries up to now."""

    def break_off(self) -> None:
        """Another thread wants the core: from now on the thread is as if it made each try."""


RUNNING, RUNNABLE, SLEEPING = TaskState.RUNNING, TaskState.RUNNABLE, TaskState.SLEEPING
# Looking a member up in its class is slow, and every sleep does it several times.

NOTHING: Iterator[simpy.Event] = iter(())
"""To `yield from` at once: an iterator at its end, so that none has to be made."""

WAKE, DISPATCH = Event(TASK, "wake"), Event(TASK, "dispatch")
PREEMPT, SLEEP, EXIT = Event(TASK, "preempt"), Event(TASK, "sleep"), Event(TASK, "exit")


class Task:
    """A thread: its state, the time it spent in each, and what it owes the core."""

    __slots__ = (
        "_preempted_ns",
        "_since_ns",
        "_spent_ns",
        "alarm",
        "booked_user_ns",
        "cold_ns",
        "core",
        "cpu",
        "debt_ns",
        "debt_user_ns",
        "disturbed",
        "env",
        "held_up_ns",
        "helper",
        "interrupted",
        "lag_ns",
        "lag_since_ns",
        "made_up",
        "name",
        "paid_at_ns",
        "pinned",
        "preemptions",
        "runs_at_ns",
        "scan",
        "slept_at",
        "slice_end_ns",
        "state",
        "sure_user_ns",
        "switch_in_ns",
        "unpaid_ns",
        "user_ns",
        "waited_ns",
        "waiting_since_ns",
        "wanted_by",
    )

    def __init__(self, cpu: Cpu, name: str, helper: bool = False) -> None:
        self.cpu = cpu
        self.env = cpu.env
        self.name = name
        self.helper = helper
        self.pinned = False
        """The thread never leaves its core."""
        self.debt_ns = 0
        self.cold_ns = 0
        """As much of it as is no part of the call that was woken: what the program does next takes
        longer, with cold caches."""
        self.debt_user_ns = 0
        """The user time in it."""
        self.user_ns = 0
        """The user time in all payments up to now, with the one under way."""
        self.sure_user_ns = 0
        """As much of it as had passed when that one began, or was last held up."""
        self.booked_user_ns = 0
        """As much of it as has been booked on a core."""
        self.paid_at_ns = 0
        """When the payment under way, or its slice, would end undisturbed."""
        self.unpaid_ns = 0
        """What comes after that slice."""
        self.disturbed = False
        """Something is to be made up for when the payment under way ends."""
        self.held_up_ns = 0
        """How much."""
        self.made_up: Alarm | None = None
        """Goes off when the thread has made up for all, while it does."""
        self.state = SLEEPING
        self.core = cpu.cores[0]
        self.alarm = Alarm(cpu.env)
        self.slice_end_ns = 0
        """When the time slice of a thread that runs is over; what it makes up for puts that off."""
        self.slept_at = 0
        """The number of the switch after which it went to sleep."""
        self.switch_in_ns = 0
        self.runs_at_ns = 0
        """When the switch to the thread is over, if one is under way."""
        self.wanted_by: Task | None = None
        """Who is to have the core as soon as this thread, which is not preemptible, gives it up."""
        self.lag_ns = 0
        """How much less of the core the thread has had than its share, while others wanted it too,
        up to when it last began to run, to wait or to sleep (the lag of Linux's EEVDF)."""
        self.lag_since_ns = 0
        """What `Core.share_ns` or, if it runs, `Core.excess_ns` was then."""
        self.scan: Scan | None = None
        """The loop of empty tries that the thread is in, if it is."""
        self.interrupted = False
        """A signal handler interrupts a sleep that goes on afterwards."""
        self.waiting_since_ns: int | None = None
        """Since when the thread sleeps in phase 1, if it does."""
        self.waited_ns = 0
        """How long it has slept in phase 1 since the load began."""
        self.preemptions = 0
        """How often others took the core from the thread, and it got it back."""
        self._preempted_ns = 0
        cpu.task_count += 1
        self._since_ns = cpu.env.now_ns
        self._spent_ns = dict.fromkeys(TaskState, 0)

    def __str__(self) -> str:
        return f"thread {self.name!r}"

    @property
    def preemptible(self) -> bool:
        """Whether another thread can take the core at any time."""
        return True

    def enter(self, event: Event[TaskState], since_ns: int) -> None:
        """Change state by an event, as of `since_ns`."""
        state = self.state
        self._spent_ns[state] += since_ns - self._since_ns
        self._since_ns = since_ns
        try:
            # As `event.happens_to(self)` does, in less time.
            self.state = event.after[state]
        except KeyError:
            raise IllegalTransition(self, state, event.name) from None

    def spent_ns(self) -> dict[TaskState, int]:
        """Time spent in each state up to now."""
        spent = self._spent_ns.copy()
        spent[self.state] += self.env.now_ns - self._since_ns
        return spent

    def pay(self) -> Iterable[simpy.Event]:
        """Hold the core for what the thread owes: something to `yield from`.

        Nothing if the clock can jump there, as it mostly can: a generator would take longer.
        """
        env = self.env
        paid_at_ns = env.now_ns + self.debt_ns
        if self.disturbed or paid_at_ns >= self.slice_end_ns or not env.jump(paid_at_ns):
            return self._hold()
        self.user_ns += self.debt_user_ns
        self.debt_ns = self.debt_user_ns = self.cold_ns = 0
        return NOTHING

    def _hold(self) -> Work:
        """Hold the core slice by slice."""
        env, left_ns = self.env, self.debt_ns
        self.sure_user_ns = self.user_ns
        self.user_ns += self.debt_user_ns
        self.debt_ns = self.debt_user_ns = self.cold_ns = 0
        while True:
            step_ns = min(left_ns, self.slice_end_ns - env.now_ns)
            left_ns -= step_ns
            self.unpaid_ns = left_ns
            self.paid_at_ns = env.now_ns + step_ns
            if step_ns and not env.jump(self.paid_at_ns):
                yield Pause(env, self.paid_at_ns)
            if self.disturbed:
                yield from self._make_up()
            if env.now_ns >= self.slice_end_ns:
                yield from self.begin_slice()
            if not left_ns:
                return

    def _make_up(self) -> Work:
        """Go on for as long as the thread was held up or off the core until now."""
        self.paid_at_ns = self.env.now_ns
        while True:
            if self.state is RUNNABLE:
                yield self.alarm
            self.paid_at_ns += self.held_up_ns
            self.slice_end_ns += self.held_up_ns
            self.held_up_ns = 0
            if self.paid_at_ns <= self.env.now_ns:
                break
            self.made_up = Alarm(self.env)
            self.made_up.ring_at(self.paid_at_ns)
            yield self.made_up
            self.made_up = None
        self.disturbed = False

    def come_back(self) -> Work:
        """Have the core after time that was not paid for."""
        if not self.disturbed:
            return
        if self.state is RUNNABLE:
            yield self.alarm
        if self.core.busy_until_ns > self.env.now_ns:
            yield Pause(self.env, self.core.busy_until_ns)
        self.slice_end_ns += self.held_up_ns
        self.held_up_ns = 0
        self.disturbed = False

    def hold_up(self, ns: int) -> None:
        """Whatever the thread is at takes `ns` longer."""
        if self.scan is not None:
            self.scan.hold_up(ns)
        else:
            self.sure_user_ns = self.passed_user_ns()
            self.held_up_ns += ns
            self.disturbed = True

    def sleep(self) -> Work:
        """Give up the core until somebody wakes the thread; its debt must be paid.

        Signal handlers interrupt the sleep; the thread stays in its wait queues meanwhile.
        """
        while True:
            assert not self.debt_ns
            self.alarm.renew()
            self.give_up_core()
            yield self.alarm
            self.take_core()
            while self.interrupted and self.debt_ns:
                yield from self.pay()
            if not self.interrupted:
                break
            self.interrupted = False
        if self.waiting_since_ns is not None:
            waited_ns = self.env.now_ns - self.switch_in_ns - self.waiting_since_ns
            self.waiting_since_ns = None
            if waited_ns > 0:
                self.waited_ns += waited_ns

    def give_up_core(self, event: Event[TaskState] = SLEEP) -> None:
        """Give up the core and sleep, or exit."""
        now_ns, core = self.env.now_ns, self.core
        self.slept_at = self.cpu.switch_count
        if event is EXIT:
            self.cpu.task_count -= 1
        if self.state is RUNNABLE:
            # It has just been preempted by a thread that it woke itself.
            self.alarm = Alarm(self.env)
            core.count(now_ns)
            core.queue.remove(self)
            self.enter(event, now_ns)
            self._keep_lag(self.lag_ns + core.share_ns - self.lag_since_ns)
        else:
            self.enter(event, now_ns)
            if core.queue:
                core.stop(self, now_ns)
                self._keep_lag(self.lag_ns)
            else:
                # One that is alone has exactly its share.
                self.lag_ns = 0
            self.cpu.leave(core)
        self.held_up_ns = 0
        self.disturbed = False

    def _keep_lag(self, lag_ns: int) -> None:
        """What a thread that goes to sleep is still ahead or behind when it wakes.

        One that has had more sleeps only when the others have caught up (DELAY_DEQUEUE of Linux);
        what one that has had less keeps is limited (entity_lag).
        """
        self.lag_ns = max(0, min(lag_ns, 2 * self.cpu.time_slice_ns))

    def begin_slice(self) -> Work:
        """A time slice is over, and the next begins when the others have run."""
        self.slice_end_ns = self.env.now_ns + self.cpu.time_slice_ns
        return self.give_way()

    def give_way(self) -> Work:
        """Let the others in the core's queue run first."""
        if self.core.queue and self.state is RUNNING:
            self.alarm = Alarm(self.env)
            self.enter(PREEMPT, self.env.now_ns)
            self.preemptions += 1
            self.core.stop(self, self.env.now_ns)
            self.core.enqueue(self)
            self.cpu.leave(self.core)
            yield self.alarm
            self.take_core()

    def step_aside(self) -> Work:
        """Be preempted while nothing is being paid."""
        slice_left_ns = self.slice_end_ns - self.env.now_ns
        self.alarm = Alarm(self.env)
        self.enter(PREEMPT, self.env.now_ns)
        self.preemptions += 1
        self.core.stop(self, self.env.now_ns)
        self.cpu.leave(self.core)
        self.core.enqueue(self)
        yield self.alarm
        self.take_core()
        self.slice_end_ns = self.env.now_ns + slice_left_ns

    def passed_user_ns(self) -> int:
        """The user time up to now."""
        if self.scan is not None:
            return self.user_ns + self.scan.passed_user_ns()
        left_ns = self.paid_at_ns + self.held_up_ns - self.env.now_ns
        if left_ns < 0:
            left_ns = 0
        passed_ns = self.user_ns - left_ns - self.unpaid_ns
        return passed_ns if passed_ns > self.sure_user_ns else self.sure_user_ns

    def be_preempted(self) -> None:
        """Another thread takes the core; this one goes on when it gets the core back."""
        now_ns, core = self.env.now_ns, self.core
        later_ns = max(0, core.busy_until_ns - now_ns)
        core.stop(self, now_ns)
        user_ns = self.passed_user_ns()
        core.account.book_run(now_ns, user_ns - self.booked_user_ns, later_ns)
        self.booked_user_ns = user_ns
        # The rest of the interrupt work holds up the other one. If this one is already making up
        # for it, `paid_at_ns` has it, and this less than nothing takes it out again.
        self.held_up_ns -= later_ns
        self._preempted_ns = now_ns
        self.disturbed = True
        self.alarm = Alarm(self.env) if self.made_up is None else self.made_up.successor()
        self.alarm.callbacks.insert(0, self._regain_core)
        self.enter(PREEMPT, now_ns)

    def _regain_core(self, _: simpy.Event) -> None:
        """The core is back: what was left to pay ends that much later."""
        self.preemptions += 1
        self.held_up_ns += self.env.now_ns - self._preempted_ns
        slice_end_ns = self.slice_end_ns
        self.take_core()
        self.slice_end_ns = slice_end_ns

    def take_core(self) -> None:
        """Run, now that the alarm has gone off."""
        now_ns, core = self.env.now_ns, self.core
        since_ns = now_ns - self.switch_in_ns
        counting_since_ns = self.cpu.counting_since_ns
        self.enter(DISPATCH, since_ns if since_ns > counting_since_ns else counting_since_ns)
        self.slice_end_ns = now_ns + self.cpu.time_slice_ns
        core.account.book_switch(now_ns, self.switch_in_ns, core.overlap_ns)
        if core.overlap_ns:
            self.hold_up(core.overlap_ns)
            core.overlap_ns = 0


class Core:
    """One processor: who runs, who waits for it, and interrupt work it still has to do."""

    __slots__ = (
        "account",
        "busy_until_ns",
        "counted_ns",
        "current",
        "excess_ns",
        "idle_since_ns",
        "number",
        "overlap_ns",
        "queue",
        "share_ns",
        "woken_count",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        self.woken_count = 0
        """How often it has been woken by something else than a request."""
        self.current: Task | None = None
        """Who runs, or is being switched to."""
        self.queue: deque[Task] = deque()
        self.idle_since_ns = 0
        self.busy_until_ns = 0
        """When interrupt work and what else is taken from the threads ends."""
        self.overlap_ns = 0
        """How much of it falls into the switch under way, which takes that much longer."""
        self.account = Account()
        self.share_ns = 0
        """What each thread here would have had of the core up to `counted_ns`, shared out evenly,
        while some of them waited."""
        self.excess_ns = 0
        """What those that ran then had beyond their share."""
        self.counted_ns = 0

    def count(self, now_ns: int) -> None:
        """Count shares up to now; before the queue changes."""
        if self.queue:
            passed_ns = now_ns - self.counted_ns
            share_ns = passed_ns // (1 + len(self.queue))
            self.share_ns += share_ns
            self.excess_ns += passed_ns - share_ns
        self.counted_ns = now_ns

    def enqueue(self, task: Task) -> None:
        """Let a thread wait behind those that have had no more of the core, before the others.

        Slices are equal, so that this is the order of EEVDF's deadlines.
        """
        queue, had_ns = self.queue, task.lag_since_ns - task.lag_ns
        at = len(queue)
        while at and had_ns < queue[at - 1].lag_since_ns - queue[at - 1].lag_ns:
            at -= 1
        queue.insert(at, task)

    def lag_ns(self, task: Task) -> int:
        """The lag of the running thread when shares were last counted."""
        return task.lag_ns - (self.excess_ns - task.lag_since_ns)

    def stop(self, task: Task, now_ns: int) -> None:
        """The running thread begins to wait, or to sleep; before the queue changes."""
        self.count(now_ns)
        task.lag_ns, task.lag_since_ns = self.lag_ns(task), self.share_ns


class Cpu:
    """All cores of the server."""

    def __init__(
        self,
        env: Environment,
        machine: Machine,
        prices: Prices,
        luck: Luck,
        wakeups: WakeUps,
        ticking: WakeUps | None = None,
    ) -> None:
        """`wakeups` of a core that has stopped its tick; `ticking` if that goes on, if it is known
        to make a difference."""
        self.env = env
        self.cores = [Core(number) for number in range(machine.cores)]
        self.request = -1
        """Number of the request that is just being delivered, or -1."""
        self.time_slice_ns = machine.time_slice_ns
        self.task_count = 0
        """How many there are."""
        self.wakeup_count = 0
        self.switch_count = 0
        self.counting_since_ns = 0
        """Begin of the load; what came before has been accounted for."""
        self._protected_slice_ns = machine.protected_slice_ns
        self._switch_ns = prices.context_switch_ns
        self._miss_ns = Memo(prices.wakeup_miss_ns)
        self._luck = luck
        self._wakeups = wakeups
        self._ticking = ticking or wakeups
        self.ticks = None if ticking is None else Ticks(env, machine.tick_ns)

    def wake(self, task: Task) -> bool:
        """Make a sleeping task runnable; True if that woke an idle core. Others are left alone."""
        if task.state is not SLEEPING:
            task.interrupted = False
            return False
        now = self.env.now_ns
        self.wakeup_count += 1
        task.enter(WAKE, now)
        if others := self.switch_count - task.slept_at:
            tasks = self.task_count
            task.cold_ns = self._miss_ns[others if others < tasks else tasks - 1]
            task.debt_ns += task.cold_ns
        core = task.core
        running = core.current
        if running is not None and not task.pinned and len(self.cores) > 1:
            task.core = core = min(self.cores, key=_load)
            running = core.current
        if running is None:
            core.current = task
            self.switch_count += 1
            wakeups, ticks = self._wakeups, self.ticks
            if ticks is not None and ticks.go_on(core.idle_since_ns):
                wakeups = self._ticking
            cause = self.request
            if cause < 0:
                core.woken_count += 1
                cause = -core.woken_count
            step = self._luck.step(core.number, cause)
            latency_ns, cpu_ns, cold_ns = wakeups.after(now - core.idle_since_ns, step)
            switch_in_ns = cpu_ns - cold_ns
            if switch_in_ns > latency_ns:
                # The processor time cannot have begun before the wake-up.
                switch_in_ns = latency_ns
            elif switch_in_ns < 0:
                switch_in_ns = 0
            task.switch_in_ns = switch_in_ns
            cold_ns = cpu_ns - switch_in_ns
            task.cold_ns += cold_ns
            task.debt_ns += cold_ns
            task.runs_at_ns = now + latency_ns
            task.alarm.ring_at(task.runs_at_ns)
            if core.busy_until_ns > now:
                core.overlap_ns = max(0, core.busy_until_ns - (task.runs_at_ns - switch_in_ns))
            return True
        core.count(now)
        if not core.queue:
            # Alone up to now.
            running.lag_ns, running.lag_since_ns = 0, core.excess_ns
        task.lag_since_ns = core.share_ns
        if running.scan is not None:
            running.scan.break_off()
        if self._may_preempt(running, task):
            if running.preemptible:
                running.be_preempted()
                core.enqueue(running)
                self._switch_to(core, task)
            else:
                running.wanted_by = task
                core.queue.appendleft(task)
        else:
            core.enqueue(task)
        return False

    def _may_preempt(self, running: Task, task: Task) -> bool:
        """Whether `task`, which wakes up, takes the core from the one that has it.

        That one is protected for its first base slice (RUN_TO_PARITY of Linux's scheduler), but
        only as long as it has had no more than its share (entity_eligible in pick_eevdf, see
        kernel/sched/fair.c). What the one that wakes up is behind, the others here are ahead.
        Measured on Linux 6.18, beside a thread that computes or polls for io_uring: who has waited
        for the core takes it at each wake-up, 0.03 ms after the other has got it too, until it has
        run for as long as it had waited.
        """
        if running.state is not RUNNING:
            return False
        core = running.core
        if self.env.now_ns - core.account.since_ns >= self._protected_slice_ns:
            return True
        return task.lag_ns > max(0, core.lag_ns(running) * (1 + len(core.queue)))

    def interrupt_sleep(self, task: Task) -> bool:
        """Wake a sleeping task for a signal handler only; True if that woke an idle core."""
        if task.state is not SLEEPING:
            return False
        woke = self.wake(task)
        task.interrupted = True
        return woke

    def leave(self, core: Core) -> None:
        """The current task gives up the core: the next in the queue runs, or the core idles."""
        now_ns, task = self.env.now_ns, core.current
        assert task is not None
        # Nothing is being paid, unless just a slice of it is over.
        user_ns = task.passed_user_ns() if task.unpaid_ns else task.user_ns
        core.account.book_run(now_ns, user_ns - task.booked_user_ns, task.held_up_ns)
        task.booked_user_ns = user_ns
        if core.queue:
            core.count(now_ns)
            self._switch_to(core, core.queue.popleft())
            return
        core.current = None
        core.idle_since_ns = now_ns
        if len(self.cores) > 1:
            self._pull(core)

    def _pull(self, core: Core) -> None:
        """An idle core takes a thread off the longest queue (newly-idle balancing)."""
        donor = max(self.cores, key=lambda other: len(other.queue))
        for task in donor.queue:
            if not task.pinned:
                donor.count(self.env.now_ns)
                donor.queue.remove(task)
                task.lag_ns += donor.share_ns - task.lag_since_ns
                task.lag_since_ns = core.share_ns
                task.core = core
                self._switch_to(core, task)
                return

    def _switch_to(self, core: Core, task: Task) -> None:
        """Have a task run next on a core that does not idle."""
        core.current = task
        task.lag_ns += core.share_ns - task.lag_since_ns
        task.lag_since_ns = core.excess_ns
        self.switch_count += 1
        task.switch_in_ns = self._switch_ns
        task.runs_at_ns = self.env.now_ns + self._switch_ns
        task.alarm.ring_at(task.runs_at_ns)
        overlap_ns = core.busy_until_ns - self.env.now_ns
        core.overlap_ns = overlap_ns if overlap_ns > 0 else 0

    def interrupt(self, core: Core, ns: int, use: Use = Use.SOFTIRQ) -> int:
        """Do `ns` of interrupt work on a core, or take the time for another use.

        It begins at once, after earlier interrupt work, and holds up whoever runs there. Returns
        when it is done.
        """
        begin_ns = self.env.now_ns
        if begin_ns < core.busy_until_ns:
            begin_ns = core.busy_until_ns
        core.busy_until_ns = begin_ns + ns
        core.account.take(use, ns)
        task = core.current
        if task is not None and task.state is RUNNING:
            task.hold_up(ns)
        elif task is not None:
            switching_since_ns = task.runs_at_ns - task.switch_in_ns
            if begin_ns < switching_since_ns:
                begin_ns = switching_since_ns
            if core.busy_until_ns > begin_ns:
                core.overlap_ns += core.busy_until_ns - begin_ns
        return core.busy_until_ns

    def spent_ns(self) -> list[dict[Use, int]]:
        """How each core has spent its time up to now."""
        now_ns = self.env.now_ns
        spent = []
        for core in self.cores:
            account, task = core.account.copy(), core.current
            later_ns = max(0, core.busy_until_ns - now_ns)
            if task is not None and task.state is RUNNING:
                user_ns = task.passed_user_ns() - task.booked_user_ns
                account.book_run(now_ns, user_ns, later_ns)
            else:
                switch_ns = 0
                if task is not None:
                    switch_ns = max(0, now_ns - task.runs_at_ns + task.switch_in_ns)
                account.book_switch(now_ns, switch_ns, later_ns)
            spent.append(account.spent_ns)
        return spent


def _load(core: Core) -> int:
    """How many tasks are on a core."""
    return (core.current is not None) + len(core.queue)
