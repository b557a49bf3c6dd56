"""Programs from the outside: how one is begun, and what is said of one that fails."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as short
from types import FrameType, GeneratorType, TracebackType
from typing import Any

from iosim.errors import IosimError, Misuse, RunFailed, starved
from iosim.kernel import Call, Kernel
from iosim.models.base import Model
from iosim.provenance import name_of

_OWN = str(Path(__file__).parent)
_STANDARD = (str(Path(traceback.__file__).parent), "<frozen", "<string>")
_MOST_CHARACTERS = 500


@dataclass(frozen=True)
class Standstill:
    """How a program stood when no more replies came."""

    accepted: int
    """How many connections it had accepted."""
    ended: bool
    """Whether every thread of it had returned."""
    asleep: bool = False
    """Whether every thread slept."""
    busy: str = ""
    """Where one ran without making calls."""
    hint: str | None = None
    """What may be wrong with it, see `iosim.forgotten`."""

    def why(self, answered: int, connections: int, model: object) -> str:
        """The reason why requests are left, and the way out where one is known."""
        reasons = []
        if self.ended:
            reasons.append(f"the program has returned after {answered} replies")
        elif self.busy:
            reasons.append(f"the program runs without making calls{self.busy}")
        elif not self.accepted:
            reasons.append("the program has accepted no connection")
        else:
            if self.asleep:
                reasons.append("every thread sleeps")
            if self.accepted < connections:
                reasons.append(f"{self.accepted} of {connections} connections are accepted")
            if isinstance(model, Model):
                reasons.append(starved(threads=hasattr(model, "threads")))
        if self.hint is not None:
            reasons.append(self.hint)
        return "; ".join(reasons)


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
    try:
        said = str(error)
    except Exception:  # the program's own exception cannot say it
        said = ""
    if not isinstance(error, Misuse):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    where = place(error.__traceback__)
    said = " ".join(f"the program {name} failed{where}: {said}".split())
    return RunFailed(said[:_MOST_CHARACTERS])


def place_of(frame: FrameType | None) -> str:
    """The line of the program that a thread is in; " somewhere" if it is in none."""
    while frame is not None:
        if not (file := frame.f_code.co_filename).startswith((_OWN, *_STANDARD)):
            return f" in line {frame.f_lineno} of {Path(file).name}"
        frame = frame.f_back
    return " somewhere"


def place(trace: TracebackType | None) -> str:
    """The line of the program in a traceback, and the call that it made there."""
    line_of = call = ""
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        if not code.co_filename.startswith(_OWN):
            line_of, call = f" in line {line} of {Path(code.co_filename).name}", ""
        elif not call and hasattr(Kernel, code.co_name):
            call = f", {code.co_name}()"
    return line_of + call
