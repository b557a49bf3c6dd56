"""The simulated kernel: the same calls as the real one, on simulated time."""

from iosim.sim.simulate import simulate

__all__ = ["simulate"]
