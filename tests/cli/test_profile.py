"""`iosim profile` from end to end, and which profile a run uses."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from calibrated import HOST, calibrated
from commands import Command, refused

from iosim import Workload, compare, simulate
from iosim.calibrate import cache
from iosim.calibrate.samples import Samples
from iosim.costs import ABOUT, FAMILIES, SCHEMA, SHIPPED, Cost, CostProfile
from iosim.errors import IosimError
from iosim.host import facts
from iosim.machine import Interference
from iosim.plots.profile import figures

PYTHON = CostProfile.shipped("python")
OWN = PYTHON.model_copy(update={"name": "my [own] host", "host": facts(), "date": "2026-01-31"})
SMALL = ("simulate", "epoll", "--requests", "10")


def rows(out: str) -> dict[str, list[str]]:
    """The rows of all tables, as lists of their cells, by the first cell."""
    lines = (line.strip("│") for line in out.splitlines() if line.startswith("│"))
    cells = ([cell.strip() for cell in line.split("│")] for line in lines)
    return {first: rest for first, *rest in cells}


# --- list ------------------------------------------------------------------------------------


def test_list_on_a_host_that_was_never_calibrated(iosim: Command) -> None:
    listed = {row["profile"]: row for row in iosim("profile", "list", "--json").json()}
    assert list(listed) == ["host", *SHIPPED]
    assert [name for name, row in listed.items() if row["default"]] == ["python"]
    assert "run `iosim calibrate`" in listed["host"]["problem"]
    assert listed["python"]["runtime"] == "python"
    assert not listed["native"]["measured"]
    table = rows(iosim("profile", "list").out)
    assert table["python"][0] == "yes"
    assert table["native"][-1] == "no: from literature and assumptions"
    assert "this host has no cost profile yet" in table["host"][-1]


def test_list_on_a_calibrated_host(iosim: Command) -> None:
    OWN.save(cache.path())
    listed = {row["profile"]: row for row in iosim("profile", "list", "--json").json()}
    assert [name for name, row in listed.items() if row["default"]] == ["host"]
    assert listed["host"]["name"] == OWN.name
    assert (listed["host"]["problem"], listed["host"]["differences"]) == (None, {})
    table = rows(iosim("profile", "list").out)
    assert table["host"] == ["yes", OWN.name, "python", "2026-01-31", facts()["cpu"], "yes"]
    assert table["python"][0] == ""


def test_list_goes_on_beside_a_damaged_profile(iosim: Command) -> None:
    OWN.save(cache.path()).write_text("{")
    listed = {row["profile"]: row for row in iosim("profile", "list", "--json").json()}
    assert "is damaged" in listed["host"]["problem"]
    assert listed["host"]["default"]
    assert listed["python"]["problem"] is None
    refused(iosim(*SMALL), "is damaged", "calibrate again")
    refused(iosim("profile", "show"), "is damaged", "calibrate again")


# --- show ------------------------------------------------------------------------------------


def test_show_is_of_what_a_run_would_use(iosim: Command) -> None:
    assert iosim("profile", "show", "--json").json()["name"] == PYTHON.name
    OWN.save(cache.path())
    assert iosim("profile", "show", "--json").json()["name"] == OWN.name
    assert iosim("profile", "show").out.splitlines()[0].strip() == f"{OWN.name} (measured here)"


@pytest.mark.parametrize("name", SHIPPED)
def test_show_holds_everything(name: str, iosim: Command) -> None:
    profile = CostProfile.shipped(name)
    said = iosim("profile", "show", name, "--json").json()
    assert list(said["costs"]) == list(ABOUT)
    for cost, value in said["costs"].items():
        assert Cost(**{key: value[key] for key in Cost.model_fields}) == profile.costs[cost]
        assert value["about"] == ABOUT[cost]
        assert cost in FAMILIES[value["family"]]
    for part in ("wakeup", "wakeup_ticking"):
        woken = getattr(profile, part)
        assert [row["idle_ns"] for row in said[part]] == [row.idle_ns for row in woken]
    whole = profile.model_dump()
    for part in whole.keys() - {"schema_version", "costs", "wakeup", "wakeup_ticking"}:
        assert said[part] == whole[part], part
    assert (said["file"], said["samples"]) == (None, None)
    table = rows(iosim("profile", "show", name).out)
    assert table.keys() >= {*ABOUT, *FAMILIES, "cpu", "l2", "runtime", "measured"}
    for cost, cells in table.items():
        if cost in ABOUT:
            assert cells[2] == profile.costs[cost].source
            assert ABOUT[cost].startswith(cells[3])


def test_show_value_interval_and_what_is_not_told(iosim: Command) -> None:
    costs = {
        "recv_ns": Cost(value=1_500, source="measured", interval=(1_400, 1_600)),
        "send_ns": Cost(value=1_010, source="measured", spread=(990, 1_020)),
        "fd_miss_ns": Cost(value=20, source="measured", interval=(5, 80), identified=False),
        "copy_ns_per_byte": Cost(value=0.1, source="measured"),
        "socket_bytes": Cost(value=4_096, source="assumed", note="four [KiB]"),
    }
    profile = PYTHON.model_copy(update={"costs": PYTHON.costs | costs})
    profile.save("p.json")
    result = iosim("profile", "show", "p.json")
    table = rows(result.out)
    assert table["recv_ns"][:3] == ["1.5 us", "1.4 to 1.6", "measured"]
    assert table["send_ns"][:2] == ["1.01 us", "990 ns to 1.02 us q"]
    assert table["fd_miss_ns"][:2] == ["20 ns ?", "5 to 80"]
    assert table["copy_ns_per_byte"][:2] == ["0.1 ns/byte", ""]
    assert table["socket_bytes"][:3] == ["4 KiB", "", "assumed"]
    assert "four [KiB]" in result.out
    assert "?: not told by the measurements" in result.out
    assert "?:" not in iosim("profile", "show", "native").out


def test_show_how_a_host_differs_from_this_one(iosim: Command) -> None:
    other = OWN.model_copy(update={"host": facts() | {"cores": 999, "l2_bytes": 1 << 30}})
    other.save("p.json")
    said = iosim("profile", "show", "p.json", "--json").json()
    assert said["differences"].keys() == {"cores", "l2_bytes"}
    table = rows(iosim("profile", "show", "p.json").out)
    assert table["cores"] == [f"999 (this host: {facts()['cores']})"]
    assert table["l2"][0].startswith("1 GiB (this host: ")
    assert "(this host:" not in " ".join(table["kernel"])


def test_show_wakeups(iosim: Command) -> None:
    table = rows(iosim("profile", "show", "native").out)
    # A row of three quantiles, 1500, 2000 and 4000 ns, at probabilities 1/6, 1/2 and 5/6.
    assert table["20 us"] == ["1.5 us", "2 us", "4 us", "1.7 us", "0 ns"]


# --- figures ---------------------------------------------------------------------------------

FIGURES = ["calls.png", "copies.png", "scans.png", "wakeups.png"]


def test_figures(iosim: Command) -> None:
    calibrated(Path("p.json"))
    said = iosim("profile", "show", "p.json", "--figures", "new/folder", "--json").json()
    assert said["samples"] == "p.samples.json.gz"
    assert sorted(said["figures"]) == [f"new/folder/{name}" for name in FIGURES]
    for name in said["figures"]:
        assert Path(name).read_bytes().startswith(b"\x89PNG")
    shown = iosim("profile", "show", "python", "--figures", "here").out
    assert [f"figure: here/{name}" in shown for name in FIGURES] == [True] * 4
    assert sorted(path.name for path in Path("here").iterdir()) == FIGURES


def test_figures_without_samples_say_so() -> None:
    drawn = figures(PYTHON, None)
    for name in ("scans", "copies"):
        (_, about) = (text.get_text() for text in drawn[name].texts)
        assert about.startswith(PYTHON.name)
        assert "no measurements are kept" in about
        # No solid line: everything is beyond what was measured.
        for axes in drawn[name].axes:
            for line in axes.lines:
                assert line.get_linestyle() != "-" or len(set(line.get_xdata())) < 2


def test_figures_of_costs_that_are_nothing() -> None:
    """A logarithmic axis has no place for 0."""
    none = Cost(value=0, source="measured", interval=(0, 1))
    costs = dict.fromkeys(("user_ns", "nanosleep_ns", "fd_miss_ns", "epoll_event_ns"), none)
    wakeup = [
        row.model_copy(update={"latency_ns": [0.0], "cpu_ns": 0, "cold_ns": 0})
        for row in PYTHON.wakeup
    ]
    profile = PYTHON.model_copy(update={"costs": PYTHON.costs | costs, "wakeup": wakeup})
    drawn = figures(profile, Samples([]))
    at_once = [wakeup[0].model_copy(update={"idle_ns": 0})]
    drawn |= {"free": figures(profile.model_copy(update={"wakeup": at_once}), None)["wakeups"]}
    for figure in drawn.values():
        figure.canvas.draw()
    assert [text.get_text() for text in drawn["calls"].axes[0].texts].count("0") == 3


def test_damaged_samples(iosim: Command) -> None:
    calibrated(Path("p.json"))
    samples = Path("p.samples.json.gz")
    samples.write_bytes(samples.read_bytes()[:-100])
    assert iosim("profile", "show", "p.json").code == 0
    refused(
        iosim("profile", "show", "p.json", "--figures", "here"),
        *("samples p.samples.json.gz are damaged", "calibrate again"),
    )
    samples.write_bytes(gzip.compress(b"[]"))
    refused(iosim("profile", "show", "p.json", "--figures", "here"), "are damaged")


# --- diff ------------------------------------------------------------------------------------


def test_diff(iosim: Command) -> None:
    costs = {
        "recv_ns": Cost(value=100, source="measured", interval=(90, 110)),
        "send_ns": Cost(value=100, source="measured", interval=(90, 110)),
        "poll_ns": Cost(value=0, source="measured"),
    }
    one = PYTHON.model_copy(update={"name": "one", "costs": PYTHON.costs | costs, "host": HOST})
    costs["recv_ns"] = Cost(value=150, source="measured", interval=(140, 160))
    costs["send_ns"] = Cost(value=80, source="measured", interval=(70, 90))
    costs["poll_ns"] = Cost(value=5, source="measured")
    host = HOST | {"cores": 4}
    other = PYTHON.model_copy(update={"name": "other", "costs": PYTHON.costs | costs, "host": host})
    one.save("one.json")
    other.save("other.json")
    said = iosim("profile", "diff", "one.json", "other.json", "--json").json()
    assert (said["a"]["name"], said["b"]["name"]) == ("one", "other")
    assert said["host"] == {"cores": [None, 4]}
    assert said["costs"].keys() == ABOUT.keys()
    assert said["costs"]["recv_ns"] == {
        **{"a": 100, "b": 150, "ratio": 1.5},
        **{"notable": True, "apart": True},
    }
    assert said["costs"]["send_ns"]["apart"] is False
    assert said["costs"]["poll_ns"]["ratio"] is None
    assert {row["p50_ns"]["ratio"] for row in said["wakeup"]} == {1}
    out = iosim("profile", "diff", "one.json", "other.json").out
    assert out.startswith("A: one (one.json)\nB: other (other.json)\n")
    table = rows(out)
    assert table["cores"] == ["not known", "4"]
    assert table["recv_ns"] == ["100 ns", "150 ns", "▲ 1.50", "apart"]
    assert table["send_ns"] == ["100 ns", "80 ns", "▼ 0.80", "overlap"]
    assert table["poll_ns"] == ["0 ns", "5 ns", "▲ -", ""]
    assert table["nanosleep_ns"][2:] == ["1.00", ""]


def test_diff_of_wakeups(iosim: Command) -> None:
    said = iosim("profile", "diff", "native", "python", "--json").json()["wakeup"]
    (at_1ms,) = (row for row in said if row["idle_ns"] == 1_000_000)
    assert at_1ms["p50_ns"]["b"] > 5 * at_1ms["p50_ns"]["a"]
    out = iosim("profile", "diff", "native", "python").out
    assert rows(out)["1 ms"][0] == "latency p10"


# --- which profile a run uses ----------------------------------------------------------------


def test_a_run_says_which_profile_it_uses(iosim: Command) -> None:
    def used(*options: str) -> str:
        (said,) = rows(iosim(*SMALL, *options).out)["cost profile"]
        return said

    assert used() == f"{PYTHON.name} (shipped)"
    OWN.save(cache.path())
    assert used() == f"{OWN.name} (measured here)"
    assert used("--profile", "native") == "native (shipped)"
    OWN.save("p.json")
    assert used("--profile", "p.json") == f"{OWN.name} (p.json)"


@pytest.mark.parametrize("command", ["simulate epoll --requests 10", "timeline epoll"])
def test_a_profile_of_another_host_gets_a_warning(command: str, iosim: Command) -> None:
    other = OWN.model_copy(update={"host": facts() | {"cores": 999}})
    other.save("p.json")
    result = iosim(*command.split(), "--profile", "p.json")
    assert result.code == 0
    said = "iosim: warning: the cost profile is of another host: see `iosim profile show p.json`\n"
    assert result.err == said
    shown = rows(iosim("profile", "show", "p.json").out)
    assert shown["cores"] == [f"999 (this host: {facts()['cores']})"]
    assert "what differs looks like errors" in " ".join(shown["warning"])
    OWN.save("p.json")
    assert iosim(*command.split(), "--profile", "p.json").err == ""


def test_python_knows_the_same_names(iosim: Command) -> None:
    """One lookup for both: this host's own, files, those shipped."""
    load = Workload(requests=10)
    with pytest.raises(
        IosimError, match="this host has no cost profile yet: run `iosim calibrate`"
    ):
        simulate("epoll", load, profile="host")
    OWN.save(cache.path())
    OWN.save("p.json")
    for name in ("host", "p.json"):
        provenance = simulate("epoll", load, profile=name).provenance
        assert provenance["profile"]["name"] == OWN.name
        assert iosim(*SMALL, "--profile", name, "--json").json()["profile"] == OWN.name
    with pytest.raises(IosimError, match=r"'hots' \(did you mean host\?\)"):
        simulate("epoll", load, profile="hots")
    with pytest.raises(IosimError, match=r"'hots' \(did you mean host\?\)"):
        compare(["epoll"], load, profile="hots")


# --- bad input -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", ["profile show {}", "profile diff native {}", "simulate epoll --profile {}"]
)
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nativ", ["'nativ' (did you mean native?)", "shipped are native, python"]),
        ("pyhton", ["'pyhton' (did you mean python?)"]),
        ("hots", ["'hots' (did you mean host?)"]),
        ("this-host.jsn", ["'this-host.jsn': shipped are", "ends in .json"]),
        ("host", ["this host has no cost profile yet", "`iosim calibrate`"]),
        ("none.json", ["cannot read cost profile none.json"]),
    ],
)
def test_bad_names(command: str, name: str, said: list[str], iosim: Command) -> None:
    refused(iosim(*command.format(name).split()), *said)


def without(data: dict[str, Any], *names: str) -> None:
    for name in names:
        del data["costs"][name]


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], list[str]]] = {
    "newer": (
        lambda data: data.update(schema_version=SCHEMA + 1),
        [f"has schema version {SCHEMA + 1}, this iosim reads {SCHEMA}"],
    ),
    "missing": (
        lambda data: without(data, "recv_ns", "uring_sqe_ns"),
        ["recv_ns (for every model)", "uring_sqe_ns (for io_uring and its variants)"],
    ),
    "impossible": (
        lambda data: data["costs"]["recv_ns"].update(value=-5),
        ["costs.recv_ns.value", "got -5"],
    ),
    "endless": (
        lambda data: data["costs"]["recv_ns"].update(value=1e300),
        ["costs.recv_ns.value", "got 1e+300"],
    ),
    "no-number": (
        lambda data: data["wakeup"][0].update(latency_ns=[1, float("inf")]),
        ["wakeup.0.latency_ns.1", "got inf"],
    ),
    "turned": (
        lambda data: data["costs"]["recv_ns"].update(interval=[2, 1]),
        ["costs.recv_ns.interval", "lower end"],
    ),
}


@pytest.mark.parametrize(
    "command",
    ["profile show p.json", "profile diff p.json native", "simulate epoll --profile p.json"],
)
@pytest.mark.parametrize("case", BAD)
def test_bad_profiles(case: str, command: str, iosim: Command) -> None:
    change, said = BAD[case]
    data = PYTHON.model_dump(mode="json")
    change(data)
    Path("p.json").write_text(json.dumps(data))
    refused(iosim(*command.split()), "cost profile p.json", "calibrate again", *said)


@pytest.mark.parametrize("command", ["profile show p.json", "simulate epoll --profile p.json"])
def test_half_a_file(command: str, iosim: Command) -> None:
    text = PYTHON.save("p.json").read_text()
    Path("p.json").write_text(text[: len(text) // 2])
    refused(iosim(*command.split()), "cost profile p.json is damaged", "calibrate again")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("profile shw", ["'shw'", "Did you mean 'show'?"]),
        ("profile diff native", ["B"]),
        ("profile show --figures taken/x", ["cannot make folder taken/x", "--figures"]),
    ],
)
def test_bad_lines(line: str, said: list[str], iosim: Command) -> None:
    Path("taken").write_text("")
    refused(iosim(*line.split()), *said)


@pytest.mark.parametrize(
    "command",
    [
        *("profile list", "profile show", "profile diff host host"),
        *("simulate epoll --requests 10", "timeline epoll"),
    ],
)
def test_names_are_text_whatever_brackets_they_have(command: str, iosim: Command) -> None:
    OWN.model_copy(update={"name": "odd [/b] name :smile:"}).save(cache.path())
    result = iosim(*command.split())
    assert result.code == 0, result.err
    assert "odd [/b] name :smile:" in result.out or command.startswith("timeline")


# --- what a profile tells of its host ----------------------------------------------------------


def test_what_speaks_against_a_profile_is_said_wherever_it_is_used(iosim: Command) -> None:
    doubtful = OWN.model_copy(update={"warnings": ["other programs had 40%; calibrate again"]})
    doubtful.save("p.json")
    told = "iosim: warning: the cost profile has 1 warning: see `iosim profile show {}`\n"
    assert iosim(*SMALL, "--profile", "p.json").err == told.format("p.json")
    assert len(told) < 100
    doubtful.save(cache.path())
    assert iosim(*SMALL).err == told.format("host")
    shown = iosim("profile", "show", "p.json")
    assert rows(shown.out)["warning"] == ["other programs had 40%; calibrate again"]
    assert iosim("profile", "show", "p.json", "--json").json()["warnings"] == doubtful.warnings


def test_interference_is_simulated_when_asked_for(iosim: Command) -> None:
    often = Interference(per_s=50_000, duration_ns=[10_000])
    OWN.model_copy(update={"interference": often}).save("p.json")
    command = (*SMALL, "--profile", "p.json", "--json")
    alone, disturbed = (iosim(*command, *more).json() for more in ((), ("--interference",)))
    assert disturbed["latency_ns"]["p99"] > alone["latency_ns"]["p99"]
    shown = rows(iosim("profile", "show", "p.json").out)["core taken away"]
    assert shown == ["50000 times a second, for 10 us, up to 10 us"]
    ask = iosim(*SMALL, "--profile", "native", "--interference")
    refused(ask, "cost profile 'native' knows of none")
