"""How do the five I/O models differ as connections grow? README.md beside this file has the answer.

python experiments/five_models/run.py [--small] [--real] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from claims import judge, table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter
from rich.console import Console

from iosim import MODELS, IosimError, Run, Workload, run_real, simulate, why_not
from iosim.calibrate import profile_for
from iosim.files import replacing
from iosim.kernel import FD_SETSIZE
from iosim.models import BlockingPool
from iosim.plots import FAINT, PALETTE, canvas, save, style

HERE = Path(__file__).parent
SEED = 1
RATE_PER_S = 2_000
"""Over all connections; low enough that every model keeps up with it."""

FULL = (1, 4, 16, 64, 256, 1000, 4000), 10_000
SMALL = (1, 64, 1100), 1_000
"""Numbers of connections, and requests in each run. The last number is beyond select."""

LOOKS = {
    "nonblocking": ("vermilion", "D", 6),
    "sigio": ("orange", "P", 8),
    "select": ("sky", "v", 9),
    "poll": ("blue", "^", 5.5),
    "io_uring": ("purple", "X", 8),
    "epoll": ("green", "o", 7),
    "blocking": ("black", "s", 4),
}
"""Colour, marker and its size of each model, in the order in which they are drawn: where lines
meet, the smaller marker lies over the larger."""

PANELS = (
    ("cpu_ns_per_request", "CPU per request (µs)", 1e-3),
    ("latency_p50_ns", "Median latency (µs)", 1e-3),
    ("syscalls_per_request", "System calls per request", 1),
)
"""Column, title, and the factor from the one's unit to the other's."""


def figures(run: Run) -> dict[str, object]:
    """What is kept of one run."""
    summary = run.summary()
    return {
        "cpu_ns_per_request": summary["cpu_ns_per_request"],
        "latency_p50_ns": summary["latency_ns"]["p50"],
        "latency_p99_ns": summary["latency_ns"]["p99"],
        "syscalls_per_request": summary["syscalls_per_request"],
        "empty_polls_per_request": run.empty_polls / len(run.records),
        "utilisation": summary["utilisation"],
        "threads": sum(not task.helper for task in run.tasks),
        "wait_for_data_ns": summary["blocked_ns"]["wait_for_data"],
        "copy_data_ns": summary["blocked_ns"]["copy_data"],
    }


def sweep(kernel: str, sizes: Sequence[int], requests: int, profile: str) -> pd.DataFrame:
    """A row per model and number of connections; `refused` says why one has no figures."""
    costs = profile_for(profile)
    origin = f"costs of profile {costs.name!r}"
    points = [(MODELS[name], size) for name in LOOKS for size in sizes]
    many = max(size for size in sizes if size < FD_SETSIZE)
    points.append((BlockingPool(threads=max(1, many // 5)), many))
    rows = []
    for number, (model, size) in enumerate(points, start=1):
        print(f"\r{kernel} run {number} of {len(points)}", end="", file=sys.stderr, flush=True)
        load = Workload(connections=size, rate_per_s=RATE_PER_S, requests=requests)
        row = {"kernel": kernel, "model": model.name, "connections": size}
        try:
            if kernel == "simulated":
                run = simulate(model, load, profile=costs, seed=SEED)
            else:
                run = run_real(model, load, seed=SEED)
                origin = "{cpu}, {python}".format_map(run.provenance["host"])
            rows.append(row | figures(run) | {"refused": ""})
        except IosimError as error:
            rows.append(row | {"refused": str(error)})
    print(file=sys.stderr)
    return pd.DataFrame(rows).assign(
        rate_per_s=RATE_PER_S, requests=requests, seed=SEED, origin=origin
    )


def draw(data: pd.DataFrame) -> Figure:
    """Three panels over connections, and a key that says what each model does. One kernel."""
    kernel, origin = data["kernel"].iloc[0], data["origin"].iloc[0]
    with style():
        figure = canvas(10, 8)
        *panels, corner = figure.subplots(2, 2).flat
        for axes, (column, name, factor) in zip(panels, PANELS, strict=True):
            plot(axes, data.assign(y=data[column] * factor))
            axes.set_title(name, loc="left", pad=10)
            axes.set_xlabel("connections")
        key(corner)
        figure.text(0.02, 0.955, "The five I/O models as connections grow", size=15, weight="bold")
        load = f"{RATE_PER_S:,} requests/s over all connections"
        figure.text(0.02, 0.925, f"{load}; {kernel}, {origin}", color=FAINT)
        figure.tight_layout(rect=(0, 0, 1, 0.91), h_pad=2.5, w_pad=2)
    return figure


def plot(axes: Axes, data: pd.DataFrame) -> None:
    """Column `y` over connections: a line per model, named at its right end."""
    ends = []
    for name, (colour, marker, size) in LOOKS.items():
        rows = data[(data["model"] == name) & (data["refused"] == "")]
        if not rows.empty:
            x, y = rows["connections"], rows["y"]
            axes.plot(x, y, color=PALETTE[colour], marker=marker, ms=size, mec="white", mew=0.7)
            ends.append((y.iloc[-1], x.iloc[-1], name))
    axes.set(xscale="log", yscale="log")
    axes.margins(0.05, 0.1)
    axes.grid(True)
    for axis, steps in ((axes.xaxis, (1,)), (axes.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axis.set_minor_locator(NullLocator())
    if (data["refused"] != "").any():
        axes.axvline(FD_SETSIZE, color=FAINT, lw=0.8, ls=(0, (2, 2)), zorder=1)
        axes.text(
            FD_SETSIZE * 0.9,
            0.02,
            f"select ends at FD_SETSIZE, {FD_SETSIZE:,}",
            color=FAINT,
            size=8,
            ha="right",
            transform=axes.get_xaxis_transform(),
        )
    low, high = axes.get_ylim()
    right = data["connections"].max() * 1.9
    height, step = 0.0, (high / low) ** 0.062
    # Of ends at about the same height the left one gets the upper name: leaders do not cross.
    for y, x, name in sorted(ends, key=lambda end: (round(math.log(end[0], 1.1)), -end[1], end[0])):
        height = max(y, height * step)
        colour = PALETTE[LOOKS[name][0]]
        axes.annotate(
            name,
            (x, y),
            (right, height),
            color=colour,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.6, "shrinkA": 0, "shrinkB": 4},
        )


def key(axes: Axes) -> None:
    """What each model does in the two phases."""
    axes.set_axis_off()
    axes.set(xlim=(0, 1), ylim=(len(LOOKS) - 0.3, -1))
    axes.text(0, -0.7, "While it waits; while data is copied", weight="bold", size=10.5)
    for y, name in enumerate(name for name in MODELS if name in LOOKS):
        colour, marker, size = LOOKS[name]
        axes.plot((0, 0.1), (y, y), color=PALETTE[colour])
        axes.plot(0.05, y, color=PALETTE[colour], marker=marker, ms=size, mec="white", mew=0.7)
        axes.text(0.14, y - 0.2, name, va="center", weight="bold")
        phases = f"{MODELS[name].phase_1}; {MODELS[name].phase_2}"
        axes.text(0.14, y + 0.22, phases, va="center", size=8.5, color=FAINT)


def write(folder: Path, data: pd.DataFrame, verdicts: pd.DataFrame) -> None:
    """Data, claims and a figure per kernel."""
    for name, frame in (("data.csv", data), ("claims.csv", verdicts)):
        with replacing(folder / name) as unfinished:
            frame.to_csv(unfinished, index=False, float_format="%.6g")
    for kernel, rows in data.groupby("kernel"):
        save(draw(rows), folder / ("figure.png" if kernel == "simulated" else "figure-real.png"))


def main() -> int:
    """Run, print the claims, write the files; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description="The five I/O models as connections grow.")
    parser.add_argument("--small", action="store_true", help="a few seconds, for a first look")
    parser.add_argument("--real", action="store_true", help="run on real sockets of this host too")
    parser.add_argument("--profile", default="python", help="cost profile: python, native, a file")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    if options.real and (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}; leave --real out")
    options.out.mkdir(parents=True, exist_ok=True)
    sizes, requests = SMALL if options.small else FULL
    kernels = ("simulated", "real") if options.real else ("simulated",)
    data = pd.concat(sweep(kernel, sizes, requests, options.profile) for kernel in kernels)
    verdicts = judge(data)
    write(options.out, data, verdicts)
    Console(width=100 + 40 * options.real).print(table(verdicts))
    print(f"results: {options.out}")
    return int((verdicts["holds"] == "no").any())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
