"""Programs from the outside: how one is begun, and what is said of one that fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from reprlib import repr as short
from types import GeneratorType, TracebackType
from typing import Any

from iosim.arguments import name_of
from iosim.errors import IosimError, Misuse, RunFailed
from iosim.kernel import Call, Kernel

_OWN = str(Path(__file__).parent)
_MOST_CHARACTERS = 500


def begin(program: Callable[..., Call[None]], kernel: Any, *args: Any) -> Call[None]:
    """The program, ready to run on a kernel; raises Misuse if it makes no calls."""
    begun = program(kernel, *args)
    if not isinstance(begun, Generator):
        raise Misuse(
            f"{name_of(program)} has returned {short(begun)} and made no calls: a program is a "
            "generator function, which makes its calls with `yield from`"
        )
    return begun


def drive(program: Call[None]) -> None:
    """Run a program whose calls never suspend, as those of the real kernel do."""
    for given in program:
        program.throw(not_a_call(given))


def not_a_call(given: Any) -> Misuse:
    """A program gives something to `yield` that is none of its kernel's business."""
    if isinstance(given, GeneratorType):
        return Misuse(f"`yield` before the call {given.__name__}(): write `yield from`")
    return Misuse(f"`yield` of {short(given)}: a program yields nothing itself, but calls do")


def unasked(connection: object, nbytes: int, owed_bytes: int) -> Misuse:
    """A program sends a client more than the replies to the requests that it has counted."""
    return Misuse(
        f"{connection}: {nbytes} bytes are sent, but {owed_bytes} bytes of replies are owed: each "
        "request that Kernel.requests has counted is owed one reply"
    )


def uncounted(connection: object, nbytes: int, received: int) -> Misuse:
    """A program counts more into requests than it has read."""
    return Misuse(
        f"{connection}: {nbytes} bytes are counted into requests, but {received} bytes have been "
        "received and not yet counted"
    )


def failure(name: str, error: BaseException) -> IosimError:
    """What a program's exception is to whoever runs it: one line that names program and place.

    An IosimError that is no misuse says all that is to be said.
    """
    if isinstance(error, IosimError) and not isinstance(error, Misuse):
        return error
    said = str(error)
    if not isinstance(error, Misuse):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = _place(error.__traceback__)
    said = " ".join(f"the program {name} failed{place}: {said}".split())
    return RunFailed(said[:_MOST_CHARACTERS])


def _place(trace: TracebackType | None) -> str:
    """The line of the program, and the call that it made there."""
    place = call = ""
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        if not code.co_filename.startswith(_OWN):
            place, call = f" in line {line} of {Path(code.co_filename).name}", ""
        elif not call and hasattr(Kernel, code.co_name):
            call = f", {code.co_name}()"
    return place + call
