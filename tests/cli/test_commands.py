"""The command line from end to end: what it prints, what it writes, how it refuses."""

from __future__ import annotations

import dataclasses
import gzip
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from commands import Command, refused

from iosim.calibrate.calibration import Steps
from iosim.costs import ABOUT, CostProfile
from iosim.doctor import Finding, Report
from iosim.host import why_not
from iosim.models import MODELS
from iosim.phases import PHASES
from iosim.results import Run

needs_real_runs = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


FIGURES = {
    "model",
    "kernel",
    "seed",
    "requests",
    "throughput_per_s",
    "latency_ns",
    "cpu_ns_per_request",
    "utilisation",
    "syscalls_per_request",
    "empty_polls",
    "context_switches",
    "blocked_ns",
    "wall_s",
}


def check_figures(summary: dict[str, Any], kernel: str) -> None:
    assert summary.keys() >= FIGURES
    assert summary["kernel"] == kernel
    assert summary["latency_ns"].keys() == {"mean", "p50", "p90", "p99", "p999"}
    assert summary["blocked_ns"].keys() == {"wait_for_data", "copy_data"}
    assert ("events_per_request" in summary) == (kernel == "simulated")


# --- models ----------------------------------------------------------------------------------


def test_models(iosim: Command) -> None:
    rows = iosim("models", "--json").json()
    assert [row["model"] for row in rows] == list(MODELS)
    for row in rows:
        assert row["phase_1"]
        assert row["phase_2"]
        assert row["runs_here"] == (row["reason"] is None)
    (pool,) = [row for row in rows if row["model"] == "blocking-pool"]
    assert pool["parameters"] == {"threads": 200}
    (sleeps,) = [row for row in rows if row["model"] == "nonblocking-sleep"]
    assert sleeps["parameters"] == {"interval_ns": 100_000}
    table = iosim("models").out
    for name in MODELS:
        assert name in table
    assert "interval_ns=100us" in table  # as --param takes it


# --- simulate --------------------------------------------------------------------------------

SMALL = ("--requests", "300", "--profile", "native")


def test_simulate_takes_units_as_people_write_them(iosim: Command) -> None:
    summary = iosim(
        *("simulate", "epoll", "--connections", "1k", "--active", "10%", "--rate", "20k/s"),
        *("--request", "64KiB", "--reply", "1kB", "--service", "5us", "--requests", "0.5k"),
        *(
            "--arrivals",
            "bursty",
            "--burst",
            "8",
            "--seed",
            "3",
            "--json",
            "--profile",
            "native",
            "--out",
            "run.npz",
        ),
    ).json()
    check_figures(summary, "simulated")
    assert (summary["model"], summary["seed"], summary["requests"]) == ("epoll", 3, 500)
    run = Run.load("run.npz")
    assert run.provenance["workload"] == {
        "connections": 1_000,
        "connect_gap_ns": 0,
        "active": 0.1,
        "arrivals": "bursty",
        "burst": 8,
        "rate_per_s": 20_000,
        "think_ns": 0,
        "request_bytes": 65_536,
        "reply_bytes": 1_000,
        "service": "5us",
        "requests": 500,
    }
    assert run.summary() == {key: summary[key] for key in run.summary()}


@pytest.mark.parametrize("model", MODELS)
def test_simulate_every_model(model: str, iosim: Command) -> None:
    arguments = ("--connections", "1") if model == "blocking-serial" else ()
    check_figures(iosim("simulate", model, *arguments, *SMALL, "--json").json(), "simulated")


def test_simulate_prints_a_table(iosim: Command) -> None:
    result = iosim("simulate", "epoll", *SMALL)
    assert result.code == 0
    for said in ("epoll, simulated", "throughput", "latency p99", "CPU per request", "native"):
        assert said in result.out


def test_simulate_a_seed_fixes_all(iosim: Command) -> None:
    summaries = [iosim("simulate", "sigio", *SMALL, "--json").json() for _ in range(2)]
    for summary in summaries:
        del summary["wall_s"]
    assert summaries[0] == summaries[1]
    other = iosim("simulate", "sigio", *SMALL, "--seed", "2", "--json").json()
    assert other["latency_ns"] != summaries[0]["latency_ns"]


def test_simulate_with_parameters(iosim: Command) -> None:
    """A time with its unit, a count, and a choice."""
    for model, parameter, named in [
        ("nonblocking-sleep", "interval_ns=1ms", "nonblocking-sleep"),
        ("nonblocking-sleep", "interval_ns=100000", "nonblocking-sleep"),
        ("blocking-pool", "threads=100", "blocking-pool"),
        ("epoll", "trigger=edge", "epoll-et"),
    ]:
        summary = iosim("simulate", model, "--param", parameter, *SMALL, "--json").json()
        assert summary["model"] == named


def test_simulate_machine_and_arrivals(iosim: Command) -> None:
    summary = iosim(
        *("simulate", "blocking", "--cores", "2", "--nic", "1Gbit/s", "--arrivals", "closed"),
        *("--think", "1ms", "--out", "run.npz", "--json", *SMALL),
    ).json()
    provenance = Run.load("run.npz").provenance
    assert provenance["machine"]["cores"] == 2
    assert provenance["machine"]["nic"]["link_bits_per_s"] == 10**9
    assert provenance["workload"]["arrivals"] == "closed"
    # Some of the 64 clients send five of the 300 requests, with a millisecond between any two.
    assert summary["throughput_per_s"] < 300 / 0.004


def test_simulate_with_parameters_of_the_card(iosim: Command) -> None:
    """Each counts: waiting makes all later, and a small ring drops what a large one holds."""
    card = ("simulate", "epoll", "--nic", "1Gbit/s", "--rate", "100k/s", *SMALL, "--out", "run.npz")
    plain = iosim(*card, "--json").json()
    assert plain["drops"] == 0
    parameters = ("--nic-param", "coalesce_ns=100us", "--nic-param", "rx_ring=2")
    waiting = iosim(*card, *parameters, "--json").json()
    nic = Run.load("run.npz").provenance["machine"]["nic"]
    assert (nic["link_bits_per_s"], nic["coalesce_ns"], nic["rx_ring"]) == (10**9, 100_000, 2)
    assert waiting["latency_ns"]["p50"] > plain["latency_ns"]["p50"] + 30_000
    assert waiting["drops"] > 0


def test_simulate_shows_the_drops_of_a_card(iosim: Command) -> None:
    said = "packets dropped"
    assert said not in iosim("simulate", "epoll", *SMALL).out
    # A parameter alone asks for a card.
    for options in (("--nic", "1Gbit/s"), ("--nic-param", "mtu_bytes=9000")):
        (row,) = (
            line
            for line in iosim("simulate", "epoll", *SMALL, *options).out.splitlines()
            if said in line
        )
        assert row.split("│")[-2].strip() == "0"


def test_simulate_on_a_machine_of_the_users(iosim: Command) -> None:
    summary = iosim(
        *("simulate", "epoll", "--machine", "memory_bytes=1MiB", "--machine", "nic.mtu_bytes=9000"),
        *("--out", "run.npz", "--json", *SMALL),
    ).json()
    machine = Run.load("run.npz").provenance["machine"]
    assert (machine["memory_bytes"], machine["nic"]["mtu_bytes"]) == (2**20, 9_000)
    assert 0 < summary["memory_bytes"]["total"] < 2**20


def test_simulate_beyond_the_memory_if_told_so(iosim: Command) -> None:
    little = ("simulate", "blocking", "--machine", "memory_bytes=1MiB", *SMALL)
    refused(iosim(*little), "more memory than the machine has, 1 MiB", "threads", "oversubscribe")
    result = iosim(*little, "--oversubscribe")
    assert result.code == 0
    assert "memory: threads" in result.out
    assert "memory: total" in result.out


def test_simulate_writes_a_trace(iosim: Command) -> None:
    assert iosim("simulate", "epoll", *SMALL, "--trace", "run.json.gz").code == 0
    events = json.loads(gzip.decompress(Path("run.json.gz").read_bytes()))["traceEvents"]
    assert {"recv", "send", "epoll_wait"} <= {event["name"] for event in events}


def test_simulate_with_a_profile_of_the_users(iosim: Command) -> None:
    """It is read, and it counts: calls ten times as dear make a dearer request."""
    dear = CostProfile.shipped("native").scaled(recv_ns=10, send_ns=10)
    dear.save("dear.json")
    plain = iosim("simulate", "epoll", *SMALL, "--json").json()
    other = iosim(
        "simulate", "epoll", "--requests", "300", "--profile", "dear.json", "--json"
    ).json()
    assert other["profile"] == dear.name
    assert other["cpu_ns_per_request"] > 5 * plain["cpu_ns_per_request"]


# --- real and compare ------------------------------------------------------------------------


@needs_real_runs
def test_real(iosim: Command) -> None:
    small = ("--connections", "4", "--rate", "5k/s", "--requests", "200")
    summary = iosim("real", "epoll", *small, "--out", "run.npz", "--json").json()
    check_figures(summary, "real")
    assert summary["requests"] == len(Run.load("run.npz").records) == 200
    table = iosim("real", "blocking", *small)
    assert table.code == 0
    assert "blocking, real" in table.out


COMPARED = {"throughput_per_s", "cpu_ns_per_request", "p50", "p90", "p99"}
DISTANCES = {"demerit", "ks"}


@needs_real_runs
def test_compare(iosim: Command) -> None:
    result = iosim(
        *("compare", "epoll", "blocking", "--repeats", "2", "--requests", "500", "--rate", "5k/s"),
        *("--connections", "8", "--json", "--profile", "native"),
    ).json()
    assert [cell["model"] for cell in result["cells"]] == ["epoll", "blocking"]
    for cell in result["cells"]:
        assert set(cell) == {
            *("model", "workload", "simulated", "real", "errors", "noise", "calm_share", "verdict"),
            *("distances", "distance_noise", "intervals", "phases_ns", "per_request"),
        }
        assert {len(by_phase) for by_phase in cell["phases_ns"].values()} == {len(PHASES)}
        # On a busy host one recv may take many requests.
        assert cell["per_request"]["recv"]["real"] > 0
        assert cell["workload"]["connections"] == 8
        for name in ("simulated", "real", "errors"):
            assert set(cell[name]) == COMPARED
        assert set(cell["distances"]) == DISTANCES
        # On a disturbed host only one run may count, and one has no noise.
        between = (cell["noise"], cell["distance_noise"], cell["intervals"])
        known = tuple(set(figures) for figures in between)
        assert known in ((COMPARED, DISTANCES, COMPARED | DISTANCES), (set(), set(), set()))
        for name in COMPARED:
            relative = cell["simulated"][name] / cell["real"][name] - 1
            assert cell["errors"][name] == pytest.approx(relative)
        assert cell["verdict"].startswith(("agrees", "disagrees", "too noisy to tell"))
        assert 0 <= cell["calm_share"] <= 1
    folder = Path(result["results"])
    assert folder.parent.name == "results"
    assert json.loads((folder / "comparison.json").read_text())["cells"] == result["cells"]
    runs = {
        f"{model}-{kernel}-{number}.npz"
        for model in ("epoll", "blocking")
        for kernel in ("simulated", "real")
        for number in (0, 1)
    }
    assert {file.name for file in folder.iterdir()} == {*runs, "comparison.json", "latency.png"}
    assert (folder / "latency.png").read_bytes().startswith(b"\x89PNG")
    for name in runs:
        assert len(Run.load(folder / name).records) == 500


@needs_real_runs
def test_compare_prints_a_table_with_every_model(iosim: Command) -> None:
    result = iosim(
        *("compare", "--repeats", "1", "--requests", "200", "--connections", "4"),
        *("--rate", "2k/s", "--profile", "native", "--out", "here", "--explain"),
    )
    assert result.code == 0
    rows = {line.strip("│ ").split()[0] for line in result.out.splitlines() if "│" in line}
    skipped = {name for name, model in MODELS.items() if why_not(model)}
    assert rows >= set(MODELS) - skipped
    for name in skipped:
        assert f"skipped {name}: " in result.out
    assert "cost profile: native" in result.out
    assert "results: here" in result.out
    assert Path("here/comparison.json").exists()
    assert "epoll: where the time of a request goes" in result.out
    assert rows >= set(PHASES)
    assert "p50 differs most in" in result.out
    assert "per request, simulated / real: " in result.out


# --- calibrate and timeline ------------------------------------------------------------------


def test_calibrate(iosim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The measurement itself is replaced: here it is the command that counts."""
    measured = CostProfile.shipped("native").model_copy(update={"name": "this host"})

    def calibrate(*_: Any, **options: Any) -> tuple[CostProfile, Steps]:
        return measured, Steps({}, None)

    monkeypatch.setattr("iosim.calibrate.cache.calibrate", calibrate)
    said = iosim("calibrate", "--json", "--out", "mine.json").json()
    assert said["path"] == "mine.json"
    assert set(said["costs"]) == set(ABOUT)
    assert CostProfile.load("mine.json") == measured
    # Without a place it is kept in the cache, and from then on used.
    assert iosim("simulate", "epoll", "--requests", "10", "--json").json()["profile"] != "this host"
    assert iosim("calibrate").code == 0
    assert iosim("simulate", "epoll", "--requests", "10", "--json").json()["profile"] == "this host"


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_timeline(ending: str, iosim: Command) -> None:
    path = f"epoll.{ending}"
    assert iosim("timeline", "epoll", "--out", path, "--json").json() == {"figure": path}
    assert Path(path).stat().st_size > 5_000


def test_timeline_of_all_five(iosim: Command) -> None:
    result = iosim("timeline", "--all")
    assert result.code == 0
    assert Path("timeline-all.png").stat().st_size > 5_000


# --- doctor ----------------------------------------------------------------------------------

NOISE = {"throughput_per_s": 0.001, "cpu_ns_per_request": 0.031, "p50": 0.02, "p99": 0.9}
EXAMINED = {
    "fit": Report([Finding("cores", "2 usable", "sched_getaffinity(2)")], NOISE),
    "worth a look": Report([Finding("turbo", "on", "", "warning", "switch it [off]")], NOISE),
    "not fit": Report([Finding("cores", "1 usable", "", "problem", "add one")]),
}


@pytest.mark.parametrize("case", EXAMINED)
def test_doctor(case: str, iosim: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The examination itself is replaced: here it is the command that counts."""
    report = EXAMINED[case]
    (finding,) = report.findings
    monkeypatch.setattr("iosim.cli.doctor.examine", lambda progress: report)
    table = iosim("doctor")
    assert (table.code, table.err) == (0 if report.fit else 3, "")
    for said in (finding.subject, finding.value, finding.verdict, finding.advice):
        assert said in table.out
    # Ends with the verdict.
    assert table.out.splitlines()[-1].strip() == report.verdict
    machine = iosim("doctor", "--json")
    assert machine.code == table.code
    said_again = json.loads(machine.out)
    assert said_again == json.loads(json.dumps(report.as_dict()))
    assert said_again["findings"] == [dataclasses.asdict(finding)]


# --- help ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        *("models", "simulate", "real", "compare", "calibrate", "timeline", "doctor", "states"),
        *("profile list", "profile show", "profile diff"),
    ],
)
def test_help_shows_an_example(command: str, iosim: Command) -> None:
    result = iosim(*command.split(), "--help")
    assert result.code == 0
    assert "Example" in result.out
    assert f"iosim {command}" in result.out.replace("Usage: iosim", "")
    assert "--json" in result.out


def test_help_names_every_command(iosim: Command) -> None:
    out = iosim("--help").out
    for command in (
        "models",
        "simulate",
        "real",
        "compare",
        "calibrate",
        "timeline",
        "doctor",
        "states",
    ):
        assert command in out
    assert "profile" in out


@pytest.mark.parametrize("command", [[], ["profile"]])
def test_without_a_command_there_is_help_and_nothing_else(
    command: list[str], iosim: Command
) -> None:
    result = iosim(*command)
    assert (result.code, result.err) == (2, "")
    assert "Usage" in result.out


# --- bad input -------------------------------------------------------------------------------


BAD = [
    ("simulate epol", ["unknown model 'epol' (did you mean epoll?)", "io_uring"]),
    ("real epol", ["unknown model 'epol'"]),
    ("compare epoll epol", ["unknown model 'epol'"]),
    ("timeline epol", ["unknown model 'epol'"]),
    ("simulate epoll --rate 20k/min", ["rate_per_s", "'20k/min' is not a rate", "20k/s"]),
    ("simulate epoll --request 64k", ["request_bytes", "'64k' is not a size", "64KiB"]),
    ("simulate epoll --service 5", ["service: ", "'5' is not a time", "20us"]),
    ("simulate epoll --nic 10Gbps", ["'10Gbps' is not a speed", "10Gbit/s"]),
    ("simulate epoll --nic 0bit/s", ["link_bits_per_s", "greater than 0"]),
    ("simulate epoll --nic-param coalesce_ns", ["--nic-param", "NAME=VALUE", "coalesce_ns=20us"]),
    ("simulate epoll --nic-param ring=9", ["no parameter 'ring'", "rx_ring"]),
    ("simulate epoll --nic-param rx_ring=0", ["rx_ring", "greater than 0"]),
    ("simulate epoll --nic-param coalesce_ns=2.5", ["coalesce_ns", "'2.5' is not a time"]),
    ("simulate epoll --nic-param coalesce_frames=8", ["coalesce_frames = 8 without coalesce_ns"]),
    (
        "simulate epoll --nic 1Gbit/s --nic-param link_bits_per_s=10Gbit/s",
        ["link_bits_per_s is already 1Gbit/s"],
    ),
    ("simulate epoll --rate -1", ["rate_per_s", "must not be negative"]),
    ("real epoll --rate -1", ["rate_per_s", "must not be negative"]),
    ("simulate epoll --rate 0", ["rate_per_s", "greater than 0"]),
    ("simulate epoll --connections 0", ["connections", "greater than 0"]),
    ("real epoll --connections 0", ["connections", "greater than 0"]),
    ("simulate epoll --connections 5 --active 6", ["active = 6 of 5 connections"]),
    ("simulate epoll --active 200%", ["'200%' is neither a count nor a share"]),
    ("simulate epoll --active 1.0", ["'1.0' could be one connection or all", "write 1 or 100%"]),
    ("simulate epoll --service normal(5us)", ["service: ", "exponential(50us)"]),
    ("simulate epoll --connections 0 --rate -1 --request x", ["connections", "rate", "request"]),
    ("simulate epoll --arrivals burst", ["arrivals", "'even', 'bursty' or 'closed'"]),
    ("simulate select --connections 2000", ["descriptor 1024", "poll or epoll"]),
    ("simulate aio --param thread=3", ["no parameter 'thread'", "threads"]),
    ("simulate aio --param threads", ["NAME=VALUE"]),
    ("simulate aio --param threads=0", ["threads = 0 must be a whole number from 1 to 4194304"]),
    ("simulate epoll --param trigger=both", ["trigger = 'both' must be one of level, edge"]),
    ("simulate epoll --profile missing.json", ["cannot read cost profile missing.json"]),
    ("simulate epoll --profile nativ", ["unknown cost profile 'nativ'"]),
    ("simulate epoll --profile damaged.json", ["cost profile damaged.json is damaged"]),
    ("compare epoll --profile damaged.json", ["cost profile damaged.json is damaged"]),
    ("timeline epoll --profile damaged.json", ["cost profile damaged.json is damaged"]),
    ("simulate epoll --out missing/run.npz", ["cannot write missing/run.npz"]),
    ("simulate epoll --trace missing/run.json", ["cannot write missing/run.json"]),
    ("real epoll --out missing/run.npz", ["cannot write missing/run.npz"]),
    ("compare epoll --out damaged.json/x", ["cannot make folder damaged.json/x"]),
    ("compare epoll --out damaged.json", ["damaged.json", "--out"]),
    ("calibrate --out missing/x.json", ["cannot write missing/x.json"]),
    ("timeline epoll --out missing/x.png", ["cannot write missing/x.png"]),
    ("timeline epoll --out picture.xyz", ["picture.xyz"]),
    ("timeline", ["give exactly one of them"]),
    ("timeline epoll --all", ["give exactly one of them"]),
    ("real epoll --port 70000", ["port 70000", "65535"]),
    ("simulate epoll --machine memory=1", ["no field 'memory'", "did you mean memory_bytes?"]),
    ("simulate epoll --machine cores", ["write it as NAME=VALUE"]),
    ("simulate epoll --machine memory_bytes=16G", ["memory_bytes", "'16G' is not a size"]),
    ("simulate epoll --seed -1", ["seed = -1 must be a whole number from 0 to 2**63 - 1"]),
    ("simulate epoll --seed 9223372036854775808", ["seed = 9223372036854775808 must be"]),
    ("simulate epoll --rate 1e-9", ["rate_per_s = 1e-09 for 20000", "years", "higher rate"]),
    ("simulate epoll --connect-gap 1e9s", ["connect_gap_ns = 1000000000s", "shorter gap"]),
    ("simulate io_uring-multishot --param buffers=3", ["must be a power of two from 1 to 32768"]),
    ("simulate epoll --cores 0", ["cores"]),
    ("compare epoll --repeats 0", ["repeats"]),
    ("simulate epoll --colour red", ["--colour"]),
    ("simulate", ["MODEL"]),
    ("simulat epoll", ["simulat"]),
]


@pytest.mark.parametrize(("line", "said"), BAD, ids=[line for line, _ in BAD])
def test_bad_input_gets_one_line(line: str, said: list[str], iosim: Command) -> None:
    Path("damaged.json").write_text('{"costs": ')
    before = sorted(Path().iterdir())
    refused(iosim(*line.split()), *said)
    assert sorted(Path().iterdir()) == before


@needs_real_runs
def test_port_in_use(iosim: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(iosim("real", "epoll", "--port", str(port)), f"port {port}", "already in use")


@needs_real_runs
def test_more_connections_than_descriptors(iosim: Command) -> None:
    refused(iosim("real", "epoll", "--connections", "10M"), "10000000 connections are more than")


@needs_real_runs
def test_select_beyond_fd_setsize_for_real(iosim: Command) -> None:
    result = iosim("real", "select", "--connections", "1100", "--requests", "10")
    refused(result, "descriptor 1024", "poll or epoll")


def test_starved_connections(iosim: Command) -> None:
    result = iosim("simulate", "blocking-serial", "--active", "2", *SMALL)
    refused(result, "were not answered within 10 s")
    assert result.code == 4
