"""`iosim calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from iosim.calibrate import FULL, QUICK, cache, calibrate_host
from iosim.cli.options import AsJson
from iosim.cli.output import check_writable, print_json, progress_bar, warn_of
from iosim.cli.profile_tables import header, print_profile


def calibrate_command(
    out: Annotated[
        Path | None, typer.Option(help="Write the profile here instead of the cache.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="In less than a minute, with less certainty.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Do not go on with one that was interrupted.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what this host's kernel actions cost and keep the profile.

    Takes some minutes. If it is interrupted, the same command goes on where it was.

    Example: `iosim calibrate --out this-host.json`
    """
    check_writable(out)
    plan = QUICK if quick else FULL
    with progress_bar("calibrating this host") as advance:
        profile = calibrate_host(plan, out=out, again=again, progress=advance)
    path = out or cache.path()
    found = cache.Found(profile, path, "host" if out is None else str(out))
    if as_json:
        warn_of(found)
        print_json(profile.model_dump() | {"path": str(path)})
        return
    print_profile(profile, header(found))
    print(f"profile: {path}")
    print(f"samples: {cache.samples_path(path)}")
