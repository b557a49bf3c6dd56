"""Settings of the whole suite."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from commands import Command, Result
from hypothesis import settings

from iosim import cli

# The same examples on every machine and in every run; an example may take as long as it needs,
# since a shared machine may stop for a while at any time.
settings.register_profile("iosim", derandomize=True, deadline=None)
settings.load_profile("iosim")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often sweeps are disturbed: a few times in CI, 20 times for whoever changes them."""
    parser.addoption("--faults", type=int, default=3, help="how often tests kill a sweep")


def pytest_configure(config: pytest.Config) -> None:
    """Gives every test, and every process one starts, the caches of a user who never calibrated.

    Set before anything is collected, and not by a fixture, since notebooks have none.
    """
    caches = tempfile.TemporaryDirectory(prefix="iosim-tests-")
    config.add_cleanup(caches.cleanup)
    os.environ["XDG_CACHE_HOME"] = caches.name


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
