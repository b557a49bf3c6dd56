"""Measure what a host's kernel actions cost, with the benchmarks run as programs of their own."""

from iosim.calibrate.cache import calibrate_host, host_profile, profile_for
from iosim.calibrate.calibration import FULL, QUICK, Plan, calibrate
from iosim.calibrate.estimate import predicted
from iosim.calibrate.quiet import quiet
from iosim.calibrate.real import ThisHost
from iosim.calibrate.simulated import Simulated

__all__ = [
    "FULL",
    "QUICK",
    "Plan",
    "Simulated",
    "ThisHost",
    "calibrate",
    "calibrate_host",
    "host_profile",
    "predicted",
    "profile_for",
    "quiet",
]
