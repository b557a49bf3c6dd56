"""Hostile programs: servers that misbehave, with the exit code that a run of each must have, and
words of what is said."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import iosim
from iosim import Kernel
from iosim.kernel import Call

Program = Any


def _serving(reply: Callable[[Kernel, int, int], Any]) -> Program:
    """A server with a thread for each connection, which does `reply` to what it has read."""

    def thread(kernel: Kernel, fd: int) -> Call[None]:
        while nbytes := (yield from kernel.recv(fd)):
            yield from reply(kernel, fd, nbytes)

    def server(kernel: Kernel, listener: int) -> Call[None]:
        while True:
            fd = yield from kernel.accept(listener)
            yield from kernel.spawn(thread, fd)

    return server


def _raising(error: BaseException) -> Program:
    def reply(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
        raise error
        yield

    return _serving(reply)


class _Unspeakable(Exception):
    def __str__(self) -> str:
        raise ValueError("not even its message can be had")


def no_arguments() -> Call[None]:
    yield


def one_argument(kernel: Kernel) -> Call[None]:
    yield


def three_arguments(kernel: Kernel, listener: int, more: int) -> Call[None]:
    yield


def no_generator(kernel: Kernel, listener: int) -> None:
    return None


async def asynchronous(kernel: Kernel, listener: int) -> Any:
    yield 1


def a_list(kernel: Kernel, listener: int) -> Any:
    return [1, 2, 3]


def ends_at_once(kernel: Kernel, listener: int) -> Call[None]:
    return
    yield


def accepts_nobody(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.get(kernel.queue())


def accepts_one(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)


def closes_its_door(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.close(listener)


def yields(value: Any) -> Program:
    def program(kernel: Kernel, listener: int) -> Call[None]:
        yield value

    return program


def forgets_to_yield(kernel: Kernel, listener: int) -> Call[None]:
    fd: Any = kernel.accept(listener)
    nbytes = yield from kernel.recv(fd)
    yield from iosim.answer(kernel, fd, nbytes)


def without_end(kernel: Kernel, listener: int) -> Call[None]:
    yield from without_end(kernel, listener)


def spawns_for_ever(kernel: Kernel, listener: int) -> Call[None]:
    while True:
        yield from kernel.spawn(accepts_nobody, listener)


def spawns_nothing(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.spawn(None, 5)  # type: ignore[arg-type]


def spawns_a_function(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.spawn(print, 5)  # type: ignore[arg-type]


def swallows_all(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    try:
        yield from kernel.recv(9_999)
    except BaseException:
        pass


def mute(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    return
    yield


def rude(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    yield from kernel.close(fd)


def stingy(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    yield from kernel.send(fd, 1)


def lavish(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    yield from kernel.send(fd, 10_000)


def _calling(name: str, *rest: Any, first: bool = True) -> Program:
    """Makes this call on each connection that has sent something."""

    def reply(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
        yield from getattr(kernel, name)(*(fd,) * first, *rest)

    return _serving(reply)


PROGRAMS: dict[str, tuple[int, Program, str]] = {
    # --- what is no program ------------------------------------------------------------------
    "no arguments": (4, no_arguments, "no_arguments"),
    "one argument": (4, one_argument, "one_argument"),
    "three arguments": (4, three_arguments, "three_arguments"),
    "no generator": (4, no_generator, "generator"),
    "a list": (4, a_list, "generator"),
    "an asynchronous generator": (4, asynchronous, "generator"),
    "a lambda": (4, lambda kernel, listener: 5, "generator"),
    "yields nothing": (4, yields(None), "`yield` of None"),
    "yields a number": (4, yields(5), "`yield` of 5"),
    "yields text": (4, yields("accept"), "`yield` of 'accept'"),
    "forgets to yield": (4, forgets_to_yield, "accept() itself"),
    # --- servers that do not serve -----------------------------------------------------------
    "ends at once": (4, ends_at_once, ""),
    "accepts nobody": (4, accepts_nobody, ""),
    "accepts one": (4, accepts_one, ""),
    "closes its door": (4, closes_its_door, ""),
    "mute": (4, _serving(mute), "not answered"),
    "rude": (4, _serving(rude), "closed a connection before its last reply"),
    "stingy": (4, _serving(stingy), ""),
    "lavish": (4, _serving(lavish), ""),
    # --- servers that raise ------------------------------------------------------------------
    "raises": (4, _raising(ValueError("I am broken")), "ValueError: I am broken"),
    "raises lines": (4, _raising(ValueError("one\ntwo\r\nthree")), "ValueError: one"),
    "raises nothing": (4, _raising(ValueError()), "ValueError"),
    "raises much": (4, _raising(ValueError("much " * 100_000)), "ValueError: much"),
    "raises what cannot be said": (4, _raising(_Unspeakable()), "_Unspeakable"),
    "raises OSError": (4, _raising(OSError("no number")), "OSError: no number"),
    "raises MemoryError": (4, _raising(MemoryError()), "MemoryError"),
    "raises StopIteration": (4, _raising(StopIteration(5)), "StopIteration"),
    "raises SystemExit": (4, _raising(SystemExit(0)), "SystemExit"),
    "asserts": (4, _raising(AssertionError("never")), "AssertionError: never"),
    "calls itself without end": (4, without_end, "RecursionError"),
    # --- calls with wrong values -------------------------------------------------------------
    "recv of nothing": (4, _calling("recv", -1), "-1"),
    "recv of text": (4, _calling("recv", "all"), "all"),
    "send of less than nothing": (4, _calling("send", -1), "-1"),
    "send of half a byte": (4, _calling("send", 0.5), "0.5"),
    "send to text": (4, _calling("send", "fd", 5, first=False), "fd"),
    "send of too much": (4, _calling("send", 2**70), ""),
    "computes NaN": (4, _calling("compute", float("nan"), first=False), "nan"),
    "computes backwards": (4, _calling("compute", -5, first=False), "-5"),
    "computes for ever": (4, _calling("compute", 2**70, first=False), "not answered"),
    "computes text": (4, _calling("compute", "5us", first=False), "5us"),
    "sleeps backwards": (4, _calling("nanosleep", -5, first=False), "-5"),
    "sleeps for ever": (4, _calling("nanosleep", 2**70, first=False), "not answered"),
    "closes None": (4, _calling("close", None, first=False), "None"),
    "closes a huge descriptor": (4, _calling("close", sys.maxsize + 1, first=False), ""),
    "no such call": (4, _calling("recieve"), "recieve"),
    # --- servers without measure -------------------------------------------------------------
    "spawns for ever": (2, spawns_for_ever, "memory"),
    "spawns nothing": (4, spawns_nothing, "None"),
    "spawns a function": (4, spawns_a_function, "generator"),
    "swallows all": (4, _serving(swallows_all), "not answered"),
}

REAL = (
    "no generator",
    "yields a number",
    "raises lines",
    "raises SystemExit",
    "raises what cannot be said",
    "computes NaN",
    "send of half a byte",
)
"""Those that are run on the real kernel too, each of which takes a second."""
