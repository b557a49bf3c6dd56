"""The command line: one module for each group of commands."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import Annotated, Any, TextIO

import typer

from iosim import start
from iosim.cli.calibrate import calibrate_command
from iosim.cli.compare import compare_command
from iosim.cli.doctor import doctor_command
from iosim.cli.models import models_command
from iosim.cli.plot import plot_command, sensitivity_command
from iosim.cli.profile import app as profile_app
from iosim.cli.run import real_command, simulate_command
from iosim.cli.states import states_command
from iosim.cli.sweep import export_command, sweep_command
from iosim.cli.timeline import timeline_command
from iosim.errors import EXIT_CODES, Interrupted, IosimError
from iosim.provenance import iosim_version

app = typer.Typer(
    help="Simulate the five Unix network I/O models and compare them with real sockets.",
    epilog=f"Exit codes: {'; '.join(f'{code} {what}' for code, what in EXIT_CODES.items())}.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("models")(models_command)
app.command("simulate")(simulate_command)
app.command("real")(real_command)
app.command("compare")(compare_command)
app.command("calibrate")(calibrate_command)
app.add_typer(profile_app, name="profile")
app.command("sweep")(sweep_command)
app.command("export")(export_command)
app.command("plot")(plot_command)
app.command("sensitivity")(sensitivity_command)
app.command("timeline")(timeline_command)
app.command("doctor")(doctor_command)
app.command("states")(states_command)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"iosim {iosim_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Options of `iosim` itself."""


# typer exports of its usage errors only this one.
_USAGE_ERROR: Any = typer.BadParameter.__base__

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG)
"""What a write may fail with; files are written by `iosim.files`, which says so itself."""


def main() -> None:
    """Run the command line; whatever ends it, there is one line at most and no traceback."""
    try:
        start.begin()
        code = _run()
    except (KeyboardInterrupt, SystemExit) as end:
        code = end.code if isinstance(end, SystemExit) else Interrupted.exit_code
    start.end()
    sys.exit(code)


def _run() -> Any:
    """Run what is asked for; returns the exit code."""
    _escape_what_cannot_be_encoded(sys.stdout)
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except IosimError as error:
        return _say(str(error), error.exit_code)
    except _USAGE_ERROR as error:
        if not error.format_message():
            return 2  # nothing was asked for: the help has been printed
        return _say(f"{error.format_message()} Try 'iosim --help'.", 2)
    except BrokenPipeError:
        _abandon_output()
        return 1
    except OSError as error:
        _abandon_output()
        if error.filename is None and error.errno in _UNWRITABLE:
            return _say(f"cannot write the output: {error.strerror}; choose a place with room", 2)
        what = f"cannot use {error.filename}" if error.filename else "this host refuses"
        return _say(f"{what}: {error.strerror or error}", 2 if error.filename else 3)
    except MemoryError:
        return _say("this host has not enough memory: use fewer connections or requests", 3)
    except typer.Abort:
        code = Interrupted.exit_code
    # This is how typer tells of Ctrl-C. Whatever keeps something has said so itself.
    return _say("interrupted", code) if code == Interrupted.exit_code else code


def _escape_what_cannot_be_encoded(stream: TextIO) -> None:
    """Print a name that the stream's encoding lacks, as standard error does: `\\xe9`."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _abandon_output() -> None:
    """Let nothing be written any more: what is buffered might fail once again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(message: str, code: int) -> int:
    with suppress(OSError):  # there may be nobody to tell
        print(f"iosim: {' '.join(message.split())}", file=sys.stderr, flush=True)
    return code
