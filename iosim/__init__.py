"""Simulate the five Unix network I/O models, and hold the simulation against real sockets.

A server program is written once, against `iosim.Kernel`, and runs on a simulated and on the real
kernel:

    import iosim

    load = iosim.Workload(connections=1000, rate_per_s="20k/s")
    iosim.simulate("epoll", load).summary()
    iosim.run_real("epoll", load).summary()
"""

from iosim import start as start  # before all others
from iosim.calibrate import calibrate_host, host_profile
from iosim.compare import Comparison, compare
from iosim.costs import CostProfile
from iosim.errors import HostRefused, IosimError, RunFailed
from iosim.host import load_server, run_real, why_not
from iosim.kernel import Kernel
from iosim.machine import Machine, Nic
from iosim.models import MODELS, Model
from iosim.models.base import answer
from iosim.results import Run
from iosim.service import Service
from iosim.sim import simulate
from iosim.sweep import sweep
from iosim.timeline import timeline, timelines
from iosim.trace import Trace
from iosim.workload import Workload

__all__ = [
    "MODELS",
    "Comparison",
    "CostProfile",
    "HostRefused",
    "IosimError",
    "Kernel",
    "Machine",
    "Model",
    "Nic",
    "Run",
    "RunFailed",
    "Service",
    "Trace",
    "Workload",
    "answer",
    "calibrate_host",
    "compare",
    "host_profile",
    "load_server",
    "run_real",
    "simulate",
    "sweep",
    "timeline",
    "timelines",
    "why_not",
]
