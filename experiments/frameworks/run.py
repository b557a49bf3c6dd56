"""Does the epoll model predict servers of asyncio and Tornado? README.md beside this file answers.

python experiments/frameworks/run.py [--small] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from servers import SERVERS

from iosim import (
    CostProfile,
    IosimError,
    Run,
    Workload,
    load_server,
    simulate,
    why_not,
)
from iosim.calibrate import predicted, profile_for
from iosim.compare import OwnServer
from iosim.files import replacing
from iosim.plots import distributions, save
from iosim.seeds import replication_seed

HERE = Path(__file__).parent
NBYTES = 64
LOAD = Workload(connections=64, rate_per_s=4_000, requests=8_000)
SMALL_LOAD = LOAD.model_copy(update={"rate_per_s": 1_000, "requests": 300})
REPEATS, SMALL_REPEATS = 5, 1


def command(name: str, core: int, *more: str) -> list[str]:
    """What runs a server, or measures it."""
    return [sys.executable, str(HERE / "servers.py"), name, str(core), str(NBYTES), *more]


def own_ns(name: str, core: int, profile: CostProfile) -> float:
    """What a framework adds to a request, ns: the processor time of one that finds the loop
    waiting, less what the epoll model pays for the same calls and its own steps."""
    measured = subprocess.run(command(name, core, "--cost"), capture_output=True, text=True)
    if measured.returncode:
        raise IosimError(f"{name} could not be measured: {measured.stderr.strip()}")
    known = dict.fromkeys(
        ("epoll_wait_ns", "epoll_event_ns", "recv_ns", "request_ns", "send_ns"), 1.0
    ) | {"copy_ns_per_byte": 2.0 * NBYTES}
    return max(0.0, float(measured.stdout) - predicted(known, profile.costs))


@contextmanager
def served(name: str, core: int) -> Iterator[tuple[int, int]]:
    """The server, running: its port and its process."""
    process = subprocess.Popen(command(name, core), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout as told:
        try:
            if not (port := told.readline()):
                raise IosimError(f"the server of {name} ended at once")
            yield int(port), process.pid
        finally:
            process.kill()
            process.wait()


def measure(
    names: list[str], load: Workload, repeats: int, profile: CostProfile
) -> tuple[pd.DataFrame, dict[str, tuple[list[Run], list[Run]]]]:
    """A row per server, and its simulated and real runs."""
    core = max(os.sched_getaffinity(0))
    cost_ns = {name: own_ns(name, core, profile) for name in names}
    runs: dict[str, tuple[list[Run], list[Run]]] = {name: ([], []) for name in names}
    machine = profile.machine()
    for repeat in range(repeats):
        for name in names:
            simulated, real = runs[name]
            seed = replication_seed(1, repeat)
            with served(name, core) as (port, pid):
                real.append(load_server(port, load, pid=pid, seed=seed))
            with_framework = load.model_copy(update={"service": round(cost_ns[name])})
            run = simulate("epoll", with_framework, profile=profile, machine=machine, seed=seed)
            simulated.append(run)
    rows = []
    for name, (simulated, real) in runs.items():
        row: dict[str, object] = {"server": name, "framework_ns": cost_ns[name]}
        for kind, some in (("simulated", simulated), ("real", real)):
            figures = pd.DataFrame([figures_of(run) for run in some])
            for figure in figures:
                row[f"{figure}, {kind}"] = figures[figure].median()
                if kind == "real":
                    median = figures[figure].median()
                    row[f"{figure}, noise"] = (figures[figure] / median - 1).abs().max()
        for figure in figures:
            row[f"{figure}, error"] = row[f"{figure}, simulated"] / row[f"{figure}, real"] - 1
        rows.append(row)
    return pd.DataFrame(rows), runs


def figures_of(run: Run) -> dict[str, float]:
    """What is compared."""
    p50, p99 = np.quantile(run.latency_ns, [0.5, 0.99])
    return {"cpu_ns": run.cpu_ns / len(run.records), "p50_ns": p50, "p99_ns": p99}


def main() -> int:
    """Measure, predict, and write data and figure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="few requests: proves the script only")
    parser.add_argument("--profile", help="cost profile; by default this host's own")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of data, figure")
    options = parser.parse_args()
    if (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}")
    profile = profile_for(options.profile)
    names = [name for name in SERVERS if name != "tornado" or find_spec("tornado")]
    if "tornado" not in names:
        print("tornado is left out: it is not installed (pip install tornado)")
    load, repeats = (SMALL_LOAD, SMALL_REPEATS) if options.small else (LOAD, REPEATS)
    data, runs = measure(names, load, repeats, profile)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "data.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.4g")
    cells = [
        OwnServer(name, load, simulated, {str(n): run.latency_ns for n, run in enumerate(real)})
        for name, (simulated, real) in runs.items()
    ]
    save(distributions(cells), options.out / "figure.png")
    for row in data.to_dict("records"):
        told = ", ".join(
            f"{short} {row[f'{figure}, simulated'] / 1e3:.1f} us simulated, "
            f"{row[f'{figure}, real'] / 1e3:.1f} us real ({row[f'{figure}, error']:+.0%}, "
            f"noise {row[f'{figure}, noise']:.0%})"
            for figure, short in (("cpu_ns", "CPU"), ("p50_ns", "p50"), ("p99_ns", "p99"))
        )
        print(f"{row['server']} (adds {row['framework_ns'] / 1e3:.1f} us): {told}")
    print(f"results: {options.out}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
