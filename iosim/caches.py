"""What falls out of the caches: who goes through more data than they hold waits for each line.

Data of W bytes is gone through over and over, by a cache of C bytes that replaces lines at random.
If the share m of it misses, a round brings in m*W bytes, and a line survives them with probability
(1 - 1/lines)^(m*W/line) = exp(-m*W/C). So

    m = 1 - exp(-m*x)  with x = W/C,   that is   m = 1 + W0(-x*exp(-x)) / x

with Lambert's W; it is 0 for x <= 1. Real replacement lies between this and least recently used,
where everything misses as soon as W > C. Random replacement also stands for sets that are chosen by
a hash or by physical address.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from iosim.errors import IosimError
from iosim.units import format_bytes, parse_bytes

SCAN_BYTES = 2_048
"""What the scan of one descriptor keeps in the caches: file, inode or socket, wait queue, and the
entries of poll and of the program. Assumed. The objects of Linux on x86-64 back its order of
magnitude: file 192 to 256 bytes, inode 624, socket with inode 832, pipe 192, TCP socket 2368. They
are aligned, so that the lines between those that are touched are lost as well."""

CONNECTION_BYTES = 16_384
"""What a request and its reply keep in the caches of their connection: sockets, files, inodes and
entries of interest lists, over loopback those of both ends, and what the program keeps of it.
Assumed, from the sizes above."""

THREAD_BYTES = 16_384
"""What a thread keeps there that is woken, makes some calls and sleeps again: the stacks in kernel
and program that it touches, its task_struct of about 10 KiB, the interpreter's frames. Assumed."""

MEMORY_STEPS = 3.0
"""The step from L3 to memory over that from L2 to L3, in time. Assumed where it is not measured."""


@dataclass(frozen=True, slots=True)
class Caches:
    """The caches that one core uses."""

    l2_bytes: int
    """Of the core itself."""
    l3_bytes: int = 0
    """Of all cores together, or what this one has of it; 0 if there is none, and what is not in L2
    comes from memory."""
    memory_steps: float = MEMORY_STEPS
    """The step from L3 to memory over that from L2 to L3."""

    @classmethod
    def of(cls, l2: str | int, l3: str | int = 0) -> Self:
        """Caches of sizes as users write them; raises IosimError for those that no CPU has."""
        l2_bytes, l3_bytes = parse_bytes(l2), parse_bytes(l3)
        if not l2_bytes:
            raise IosimError("an L2 cache of 0 bytes: give the size that one core has, as in 2MiB")
        if 0 < l3_bytes < l2_bytes:
            raise IosimError(
                f"an L3 cache of {format_bytes(l3_bytes)} beside an L2 of {format_bytes(l2_bytes)}:"
                " L3 is at least as large as the L2 of one core; 0 is none"
            )
        return cls(l2_bytes, l3_bytes)

    def __str__(self) -> str:
        l3 = f"L3 {format_bytes(self.l3_bytes)}" if self.l3_bytes else "no L3"
        return f"L2 {format_bytes(self.l2_bytes)}, {l3}"

    def steps(self, working_set_bytes: int) -> float:
        """How far beyond L2 data of that size comes from, on average: L3 is one step away, memory
        `memory_steps` more."""
        beyond_l2, beyond_l3 = self.beyond(working_set_bytes)
        return beyond_l2 + self.memory_steps * beyond_l3

    def beyond(self, working_set_bytes: int) -> tuple[float, float]:
        """The share of data of that size that is not in L2, and that is not in L3 either."""
        return _beyond(working_set_bytes, self.l2_bytes, self.l3_bytes)


NO_MISSES = Caches(2**63)
"""Everything stays in L2: for hosts that do not say what caches they have."""


@lru_cache(maxsize=4_096)
def _beyond(working_set_bytes: int, l2_bytes: int, l3_bytes: int) -> tuple[float, float]:
    beyond_l2 = miss_share(working_set_bytes, l2_bytes)
    return beyond_l2, miss_share(working_set_bytes, l3_bytes) if l3_bytes else beyond_l2


def miss_share(working_set_bytes: int, cache_bytes: int) -> float:
    """The share of data, gone through over and over, that a cache misses; see the head of the file.

    Equal to the last bit on every platform: it takes no function of the mathematical library.
    """
    if working_set_bytes <= cache_bytes:
        return 0.0
    x = working_set_bytes / cache_bytes
    # Newton's method from the right of the only positive root of a convex function: each step goes
    # down, until rounding has it stay.
    share, following = 2.0, 1.0
    while 0 < following < share:
        share = following
        survives = _exp_minus(share * x)
        following = share - (share - 1 + survives) / (1 - x * survives)
    return share


def _exp_minus(u: float) -> float:
    """exp(-u) for u >= 0: five terms of the series for u / 1024, squared ten times."""
    t = u / 1_024
    power = 1 + t * (1 + t / 2 * (1 + t / 3 * (1 + t / 4 * (1 + t / 5))))
    for _ in range(10):
        power *= power
    return 1 / power
