"""The micro-benchmarks, one module for each group of calls."""

from iosim.calibrate.benchmarks import aio, memory, readiness, rings, signals, sockets, threads

__all__ = ["aio", "memory", "readiness", "rings", "signals", "sockets", "threads"]
