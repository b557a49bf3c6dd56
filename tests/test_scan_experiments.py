"""The command lines of the experiments on published scans: what they print and what they refuse."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
PIPE_RING, FD_SCAN = (EXPERIMENTS / name / "run.py" for name in ("pipe_ring", "fd_scan"))
HUNDRED_ACTIVE = EXPERIMENTS / "pipe_ring" / "pipe_ring_i7-12800H_active100.csv"


class Shell:
    """Runs scripts in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def run(self, script: Path, *options: str | Path) -> tuple[int, str, str]:
        """Exit code, output and errors."""
        self._monkeypatch.setattr(sys, "argv", [str(script), *map(str, options)])
        with pytest.raises(SystemExit) as exit:
            runpy.run_path(str(script), run_name="__main__")
        assert isinstance(exit.value.code, int)
        return exit.value.code, *self._capsys.readouterr()

    def mechanisms(self, script: Path, *options: str | Path) -> dict[str, Any]:
        """What --json prints of each mechanism."""
        code, printed, errors = self.run(script, "--json", *options)
        assert code == 0, errors
        found: dict[str, Any] = json.loads(printed)["mechanisms"]
        return found

    def refuses(self, said: str, script: Path, *options: str | Path) -> None:
        """Exit code 2 and one line that says it."""
        code, _, errors = self.run(script, *options)
        assert code == 2
        assert errors.count("\n") == 1
        assert said in errors


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    return Shell(monkeypatch, capsys)


def test_pipes_of_libevent(shell: Shell) -> None:
    found = shell.mechanisms(PIPE_RING)
    assert list(found) == ["select", "poll", "epoll"]
    for report in found.values():
        assert len(report["constants"]) <= 3
        assert len(report["rows"]) == 18
        assert sum(row["fitted"] for row in report["rows"]) == 11
    for name in ("select", "poll"):
        assert found[name]["mean_relative_error_predicted"] < 0.25
        assert all(found[name]["identified"].values())


def test_options_change_what_is_fitted(shell: Shell) -> None:
    few = shell.mechanisms(PIPE_RING, "--fit-up-to", "512")["poll"]
    assert sum(row["fitted"] for row in few["rows"]) == 10
    assert few["identified"] == {"call_ns": True, "fd_ns": True, "miss_ns": False}
    larger = shell.mechanisms(PIPE_RING, "--l2", "3MiB", "--l3", "24MiB")["poll"]
    assert not larger["identified"]["miss_ns"]
    netlib = shell.mechanisms(PIPE_RING, "--library", "netlib")
    assert list(netlib) == ["select", "poll", "epoll", "uring"]
    poll = shell.mechanisms(PIPE_RING, "--reference", HUNDRED_ACTIVE)["poll"]
    assert poll["rows"][0]["measured_ns"] == pytest.approx(96_500)


def test_a_cpu_of_which_only_l2_is_given_has_no_l3(shell: Shell) -> None:
    """Then what the row beyond L2 took longer is four steps, not one."""
    miss_ns = {
        l3: shell.mechanisms(PIPE_RING, "--l2", "1.25MiB", *l3)["poll"]["constants"]["miss_ns"]
        for l3 in ((), ("--l3", "0"), ("--l3", "24MiB"))
    }
    assert (
        miss_ns[()] == miss_ns["--l3", "0"] == pytest.approx(miss_ns["--l3", "24MiB"] / 4, rel=0.1)
    )


def test_descriptors_of_the_book(shell: Shell) -> None:
    found = shell.mechanisms(FD_SCAN)
    assert list(found) == ["poll", "select", "epoll"]
    assert [row["count"] for row in found["poll"]["rows"]] == [10, 100, 1_000]
    assert found["poll"]["rows"][0]["measured_ns"] == pytest.approx(6_100)
    all_rows = shell.mechanisms(FD_SCAN, "--fit-up-to", "1k")
    assert all_rows["poll"]["mean_relative_error_predicted"] is None


@pytest.mark.parametrize("script", [PIPE_RING, FD_SCAN], ids=lambda script: script.parent.name)
def test_json_writes_files_only_where_it_is_told_to(
    shell: Shell, script: Path, tmp_path: Path
) -> None:
    kept = {path: path.stat().st_mtime_ns for path in (script.parent / "results").iterdir()}
    shell.mechanisms(script)
    assert kept == {path: path.stat().st_mtime_ns for path in (script.parent / "results").iterdir()}
    shell.mechanisms(script, "--out", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"data.csv", "figure.png"}


@pytest.mark.parametrize("script", [PIPE_RING, FD_SCAN], ids=lambda script: script.parent.name)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reference", "/no/such.csv"], "cannot read /no/such.csv: No such file or directory"),
        (["--fit-up-to", "0"], "no row has 0 descriptors or fewer to be fitted"),
        (["--fit-up-to", "many"], "'many' is not a count"),
        (["--l2", "0"], "an L2 cache of 0 bytes: give the size"),
        (["--l2=-1MiB"], "'-1MiB' is not a size: it must not be negative"),
        (["--l2", "8MiB", "--l3", "4MiB"], "L3 is at least as large as the L2 of one core"),
        (["--l3", "lots"], "'lots' is not a size"),
        (["--out", "/dev/null/results"], "Not a directory"),
    ],
)
def test_bad_options(shell: Shell, script: Path, options: list[str], said: str) -> None:
    shell.refuses(said, script, *options)


def test_missing_columns(shell: Shell) -> None:
    for script, other in ((PIPE_RING, FD_SCAN), (FD_SCAN, PIPE_RING)):
        (table,) = other.parent.glob("*active1.csv" if other is PIPE_RING else "*.csv")
        shell.refuses("has no column", script, "--reference", table)


def test_a_library_that_was_not_measured(shell: Shell) -> None:
    shell.refuses(
        "--library libuv: choose one of libevent, netlib", PIPE_RING, "--library", "libuv"
    )


def test_active_pipes_of_which_nothing_is_known(shell: Shell, tmp_path: Path) -> None:
    table = tmp_path / "seven.csv"
    header = "library,mechanism,active,pipes,p50_us_per_run\n"
    for rows, said in (
        ("libevent,poll,7,1,85\n", "active = 7: give a file of 1 or of 100 active pipes"),
        ("libevent,poll,1,1,85\nlibevent,poll,100,1,965\n", "active = 1, 100: give a file of"),
    ):
        table.write_text(header + rows)
        shell.refuses(said, PIPE_RING, "--reference", table)
