"""The memory that a simulated server takes, and the machine's limit on it."""

from __future__ import annotations

from collections import defaultdict

from iosim.costs import Prices
from iosim.errors import IosimError
from iosim.machine import Machine
from iosim.units import format_bytes, format_count


class Memory:
    """What the threads, sockets and watched descriptors of a server take, by kind.

    The data under way in socket buffers is not counted, nor what the program itself keeps.
    """

    def __init__(self, machine: Machine, prices: Prices) -> None:
        self.limit_bytes: int | None = machine.memory_bytes
        """None is no limit."""
        self._price_bytes = {
            "threads": prices.thread_bytes,
            "sockets": prices.socket_bytes,
            "epoll_items": prices.epoll_item_bytes,
            "poll_entries": prices.poll_entry_bytes,
        }
        self._count: defaultdict[str, int] = defaultdict(int)
        self.sockets = 0
        """How many connections there are."""
        self.taken_bytes = 0
        """What is taken now."""
        self._at_peak: defaultdict[str, int] = defaultdict(int)
        self._peak_bytes = 0

    def add(self, kind: str, count: int = 1) -> None:
        """Take memory for one more, or `count` more; raises IosimError where there is none left."""
        self._count[kind] += count
        self.sockets = self._count["sockets"]
        self.taken_bytes += count * self._price_bytes[kind]
        if self.limit_bytes is not None and self.taken_bytes > self.limit_bytes:
            raise IosimError(self._refusal(self.limit_bytes))

    def remove(self, kind: str, count: int = 1) -> None:
        """Give memory back."""
        # Only what is given back can hide a peak, so that adding need not look for one.
        self._note_peak()
        self._count[kind] -= count
        self.sockets = self._count["sockets"]
        self.taken_bytes -= count * self._price_bytes[kind]

    def peak_bytes(self) -> dict[str, int]:
        """The most that was taken at any one time: by kind, and the "total"."""
        self._note_peak()
        parts = {kind: self._at_peak[kind] * price for kind, price in self._price_bytes.items()}
        return parts | {"total": self._peak_bytes}

    def _note_peak(self) -> None:
        if self.taken_bytes > self._peak_bytes:
            self._peak_bytes = self.taken_bytes
            self._at_peak = self._count.copy()

    def _refusal(self, limit_bytes: int) -> str:
        parts = ", ".join(
            f"{format_count(count)} {kind.replace('_', ' ')} take "
            f"{format_bytes(count * self._price_bytes[kind])}"
            for kind, count in self._count.items()
            if count
        )
        return (
            f"the server needs more memory than the machine has, {format_bytes(limit_bytes)}: "
            f"already {parts}; use fewer connections, another model, a machine with more "
            "(memory_bytes), or oversubscribe to go on all the same"
        )
