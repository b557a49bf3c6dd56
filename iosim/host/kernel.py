"""The real Linux kernel, put together from its groups of calls."""

from __future__ import annotations

from iosim.host.aio import AioCalls
from iosim.host.clocks import ClockCalls
from iosim.host.readiness import ReadinessCalls
from iosim.host.rings import RingCalls
from iosim.host.signalfd import SignalfdCalls
from iosim.host.signals import SignalCalls
from iosim.host.sockets import SocketCalls
from iosim.host.threads import ThreadCalls
from iosim.kernel import Kernel


class HostKernel(
    SocketCalls,
    ReadinessCalls,
    SignalCalls,
    SignalfdCalls,
    AioCalls,
    RingCalls,
    ThreadCalls,
    ClockCalls,
    Kernel,
):
    """`iosim.kernel.Kernel` on real system calls, as one thread sees it.

    Every call returns without suspending the program; the `yield` after its return makes it the
    generator that programs expect.
    """
