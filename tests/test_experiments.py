"""Every experiment runs small, through the public API, and what it claims holds."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
SCRIPTS = sorted(EXPERIMENTS.glob("*/run.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_runs_small(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, script, "--small", "--out", tmp_path],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    with open(tmp_path / "data.csv", newline="") as file:
        assert list(csv.DictReader(file))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_has_results_and_an_answer(script: Path) -> None:
    """The committed figure shows what the committed data say, and the README shows the figure."""
    folder = script.parent
    assert (folder / "results" / "data.csv").exists()
    assert (folder / "results" / "figure.png").exists()
    assert "results/figure.png" in (folder / "README.md").read_text()


def test_there_are_experiments() -> None:
    assert SCRIPTS
