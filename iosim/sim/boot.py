"""A simulated machine that has just started: no thread runs, nobody has connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iosim.costs import CostProfile
from iosim.kernel import Call, Program
from iosim.machine import Machine
from iosim.program import begin, failure
from iosim.provenance import name_of
from iosim.sim.cpu import Core, Cpu, Task
from iosim.sim.engine import Environment
from iosim.sim.gil import under_gil
from iosim.sim.kernel import SimKernel
from iosim.sim.pending import Gil
from iosim.sim.system import System
from iosim.sim.tracing import TracedKernel, TracedSystem
from iosim.sim.wakeups import Luck, WakeUps
from iosim.trace import Trace
from iosim.workload import Schedule, Workload, stream, stream_key


def boot(
    profile: CostProfile,
    machine: Machine,
    workload: Workload,
    schedule: Schedule,
    seed: int,
    *,
    kernel: type[SimKernel] | None = None,
    trace: Trace | None = None,
) -> System:
    """The system of a machine for the requests of a schedule; `trace` is filled with all calls.

    `kernel` is what each thread of a program gets instead of `SimKernel`, unless it is traced.
    """
    env = Environment()
    prices = profile.prices()
    luck = Luck(stream_key(seed, "wakeups"))
    ticking = WakeUps(profile.wakeup_ticking) if profile.wakeup_ticking else None
    cpu = Cpu(env, machine, prices, luck, WakeUps(profile.wakeup), ticking)
    parts = (env, cpu, prices, machine, workload, schedule)
    system, kernel = System(*parts), kernel or SimKernel
    if trace is not None:
        system, kernel = TracedSystem(*parts, trace), TracedKernel
    in_program = kernel
    if profile.gil:
        in_program = under_gil(kernel)
        system.gil = Gil(stream(seed, "gil"))

    def start(program: Program, *args: Any) -> SimKernel:
        name = name_of(program)
        thread = in_program(system, f"{name} {len(system.tasks)}")
        try:
            begun = begin(program, thread, *args)
        except (Exception, SystemExit) as error:
            raise failure(name, error) from error
        system.launch(thread, begun)
        return thread

    def kernel_thread(name: str, core: Core, work: Callable[[Task], Call[None]]) -> Task:
        thread = kernel(system, name, helper=True)
        thread.core, thread.pinned = core, True
        system.launch(thread, work(thread))
        return thread

    system.start, system.kernel_thread = start, kernel_thread
    return system
