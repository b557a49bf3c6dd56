"""How long does an I/O thread wait beside threads that compute? README.md beside this file answers.

python experiments/run_queue/run.py [--small] [--real] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from iosim import IosimError, Kernel, Run, Workload, answer, run_real, simulate, why_not
from iosim.files import replacing
from iosim.kernel import Call, Program
from iosim.plots import FAINT, PALETTE, canvas, duration, save, style

HERE = Path(__file__).parent
SEED = 1
RATE_PER_S = 1
"""So few that a request hardly ever waits for the one before it."""

FULL = (0, 1, 2, 4, 8, 16, 32), 200
SMALL = (0, 1, 4), 60
REAL_REQUESTS = 30

HOUR_NS = 3_600_000_000_000
"""Longer than any run."""
BURST_NS, PAUSE_NS = 400_000, 600_000
"""Computing in bursts."""


def compute(kernel: Kernel) -> Call[None]:
    """Compute for ever, without a call."""
    yield from kernel.compute(HOUR_NS)


def compute_in_bursts(kernel: Kernel) -> Call[None]:
    """Compute a little, sleep, and so on."""
    while True:
        yield from kernel.compute(BURST_NS)
        yield from kernel.nanosleep(PAUSE_NS)


def beside(threads: int, work: Callable[[Kernel], Call[None]]) -> Program:
    """A server of one connection, beside threads that compute."""

    def program(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        for _ in range(threads):
            yield from kernel.spawn(work)
        while nbytes := (yield from kernel.recv(fd)):
            yield from answer(kernel, fd, nbytes)

    return program


CASES = {
    "always": ("they compute all the time", compute),
    "bursts": ("they compute in bursts", compute_in_bursts),
}
"""What the others do, by name."""

LOOKS = {"always": ("blue", "o", "-"), "bursts": ("green", "^", "-")}
RUNTIMES = {"native": "No lock (profile native)", "python": "CPython's lock (profile python)"}


def row(run: Run, kernel: str, runtime: str, case: str, threads: int) -> dict[str, object]:
    """What is kept of one run."""
    found = np.quantile(run.latency_ns, [0.5, 0.9])
    return {
        "kernel": kernel,
        "runtime": runtime,
        "case": case,
        "computing_threads": threads,
        "latency_p50_ns": found[0],
        "latency_p90_ns": found[1],
        "latency_mean_ns": run.latency_ns.mean(),
        "context_switches": run.context_switches,
        "requests": len(run.records),
        "rate_per_s": RATE_PER_S,
        "seed": run.seed,
    }


def sweep(numbers: Sequence[int], requests: int, real_requests: int) -> pd.DataFrame:
    """A row per run; real ones too, if there are to be any."""
    rows = []
    for case, (_, work) in CASES.items():
        for threads in numbers:
            program = beside(threads, work)
            load = Workload(connections=1, rate_per_s=RATE_PER_S, requests=requests)
            for runtime in RUNTIMES:
                print(f"\r{case}, {threads:2} {runtime} ", end="", file=sys.stderr, flush=True)
                run = simulate(program, load, profile=runtime, seed=SEED)
                rows.append(row(run, "simulated", runtime, case, threads))
            if real_requests:
                load = load.model_copy(update={"requests": real_requests})
                run = run_real(program, load, seed=SEED)
                rows.append(row(run, "real", "python", case, threads))
    print(file=sys.stderr)
    return pd.DataFrame(rows)


def plot(axes: Axes, data: pd.DataFrame) -> None:
    """Latency over computing threads, of one runtime."""
    numbers = sorted(data["computing_threads"].unique())
    for (kernel, case), rows in data.groupby(["kernel", "case"], sort=False):
        colour, marker, dashes = LOOKS[case]
        real = kernel == "real"
        x = [numbers.index(number) for number in rows["computing_threads"]]
        axes.plot(
            x,
            rows["latency_p50_ns"],
            color=PALETTE[colour],
            ls=(0, (3, 2)) if real else dashes,
            marker=marker,
            mfc="white" if real else None,
            label=None if real else CASES[case][0],
        )
        axes.plot(
            x,
            rows["latency_p90_ns"],
            color=PALETTE[colour],
            lw=0.8,
            ls=(0, (3, 2)) if real else "-",
        )
    axes.set_xticks(range(len(numbers)), [str(number) for number in numbers])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=10.5)
    axes.set_xlabel("threads that compute on the core", size=11)
    axes.grid(True)


def draw(data: pd.DataFrame) -> Figure:
    """A panel per runtime."""
    with style():
        figure = canvas(9, 5.4)
        panels = figure.subplots(1, 2, sharey=True)
        for axes, (runtime, title) in zip(panels, RUNTIMES.items(), strict=True):
            plot(axes, data[data["runtime"] == runtime])
            axes.set_title(title, loc="left", size=11.5)
        panels[0].set_ylabel("latency", size=11)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.text(
            0.02, 0.945, "An I/O thread beside threads that compute", size=14, weight="bold"
        )
        about = "simulated, one core; thick: median, thin: 90 % quantile"
        if (data["kernel"] == "real").any():
            about += "; dashed, hollow: measured on this host"
        figure.text(0.02, 0.895, about, color=FAINT, size=10.5)
        figure.legend(
            handles,
            labels,
            ncols=3,
            loc="upper left",
            bbox_to_anchor=(0.005, 0.885),
            fontsize=10,
            columnspacing=1.2,
        )
        figure.tight_layout(rect=(0, 0, 1, 0.84))
    return figure


def main() -> int:
    """Run, write the files; 1 if the simulated runs do not bear out what the README says."""
    parser = argparse.ArgumentParser(description="An I/O thread beside threads that compute.")
    parser.add_argument("--small", action="store_true", help="a few seconds, for a first look")
    parser.add_argument("--real", action="store_true", help="run on real sockets of this host too")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    if options.real and (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}; leave --real out")
    numbers, requests = SMALL if options.small else FULL
    data = sweep(numbers, requests, min(REAL_REQUESTS, requests) if options.real else 0)
    options.out.mkdir(parents=True, exist_ok=True)
    suffix = "-real" if options.real else ""
    with replacing(options.out / f"data{suffix}.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / f"figure{suffix}.png")
    shown = data.pivot_table(
        index=["kernel", "runtime", "case"], columns="computing_threads", values="latency_p50_ns"
    )
    print("median latency:", shown.map(duration).to_string(), sep="\n")
    print(f"results: {options.out}")
    simulated = shown.loc["simulated"]
    free, locked = simulated.loc[("native", "always")], simulated.loc[("python", "always")]
    most = max(numbers)
    preempts = free[most] == free[1]
    waits = locked[1] > 100 * free[1] and locked[most] > 2 * locked[1]
    return int(not (preempts and waits))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
