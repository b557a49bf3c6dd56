"""Designs: what a file means, which points it has, and how a mistake in it is told."""

from __future__ import annotations

import itertools
import json
import tomllib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from iosim.costs import ABOUT, CostProfile
from iosim.errors import IosimError
from iosim.machine import Nic
from iosim.models import Epoll
from iosim.seeds import replication_seed
from iosim.service import Service
from iosim.sweep.api import profiles_of
from iosim.sweep.design import Design
from iosim.sweep.fields import read
from iosim.sweep.plans import permuted

ISSUE = """
[sweep]
design = "factorial"
replications = 2
[sweep.axes]
model = ["blocking", "poll", "epoll", "io_uring"]
"workload.connections" = [10, 100, 300]
"workload.rate" = ["1k/s", "5k/s"]
[workload]
requests = 2000
"""


def of(text: str) -> Design:
    return Design.of(tomllib.loads(text))


def sampled(kind: str, samples: int, axes: dict[str, Any], **rest: Any) -> Design:
    table = {"design": kind, "samples": samples, "axes": axes, **rest}
    return Design.of({"sweep": table, "model": "epoll"})


def check(design: Design) -> Any:
    return design.common(profiles_of(design))


# --- factorial and list ----------------------------------------------------------------------


def test_every_combination_in_order_the_last_axis_fastest() -> None:
    design = of(ISSUE)
    expected = [
        {"model": model, "workload.connections": connections, "workload.rate_per_s": rate}
        for model, connections, rate in itertools.product(
            ("blocking", "poll", "epoll", "io_uring"), (10, 100, 300), (1_000.0, 5_000.0)
        )
    ]
    assert [point.values for point in design][::2] == expected
    assert [point.values for point in design][1::2] == expected
    assert [point.number for point in design] == list(range(48))


def test_a_replication_has_the_same_seed_at_every_point() -> None:
    design = of(ISSUE)
    assert {(point.replication, point.seed) for point in design} == {
        (0, 1),
        (1, replication_seed(1, 1)),
    }
    seeds = Design.of({"sweep": {"seed": 7, "axes": {"model": ["epoll"]}, "replications": 3}})
    assert [point.seed for point in seeds] == [replication_seed(7, r) for r in range(3)]


def test_dots_in_toml_may_be_quoted_or_not() -> None:
    quoted = of('model="epoll"\n[sweep.axes]\n"workload.connections" = [1, 2]\n[machine]\ncores=2')
    nested = of('model="epoll"\nmachine.cores=2\n[sweep.axes.workload]\nconnections = [1, 2]')
    assert quoted == nested
    assert quoted.fixed == {"model": "epoll", "machine.cores": 2}


def test_a_conditional_axis_multiplies_only_where_it_applies() -> None:
    design = of(
        """
        [sweep.axes]
        "param.threads" = { values = [4, 8], when = { model = "blocking-pool" } }
        model = ["epoll", "blocking-pool"]
        "workload.arrivals" = ["poisson", "bursty"]
        "workload.burst" = { values = [2, 3, 4], when = { "workload.arrivals" = ["bursty"] } }
        """
    )
    # The axes that conditions name come first, the others after them in the order of the file.
    burst = [(None, ("poisson",)), *((size, ("bursty",)) for size in (2, 3, 4))]
    expected = []
    for model in ("epoll", "blocking-pool"):
        for arrivals in ("poisson", "bursty"):
            for threads in (4, 8) if model == "blocking-pool" else (None,):
                for size in [size for size, when in burst if arrivals in when]:
                    values = {"model": model, "workload.arrivals": arrivals}
                    values |= {} if threads is None else {"param.threads": threads}
                    expected.append(values | ({} if size is None else {"workload.burst": size}))
    assert [point.values for point in design] == expected
    check(design)


def test_a_condition_on_a_conditional_axis() -> None:
    design = of(
        """
        [sweep.axes]
        model = ["epoll", "poll"]
        "param.trigger" = { values = ["level", "edge"], when = { model = "epoll" } }
        "param.workers" = { values = [1, 2], when = { "param.trigger" = "edge" } }
        """
    )
    assert [tuple(point.values.values()) for point in design] == [
        ("epoll", "level"),
        ("epoll", "edge", 1),
        ("epoll", "edge", 2),
        ("poll",),
    ]


def test_a_list_has_the_points_that_it_lists() -> None:
    design = Design.of(
        {
            "sweep": {
                "design": "list",
                "points": [{"model": "epoll"}, {"model": "poll", "workload": {"rate": "1k/s"}}],
            }
        }
    )
    assert [point.values for point in design] == [
        {"model": "epoll"},
        {"model": "poll", "workload.rate_per_s": 1_000.0},
    ]
    assert design.varied == ("model", "workload.rate_per_s")


# --- samples ---------------------------------------------------------------------------------

AXES = {
    "workload.connections": {"from": 10, "to": "1k", "scale": "log"},
    "workload.rate": {"from": "1k/s", "to": "9k/s"},
    "workload.arrivals": ["poisson", "even"],
}


@given(size=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_a_permutation_is_one(size: int, seed: int) -> None:
    assert sorted(permuted(index, size, seed) for index in range(size)) == list(range(size))


@given(samples=st.integers(2, 60), seed=st.integers(0, 1_000))
def test_a_latin_hypercube_has_one_sample_in_each_part_of_each_axis(
    samples: int, seed: int
) -> None:
    ends = {"scale.recv_ns": samples, "scale.send_ns": 1}
    axes = {name: {"from": 0, "to": end} for name, end in ends.items()}
    design = sampled("latin-hypercube", samples, axes, seed=seed)
    for name, width in (("scale.recv_ns", 1.0), ("scale.send_ns", 1 / samples)):
        parts = sorted(int(point.values[name] / width) for point in design)
        assert parts == list(range(samples))


def test_the_axes_of_a_latin_hypercube_do_not_follow_each_other() -> None:
    axes = {name: {"from": 0, "to": 1} for name in ("scale.recv_ns", "scale.send_ns")}
    rows = [tuple(p.values.values()) for p in sampled("latin-hypercube", 4_000, axes)]
    # Of independent axes, 1 / sqrt(4000) is the standard deviation; five of it are never met.
    assert abs(np.corrcoef(np.array(rows).T)[0, 1]) < 5 / 4_000**0.5


def test_a_sobol_sequence_is_that_of_scipy_across_blocks() -> None:
    axes = {name: {"from": 0, "to": 1} for name in ("scale.recv_ns", "scale.send_ns")}
    design = sampled("sobol", 8_192, axes, seed=3)
    expected = qmc.Sobol(2, rng=np.random.default_rng(3)).random(8_192)
    found = np.array([tuple(point.values.values()) for point in design])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_values_and_ranges_take_their_shares() -> None:
    design = sampled("sobol", 1_024, AXES)
    rows = [point.values for point in design]
    connections = np.array([row["workload.connections"] for row in rows])
    assert {type(row["workload.connections"]) for row in rows} == {int}
    assert connections.min() >= 10
    assert connections.max() <= 1_000
    # A balanced sequence puts half of the points below the geometric mean, and on each value.
    assert (connections < 100).mean() == pytest.approx(0.5, abs=0.01)
    assert sum(row["workload.arrivals"] == "even" for row in rows) == 512
    assert np.mean([row["workload.rate_per_s"] for row in rows]) == pytest.approx(5_000, abs=10)


def test_whole_numbers_are_equally_likely_up_to_both_ends() -> None:
    axes = {"workload.connections": {"from": 1, "to": 4}}
    rows = [point.values["workload.connections"] for point in sampled("sobol", 1_024, axes)]
    assert [rows.count(number) for number in (1, 2, 3, 4)] == [256] * 4


def test_a_sample_lacks_what_does_not_apply() -> None:
    axes = {
        "workload.burst": {"from": 2, "to": 9, "when": {"workload.arrivals": "bursty"}},
        "workload.arrivals": ["poisson", "bursty"],
    }
    for point in sampled("latin-hypercube", 50, axes):
        assert ("workload.burst" in point.values) == (point.values["workload.arrivals"] == "bursty")


def test_a_sensitivity_design_changes_one_axis_at_a_time() -> None:
    axes = {f"scale.{name}": {"from": 0, "to": 1} for name in ("recv_ns", "send_ns", "poll_ns")}
    design = sampled("sensitivity", 8, axes)
    assert len(design) == 8 * 5
    for sample in range(8):
        a, b, *mixed = (tuple(design[5 * sample + k].values.values()) for k in range(5))
        for place, row in enumerate(mixed):
            assert row == (*a[:place], b[place], *a[place + 1 :])
            assert row != a


@pytest.mark.parametrize("kind", ["factorial", "latin-hypercube", "sobol"])
def test_ten_million_points_are_never_in_memory(kind: str) -> None:
    many = list(range(1, 1_001))
    if kind == "factorial":
        axes: dict[str, Any] = {"workload.connections": many, "workload.burst": many}
        table = {"axes": axes, "replications": 10}
    else:
        table = {"design": kind, "samples": 10_000_000, "axes": AXES}
    sampled("sobol", 8, AXES)[0]  # imports what it needs
    tracemalloc.start()
    try:
        design = Design.of({"sweep": table, "model": "epoll"})
        check(design)
        first = [design[number] for number in range(2_000)]
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(design) == 10_000_000
    assert first[-1].number == 1_999
    assert design[9_999_999].number == 9_999_999
    assert peak_bytes < 20_000_000


def test_a_constant_service_is_a_number_so_that_it_can_have_a_range() -> None:
    assert read("workload.service", "50us") == 50_000
    assert read("workload.service", "exponential(0.05ms)") == "exponential(50us)"
    design = sampled("sobol", 8, {"workload.service": {"from": "1us", "to": "9us"}})
    assert all(1_000 <= point.values["workload.service"] <= 9_000 for point in design)
    found = check(design).specification(design[0].values)
    assert found.workload.service == Service(mean_ns=design[0].values["workload.service"])
    with pytest.raises(IosimError, match=r"'exponential.1us.' is not a number: list its values"):
        sampled("sobol", 8, {"workload.service": {"from": "exponential(1us)", "to": "9us"}})


@pytest.mark.parametrize("written", [1.0, "1.0"])
def test_one_active_connection_is_not_all_of_them(written: object) -> None:
    with pytest.raises(IosimError, match=r"could be one connection or all of them"):
        sampled("sobol", 8, {"workload.active": {"from": 0.5, "to": written}})


# --- points ----------------------------------------------------------------------------------


def test_a_specification_has_what_axes_and_file_say() -> None:
    design = of(
        """
        model = "epoll"
        oversubscribe = true
        [sweep.axes]
        "param.workers" = [2]
        "scale.recv_ns" = [1.5]
        "costs.send_ns" = ["2us"]
        "machine.nic.coalesce" = ["20us"]
        [machine]
        cores = 2
        [machine.nic]
        latency = "1us"
        [workload]
        active = "10%"
        service = "50us"
        """
    )
    found = check(design).specification(design[0].values)
    python = CostProfile.shipped("python")
    assert found.model == Epoll(workers=2)
    assert found.machine.cores == 2
    assert found.machine.nic == Nic(coalesce_ns=20_000, latency_ns=1_000)
    assert found.profile.costs["recv_ns"].value == python.costs["recv_ns"].value * 1.5
    assert found.profile.costs["send_ns"].value == 2_000
    assert found.workload.active == 0.1
    assert found.workload.service == Service(mean_ns=50_000)
    assert found.oversubscribe


def test_a_key_stands_for_specification_seed_and_version() -> None:
    design, more = of(ISSUE), of(ISSUE.replace("requests = 2000", "requests = 2001"))
    common = check(design)
    keys = {common.key(point) for point in design}
    assert len(keys) == len(design)
    assert keys.isdisjoint(check(more).key(point) for point in more)
    python = CostProfile.shipped("python")
    other = {"python": python.scaled(recv_ns=2)}
    assert keys.isdisjoint(design.common(other).key(point) for point in design)
    assert keys == {check(of(ISSUE)).key(point) for point in of(ISSUE)}


@pytest.mark.parametrize(
    "design",
    [
        of(ISSUE),
        sampled("sensitivity", 4, AXES, replications=3),
        Design.of({"sweep": {"design": "list", "points": [{"model": "epoll"}]}}),
        of(
            'kernel="real"\n[sweep.axes]\nmodel=["epoll","poll"]\n'
            '"param.workers" = { values = [1, 2], when = { model = "epoll" } }'
        ),
    ],
    ids=lambda design: design.kind,
)
def test_its_text_makes_the_same_design(design: Design) -> None:
    again = Design.of(json.loads(design.text()))
    assert again == design
    assert list(again) == list(design)
    assert again.text() == design.text()


# --- mistakes --------------------------------------------------------------------------------

MODEL = 'model = "epoll"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no table [sweep]"),
        ("[sweep]\naxis = 1", "has no 'axis' (did you mean axes?)"),
        ('[sweep]\ndesign = "factorail"', "(did you mean factorial?)"),
        (MODEL + "[sweep.axes]\n'workload.conections' = [1]", "did you mean workload.connections?"),
        (MODEL + "[sweep.axes]\n'costs.rcv_ns' = [1]", "did you mean costs.recv_ns?"),
        (MODEL + "[sweep.axes]\n'machine.nic.mtu_byte' = [1]", "machine.nic.mtu_bytes"),
        (MODEL + "[sweep.axes]\nfoo = {from = 1, to = 2}", "there is no field 'foo.from'"),
        (MODEL + "worklod.rate = 5\n[sweep.axes]\n'workload.burst' = [1]", "mean workload.rate?"),
        (MODEL + "[sweep.axes]\n'workload.burst' = []", "axis workload.burst is empty"),
        (MODEL + "[sweep.axes]", "there are no axes"),
        (MODEL + "[sweep.axes]\n'workload.burst' = 5", "5 is not a list of values"),
        (MODEL + "[sweep.axes]\n'workload.rate' = ['1k/s', 1000]", "1000 is there twice"),
        (MODEL + "[sweep.axes]\n'workload.rate' = ['fast']", "'fast' is not a rate"),
        (MODEL + "[sweep.axes]\n'workload.connections' = [0]", "greater than 0"),
        (MODEL + "[sweep.axes]\n'scale.recv_ns' = [-1]", "-1 is not a number between 0 and 1e"),
        (MODEL + "[sweep.axes]\n'costs.recv_ns' = [2e12]", "not a number between 0 and 1e"),
        (MODEL + "[sweep.axes]\n'costs.recv_ns' = ['2000 s']", "not a number between 0 and 1e"),
        ("[sweep.axes]\nmodel = ['epol']", "did you mean epoll?"),
        ("[sweep.axes]\nkernel = ['unreal']\nmodel = ['epoll']", "choose one of simulated, real"),
        ("[sweep.axes]\n'workload.burst' = [1]", "there is no model"),
        (MODEL + "[sweep.axes]\nmodel = ['epoll']", "model is both set and varied"),
        (MODEL + "[sweep.axes]\n'workload.burst' = {from = 1, to = 9}", "needs values: list them"),
        (MODEL + "[sweep.axes]\n'workload.burst' = {values = [1], from = 1}", "give one of them"),
        (MODEL + "[sweep.axes]\n'workload.burst' = {from = 1}", "needs values, or from and to"),
        (MODEL + "[sweep.axes]\n'workload.burst' = {upto = 1}", "there is no 'upto'"),
        (MODEL + "[sweep.axes]\n'workload.burst' = {from = 9, to = 1}", "9 must be below to = 1"),
        (
            MODEL + "[sweep.axes]\n'scale.recv_ns' = {from = 0, to = 1, scale = 'log'}",
            "must be above 0 on a log scale",
        ),
        (MODEL + "[sweep]\nsamples = 3\n[sweep.axes]\n'workload.burst' = [1]", "takes no samples"),
        (
            MODEL + "[sweep]\ndesign = 'sobol'\n[sweep.axes]\n'workload.burst' = [1]",
            "needs samples",
        ),
        (
            MODEL + "[sweep]\nseed = -1\n[sweep.axes]\n'workload.burst' = [1]",
            "sweep.seed = -1 must be a whole number from 0 to 2**63 - 1",
        ),
        (
            MODEL + f"[sweep]\nseed = {2**63 - 1}\nreplications = 2\n"
            "[sweep.axes]\n'workload.burst' = [1]",
            "sweep.seed = 9223372036854775808 must be",
        ),
        (MODEL + "[sweep]\nreplications = 0\n[sweep.axes]\n'workload.burst' = [1]", "from 1 on"),
        ("[sweep]\ndesign = 'list'", "the list of points is empty"),
        ("[sweep]\ndesign = 'list'\n[[sweep.points]]\nmodle = 'epoll'", "did you mean model?"),
        (
            "[sweep.axes]\nmodel = ['epoll']\n'workload.burst' = {values=[1], when={model='poll'}}",
            "model is never 'poll'",
        ),
        (
            MODEL + "[sweep.axes]\n'workload.burst' = {values=[1], when={kernel='real'}}",
            "kernel is neither varied nor set",
        ),
        (
            MODEL + "[sweep.axes]\n'workload.burst' = {values=[1], when={kernal='real'}}",
            "did you mean kernel?",
        ),
        (
            MODEL + "[sweep.axes]\n'workload.burst' = {values=[1], when={'workload.active'=1}}\n"
            "'workload.active' = {values=[1], when={'workload.burst'=1}}",
            "go round in a circle",
        ),
        ("sweep = ['x']", "there is no table [sweep]"),
        ("[sweep]\naxes = ['x']", "['x'] is not a table of axes"),
        ("[sweep]\ndesign = 'list'\npoints = ['x']", "'x' is not a table of fields"),
        ("[sweep]\ndesign = ['x']", "unknown design ['x']: choose one of factorial"),
        (
            MODEL + "[sweep.axes]\n'workload.burst' = [['x']]",
            "workload.burst: ['x'] is not a count",
        ),
        (MODEL + "[sweep.axes]\n'param.trigger' = [['x']]", "['x'] is neither text nor a number"),
        (MODEL + "[sweep.axes]\n'param.trigger' = [{x = 1}]", "{'x': 1} is neither text nor"),
        (MODEL + "param.trigger = 2020-01-01\n[sweep]", "date(2020, 1, 1) is neither text nor"),
        (
            MODEL + "[sweep.axes]\n'workload.burst' = {values=[1], when=['x']}",
            "not a table of fields",
        ),
        (MODEL + "[sweep.axes]\n'workload.burst' = {values=[1], when=5}", "5 is not a table"),
        (MODEL + "[sweep.axes]\n" + "a." * 3_000 + "b = [1]", "there is no field 'a.a.a.a'"),
        (
            MODEL + "[workload]\nrate = 1\nrate_per_s = 2\n[sweep]",
            "workload.rate_per_s is set twice",
        ),
        (MODEL + f"[sweep]\nreplications = {2**63}", "a whole number from 1 on, below 2**63"),
        (MODEL + f"[sweep]\nseed = {2**63}", "a whole number from 0 to 2**63 - 1"),
        (
            MODEL + f"[sweep]\ndesign = 'sobol'\nsamples = {2**30 + 1}\n"
            "[sweep.axes]\n'workload.burst' = [1]",
            "a Sobol sequence has 1073741824 points",
        ),
    ],
)
def test_a_mistake_is_told(text: str, said: str) -> None:
    with pytest.raises(IosimError) as refusal:
        of(text)
    assert said in str(refusal.value)


@pytest.mark.parametrize("table", [{5: [1]}, {"workload": {5: 1}}, {"workload.burst": {5: 1}}])
def test_keys_that_are_no_text(table: dict[Any, Any]) -> None:
    for tables in ({"axes": table}, {"design": "list", "points": [table]}, table):
        with pytest.raises(IosimError):
            Design.of({"sweep": tables, "model": "epoll"})


def test_a_file_that_nests_too_deeply(tmp_path: Path) -> None:
    (tmp_path / "d.toml").write_text("x = " + "[" * 10_000 + "]" * 10_000)
    with pytest.raises(IosimError, match=r"d\.toml nests too deeply"):
        Design.load(tmp_path / "d.toml")


TEN = [1 + step / 10 for step in range(10)]


def test_more_points_than_can_be_numbered() -> None:
    axes = {f"scale.{name}": TEN for name in [*ABOUT][:40]}
    with pytest.raises(IosimError, match=r"about 10\*\*40 points"):
        Design.of({"sweep": {"axes": axes}, "model": "epoll"})
    sampled("latin-hypercube", 10, axes)


def test_more_cases_than_can_be_kept() -> None:
    """Each of the axes but the first has a condition that names the one before."""
    names = [f"scale.{name}" for name in [*ABOUT][:9]]
    axes = {names[0]: TEN} | {
        name: {"values": TEN, "when": {before: TEN}} for before, name in itertools.pairwise(names)
    }
    with pytest.raises(IosimError, match="have more than 1,000,000 combinations"):
        Design.of({"sweep": {"axes": axes}, "model": "epoll"})


class Counted(str):
    """A text that counts how often any such is compared."""

    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    __hash__ = str.__hash__


def test_an_axis_takes_time_by_the_number_of_its_values() -> None:
    """Not by its square: none is compared with all others."""
    names = [Counted(f"{number}.json") for number in range(2_000)]
    alike = {"values": [1, 2], "when": {"profile": names}}
    axes = {"profile": names, "workload.burst": alike}
    design = Design.of({"sweep": {"axes": axes}, "model": "epoll"})
    assert type(design.axes[0].values[0]) is Counted
    assert len(list(design)) == 2 * len(names)
    assert Counted.compared < 2 * len(names)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[sweep.axes]\nmodel = ['epoll', 'blocking-pool']\n'param.threads' = [4]",
            "has no parameter 'threads': its parameters are trigger, max_events, "
            "workers, listener; give the axis when",
        ),
        (
            MODEL + "workload.active = 50\n[sweep.axes]\n'workload.connections' = [100, 10]",
            "point 1 (workload.connections = 10): active = 50 of 10 connections",
        ),
        (
            MODEL + "kernel='real'\n[sweep.axes]\n'machine.cores' = [1, 2]",
            "machine.cores means nothing to a real run",
        ),
        (
            MODEL + "costs.recv_ns=1\n[sweep.axes]\n'scale.recv_ns' = [1]",
            "set the cost or multiply it, not both",
        ),
        (MODEL + "profile='nativ'\n[sweep.axes]\n'workload.burst' = [1]", "did you mean native?"),
        (
            MODEL + "profile='native'\nmachine.interference=true\n[sweep.axes]\n'workload.burst' = "
            "[1]",
            "cost profile 'native' knows of none",
        ),
    ],
)
def test_an_impossible_point_is_told_before_anything_runs(text: str, said: str) -> None:
    with pytest.raises(IosimError) as refusal:
        check(of(text))
    assert said in str(refusal.value)


def test_an_impossible_point_among_many_is_found() -> None:
    many = list(range(1, 101))
    design = Design.of(
        {
            "sweep": {"axes": {"workload.connections": many, "workload.burst": many}},
            "model": "epoll",
            "workload": {"active": 50},
        }
    )
    with pytest.raises(IosimError, match="active = 50 of"):
        check(design)
