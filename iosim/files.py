"""Reading files whole, and writing them whole or not at all."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from iosim.errors import IosimError

_TEMPORARY = re.compile(r"\.iosim-[0-9a-f]{16}")
"""The names of unfinished files. Each is locked, flock(2), while its writer lives."""

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a block device",
    stat.S_IFSOCK: "a socket",
}
"""What is no file, by its type in inode(7)."""


# --- writing ---------------------------------------------------------------------------------


@contextmanager
def replacing(path: str | os.PathLike[str], *, make_folder: bool = False) -> Iterator[Path]:
    """Yield a name to write to; what is there takes the place of `path` when the block is left.

    If the block fails, `path` stays as it was. Of a symbolic link the file that it leads to is
    replaced. A device or a pipe cannot be replaced: it is sent the whole content once that is
    complete. What writers that died have left in the folder is removed. `make_folder` makes the
    folder if it is missing.

    Raises IosimError if the path cannot be written.
    """
    with _explained(path):
        if make_folder:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        found = _target(path)
        if _is_stream(found):
            with tempfile.TemporaryFile() as content:
                yield Path(f"/proc/self/fd/{content.fileno()}")
                content.seek(0)
                with _opened_stream(path) as stream:
                    shutil.copyfileobj(content, stream)
        else:
            target = Path(path).resolve()
            _clear(target.parent)
            with _temporary(target.parent) as temporary:
                yield temporary
                if found is not None:
                    with suppress(OSError):  # not every file system has permissions
                        temporary.chmod(stat.S_IMODE(found.st_mode))
                os.replace(temporary, target)


def check_target(path: str | os.PathLike[str], *, make_folder: bool = False) -> None:
    """Raise IosimError if it is plain beforehand that `replacing` cannot write to a path."""
    with _explained(path):
        if make_folder:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        if _is_stream(_target(path)):
            if not os.access(path, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES))
            return
        folder = Path(path).resolve().parent
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, f"folder {folder} is missing or not writable")


def check_folder(folder: str | os.PathLike[str], option: str) -> None:
    """Raise IosimError if it is plain beforehand that no file can be written to a folder, which may
    have to be made; `option` is where the user could name another."""
    there = Path(folder).absolute()
    try:
        while (found := _found(there)) is None:
            there = there.parent
    except OSError as error:
        why = error.strerror
    else:
        if stat.S_ISDIR(found.st_mode) and os.access(there, os.W_OK | os.X_OK):
            return
        why = f"{there} is not writable" if stat.S_ISDIR(found.st_mode) else f"{there} is no folder"
    raise IosimError(f"cannot make folder {folder}: {why}; choose another with {option}")


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether a path leads to a device or a pipe, beside which no other file can be kept."""
    with _explained(path):
        return _is_stream(_found(path))


@contextmanager
def _explained(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IosimError(
            f"cannot write {path}: {error.strerror or error}; choose a place you may write to"
        ) from None


def _found(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What a path leads to; None if nothing is there. Raises OSError."""
    try:
        return os.stat(Path(path))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:  # no path, or a null byte in it
        raise OSError(errno.EINVAL, str(error)) from None


def _is_stream(found: os.stat_result | None) -> bool:
    return found is not None and (stat.S_ISCHR(found.st_mode) or stat.S_ISFIFO(found.st_mode))


def _target(path: str | os.PathLike[str]) -> os.stat_result | None:
    """What a writer finds; raises OSError for what it can neither replace nor write into."""
    found = _found(path)
    if found is None or _is_stream(found):
        return found
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"it is {_KINDS[stat.S_IFMT(found.st_mode)]}")
    for output in (1, 2):
        with suppress(OSError):  # it may be closed
            if os.path.samestat(found, os.fstat(output)):
                break
    else:
        return found
    raise OSError(errno.EINVAL, "this command prints to it")


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    """A new file, gone when the block is left."""
    path = folder / f".iosim-{secrets.token_hex(8)}"
    descriptor = _created(path)
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _created(path: Path) -> int:
    """The descriptor of a new file, locked where the file system has locks."""
    while True:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o666)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        with suppress(OSError):  # somebody may have removed it before it was locked
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove the unfinished files whose writers are dead."""
    with suppress(OSError):
        for entry in list(folder.iterdir()):
            if _TEMPORARY.fullmatch(entry.name) and entry.is_file() and not entry.is_symlink():
                _remove_if_dead(entry)


def _remove_if_dead(path: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


@contextmanager
def _opened_stream(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A device or a pipe to write to; raises OSError rather than wait for a reader."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads from this pipe") from None
        raise
    os.set_blocking(descriptor, True)
    with open(descriptor, "wb") as stream:
        yield stream


# --- reading ---------------------------------------------------------------------------------


def content(path: str | os.PathLike[str]) -> bytes:
    """All that is in a file, or comes from a pipe that somebody writes to.

    Raises OSError with a reason fit for users; never waits for a writer that is not there.
    """
    found = _found(path)
    mode = found.st_mode if found else stat.S_IFREG
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise OSError(errno.EINVAL, f"it is {_KINDS[stat.S_IFMT(mode)]}, not a file")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, "rb", buffering=0) as file:
        first = file.read(1)  # None from a pipe whose writer has not written yet
        if first == b"" and stat.S_ISFIFO(mode):
            raise OSError(errno.ENXIO, "nobody writes to this pipe")
        os.set_blocking(descriptor, True)
        try:
            return (first or b"") + file.readall()
        except MemoryError:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from None


def text(path: str | os.PathLike[str]) -> str:
    """The same as text in UTF-8; raises UnicodeDecodeError too."""
    return content(path).decode()


def read_table(
    path: str | os.PathLike[str], words: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of a CSV file with these columns of text and of positive numbers.

    Raises IosimError that says what is wrong with the file.
    """
    try:
        return parse_table(text(path), path, words, numbers)
    except OSError as error:
        raise IosimError(f"cannot read {path}: {error.strerror}; name a CSV file") from None
    except UnicodeDecodeError as error:
        raise IosimError(f"{path} is no CSV file: {error}") from None


def parse_table(
    table: str, path: str | os.PathLike[str], words: Sequence[str], numbers: Sequence[str]
) -> list[dict[str, Any]]:
    """The same from the text of the file."""
    try:
        reader = csv.DictReader(io.StringIO(table, newline=""), strict=True)
        named = reader.fieldnames or ()
        if missing := [name for name in (*words, *numbers) if name not in named]:
            raise IosimError(
                f"{path} has no column {', '.join(missing)}: its first line must name "
                f"{', '.join((*words, *numbers))}"
            )
        rows = [
            {name: row[name] or "" for name in words}
            | {
                name: _positive(row[name], f"{path}, line {reader.line_num}, {name}")
                for name in numbers
            }
            for row in reader
        ]
    except csv.Error as error:
        raise IosimError(f"{path} is no CSV file: {error}") from None
    if not rows:
        raise IosimError(f"{path} has no rows below its first line")
    return rows


def _positive(text: str | None, where: str) -> float:
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise IosimError(f"{where}: {text!r} is not a positive number")
    return value
