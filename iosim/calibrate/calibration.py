"""A calibration, step by step: every step is kept, so that one that was interrupted goes on."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from iosim.caches import Caches
from iosim.calibrate import benchmarks, estimate
from iosim.calibrate.bench import BENCHMARKS, CHECKS, NEEDS, OTHERS, Row
from iosim.calibrate.benchmarks.wakeups import IDLE_NS, TICKING_NS
from iosim.calibrate.quiet import quiet, shortest_ns
from iosim.calibrate.samples import rows_of
from iosim.costs import CostProfile, WakeUp
from iosim.errors import HostRefused, RunFailed
from iosim.files import replacing, text

__all__ = ["FULL", "QUICK", "Plan", "Progress", "calibrate"]
assert benchmarks  # imported for the benchmarks that it registers

Progress = Callable[[float, str], None]
"""Told how much is done (0 to 1) and what is measured next."""


class Place(Protocol):
    """What is calibrated: this host, or a simulated machine whose costs are known."""

    caches: Caches

    def why_not(self, facility: str | None) -> str | None:
        """Why it cannot run benchmarks, or those of a facility; None when it can."""

    def measure(self, name: str, rounds: int, patience_s: float) -> list[Row]:
        """Run one benchmark, which may wait so long, all in all, for its core to be at full
        speed."""


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    passes: int
    """Times that everything is gone through, so that a disturbance hits few measurements of each
    cost."""
    rounds: int
    """Repetitions of each measurement in a pass."""
    patience_s: float
    """How long each benchmark may wait for its core to be at full speed, in a pass."""


QUICK = Plan(passes=1, rounds=12, patience_s=0.1)
FULL = Plan(passes=5, rounds=40, patience_s=1.5)

MOST_OF_OTHERS = 0.05
"""The share of the host's cores that other programs may have during a calibration."""


class Steps:
    """What has been measured so far, kept in a file if there is one, step by step."""

    def __init__(self, key: dict[str, Any], kept: Path | None) -> None:
        self._key = json.loads(json.dumps(key))
        self._kept = kept
        self.done: dict[str, Any] = {}
        if kept is not None:
            with suppress(OSError, ValueError, LookupError, TypeError, RecursionError):
                data = json.loads(text(kept))
                if data["key"] == self._key:
                    self._take_over(dict(data["done"]))

    def _take_over(self, done: dict[str, Any]) -> None:
        """What was kept, but for steps that are damaged, which are measured again."""
        for name, step in done.items():
            with suppress(ValueError):
                rows_of(step)
                self.done[name] = step

    def take(self, name: str, measure: Callable[[], Any]) -> Any:
        """The result of a step, which is measured unless that has been done."""
        if name not in self.done:
            self.done[name] = measure()
            if self._kept is not None:
                with replacing(self._kept, make_folder=True) as temporary:
                    temporary.write_text(json.dumps({"key": self._key, "done": self.done}))
        return self.done[name]

    def save(self, path: Path) -> None:
        """Write everything that was measured; what was kept for going on is not needed any more."""
        with replacing(path) as temporary:
            everything = json.dumps({"key": self._key, "done": self.done})
            temporary.write_bytes(gzip.compress(everything.encode(), mtime=0))
        self.forget()

    def forget(self) -> None:
        """Begin from nothing the next time."""
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

    Raises HostRefused where real runs are impossible, and RunFailed where the measurements are so
    disturbed that they tell nothing; then none of them is kept.
    """
    if (reason := place.why_not(None)) is not None:
        raise HostRefused(f"cannot calibrate: {reason}; use --profile native or --profile python")
    steps = Steps({"host": host, "plan": asdict(plan)}, kept)
    chosen = [
        name for name in BENCHMARKS if name not in CHECKS and place.why_not(NEEDS.get(name)) is None
    ]
    total = plan.passes * len(chosen)
    passes: list[list[Row]] = []
    for number in range(plan.passes):
        measured: list[Row] = []
        for done, benchmark in enumerate(chosen):
            progress((number * len(chosen) + done) / total, benchmark)
            measure = partial(_rows, place, benchmark, plan)
            measured += [Row(**row) for row in steps.take(f"{number}/{benchmark}", measure)]
        passes.append(measured)
    progress(1, "done")
    try:
        profile = _profile(place, name, host, runtime, passes)
    except (ArithmeticError, LookupError, ValueError) as error:
        steps.forget()
        raise RunFailed(
            f"what was measured makes no cost profile ({error}), and is not kept: calibrate again "
            "when the host is quiet"
        ) from error
    return profile, steps


def _profile(
    place: Place, name: str, host: dict[str, Any], runtime: Any, passes: Sequence[Sequence[Row]]
) -> CostProfile:
    """The profile that the measurements of all passes tell of."""
    rows, disturbed = quiet(passes)
    noted = estimate.Noted(rows)
    costs = estimate.costs_of(rows, place.caches)
    third_level = estimate.third_level(noted, estimate.fill(costs), place.caches)
    if third_level is not None:
        caches = Caches(place.caches.l2_bytes, *third_level)
        costs = estimate.costs_of(rows, caches)
    known = estimate.fill(costs)
    wakeups = estimate.wakeups(noted, known, place.caches)
    ticking = estimate.wakeups(noted, known, place.caches, "wakeups_ticking", TICKING_NS)
    native = CostProfile.shipped("native")
    costs |= estimate.client_wake(noted, known, place.caches)
    costs |= estimate.sleep(noted, ticking or wakeups or native.wakeup, known)
    return CostProfile(
        name=name,
        runtime=runtime,
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        host=host,
        costs=estimate.fill(costs),
        wakeup=wakeups or native.wakeup,
        wakeup_ticking=ticking,
        wakeup_source="measured" if wakeups else native.wakeup_source,
        l3_bytes=third_level and third_level[0],
        memory_steps=third_level and third_level[1],
        pulse_ns=shortest_ns(chain.from_iterable(passes)) or None,
        # What other programs took is no part of the host.
        interference=None if _others(passes) > MOST_OF_OTHERS else estimate.interference(noted),
        warnings=[
            *_warnings(passes, disturbed, estimate.missing(costs)),
            *_disorder({"": (IDLE_NS, wakeups), " with ticks": (TICKING_NS, ticking)}),
        ],
    )


def _disorder(found: Mapping[str, tuple[Sequence[int], Sequence[WakeUp]]]) -> Iterator[str]:
    """What noise has taken from the wake-ups, by their kind."""
    for kind, (pauses_ns, rows) in found.items():
        if len(rows) < len(pauses_ns):
            left = (
                f"only {len(rows)} are kept, merged from those that were out of order"
                if rows
                else "none is left, and others stand in for them"
            )
            yield (
                f"of wake-ups{kind} after {len(pauses_ns)} idle times {left}: the host was too "
                "busy to tell them apart; calibrate again when it is quiet"
            )


def _rows(place: Place, benchmark: str, plan: Plan) -> list[dict[str, Any]]:
    return [asdict(row) for row in place.measure(benchmark, plan.rounds, plan.patience_s)]


def _others(passes: Sequence[Sequence[Row]]) -> float:
    """The share of the processor time that other programs had."""
    shares = [row.values for rows in passes for row in rows if row.about == OTHERS]
    return fmean(chain.from_iterable(shares)) if shares else 0.0


def _warnings(
    passes: Sequence[Sequence[Row]], disturbed: Sequence[str], missing: Sequence[str]
) -> list[str]:
    """What speaks against a calibration."""
    warnings = []
    if (share := _others(passes)) > MOST_OF_OTHERS:
        warnings.append(
            f"other programs had {share:.0%} of the processor time while it was measured, so that "
            "interference is left out; end them and calibrate again"
        )
    if disturbed:
        warnings.append(
            f"the core never ran at full speed during {', '.join(disturbed)}: their costs may be "
            "too high; calibrate again when the host is quiet"
        )
    if missing:
        warnings.append(
            f"{', '.join(missing)} could not be measured and {'is' if len(missing) == 1 else 'are'}"
            " as in the profile native"
        )
    return warnings
