"""`iosim calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from iosim.calibrate import cache, quick
from iosim.cli.options import AsJson
from iosim.cli.output import check_writable, console, print_json, progress_bar


def calibrate_command(
    out: Annotated[
        Path | None, typer.Option(help="Write the profile here instead of the cache.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what this host's kernel actions cost (about 25 s) and keep the profile.

    Example: `iosim calibrate --out this-host.json`
    """
    check_writable(out)
    with progress_bar("calibrating this host") as advance:
        profile = quick(advance)
    path = profile.save(out or cache.path())
    if as_json:
        print_json(profile.model_dump() | {"path": str(path)})
        return
    table = Table("cost", "value", "from", "to", "source", title=profile.name)
    for name, cost in profile.costs.items():
        low, high = cost.spread or (cost.value, cost.value)
        table.add_row(name, f"{cost.value:.4g}", f"{low:.4g}", f"{high:.4g}", cost.source)
    console().print(table)
    print(f"profile: {path}")
