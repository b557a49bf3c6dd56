"""Calibrations that are interrupted, kept files that are damaged, hosts that are not this one."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from iosim.calibrate import Plan, Simulated, cache, calibrate
from iosim.calibrate.bench import BENCHMARKS, CHECKS, OTHERS, Row
from iosim.costs import ABOUT, CostProfile, needed_by
from iosim.errors import HostRefused, IosimError
from iosim.host import facts

PLAN = Plan(passes=1, rounds=1, patience_s=0)
HOST = {"cpu": "simulated"}


class Interrupted(Simulated):
    """A place where somebody presses Ctrl-C when so many benchmarks have been run."""

    def __init__(self, after: int) -> None:
        super().__init__(CostProfile.shipped("python"))
        self.left = after
        self.measured: list[str] = []

    def measure(self, name: str, rounds: int, patience_s: float = 0) -> list[Row]:
        if not self.left:
            raise KeyboardInterrupt
        self.left -= 1
        self.measured.append(name)
        return super().measure(name, rounds)


def test_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    first = Interrupted(after=7)
    with pytest.raises(KeyboardInterrupt):
        calibrate(first, "a", HOST, plan=PLAN, kept=kept)
    second = Interrupted(after=1000)
    told: list[float] = []
    profile, steps = calibrate(
        second, "a", HOST, plan=PLAN, kept=kept, progress=lambda share, _: told.append(share)
    )
    planned = [name for name in BENCHMARKS if name not in CHECKS]
    assert first.measured + second.measured == planned
    whole, _ = calibrate(Interrupted(after=1000), "a", HOST, plan=PLAN)
    assert profile.costs == whole.costs
    assert profile.wakeup == whole.wakeup
    assert told == sorted(told)
    assert (told[0], told[-1]) == (0, 1)
    steps.save(tmp_path / "samples.json.gz")
    assert not kept.exists()
    samples = json.loads(gzip.decompress((tmp_path / "samples.json.gz").read_bytes()))
    assert set(samples["done"]) >= {f"0/{name}" for name in planned}


@pytest.mark.parametrize("content", ["", "{", '{"key": 1, "done": {}}', "[]"])
def test_kept_steps_that_are_of_no_use_are_measured_again(content: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(content)
    place = Interrupted(after=1)
    with pytest.raises(KeyboardInterrupt):
        calibrate(place, "a", HOST, plan=PLAN, kept=kept)
    assert len(place.measured) == 1


def test_steps_of_another_host_or_plan_are_not_taken(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    for host, plan in ((HOST, PLAN), ({"cpu": "another"}, PLAN), (HOST, Plan(1, 2, 0))):
        place = Interrupted(after=1)
        with pytest.raises(KeyboardInterrupt):
            calibrate(place, "a", host, plan=plan, kept=kept)
        assert place.measured == ["aio"]


def test_a_place_that_cannot_run_benchmarks_is_refused() -> None:
    place = Simulated(CostProfile.shipped("python"))
    place.why_not = lambda facility: "there is one core"  # type: ignore[method-assign]
    with pytest.raises(HostRefused, match=r"there is one core; use --profile native or"):
        calibrate(place, "a", HOST, plan=PLAN)


def test_without_a_facility_its_costs_are_those_of_the_native_profile() -> None:
    place = Simulated(CostProfile.shipped("python"))
    place.why_not = lambda facility: facility and f"no {facility}"  # type: ignore[method-assign]
    profile, _ = calibrate(place, "a", HOST, plan=PLAN)
    native = CostProfile.shipped("native").costs
    for name in ABOUT:
        if name.startswith(("uring", "aio")):
            assert profile.costs[name] == native[name]


class Shared(Simulated):
    """A place where other programs have a share of the processor time."""

    def __init__(self, share: float) -> None:
        super().__init__(CostProfile.shipped("python"))
        self.share = share

    def measure(self, name: str, rounds: int, patience_s: float = 0) -> list[Row]:
        rows = super().measure(name, rounds)
        if name == "interference":
            rows.append(Row(name, "gap", {}, [20_000.0] * 5, [0] * 5))
        return [*rows, Row(name, OTHERS, {}, [self.share], [0])]


def test_what_other_programs_took_is_not_taken_for_the_host() -> None:
    alone, _ = calibrate(Shared(0.01), "a", HOST, plan=PLAN)
    assert alone.interference is not None
    assert alone.warnings == []
    beside, _ = calibrate(Shared(0.23), "a", HOST, plan=PLAN)
    assert beside.interference is None
    (warning,) = beside.warnings
    assert "other programs had 23% of the processor time" in warning


def test_a_profile_of_another_host_says_what_is_different() -> None:
    python = CostProfile.shipped("python")
    here = python.model_copy(update={"host": facts()})
    assert cache.differences(here) == {}
    other = python.model_copy(update={"host": facts() | {"cores": 999}})
    assert cache.differences(other) == {"cores": (999, facts()["cores"])}
    assert cache.differences(CostProfile.shipped("native")) == {}


def test_a_missing_cost_is_named_with_the_models_that_need_it(tmp_path: Path) -> None:
    data = CostProfile.shipped("python").model_dump()
    del data["costs"]["epoll_ctl_ns"], data["costs"]["recv_ns"]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(data))
    with pytest.raises(IosimError) as caught:
        CostProfile.load(path)
    assert "recv_ns (for every model)" in str(caught.value)
    assert "epoll_ctl_ns (for epoll and epoll-et)" in str(caught.value)


def test_what_needs_a_cost_is_known_for_all() -> None:
    assert {name: needed_by(name) for name in ("poll_ns", "uring_sqe_ns", "irq_ns")} == {
        "poll_ns": "every model",
        "uring_sqe_ns": "io_uring and its variants",
        "irq_ns": "machines with a network card",
    }
