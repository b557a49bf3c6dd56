"""Arguments and options that several commands take."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from iosim.errors import IosimError

Name = Annotated[str, typer.Argument(metavar="MODEL", help="One of `iosim models`.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the model."),
]


def whole(option: str, least: int | None, about: str) -> Any:
    """An option that takes a whole number; a refusal names the text, which typer's does not.

    Without a `least` it is for the run to say which numbers it takes.
    """

    def read(text: str) -> int:
        with suppress(ValueError):
            if least is None or int(text) >= least:
                return int(text)
        from_on = "" if least is None else f" from {least} on"
        raise IosimError(f"{option} = {text} must be a whole number{from_on}")

    return typer.Option(option, help=about, metavar="NUMBER", parser=read)


Seed = Annotated[int, whole("--seed", None, "Fixes arrivals and, simulated, everything.")]
Out = Annotated[Path | None, typer.Option(help="Save the run to this file (.npz).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        help="Cost profile: `host`, `python`, `native` or a file; default is this host's own if "
        "calibrated, else `python`.",
    ),
]
