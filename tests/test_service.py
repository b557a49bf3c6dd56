"""Service times: what may be written, and what comes back."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iosim.service import Distribution, Service
from iosim.workload import Workload

CONSTANT = Service(mean_ns=50_000)
EXPONENTIAL = Service(mean_ns=50_000, distribution="exponential")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("50us", CONSTANT),
        (50_000, CONSTANT),
        (np.int64(50_000), CONSTANT),
        ("0.05 ms", CONSTANT),
        ("constant(50us)", CONSTANT),
        ("0", Service()),
        ("exponential(50us)", EXPONENTIAL),
        (" exponential ( 50us ) ", EXPONENTIAL),
        (EXPONENTIAL, EXPONENTIAL),
        ({"mean_ns": "50us", "distribution": "exponential"}, EXPONENTIAL),
    ],
)
def test_written(written: object, meant: Service) -> None:
    assert Workload.of(service=written).service == meant


@given(
    st.builds(
        Service,
        mean_ns=st.integers(0, 2**63 - 1),
        distribution=st.sampled_from(get_args(Distribution)),
    )
)
def test_json_holds_it_as_it_is_written(service: Service) -> None:
    load = Workload(service=service)
    held = json.loads(load.model_dump_json())["service"]
    assert held == load.model_dump()["service"] == str(service)
    assert Workload(service=held) == load


def test_notation() -> None:
    assert [str(CONSTANT), str(EXPONENTIAL)] == ["50us", "exponential(50us)"]


def test_a_draw_is_the_quantile_of_its_bits() -> None:
    """-ln(u) times the mean, u being the share of 2**64 that the bits have come to."""
    assert [EXPONENTIAL.drawn_ns(bits) for bits in (2**63 - 1, 2**62 - 1)] == [34_657, 69_314]
    assert EXPONENTIAL.drawn_ns(2**64 - 1) == 0
    assert CONSTANT.drawn_ns(12_345) == 50_000
