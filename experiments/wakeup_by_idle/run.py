"""Does a reply take longer, the longer the core has idled? README.md beside this file answers.

python experiments/wakeup_by_idle/run.py [--small] [--real] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from iosim import IosimError, Run, Workload, run_real, simulate, why_not
from iosim.calibrate import profile_for
from iosim.files import replacing
from iosim.plots import FAINT, PALETTE, canvas, duration, save, style

HERE = Path(__file__).parent
SEED = 1
MODEL = "epoll"
THINK_NS = [
    round(base * 10**power)
    for power in range(4, 8)
    for base in (1, 2, 5)
    if base * 10**power <= 5e7
]
"""Pauses between a reply and the next request."""

SMALL_THINK_NS = [10_000, 1_000_000, 50_000_000]
REQUESTS, SMALL_REQUESTS = 2_000, 200
REAL_NS = 5_000_000_000
"""A real run has fewer requests where they would take longer than this, but 50."""

COLOURS = ("blue", "orange")
"""Of the simulated profiles, in their order. What is measured is black."""


def load(think_ns: int, requests: int) -> Workload:
    """One client that thinks before each request."""
    return Workload(connections=1, arrivals="closed", think_ns=think_ns, requests=requests)


def quantiles(run: Run, source: str) -> dict[str, float]:
    """Median and 90 % quantile of the latency; `source` says where they come from."""
    p50, p90 = np.quantile(run.latency_ns, [0.5, 0.9])
    return {f"{source}_p50_ns": p50, f"{source}_p90_ns": p90}


def sweep(profiles: list[str], thinks_ns: list[int], requests: int, real: bool) -> pd.DataFrame:
    """A row per profile and pause; measured figures stand beside the first profile's."""
    rows = []
    for profile in profiles:
        costs = profile_for(profile)
        for think_ns in thinks_ns:
            print(f"\r{profile}, {duration(think_ns):>8}", end="", file=sys.stderr, flush=True)
            row = {"profile": costs.name, "think_ns": think_ns, "requests": requests, "seed": SEED}
            run = simulate(MODEL, load(think_ns, requests), profile=costs, seed=SEED)
            row |= quantiles(run, "simulated")
            if real and profile == profiles[0]:
                few = max(50, min(requests, REAL_NS // think_ns))
                run = run_real(MODEL, load(think_ns, few), seed=SEED)
                row |= quantiles(run, "measured") | {
                    "measured_requests": few,
                    "measured_on": "{cpu}, {python}".format_map(run.provenance["host"]),
                }
            rows.append(row)
    print(file=sys.stderr)
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """Latency over the pause: a line for the median, a band up to the 90 % quantile."""
    with style():
        figure = canvas(7.5, 5)
        axes = figure.subplots()
        about = "epoll, one connection; thick: median, thin: 90 % quantile"
        sources = [
            (rows, "simulated", f"simulated, {name.partition(':')[0]}", PALETTE[colour], "o")
            for (name, rows), colour in zip(
                data.groupby("profile", sort=False), COLOURS, strict=False
            )
        ]
        if "measured_p50_ns" in data:
            rows = data.dropna(subset="measured_p50_ns")
            sources.append((rows, "measured", "measured on this host", PALETTE["black"], "D"))
        for rows, source, name, colour, marker in sources:
            x, p50, p90 = (rows[f"{key}_ns"] for key in ("think", f"{source}_p50", f"{source}_p90"))
            dashes = "-" if source == "simulated" else (0, (4, 2))
            axes.plot(x, p50, color=colour, marker=marker, ms=5, ls=dashes, label=name)
            axes.plot(x, p90, color=colour, lw=0.8, ls=dashes)
            axes.fill_between(x, p50, p90, color=colour, alpha=0.15, lw=0)
        axes.set(xscale="log", yscale="log")
        axes.set_xlabel("pause between reply and next request", size=11)
        axes.set_ylabel("latency", size=11)
        for axis, steps in ((axes.xaxis, (1,)), (axes.yaxis, (1, 2, 5))):
            axis.set_major_locator(LogLocator(subs=steps))
            axis.set_major_formatter(FuncFormatter(lambda ns, _: duration(ns)))
            axis.set_minor_locator(NullLocator())
        axes.tick_params(labelsize=10.5)
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=11)
        figure.text(
            0.02, 0.945, "A core that has idled longer wakes up later", size=14, weight="bold"
        )
        figure.text(0.02, 0.895, about, color=FAINT, size=10.5)
        figure.tight_layout(rect=(0, 0, 1, 0.89))
    return figure


def main() -> int:
    """Run, write the files; 1 if a simulated latency does not grow with the pause."""
    parser = argparse.ArgumentParser(description="Latency by how long the core has idled.")
    parser.add_argument("--small", action="store_true", help="a few seconds, for a first look")
    parser.add_argument("--real", action="store_true", help="run on real sockets of this host too")
    parser.add_argument(
        "--profile", default="python", help="cost profile beside native: python, host, a file"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    if options.real and (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}; leave --real out")
    thinks_ns = SMALL_THINK_NS if options.small else THINK_NS
    requests = SMALL_REQUESTS if options.small else REQUESTS
    profiles = list(dict.fromkeys((options.profile, "native")))
    data = sweep(profiles, thinks_ns, requests, options.real)
    options.out.mkdir(parents=True, exist_ok=True)
    suffix = "-real" if options.real else ""
    with replacing(options.out / f"data{suffix}.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / f"figure{suffix}.png")
    print(data.drop(columns=["requests", "seed"]).to_string(index=False))
    print(f"results: {options.out}")
    medians = data.groupby("profile")["simulated_p50_ns"]
    return int((medians.last() <= medians.first()).any())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
