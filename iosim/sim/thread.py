"""One thread of a simulated server: the state every group of calls works on."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import simpy

from iosim.sim.cpu import Task
from iosim.sim.system import File, System

Wait = Generator[simpy.Event, Any, None]


class Thread(Task):
    """A task of the scheduler that runs a program and so can make calls."""

    __slots__ = ("system",)

    def __init__(self, system: System, name: str, helper: bool = False) -> None:
        super().__init__(system.cpu, name, helper)
        self.system = system
        system.tasks.append(self)
        system.memory.add("threads")

    def live(self, program: Wait) -> Wait:
        """Take the core, run the program to its end, give the core back."""
        yield self.alarm
        self.take_core()
        yield from program
        yield from self.pay()
        self.system.memory.remove("threads")
        self.give_up_core()

    @property
    def now_ns(self) -> int:
        """The thread's own time: the clock, plus the work it has not yet paid for."""
        now_ns: int = self.env.now_ns + self.debt_ns
        return now_ns

    def sleep_on(self, file: File) -> Wait:
        """Sleep until `file` has something to read."""
        if file.sleepers is None:
            file.sleepers = []
        file.sleepers.append(self)
        yield from self.sleep()

    def sleep_for_data(self, file: File | None = None) -> Wait:
        """Sleep in phase 1, on `file` or on what the caller has arranged."""
        self.waiting_since_ns = self.env.now_ns
        yield from self.sleep() if file is None else self.sleep_on(file)
        waited_ns = self.env.now_ns - self.switch_in_ns - self.waiting_since_ns
        self.waiting_since_ns = None
        if not self.helper:
            self.system.wait_for_data_ns += max(0, waited_ns)
