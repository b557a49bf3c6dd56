"""Stops a program that runs without end while no simulated time passes.

Such a program makes no calls, or calls that cost nothing (clocks, `compute(0)`), so nothing of the
simulation is ever asked again. A second thread looks from time to time whether the clock still
moves, and counts what the simulating thread has worked since it last did: processor time, which
does not pass while the process is stopped or others have the core. It touches nothing of a run that
goes on.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from types import TracebackType

from iosim.errors import RunFailed
from iosim.forgotten import forgotten
from iosim.kernel import Program
from iosim.program import place
from iosim.provenance import name_of
from iosim.sim.engine import Environment

PATIENCE_S = 30.0
"""Processor time without any progress after which a program is stopped."""

_LOOKS = 20
"""In that time."""


class Stuck(BaseException):
    """Raised inside the program; no `except Exception` of its own keeps it."""


class Watchdog:
    """Watches the simulation that the thread that enters this context runs."""

    def __init__(self, env: Environment, program: Program) -> None:
        self._env = env
        self._program = program
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._watched = threading.get_ident()
        self._thread = threading.Thread(target=self._watch, name="iosim watchdog", daemon=True)
        self._thread.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        # One that was sent and has not come would come somewhere else.
        _interrupt(self._watched, None)
        if kind is Stuck:
            hint = forgotten(self._program)
            raise RunFailed(
                f"the program {name_of(self._program)} runs without end{place(trace)}, and no "
                "simulated time passes: what takes time is calls, and of those neither clocks nor "
                f"compute(0); {hint or 'use kernel.compute for work'}"
            ) from None

    def _watch(self) -> None:
        env, spent_s = self._env, _clock(self._watched)
        seen_ns, since_s = env.now_ns, spent_s()
        while not self._over.wait(PATIENCE_S / _LOOKS):
            if env.now_ns != seen_ns:
                seen_ns, since_s = env.now_ns, spent_s()
            elif spent_s() - since_s > PATIENCE_S:
                _interrupt(self._watched, Stuck)
                since_s = spent_s()


def _clock(ident: int) -> Callable[[], float]:
    """Processor time of another thread of this process, where the system tells it."""
    try:
        clock = time.pthread_getcpuclockid(ident)
    except AttributeError:
        return time.monotonic
    return lambda: time.clock_gettime(clock)


def _interrupt(ident: int, kind: type[BaseException] | None) -> None:
    """Have a thread of this process raise an exception, or take back one that is still to come."""
    raised = None if kind is None else ctypes.py_object(kind)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), raised)
