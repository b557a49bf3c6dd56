"""`iosim models`."""

from __future__ import annotations

import dataclasses
from typing import Any

from rich.table import Table

from iosim.cli.options import AsJson
from iosim.cli.output import console, print_json
from iosim.host import why_not
from iosim.models import MODELS


def models_command(as_json: AsJson = False) -> None:
    """The I/O models: what each does while it waits and while data is copied.

    Example: `iosim models`
    """
    rows: list[dict[str, Any]] = [
        {
            "model": model.name,
            "family": model.family,
            "phase_1": model.phase_1,
            "phase_2": model.phase_2,
            "parameters": {f.name: getattr(model, f.name) for f in dataclasses.fields(model)},
            "runs_here": (reason := why_not(model)) is None,
            "reason": reason,
        }
        for model in MODELS.values()
    ]
    if as_json:
        print_json(rows)
        return
    table = Table(title="The five I/O models")
    for heading in ("model", "family", "waiting for data", "copying it", "parameters", "runs here"):
        table.add_column(heading)
    for row in rows:
        parameters = ", ".join(f"{key}={value}" for key, value in row["parameters"].items())
        table.add_row(
            *(str(row[key]) for key in ("model", "family", "phase_1", "phase_2")),
            parameters,
            "yes" if row["runs_here"] else str(row["reason"]),
        )
    console().print(table)
