"""Do costs measured with few descriptors tell what many cost? README.md beside this file answers.

python experiments/many_descriptors/run.py [--small] [--profile NAME] [--out DIR]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from iosim import CostProfile, IosimError
from iosim.calibrate import Simulated, ThisHost, host_profile, predicted, profile_for, quiet
from iosim.files import replacing
from iosim.plots import FAINT, PALETTE, canvas, duration, save, style

HERE = Path(__file__).parent
ROUNDS, SMALL_ROUNDS = 30, 2
PATIENCE_S = 20.0
KINDS = {"poll": "vermilion", "epoll_wait": "blue"}
MOST_ERROR = 0.20
"""What the prediction at the largest count may be off."""


def measure(place: Simulated | ThisHost, profile: CostProfile, rounds: int) -> pd.DataFrame:
    """A row per call and number of descriptors: what it took, and what the profile says."""
    measured, _ = quiet([place.measure("many_descriptors", rounds, PATIENCE_S)])
    rows = []
    for row in measured:
        if not row.expected:
            continue
        kind, _, count = row.about.partition(", ")
        measured_ns = float(np.median(row.values))
        predicted_ns = predicted(row.expected, profile.costs)
        line_ns = predicted({**row.expected, "fd_miss_ns": 0}, profile.costs)
        rows.append(
            {
                "call": kind,
                "descriptors": int(count),
                "measured_ns": measured_ns,
                "predicted_ns": predicted_ns,
                "error": predicted_ns / measured_ns - 1,
                "straight_line_ns": line_ns,
                "straight_line_error": line_ns / measured_ns - 1,
            }
        )
    return pd.DataFrame(rows)


def draw(data: pd.DataFrame) -> Figure:
    """Time per call over the number of descriptors."""
    with style():
        figure = canvas(7.5, 5)
        axes = figure.subplots()
        for kind, colour in KINDS.items():
            rows = data[data["call"] == kind]
            x = rows["descriptors"]
            axes.plot(
                x, rows["measured_ns"], "o", ms=6, color=PALETTE[colour], label=f"{kind}, measured"
            )
            axes.plot(x, rows["predicted_ns"], color=PALETTE[colour], label=f"{kind}, predicted")
        rows = data[data["call"] == "poll"]
        axes.plot(
            rows["descriptors"],
            rows["straight_line_ns"],
            color=FAINT,
            ls=(0, (1, 2)),
            label="poll, without caches",
        )
        axes.set(xscale="log", yscale="log")
        axes.set_xlabel("watched descriptors, one of them ready", size=11)
        axes.set_ylabel("processor time of a call", size=11)
        axes.yaxis.set_major_formatter(lambda ns, _: duration(ns))
        counts = sorted(set(data["descriptors"]))
        # The labels of the last two would overlap.
        axes.set_xticks(counts, [f"{count:,}" if count != counts[-2] else "" for count in counts])
        axes.minorticks_off()
        axes.grid(True)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, fontsize=9.5)
        figure.tight_layout()
    return figure


def tell(share: float, what: str) -> None:
    """How far the calibration is."""
    print(f"\r{share:4.0%} {what:30}", end="", file=sys.stderr)


def main() -> int:
    """Measure, write the files; 1 if the largest counts are predicted badly."""
    parser = argparse.ArgumentParser(description="poll and epoll_wait over many descriptors.")
    parser.add_argument(
        "--small", action="store_true", help="on the simulated kernel, which takes seconds"
    )
    parser.add_argument(
        "--profile", default="host", help="cost profile: host (measured if there is none), a file"
    )
    parser.add_argument(
        "--out", type=Path, default=HERE / "results", help="folder; results/ beside this script"
    )
    options = parser.parse_args()
    if options.profile == "host" and not options.small:
        host_profile(tell)
    profile = profile_for("python" if options.small else options.profile)
    place = Simulated(profile) if options.small else ThisHost(profile.caches)
    data = measure(place, profile, SMALL_ROUNDS if options.small else ROUNDS)
    options.out.mkdir(parents=True, exist_ok=True)
    with replacing(options.out / "data.csv") as unfinished:
        data.to_csv(unfinished, index=False, float_format="%.6g")
    save(draw(data), options.out / "figure.png")
    print(f"profile: {profile.name}")
    print(data.to_string(index=False, float_format="{:.4g}".format))
    print(f"results: {options.out}")
    last = data.groupby("call").last()
    return int((last["error"].abs() > MOST_ERROR).any())


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        sys.exit(f"{Path(__file__).name}: {error}")
