"""A shell in which `iosim`, `at` and `unprivileged` are commands."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

from commands import Result
from hostile.bounds import MEMORY_BYTES, PATIENCE_S

_ROOT = Path(__file__).parents[2]

# As pip writes it, but for the checkout that the tests are of.
_IOSIM = """\
#!{python}
import sys
sys.path.insert(1, {root!r})
from {module} import {function}
sys.exit({function}())
"""

_AT = """\
#!/bin/sh
export AT="$1:$2" PYTHONPATH="{folder}"
shift 2
exec "$@"
"""

_SITECUSTOMIZE = """\
import os, signal, sys

def look(frame, event, argument):
    code = frame.f_code
    if event == "call" and code.co_name == where and code.co_filename.endswith(file):
        sys.setprofile(None)
        os.kill(os.getpid(), number)

if at := os.environ.pop("AT", None):
    file, where, name = at.split(":")
    where, number = where or "<module>", signal.Signals["SIG" + name]
    sys.setprofile(look)
"""

# PR_CAPBSET_DROP of prctl(2): CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, capabilities(7).
_UNPRIVILEGED = """\
#!{python}
import ctypes, os, sys
if not os.geteuid():
    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def lay_commands(folder: Path) -> Path:
    """Write the commands into a folder of that name."""
    with (_ROOT / "pyproject.toml").open("rb") as file:
        entry: str = tomllib.load(file)["project"]["scripts"]["iosim"]
    module, _, function = entry.partition(":")
    values = {"python": sys.executable, "root": str(_ROOT), "folder": str(folder)}
    values |= {"module": module, "function": function}
    (folder / "sitecustomize.py").write_text(_SITECUSTOMIZE)
    for name, text in (("iosim", _IOSIM), ("at", _AT), ("unprivileged", _UNPRIVILEGED)):
        (folder / name).write_text(text.format(**values))
        (folder / name).chmod(0o755)
    return folder


def play(script: str, commands: Path, folder: Path) -> Result:
    """Run what a user types in bash, in a folder."""
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(folder),
        "TMPDIR": str(folder.parent),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    environment.pop("PYTHONPATH", None)
    bounded = f"ulimit -v {4 * MEMORY_BYTES >> 10}; {script}\nexit $?"
    done = subprocess.run(
        ["bash", "-c", bounded],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        cwd=folder,
        timeout=PATIENCE_S,
    )
    return Result(done.returncode, done.stdout, done.stderr)
