"""The one exception a user is meant to see."""


class IosimError(Exception):
    """A mistake that the user can mend: the message names the value, the rule and the way out.

    The command line prints it as one line and exits with `exit_code`; it never shows a traceback.
    """

    exit_code = 2


class HostRefused(IosimError):
    """The host refuses what a real run needs (a port, file descriptors, a system call)."""

    exit_code = 3


class RunFailed(IosimError):
    """A run started but could not be finished (the program raised, replies stayed out)."""

    exit_code = 4
