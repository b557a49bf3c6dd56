"""Who of four workers gets the connections, and who is woken in vain? README.md has the answer.

python experiments/workers/run.py [--small] [--real] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from iosim import IosimError, Kernel, Machine, Trace, Workload, run_real, simulate, why_not
from iosim.calibrate import profile_for
from iosim.files import replacing
from iosim.models import Epoll
from iosim.plots import FAINT, PALETTE, canvas, duration, save, style

HERE = Path(__file__).parent
SEED = 1
WORKERS = 4
WAYS = ("shared", "exclusive", "reuseport")
GAPS_NS = (2_000_000, 20_000)
"""Pauses between two connections: in the longer one every worker falls asleep again, in the
shorter one it does not."""

FULL, SMALL = 400, 100
"""Connections in each run."""


def load(gap_ns: int, connections: int) -> Workload:
    """Connections that come one by one; what they ask for afterwards does not matter here."""
    return Workload(connections=connections, connect_gap_ns=gap_ns, requests=connections)


def simulated(model: Epoll, work: Workload, profile: str, cores: int) -> tuple[list[str], float]:
    """The thread that accepted each connection, and wake-ups per connection."""
    trace = Trace()
    machine = Machine(cores=cores)
    simulate(model, work, profile=profile_for(profile), machine=machine, seed=SEED, trace=trace)
    accepts = [c for c in trace.calls if c.name == "accept" and c.result and c.result > 0]
    first_ns, last_ns = accepts[0].begin_ns, accepts[-1].begin_ns
    wakeups = [s for s in trace.states if s.state == "RUNNABLE" and first_ns < s.at_ns <= last_ns]
    return [call.thread for call in accepts], len(wakeups) / (len(accepts) - 1)


class Counting:
    """The real kernel, which notes with each connection how often threads have slept so far."""

    def __init__(self, kernel: Kernel, thread: int, log: int) -> None:
        self._kernel = kernel
        self._thread = thread
        self._log = log
        self._spawned = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kernel, name)

    def accept(self, listener: int, nonblocking: bool = False) -> Any:
        fd = yield from self._kernel.accept(listener, nonblocking)
        if fd >= 0:
            slept = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
            os.write(self._log, f"{self._thread} {slept}\n".encode())
        return fd

    def spawn(self, program: Callable[..., Any], *args: Any) -> Any:
        self._spawned += 1
        number, log = self._spawned, self._log

        def counting(kernel: Kernel, *args: Any) -> Any:
            yield from program(Counting(kernel, number, log), *args)

        yield from self._kernel.spawn(counting, *args)


def real(model: Epoll, work: Workload) -> tuple[list[str], float]:
    """As `simulated`; a sleep that ended is a wake-up."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "accepted")

        def program(kernel: Kernel, listener: int) -> Any:
            counting: Any = Counting(kernel, 0, os.open(path, os.O_WRONLY | os.O_CREAT))
            yield from model.program(counting, listener)

        run_real(program, work, seed=SEED)
        rows = [tuple(map(int, line.split())) for line in Path(path).read_text().splitlines()]
    wakeups = (rows[-1][1] - rows[0][1]) / (len(rows) - 1)
    return [str(thread) for thread, _ in rows], wakeups


def sweep(connections: int, profile: str, with_real: bool) -> pd.DataFrame:
    """A row per worker, way to share the listener, pause, and kernel; the busiest worker first."""
    places = [("simulated", 4), ("simulated", 1)] + [("real", 1)] * with_real
    rows = []
    for kernel, cores in places:
        for gap_ns in GAPS_NS:
            for way in WAYS:
                model = Epoll(workers=WORKERS, listener=way)
                work = load(gap_ns, connections)
                if kernel == "simulated":
                    threads, wakeups = simulated(model, work, profile, cores)
                else:
                    threads, wakeups = real(model, work)
                counts = sorted((threads.count(one) for one in set(threads)), reverse=True)
                counts += [0] * (WORKERS - len(counts))
                rows += [
                    {
                        "kernel": kernel,
                        "cores": cores,
                        "connect_gap_ns": gap_ns,
                        "listener": way,
                        "wakeups_per_connection": wakeups,
                        "worker": worker,
                        "connections": count,
                        "share": count / len(threads),
                    }
                    for worker, count in enumerate(counts, start=1)
                ]
    return pd.DataFrame(rows).assign(seed=SEED, profile=profile)


def draw(data: pd.DataFrame) -> Figure:
    """A row of panels per kernel: wake-ups on the left, shares on the right."""
    places = list(dict.fromkeys(zip(data["kernel"], data["cores"], strict=True)))
    with style():
        figure = canvas(10, 1.0 + 2.75 * len(places))
        panels = figure.subplots(len(places), 2, squeeze=False)
        for (left, right), (kernel, cores) in zip(panels, places, strict=True):
            rows = data[(data["kernel"] == kernel) & (data["cores"] == cores)]
            where = f"{kernel}, {cores} core{'s' * (cores > 1)}"
            bars(left, rows[rows["worker"] == 1], "wakeups_per_connection", "{:.1f}")
            left.set_title(f"Wake-ups per connection: {where}", loc="left")
            left.set_xlim(0, 5.2)
            shares(right, rows)
            right.set_title(f"Share of each worker (%): {where}", loc="left")
        figure.text(
            0.02,
            1 - 0.3 / figure.get_figheight(),
            "Four epoll workers: who is woken, who gets the connections",
            size=15,
            weight="bold",
            va="center",
        )
        figure.tight_layout(rect=(0, 0, 1, 1 - 0.55 / figure.get_figheight()), h_pad=2, w_pad=2)
    return figure


def places_of(rows: pd.DataFrame) -> list[tuple[float, int, str]]:
    """Height, pause and way of each bar, from the top down."""
    found = []
    for block, gap_ns in enumerate(rows["connect_gap_ns"].unique()):
        found += [(-block * 3.7 - i, int(gap_ns), way) for i, way in enumerate(WAYS)]
    return found


def label(axes: Axes, rows: pd.DataFrame) -> None:
    """Name the bars."""
    places = places_of(rows)
    axes.set_yticks([y for y, _, _ in places], [way for _, _, way in places])
    axes.tick_params(axis="y", length=0)
    for y, gap_ns, way in places:
        if way == WAYS[0]:
            text = f" a connection every {duration(gap_ns)}"
            axes.text(0, y + 0.55, text, color=FAINT, size=8, va="bottom")
    axes.set_ylim(places[-1][0] - 0.6, 1.2)


def bars(axes: Axes, rows: pd.DataFrame, column: str, text: str) -> None:
    """A bar per way and pause."""
    for y, gap_ns, way in places_of(rows):
        one = rows[(rows["connect_gap_ns"] == gap_ns) & (rows["listener"] == way)]
        value = float(one[column].iloc[0])
        axes.barh(y, value, color=PALETTE["vermilion"], height=0.75)
        axes.text(value + 0.06, y, text.format(value), va="center", color=FAINT)
    label(axes, rows)


def shares(axes: Axes, rows: pd.DataFrame) -> None:
    """A stacked bar per way and pause, the busiest worker first."""
    colours = [PALETTE[name] for name in ("blue", "sky", "green", "yellow")]
    for y, gap_ns, way in places_of(rows):
        one = rows[(rows["connect_gap_ns"] == gap_ns) & (rows["listener"] == way)]
        left = 0.0
        for share, colour in zip(one["share"] * 100, colours, strict=True):
            axes.barh(y, share, left=left, color=colour, height=0.75, ec="white", lw=0.8)
            if share >= 6:
                ink = "white" if colour == PALETTE["blue"] else "black"
                axes.text(left + share / 2, y, f"{share:.0f}", ha="center", va="center", color=ink)
            left += share
    axes.set_xlim(0, 100)
    label(axes, rows)


def judge(data: pd.DataFrame) -> list[tuple[str, str, bool]]:
    """What the simulated runs on four cores must show: claim, found, whether it holds."""
    rows = data[(data["kernel"] == "simulated") & (data["cores"] == 4) & (data["worker"] == 1)]
    slow = rows[rows["connect_gap_ns"] == GAPS_NS[0]].set_index("listener")
    woken, most = slow["wakeups_per_connection"], slow["share"]
    return [
        (
            "a shared listener wakes every worker that sleeps",
            f"{woken['shared']:.2f} wake-ups per connection",
            woken["shared"] > WORKERS - 0.1,
        ),
        (
            "EPOLLEXCLUSIVE and SO_REUSEPORT wake one",
            f"{woken['exclusive']:.2f} and {woken['reuseport']:.2f} wake-ups per connection",
            max(woken["exclusive"], woken["reuseport"]) < 1.1,
        ),
        (
            "with EPOLLEXCLUSIVE one worker gets what comes while all sleep",
            f"{most['exclusive']:.0%} of the connections",
            most["exclusive"] > 0.95,
        ),
        (
            "SO_REUSEPORT spreads them by chance, whoever sleeps",
            f"{most['reuseport']:.0%} for the busiest of {WORKERS}",
            most["reuseport"] < 0.4,
        ),
    ]


def main() -> int:
    """Run, print the claims, write the files; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description="How four workers share a listening socket.")
    parser.add_argument("--small", action="store_true", help="fewer connections, for a first look")
    parser.add_argument("--real", action="store_true", help="run on real sockets of this host too")
    parser.add_argument("--profile", default="python", help="cost profile: python, native, a file")
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    if options.real and (reason := why_not()) is not None:
        raise IosimError(f"no real runs on this host: {reason}; leave --real out")
    options.out.mkdir(parents=True, exist_ok=True)
    data = sweep(SMALL if options.small else FULL, options.profile, options.real)
    with replacing(options.out / "data.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / "figure.png")
    verdicts = judge(data)
    table = Table("claim", "found", "holds")
    for claim, found, holds in verdicts:
        table.add_row(claim, found, "yes" if holds else "no")
    Console(width=100).print(table)
    print(f"results: {options.out}")
    return int(not all(holds for _, _, holds in verdicts))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
