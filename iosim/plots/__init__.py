"""Figures: what all share, and those of latencies and scans.

matplotlib takes a second or two to import: functions that need it import it.
"""

from iosim.plots.base import FAINT, INK, PALETTE, canvas, duration, save, style
from iosim.plots.latency import distributions
from iosim.plots.scans import scan_fits

__all__ = [
    "FAINT",
    "INK",
    "PALETTE",
    "canvas",
    "distributions",
    "duration",
    "save",
    "scan_fits",
    "style",
]
