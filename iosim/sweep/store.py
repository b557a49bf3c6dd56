"""The store of a sweep: an SQLite file with the design and a row for each finished point.

Written by one driver at a time, read by anyone meanwhile (write-ahead log). A point is committed
once, under its key; what is committed survives the death of the driver and of the machine.

    points   key, number in the design, values of the axes, outcome or error, seconds taken,
             Unix time when it was finished
    repeats  numbers whose specification and seed are those of an earlier point, with its key
    about    version of iosim, design, cost profiles, process that drives the sweep
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

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
    CHECK ((outcome IS NULL) <> (error IS NULL))
);
CREATE TABLE repeats(number INTEGER PRIMARY KEY, key TEXT NOT NULL);
CREATE TABLE about(name TEXT PRIMARY KEY, value TEXT NOT NULL);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_FORMAT};
"""

_ROWS = """
SELECT numbers.number, outcome, error
FROM (SELECT number, key FROM points UNION ALL SELECT number, key FROM repeats) AS numbers
JOIN points USING (key)
"""


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
            store._check_version()
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
            store._check_version()
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
            about = dict(database.execute("SELECT name, value FROM about"))
        design = Design.of(json.loads(about["design"]))
        profiles = {
            name: CostProfile.model_validate(profile)
            for name, profile in json.loads(about["profiles"]).items()
        }
        common = Common(design.fixed, profiles, about["version"])
        return cls(path, database, design, common, about["version"])

    def _check_version(self) -> None:
        if self.version != iosim_version():
            raise IosimError(
                f"{self.path} is made with iosim {self.version} and this is {iosim_version()}, "
                "whose results may differ: go on with that version, or run the sweep anew into "
                "another --store"
            )

    # --- reading -------------------------------------------------------------------------------

    def counts(self) -> Counts:
        """How far the sweep is."""
        with _explained(self.path):
            row = self._database.execute(f"SELECT count(*), count(error) FROM ({_ROWS})").fetchone()
        return Counts(len(self.design), *row)

    def rows(self) -> Iterator[Row]:
        """The finished points, in the order of the design."""
        with _explained(self.path):
            for number, outcome, error in self._database.execute(f"{_ROWS} ORDER BY 1"):
                yield Row(number, json.loads(outcome or "{}"), error)

    def failures(self, limit: int) -> list[tuple[int, str, str]]:
        """Number, values as JSON, and error of the first points that failed."""
        with _explained(self.path):
            return self._database.execute(
                'SELECT number, "values", error FROM points WHERE error IS NOT NULL '
                "ORDER BY number LIMIT ?",
                (limit,),
            ).fetchall()

    def pace(self, window_s: float) -> tuple[float, float] | None:
        """Points per second over the last seconds of work, and how long ago the last was finished;
        None if there are fewer than two."""
        with _explained(self.path):
            (last,) = self._database.execute("SELECT max(finished_s) FROM points").fetchone()
            count, first = self._database.execute(
                "SELECT count(*), min(finished_s) FROM points WHERE finished_s >= ?",
                ((last or 0) - window_s,),
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
            rows.append((key, one.number, values, one.outcome, one.error, one.took_s, now_s))
        with _explained(self.path), self._database:
            self._database.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def repeat(self, number: int, key: str) -> None:
        """Note that a point has the key of an earlier one, whose outcome is its own."""
        with _explained(self.path), self._database:
            self._database.execute("INSERT OR IGNORE INTO repeats VALUES (?, ?)", (number, key))

    def forget_failures(self) -> int:
        """Have the points that failed run again; returns how many."""
        with _explained(self.path), self._database:
            return self._database.execute("DELETE FROM points WHERE error IS NOT NULL").rowcount


def _check_there(path: Path) -> None:
    if not path.is_file():
        raise IosimError(f"there is no store {path}: make one by `iosim sweep FILE --store {path}`")


@contextmanager
def _locked(path: Path, create: int = 0) -> Iterator[sqlite3.Connection]:
    """The database, for one driver at a time."""
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
                if not _is_new(database):
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
            wal = path.with_name(f"{path.name}-wal")
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
    about = {"version": iosim_version(), "design": design.text(), "profiles": kept}
    database.executescript(_TABLES)
    database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
    database.commit()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say what a failure of the file means to a user."""
    try:
        yield
    except sqlite3.IntegrityError:
        raise
    except (sqlite3.DatabaseError, OSError) as error:
        code = getattr(error, "sqlite_errorname", "")
        why = error.strerror if isinstance(error, OSError) else str(error)
        if code == "SQLITE_NOTADB":
            raise IosimError(f"{path} is not the store of a sweep: name another file") from None
        if code == "SQLITE_FULL" or code.startswith("SQLITE_IOERR"):
            raise IosimError(
                f"cannot write to {path}: {why}; what was finished is kept: make room, then go on "
                f"by `iosim sweep --resume {path}`"
            ) from None
        raise IosimError(f"cannot use {path}: {why}; name a file that you may write to") from None
