"""Plays the tables of hostile inputs: each ends as its row says, and with no traceback."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
from commands import Command, Result
from hostile.bounds import bounded
from hostile.calls import CALLS, LOAD, NAMES
from hostile.command_lines import LINES
from hostile.designs import ADDED, GOOD, WHOLE
from hostile.environments import ROWS
from hostile.files import MAKE, READ, READERS, WRITES
from hostile.programs import PROGRAMS, REAL
from hostile.shell import lay_commands
from hostile.shell import play as type_in

from iosim.errors import IosimError
from iosim.host import run_real
from iosim.machine import Machine
from iosim.sim import simulate


def check(result: Result, code: int, said: Sequence[str]) -> None:
    """It ended with this code; a refusal is one line that has all of the words."""
    told = f"exit code {result.code}, {result.err[-300:] or result.out[-300:]!r}"
    assert result.code == code, told
    assert "Traceback" not in result.err, told
    if code:
        assert result.err.startswith("iosim: "), told
        assert result.err.count("\n") == 1, told
    for words in said:
        assert words in (result.err if code else result.out), told


def look(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """All that lies in a folder, and whether it has been touched."""
    found = {path: path.lstat() for path in folder.rglob("*") if "cache" not in path.parts}
    return {path: (at.st_ino, at.st_mode, at.st_mtime_ns) for path, at in found.items()}


def play(iosim: Command, line: str) -> Result:
    with bounded():
        return iosim(*shlex.split(line))


# --- command lines ---------------------------------------------------------------------------

COMMAND_LINES = [
    pytest.param(f"{begin} {rest}", code, said, id=f"{begin} {rest[:60]!a}")
    for begin, rows in LINES.items()
    for code, rest, *said in rows
]
for place, line in enumerate(COMMAND_LINES):
    if place % 2:
        COMMAND_LINES[place] = pytest.param(*line.values, id=line.id, marks=pytest.mark.long)


@pytest.mark.parametrize(("line", "code", "said"), COMMAND_LINES)
def test_command_line(line: str, code: int, said: list[str], iosim: Command, folder: Path) -> None:
    before = look(folder)
    check(play(iosim, line), code, said)
    if code:
        assert look(folder) == before


# --- designs ---------------------------------------------------------------------------------

DESIGNS = [
    *((f"{GOOD}; {text}", code, said) for code, text, *said in ADDED),
    *((text, code, said) for code, text, *said in WHOLE),
]


@pytest.mark.parametrize(
    ("text", "code", "said"), DESIGNS, ids=[f"{d[0][-60:]!a}" for d in DESIGNS]
)
def test_design(text: str, code: int, said: list[str], iosim: Command, folder: Path) -> None:
    (folder / "d.toml").write_text(text.replace("; ", "\n"))
    before = look(folder)
    check(play(iosim, "sweep d.toml --serial"), code, said)
    if code in (2, 3):
        assert look(folder) == before


# --- files -----------------------------------------------------------------------------------


def make(kind: str, path: Path) -> None:
    try:
        MAKE[kind](path)
    except PermissionError as error:
        pytest.skip(f"this user may not make a {kind}: {error}")


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("line", READERS)
def test_reading(line: str, kind: str, iosim: Command, folder: Path) -> None:
    make(kind, folder / f"{kind}.json")
    before = look(folder)
    check(play(iosim, line.format(kind)), 2, (f"{kind}.json", READ[kind]))
    assert look(folder) == before


@pytest.mark.parametrize(("code", "line", "kind", "said"), WRITES)
def test_writing(code: int, line: str, kind: str, said: str, iosim: Command, folder: Path) -> None:
    if kind in MAKE:
        make(kind, folder / line[line.index("{}") :].format(kind))
    before = look(folder)
    check(play(iosim, line.format(kind)), code, (said,))
    assert look(folder) == before


# --- from Python -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "call", "said"), [(code, call, said) for code, call, *said in CALLS]
)
def test_call(
    code: int, call: str, said: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = look(folder)
    with bounded():
        if not code:
            eval(call, NAMES)
            return
        with pytest.raises(IosimError) as caught:
            eval(call, NAMES)
    assert caught.value.exit_code == code
    for words in said:
        assert words in str(caught.value)
    assert look(folder) == before


SMALL = Machine.of(memory_bytes="64MiB")


@pytest.mark.parametrize(
    ("kernel", "name"),
    [*(("simulated", name) for name in PROGRAMS), *(("real", name) for name in REAL)],
)
def test_program(kernel: str, name: str) -> None:
    code, program, said = PROGRAMS[name]
    run = run_real if kernel == "real" else partial(simulate, machine=SMALL)
    with bounded(), pytest.raises(IosimError) as caught:
        run(program, LOAD)
    assert caught.value.exit_code == code
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# --- as processes ----------------------------------------------------------------------------


@pytest.fixture(scope="session")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_commands(tmp_path_factory.mktemp("commands"))


# A process takes a second: of the rows, every other one is for make test.
ENVIRONMENTS = [
    pytest.param(*row, id=row[1], marks=[pytest.mark.long] if place % 2 else [])
    for place, row in enumerate(ROWS)
]


@pytest.mark.parametrize(("code", "script", "said"), ENVIRONMENTS)
def test_environment(code: int, script: str, said: str, folder: Path, shell: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    try:
        result = type_in(script, shell, folder)
    finally:
        folder.chmod(0o755)
        for file in folder.iterdir():
            file.chmod(0o755)
    assert result.code == code, result.err[-500:]
    lines = result.err.splitlines()
    if not said:
        assert [line for line in lines if not line.startswith("iosim: warning: ")] == []
    else:
        assert len(lines) == 1, result.err
        assert lines[0].startswith("iosim: ")
        assert said in lines[0]
    if code:
        assert before == {name: (folder / name).read_bytes() for name in before}
        assert not list(folder.glob(".iosim-*"))
