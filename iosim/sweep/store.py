"""The store of a sweep: an SQLite file with the design and a row for each finished point.

Written by one driver at a time, read by anyone meanwhile (write-ahead log). A point is committed
once, under its key; what is committed survives the death of the driver and of the machine.

    points   key, number in the design, values of the axes, outcome or error, seconds taken,
             Unix time when it was finished
    repeats  numbers whose specification and seed are those of an earlier point, with its key
    about    version of iosim, design, cost profiles, and the tally: the sum of the checksums of all
             rows of points and repeats

Each row ends with a checksum of what is in it, and the tally tells whether one is missing, so that
a table is right or is refused. SQLite itself does not notice when a byte of a row has changed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from iosim.checked import explain
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.provenance import iosim_version
from iosim.sweep.design import Design
from iosim.sweep.points import Common, Finished

_FORMAT = 2
_APPLICATION = 0x696F7357
"""SQLite's application_id of a sweep, `iosW`."""

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE points(
    key TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, "values" TEXT NOT NULL,
    outcome TEXT, error TEXT, took_s REAL NOT NULL, finished_s REAL NOT NULL,
    checksum TEXT NOT NULL,
    CHECK ((outcome IS NULL) <> (error IS NULL))
);
CREATE TABLE repeats(number INTEGER PRIMARY KEY, key TEXT NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL, checksum TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
"""

_COUNTS = """
SELECT count(*), count(error)
FROM (SELECT key FROM points UNION ALL SELECT key FROM repeats) JOIN points USING (key)
"""

_POINT = """points.key, points.number, points."values", points.outcome, points.error,
    points.took_s, points.finished_s, points.checksum"""

_ROWS = f"""
SELECT about.value, about.checksum, numbers.number, numbers.key, numbers.checksum, {_POINT}
FROM about
LEFT JOIN (
    SELECT number, key, NULL AS checksum FROM points
    UNION ALL SELECT number, key, checksum FROM repeats
) AS numbers
LEFT JOIN points ON points.key = numbers.key
WHERE about.name = 'tally'
ORDER BY numbers.number
"""
"""The tally beside each row of points and repeats, as they are at one moment; a repeat has nothing
of its point while that is to be run again."""

_UNUSABLE = (
    *("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_BUSY", "SQLITE_LOCKED"),
    *("SQLITE_NOLFS", "SQLITE_NOMEM", "SQLITE_AUTH"),
)
"""Errors of SQLite that are no damage, see its result codes."""

_MODULUS = 2**64
"""A checksum is a number below."""


class Row(NamedTuple):
    """A finished point."""

    number: int
    outcome: Mapping[str, Any]
    """Empty if it failed."""
    error: str | None


@dataclass(frozen=True)
class Counts:
    """How far a sweep is."""

    total: int
    finished: int
    """With those that failed."""
    failed: int


class Store:
    """An open store. Use `create`, `resume` or `read`, as context managers."""

    def __init__(
        self, path: Path, database: sqlite3.Connection, design: Design, common: Common, version: str
    ) -> None:
        self.path = path
        self.design = design
        self.common = common
        self.version = version
        """Of the library that makes its runs."""
        self._database = database

    # --- opening -------------------------------------------------------------------------------

    @classmethod
    @contextmanager
    def create(
        cls, path: str | os.PathLike[str], design: Design, profiles: Mapping[str, CostProfile]
    ) -> Iterator[Store]:
        """A new store for a design, or one that already has this very design, to go on with it.

        Raises IosimError if the file holds anything else, if another driver fills it, or if it
        cannot be written.
        """
        design.common(profiles)  # checks its points
        with _locked(Path(path), os.O_CREAT) as database:
            with _explained(Path(path)):
                if _is_new(database):
                    _lay(database, design, profiles)
            store = cls._opened(Path(path), database)
            store._check_filling()
            if store.design != design:
                raise IosimError(
                    f"{path} holds another sweep: choose another --store for this design, or go on "
                    f"with that one by --resume {path}"
                )
            yield store

    @classmethod
    @contextmanager
    def resume(cls, path: str | os.PathLike[str]) -> Iterator[Store]:
        """A store to go on with; raises IosimError as `create` does."""
        _check_there(Path(path))
        with _locked(Path(path)) as database:
            store = cls._opened(Path(path), database)
            store._check_filling()
            yield store

    @classmethod
    @contextmanager
    def read(cls, path: str | os.PathLike[str]) -> Iterator[Store]:
        """A store to look at, also while it is being filled."""
        path = Path(path)
        _check_there(path)
        with _explained(path):
            database = _reader(path)
        try:
            yield cls._opened(path, database)
        finally:
            database.close()

    @classmethod
    def _opened(cls, path: Path, database: sqlite3.Connection) -> Store:
        with _explained(path):
            _check_ours(path, database)
            rows = database.execute("SELECT name, value, checksum FROM about").fetchall()
        about = {name: value for name, value, _ in rows}
        whole = all(checksum == _checksum(name, value) for name, value, checksum in rows)
        if not whole or not about.keys() >= {"version", "design", "profiles", "tally"}:
            raise _damaged(path, "what it tells of the sweep has changed")
        try:
            design = Design.of(json.loads(about["design"]))
            profiles = {
                name: CostProfile.model_validate(profile)
                for name, profile in json.loads(about["profiles"]).items()
            }
        except (IosimError, ValidationError) as error:
            why = explain(error) if isinstance(error, ValidationError) else error
            raise IosimError(
                f"{path} is made with iosim {about['version']}, and this is {iosim_version()}, "
                f"which knows no such sweep ({why}): use the version that made it"
            ) from None
        common = Common(design.fixed, profiles, about["version"])
        return cls(path, database, design, common, about["version"])

    def _check_filling(self) -> None:
        """Raise IosimError if there is anything against going on with it."""
        if self.version != iosim_version():
            raise IosimError(
                f"{self.path} is made with iosim {self.version} and this is {iosim_version()}, "
                "whose results may differ: go on with that version, or run the sweep anew into "
                "another --store"
            )
        with _explained(self.path):
            (found,) = self._database.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise _damaged(self.path, str(found))
        for _ in self.rows():
            pass

    # --- reading -------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """How far the sweep is."""
        with _explained(self.path):
            row = self._database.execute(_COUNTS).fetchone()
        return Counts(len(self.design), *row)

    def rows(self) -> Iterator[Row]:
        """The finished points, in the order of the design.

        Raises IosimError if a row has changed, or at the end if one is missing.
        """
        sums, tally = 0, None
        with _explained(self.path):
            for tally, of_tally, number, key, of_repeat, *point in self._database.execute(_ROWS):
                if _checksum("tally", tally) != of_tally:
                    raise _damaged(self.path, "its tally has changed")
                *columns, of_point = point
                if of_point is not None and _checksum(*columns) != of_point:
                    raise _damaged(self.path, f"the row of point {columns[1]} has changed")
                if of_repeat is not None and _checksum(number, key) != of_repeat:
                    raise _damaged(self.path, f"the row of point {number} has changed")
                sums += int(of_repeat or of_point or "0", 16)
                if of_point is not None:
                    _, _, _, outcome, error, _, _ = columns
                    yield Row(number, json.loads(outcome or "{}"), error)
        if tally is None or sums % _MODULUS != int(tally, 16):
            raise _damaged(self.path, "rows are missing")

    def failures(self, limit: int) -> list[tuple[int, str, str]]:
        """Number, values as JSON, and error of the first points that failed."""
        with _explained(self.path):
            found = self._database.execute(
                f"SELECT {_POINT} FROM points WHERE error IS NOT NULL ORDER BY number LIMIT ?",
                (limit,),
            ).fetchall()
        failed = []
        for *columns, checksum in found:
            _, number, values, _, error, _, _ = columns
            if _checksum(*columns) != checksum:
                raise _damaged(self.path, f"the row of point {number} has changed")
            failed.append((number, values, error))
        return failed

    def pace(self, window_s: float) -> tuple[float, float] | None:
        """Points per second over the last seconds of work, and how long ago the last was finished;
        None if there are fewer than two."""
        with _explained(self.path):
            (last,) = self._database.execute("SELECT max(finished_s) FROM points").fetchone()
            if last is None:
                return None
            if not isinstance(last, float):
                raise _damaged(self.path, "the time of a point has changed")
            count, first = self._database.execute(
                "SELECT count(*), min(finished_s) FROM points WHERE finished_s >= ?",
                (last - window_s,),
            ).fetchone()
        if count < 2 or last <= first:
            return None
        return (count - 1) / (last - first), time.time() - last

    def numbers(self, start: int, stop: int) -> set[int]:
        """Those from start on and below stop that are finished."""
        with _explained(self.path):
            found = self._database.execute(
                "SELECT number FROM points WHERE number >= :start AND number < :stop "
                "UNION ALL SELECT number FROM repeats WHERE number >= :start AND number < :stop",
                {"start": start, "stop": stop},
            )
            return {number for (number,) in found}

    def holds(self, key: str) -> bool:
        """Whether a point of that key is finished."""
        with _explained(self.path):
            found = self._database.execute("SELECT 1 FROM points WHERE key = ?", (key,))
            return found.fetchone() is not None

    # --- writing -------------------------------------------------------------------------------

    def add(self, finished: Iterable[Finished]) -> None:
        """Commit finished points, all or none of them.

        Raises IosimError if they cannot be written; what was committed before stays.
        """
        now_s = time.time()
        rows = []
        for one in finished:
            point = self.design[one.number]
            values = json.dumps(point.values)
            key = self.common.key(point)
            took_s = float(one.took_s)
            columns = (key, one.number, values, one.outcome, one.error, took_s, now_s)
            rows.append((*columns, _checksum(*columns)))
        with _explained(self.path), self._database:
            self._database.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._tally(sum(int(row[-1], 16) for row in rows))

    def repeat(self, number: int, key: str) -> None:
        """Note that a point has the key of an earlier one, whose outcome is its own."""
        row = (number, key, _checksum(number, key))
        with _explained(self.path), self._database:
            added = self._database.execute("INSERT OR IGNORE INTO repeats VALUES (?, ?, ?)", row)
            if added.rowcount:
                self._tally(int(row[-1], 16))

    def forget_failures(self) -> int:
        """Have the points that failed run again; returns how many."""
        with _explained(self.path), self._database:
            gone = self._database.execute(
                "SELECT checksum FROM points WHERE error IS NOT NULL"
            ).fetchall()
            self._database.execute("DELETE FROM points WHERE error IS NOT NULL")
            self._tally(-sum(int(checksum, 16) for (checksum,) in gone))
        return len(gone)

    def _tally(self, change: int) -> None:
        """Bring the tally up to date, in the transaction that changes rows."""
        (before,) = self._database.execute(
            "SELECT value FROM about WHERE name = 'tally'"
        ).fetchone()
        after = f"{(int(before, 16) + change) % _MODULUS:x}"
        self._database.execute(
            "UPDATE about SET value = ?, checksum = ? WHERE name = 'tally'",
            (after, _checksum("tally", after)),
        )


def _checksum(*columns: Any) -> str:
    """16 hexadecimal digits that stand for the columns of a row, and for their types."""
    return hashlib.sha256(repr(columns).encode()).hexdigest()[:16]


def _damaged(path: Path, what: str) -> IosimError:
    return IosimError(
        f"{path} is damaged: {what}; go on with a copy from before, or run the sweep anew into "
        "another --store"
    )


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise IosimError(f"there is no store {path}: make one by `iosim sweep FILE --store {path}`")


@contextmanager
def _locked(path: Path, create: int = 0) -> Iterator[sqlite3.Connection]:
    """The database, for one driver at a time."""
    if path.exists() and not path.is_file():
        raise IosimError(f"cannot use {path}: it is no file; name a file that you may write to")
    with _explained(path):
        # Closed after the connection: to close any descriptor of a file drops SQLite's own locks.
        lock = os.open(path, os.O_RDWR | os.O_CLOEXEC | create, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise IosimError(
                f"another iosim fills {path}: wait until it has ended, or look at it with "
                f"`iosim sweep --status {path}`"
            ) from None
        with _explained(path):
            database = sqlite3.connect(path)
        try:
            with _explained(path):
                if not (create and _is_new(database)):
                    _check_ours(path, database)
                database.execute("PRAGMA journal_mode = WAL")
                # Each commit is on the disk before it counts.
                database.execute("PRAGMA synchronous = FULL")
            yield database
        finally:
            database.close()
    finally:
        os.close(lock)


def _reader(path: Path) -> sqlite3.Connection:
    """The database, which nothing is written to.

    SQLite shares a log by files beside it, which it tidies up if it may write. Where it may not, it
    must be told that nobody else writes either.
    """
    for how in ("mode=rw", "mode=ro", "mode=ro&immutable=1"):
        database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
        try:
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.execute("PRAGMA query_only = 1")
            return database
        except sqlite3.DatabaseError as error:
            database.close()
            if not isinstance(error, sqlite3.OperationalError):
                raise
            file = path.resolve()  # SQLite follows links
            wal = file.with_name(f"{file.name}-wal")
            if how.endswith("immutable=1") or (how == "mode=ro" and _holds_rows(wal)):
                raise
    raise AssertionError


def _holds_rows(log: Path) -> bool:
    return log.exists() and log.stat().st_size > 0


def _check_ours(path: Path, database: sqlite3.Connection) -> None:
    if _is_new(database):
        raise IosimError(f"{path} holds no sweep yet: begin by `iosim sweep FILE --store {path}`")
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (form,) = database.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION:
        raise IosimError(f"{path} is not the store of a sweep: name another file")
    if form != _FORMAT:
        raise IosimError(
            f"{path} has store format {form} and this iosim reads {_FORMAT}: use the version of "
            "iosim that made it, or run the sweep anew into another --store"
        )


def _is_new(database: sqlite3.Connection) -> bool:
    (objects,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return not objects


def _lay(database: sqlite3.Connection, design: Design, profiles: Mapping[str, CostProfile]) -> None:
    """Make the tables and what they need to be resumed, all at once."""
    kept = json.dumps({name: profile.model_dump() for name, profile in profiles.items()})
    version, design_text = iosim_version(), design.text()
    about = {"version": version, "design": design_text, "profiles": kept, "tally": "0"}
    rows = [(name, value, _checksum(name, value)) for name, value in about.items()]
    database.executescript(_TABLES)
    database.executemany("INSERT INTO about VALUES (?, ?, ?)", rows)
    database.commit()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what a failure of the file means to a user."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except UnicodeDecodeError as error:  # what SQLite says quotes a damaged schema
        raise _damaged(path, str(error)) from None
    except (sqlite3.Error, OSError) as error:
        code = getattr(error, "sqlite_errorname", "")
        why = str(getattr(error, "strerror", error))
        if code == "SQLITE_NOTADB":
            raise IosimError(f"{path} is not the store of a sweep: name another file") from None
        if code == "SQLITE_FULL" or code.startswith("SQLITE_IOERR"):
            raise IosimError(
                f"cannot write to {path}: {why}; what was finished is kept: make room, then go on "
                f"by `iosim sweep --resume {path}`"
            ) from None
        if isinstance(error, OSError) or code.startswith(_UNUSABLE):
            raise IosimError(
                f"cannot use {path}: {why}; name a file that you may write to"
            ) from None
        raise _damaged(path, why) from None
