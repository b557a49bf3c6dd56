"""Every command in the documentation is one that the command line takes, options and values too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from iosim.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/*.md")),
    *sorted(ROOT.glob("experiments/*/README.md")),
    *sorted(ROOT.glob("iosim/**/*.py")),
]


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """What follows `iosim`, and whether it stands in the text, where arguments may be left out, or
    on a line of its own."""
    for line in re.findall(r"^    (?:\.venv/bin/)?iosim (.*)$", text, re.MULTILINE):
        yield re.sub(r"\s+#.*", "", line), False
    for quoted in re.findall(r"(?<!`)`iosim\s([^`{}]+)`", text):
        yield " ".join(quoted.split()), True


DOCUMENTED = [
    pytest.param(line, brief, id=f"{page.relative_to(ROOT)}: {line}")
    for page in PAGES
    for line, brief in dict.fromkeys(commands(page.read_text()))
]


@pytest.mark.parametrize(("line", "brief"), DOCUMENTED)
def test_documented_command_is_understood(line: str, brief: bool) -> None:
    command: Any = typer.main.get_command(app)
    words = shlex.split(line)
    while hasattr(command, "commands") and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    try:
        command.make_context("iosim", words).close()
    except Exception as error:
        if not brief or type(error).__name__ not in ("MissingParameter", "Exit"):
            raise


def test_a_command_that_does_not_exist_would_be_found() -> None:
    (wrong,) = commands("One says `iosim compare epoll\n--speed 3`.")
    with pytest.raises(Exception, match="No such option"):
        test_documented_command_is_understood(*wrong)
    assert list(commands("    iosim doctor   # is it fit?\n")) == [("doctor", False)]
