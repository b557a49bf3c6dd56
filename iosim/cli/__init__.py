"""The command line: one module for each group of commands."""

from __future__ import annotations

import os
import sys
from typing import Any

import typer

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
from iosim.errors import IosimError

app = typer.Typer(
    help="Simulate the five Unix network I/O models and compare them with real sockets.",
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

# typer exports of its usage errors only this one.
_USAGE_ERROR: Any = typer.BadParameter.__base__
_INTERRUPTED = 130
"""What typer returns after Ctrl-C, as shells do: 128 and the signal's number."""


def main() -> None:
    """Run the command line; a user's mistake ends with one line and no traceback."""
    try:
        code = app(standalone_mode=False)
    except IosimError as error:
        _fail(str(error), error.exit_code)
    except _USAGE_ERROR as error:
        if not error.format_message():
            sys.exit(2)  # nothing was asked for: the help has been printed
        _fail(f"{error.format_message()} Try 'iosim --help'.", 2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if code == _INTERRUPTED:
        _fail("interrupted; what was finished is kept", _INTERRUPTED)
    sys.exit(code)


def _fail(message: str, code: int) -> None:
    print(f"iosim: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(code)
