"""Measure what this host's kernel actions cost, and keep the result for later runs."""

from iosim.calibrate.cache import host_profile, profile_for
from iosim.calibrate.quick import quick

__all__ = ["host_profile", "profile_for", "quick"]
