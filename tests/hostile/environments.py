"""Hostile environments: exit code, what a user types in a shell, and words on standard error.

`at FILE:FUNCTION SIGNAL iosim ...` sends it the signal when it enters the function, or begins to
import the file if none is named.
`unprivileged` takes from root what lets it write where nobody may.
"""

from __future__ import annotations

Row = tuple[int, str, str]

RUN = "iosim simulate epoll --requests 50 --profile native"

ROWS: list[Row] = [
    # --- streams -----------------------------------------------------------------------------
    (0, "iosim models >&-", ""),
    (0, f"{RUN} --json >&- 2>&- <&-", ""),
    (2, "iosim simulate epol >&-", "unknown model 'epol'"),
    (2, "iosim models --json >/dev/full", "No space left on device"),
    (2, f"{RUN} >/dev/full", "No space left on device"),
    (2, "iosim simulate --help >/dev/full", "No space left on device"),
    (1, "iosim states | true; exit ${PIPESTATUS[0]}", ""),
    (1, f"{RUN} --json | true; exit ${{PIPESTATUS[0]}}", ""),
    (1, "iosim --help | true; exit ${PIPESTATUS[0]}", ""),
    (2, "iosim simulate epol 2>&1 >/dev/full | cat >&2; exit ${PIPESTATUS[0]}", "'epol'"),
    # --- names -------------------------------------------------------------------------------
    (0, RUN + " --out $'\\xff.npz'", ""),
    (2, "iosim simulate $'\\xff'", "unknown model"),
    (2, "iosim profile show $'\\xff.json'", "No such file"),
    (0, f"PYTHONIOENCODING=ascii {RUN} --out \u00e9t\u00e9.npz", ""),
    (2, "PYTHONIOENCODING=ascii iosim simulate \u00e9poll", "poll"),
    (0, "PYTHONIOENCODING=ascii iosim models", ""),
    (0, "LC_ALL=C LANG=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 iosim states", ""),
    (0, "env LC_ALL=nowhere iosim models", ""),
    # --- terminals ---------------------------------------------------------------------------
    (0, "COLUMNS=1 LINES=1 iosim models", ""),
    (0, f"COLUMNS=0 TERM= {RUN}", ""),
    (0, f"COLUMNS=-5 TERM=dumb {RUN}", ""),
    (0, f"COLUMNS=wide LINES=high TERM=nope {RUN}", ""),
    (0, "COLUMNS=1 iosim simulate --help", ""),
    (0, f"FORCE_COLOR=1 NO_COLOR=1 COLUMNS=99999999999 {RUN}", ""),
    # --- homes and caches --------------------------------------------------------------------
    (0, f"env -u HOME -u XDG_CACHE_HOME -u USER {RUN}", ""),
    (0, "HOME=$PWD/table.csv XDG_CACHE_HOME= iosim timeline epoll", ""),
    (0, f"XDG_CACHE_HOME=relative {RUN}", ""),
    (0, f"XDG_CACHE_HOME=$PWD/table.csv {RUN}", ""),
    (2, "XDG_CACHE_HOME=$PWD/table.csv iosim calibrate --quick", "table.csv"),
    (2, "XDG_CACHE_HOME=$PWD/table.csv iosim profile show host", "iosim calibrate"),
    (0, "MPLCONFIGDIR=$PWD/table.csv iosim timeline epoll", ""),
    (2, "MPLBACKEND=nope iosim timeline epoll", "MPLBACKEND"),
    (0, "MPLBACKEND=TkAgg DISPLAY= iosim timeline epoll --out five.svg", ""),
    (2, "SOURCE_DATE_EPOCH=yesterday iosim timeline epoll --out five.pdf", "yesterday"),
    (0, f"TMPDIR=$PWD/none TZ=Nowhere/Never {RUN} --out run.npz", ""),
    # --- Python ------------------------------------------------------------------------------
    (0, f"PYTHONPATH=:$PWD/table.csv:$PWD/none: {RUN}", ""),
    (0, f"PYTHONWARNINGS=error {RUN}", ""),
    (0, "PYTHONOPTIMIZE=2 iosim simulate --help", ""),
    (0, f"PYTHONOPTIMIZE=2 {RUN}", ""),
    (0, f"echo 'raise SystemExit(9)' >queue.py; {RUN}", ""),
    (0, "echo 'raise SystemExit(9)' >random.py; iosim real epoll --requests 50", ""),
    (0, f"mkdir a:b; cd a:b; {RUN}", ""),
    (0, f"mkdir gone; cd gone; rmdir ../gone; {RUN}", ""),
    (2, f"mkdir gone; cd gone; rmdir ../gone; {RUN} --out run.npz", "run.npz"),
    # --- limits ------------------------------------------------------------------------------
    (3, "ulimit -n 50; iosim real epoll --requests 50", "ulimit -Hn"),
    (0, f"ulimit -n 20; {RUN}", ""),
    (2, f"ulimit -f 0; {RUN} --out run.npz", "File too large"),
    (2, "ulimit -f 0; iosim sweep design.toml --serial", "design.sweep"),
    (3, "taskset -c 0 iosim real epoll --requests 50", "two cores"),
    (3, "taskset -c 0 iosim calibrate --quick", "two cores"),
    # --- places that may not be written to ---------------------------------------------------
    (2, f"chmod 555 .; unprivileged {RUN} --out run.npz", "run.npz"),
    (2, "chmod 555 .; unprivileged iosim timeline epoll", "timeline-epoll.png"),
    (2, "chmod 555 .; unprivileged iosim sweep design.toml --serial", "design.sweep"),
    (2, "chmod 555 .; unprivileged iosim compare epoll --real good.csv", "results"),
    (2, "chmod 000 design.toml; unprivileged iosim sweep design.toml", "design.toml"),
    (2, "chmod 000 taken.json; unprivileged iosim profile show taken.json", "taken.json"),
    # --- signals -----------------------------------------------------------------------------
    (130, "at iosim/errors.py: INT iosim models", ""),
    (130, "at numpy/__init__.py: INT iosim models", ""),
    (130, "at simpy/core.py: INT iosim models", ""),
    (130, "at rich/table.py: INT iosim models", ""),
    (130, "at iosim/cli/states.py: INT iosim models", ""),
    (143, "at numpy/__init__.py: TERM iosim models", ""),
    (129, "at rich/table.py: HUP iosim models", ""),
    (130, f"at iosim/limits.py:check_limits INT {RUN}", "interrupted"),
    (130, f"at iosim/costs.py:load INT {RUN}", "interrupted"),
    (130, f"at iosim/sim/engine.py:run_to INT {RUN}", "interrupted"),
    (130, f"at iosim/files.py:replacing INT {RUN} --out table.csv", "interrupted"),
    (130, f"at :savez_compressed INT {RUN} --out table.csv", "interrupted"),
    (130, f"at rich/table.py:__init__ INT {RUN}", "interrupted"),
    (130, "at iosim/host/run.py:connect INT iosim real epoll --requests 50", "interrupted"),
    (130, "at iosim/host/run.py:_settle INT iosim real epoll --requests 50", "interrupted"),
    (130, "at iosim/host/run.py:_hear_either INT iosim real epoll --requests 50", "interrupted"),
    (130, "at matplotlib/figure.py: INT iosim timeline epoll", "interrupted"),
    (
        130,
        "at iosim/sweep/export.py:_csv INT iosim export done.sweep --out table.csv",
        "interrupted",
    ),
    (143, f"at iosim/sim/engine.py:run_to TERM {RUN} --out table.csv", ""),
    (143, f"at :savez_compressed TERM {RUN} --out table.csv", ""),
    (143, "at iosim/host/run.py:_hear_either TERM iosim real epoll --requests 50", ""),
]
