"""Hostile files: kinds of them, what reads and what writes, and words of what is said of each."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

LONG = "x" * 300
"""Longer than the name of a file may be."""


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        # The path as a whole may be longer than an address of a socket.
        here = os.open(".", os.O_RDONLY)
        try:
            os.chdir(path.parent)
            one.bind(path.name)
        finally:
            os.chdir(here)
            os.close(here)


def _device(path: Path, minor: int) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


MAKE: dict[str, Callable[[Path], object]] = {
    "folder": lambda path: path.mkdir(),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("gone"),
    "fifo": os.mkfifo,
    "socket": _socket,
    "null": lambda path: _device(path, 3),
    "zero": lambda path: _device(path, 5),
    "empty": lambda path: path.touch(),
    "binary": lambda path: path.write_bytes(bytes(range(256)) * 64),
    "sparse": _sparse,
    "deep": lambda path: path.write_text("[" * 100_000),
    "utf-16": lambda path: path.write_text('{"a": 1}', "utf-16"),
}
"""How to make a file of each kind."""

READ: dict[str, str] = {
    "folder": "",
    "loop": "",
    "dangling": "",
    "fifo": "",
    "socket": "",
    "null": "",
    "zero": "",
    "empty": "",
    "binary": "",
    "sparse": "",
    "deep": "",
    "utf-16": "",
}
"""What is said of a file of each kind that cannot be read, beside its name."""

READERS = (
    "simulate epoll --requests 50 --profile {}.json",
    "compare epoll --real {}.json --profile native",
    "timeline epoll --profile {}.json",
    "profile show {}.json",
    "profile diff native {}.json",
    "sweep {}.json",
    "sweep --status {}.json",
    "sweep --resume {}.json",
    "export {}.json --out t.csv",
    "plot {}.json --x cores --y latency.p99 --out p.png",
    "sensitivity {}.json --y latency.p99",
)

WRITTEN: dict[str, str] = {
    "folder": "it is a folder",
    "loop": "symbolic links",
    "fifo": "nobody reads from this pipe",
    "socket": "it is a socket",
}
"""What is said of a file of each kind that cannot be written, beside its name."""

NOWHERE: dict[str, str] = {
    "gone/x": "gone",
    "table.csv/x": "table.csv",
    LONG: "name too long",
}
"""Names that no file can have here, and what is said of them."""

WRITERS = (
    "simulate epoll --requests 50 --profile native --out {}.npz",
    "simulate epoll --requests 50 --profile native --trace {}.json",
    "simulate epoll --requests 50 --profile native --trace {}.json.gz",
    "timeline epoll --out {}.png",
    "states --out {}.md",
    "export done.sweep --out {}.csv",
    "export done.sweep --out {}.parquet",
    "plot done.sweep --x cores --y latency.p99 --out {}.png",
)
"""These also write into a device."""

KEEPERS = (
    "calibrate --quick --out {}.json",
    "sweep design.toml --serial --store {}.sweep",
)
"""These need a file that they can read again."""

FILLERS = (
    "compare epoll --real good.csv --profile native --requests 250 --out {}",
    "profile show native --figures {}",
)
"""These write into a folder."""

NO_FOLDER: dict[str, str] = {
    "loop": "",
    "fifo": "",
    "socket": "",
    "null": "",
    "empty": "",
    "table.csv/x": "table.csv",
    LONG: "name too long",
}
"""What no folder can be, and what is said of it."""

WRITES = (
    *((2, line, kind, said) for line in WRITERS for kind, said in WRITTEN.items()),
    *((2, line, kind, kind) for line in KEEPERS for kind in WRITTEN),
    *((2, line, kind, said) for line in WRITERS + KEEPERS for kind, said in NOWHERE.items()),
    *((2, line, kind, said) for line in FILLERS for kind, said in NO_FOLDER.items()),
    *((0, line, "null", "") for line in WRITERS),
    *((2, line, "null", "null") for line in KEEPERS),
)
"""Exit code, command, where it writes, and what is said."""
