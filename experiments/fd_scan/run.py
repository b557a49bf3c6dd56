"""Do a hundred descriptors tell what a thousand cost? README.md beside this file answers.

python experiments/fd_scan/run.py [--reference FILE --l2 SIZE --l3 SIZE] [--fit-up-to N] [--json]
    [--out DIR]
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
REFERENCE = HERE / "fd_scan_tlpi.csv"
L2, L3 = "1MiB", "0"
"""Assumed: the book does not name its CPU; see README.md."""

SCANNING = ("select", "poll")
"""Mechanisms that look at every descriptor; the others are told of the one that is ready."""


def fits(path: Path, caches: Caches, fit_up_to: int) -> dict[str, ScanFit]:
    """A fit per mechanism."""
    table = pd.DataFrame(read_table(path, ["mechanism"], ["fds", "seconds_per_100k_calls"]))
    return {
        mechanism: fit_scan(
            group["fds"].astype(int).tolist(),
            (group["seconds_per_100k_calls"] * 1e9 / 100_000).tolist(),
            caches,
            fit_up_to,
            reported=None if mechanism in SCANNING else 1,
        )
        for mechanism, group in table.groupby("mechanism", sort=False)
    }


def borne_out(reports: dict[str, Any]) -> bool:
    """Whether the fits bear out what the README says: two rows cannot tell a miss from nothing,
    and what is assumed of it predicts better than a straight line."""
    return all(
        not reports[name]["identified"]["miss_ns"]
        and reports[name]["mean_relative_error_predicted"]
        < reports[name]["mean_relative_error_straight_line"]
        for name in SCANNING
    )


def main() -> int:
    """Fit, print, write the files; 1 if what the README says does not hold."""
    parser = argparse.ArgumentParser(description="Calls that watch ever more descriptors.")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="another CSV file")
    parser.add_argument("--l2", default=L2, help=f"L2 cache of one core of that CPU; {L2}")
    parser.add_argument("--l3", default=L3, help="its L3 cache; none")
    parser.add_argument("--fit-up-to", default="100", help="descriptors in the rows to fit: 100")
    parser.add_argument("--json", action="store_true", help="print JSON; writes no files of itself")
    parser.add_argument("--small", action="store_true", help="the same: it takes seconds anyway")
    parser.add_argument(
        "--out", type=Path, help="folder; results/ beside this script if nothing is changed"
    )
    options = parser.parse_args()
    given = ("reference", "l2", "l3", "fit_up_to")
    as_published = all(getattr(options, name) == parser.get_default(name) for name in given)
    caches, fit_up_to = Caches.of(options.l2, options.l3), parse_count(options.fit_up_to)
    found = fits(options.reference, caches, fit_up_to)
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
        about = f"{options.reference.stem}; {caches}; fitted up to {fit_up_to:,}"
        rows = [{"mechanism": name} | row for name in reports for row in reports[name]["rows"]]
        out.mkdir(parents=True, exist_ok=True)
        with replacing(out / "data.csv") as unfinished:
            pd.DataFrame(rows).to_csv(unfinished, index=False, float_format="%.6g")
        save(
            scan_fits(found, "What a thousand descriptors cost", about, "descriptors"),
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
