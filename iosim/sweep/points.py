"""A point of a sweep: its specification, the key it is stored under, and its run."""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from iosim.costs import Cost, CostProfile
from iosim.errors import IosimError
from iosim.host import run_real
from iosim.limits import check_limits
from iosim.machine import Machine
from iosim.models import Model, get
from iosim.provenance import iosim_version
from iosim.results import Run
from iosim.sim import simulate
from iosim.sweep.fields import SIMULATED_ONLY, Value, Values
from iosim.sweep.outcomes import outcome
from iosim.workload import Workload

DEFAULT_PROFILE = "python"
"""Shipped, so that a file means the same everywhere."""


class Point(NamedTuple):
    """One run of a sweep."""

    number: int
    """Its place in the order of the design, from 0."""
    values: Values
    """What the axes say, by full field names."""
    replication: int
    """From 0."""
    seed: int
    """Replication r of every point has the same: common random numbers."""


@dataclass(frozen=True)
class Specification:
    """What one run is made of."""

    model: Model
    kernel: str
    workload: Workload
    machine: Machine
    profile: CostProfile
    oversubscribe: bool

    def check(self) -> None:
        """Raise IosimError if it cannot be run here, see `iosim.limits`."""
        if self.kernel == "real":
            check_limits(self.workload, self.model)
        else:
            check_limits(self.workload, self.model, self.machine, self.profile)

    def run(self, seed: int) -> Run:
        """Make the run; raises what `simulate` and `run_real` raise."""
        if self.kernel == "real":
            return run_real(self.model, self.workload, seed=seed)
        return simulate(
            self.model,
            self.workload,
            profile=self.profile,
            machine=self.machine,
            seed=seed,
            oversubscribe=self.oversubscribe,
        )


@dataclass(frozen=True)
class Common:
    """What all points of a sweep share."""

    fixed: Values
    profiles: Mapping[str, CostProfile]
    """Every cost profile that a point can name."""
    version: str
    """Of the library that makes the runs."""

    @cached_property
    def _digests(self) -> dict[str, str]:
        return {name: _digest(profile.model_dump_json()) for name, profile in self.profiles.items()}

    def key(self, point: Point) -> str:
        """Stands for specification, seed and version of the library."""
        values = {**self.fixed, **point.values}
        profile = self._digests[str(values.get("profile", DEFAULT_PROFILE))]
        return _digest(json.dumps([values, profile, point.seed, self.version], sort_keys=True))

    def specification(self, values: Values) -> Specification:
        """That of a point with these values; raises IosimError that names what is wrong."""
        parts: dict[str, dict[str, Value]] = {}
        for name, value in {**self.fixed, **values}.items():
            group, _, part = name.rpartition(".")
            parts.setdefault(group, {})[part] = value
        plain = parts.get("", {})
        kernel = str(plain.get("kernel", "simulated"))
        idle = [name for name in values if name.startswith(SIMULATED_ONLY)]
        if kernel == "real" and idle:
            raise IosimError(
                f"{idle[0]} means nothing to a real run: give its axis "
                "when = { kernel = ['simulated'] }"
            )
        profile = self.profiles[str(plain.get("profile", DEFAULT_PROFILE))]
        machine: dict[str, Any] = dict(parts.get("machine", {}))
        if machine.pop("interference", False):
            if profile.interference is None:
                raise IosimError(
                    f"machine.interference: cost profile {profile.name!r} knows of none"
                )
            machine["interference"] = profile.interference
        if "machine.nic" in parts:
            machine["nic"] = parts["machine.nic"]
        return Specification(
            get(_named(plain), **parts.get("param", {})),
            kernel,
            Workload.of(**parts.get("workload", {})),
            _machine(machine),
            _priced(profile, parts.get("costs", {}), parts.get("scale", {})),
            bool(plain.get("oversubscribe", False)),
        )

    def packed(self) -> bytes:
        """For `work_on`, wherever that runs."""
        return pickle.dumps(self)


def _named(values: Values) -> str:
    try:
        return str(values["model"])
    except KeyError:
        raise IosimError("a point has no model: set `model`, or give it an axis") from None


def _machine(values: Mapping[str, Any]) -> Machine:
    try:
        return Machine.of(**values)
    except IosimError as refusal:
        raise IosimError(f"machine: {refusal}") from None


def _priced(profile: CostProfile, costs: Values, factors: Values) -> CostProfile:
    """The profile with some costs replaced and some multiplied."""
    if both := costs.keys() & factors.keys():
        name = min(both)
        raise IosimError(f"costs.{name} and scale.{name}: set the cost or multiply it, not both")
    if costs:
        new = {name: Cost(value=_number(value), source="assumed") for name, value in costs.items()}
        profile = profile.model_copy(update={"costs": {**profile.costs, **new}})
    if factors:
        profile = profile.scaled(**{name: _number(value) for name, value in factors.items()})
    return profile


def _number(value: Value) -> float:
    if value is None:
        raise IosimError("a cost must be a number")
    return float(value)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Finished(NamedTuple):
    """What became of a point."""

    number: int
    outcome: str | None
    """JSON of the figures in `outcomes`; None if it failed."""
    error: str | None
    took_s: float


_unpacked = lru_cache(maxsize=4)(pickle.loads)


def work_on(packed: bytes, points: Sequence[Point]) -> list[Finished]:
    """Run points one after the other, in whatever process this is called.

    A point that raises has its error recorded. Raises IosimError if this process has another
    version of iosim than the one that the sweep is made with.
    """
    common: Common = _unpacked(packed)
    if common.version != iosim_version():
        raise IosimError(
            f"a worker has iosim {iosim_version()} and the sweep is made with {common.version}: "
            "install the same version on every worker"
        )
    finished = []
    for point in points:
        began_s = time.perf_counter()
        found, error = None, None
        try:
            found = json.dumps(outcome(common.specification(point.values).run(point.seed)))
        except IosimError as refusal:
            error = str(refusal)
        except Exception as failure:
            error = f"{type(failure).__name__}: {failure}"
        finished.append(Finished(point.number, found, error, time.perf_counter() - began_s))
    return finished


def set_aside(number: int, deaths: int) -> Finished:
    """A point that is given up since it takes its worker with it."""
    error = f"its worker died {deaths} times while it ran alone (out of memory?)"
    return Finished(number, None, error, 0.0)
