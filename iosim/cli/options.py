"""Arguments and options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Name = Annotated[str, typer.Argument(metavar="MODEL", help="One of `iosim models`.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--param", metavar="NAME=VALUE", help="Set a parameter of the model."),
]
Seed = Annotated[int, typer.Option(help="Fixes arrivals and, simulated, everything.")]
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
