"""`iosim states`."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from iosim.cli.options import AsJson
from iosim.cli.output import check_writable, console, print_json
from iosim.files import replacing
from iosim.sim.states import TABLES, states

_HEAD = """\
# State machines

What can happen to the objects of the simulated kernel, and when. The kernel obeys the literal
tables in [`iosim/sim/states.py`](../iosim/sim/states.py): what they lack raises `IllegalTransition`
with the object, its state and the event. This page is made from them by
`iosim states --out docs/states.md`.
"""


def states_command(
    out: Annotated[
        Path | None,
        typer.Option(help="Write diagrams and tables to this Markdown file, as documentation."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """The state machines that the threads, sockets and ring requests of a simulation obey.

    Example: `iosim states --out docs/states.md`
    """
    if out is not None:
        check_writable(out)
        with replacing(out) as temporary:
            temporary.write_text(markdown())
        print(f"states: {out}")
    elif as_json:
        print_json(
            {
                name: [
                    {"state": before.name, "event": event, "next": after.name}
                    for (before, event), after in table.items()
                ]
                for name, table in TABLES.items()
            }
        )
    else:
        for name, machine in TABLES.items():
            table = Table("state", "what it means", "event", "next state", title=name)
            for state in states(machine):
                rows = [
                    (event, after) for (before, event), after in machine.items() if before is state
                ]
                about = (state.name, state.meaning)
                for event, after in rows or [("-", None)]:
                    table.add_row(*about, event, after.name if after is not None else "-")
                    about = ("", "")
                table.add_section()
            console().print(table)


def markdown() -> str:
    """All machines, each as a diagram (Mermaid) and with the meaning of its states."""
    parts = [_HEAD]
    for name, machine in TABLES.items():
        first, *_ = states(machine)
        ends = [state for state in states(machine) if all(state is not one for one, _ in machine)]
        # Mermaid draws arrows between the same states on top of one another.
        arrows: dict[str, list[str]] = defaultdict(list)
        for (before, event), after in machine.items():
            arrows[f"{before.name} --> {after.name}"].append(event)
        lines = [f"    [*] --> {first.name}"]
        lines += [f"    {arrow}: {', '.join(events)}" for arrow, events in arrows.items()]
        lines += [f"    {state.name} --> [*]" for state in ends]
        meanings = [f"| `{state.name}` | {state.meaning} |" for state in states(machine)]
        parts.append(
            f"\n## {name.capitalize()}\n\n"
            "```mermaid\nstateDiagram-v2\n" + "\n".join(lines) + "\n```\n\n"
            "| state | what it means |\n|---|---|\n" + "\n".join(meanings) + "\n"
        )
    return "".join(parts)
