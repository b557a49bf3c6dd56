"""Real threads, queues between them, and sleeping."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import Any

from iosim.host.thread import Thread
from iosim.kernel import Call


class ThreadCalls(Thread):
    """Threads, queues and timers."""

    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> Call[None]:
        self.syscalls["clone3"] += 1
        self.server.spawn(program, *args)
        return
        yield

    def queue(self) -> Any:
        return queue.SimpleQueue[Any]()

    def put(self, queue: Any, item: Any) -> Call[None]:
        queue.put(item)
        return
        yield

    def get(self, queue: Any) -> Call[Any]:
        self.syscalls["futex"] += queue.empty()
        self.free_since_ns = began_ns = time.monotonic_ns()
        item = queue.get()
        self.in_free_ns += time.monotonic_ns() - began_ns
        self.free_since_ns = 0
        return item
        yield

    def nanosleep(self, ns: int) -> Call[None]:
        self.syscalls["clock_nanosleep"] += 1
        self.free_since_ns = began_ns = time.monotonic_ns()
        time.sleep(ns / 1e9)
        self.in_free_ns += time.monotonic_ns() - began_ns
        self.free_since_ns = 0
        return
        yield
