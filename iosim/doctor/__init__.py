"""Is this host fit to measure on? What stands in the way, and what to do about it."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from iosim.agreement import Sample, noise
from iosim.compare import LIGHT
from iosim.doctor import clocks, cores, limits, python, quiet
from iosim.doctor.finding import Finding
from iosim.errors import IosimError
from iosim.host import libaio, liburing, run_real, thishost
from iosim.host.jitter import Jitter, jitter
from iosim.host.resources import ticks
from iosim.procfs import HERE, Files

__all__ = ["Finding", "Report", "examine", "noise_floor", "read"]

Progress = Callable[[float, str], None]
"""Told how much is done (0 to 1) and what comes next."""

BRIEF = LIGHT.model_copy(update={"requests": 1_000})
"""The light load for a tenth of a second."""

_LOOK_S = 0.3
"""How long other programs are watched while nothing is done here: some 30 clock ticks."""


@dataclass(frozen=True)
class Report:
    """All findings, and the figures behind those that were measured."""

    findings: Sequence[Finding]
    noise: Mapping[str, float] = field(default_factory=dict)
    """See `noise_floor`; there, if there is no problem."""
    jitter: Sequence[Jitter] = ()

    @property
    def fit(self) -> bool:
        """Whether real runs are possible and mean something."""
        return not self._of("problem")

    @property
    def verdict(self) -> str:
        """The answer in one line."""
        if problems := self._of("problem"):
            first = problems[0]
            count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
            return f"Not fit to measure on: {count}. Fix first: {first.subject}, {first.value}."
        percent = math.ceil(100 * quiet.expected(self.noise))
        found = f"This host can measure: expect about ±{percent} % between runs"
        if warnings := self._of("warning"):
            found += f"; worth a look: {', '.join(one.subject for one in warnings)}"
        return f"{found}."

    def as_dict(self) -> dict[str, Any]:
        """Plain data, as `iosim doctor --json` prints it."""
        return {
            "fit": self.fit,
            "verdict": self.verdict,
            "findings": [asdict(finding) for finding in self.findings],
            "noise": dict(self.noise),
            "jitter": [
                asdict(one) | {"lost": one.lost, "unsteady": one.unsteady} for one in self.jitter
            ],
            "host": thishost.facts(),
        }

    def _of(self, verdict: str) -> list[Finding]:
        return [one for one in self.findings if one.verdict == verdict]


def examine(progress: Progress = lambda *_: None) -> Report:
    """Read what this host is, then measure for some seconds how quiet it is."""
    if platform.system() != "Linux":
        return Report([_not_linux(platform.system())])
    progress(0, "other programs")
    mine = (thishost.cores()[0], thishost.cores()[-1])
    before = ticks()
    time.sleep(_LOOK_S)
    findings = [*read(), quiet.others(HERE, mine, before, ticks())]
    if thishost.why_not() is not None or thishost.why_not_pinned() is not None:
        return Report(findings)
    seen: Sequence[Jitter] = ()
    try:
        progress(0.1, "lost time")
        seen = jitter(mine)
        slack_ns = HERE.number("/proc/self/timerslack_ns")
        findings += [
            quiet.lost(seen),
            quiet.stolen(seen),
            quiet.speed(seen),
            clocks.reading(seen),
            clocks.timers(seen, slack_ns),
        ]
        figures = noise_floor(progress=lambda share, what: progress(0.4 + 0.6 * share, what))
    except IosimError as error:
        return Report([*findings, _failed(error)], jitter=seen)
    return Report([*findings, quiet.noise(figures)], figures, seen)


def noise_floor(repeats: int = 5, progress: Progress = lambda *_: None) -> dict[str, float]:
    """How far equal real runs are from each other here and now: `iosim.agreement.noise` of a few.

    Each takes about a second, most of which is starting its processes. Longer runs differ less.
    Raises what `run_real` does.
    """
    runs = []
    for number in range(repeats):
        progress(number / repeats, f"noise floor, run {number + 1} of {repeats}")
        runs.append(Sample.of(run_real("epoll", BRIEF)))
    return noise(runs)


def read(files: Files = HERE) -> list[Finding]:
    """The findings that take no measuring."""
    allowed = thishost.cores()
    connections = thishost.most_connections(thishost.open_files(), files)[0]
    return [
        cores.usable(files, allowed),
        cores.siblings(files, allowed),
        cores.pinning(thishost.why_not_pinned()),
        cores.quota(files),
        cores.governor(files, allowed),
        cores.turbo(files),
        cores.virtualisation(files),
        cores.mitigations(files),
        clocks.source(files),
        limits.connections(files, thishost.open_files()),
        limits.backlog(files),
        limits.signals(thishost.queued_signals(), connections),
        limits.memory(files),
        limits.io_uring(files, liburing.why_not()),
        limits.aio(libaio.why_not()),
        python.interpreter(platform.python_version(), python.build()),
    ]


def _not_linux(system: str) -> Finding:
    return Finding(
        "system",
        system,
        "uname(2)",
        "problem",
        "real runs need Linux, simulations do not: measure on a Linux host or in a virtual machine",
    )


def _failed(error: IosimError) -> Finding:
    return Finding("real runs", "failed", "iosim.run_real of a light load", "problem", str(error))
