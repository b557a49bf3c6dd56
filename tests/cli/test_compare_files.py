"""`iosim compare --real`: a user's own server against a simulated run, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import Command, refused

from iosim import Run

LOAD = ("--connections", "8", "--rate", "2k/s", "--requests", "1000", "--profile", "native")
LATENCIES = {"p50", "p90", "p99"}


@pytest.fixture
def simulated_ns(iosim: Command) -> np.ndarray:
    """Latencies of an epoll server, as a load generator could have written them."""
    iosim("simulate", "epoll", *LOAD, "--out", "run.npz")
    return Run.load("run.npz").latency_ns


def write(name: str, latencies_ns: np.ndarray) -> str:
    """A CSV file in microseconds."""
    rows = "".join(f"{one / 1000},200\n" for one in latencies_ns)
    Path(name).write_text(f"latency_us,status\n{rows}")
    return name


def test_one_file(iosim: Command, simulated_ns: np.ndarray) -> None:
    file = write("own.csv", simulated_ns * 1.2)
    result = iosim("compare", "epoll", "--real", file, *LOAD, "--repeats", "1", "--json").json()
    (cell,) = result["cells"]
    assert (cell["model"], cell["latencies"]) == ("epoll", {file: 1000})
    assert cell["errors"] == pytest.approx(dict.fromkeys(LATENCIES, 1 / 1.2 - 1))
    assert cell["verdict"] == "agrees within 20 %"
    assert cell["workload"]["connections"] == 8
    assert set(cell["not_compared"]) == {"throughput_per_s", "cpu_ns_per_request", "noise"}
    assert (cell["noise"], cell["distance_noise"], cell["intervals"]) == ({}, {}, {})
    folder = Path(result["results"])
    assert json.loads((folder / "comparison.json").read_text())["cells"] == result["cells"]
    assert {each.name for each in folder.iterdir()} == {
        *("comparison.json", "latency.png", "epoll-simulated-0.npz")
    }


def test_several_files_tell_the_noise(iosim: Command, simulated_ns: np.ndarray) -> None:
    files = [write(f"{name}.csv", simulated_ns * name / 100) for name in (98, 100, 103)]
    given = [word for file in files for word in ("--real", file)]
    result = iosim("compare", "epoll", *given, *LOAD, "--repeats", "1", "--json").json()
    (cell,) = result["cells"]
    assert cell["verdict"] == "agrees within noise"
    assert cell["noise"] == pytest.approx(dict.fromkeys(LATENCIES, 0.03))
    assert cell["intervals"]["p50"] == pytest.approx([1 / 1.03 - 1, 1 / 0.98 - 1])
    assert set(cell["not_compared"]) == {"throughput_per_s", "cpu_ns_per_request"}


def test_wrk2_output(iosim: Command) -> None:
    Path("wrk2.txt").write_text(
        "  Detailed Percentile spectrum:\n"
        "       Value   Percentile   TotalCount 1/(1-Percentile)\n\n"
        "       5.000     0.000000            1         1.00\n"
        "       9.000     1.000000         2000          inf\n"
        "#[Max     =        9.000, Total count    =         2000]\n"
    )
    result = iosim("compare", "epoll", "--real", "wrk2.txt", *LOAD, "--json").json()
    (cell,) = result["cells"]
    assert cell["real"]["p50"] == pytest.approx(7e6, rel=0.001)
    assert cell["verdict"] == "disagrees in p50, p90, p99"


def test_what_is_printed(iosim: Command, simulated_ns: np.ndarray) -> None:
    file = write("own.csv", simulated_ns)
    result = iosim("compare", "epoll", "--real", file, *LOAD, "--repeats", "1")
    assert result.code == 0
    assert "agrees within 5 %" in result.out
    assert "real: own.csv, 1k latencies" in result.out
    assert "not compared: throughput (latencies do not tell it)" in result.out
    assert "not compared: noise (it takes several runs: name each file with --real)" in result.out
    assert max(map(len, result.out.splitlines())) <= 100


@pytest.mark.parametrize("models", [[], ["epoll", "select"]])
def test_one_model(models: list[str], iosim: Command, simulated_ns: np.ndarray) -> None:
    file = write("own.csv", simulated_ns)
    refused(
        iosim("compare", *models, "--real", file),
        *("--real", "one model", f"{len(models)} are named"),
    )


def test_refusals(iosim: Command, simulated_ns: np.ndarray) -> None:
    refused(iosim("compare", "epoll", "--real", "absent.csv"), "absent.csv", "No such file")
    short = write("short.csv", simulated_ns[:100])
    refused(iosim("compare", "epoll", "--real", short), "100 latencies", "at least 200")
    file = write("own.csv", simulated_ns)
    refused(iosim("compare", "epoll", "--real", file, "--explain"), "no phases", "leave out")
    assert not Path("results").exists()
