"""What a sweep runs: read from TOML or from Python, checked before anything is run."""

from __future__ import annotations

import json
import math
import os
import reprlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iosim.costs import CostProfile
from iosim.errors import IosimError, did_you_mean
from iosim.files import text
from iosim.provenance import iosim_version
from iosim.seeds import replication_seed
from iosim.sweep.axes import Axis
from iosim.sweep.fields import Value, Values, flat, read_all
from iosim.sweep.plans import MOST_SOBOL, PLANS, Factorial, Listed, Plan, Sampled, in_turn, permuted
from iosim.sweep.points import DEFAULT_PROFILE, Common, Point
from iosim.units import parse_seed

_KNOWN = ("design", "samples", "replications", "seed", "axes", "points")
_LARGEST = 2**63 - 1
"""Numbers of points and seeds are kept in 64 bits."""
_CHECKED = 1_000
"""So many points, spread over the design, are checked before any is run."""


@dataclass(frozen=True)
class Design:
    """The points of a sweep, in order; each is computed when it is asked for.

    Point `number` is combination `number // replications`, replication `number % replications`.
    """

    kind: str
    """One of `PLANS`."""
    axes: tuple[Axis, ...] = ()
    listed: tuple[Values, ...] = ()
    fixed: Values = ()  # type: ignore[assignment]
    samples: int | None = None
    replications: int = 1
    seed: int = 1

    @cached_property
    def plan(self) -> Plan:
        """Its combinations."""
        if self.kind == "list":
            return Listed(self.listed)
        if self.kind == "factorial":
            return Factorial(self.axes, self.fixed)
        kind = PLANS[self.kind]
        assert issubclass(kind, Sampled)
        return kind(self.axes, self.fixed, self.samples or 0, self.seed)

    def __len__(self) -> int:
        return self.plan.size * self.replications

    def __getitem__(self, number: int) -> Point:
        if not 0 <= number < len(self):
            raise IndexError(number)
        index, replication = divmod(number, self.replications)
        return Point(
            number, self.plan.values(index), replication, replication_seed(self.seed, replication)
        )

    def __iter__(self) -> Iterator[Point]:
        return (self[number] for number in range(len(self)))

    @cached_property
    def varied(self) -> tuple[str, ...]:
        """The fields that its points set, in the order of the design."""
        if self.kind != "list":
            return tuple(axis.name for axis in self.axes)
        return tuple(dict.fromkeys(name for point in self.listed for name in point))

    def possible(self, name: str) -> tuple[Value, ...]:
        """The values that a field without a range can have."""
        if name in self.fixed:
            return (self.fixed[name],)
        for axis in self.axes:
            if axis.name == name:
                return axis.values
        return tuple(dict.fromkeys(point[name] for point in self.listed if name in point))

    @property
    def kernels(self) -> tuple[str, ...]:
        """Those that it runs on."""
        return tuple(map(str, self.possible("kernel"))) or ("simulated",)

    @property
    def profile_names(self) -> tuple[str, ...]:
        """The cost profiles that its points name."""
        return tuple(map(str, self.possible("profile"))) or (DEFAULT_PROFILE,)

    def common(self, profiles: Mapping[str, CostProfile]) -> Common:
        """What its points share, with the profiles that it names; checks some of the points.

        Raises IosimError that names the first point found to be impossible.
        """
        common = Common(self.fixed, profiles, iosim_version())
        for point in self._some():
            try:
                common.specification(point.values).check()
            except IosimError as refusal:
                about = ", ".join(f"{name} = {value}" for name, value in point.values.items())
                hint = ""
                if "has no parameter" in str(refusal):
                    hint = "; give the axis when = { model = [...] }"
                said = f"point {point.number} ({about}): {refusal}{hint}"
                raise type(refusal)(said) from None
        return common

    def _some(self) -> Iterator[Point]:
        """All points, or as many as are quickly checked. The first of a sample are spread already;
        a regular step through combinations might meet the same value of an axis every time."""
        count = min(len(self), _CHECKED)
        if count == len(self) or isinstance(self.plan, Sampled):
            return (self[number] for number in range(count))
        numbers = sorted(permuted(index, len(self), self.seed) for index in range(count))
        return (self[number] for number in numbers)

    def text(self) -> str:
        """JSON from which `of` makes the same design; equal for equal designs."""
        sweep: dict[str, Any] = {
            "design": self.kind,
            "replications": self.replications,
            "seed": self.seed,
        }
        if self.samples is not None:
            sweep["samples"] = self.samples
        if self.axes:
            sweep["axes"] = {axis.name: axis.table() for axis in self.axes}
        if self.listed:
            sweep["points"] = [dict(point) for point in self.listed]
        return json.dumps({"sweep": sweep, **self.fixed})

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Design:
        """Read a TOML file; raises IosimError that says what is wrong with it."""
        try:
            tables = tomllib.loads(text(path))
        except OSError as error:
            raise IosimError(f"cannot read {path}: {error.strerror}; name a TOML file") from None
        except ValueError as error:
            raise IosimError(f"{path} is no TOML file: {error}") from None
        except RecursionError:
            raise IosimError(f"{path} nests too deeply: a design has tables of tables") from None
        try:
            return cls.of(tables)
        except IosimError as refusal:
            raise IosimError(f"{path}: {refusal}") from None

    @classmethod
    def of(cls, tables: Mapping[str, Any]) -> Design:
        """A design from tables as a file has them; raises IosimError."""
        if not isinstance(tables, Mapping):
            raise IosimError(f"{tables!r} is not a table: a design is one of tables, as in TOML")
        sweep = tables.get("sweep")
        if not isinstance(sweep, Mapping):
            raise IosimError("there is no table [sweep]: it holds the design and its axes")
        for key in sweep:
            if key not in _KNOWN:
                raise IosimError(
                    f"[sweep] has no {key!r}{did_you_mean(str(key), _KNOWN)}: "
                    f"it has {', '.join(_KNOWN)}"
                )
        kind = sweep.get("design", "factorial")
        if not isinstance(kind, str) or kind not in PLANS:
            raise IosimError(
                f"unknown design {reprlib.repr(kind)}{did_you_mean(str(kind), PLANS)}: "
                f"choose one of {', '.join(PLANS)}"
            )
        rest = {key: value for key, value in tables.items() if key != "sweep"}
        design = cls(
            kind=kind,
            axes=_axes(sweep.get("axes", {})),
            listed=_listed(sweep.get("points", ())),
            fixed=read_all(rest),
            samples=_whole(sweep, "samples", 1, None),
            replications=_whole(sweep, "replications", 1, 1) or 1,
            seed=_seed(sweep.get("seed", 1)),
        )
        _check(design)
        return design


def _axes(written: Any) -> tuple[Axis, ...]:
    if not isinstance(written, Mapping):
        raise IosimError(f"sweep.axes: {reprlib.repr(written)} is not a table of axes")
    return tuple(Axis.of(name, values) for name, values in flat(written))


def _listed(written: Any) -> tuple[Values, ...]:
    if isinstance(written, str) or not isinstance(written, Sequence):
        raise IosimError(f"sweep.points: {reprlib.repr(written)} is not a list of tables")
    for point in written:
        if not isinstance(point, Mapping):
            raise IosimError(f"sweep.points: {reprlib.repr(point)} is not a table of fields")
    return tuple(map(read_all, written))


def _whole(sweep: Mapping[str, Any], name: str, least: int, default: int | None) -> int | None:
    value = sweep.get(name, default)
    if value is not None and (type(value) is not int or not least <= value <= _LARGEST):
        raise IosimError(
            f"sweep.{name} = {reprlib.repr(value)} must be a whole number from {least} on, "
            "below 2**63"
        )
    return value


def _seed(value: Any) -> int:
    try:
        return parse_seed(value)
    except IosimError as refusal:
        raise IosimError(f"sweep.{refusal}") from None


def _check(design: Design) -> None:
    """Refuse what contradicts itself."""
    # Each replication has the next seed.
    _seed(design.seed + design.replications - 1)
    if design.kind == "list":
        _refuse_if(design.axes, "design = 'list' has points and no axes")
        _refuse_if(not design.listed, "the list of points is empty: add [[sweep.points]]")
    else:
        _refuse_if(design.listed, f"design = {design.kind!r} has axes and no points")
        _refuse_if(not design.axes, "there are no axes: add some to [sweep.axes]")
    if design.kind in ("list", "factorial"):
        _refuse_if(
            design.samples is not None,
            f"design = {design.kind!r} takes no samples: its size follows from what is listed",
        )
    else:
        _refuse_if(design.samples is None, f"design = {design.kind!r} needs samples, their number")
    samples = design.samples or 1
    _refuse_if(
        design.kind == "sensitivity" and samples & (samples - 1),
        f"design = 'sensitivity' with samples = {samples}: it must be a power of two, for balance",
    )
    _refuse_if(
        design.kind in ("sobol", "sensitivity") and samples > MOST_SOBOL,
        f"samples = {samples}: a Sobol sequence has {MOST_SOBOL} points; take fewer, or "
        "latin-hypercube",
    )
    names = [axis.name for axis in design.axes]
    for axis in design.axes:
        _refuse_if(names.count(axis.name) > 1, f"{axis.name} has two axes: remove one")
        _refuse_if(
            design.kind == "factorial" and axis.range is not None,
            f"axis {axis.name} has a range, and design = 'factorial' needs values: list them, or "
            "choose latin-hypercube or sobol",
        )
        _refuse_if(
            design.kind == "sensitivity" and axis.when,
            f"axis {axis.name}: design = 'sensitivity' takes no conditions",
        )
        _check_condition(design, axis)
    for name in design.varied:
        _refuse_if(name in design.fixed, f"{name} is both set and varied: remove one of them")
    in_turn(design.axes)
    points = design.plan.size * design.replications
    _refuse_if(
        points > _LARGEST,
        f"the design has about 10**{math.log10(points):.0f} points, and 2**63 - 1 can be numbered: "
        "give its axes fewer values, or draw samples by latin-hypercube",
    )
    if "model" not in design.fixed:
        _refuse_if("model" not in design.varied, "there is no model: set `model`, or vary it")


def _check_condition(design: Design, axis: Axis) -> None:
    for name, allowed in axis.when.items():
        other = next((one for one in design.axes if one.name == name), None)
        if other is None and name not in design.fixed:
            raise IosimError(
                f"axis {axis.name}: when: {name} is neither varied nor set, so that the axis would "
                "never apply: give it an axis, or remove the condition"
            )
        if other is not None and other.range is not None:
            raise IosimError(f"axis {axis.name}: when: {name} has a range; list its values")
        possible = set(design.possible(name))
        for value in allowed:
            _refuse_if(value not in possible, f"axis {axis.name}: when: {name} is never {value!r}")


def _refuse_if(wrong: object, why: str) -> None:
    if wrong:
        raise IosimError(why)
