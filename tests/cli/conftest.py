"""The command line in an empty folder."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from commands import Command, Result

from iosim import cli


@pytest.fixture
def iosim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Command:
    """Runs a command line in an empty folder, for a user who has never calibrated."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["iosim", *arguments])
        capfd.readouterr()
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        return Result(code, *capfd.readouterr())

    return run
