"""Quantities as people write them: `20us`, `64KiB`, `50k/s`, `100k`, `10Gbit/s`.

Inside iosim a time is an integer of nanoseconds, a size an integer of bytes, a count an integer,
and a rate a float per second. The functions here lead from text to those and back; arithmetic is
exact (10us is 10000, not 9999.99), and what is no whole nanosecond, byte or item is refused, not
rounded.

A unit's case matters, as m and M are a thousandth and a million. A bare `k` is a thousand of
things, but a size says which thousand it means: `64KiB` or `64kB`.
"""

from __future__ import annotations

import math
import numbers
import re
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, TypeVar

from pydantic import BeforeValidator

from iosim.errors import IosimError

_Value = TypeVar("_Value", int, float)

_LARGEST = 2**63 - 1
"""Results are kept in 64-bit arrays, so that nothing larger may come in."""

# Two digits of exponent are plenty and keep "1e999999999" from being computed. Whether the number
# itself is well formed (1_000 but not 1__000) is for Fraction to say.
_NUMBER_AND_UNIT = re.compile(r"([+-]?[0-9._]+(?:[eE][+-]?[0-9]{1,2})?)\s*(.*)", re.ASCII)

_DECIMAL = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class _Quantity:
    """How one kind of quantity is written."""

    name: str
    base: str
    """What a plain number counts."""
    units: Mapping[str, int]
    """The worth of each unit in the base; "" if a number may stand alone."""
    hint: str
    example: str

    def whole(self, value: object) -> int:
        """The value as a whole number of the base, or IosimError."""
        amount = self.amount(value)
        if amount.denominator != 1:
            raise self.refusal(value, f"it must be a whole number of {self.base}")
        return amount.numerator

    def amount(self, value: object) -> Fraction:
        """The exact value in the base, or IosimError."""
        amount = self._read(value)
        if amount < 0:
            raise self.refusal(value, "it must not be negative")
        if amount > _LARGEST:
            raise self.refusal(value, f"it must be below 2**63 {self.base}")
        return amount

    def _read(self, value: object) -> Fraction:
        if isinstance(value, str):
            match = _NUMBER_AND_UNIT.fullmatch(value.strip())
            if match:
                number, unit = match.groups()
                try:
                    amount = Fraction(number)
                except ValueError:
                    raise self.refusal(value) from None
                if unit in self.units:
                    return amount * self.units[unit]
                if not unit and amount == 0:
                    return amount  # nothing is nothing in any unit
        elif isinstance(value, numbers.Real) and not isinstance(value, bool):
            if isinstance(value, numbers.Integral):
                return Fraction(int(value))
            if math.isfinite(value):
                return Fraction(float(value))
        raise self.refusal(value)

    def refusal(self, value: object, rule: str = "") -> IosimError:
        rule = rule or f"write {self.hint}"
        return IosimError(
            f"{reprlib.repr(value)} is not a {self.name}: {rule}, for example {self.example}"
        )


_TIME = _Quantity(
    name="time",
    base="nanoseconds",
    units={
        "ns": 1,
        "us": 10**3,
        "\u00b5s": 10**3,  # the micro sign
        "\u03bcs": 10**3,  # the Greek letter, which some keyboards give instead
        "ms": 10**6,
        "s": 10**9,
        "min": 60 * 10**9,
    },
    hint="a number with ns, us, ms, s or min",
    example="20us",
)
_BYTES = _Quantity(
    name="size",
    base="bytes",
    units={
        "": 1,
        "B": 1,
        "kB": 10**3,
        "MB": 10**6,
        "GB": 10**9,
        "KiB": 2**10,
        "MiB": 2**20,
        "GiB": 2**30,
    },
    hint="a number of bytes, or one with B, KiB, MiB, GiB, kB, MB or GB",
    example="64KiB",
)
_COUNT = _Quantity(
    name="count",
    base="items",
    units=_DECIMAL,
    hint="a number, alone or with k, M or G",
    example="100k",
)
_RATE = _Quantity(
    name="rate",
    base="per second",
    units=_DECIMAL | {f"{prefix}/s": factor for prefix, factor in _DECIMAL.items()},
    hint="a number per second, alone or with k, M or G and /s",
    example="20k/s",
)
_BITS_PER_SECOND = _Quantity(
    name="speed",
    base="bits per second",
    units={"": 1} | {f"{prefix}bit/s": factor for prefix, factor in _DECIMAL.items()},
    hint="a number with bit/s, kbit/s, Mbit/s or Gbit/s",
    example="10Gbit/s",
)


# Each takes text, or a number that is already in the base unit, and raises IosimError with one line
# that says what is wrong and what to write.


def parse_time(value: str | float) -> int:
    """Nanoseconds from `20us`, `1.5ms`, `2 s` or a number of nanoseconds; text needs a unit."""
    return _TIME.whole(value)


def parse_bytes(value: str | float) -> int:
    """Bytes from `64KiB` (binary), `64kB` (decimal) or `1500`."""
    return _BYTES.whole(value)


def parse_count(value: str | float) -> int:
    """A number of things from `200`, `100k`, `1.5M` or `1_000_000`."""
    return _COUNT.whole(value)


def parse_rate(value: str | float) -> float:
    """Events per second from `20k/s`, `1.5M/s`, `0.5` or `20000`."""
    return float(_RATE.amount(value))


def parse_bits_per_second(value: str | float) -> int:
    """Bits per second from `10Gbit/s`."""
    return _BITS_PER_SECOND.whole(value)


def parse_seed(value: Any) -> int:
    """The seed of a run, a whole number that 64 bits hold; one of NumPy's becomes Python's, as
    what is saved with a run must be."""
    if (
        isinstance(value, bool)
        or not isinstance(value, numbers.Integral)
        or not 0 <= int(value) <= _LARGEST
    ):
        raise IosimError(
            f"seed = {reprlib.repr(value)} must be a whole number from 0 to 2**63 - 1: use "
            "another, for example 1"
        )
    return int(value)


# The way back: exact, for what is read again.


def write_time(ns: int) -> str:
    """`100us` from 100_000 nanoseconds, which `parse_time` reads as the same time."""
    unit = next(unit for unit in ("s", "ms", "us", "ns") if ns % _TIME.units[unit] == 0)
    return f"{ns // _TIME.units[unit]}{unit}"


# And for tables: three significant digits, "-" for not a number.


def format_time(ns: float) -> str:
    """`51.3 us` from 51_312 nanoseconds."""
    return _format(ns, {" ns": 1, " us": 10**3, " ms": 10**6, " s": 10**9})


def format_bytes(size: float) -> str:
    """`64 KiB` from 65_536; small sizes that are no whole KiB stay in bytes, as in `1500 B`."""
    if abs(size) < 10_000 and size % 2**10:
        return f"{size:.0f} B"
    return _format(size, {" B": 1, " KiB": 2**10, " MiB": 2**20, " GiB": 2**30, " TiB": 2**40})


def format_count(count: float) -> str:
    """`100k` from 100_000."""
    return _format(count, _DECIMAL)


def format_rate(per_second: float) -> str:
    """`20k/s` from 20_000 per second."""
    return _format(per_second, {f"{prefix}/s": factor for prefix, factor in _DECIMAL.items()})


def _format(value: float, units: Mapping[str, int]) -> str:
    """The value in the largest of the units (smallest first) that rounds to at least one of it."""
    if math.isnan(value):
        return "-"
    text = ""
    for unit, factor in units.items():
        number = value / factor
        # From 999.5 on, three significant digits would read 1e+03.
        digits = f"{number:.0f}" if abs(number) >= 999.5 else f"{number:.3g}"
        if text and abs(float(digits)) < 1:
            break
        text = digits + unit
    return text


def _for_pydantic(parse: Callable[[Any], _Value]) -> Callable[[Any], _Value]:
    """Let pydantic collect the refusal with all others, which it does for a ValueError only."""

    def validate(value: Any) -> _Value:
        try:
            return parse(value)
        except IosimError as refusal:
            raise ValueError(str(refusal)) from None

    return validate


# Types for the fields of pydantic models: they take what the functions above take.

Nanoseconds = Annotated[
    int, BeforeValidator(_for_pydantic(parse_time), json_schema_input_type=int | str)
]
Bytes = Annotated[
    int, BeforeValidator(_for_pydantic(parse_bytes), json_schema_input_type=int | str)
]
Count = Annotated[
    int, BeforeValidator(_for_pydantic(parse_count), json_schema_input_type=int | str)
]
PerSecond = Annotated[
    float, BeforeValidator(_for_pydantic(parse_rate), json_schema_input_type=float | str)
]
BitsPerSecond = Annotated[
    int, BeforeValidator(_for_pydantic(parse_bits_per_second), json_schema_input_type=int | str)
]
