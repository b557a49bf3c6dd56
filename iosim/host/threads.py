"""Real threads, queues between them, and sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from iosim.arguments import size, to_spawn, wrong
from iosim.host.thread import Thread
from iosim.kernel import Call

_MOST_NS = 1 << 62
"""146 years: for Python to hand on."""


class ThreadCalls(Thread):
    """Threads, queues and timers."""

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> Call[None]:
        to_spawn(program, args)
        self.syscalls["clone3"] += 1
        self.server.spawn(program, *args)
        return
        yield

    def queue(self) -> Any:
        return SimpleQueue()

    def put(self, queue: Any, item: Any) -> Call[None]:
        if queue.__class__ is not SimpleQueue:
            raise wrong("queue", queue, "one that kernel.queue() gives")
        queue.put(item)
        return
        yield

    def get(self, queue: Any) -> Call[Any]:
        if queue.__class__ is not SimpleQueue:
            raise wrong("queue", queue, "one that kernel.queue() gives")
        self.syscalls["futex"] += queue.empty()
        self.free_since_ns = began_ns = time.monotonic_ns()
        item = queue.get()
        self.in_free_ns += time.monotonic_ns() - began_ns
        self.free_since_ns = 0
        return item
        yield

    def nanosleep(self, ns: int) -> Call[None]:
        ns = min(size("ns", ns), _MOST_NS)
        self.syscalls["clock_nanosleep"] += 1
        self.free_since_ns = began_ns = time.monotonic_ns()
        time.sleep(ns / 1e9)
        self.in_free_ns += time.monotonic_ns() - began_ns
        self.free_since_ns = 0
        return
        yield
