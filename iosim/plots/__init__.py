"""Figures: what all share, and those of latencies, scans and sweeps.

matplotlib takes a second or two to import: functions that need it import it.
"""

from iosim.plots.base import FAINT, INK, PALETTE, canvas, duration, ready, save, style
from iosim.plots.latency import distributions
from iosim.plots.scans import scan_fits
from iosim.plots.sweeps import break_even, heat, lines

__all__ = [
    "FAINT",
    "INK",
    "PALETTE",
    "break_even",
    "canvas",
    "distributions",
    "duration",
    "heat",
    "lines",
    "ready",
    "save",
    "scan_fits",
    "style",
]
