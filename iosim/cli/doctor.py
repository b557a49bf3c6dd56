"""`iosim doctor`."""

from __future__ import annotations

import typer
from rich.table import Table
from rich.text import Text

from iosim.cli.options import AsJson
from iosim.cli.output import console, print_json, progress_bar
from iosim.doctor import Report, examine
from iosim.errors import HostRefused

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


def doctor_command(as_json: AsJson = False) -> None:
    """Is this host fit to measure on? What stands in the way, and what to do about it.

    Looks at cores, limits, clocks and permissions, measures for some seconds how quiet the host
    is, and ends with exit code 3 if there is a problem.

    Example: `iosim doctor`
    """
    with progress_bar("examining this host") as advance:
        report = examine(advance)
    if as_json:
        print_json(report.as_dict())
    else:
        _print_report(report)
    if not report.fit:
        raise typer.Exit(HostRefused.exit_code)


def _print_report(report: Report) -> None:
    table = Table("", "looked at", "found", title="Is this host fit to measure on?")
    marks = [Text(one.verdict, _COLOURS[one.verdict]) for one in report.findings]
    for mark, one in zip(marks, report.findings, strict=True):
        table.add_row(mark, Text(one.subject), Text(one.value))
    out = console()
    out.print(table)
    for mark, one in zip(marks, report.findings, strict=True):
        if one.advice:
            out.print(Text.assemble(mark, f" {one.subject}: {one.advice}"))
    out.print(Text(report.verdict, "bold"))
