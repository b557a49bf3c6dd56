"""How long should a network card wait to interrupt? README.md beside this file has the answer.

python experiments/interrupt_coalescing/run.py [--small] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator, StrMethodFormatter

from iosim import CostProfile, IosimError, Machine, Nic, Run, Workload, simulate
from iosim.calibrate import profile_for
from iosim.files import replacing
from iosim.plots import FAINT, INK, PALETTE, canvas, save, style

HERE = Path(__file__).parent
SEED = 1
CONNECTIONS = 64

FULL = (0, 5, 10, 20, 50, 100, 200), 30_000
SMALL = (0, 10, 200), 1_000
"""Coalescing times in µs, and requests in each run."""
BARS_US = (0, 10, 200)

RATES = {10_000: ("green", "o"), 50_000: ("blue", "s"), 130_000: ("vermilion", "D")}
"""Requests per second: a light, a middling and a heavy load for one core; colour and marker."""
P99 = (0, (4, 1.5))
"""Line style of the 99th percentile."""
LIGHT_PER_S, HEAVY_PER_S = min(RATES), max(RATES)

USES = {"softirq": "vermilion", "switch": "orange", "system": "sky", "user": "black"}
"""What the core does for a request; the first two are what coalescing saves."""


def figures(run: Run) -> dict[str, float]:
    """What is kept of one run. The core's work counts, whichever thread it held up."""
    (core,) = run.core_times
    requests = len(run.records)
    parts = {use: getattr(core, f"{use}_ns") / requests for use in USES}
    latency = run.summary()["latency_ns"]
    return {
        "latency_p50_ns": latency["p50"],
        "latency_p99_ns": latency["p99"],
        "cpu_ns_per_request": sum(parts.values()),
        **{f"{use}_ns_per_request": ns for use, ns in parts.items()},
        "utilisation": 1 - core.idle_ns / run.elapsed_ns,
        "wakeups_per_request": run.wakeups / requests,
        "drops": run.drops,
    }


def sweep(times_us: Sequence[int], requests: int, costs: CostProfile) -> pd.DataFrame:
    """A row per rate and coalescing time."""
    points = [(rate, time_us) for rate in RATES for time_us in times_us]
    rows = []
    for number, (rate, time_us) in enumerate(points, start=1):
        print(f"\rrun {number} of {len(points)}", end="", file=sys.stderr, flush=True)
        load = Workload(connections=CONNECTIONS, rate_per_s=rate, requests=requests)
        machine = Machine(nic=Nic(coalesce_ns=1_000 * time_us))
        run = simulate("epoll", load, profile=costs, machine=machine, seed=SEED)
        rows.append({"rate_per_s": rate, "coalesce_us": time_us} | figures(run))
    print(file=sys.stderr)
    return pd.DataFrame(rows).assign(
        connections=CONNECTIONS, requests=requests, seed=SEED, profile=costs.name
    )


def judge(data: pd.DataFrame) -> list[tuple[str, bool]]:
    """What the README says, put as questions to the runs: in words with figures, and whether so."""
    points = data.set_index(["rate_per_s", "coalesce_us"])
    longest_us = int(data["coalesce_us"].max())
    verdicts = []
    for rate in RATES:
        cpu = points.loc[rate, "cpu_ns_per_request"]
        most, least = cpu[0] / 1e3, cpu[longest_us] / 1e3
        verdicts.append(
            (
                f"{rate:,}/s: CPU per request falls, from {most:.1f} to {least:.1f} µs",
                cpu.is_monotonic_decreasing,
            )
        )
    p50, p99 = (points.loc[LIGHT_PER_S, f"latency_{name}_ns"] for name in ("p50", "p99"))
    for name, latency in (("p50", p50), ("p99", p99)):
        before, after = latency[0] / 1e3, latency[longest_us] / 1e3
        verdicts.append(
            (
                f"{LIGHT_PER_S:,}/s: {name} latency grows by hardly more than the time, "
                f"from {before:.0f} to {after:.0f} µs",
                latency.is_monotonic_increasing and after - before <= 1.05 * longest_us,
            )
        )
    heavy = points.loc[HEAVY_PER_S, "latency_p99_ns"]
    best_us = heavy.idxmin()
    verdicts.append(
        (
            f"{HEAVY_PER_S:,}/s: p99 latency is least with a wait of {best_us} µs, "
            f"{heavy[best_us] / 1e3:.0f} instead of {heavy[0] / 1e3:.0f} µs",
            0 < best_us < longest_us,
        )
    )
    return verdicts


def draw(data: pd.DataFrame) -> Figure:
    """Latency and CPU over the coalescing time, one over the other, and where the CPU goes."""
    with style():
        figure = canvas(10, 8)
        (latency, cpu), (trade, uses) = figure.subplots(2, 2)
        over_time(latency, data, {"latency_p50_ns": "-", "latency_p99_ns": P99})
        latency.set(yscale="log", ylim=(10, 600))
        ticks(latency.yaxis, (10, 20, 50, 100, 200, 500))
        latency.set_title("Latency (µs)", loc="left", pad=10)
        styles = {"p99": P99, "median": "-"}
        latency.legend(
            handles=[
                Line2D([], [], color=INK, ls=line, label=name) for name, line in styles.items()
            ],
            loc="upper left",
            ncols=2,
        )
        over_time(cpu, data, {"cpu_ns_per_request": "-"})
        cpu.set_ylim(bottom=0)
        cpu.set_title("CPU per request (µs)", loc="left", pad=10)
        figure.legend(
            *cpu.get_legend_handles_labels(),
            loc="upper left",
            bbox_to_anchor=(0.01, 0.925),
            ncols=3,
        )
        trade_off(trade, data)
        where_it_goes(uses, data)
        figure.text(0.02, 0.955, "What interrupt coalescing trades", size=15, weight="bold")
        about = (
            f"epoll on one core, {CONNECTIONS} connections, 10 Gbit/s; simulated, costs of profile"
        )
        figure.text(0.02, 0.93, f"{about} {data['profile'].iloc[0]!r}", color=FAINT)
        figure.tight_layout(rect=(0, 0, 1, 0.88), h_pad=2, w_pad=3)
    return figure


def over_time(axes: Axes, data: pd.DataFrame, columns: dict[str, object]) -> None:
    """Columns in µs over the coalescing time: a colour per rate, a line style per column."""
    for rate, (colour, marker) in RATES.items():
        rows = data[data["rate_per_s"] == rate]
        for column, line in columns.items():
            axes.plot(
                rows["coalesce_us"],
                rows[column] / 1e3,
                color=PALETTE[colour],
                marker=marker,
                ms=5,
                mec="white",
                mew=0.7,
                ls=line,
                label=f"{rate:,} requests/s",
            )
    # Linear at first, since 0 is one of the times.
    axes.set_xscale("symlog", linthresh=5, linscale=0.4)
    ticks(axes.xaxis, sorted(set(data["coalesce_us"])))
    axes.set_xlabel("coalescing time (µs)")
    axes.grid(True)


def ticks(axis: object, values: Sequence[float]) -> None:
    """Ticks at these values and no others."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(NullLocator())


def trade_off(axes: Axes, data: pd.DataFrame) -> None:
    """p99 latency over CPU per request: a curve per rate, its points named by their times."""
    for rate, (colour, marker) in RATES.items():
        rows = data[data["rate_per_s"] == rate]
        x, y = rows["cpu_ns_per_request"] / 1e3, rows["latency_p99_ns"] / 1e3
        axes.plot(x, y, color=PALETTE[colour], marker=marker, ms=5, mec="white", mew=0.7)
        for at_x, at_y, time_us in zip(x, y, rows["coalesce_us"], strict=True):
            # Beside the curve: the one of the heavy load turns back.
            left = rate == HEAVY_PER_S and time_us >= 10
            below = rate == HEAVY_PER_S and time_us < 10
            axes.annotate(
                f"{time_us}",
                (at_x, at_y),
                (-3, -11) if left else (6, -4) if below else (5, 4),
                textcoords="offset points",
                ha="right" if left else "left",
                color=PALETTE[colour],
            )
    axes.set(yscale="log", ylim=(16, 500))
    ticks(axes.yaxis, (20, 50, 100, 200, 500))
    axes.margins(x=0.08)
    axes.set_title("p99 latency (µs) over CPU per request", loc="left", pad=10)
    axes.text(
        0.98,
        0.94,
        "numbers: coalescing time (µs)",
        transform=axes.transAxes,
        ha="right",
        color=FAINT,
    )
    axes.set_xlabel("CPU per request (µs)")
    axes.grid(True)


def where_it_goes(axes: Axes, data: pd.DataFrame) -> None:
    """CPU per request by use, a bar per rate and time, for a few of the times."""
    labels, places = [], []
    for group, rate in enumerate(RATES):
        rows = data[data["rate_per_s"] == rate].set_index("coalesce_us")
        for bar, time_us in enumerate(BARS_US):
            place = group * (len(BARS_US) + 1) + bar
            places.append(place)
            labels.append(f"{time_us}")
            bottom = 0.0
            for use in reversed(USES):
                height = rows.loc[time_us, f"{use}_ns_per_request"] / 1e3
                axes.bar(place, height, 0.8, bottom, color=PALETTE[USES[use]])
                bottom += height
        middle = group * (len(BARS_US) + 1) + (len(BARS_US) - 1) / 2
        axes.text(
            middle,
            -0.09,
            f"{rate:,}/s",
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="top",
            color=PALETTE[RATES[rate][0]],
        )
    axes.set_xticks(places, labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("coalescing time (µs), by load", labelpad=20)
    axes.set_title("CPU per request (µs), by use", loc="left", pad=10)
    squares = {"marker": "s", "ms": 7, "ls": ""}
    axes.legend(
        handles=[Line2D([], [], color=PALETTE[USES[use]], label=use, **squares) for use in USES],
        loc="upper right",
        ncols=4,
        handletextpad=0,
        columnspacing=1,
    )
    axes.set_ylim(top=10.5)
    axes.grid(True, axis="y")
    axes.set_axisbelow(True)


def main() -> int:
    """Run, print the claims, write the files; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description="What interrupt coalescing trades.")
    parser.add_argument("--small", action="store_true", help="a few seconds, for a first look")
    parser.add_argument("--profile", default="native", help="cost profile: python, native, a file")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    times_us, requests = SMALL if options.small else FULL
    data = sweep(times_us, requests, profile_for(options.profile))
    with replacing(options.out / "data.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / "figure.png")
    verdicts = judge(data)
    for claim, holds in verdicts:
        print(f"{'holds' if holds else 'FAILS'}  {claim}")
    print(f"results: {options.out}")
    return int(not all(holds for _, holds in verdicts))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
