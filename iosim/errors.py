"""The one exception a user is meant to see, and the exit codes of the command line.

Its subclasses set the exit codes of what is refused or fails; `EXIT_CODES` has all.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

EXIT_CODES: Mapping[int, str] = {
    0: "done",
    1: "whoever read the output has hung up",
    2: "a mistake that you can mend, or a file that cannot be read or written",
    3: "this host does not allow a real run",
    4: "a run has failed",
    130: "interrupted (other signals: 128 and their number)",
}
"""What `iosim` ends with, and when."""


class IosimError(Exception):
    """A mistake that the user can mend: the message names the value, the rule and the way out.

    The command line prints it as one line and exits with `exit_code`; it never shows a traceback.
    """

    exit_code = 2


class HostRefused(IosimError):
    """The host refuses what a real run needs (a port, file descriptors, a system call)."""

    exit_code = 3


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` (did you mean epoll?)` for `epol`; nothing if no known name is near."""
    near = difflib.get_close_matches(name.lower(), list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""


def starved(threads: bool) -> str:
    """The usual reason why requests to a model stay without an answer; `threads` is whether it has
    that parameter."""
    more = "give it more with --param threads=..., " if threads else ""
    return (
        "a program that needs a thread for each connection and has fewer starves behind idle "
        f"connections: {more}let all connections be active, or use another model"
    )


CLOSED_EARLY = "the server closed a connection before its last reply"


class RunFailed(IosimError):
    """A run started but could not be finished (the program raised, replies stayed out)."""

    exit_code = 4


class Unanswered(RunFailed):
    """Replies stayed out; why, the load generator of a real run cannot tell."""


class Misuse(RunFailed):
    """A program has given a call what no program may: not an error that a kernel has a number for.

    Whoever runs the program adds where it happened, see `iosim.program.failure`.
    """


class Interrupted(IosimError):
    """The user stopped the work; 128 and the signal's number, as shells have it."""

    exit_code = 130


def sq_full(entries: int) -> IosimError:
    """A submission is prepared where there is no room for it."""
    return IosimError(
        f"the submission queue of {entries} entries is full: call io_uring_submit or "
        "io_uring_enter before preparing more, or set up a larger ring"
    )
