"""`iosim sweep` and `iosim export` from end to end."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd
import pytest
from commands import Command, refused

from iosim.costs import CostProfile
from iosim.seeds import replication_seed
from iosim.sweep import Design, Store
from iosim.sweep.points import Finished

DESIGN = """
model = "epoll"
[sweep]
replications = 2
[sweep.axes]
"workload.connections" = [5, 10]
"workload.rate" = ["1k/s", "5k/s"]
[workload]
requests = 50
"""


@pytest.fixture
def design(tmp_path: Path) -> str:
    (tmp_path / "d.toml").write_text(DESIGN)
    return "d.toml"


def test_from_a_file_to_a_table(iosim: Command, design: str) -> None:
    said = iosim("sweep", design, "--workers", "2")
    assert said.code == 0
    assert said.out.splitlines()[0] == "8 of 8 points are finished, 0 failed"
    assert "iosim export d.sweep --out table.csv" in said.out
    assert iosim("export", "d.sweep", "--out", "t.csv").out == "table: t.csv (8 of 8 points)\n"
    table = pd.read_csv("t.csv")
    assert list(table["workload.connections"]) == [5] * 4 + [10] * 4
    assert list(table["workload.rate_per_s"]) == [1_000, 1_000, 5_000, 5_000] * 2
    one = iosim(
        *("simulate", "epoll", "--connections", "10", "--rate", "1k/s", "--requests", "50"),
        *("--seed", str(table.loc[5, "seed"]), "--profile", "python", "--json"),
    ).json()
    assert table.loc[5, "latency_ns.p99"] == pytest.approx(one["latency_ns"]["p99"], rel=1e-12)
    assert table.loc[5, "cpu_ns_per_request"] == one["cpu_ns_per_request"]


def test_json(iosim: Command, design: str) -> None:
    counts = {"points": 8, "finished": 8, "failed": 0}
    found = iosim("sweep", design, "--store", "s", "--serial", "--json").json()
    assert found == counts | {"store": "s"}
    status = iosim("sweep", "--status", "s", "--json").json()
    assert counts.items() <= status.items()
    assert status["failures"] == []
    table = iosim("export", "s", "--out", "t.csv", "--json").json()
    assert table == {"table": "t.csv", "rows": 8, "points": 8}


def test_a_sweep_is_resumed_without_its_file(iosim: Command, design: str) -> None:
    iosim("sweep", design, "--serial", "--store", "whole")
    iosim("export", "whole", "--out", "whole.csv")
    loaded = Design.load(design)
    with (
        Store.read("whole") as whole,
        Store.create("part", loaded, whole.common.profiles) as part,
    ):
        rows = [row for row in whole.rows() if row.number in (1, 6)]
        part.add(Finished(row.number, json.dumps(row.outcome), row.error, 0.1) for row in rows)
    Path(design).unlink()
    status = iosim("sweep", "--status", "part")
    assert "2 (25.0%)" in status.out
    assert iosim("export", "part", "--out", "part.csv").out.endswith("(2 of 8 points)\n")
    assert iosim("sweep", "--resume", "part", "--serial").code == 0
    iosim("export", "part", "--out", "part.csv")
    assert Path("part.csv").read_bytes() == Path("whole.csv").read_bytes()


@pytest.mark.parametrize("library", ["distributed", "ray"])
def test_a_cluster_whose_library_is_missing(
    iosim: Command, design: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left behind that a look at the folder would take for a sweep."""
    monkeypatch.setitem(sys.modules, library, None)
    option = {"distributed": "--dask", "ray": "--ray"}[library]
    refused(iosim("sweep", design, option, "127.0.0.1:1"), f"{option} needs", "pip install")
    assert [path.name for path in Path().iterdir()] == [design]


def test_failures_are_named_and_can_be_run_again(iosim: Command) -> None:
    Path("d.toml").write_text(
        DESIGN.replace("[workload]", '[machine]\nmemory_bytes = "135KiB"\n[workload]')
    )
    said = iosim("sweep", "d.toml", "--serial")
    assert said.code == 4
    assert said.out.splitlines()[0] == "8 of 8 points are finished, 4 failed"
    assert said.err.startswith("iosim: 4 points failed: see `iosim sweep --status d.sweep`")
    status = iosim("sweep", "--status", "d.sweep").out
    assert 'point 4 {"workload.connections": 10, "workload.rate_per_s": 1000.0}, seed 1: ' in status
    assert "memory" in status
    found = iosim("sweep", "--status", "d.sweep", "--json").json()
    assert [failure["point"] for failure in found["failures"]] == [4, 5, 6, 7]
    again = replication_seed(1, 1)
    assert [failure["seed"] for failure in found["failures"]] == [1, again, 1, again]
    with Store.resume("d.sweep") as store:
        (before,) = store._database.execute("SELECT max(finished_s) FROM points").fetchone()
    assert iosim("sweep", "--resume", "d.sweep", "--serial").code == 4
    with Store.resume("d.sweep") as store:
        (after,) = store._database.execute("SELECT max(finished_s) FROM points").fetchone()
    assert after == before
    assert iosim("sweep", "--resume", "d.sweep", "--serial", "--retry-failed").code == 4
    with Store.resume("d.sweep") as store:
        (after,) = store._database.execute("SELECT max(finished_s) FROM points").fetchone()
    assert after > before


def test_mistakes(iosim: Command, design: str) -> None:
    refused(iosim("sweep"), "give one of them")
    refused(iosim("sweep", design, "--resume", "s"), "give one of them")
    refused(iosim("sweep", "none.toml"), "cannot read none.toml")
    refused(iosim("sweep", "--resume", "none"), "there is no store none", "iosim sweep FILE")
    refused(iosim("sweep", "--status", "none"), "there is no store none")
    refused(iosim("sweep", "--resume", "s", "--store", "t"), "--store belongs to a FILE")
    refused(iosim("sweep", design, "--serial", "--workers", "2"), "choose one")
    refused(iosim("sweep", design, "--store", "no/where"), "choose a place you may write to")
    refused(iosim("export", "none", "--out", "t.csv"), "there is no store none")
    Path("d.toml").write_text(DESIGN.replace("connections", "conections"))
    refused(iosim("sweep", design), "d.toml: there is no field", "did you mean workload.connection")
    Path("d.toml").write_text("[sweep\n")
    refused(iosim("sweep", design), "d.toml is no TOML file")
    assert not list(Path().glob("*.sweep*"))
    iosim("sweep", "--status", "s")
    Path("d.toml").write_text(DESIGN)
    iosim("sweep", design, "--serial")
    Path("d.toml").write_text(DESIGN.replace("5k", "6k"))
    refused(iosim("sweep", design), "d.sweep holds another sweep")
    refused(iosim("export", "d.sweep", "--out", "t.doc"), "let its name end in .csv or .parquet")


def test_a_table_that_cannot_be_written_leaves_the_old_one(iosim: Command, design: str) -> None:
    iosim("sweep", design, "--serial")
    Path("t.csv").mkdir()
    refused(iosim("export", "d.sweep", "--out", "t.csv"), "cannot write t.csv")
    assert not list(Path().glob(".*"))


def test_the_profile_is_kept(iosim: Command, design: str) -> None:
    """A file may change or go once the sweep has begun."""
    CostProfile.shipped("native").save("mine.json")
    Path(design).write_text('profile = "mine.json"\n' + DESIGN)
    said = iosim("sweep", design, "--serial")
    assert said.code == 0, said.err
    Path("mine.json").unlink()
    assert iosim("sweep", "--resume", "d.sweep", "--serial").code == 0


# --- figures ---------------------------------------------------------------------------------


def test_plots_of_a_sweep(iosim: Command, design: str) -> None:
    iosim("sweep", design, "--serial")
    assert iosim("plot", "d.sweep", "--x", "connections", "--y", "latency.p99").code == 0
    assert Path("d.png").stat().st_size > 1_000
    axes = ("--x", "connections", "--by", "rate", "--y", "latency.p99")
    assert iosim("plot", "d.sweep", "--kind", "heat", *axes, "--out", "h.svg", "--json").json() == {
        "figure": "h.svg"
    }
    one = ("--where", "rate=5k/s")
    assert iosim("plot", "d.sweep", "--x", "connections", "--y", "throughput", *one).code == 0


def test_mistakes_with_plots(iosim: Command, design: str) -> None:
    Path(design).write_text(DESIGN + "[scale]\nrecv_ns = 2\n")
    Path("more.toml").write_text(
        DESIGN.replace("[workload]", '"workload.burst" = [1, 2]\n[workload]')
    )
    iosim("sweep", design, "--serial")
    iosim("sweep", "more.toml", "--serial")
    base = ("plot", "d.sweep", "--x", "connections", "--y")
    refused(iosim(*base, "latency.p98"), "there is no figure")
    refused(iosim("plot", "d.sweep", "--x", "conn", "--y", "latency.p99"), "does not vary")
    refused(iosim(*base, "latency.p99", "--kind", "heat"), "needs --by")
    refused(iosim(*base, "latency.p99", "--by", "rate"), "--by is for maps")
    refused(
        iosim(*base, "latency.p99", "--kind", "break-even", "--by", "rate"),
        "needs --hue, the field whose values compete",
    )
    refused(iosim(*base, "latency.p99", "--where", "rate"), "write it as FIELD=VALUE")
    twice = "workload.connections is drawn twice, by"
    for how in ("--kind heat --by connections", "--hue connections", "--panel connections"):
        refused(iosim(*base, "latency.p99", *how.split()), twice, "--x", how.split()[-2])
    how = "--kind break-even --by rate --hue rate"
    refused(iosim(*base, "latency.p99", *how.split()), "drawn twice, by --by and --hue")
    refused(
        iosim("plot", "more.sweep", "--x", "connections", "--y", "latency.p99"),
        "workload.rate_per_s, workload.burst vary too: choose one value by --where",
    )
    refused(iosim("sensitivity", "d.sweep", "--y", "latency.p99"), "need design = 'sensitivity'")


def test_break_even_and_sensitivity(iosim: Command) -> None:
    Path("d.toml").write_text(
        DESIGN.replace('model = "epoll"\n', "").replace(
            "[workload]", 'model = ["epoll", "poll"]\n[workload]'
        )
    )
    iosim("sweep", "d.toml", "--serial")
    axes = ("--x", "connections", "--by", "rate", "--y", "cpu_ns_per_request")
    assert iosim("plot", "d.sweep", "--kind", "break-even", *axes).code == 0
    Path("s.toml").write_text(
        'model = "epoll"\n[sweep]\ndesign = "sensitivity"\nsamples = 8\n[sweep.axes]\n'
        '"scale.recv_ns" = { from = 0.5, to = 2 }\n"scale.poll_ns" = { from = 0.5, to = 2 }\n'
        "[workload]\nrequests = 50\n"
    )
    assert iosim("sweep", "s.toml", "--serial").code == 0
    found = iosim("sensitivity", "s.sweep", "--y", "cpu_ns_per_request", "--json").json()
    recv, poll = found["indices"]
    assert recv["field"] == "scale.recv_ns"
    assert poll["total"] == 0  # epoll does not call poll
    assert recv["total"] > 0
    assert "scale.poll_ns" in iosim("sensitivity", "s.sweep", "--y", "cpu_ns_per_request").out
