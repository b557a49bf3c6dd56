"""`iosim timeline`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iosim.cli import parse
from iosim.cli.options import AsJson, ProfileName
from iosim.cli.output import check_writable, print_json
from iosim.errors import IosimError


def timeline_command(
    model: Annotated[str | None, typer.Argument(metavar="[MODEL]")] = None,
    every: Annotated[bool, typer.Option("--all", help="The five models side by side.")] = False,
    profile: ProfileName = "native",
    out: Annotated[Path | None, typer.Option(help="The picture: .png, .svg or .pdf.")] = None,
    as_json: AsJson = False,
) -> None:
    """Draw the textbook figure of a model (Stevens, figures 6.1 to 6.6) from a simulated run.

    Examples: `iosim timeline epoll`, `iosim timeline --all --out five.svg`
    """
    from iosim.plots import save
    from iosim.timeline import timeline, timelines

    if every == (model is not None):
        raise IosimError("timeline draws one MODEL or --all: give exactly one of them")
    costs = parse.profile(profile).profile
    path = out or Path("timeline-all.png" if model is None else f"timeline-{model}.png")
    check_writable(path)
    save(timelines(profile=costs) if model is None else timeline(model, profile=costs), path)
    if as_json:
        print_json({"figure": str(path)})
    else:
        print(f"figure: {path}")
