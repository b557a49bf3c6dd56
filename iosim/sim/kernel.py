"""The simulated kernel, put together from its groups of calls."""

from __future__ import annotations

from iosim.sim.aio import AioCalls
from iosim.sim.clocks import ClockCalls
from iosim.sim.readiness import ReadinessCalls
from iosim.sim.rings import RingCalls
from iosim.sim.signalfd import SignalfdCalls
from iosim.sim.signals import SignalCalls
from iosim.sim.sockets import SocketCalls
from iosim.sim.spin import SpinCalls
from iosim.sim.threads import ThreadCalls


class SimKernel(
    SocketCalls,
    ReadinessCalls,
    SignalCalls,
    SignalfdCalls,
    AioCalls,
    RingCalls,
    ThreadCalls,
    ClockCalls,
    SpinCalls,
):
    """`iosim.kernel.Kernel` on simulated time, as one thread sees it."""

    __slots__ = ()
