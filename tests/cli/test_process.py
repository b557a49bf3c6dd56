"""The command line as a process: its exit code, signals, and standard streams that are closed, full
or of another encoding. Whatever happens there is one line at most, and no traceback."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import Command, Result, refused

from iosim import Workload, run_real, simulate, start
from iosim.errors import EXIT_CODES, HostRefused, Interrupted, IosimError, RunFailed
from iosim.host import why_not
from iosim.sweep import Store

IOSIM = sys.executable, "-m", "iosim"
README = Path(__file__).parents[2] / "README.md"

DESIGN = 'model = "epoll"\nworkload.requests = 50\n[sweep.axes]\n"workload.connections" = [5, 10]\n'


def as_process(
    *arguments: str,
    path: tuple[Path, ...] = (),
    environment: dict[str, str] | None = None,
    **to: Any,
) -> Result:
    """Run `python -m iosim`; `path` comes first among the folders to import from."""
    folders = os.pathsep.join([*map(str, path), *filter(None, sys.path)])
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | to
    done = subprocess.run(
        [*IOSIM, *arguments],
        text=True,
        env={**os.environ, "PYTHONPATH": folders} | (environment or {}),
        timeout=300,
        check=False,
        **options,
    )
    return Result(done.returncode, done.stdout or "", done.stderr or "")


# --- exit codes ------------------------------------------------------------------------------


def test_exit_code_of_the_process() -> None:
    result = as_process("simulate", "epol")
    refused(result, "unknown model 'epol'")
    assert result.code == 2


def test_every_exit_code_is_documented(iosim: Command) -> None:
    """In one table, of which `--help` and the README tell the same."""
    errors = (IosimError, HostRefused, RunFailed, Interrupted)
    assert [*EXIT_CODES] == [0, 1, *(error.exit_code for error in errors)]
    said = " ".join(iosim("--help").out.split())
    for code, what in EXIT_CODES.items():
        assert f"{code} {what}" in said
        assert f"| {code} | {what} |" in README.read_text()


def test_version(iosim: Command) -> None:
    import importlib.metadata

    version = importlib.metadata.version("iosim")
    assert iosim("--version") == Result(0, f"iosim {version}\n", "")


# --- standard streams ------------------------------------------------------------------------


def test_reader_that_hangs_up_early() -> None:
    """`iosim models --json | head -1`: no traceback."""
    read, write = os.pipe()
    os.close(read)
    assert as_process("models", "--json", stdout=write) == Result(1, "", "")
    os.close(write)


@pytest.mark.parametrize("line", ["models", "models --json", "--help"])
def test_a_full_device_as_standard_output(line: str) -> None:
    with open("/dev/full", "w") as full:
        result = as_process(*line.split(), stdout=full)
    refused(result, "cannot write the output: No space left on device")
    assert result.code == 2


def test_a_full_device_as_standard_error() -> None:
    """There is nobody to tell, but for the exit code."""
    with open("/dev/full", "w") as full:
        assert as_process("simulate", "epol", stderr=full).code == 2


def closing(*streams: int) -> Callable[[], None]:
    return lambda: [os.close(stream) for stream in streams] and None


def test_closed_streams_take_no_output_into_a_file(tmp_path: Path) -> None:
    """Files that are opened get the lowest number that is free, and libraries print to 1 and 2."""
    (tmp_path / "d.toml").write_text(DESIGN)
    streams = {"stdout": None, "stderr": None, "preexec_fn": closing(0, 1, 2), "cwd": tmp_path}
    assert as_process("simulate", "epol", **streams).code == 2
    assert as_process("sweep", "d.toml", "--workers", "1", **streams).code == 0
    with Store.read(tmp_path / "d.sweep") as store:
        assert store.counts().finished == 2


def test_names_that_the_encoding_lacks(tmp_path: Path) -> None:
    """Also bytes that are no text at all in a name."""
    ascii_only = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C.UTF-8"}
    run = ("simulate", "epoll", "--requests", "10", "--profile", "native", "--out")
    for name, said in (("é.npz", r"run: \xe9.npz"), (os.fsdecode(b"\xff.npz"), r"run: \udcff.npz")):
        result = as_process(*run, name, cwd=tmp_path, environment=ascii_only)
        assert result.code == 0, result.err
        assert result.out.splitlines()[-1] == said
        assert (tmp_path / name).exists()


@pytest.mark.parametrize(
    "environment",
    [
        {"COLUMNS": "1"},
        {"COLUMNS": "many"},
        {"TERM": "dumb"},
        {"TERM": "", "NO_COLOR": "1"},
        {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"HOME": "/nowhere", "XDG_CACHE_HOME": ""},
    ],
    ids=str,
)
def test_any_terminal_and_any_home(environment: dict[str, str]) -> None:
    for line in ("simulate epoll --requests 10", "--help"):
        result = as_process(*line.split(), environment=environment)
        assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize("line", ["timeline epoll", "compare epoll"])
def test_settings_that_keep_matplotlib_from_starting(line: str, tmp_path: Path) -> None:
    """Nothing is run first, and nothing is left behind."""
    result = as_process(*line.split(), environment={"MPLBACKEND": "nope"}, cwd=tmp_path)
    refused(result, "matplotlib does not start", "'nope'", "unset or mend MPLBACKEND")
    assert not list(tmp_path.iterdir())


def test_settings_of_matplotlib_that_are_no_text(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    result = as_process("timeline", "epoll", environment={"MPLCONFIGDIR": str(tmp_path)})
    refused(result, "matplotlib does not start", "MPLCONFIGDIR")


def test_matplotlib_without_a_place_for_its_cache(tmp_path: Path) -> None:
    nowhere = {"MPLCONFIGDIR": "/proc/nowhere", "HOME": "/proc/nowhere", "XDG_CACHE_HOME": ""}
    result = as_process("timeline", "epoll", environment=nowhere, cwd=tmp_path)
    assert result == Result(0, "figure: timeline-epoll.png\n", "")


def test_what_the_system_refuses_gets_one_line(
    iosim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, said, code in [
        (OSError(24, "Too many open files"), "this host refuses: Too many open files", 3),
        (OSError(13, "Permission denied", "x"), "cannot use x: Permission denied", 2),
        (MemoryError(), "not enough memory", 3),
    ]:

        def fail(*_: object, error: BaseException = error, **__: object) -> None:
            raise error

        monkeypatch.setattr("iosim.cli.run.simulate", fail)
        result = iosim("simulate", "epoll", "--profile", "native")
        refused(result, said)
        assert result.code == code


# --- signals ---------------------------------------------------------------------------------

AT_IMPORT = """
import os, sys

def send(event, arguments):
    if event == "import" and arguments[0] == {module!r}:
        os.kill(os.getpid(), {number})

sys.addaudithook(send)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize(
    "module", ["iosim.calibrate", "numpy", "pydantic", "typer", "iosim.cli.run"]
)
def test_a_signal_while_libraries_are_imported(module: str, number: int, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(AT_IMPORT.format(module=module, number=int(number)))
    result = as_process("models", path=(tmp_path,))
    assert result == Result(128 + number, "", "")


def test_signals_that_are_ignored_stay_so(tmp_path: Path) -> None:
    """As under nohup, and in the background of a script."""
    (tmp_path / "sitecustomize.py").write_text(
        AT_IMPORT.format(module="typer", number=int(signal.SIGHUP))
    )

    def ignore() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    assert as_process("--version", path=(tmp_path,), preexec_fn=ignore).code == 0


def test_a_program_that_imports_iosim_keeps_its_signals(tmp_path: Path) -> None:
    assert not start.IS_COMMAND
    program = tmp_path / "program.py"
    program.write_text(
        "import signal\nbefore = [signal.getsignal(n) for n in (1, 2, 15)]\nimport iosim.cli\n"
        "assert [signal.getsignal(n) for n in (1, 2, 15)] == before\n"
    )
    folders = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, "PYTHONPATH": folders}
    subprocess.run([sys.executable, program], env=environment, check=True)


def test_sigterm_leaves_nothing_half_written(tmp_path: Path) -> None:
    """The run is being saved when the signal comes."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def send(event, arguments):\n"
        "    if event == 'open' and '.iosim-' in str(arguments[0]):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "sys.addaudithook(send)\n"
    )
    where = tmp_path / "here"
    where.mkdir()
    result = as_process(
        *("simulate", "epoll", "--requests", "10", "--out", "run.npz"), path=(tmp_path,), cwd=where
    )
    assert result == Result(143, "", "")
    assert list(where.iterdir()) == []


@pytest.mark.parametrize(
    ("line", "what", "said"),
    [
        ("simulate epoll", "iosim.cli.run.simulate", "nothing of the run is kept"),
        ("real epoll", "iosim.cli.run.run_real", "nothing of the run is kept"),
        ("compare epoll --profile native", "iosim.cli.compare.compare", "no run is kept"),
        ("calibrate", "iosim.calibrate.cache.calibrate", "nothing has been measured yet"),
        ("sweep d.toml", "iosim.cli.sweep.drive", "0 of 2 points are finished and kept: go on by"),
        ("models", "iosim.cli.models.why_not", ""),
    ],
)
def test_ctrl_c_says_what_is_kept(
    line: str, what: str, said: str, iosim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind but the store of a sweep."""
    Path("d.toml").write_text(DESIGN)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(what, interrupted)
    result = iosim(*line.split(), *(("--serial",) if "sweep" in line else ()))
    refused(result, f"iosim: interrupted; {said}" if said else "iosim: interrupted\n")
    assert result.code == 130
    assert {path.name for path in Path().iterdir()} <= {"d.toml", "d.sweep", "cache"}


def test_a_calibration_that_is_interrupted_is_kept(
    iosim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def measure(_: object, name: str, *__: object) -> list[object]:
        if measured:
            raise KeyboardInterrupt
        measured.append(name)
        return []

    monkeypatch.setattr("iosim.calibrate.cache.ThisHost.measure", measure)
    monkeypatch.setattr("iosim.calibrate.cache.ThisHost.why_not", lambda *_: None)
    result = iosim("calibrate", "--quick")
    refused(result, "interrupted; what has been measured is kept, and the same command goes on")


# --- progress --------------------------------------------------------------------------------


@pytest.mark.parametrize("arrivals", ["poisson", "closed"])
def test_progress_of_a_simulation_changes_nothing(
    arrivals: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("iosim.sim.engine._TOLD_AFTER", 100)
    load = Workload.of(connections=4, requests=5_000, arrivals=arrivals)
    told: list[float] = []
    run = simulate("epoll", load, progress=told.append)
    plain = simulate("epoll", load)
    assert run.records.tobytes() == plain.records.tobytes()
    assert (run.events, run.core_times) == (plain.events, plain.core_times)
    assert told == sorted(told)
    assert len(told) > 1
    assert 0 <= told[0] < told[-1] <= 1


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_progress_of_a_real_run() -> None:
    """A second of it; a share that is told may be late, but lies between 0 and 1."""
    load = Workload(connections=4, requests=1_000, rate_per_s=1_000)
    told: list[float] = []
    run_real("epoll", load, progress=told.append)
    assert told == sorted(told)
    assert 0 < told[0] < 1


def test_a_bar_comes_up_late_and_on_a_terminal_only(
    iosim: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("simulate", "epoll", "--requests", "5k", "--connections", "4", "--profile", "native")
    assert iosim(*line).err == ""
    monkeypatch.setattr("iosim.sim.engine._TOLD_AFTER", 100)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    monkeypatch.setattr("iosim.cli.output._LATE_S", math.inf)
    assert iosim(*line).err == ""
    monkeypatch.setattr("iosim.cli.output._LATE_S", 0)
    monkeypatch.setattr("iosim.cli.output._REDRAW_S", 0)
    assert "simulating" in iosim(*line).err
