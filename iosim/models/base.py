"""What every model is: a frozen set of parameters and a server program."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args, get_origin, get_type_hints

from iosim.errors import IosimError
from iosim.kernel import EAGAIN, Call, Kernel
from iosim.models.stevens import blocked_in


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
                least = 0 if field.name.endswith("_ns") else 1
                rule = f"a whole number from {least} on"
                good = type(value) is int and value >= least
            if not good:
                raise IosimError(f"{type(self).__name__}: {field.name} = {value!r} must be {rule}")

    @property
    @abstractmethod
    def name(self) -> str:
        """The public name of the variant."""

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
