"""A simulated machine that has been calibrated, for tests of what comes after that."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from iosim.calibrate import Plan, Simulated, calibrate
from iosim.calibrate.cache import samples_path
from iosim.calibrate.calibration import Steps
from iosim.costs import CostProfile

HOST = {"cpu": "simulated", "l2_bytes": 1 << 20, "l3_bytes": 1 << 24}
"""With caches that the measured scans fall out of, and larger ones even more."""
PASSES = 2


@cache
def _calibrated() -> tuple[CostProfile, Steps]:
    true = CostProfile.shipped("python").model_copy(update={"host": HOST})
    place = Simulated(true, noise=0.02)
    return calibrate(place, "simulated", HOST, plan=Plan(passes=PASSES, rounds=2, patience_s=0))


def calibrated(path: Path) -> CostProfile:
    """Save the machine's profile as `path`, and beside it everything that was measured."""
    profile, steps = _calibrated()
    profile.save(path)
    steps.save(samples_path(path))
    return profile
