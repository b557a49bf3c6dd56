"""How the kernel takes packets off a network card: interrupts, polls, ksoftirqd.

A receive queue's interrupt turns itself off and starts a poll, which takes packets off the ring one
by one until it is empty; then the interrupt is on again. So packets that come during a poll cost no
interrupt (NAPI, networking/napi.rst of the kernel's documentation). A poll that has used up its
budget leaves the rest to the thread `ksoftirqd` of its core, which competes with the program's
threads for it, so that a flood of packets cannot keep them from running.

One budget stands for four limits of Linux: net_rx_action polls a queue again, 64 packets at a time,
up to netdev_budget (300 packets) or netdev_budget_usecs (2 ms), and __do_softirq starts it anew up
to ten times, unless a thread should be scheduled. As packets wake the program, one should be nearly
always; what is left is that work in interrupts is bounded. Nor are packets of one message merged on
their way to the socket (GRO): `softirq_ns_per_packet` is the same for each of them, and the program
may be woken by the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

import simpy

from iosim.machine import Nic
from iosim.sim.cpu import Task
from iosim.sim.engine import Timer, call_in
from iosim.sim.system import System

AnyPacket = TypeVar("AnyPacket")


class RxQueue(Generic[AnyPacket]):
    """A receive queue: its ring, its interrupt and its polls."""

    def __init__(
        self,
        system: System,
        nic: Nic,
        helper: Ksoftirqd,
        receive: Callable[[AnyPacket], None],
    ) -> None:
        self._env = system.env
        self._cpu = system.cpu
        self._places = nic.rx_ring
        self._budget = nic.napi_budget
        self._coalesce_ns = nic.coalesce_ns
        self._coalesce_frames = nic.coalesce_frames
        self._irq_ns = system.prices.irq_ns
        self._packet_ns = system.prices.softirq_ns_per_packet
        self._helper = helper
        self._receive = receive
        self._ring: deque[AnyPacket] = deque()
        """With the packet that is being processed, whose place is not free yet."""
        self._interrupts = True
        """Whether the interrupt is on; then all packets in the ring wait for it."""
        self._first_ns = 0
        """When the first of the packets that wait for an interrupt came."""
        self._polled = 0
        self._poll_done = Timer(self._env, self._polled_one)

    def take(self, packet: AnyPacket) -> bool:
        """A packet comes in; False if the ring is full and drops it."""
        waiting = len(self._ring) + 1
        if waiting > self._places:
            return False
        self._ring.append(packet)
        if self._interrupts:
            if not self._coalesce_ns or waiting == self._coalesce_frames:
                self._interrupt()
            elif waiting == 1:
                self._first_ns = self._env.now_ns
                call_in(self._env, self._coalesce_ns, self._expire)
        return True

    def _expire(self, _: object) -> None:
        """The time to coalesce is over, unless enough packets came earlier."""
        due_ns = self._first_ns + self._coalesce_ns
        if self._interrupts and self._ring and self._env.now_ns == due_ns:
            self._interrupt()

    def _interrupt(self) -> None:
        self._interrupts = False
        self._polled = 0
        self._poll(self._irq_ns + self._packet_ns)

    def _poll(self, ns: int) -> None:
        """Process the next packet in interrupt work that takes `ns`."""
        done_ns = self._cpu.interrupt(self._helper.core, ns)
        self._poll_done.set(done_ns)

    def _polled_one(self, _: object) -> None:
        # First of all: the thread that this wakes is held up by the packets to come.
        self._finish_one()
        self._polled += 1
        if self._interrupts:
            return
        if self._polled < self._budget:
            self._poll(self._packet_ns)
        else:
            self._helper.take_over(self)

    def _finish_one(self) -> None:
        """The oldest packet is processed; the interrupt is on again if it was the last."""
        self._receive(self._ring.popleft())
        self._interrupts = not self._ring

    def poll_in(self, task: Task) -> Generator[simpy.Event, Any, bool]:
        """Poll once, in a thread; True if packets are left."""
        for _ in range(self._budget):
            task.debt_ns += self._packet_ns
            yield from task.pay()
            self._finish_one()
            if self._interrupts:
                return False
        return True


class Ksoftirqd:
    """The thread of one core that polls what interrupts have left; made when first needed."""

    def __init__(self, system: System, core: int) -> None:
        self.core = system.cpu.cores[core]
        self._system = system
        self._name = f"ksoftirqd/{core}"
        self._queues: deque[RxQueue[Any]] = deque()
        self._task: Task | None = None

    def take_over(self, queue: RxQueue[Any]) -> None:
        """Poll a queue until its ring is empty."""
        self._queues.append(queue)
        if self._task is None:
            self._task = self._system.kernel_thread(self._name, self.core, self._work)
        else:
            self._system.cpu.wake(self._task)

    def _work(self, task: Task) -> Generator[simpy.Event, Any, None]:
        while True:
            while self._queues:
                # Queues of one core take turns.
                queue = self._queues.popleft()
                if (yield from queue.poll_in(task)):
                    self._queues.append(queue)
            yield from task.sleep()
