"""What a program does in Stevens' two phases, in words.

The models say it in these words, and `iosim.timeline` finds it in a run and says it in the same.
"""

from __future__ import annotations

from typing import Literal


def asleep_in(call: str) -> str:
    """Phase 1: the thread cannot go on until there is data."""
    return f"asleep in {call}"


def asks_with(call: str) -> str:
    """Phase 1: the thread runs, and looks for data all the time."""
    return f"calls {call} again and again: EAGAIN"


def pauses_in(call: str) -> str:
    """Phase 1: the thread looks for data now and then, and chooses to pause in between."""
    return f"pauses in {call} between looks"


def free_until(news: str) -> str:
    """Phase 1: the program may do other work until it has `news`."""
    return f"free until {news}"


A_COMPLETION = "a completion"
"""The news that a read is over, data and all; what a signal tells is only that there is data."""


def blocked_in(call: str) -> str:
    """Phase 2: the thread copies, in the call by which it asked for the data."""
    return f"blocked in {call}"


NOT_BLOCKED = "not blocked: the kernel copies on its thread"
"""Phase 2: the copy takes processor time of the thread, which waits for it in no read: it is task
work, which the kernel does when the thread is in io_uring_enter anyway."""


def free_while(copier: Literal["helper thread", "kernel thread"]) -> str:
    """Phase 2: another thread copies, the C library's helper or the kernel's own."""
    return f"free: a {copier} copies"
