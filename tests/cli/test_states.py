"""`iosim states`: tables on the terminal, diagrams in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from iosim.cli.states import markdown
from iosim.sim.states import TABLES

PAGE = Path(__file__).parents[2] / "docs" / "states.md"


def states(*arguments: str) -> str:
    command = [sys.executable, "-m", "iosim", "states", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_the_documentation_shows_the_tables_as_they_are() -> None:
    assert PAGE.read_text() == markdown(), f"make it anew: iosim states --out {PAGE.name}"


def test_every_transition_is_drawn_once(tmp_path: Path) -> None:
    page = tmp_path / "states.md"
    states("--out", str(page))
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", page.read_text(), re.MULTILINE)
    assert len({(before, after) for before, after, _ in arrows}) == len(arrows)
    assert sorted(
        (before, event, after) for before, after, events in arrows for event in events.split(", ")
    ) == sorted(
        (before.name, event, after.name)
        for table in TABLES.values()
        for (before, event), after in table.items()
    )


def test_json_and_terminal_have_every_transition() -> None:
    told = json.loads(states("--json"))
    shown = states()
    for name, table in TABLES.items():
        assert told[name] == [
            {"state": before.name, "event": event, "next": after.name}
            for (before, event), after in table.items()
        ]
        assert all(state.name in shown and state.meaning in shown for state in table.values())
