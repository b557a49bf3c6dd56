"""Do ten pipes tell what a hundred thousand cost? README.md beside this file answers.

python experiments/pipe_ring/run.py [--reference FILE --l2 SIZE --l3 SIZE] [--library NAME]
    [--fit-up-to N] [--json] [--out DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from iosim import IosimError
from iosim.caches import Caches
from iosim.calibrate.scan import ScanFit, fit_scan
from iosim.files import read_table, replacing
from iosim.plots import save, scan_fits
from iosim.units import parse_count

HERE = Path(__file__).parent
REFERENCE = HERE / "pipe_ring_i7-12800H_active1.csv"
L2, L3 = "1.25MiB", "24MiB"
"""Of that CPU, by Intel's specification: L2 for each performance core, L3 for all cores."""

CALLS = {1: 100, 100: 10}
"""About how many calls of the mechanism a run makes, by active pipes: libevent's bench.c writes 100
times with one active pipe, 1000 times with a hundred, of which a call reports all."""

SCANNING = ("select", "poll")
"""Mechanisms that look at every pipe; the others are told which are ready."""

MOST_ERROR = 0.25
LEAST_LINE_ERROR = 0.8
"""What the README claims: the mean error of what is predicted, of select and poll, and how far a
straight line is off with the most pipes."""


def fits(path: Path, library: str, caches: Caches, fit_up_to: int) -> dict[str, ScanFit]:
    """A fit per mechanism of that library."""
    table = pd.DataFrame(
        read_table(path, ["library", "mechanism"], ["active", "pipes", "p50_us_per_run"])
    )
    rows = table[table["library"] == library]
    if rows.empty:
        choices = ", ".join(sorted(table["library"].unique()))
        raise IosimError(f"{path} has no rows of --library {library}: choose one of {choices}")
    active = sorted(rows["active"].unique())
    if len(active) != 1 or active[0] not in CALLS:
        values = ", ".join(f"{number:g}" for number in active)
        raise IosimError(
            f"{path}, active = {values}: give a file of 1 or of 100 active pipes; of others it is "
            "not known how many calls a run makes"
        )
    number = int(active[0])
    return {
        mechanism: fit_scan(
            group["pipes"].astype(int).tolist(),
            (group["p50_us_per_run"] * 1_000 / CALLS[number]).tolist(),
            caches,
            fit_up_to,
            reported=None if mechanism in SCANNING else number,
        )
        for mechanism, group in rows.groupby("mechanism", sort=False)
    }


def borne_out(reports: dict[str, Any]) -> bool:
    """Whether the runs bear out what the README says."""
    return all(
        reports[name]["mean_relative_error_predicted"] < MOST_ERROR
        and abs(reports[name]["rows"][-1]["straight_line_relative_error"]) > LEAST_LINE_ERROR
        for name in SCANNING
    )


def main() -> int:
    """Fit, print, write the files; 1 if what the README says does not hold."""
    parser = argparse.ArgumentParser(description="Event loops on ever more pipes.")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="CSV file of another CPU")
    parser.add_argument("--l2", help=f"L2 cache of one core of that CPU; {L2}")
    parser.add_argument("--l3", help=f"its L3 cache; {L3}, but none if only --l2 is given")
    parser.add_argument("--fit-up-to", default="1024", help="pipes in the rows to fit: 1024")
    parser.add_argument("--library", default="libevent", help="libevent or netlib (coroio's own)")
    parser.add_argument("--json", action="store_true", help="print JSON; writes no files of itself")
    parser.add_argument("--small", action="store_true", help="the same: it takes seconds anyway")
    parser.add_argument(
        "--out", type=Path, help="folder; results/ beside this script if nothing is changed"
    )
    options = parser.parse_args()
    given = ("reference", "l2", "l3", "fit_up_to", "library")
    as_published = all(getattr(options, name) == parser.get_default(name) for name in given)
    l3 = options.l3 or (L3 if options.l2 is None else 0)
    caches, fit_up_to = Caches.of(options.l2 or L2, l3), parse_count(options.fit_up_to)
    found = fits(options.reference, options.library, caches, fit_up_to)
    reports = {mechanism: fit.report() for mechanism, fit in found.items()}
    if options.json:
        print(json.dumps({"mechanisms": reports}, indent=2))
    else:
        keys = [key for key in next(iter(reports.values())) if key.startswith("mean_")]
        shown = {
            name: {key: report[key] for key in keys} | report["constants"]
            for name, report in reports.items()
        }
        print(pd.DataFrame(shown).to_string(float_format="{:.3g}".format, na_rep="-"))
    out = options.out
    if out is None and as_published and not options.json:
        out = HERE / "results"
    if out is not None:
        about = f"{options.reference.stem}, {options.library}; {caches}; fitted up to {fit_up_to:,}"
        rows = [{"mechanism": name} | row for name in reports for row in reports[name]["rows"]]
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "data.csv") as unfinished:
            pd.DataFrame(rows).to_csv(unfinished, index=False, float_format="%.6g")
        save(
            scan_fits(found, "A call costs more once pipes fall out of the caches", about, "pipes"),
            out / "figure.png",
        )
        print(f"results: {out}", file=sys.stderr)
    return int(as_published and not borne_out(reports))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (IosimError, OSError) as error:
        print(f"{Path(__file__).name}: {error}", file=sys.stderr)
        sys.exit(IosimError.exit_code)
