"""Imports go in the direction that pyproject.toml lays down under [tool.importlinter]."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent


def test_imports_keep_their_direction() -> None:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--no-logo"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_contributing_draws_the_layers_that_are_checked() -> None:
    """One line for each layer, from the top down."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = [re.findall(r"\w+", layer) for layer in contracts["contracts"][0]["layers"]]
    page = (PROJECT / "CONTRIBUTING.md").read_text()
    block = page.partition("from the top down only:\n\n")[2].partition("\n\n")[0]
    known = {name for layer in layers for name in layer}
    assert [[w for w in line.split() if w in known] for line in block.splitlines()] == layers
