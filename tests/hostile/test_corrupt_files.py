"""Whatever happens to a file, reading it gives what is right or one IosimError that names it.

Files are damaged at random, with a seed: bytes are flipped, cut off, doubled, zeroed or mixed, and
values of text and of tables are edited. Right is what was saved, where a checksum tells that; of
files that people write, whatever is sound. By hand, many more of them:

    python tests/hostile/test_corrupt_files.py runs=1500 stores=250 profiles=1400
"""

from __future__ import annotations

import gzip
import io
import json
import random
import sqlite3
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from iosim import latencies
from iosim.calibrate import difference
from iosim.calibrate.bench import Row
from iosim.calibrate.calibration import Steps
from iosim.calibrate.samples import Samples
from iosim.cli.profile_tables import print_profile
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.results import PULSE, RECORD, CoreTimes, Run, TaskTimes
from iosim.sweep import Design, Store, export
from iosim.sweep.points import Finished

TIMES = 500
"""How many files of each kind are damaged here."""

# --- damage ----------------------------------------------------------------------------------


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """A file after one mishap of many kinds."""
    at, size = chance.randrange(len(whole)), chance.randrange(1, 33)
    match chance.randrange(8):
        case 0:
            return whole[:at]
        case 1:
            return whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :]
        case 2:
            return whole[:at] + chance.randbytes(size) + whole[at + size :]
        case 3:
            return whole[:at] + whole[at + size :]
        case 4:
            return whole[:at] + whole[at : at + size] + whole[at:]
        case 5:
            return whole[:at] + bytes(size) + whole[at + size :]
        case 6:
            return whole + chance.randbytes(size)
        case _:
            to = chance.randrange(len(whole))
            return whole[:at] + whole[to : to + 512] + whole[at + 512 :]


ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 0.5, -0.0, 1e300, 10**30, 10**400, float("nan"), float("inf")),
    *("", "x", "12", "20us", "\ud800", "\0", "x" * 1_000, [], [1], [[]], {}, {"x": 1}, [None]),
]


def edited(data: Any, chance: random.Random) -> Any:
    """JSON data with one value somewhere in it taken out or made into something odd."""
    place = data
    while True:
        keys = list(place) if isinstance(place, dict) else range(len(place))
        if not keys:
            return data
        key = chance.choice(keys)
        if isinstance(place[key], dict | list) and place[key] and chance.random() < 0.9:
            place = place[key]
            continue
        if isinstance(place, dict) and chance.random() < 0.2:
            place[str(chance.choice(ODD))[:20]] = place.pop(key)
        elif chance.random() < 0.2:
            del place[key]
        else:
            place[key] = chance.choice(ODD)
        return data


def changed_text(whole: bytes, chance: random.Random) -> bytes:
    """JSON, edited as data or nested deeply, or damaged as bytes."""
    match chance.randrange(4):
        case 0:
            return damaged(whole, chance)
        case 1 if chance.random() < 0.1:
            deep = chance.choice((900, 5_000, 100_000))
            return whole.replace(b"null", b"[" * deep + b"]" * deep, 1)
    return json.dumps(edited(json.loads(whole), chance)).encode()


def tried(times: int, file: Path, attempt: Callable[[random.Random], object]) -> Counter[str]:
    """How many attempts with a file were fine, and how many were refused with its name; whatever
    else comes of one is raised."""
    found: Counter[str] = Counter()
    for number in range(times):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                attempt(random.Random(f"{file.name} {number}"))
        except IosimError as refusal:
            found["refused" if str(file) in str(refusal) else "WRONG: does not name the file"] += 1
        except Exception as failure:
            if not COUNTED:
                raise AssertionError(f"attempt {number}: {failure!r}") from failure
            found[f"WRONG: {type(failure).__name__} {str(failure)[:30]}"] += 1
        else:
            found["fine"] += 1
    return found


COUNTED = False
"""Whether whatever goes wrong is counted, not raised."""


# --- runs ------------------------------------------------------------------------------------


@cache
def run() -> Run:
    """A small run with everything in it."""
    chance = np.random.default_rng(1)
    records, pulses = np.zeros(40, RECORD), np.zeros(5, PULSE)
    for array in (records, pulses):
        for name in array.dtype.names or ():
            array[name] = chance.integers(1, 10**9, len(array))
    return Run(
        model="epoll",
        kernel="simulated",
        seed=1,
        records=records,
        tasks=(TaskTimes("program", 1_000, 200, 2_200), TaskTimes("helper", 360, 0, 0, True)),
        syscalls={"recv": 5, "send": 4},
        empty_polls=1,
        context_switches=3,
        wakeups=2,
        drops=0,
        wait_for_data_ns=2_000,
        copy_data_ns=40,
        elapsed_ns=10**9,
        cores=2,
        wall_s=0.5,
        events=10,
        core_times=(CoreTimes(1, 2, 3, 4, 5, 6),),
        memory_bytes={"threads": 5, "total": 5},
        pulses=pulses,
        provenance={"versions": {"iosim": "0"}, "host": {"cpu": "x"}},
    )


def same_run(one: Run, other: Run) -> bool:
    arrays = ("records", "pulses")
    return all(np.array_equal(vars(one)[name], vars(other)[name]) for name in arrays) and all(
        value == vars(other)[name] for name, value in vars(one).items() if name not in arrays
    )


def repacked(whole: Path, chance: random.Random) -> bytes:
    """The run's file as another program writes it that has changed a value."""
    with np.load(whole) as archive:
        arrays = dict(archive)
    about = edited(json.loads(str(arrays["about"])), chance)
    if chance.random() < 0.3:
        arrays["records"]["done_ns"][chance.randrange(40)] += 1
    else:
        arrays["about"] = np.array(json.dumps(about))
    np.savez(whole.with_name("again.npz"), **arrays)
    return whole.with_name("again.npz").read_bytes()


def runs(folder: Path, times: int = TIMES) -> Counter[str]:
    whole = run().save(folder / "whole.npz")
    file = folder / "run.npz"
    content = whole.read_bytes()

    def attempt(chance: random.Random) -> None:
        again = repacked(whole, chance) if chance.random() < 0.2 else damaged(content, chance)
        file.write_bytes(again)
        found = Run.load(file)
        assert same_run(found, run()), "another run"

    return tried(times, file, attempt)


# --- stores ----------------------------------------------------------------------------------

DESIGN = Design.of(
    {
        "sweep": {
            "replications": 3,
            "axes": {"model": ["epoll", "select"], "workload.connections": [5, 10, 20]},
        },
        "workload": {"requests": 60},
    }
)


def full_store(path: Path) -> bytes:
    """A store with points that are finished, that failed, and that repeat others; its table."""
    with Store.create(path, DESIGN, {"python": CostProfile.shipped("python")}) as store:
        for number in range(0, 16, 2):
            outcome = json.dumps({"latency_ns.p50": 100.5 + number, "empty_polls": number})
            store.add([Finished(number, outcome, None, 0.25)])
        store.add([Finished(5, None, "it failed", 0.5)])
        store.repeat(7, store.common.key(DESIGN[4]))
        export(store, path.with_suffix(".csv"))
    return path.with_suffix(".csv").read_bytes()


def stores(folder: Path, times: int = TIMES) -> Counter[str]:
    table = full_store(folder / "whole.sweep")
    whole = (folder / "whole.sweep").read_bytes()
    file = folder / "s.sweep"

    def attempt(chance: random.Random) -> None:
        for left in folder.glob("s.sweep*"):
            left.unlink()
        if chance.random() < 0.25:
            file.write_bytes(whole)
            with closing(sqlite3.connect(file)) as database:
                edit(database, chance)
        else:
            file.write_bytes(damaged(whole, chance))
        if chance.random() < 0.25:
            with Store.resume(file) as store:
                export(store, folder / "t.csv")
        else:
            with Store.read(file) as store:
                store.counts(), store.pace(60), store.failures(9)
                export(store, folder / "t.csv")
        assert (folder / "t.csv").read_bytes() == table, "another table"

    return tried(times, file, attempt)


def edit(database: sqlite3.Connection, chance: random.Random) -> None:
    """Change a value of a row, or take the row out."""
    name, columns = chance.choice(
        [
            ("points", ["key", "number", "values", "outcome", "error", "took_s", "finished_s"]),
            ("repeats", ["number", "key"]),
            ("about", ["name", "value"]),
        ]
    )
    rows = [row for (row,) in database.execute(f"SELECT rowid FROM {name}")]
    value = chance.choice([0, 1, 17, -3.5, "x", "{}", "[]", "null", b"\xff", '{"empty_polls": 1}'])
    with database, suppress(sqlite3.IntegrityError):  # a text for the number of a row
        database.execute("PRAGMA ignore_check_constraints = 1")
        if chance.random() < 0.1:
            database.execute(f"DELETE FROM {name} WHERE rowid = ?", (chance.choice(rows),))
        else:
            database.execute(
                f'UPDATE OR IGNORE {name} SET "{chance.choice(columns)}" = ? WHERE rowid = ?',
                (value, chance.choice(rows)),
            )


# --- profiles --------------------------------------------------------------------------------


def profiles(folder: Path, times: int = TIMES) -> Counter[str]:
    """What is sound can be used and shown, and is what the file says."""
    python = CostProfile.shipped("python")
    whole = json.dumps(python.model_dump()).encode()
    file = folder / "profile.json"

    def attempt(chance: random.Random) -> None:
        file.write_bytes(changed_text(whole, chance))
        found = CostProfile.load(file)
        again = CostProfile.load(found.save(folder / "again.json"))
        assert again == found
        found.prices()
        found.machine()
        found.caches.steps(10**6)
        difference.hosts(python, found)
        if chance.random() < 0.05:
            with redirect_stdout(io.StringIO()):
                print_profile(found)

    return tried(times, file, attempt)


# --- latencies -------------------------------------------------------------------------------

SPECTRUM = b"""\
  Detailed Percentile spectrum:
       Value   Percentile   TotalCount 1/(1-Percentile)

       1.000     0.000000            1         1.00
       2.000     0.500000          500         2.00
       3.000     0.750000          750         4.00
       5.000     1.000000         1000          inf
#[Mean    =        2.300, StdDeviation   =        0.900]
#[Max     =        4.996, Total count    =         1000]
#[Buckets =           27, SubBuckets     =         2048]
"""
TABLE = b"when,latency_us,status\n0.1,20,ok\n0.2,1.5,late\n" * 1 + b"0.3,7,ok\n" * 9

NUMBERS = [
    *(b"nan", b"inf", b"-1", b"0", b"1e400", b"1e308", b"9" * 5_000, b"1_0", b"", b'"', b"\0"),
    *("\u0663".encode(), b"\xff", b"1e18", b"x" * 200_000, b"\r", b",", b"\n\n", b"0x10"),
]


def latency_files(folder: Path, times: int = TIMES) -> Counter[str]:
    """What is read are latencies: finite, in nanoseconds."""
    file = folder / "latencies.txt"

    def attempt(chance: random.Random) -> None:
        whole = chance.choice([SPECTRUM, TABLE])
        if chance.random() < 0.5:
            words = whole.split(b" ")
            words[chance.randrange(len(words))] = chance.choice(NUMBERS)
            fields = b" ".join(words).split(b",")
            if chance.random() < 0.5:
                fields[chance.randrange(len(fields))] = chance.choice(NUMBERS)
            file.write_bytes(b",".join(fields))
        else:
            file.write_bytes(damaged(whole, chance))
        found = latencies.read(file)
        assert found.dtype == np.float64
        assert len(found)
        assert (found >= 0).all()
        assert np.isfinite(found).all()

    return tried(times, file, attempt)


# --- samples ---------------------------------------------------------------------------------

KEY = {"host": {"cpu": "x"}, "plan": {"passes": 2}}
DONE = {
    f"{number}/{name}": [vars(Row(name, f"{name} {k}", {"recv_ns": 2.0}, [5.5, 6, 7], [9, 9, 9]))]
    for number in range(2)
    for k, name in enumerate(("recv", "send", "poll"))
}


def samples(folder: Path, times: int = TIMES) -> Counter[str]:
    """Damage gives what was saved, an edited file sound rows. What is kept of an unfinished
    calibration gives some of the steps, and never stops the next."""
    kept = folder / "kept.json"
    file = folder / "samples.json.gz"
    plain = json.dumps({"key": KEY, "done": DONE}).encode()
    packed = gzip.compress(plain, mtime=0)
    file.write_bytes(packed)
    whole = Samples.load(file)

    def attempt(chance: random.Random) -> None:
        kept.write_bytes(changed_text(plain, chance))
        for step in Steps(KEY, kept).done.values():
            for row in step:
                assert 0 < len(row["values"]) == len(row["pulses_ns"])
        if chance.random() < 0.5:
            file.write_bytes(damaged(packed, chance))
            assert Samples.load(file) == whole, "other samples"
        else:
            file.write_bytes(gzip.compress(changed_text(plain, chance)))
            for row in Samples.load(file).rows:
                assert row.values
                assert np.isfinite(row.values).all()

    return tried(times, file, attempt)


KINDS = {
    "runs": runs,
    "stores": stores,
    "profiles": profiles,
    "latencies": latency_files,
    "samples": samples,
}


@pytest.mark.parametrize("kind", KINDS)
def test_corrupt_files(kind: str, tmp_path: Path) -> None:
    found = KINDS[kind](tmp_path)
    assert found["fine"] + found["refused"] == TIMES
    assert found["refused"] > TIMES / 4  # it was damage


if __name__ == "__main__":
    COUNTED = True
    for argument in sys.argv[1:]:
        name, _, count = argument.partition("=")
        with tempfile.TemporaryDirectory() as place:
            print(name, dict(KINDS[name](Path(place), int(count))))
