"""What a program may give to a kernel's calls: rules that both kernels share.

What the manual has an error number for raises OSError, as the system call fails. What could not
even be written in C raises Misuse: a program forgets `yield from`, and a call stands where its
result should. Calls that are made all the time look for nothing but what would pass in silence, and
ask here when something is wrong.
"""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Collection, Iterable
from operator import index
from reprlib import repr as short
from types import GeneratorType
from typing import Any

from iosim.errors import IosimError, Misuse
from iosim.kernel import (
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    EPOLLONESHOT,
    FD_SETSIZE,
    SIGRTMIN,
    Kernel,
)
from iosim.provenance import name_of

MOST_EVENTS = ((1 << 31) - 1) // 12
"""EP_MAX_EVENTS of Linux, fs/eventpoll.c."""

MOST_SIGNALS = 1 << 16
"""As many as one read of a signalfd takes at most here: 8 MiB."""

SIGNALS = 65
"""Signals have the numbers below that, signal(7)."""
_NEVER_HANDLED = frozenset((9, 19, *range(32, SIGRTMIN)))
"""SIGKILL and SIGSTOP, sigaction(2), and those that glibc keeps for itself, signal(7)."""

_EVENTS = EPOLLIN | EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE


def error(number: int, about: object = None) -> OSError:
    """What a call raises that fails with this error number, errno(3)."""
    said = os.strerror(number)
    return OSError(number, said if about is None else f"{said}: {about}")


def wrong(name: str, value: Any, rule: str) -> Misuse:
    """An argument that breaks a rule; of a call that was not made the way out is another."""
    if isinstance(value, GeneratorType):
        made = value.__name__
        return Misuse(
            f"{name} is the call {made}() itself and not its result: write `yield from` before it"
        )
    return Misuse(f"{name} = {short(value)} must be {rule}")


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, Python's or NumPy's, of at least `least`; raises Misuse."""
    try:
        number = index(value)
    except TypeError:
        raise wrong(name, value, "a whole number") from None
    if least is not None and number < least:
        raise wrong(name, value, f"{least} or more")
    return number


def size(name: str, value: Any, least: int = 0) -> int:
    """A whole number that the manual refuses below `least`: EINVAL."""
    if (number := whole(name, value)) < least:
        raise error(errno.EINVAL, f"{name} = {number}")
    return number


def selectable(fd: Any) -> int:
    """A descriptor that an fd_set has a bit for."""
    if (number := whole("fd", fd, 0)) >= FD_SETSIZE:
        raise IosimError(
            f"select cannot watch descriptor {number}: an fd_set holds 0 to {FD_SETSIZE - 1}; "
            "use fewer connections or the model poll or epoll"
        )
    return number


def event_count(max_events: Any) -> int:
    """How many events epoll_wait(2) may report at a time."""
    if (most := size("max_events", max_events, 1)) > MOST_EVENTS:
        raise error(errno.EINVAL, f"max_events = {most}")
    return most


def epoll_events(events: Any) -> int:
    """Flags that both kernels have, of an interest in input."""
    flags = whole("events", events, 0)
    if flags & ~_EVENTS or not flags & EPOLLIN:
        raise wrong(
            "events", flags, "EPOLLIN, alone or with EPOLLET, EPOLLONESHOT and EPOLLEXCLUSIVE"
        )
    return flags


def signal_number(signal: Any) -> int:
    """The number of a signal; EINVAL for what is none, signal(7)."""
    number = whole("signal", signal)
    if not 0 < number < SIGNALS:
        raise error(errno.EINVAL, f"signal = {number}")
    return number


def signal_set(signals: Any) -> tuple[int, ...]:
    """The numbers of a set of signals; EINVAL for what is none, sigsetops(3)."""
    if isinstance(signals, GeneratorType) or not isinstance(signals, Iterable):
        raise wrong("signals", signals, "several numbers of signals, such as [34]")
    numbers = tuple(map(signal_number, signals))
    for number in numbers:
        if 32 <= number < SIGRTMIN:
            raise error(errno.EINVAL, f"signal = {number}")
    return numbers


def handled_signal(signal: Any, handler: Any, in_main_thread: bool) -> int:
    """The number of a signal that a program may install its handler for."""
    number = signal_number(signal)
    if number in _NEVER_HANDLED:
        raise error(errno.EINVAL, f"signal = {number}")
    if not callable(handler):
        raise wrong("handler", handler, "a function of the signal's number")
    if inspect.isgeneratorfunction(handler):
        raise Misuse(
            f"handler {name_of(handler)} makes calls, but it may only set variables, see "
            "Kernel.sigaction"
        )
    if not in_main_thread:
        raise Misuse("handlers run in the main thread, which must install them")
    return number


def to_expect(
    signals: Collection[int], handled: Collection[int], in_main_thread: bool
) -> list[int]:
    """Those of the signals to be blocked that get a handler which does nothing."""
    without = [s for s in signals if s not in handled and s not in _NEVER_HANDLED]
    if without and not in_main_thread:
        raise Misuse(
            f"signal {without[0]} has no handler yet: have the main thread block it first, "
            "threads that it spawns then inherit that"
        )
    return without


def notification(notify: Any) -> None:
    """How an aio_read reports its end."""
    if not callable(notify):
        try:
            index(notify)
        except TypeError:
            raise wrong("notify", notify, "a signal's number or a program") from None
        signal_number(notify)


def under_way(fd: int) -> Misuse:
    """A second read is begun on a descriptor."""
    return Misuse(f"a read on descriptor {fd} is under way: take its result (aio_return) first")


def aio_has_begun(threads: int, limit: int) -> str:
    """Why aio_init(3) comes too late; glibc would ignore it."""
    return (
        f"aio_init: {threads} threads asked, but this process has begun to read with {limit}; "
        "call it before the first aio_read"
    )


A_RING = "a ring that kernel.io_uring_setup() gives"


def not_lent(buffer: Any) -> Misuse:
    """A buffer is given back to a ring that has not lent it."""
    return wrong("buffer", buffer, "the number of a buffer that the ring has filled")


def ring_number(name: str, value: Any) -> int:
    """What a submission entry has 32 bits for; EINVAL for what they cannot hold."""
    if not 0 <= (number := whole(name, value)) < 1 << 32:
        raise error(errno.EINVAL, f"{name} = {number}")
    return number


def to_spawn(program: Any, args: Collection[Any]) -> None:
    """A program for a new thread, which gets a kernel of its own."""
    if isinstance(program, GeneratorType):
        made = program.__name__
        raise Misuse(f"program is {made}(...) itself: write `spawn({made}, ...)`, without a kernel")
    if not callable(program):
        raise wrong("program", program, "a generator function")
    closed_over = []
    for cell in getattr(program, "__closure__", None) or ():
        try:
            closed_over.append(cell.cell_contents)
        except ValueError:
            continue  # not yet assigned
    if any(isinstance(one, Kernel) for one in (*args, *closed_over)):
        raise Misuse(
            f"{name_of(program)} uses the kernel of the thread that spawns it: "
            "its own is the first argument that it gets"
        )
