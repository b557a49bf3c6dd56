"""Threads of the program, queues between them, and sleeping."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from iosim.arguments import size, to_spawn, wrong
from iosim.kernel import Call
from iosim.sim.engine import call_in
from iosim.sim.thread import Thread


class Queue:
    """Items between threads, and the threads that wait for one."""

    def __init__(self) -> None:
        self.items: deque[Any] = deque()
        self.waiting: deque[Thread] = deque()


class ThreadCalls(Thread):
    """Threads, queues and timers."""

    __slots__ = ()

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> Call[None]:
        to_spawn(program, args)
        if self.debt_ns:
            yield from self.pay()
        self.system.syscalls["clone3"] += 1
        thread = self.system.start(program, *args)
        thread.blocked = self.blocked
        self.charge(self.system.prices.thread_create_ns)

    def queue(self) -> Queue:
        return Queue()

    def put(self, queue: Queue, item: Any) -> Call[None]:
        if queue.__class__ is not Queue:
            raise wrong("queue", queue, "one that kernel.queue() gives")
        if self.debt_ns:
            yield from self.pay()
        queue.items.append(item)
        if queue.waiting:
            self.system.syscalls["futex"] += 1
            self.cpu.wake(queue.waiting.popleft())
        self.charge(self.system.prices.queue_put_ns)

    def get(self, queue: Queue) -> Call[Any]:
        if queue.__class__ is not Queue:
            raise wrong("queue", queue, "one that kernel.queue() gives")
        if self.debt_ns:
            yield from self.pay()
        while not queue.items:
            if self.debt_ns:
                yield from self.pay()
                continue
            self.system.syscalls["futex"] += 1
            queue.waiting.append(self)
            yield from self.sleep()
            self.debt_ns += self.system.prices.queue_wait_ns
        self.charge(self.system.prices.queue_get_ns)
        return queue.items.popleft()

    def nanosleep(self, ns: int) -> Call[None]:
        if ns.__class__ is not int or ns < 0:
            ns = size("ns", ns)
        if self.debt_ns:
            yield from self.pay()
        prices = self.system.prices
        self.system.syscalls["clock_nanosleep"] += 1
        late_ns = ns + prices.timer_slack_ns
        call_in(self.env, late_ns, lambda _: self.cpu.wake(self))
        if (ticks := self.cpu.ticks) is None:
            yield from self.sleep()
        else:
            tick = ticks.set(self.env.now_ns + late_ns)
            yield from self.sleep()
            ticks.take_back(tick)
        self.charge(prices.nanosleep_ns)
