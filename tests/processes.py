"""What /proc says about processes, for tests that none is left behind, proc(5)."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0
"""How long to wait for what must happen; it only ever passes when a test fails."""


def children(parent: int | None = None) -> dict[int, str]:
    """Command lines of the direct children of a process (this one by default), by id."""
    parent = parent or os.getpid()
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                # The name in parentheses may hold anything; state and parent follow it.
                state, parent_of = (folder / "stat").read_bytes().rpartition(b")")[2].split()[:2]
                # Somebody else's process may have arguments that are no text.
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent_of) == parent and state != b"Z":
                found[int(folder.name)] = command.decode(errors="replace")
    return found


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] != b"Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def established(port: int) -> int:
    """How many sockets on this host's side of `port` are connected."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(
        local.endswith(f":{port:04X}") and state == "01"
        for _, local, _, state, *_ in (line.split() for line in lines)
    )


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Look again and again, until it is so; fail if `process` ends first."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it has not come about"
        assert process is None or process.poll() is None, "the process has ended"
        os.sched_yield()
