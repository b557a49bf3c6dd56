"""Time that others take from the server's cores."""

from __future__ import annotations

import numpy as np

from iosim.machine import Interference
from iosim.sim.accounts import Use
from iosim.sim.cpu import Core, Cpu
from iosim.sim.engine import call_in


def interfere(cpu: Cpu, interference: Interference, generator: np.random.Generator) -> None:
    """Take time from every core from now on, as long as anything else goes on."""
    gap_ns = 1e9 / interference.per_s

    def wait(core: Core) -> None:
        delay_ns = max(1, round(generator.exponential(gap_ns)))
        call_in(cpu.env, delay_ns, lambda _: steal(core))

    def steal(core: Core) -> None:
        cpu.interrupt(core, int(generator.choice(interference.duration_ns)), Use.STOLEN)
        # What waits for nothing but this would wait for ever.
        if cpu.env.scheduled >= len(cpu.cores):
            wait(core)

    for core in cpu.cores:
        wait(core)
