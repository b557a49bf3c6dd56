"""What every model is: a frozen set of parameters and a server program."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints

from iosim.errors import IosimError
from iosim.kernel import EAGAIN, Call, Kernel
from iosim.models.stevens import blocked_in

_LARGEST = 2**63 - 1
"""Parameters are numbers that 64 bits hold."""


def bounded(default: int, most: int, why: str, *, power_of_two: bool = False) -> Any:
    """A parameter that is at most so large; `why` says who does not take more."""
    about = {"most": most, "why": why, "power_of_two": power_of_two}
    return dataclasses.field(default=default, metadata=about)


def thread_count(default: int) -> Any:
    """A parameter that is a number of threads; include/linux/threads.h of the kernel's sources."""
    return bounded(default, 1 << 22, "Linux has no more threads: PID_MAX_LIMIT")


@dataclass(frozen=True)
class Model(ABC):
    """One I/O model. Subclasses add their parameters as fields with defaults."""

    family: ClassVar[str]
    """Which of Stevens' five models this is."""
    phase_1: ClassVar[str]
    """What the program does while it waits for data, in the words of `iosim.models.stevens`."""
    phase_2: ClassVar[str] = blocked_in("recv")
    """What the program does while data is copied from kernel to user, in the same words."""
    needs: ClassVar[str | None] = None
    """The host facility a real run cannot do without: "io_uring", "aio" or None."""

    def __post_init__(self) -> None:
        """Refuse parameters of the wrong kind: counts start at 1, times at 0."""
        hints = get_type_hints(type(self))
        for field in fields(self):
            value, hint = getattr(self, field.name), hints[field.name]
            if get_origin(hint) is Literal:
                rule = f"one of {', '.join(map(str, get_args(hint)))}"
                good = value in get_args(hint)
            else:
                about = {"most": _LARGEST, "power_of_two": False, **field.metadata}
                least = 0 if field.name.endswith("_ns") else 1
                kind = "power of two" if about["power_of_two"] else "whole number"
                end = f"to {about['most']} ({about['why']})" if "why" in about else "on"
                rule = f"a {kind} from {least} {end}"
                good = type(value) is int and least <= value <= about["most"]
                good = good and not (about["power_of_two"] and value & (value - 1))
            if not good:
                raise IosimError(f"{type(self).__name__}: {field.name} = {value!r} must be {rule}")

    @property
    @abstractmethod
    def name(self) -> str:
        """The public name of the variant."""

    def threads_made(self, connections: int, requests: int) -> int:
        """About how many threads the server makes at most, for so many connections and requests."""
        return 1

    @abstractmethod
    def program(self, kernel: Kernel, listener: int) -> Call[None]:
        """The server, see `iosim.kernel.Program`."""


def answer(kernel: Kernel, fd: int, nbytes: int) -> Call[None]:
    """Serve every request that the `nbytes` just received on `fd` complete.

    Returns early when the client takes no more replies.
    """
    for request in kernel.requests(fd, nbytes):
        if request.service_ns:
            yield from kernel.compute(request.service_ns)
        unsent = request.reply_bytes
        while unsent:
            sent = yield from kernel.send(fd, unsent)
            if sent >= 0:
                unsent -= sent
            elif sent == EAGAIN:
                yield from kernel.wait_writable(fd)
            else:
                # The client is gone, as the next recv will tell.
                return
