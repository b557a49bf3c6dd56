"""The store: what it refuses, and the tables that come out of it."""

from __future__ import annotations

import csv
import json
import math
import os
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import misbehaving
import pandas as pd
import pytest

import iosim
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.provenance import iosim_version
from iosim.seeds import replication_seed
from iosim.sweep import Counts, Design, Store, drive, export, frame
from iosim.sweep.engines import Engine, Serial
from iosim.sweep.outcomes import OUTCOMES, outcome
from iosim.sweep.points import Finished
from iosim.sweep.store import _checksum

HERE = iosim_version()
PYTHON = {"python": CostProfile.shipped("python")}
DESIGN = Design.of(
    {
        "sweep": {
            "replications": 2,
            "axes": {
                "model": ["epoll", "blocking-pool"],
                "param.threads": {"values": [3, 30], "when": {"model": "blocking-pool"}},
                "workload.active": [1, "50%"],
                "oversubscribe": [False, True],
            },
        },
        "workload": {"requests": 60, "connections": 4},
    }
)
SERIAL = Engine(Serial(), 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sweep"


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    path = tmp_path_factory.mktemp("full") / "s.sweep"
    with Store.create(path, DESIGN, PYTHON) as store:
        drive(store, SERIAL)
        yield store


def change(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(statement)
    database.close()


# --- opening ---------------------------------------------------------------------------------


def test_it_goes_on_with_the_same_design_and_with_no_other(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[3]]))
    again = Design.of(json.loads(DESIGN.text()))
    with Store.create(path, again, PYTHON) as store:
        assert store.counts() == Counts(24, 1, 0)
    other = Design.of({"sweep": {"axes": {"workload.burst": [1]}}, "model": "epoll"})
    with (
        pytest.raises(IosimError, match=r"holds another sweep: choose another --store"),
        Store.create(path, other, PYTHON),
    ):
        pass


def test_it_needs_neither_file_nor_profile_to_be_resumed(path: Path) -> None:
    slow = CostProfile.shipped("native").scaled(recv_ns=3)
    table = {"sweep": {"axes": {"workload.burst": [1, 2]}}, "model": "epoll", "profile": "mine"}
    with Store.create(path, Design.of(table), {"mine": slow}) as store:
        keys = [store.common.key(point) for point in store.design]
    with Store.resume(path) as store:
        assert store.design == Design.of(table)
        assert store.common.profiles == {"mine": slow}
        assert [store.common.key(point) for point in store.design] == keys


def test_one_of_another_version_can_be_read_but_not_filled(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON):
        pass
    checksum = _checksum("version", "0.0.1")
    change(
        path, f"UPDATE about SET value = '0.0.1', checksum = '{checksum}' WHERE value = '{HERE}'"
    )
    for opened in (Store.resume(path), Store.create(path, DESIGN, PYTHON)):
        with pytest.raises(IosimError, match=r"made with iosim 0\.0\.1 and this is"), opened:
            pass
    with Store.read(path) as store:
        assert store.version == "0.0.1"
    change(path, "PRAGMA user_version = 99")
    for opened in (Store.resume(path), Store.read(path)):
        with pytest.raises(IosimError, match="has store format 99 and this iosim reads 2"), opened:
            pass


def test_no_other_file_is_taken_for_a_store_or_changed(path: Path) -> None:
    path.write_text("anything else\n" * 100)
    other = path.with_name("other.db")
    change(other, "CREATE TABLE mine(a)")
    for file in (path, other):
        before = file.read_bytes()
        opens = Store.resume(file), Store.read(file), Store.create(file, DESIGN, PYTHON)
        for opened in opens:
            with pytest.raises(IosimError, match="is not the store of a sweep"), opened:
                pass
        assert file.read_bytes() == before
    for opened in (Store.resume(path.parent), Store.read(path.with_name("none"))):
        with pytest.raises(IosimError, match="there is no store"), opened:
            pass


def test_an_empty_file_holds_no_sweep_yet(path: Path) -> None:
    """As a driver leaves it that is killed before it has written anything."""
    path.touch()
    for opened in (Store.resume(path), Store.read(path)):
        with pytest.raises(IosimError, match=r"holds no sweep yet: begin by .*FILE"), opened:
            pass
    with Store.create(path, DESIGN, PYTHON) as store:
        assert store.counts().finished == 0


def test_it_is_read_while_it_is_filled(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        for number in (5, 2):
            store.add(misbehaving.counting(b"", [DESIGN[number]]))
            with Store.read(path) as reader:
                assert number in reader.numbers(0, 24)
        with Store.read(path) as reader:
            assert [row.number for row in reader.rows()] == [2, 5]
            with pytest.raises(IosimError, match="readonly"):
                reader.forget_failures()


def test_a_point_is_committed_once(path: Path) -> None:
    """The key is unique, and of what is added together all or nothing is committed."""
    with Store.create(path, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[1]]))
        with pytest.raises(sqlite3.IntegrityError):
            store.add(misbehaving.counting(b"", [DESIGN[0], DESIGN[1]]))
        assert store.numbers(0, 24) == {1}


def test_a_full_database_is_told_and_keeps_what_it_has(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[0]]))
        (pages,) = store._database.execute("PRAGMA page_count").fetchone()
        store._database.execute(f"PRAGMA max_page_count = {pages}")
        huge = [Finished(point.number, "x" * 100_000, None, 0.0) for point in list(DESIGN)[1:]]
        with pytest.raises(IosimError, match=r"disk is full; what was finished is kept: make room"):
            store.add(huge)
        assert store.numbers(0, 24) == {0}


CHANGES = {
    "UPDATE points SET outcome = replace(outcome, '3', '4') WHERE number = 3": "point 3 has",
    "UPDATE points SET outcome = NULL, error = 'no' WHERE number = 3": "point 3 has",
    "UPDATE points SET error = 'it went well' WHERE number = 5": "point 5 has changed",
    "UPDATE points SET number = 7 WHERE number = 3": "point 7 has changed",
    "UPDATE points SET took_s = 0 WHERE number = 3": "point 3 has changed",
    "UPDATE points SET key = 'k' WHERE number = 3": "point 3 has changed",
    "UPDATE points SET checksum = 'c' WHERE number = 3": "point 3 has changed",
    "UPDATE repeats SET number = 7": "point 7 has changed",
    "UPDATE repeats SET key = 'k'": "point 4 has changed",
    "DELETE FROM points WHERE number = 3": "rows are missing",
    "DELETE FROM points": "rows are missing",
    "DELETE FROM repeats": "rows are missing",
    "UPDATE about SET value = '0' WHERE name = 'tally'": "what it tells of the sweep has changed",
    "DELETE FROM about WHERE name = 'tally'": "what it tells of the sweep has changed",
    "UPDATE about SET value = replace(value, '60', '90')": "what it tells of the sweep has changed",
    "UPDATE about SET name = 'desing' WHERE name = 'design'": "what it tells of the sweep has",
    "ALTER TABLE points RENAME COLUMN outcome TO income": "no such column",
    "DROP TABLE repeats": "no such table",
}


@pytest.mark.parametrize("statement", CHANGES)
def test_whatever_is_changed_is_noticed(statement: str, path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[3], DESIGN[9]]))
        store.add([Finished(5, None, "it failed", 0.0)])
        store.repeat(4, store.common.key(DESIGN[9]))
        assert [row.number for row in store.rows()] == [3, 4, 5, 9]
    change(path, statement)
    for opens in (Store.read, Store.resume):
        with pytest.raises(IosimError, match=f"is damaged: .*{CHANGES[statement]}.*; go on with"):
            read(opens(path))


def read(opened: AbstractContextManager[Store]) -> None:
    with opened as store:
        frame(store)


def test_the_tally_follows_what_is_added_and_forgotten(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[0]]))
        store.add([Finished(2, None, "it failed", 0.0)])
        for _ in range(2):  # noted once
            store.repeat(1, store.common.key(DESIGN[2]))
        assert [row.number for row in store.rows()] == [0, 1, 2]
        assert store.counts() == Counts(24, 3, 2)
        assert store.forget_failures() == 1
        assert [row.number for row in store.rows()] == [0]
        store.add([Finished(2, None, "again", 0.0)])
        assert [(row.number, row.error) for row in store.rows()] == [
            (0, None),
            (1, "again"),
            (2, "again"),
        ]
    with Store.resume(path) as store:
        assert len(list(store.rows())) == 3


def test_a_store_behind_a_link_is_read_with_its_log(path: Path) -> None:
    """Its driver lives: what it has committed is in the log beside the file."""
    link = path.with_name("link")
    link.symlink_to(path.name)
    with Store.create(link, DESIGN, PYTHON) as store:
        store.add(misbehaving.counting(b"", [DESIGN[1]]))
        with Store.read(link) as reader:
            assert reader.counts().finished == 1
    assert link.is_symlink()
    assert {file.name for file in path.parent.iterdir()} == {"link", path.name}


def test_what_is_no_file_is_no_store(path: Path) -> None:
    os.mkfifo(path)
    for opened in (Store.create(path, DESIGN, PYTHON), Store.resume(path), Store.read(path)):
        with pytest.raises(IosimError, match=r"it is no file|there is no store"), opened:
            pass


def test_a_table_does_not_replace_its_store(path: Path) -> None:
    path = path.with_suffix(".csv")
    with Store.create(path, DESIGN, PYTHON) as store:
        path.with_name("link.csv").symlink_to(path)
        for name in ("s.csv", "link.csv"):
            with pytest.raises(IosimError, match="is the store itself"):
                export(store, path.with_name(name))


# --- tables ----------------------------------------------------------------------------------


def test_outcomes_are_the_figures_of_a_run() -> None:
    """All but those that repeat what was asked for, and the wall time."""
    run = iosim.simulate("epoll", iosim.Workload(requests=50))
    found, summary = outcome(run), run.summary()
    assert list(found) == list(OUTCOMES)
    assert {name: type(value) for name, value in found.items()} == OUTCOMES
    left_out = summary.keys() - {name.partition(".")[0] for name in found}
    about = {"model", "kernel", "seed", "requests", "wall_s", "cores"}
    assert left_out == about | {"warnings", "load_generator"}
    assert found["latency_ns.p99"] == summary["latency_ns"]["p99"]
    assert found["memory_bytes.total"] == summary["memory_bytes"]["total"]


def test_rows_are_in_the_order_of_the_design_whatever_the_order_of_arrival(
    full: Store, path: Path
) -> None:
    finished = [
        Finished(row.number, json.dumps(row.outcome) if row.outcome else None, row.error, 9.0)
        for row in full.rows()
    ]
    with Store.create(path, DESIGN, PYTHON) as store:
        for one in reversed(finished):
            store.add([one])
        for name in ("t.csv", "t.parquet"):
            if name.endswith("parquet"):
                pytest.importorskip("pyarrow")
            export(full, path.with_name(f"a{name}"))
            export(store, path.with_name(f"b{name}"))
            one, other = (path.with_name(f"{which}{name}").read_bytes() for which in "ab")
            assert one == other


def test_csv_and_parquet_and_frame_tell_the_same(full: Store, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert export(full, tmp_path / "t.csv") == export(full, tmp_path / "t.parquet") == 24
    table = frame(full)
    parquet = pd.read_parquet(tmp_path / "t.parquet")
    with open(tmp_path / "t.csv", newline="") as file:
        header, *lines = csv.reader(file)
    assert list(table) == list(parquet) == header
    for name, texts in zip(header, zip(*lines, strict=True), strict=True):
        for a, b, text in zip(table[name], parquet[name], texts, strict=True):
            assert same(a, b), name
            assert text == ("" if pd.isna(a) else str(a)), name
    assert list(table["point"]) == [number // 2 for number in range(24)]
    assert list(table["seed"]) == [1, replication_seed(1, 1)] * 12
    assert table["param.threads"].isna().sum() == 8
    assert set(table["workload.active"]) == {1.0, 0.5}


def same(one: Any, other: Any) -> bool:
    return (pd.isna(one) and pd.isna(other)) or bool(one == other)


def test_the_table_of_a_part(path: Path) -> None:
    with Store.create(path, DESIGN, PYTHON) as store:
        assert len(frame(store)) == export(store, path.with_suffix(".csv")) == 0
        store.add([Finished(7, None, "it failed", 0.0)])
        table = frame(store)
    assert list(table["error"]) == ["it failed"]
    assert math.isnan(table.loc[0, "throughput_per_s"])


def test_other_endings_are_refused(full: Store, tmp_path: Path) -> None:
    with pytest.raises(IosimError, match=r"let its name end in \.csv or \.parquet"):
        export(full, tmp_path / "table.xlsx")
    assert not list(tmp_path.iterdir())
