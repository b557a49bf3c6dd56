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
Connections = Annotated[str, typer.Option(help="Open connections.", show_default=False)]
ConnectGap = Annotated[str, typer.Option(help="Pause before each connection is opened: `1ms`.")]
Active = Annotated[str | None, typer.Option(help="How many carry requests: `100` or `10%`; all.")]
Rate = Annotated[str, typer.Option(help="Requests per second over all connections: `20k/s`.")]
Arrivals = Annotated[
    str, typer.Option(help="`poisson`, `even`, `bursty` (see --burst), or `closed` (see --think).")
]
Burst = Annotated[str, typer.Option(help="Requests in a burst, with bursty arrivals.")]
Think = Annotated[str, typer.Option(help="Closed loop: pause from a reply to the next request.")]
Request = Annotated[str, typer.Option(help="Size of a request: `64`, `4KiB`.")]
Reply = Annotated[str, typer.Option(help="Size of a reply.")]
Service = Annotated[str, typer.Option(help="Computing per request: `5us`.")]
Requests = Annotated[str, typer.Option(help="Requests in the run: `100k`.")]
Seed = Annotated[int, typer.Option(help="Fixes arrivals and, simulated, everything.", min=0)]
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
