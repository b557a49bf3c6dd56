"""Axes: the values or the range that one field goes through, and where the axis applies."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iosim.errors import IosimError
from iosim.sweep.fields import Value, Values, flat, read

_WRITTEN = ("values", "from", "to", "scale", "when")


@dataclass(frozen=True)
class Range:
    """All numbers between two, both included."""

    low: float
    high: float
    log: bool
    """Whether equal ratios, not equal differences, are equally likely."""

    @property
    def whole(self) -> bool:
        """Whether only whole numbers count: both ends are of a field that is one."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def at(self, share: float) -> Value:
        """The value that this share of the range lies below; `share` is from 0 up to below 1."""
        # Each whole number has the same room around it, the outermost too.
        low, high = (self.low - 0.5, self.high + 0.5) if self.whole else (self.low, self.high)
        if self.log:
            low = low if low > 0 else self.low
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        value = min(max(value, self.low), self.high)
        return round(value) if self.whole else value


@dataclass(frozen=True)
class Axis:
    """One field and what it goes through."""

    name: str
    values: tuple[Value, ...] = ()
    """In the order given; empty if there is a range."""
    range: Range | None = None
    when: Mapping[str, Collection[Value]] = field(default_factory=dict)
    """The axis applies where each of these fields has one of these values; elsewhere its field is
    left at its default."""

    def at(self, share: float) -> Value:
        """The value at a share of the axis, from 0 up to below 1."""
        if self.range is not None:
            return self.range.at(share)
        return self.values[int(share * len(self.values))]

    def applies(self, values: Values) -> bool:
        """Whether it does, given the values of the fields that its condition names."""
        return all(values.get(name) in allowed for name, allowed in self.when.items())

    @classmethod
    def of(cls, name: str, written: Any) -> Axis:
        """An axis from what people write: a list of values, or a table."""
        if not isinstance(written, Mapping):
            return cls(name, _values(name, written))
        for key in written:
            if key not in _WRITTEN:
                raise IosimError(
                    f"axis {name}: there is no {key!r}: an axis is a list, or a table of values, "
                    "or of from and to with scale; both may have when"
                )
        when = _conditions(name, written.get("when", {}))
        ends = written.keys() & {"from", "to", "scale"}
        if "values" in written:
            if ends:
                raise IosimError(f"axis {name}: it has values and {min(ends)}: give one of them")
            return cls(name, _values(name, written["values"]), when=when)
        if "from" not in written or "to" not in written:
            raise IosimError(f"axis {name}: a table needs values, or from and to")
        return cls(name, range=_range(name, written), when=when)

    def table(self) -> dict[str, Any]:
        """The axis as it may be written, with values already read."""
        if self.range is None:
            table: dict[str, Any] = {"values": list(self.values)}
        else:
            scale = "log" if self.range.log else "linear"
            table = {"from": self.range.low, "to": self.range.high, "scale": scale}
        if self.when:
            table["when"] = {name: list(allowed) for name, allowed in self.when.items()}
        return table


def _values(name: str, written: Any) -> tuple[Value, ...]:
    if isinstance(written, str) or not isinstance(written, Sequence):
        raise IosimError(f"axis {name}: {reprlib.repr(written)} is not a list of values")
    values = tuple(read(name, value) for value in written)
    if not values:
        raise IosimError(f"axis {name} is empty: give it at least one value, or remove it")
    seen: set[Value] = set()
    for value, as_written in zip(values, written, strict=True):
        if value in seen:
            raise IosimError(f"axis {name}: {as_written!r} is there twice: remove one")
        seen.add(value)
    return values


def _range(name: str, written: Mapping[str, Any]) -> Range:
    low, high = (read(name, written[end]) for end in ("from", "to"))
    scale = written.get("scale", "linear")
    for end in (low, high):
        if isinstance(end, bool) or not isinstance(end, int | float):
            raise IosimError(f"axis {name}: {end!r} is not a number: list its values instead")
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    if not low < high:
        raise IosimError(f"axis {name}: from = {low} must be below to = {high}")
    if scale not in ("linear", "log"):
        raise IosimError(f"axis {name}: scale = {scale!r} must be linear or log")
    if scale == "log" and low <= 0:
        raise IosimError(f"axis {name}: from = {low} must be above 0 on a log scale")
    return Range(low, high, scale == "log")


def _conditions(name: str, written: Any) -> dict[str, Collection[Value]]:
    if not isinstance(written, Mapping):
        raise IosimError(f"axis {name}: when: {reprlib.repr(written)} is not a table of fields")
    try:
        conditions = dict(flat(written))
    except IosimError as refusal:
        raise IosimError(f"axis {name}: when: {refusal}") from None
    # A dict is as quick to ask as a set, and keeps the order.
    return {
        other: dict.fromkeys(
            _values(other, allowed if isinstance(allowed, list | tuple) else [allowed])
        )
        for other, allowed in conditions.items()
    }
