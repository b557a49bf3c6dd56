"""`iosim models`."""

from __future__ import annotations

import dataclasses
from itertools import starmap
from typing import Any

from rich.table import Table

from iosim.cli.options import AsJson
from iosim.cli.output import console, print_json
from iosim.host import why_not
from iosim.models import MODELS
from iosim.units import write_time


def _written(name: str, value: Any) -> str:
    """A parameter as `--param` takes it."""
    return f"{name}={write_time(value) if name.endswith('_ns') else value}"


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
        parameters = ", ".join(starmap(_written, row["parameters"].items()))
        table.add_row(
            *(str(row[key]) for key in ("model", "family", "phase_1", "phase_2")),
            parameters,
            "yes" if row["runs_here"] else str(row["reason"]),
        )
    console().print(table)
