"""Sweeps: many runs from one small file, on one machine or a cluster, with nothing lost."""

from iosim.sweep.api import profiles_of, sweep
from iosim.sweep.design import Design
from iosim.sweep.driver import drive
from iosim.sweep.export import export, frame
from iosim.sweep.store import Counts, Store

__all__ = ["Counts", "Design", "Store", "drive", "export", "frame", "profiles_of", "sweep"]
