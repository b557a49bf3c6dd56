"""A calibration, step by step: every step is kept, so that one that was interrupted goes on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from iosim.caches import Caches
from iosim.calibrate import benchmarks, estimate
from iosim.calibrate.bench import BENCHMARKS, CHECKS, NEEDS, Row
from iosim.calibrate.benchmarks.threads import PAUSE_NS
from iosim.costs import Cost, CostProfile, WakeUp
from iosim.errors import HostRefused
from iosim.files import replacing
from iosim.models import Model
from iosim.results import Run
from iosim.workload import Workload

__all__ = ["FULL", "QUICK", "Plan", "Progress", "calibrate"]
assert benchmarks  # imported for the benchmarks that it registers

Progress = Callable[[float, str], None]
"""Told how much is done (0 to 1) and what is measured next."""


class Place(Protocol):
    """What is calibrated: this host, or a simulated machine whose costs are known."""

    caches: Caches

    def why_not(self, facility: str | None) -> str | None:
        """Why it cannot run benchmarks, or those of a facility; None when it can."""

    def measure(self, name: str, rounds: int) -> list[Row]:
        """Run one benchmark."""

    def run(self, model: str | Model, workload: Workload, seed: int) -> Run:
        """Run a server."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    passes: int
    """Times that everything is gone through, so that a disturbance hits few measurements of each
    cost."""
    rounds: int
    """Repetitions of each measurement in a pass."""
    wake_s: float
    """How long the wake-ups after each pause are measured for in a pass."""


QUICK = Plan(passes=1, rounds=15, wake_s=1.0)
FULL = Plan(passes=4, rounds=40, wake_s=1.5)


class Steps:
    """What has been measured so far, kept in a file if there is one, step by step."""

    def __init__(self, key: dict[str, Any], kept: Path | None) -> None:
        self._key = json.loads(json.dumps(key))
        self._kept = kept
        self.done: dict[str, Any] = {}
        if kept is not None and kept.exists():
            try:
                data = json.loads(kept.read_text())
            except (OSError, ValueError):
                data = None  # half a file: measured again
            if isinstance(data, dict) and data.get("key") == self._key:
                self.done = data["done"]

    def take(self, name: str, measure: Callable[[], Any]) -> Any:
        """The result of a step, which is measured unless that has been done."""
        if name not in self.done:
            self.done[name] = measure()
            if self._kept is not None:
                with replacing(self._kept) as temporary:
                    self._kept.parent.mkdir(parents=True, exist_ok=True)
                    temporary.write_text(json.dumps({"key": self._key, "done": self.done}))
        return self.done[name]

    def save(self, path: Path) -> None:
        """Write everything that was measured; what was kept for going on is not needed any more."""
        with replacing(path) as temporary:
            text = json.dumps({"key": self._key, "done": self.done})
            temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
        if self._kept is not None:
            self._kept.unlink(missing_ok=True)


def calibrate(
    place: Place,
    name: str,
    host: dict[str, Any],
    *,
    runtime: Any = "python",
    plan: Plan = FULL,
    kept: Path | None = None,
    progress: Progress = lambda *_: None,
) -> tuple[CostProfile, Steps]:
    """Measure the costs of a place, and what was measured for that.

    Raises HostRefused where real runs are impossible.
    """
    if (reason := place.why_not(None)) is not None:
        raise HostRefused(f"cannot calibrate: {reason}; use --profile native or --profile python")
    steps = Steps({"host": host, "plan": asdict(plan)}, kept)
    chosen = [
        name for name in BENCHMARKS if name not in CHECKS and place.why_not(NEEDS.get(name)) is None
    ]
    total = plan.passes * (len(chosen) + len(estimate.IDLE_NS)) + 1
    passed = iter(range(total))

    def step(name: str, about: str, measure: Callable[[], Any]) -> Any:
        progress(next(passed) / total, about)
        return steps.take(name, measure)

    passes: list[list[Row]] = []
    for number in range(plan.passes):
        measured: list[Row] = []
        for benchmark in chosen:
            measure = partial(_rows, place, benchmark, plan.rounds)
            rows = step(f"{number}/{benchmark}", benchmark, measure)
            measured += [Row(**row) for row in rows]
        passes.append(measured)
    costs = estimate.costs_of(passes)
    requests = int(2_000 * plan.wake_s)
    found = step(
        "delivery",
        "delivery",
        lambda: {
            name: cost.model_dump()
            for name, cost in estimate.delivery(place, costs, requests).items()
        },
    )
    costs |= {name: Cost(**cost) for name, cost in found.items()}
    rows, waking_send_ns = _wakeups(place, costs, plan, step)
    if waking_send_ns is not None:
        extra_ns = max(0.0, waking_send_ns - costs["client_send_ns"].value)
        costs["client_wake_ns"] = Cost(value=extra_ns, source="measured")
    costs |= estimate.sleep(passes, rows, costs, PAUSE_NS)
    progress(1, "done")
    profile = CostProfile(
        name=name,
        runtime=runtime,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        host=host,
        costs=estimate.fill(costs),
        wakeup=rows,
        wakeup_source="measured",
    )
    return profile, steps


def _rows(place: Place, benchmark: str, rounds: int) -> list[dict[str, Any]]:
    return [asdict(row) for row in place.measure(benchmark, rounds)]


def _wakeups(
    place: Place, costs: dict[str, Cost], plan: Plan, step: Callable[..., Any]
) -> tuple[list[WakeUp], float | None]:
    """Wake-ups after each pause, and what a send takes that wakes after 100 us.

    A busy neighbour only ever adds: of all passes the quietest is nearest to the cost itself.
    """
    seen: dict[int, list[tuple[WakeUp, float | None]]] = {}
    for number in range(plan.passes):
        for idle_ns in estimate.IDLE_NS:

            def measure(idle_ns: int = idle_ns) -> Any:
                row, send_ns = estimate.wakeup(place, costs, idle_ns, plan.wake_s)
                return row.model_dump(), send_ns

            about = f"wake-up after {idle_ns / 1000:.0f} us"
            row, send_ns = step(f"{number}/wakeup {idle_ns}", about, measure)
            seen.setdefault(idle_ns, []).append((WakeUp(**row), send_ns))
    quietest = {idle_ns: min(both, key=lambda one: one[0].cpu_ns) for idle_ns, both in seen.items()}
    rows = {row.idle_ns: row for row, _ in quietest.values()}
    return [rows[idle_ns] for idle_ns in sorted(rows)], quietest[100_000][1]
