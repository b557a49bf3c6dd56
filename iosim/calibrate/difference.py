"""Two cost profiles side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from iosim.calibrate.benchmarks.wakeups import IDLE_NS
from iosim.costs import ABOUT, Cost, CostProfile, wakeup_after

NOTABLE = 1.1
"""A ratio above it, or below its inverse, is worth a look."""


@dataclass(frozen=True)
class Difference:
    """One figure in two profiles."""

    a: float
    b: float
    apart: bool | None = None
    """Whether their 95 % intervals have nothing in common; None if there are no two."""

    @property
    def ratio(self) -> float | None:
        """b / a; None without an a."""
        return self.b / self.a if self.a else None

    @property
    def notable(self) -> bool:
        """Whether they differ by more than 10 %."""
        return max(self.a, self.b) > NOTABLE * min(self.a, self.b)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self) | {"ratio": self.ratio, "notable": self.notable}


def costs(a: CostProfile, b: CostProfile) -> dict[str, Difference]:
    """All costs, by name."""
    return {
        name: Difference(one.value, other.value, _apart(one, other))
        for name, one, other in ((name, a.costs[name], b.costs[name]) for name in ABOUT)
    }


def _apart(one: Cost, other: Cost) -> bool | None:
    if one.interval is None or other.interval is None:
        return None
    return max(one.interval[0], other.interval[0]) > min(one.interval[1], other.interval[1])


def wakeups(a: CostProfile, b: CostProfile) -> dict[int, dict[str, Difference]]:
    """What the summaries of wake-ups say, by idle time: those after which a calibration measures.

    Profiles differ in the idle times that they have; both are read between them.
    """
    return {
        idle_ns: {
            name: Difference(one, other)
            for (name, one), other in zip(
                wakeup_after(a.wakeup, idle_ns).summary().items(),
                wakeup_after(b.wakeup, idle_ns).summary().values(),
                strict=True,
            )
        }
        for idle_ns in IDLE_NS
    }


def hosts(a: CostProfile, b: CostProfile) -> dict[str, tuple[Any, Any]]:
    """The facts in which the hosts differ, by name; None is not known."""
    names = dict.fromkeys([*a.host, *b.host])
    facts = {name: (a.host.get(name), b.host.get(name)) for name in names}
    return {name: pair for name, pair in facts.items() if pair[0] != pair[1]}
