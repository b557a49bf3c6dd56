"""Quantities as people write them, and back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from iosim.errors import IosimError
from iosim.units import (
    BitsPerSecond,
    Bytes,
    Count,
    Nanoseconds,
    PerSecond,
    format_bytes,
    format_count,
    format_rate,
    format_time,
    parse_bits_per_second,
    parse_bytes,
    parse_count,
    parse_rate,
    parse_seed,
    parse_time,
    write_time,
)

PARSERS: list[Callable[[Any], float]] = [
    parse_time,
    parse_bytes,
    parse_count,
    parse_rate,
    parse_bits_per_second,
]
TIME_UNITS = {"ns": 1, "us": 10**3, "\u00b5s": 10**3, "\u03bcs": 10**3, "ms": 10**6, "s": 10**9}


@pytest.mark.parametrize(
    ("parse", "text", "expected"),
    [
        (parse_time, "20us", 20_000),
        (parse_time, "20\u00b5s", 20_000),
        (parse_time, "20\u03bcs", 20_000),
        (parse_time, "1.5ms", 1_500_000),
        (parse_time, ".5ms", 500_000),
        (parse_time, " 2 s ", 2_000_000_000),
        (parse_time, "1min", 60_000_000_000),
        (parse_time, "0", 0),
        (parse_time, 250, 250),
        (parse_time, np.int64(250), 250),
        (parse_bytes, "64KiB", 65_536),
        (parse_bytes, "64kB", 64_000),
        (parse_bytes, "1.5 GiB", 3 * 2**29),
        (parse_bytes, "1500", 1500),
        (parse_count, "200", 200),
        (parse_count, "100k", 100_000),
        (parse_count, "12M", 12_000_000),
        (parse_count, "1_000_000", 1_000_000),
        (parse_count, "1e6", 1_000_000),
        (parse_count, 64.0, 64),
        (parse_rate, "20k/s", 20_000.0),
        (parse_rate, "20000", 20_000.0),
        (parse_rate, "1.5M/s", 1_500_000.0),
        (parse_rate, "0.5/s", 0.5),
        (parse_rate, 0.1, 0.1),
        (parse_bits_per_second, "10Gbit/s", 10**10),
        (parse_bits_per_second, "2.5 Gbit/s", 2_500_000_000),
    ],
)
def test_reads_what_people_write(
    parse: Callable[[Any], float], text: object, expected: float
) -> None:
    value = parse(text)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("parse", "value", "rule"),
    [
        (parse_time, "20", "write a number with ns, us, ms, s or min, for example 20us"),
        (parse_time, "5 parsec", "'5 parsec' is not a time: write a number with ns"),
        (parse_time, "20US", "write a number"),
        (parse_time, "-5us", "'-5us' is not a time: it must not be negative"),
        (parse_time, "1.5ns", "a whole number of nanoseconds"),
        (parse_time, "400min400", "write a number"),
        (parse_time, "99999999999 s", r"below 2\*\*63 nanoseconds"),
        (parse_bytes, "64k", "for example 64KiB"),
        (parse_bytes, "0.3kB1", "write a number"),
        (parse_bytes, "0.5", "a whole number of bytes"),
        (parse_count, "1.0005k", "a whole number of items"),
        (parse_count, "1__000", "for example 100k"),
        (parse_count, "1e999999999", "for example 100k"),
        (parse_count, "9" * 5000, "is not a count"),
        (parse_count, -3, "-3 is not a count: it must not be negative"),
        (parse_count, 2.5, "a whole number of items"),
        (parse_rate, "20k/min", "for example 20k/s"),
        (parse_rate, "1/3", "for example 20k/s"),
        (parse_bits_per_second, "10GB/s", "for example 10Gbit/s"),
    ],
)
def test_refusal_names_value_rule_and_example(
    parse: Callable[[Any], float], value: object, rule: str
) -> None:
    with pytest.raises(IosimError, match=rule):
        parse(value)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize(
    "value",
    ["", "us", "nan", "inf", "ten", "1,5", "0x10", "1 2", "\u0663", "5\nus\n5"],
)
def test_refuses_text_without_a_number(parse: Callable[[Any], float], value: str) -> None:
    with pytest.raises(IosimError):
        parse(value)


@pytest.mark.parametrize("parse", PARSERS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, None, [], b"5", 1j])
def test_refuses_objects_that_are_no_number(parse: Callable[[Any], float], value: object) -> None:
    with pytest.raises(IosimError):
        parse(value)


@given(st.one_of(st.text(), st.from_regex(r"[+-]?[0-9._]+[a-zA-Z/ ]*", fullmatch=True)))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    for parse in PARSERS:
        try:
            value = parse(text)
        except IosimError as error:
            value, refusal = None, str(error)
        if value is None:
            assert len(refusal.splitlines()) == 1
            assert "for example" in refusal
        else:
            assert value >= 0


@given(st.decimals(min_value=0, max_value=10**6, places=3), st.sampled_from(list(TIME_UNITS)))
def test_times_are_exact(number: object, unit: str) -> None:
    exact = Fraction(str(number)) * TIME_UNITS[unit]
    if exact.denominator == 1:
        assert parse_time(f"{number}{unit}") == exact
    else:
        with pytest.raises(IosimError, match="whole number"):
            parse_time(f"{number}{unit}")


@pytest.mark.parametrize(
    ("format_", "value", "expected"),
    [
        (format_time, 51_312, "51.3 us"),
        (format_time, 0, "0 ns"),
        (format_time, 0.25, "0.25 ns"),
        (format_time, 999.4, "999 ns"),
        (format_time, 999.6, "1 us"),
        (format_time, -2_500_000, "-2.5 ms"),
        (format_time, 3_600 * 10**9, "3600 s"),
        (format_time, math.nan, "-"),
        (format_time, math.inf, "inf s"),
        (format_bytes, 65_536, "64 KiB"),
        (format_bytes, 1500, "1500 B"),
        (format_bytes, 210.4, "210 B"),
        (format_bytes, 1_048_575, "1 MiB"),
        (format_count, 100_000, "100k"),
        (format_count, 12, "12"),
        (format_rate, 20_000, "20k/s"),
        (format_rate, 0.5, "0.5/s"),
        (format_rate, 174_312.7, "174k/s"),
    ],
)
def test_formats_for_tables(format_: Callable[[float], str], value: float, expected: str) -> None:
    assert format_(value) == expected


@given(st.integers(0, 999), st.sampled_from([1, 10**3, 10**6, 10**9]))
def test_three_digits_survive_the_round_trip(number: int, factor: int) -> None:
    value = number * factor
    assert parse_time(format_time(value)) == value
    assert parse_count(format_count(value)) == value
    assert parse_rate(format_rate(value)) == value


@given(st.integers(0, 1023), st.sampled_from([2**10, 2**20, 2**30]))
def test_whole_binary_sizes_survive_the_round_trip(number: int, factor: int) -> None:
    assert parse_bytes(format_bytes(number * factor)) == number * factor


@given(st.integers(0, 2**62))
def test_more_digits_survive_to_half_a_percent(value: int) -> None:
    assert parse_time(format_time(value)) == pytest.approx(value, rel=0.00501)
    assert parse_rate(format_rate(value)) == pytest.approx(value, rel=0.00501)


class Everything(BaseModel):
    time: Nanoseconds = 0
    size: Bytes = 0
    count: Count = 0
    rate: PerSecond = 0
    speed: BitsPerSecond = 0


def test_model_fields_take_text_and_numbers() -> None:
    written = Everything.model_validate(
        {"time": "20us", "size": "64KiB", "count": "100k", "rate": "20k/s", "speed": "10Gbit/s"}
    )
    plain = Everything(time=20_000, size=65_536, count=100_000, rate=20_000, speed=10**10)
    assert written == plain
    assert Everything.model_validate_json(written.model_dump_json()) == written


def test_model_reports_every_refusal_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate({"time": "20", "size": "64k", "rate": -1, "count": None})
    assert [error["loc"] for error in caught.value.errors()] == [
        ("time",),
        ("size",),
        ("count",),
        ("rate",),
    ]
    assert "'20' is not a time" in caught.value.errors()[0]["msg"]


def test_json_schema_tells_editors_that_text_is_welcome() -> None:
    kinds = Everything.model_json_schema()["properties"]["time"]["anyOf"]
    assert {kind["type"] for kind in kinds} == {"integer", "string"}


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0s"), (1, "1ns"), (1_500, "1500ns"), (100_000, "100us"), (2_000_000, "2ms")],
)
def test_a_time_is_written_exactly(ns: int, text: str) -> None:
    assert write_time(ns) == text


@given(st.integers(0, 2**63 - 1))
def test_a_written_time_is_read_as_the_same(ns: int) -> None:
    assert parse_time(write_time(ns)) == ns


@pytest.mark.parametrize("seed", [0, 3, 2**63 - 1, np.int64(3), np.uint64(3)])
def test_a_seed_is_a_whole_number_that_json_holds(seed: Any) -> None:
    assert parse_seed(seed) == int(seed)
    assert json.loads(json.dumps(parse_seed(seed))) == int(seed)


@pytest.mark.parametrize("seed", [-1, 2**63, 10**40, 1.0, True, "1", None, np.int64(-1)])
def test_what_is_no_seed(seed: Any) -> None:
    with pytest.raises(IosimError, match=r"seed = .* must be a whole number from 0 to 2\*\*63 - 1"):
        parse_seed(seed)
