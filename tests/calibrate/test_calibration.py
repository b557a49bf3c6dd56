"""Calibrations that are interrupted, kept files that are damaged, hosts that are not this one."""

from __future__ import annotations

import gzip
import json
from copy import deepcopy
from dataclasses import asdict
from functools import cache
from pathlib import Path

import pytest

from iosim.calibrate import Plan, Simulated, calibrate, estimate
from iosim.calibrate.bench import BENCHMARKS, CHECKS, OTHERS, Row
from iosim.calibrate.benchmarks.wakeups import IDLE_NS
from iosim.calibrate.cache import differences
from iosim.costs import ABOUT, CostProfile, WakeUp, needed_by
from iosim.errors import HostRefused, IosimError, RunFailed
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


KEY = json.dumps({"host": HOST, "plan": asdict(PLAN)})
ROW = json.dumps(asdict(Row("aio", "a", {"aio_read_ns": 1}, [5.0], [0.0])))


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        '{"key": 1, "done": {}}',
        "[]",
        "[" * 100_000,
        f'{{"key": {KEY}}}',
        f'{{"key": {KEY}, "done": 5}}',
        f'{{"key": {KEY}, "done": {{"0/aio": null}}}}',
        f'{{"key": {KEY}, "done": {{"0/aio": [{{}}]}}}}',
        f'{{"key": {KEY}, "done": {{"0/aio": [{ROW.replace("[5.0]", "[]")}]}}}}',
        f'{{"key": {KEY}, "done": {{"0/aio": [{ROW.replace("5.0", "5.0, 6.0")}]}}}}',
        f'{{"key": {KEY}, "done": {{"0/aio": [{ROW.replace("5.0", "NaN")}]}}}}',
        f'{{"key": {KEY}, "done": {{"0/aio": [{ROW.replace("5.0", "1e300")}]}}}}',
    ],
    ids=range(13),
)
def test_kept_steps_that_are_of_no_use_are_measured_again(content: str, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(content)
    place = Interrupted(after=1)
    with pytest.raises(KeyboardInterrupt):
        calibrate(place, "a", HOST, plan=PLAN, kept=kept)
    assert len(place.measured) == 1


def test_kept_steps_that_are_whole_are_taken(tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    kept.write_text(f'{{"key": {KEY}, "done": {{"0/aio": [{ROW}], "0/select": [{{}}]}}}}')
    place = Interrupted(after=1)
    with pytest.raises(KeyboardInterrupt):
        calibrate(place, "a", HOST, plan=PLAN, kept=kept)
    assert len(place.measured) == 1
    assert place.measured != ["aio"]


PYTHON = CostProfile.shipped("python")
NATIVE = CostProfile.shipped("native")


@cache
def measured() -> list[Row]:
    """What waking up is measured to be of a machine with the costs of the profile python."""
    return Simulated(PYTHON).measure("wakeups", PLAN.rounds)


def wakeups(slept_ns: dict[int, int]) -> list[WakeUp]:
    """The wake-ups if the core has idled for another time after some pauses."""
    rows = deepcopy(measured())
    for row in rows:
        for pause_ns, idle_ns in slept_ns.items():
            if row.about == f"slept, {pause_ns}":
                row.values[:] = [float(idle_ns)] * len(row.values)
    return estimate.wakeups(estimate.Noted(rows), PYTHON.costs, PYTHON.caches)


def test_idle_times_out_of_order_are_merged() -> None:
    """After 400 us the core idles no longer than after 200 us, so both make one row. Three times as
    many measurements are after 200 us: their idle time is the median."""
    first = wakeups({200_000: 210_000})
    assert len(first) == len(IDLE_NS)
    found = wakeups({200_000: 210_000, 400_000: 190_000})
    assert [row.idle_ns for row in found] == [
        row.idle_ns for number, row in enumerate(first) if number != 5
    ]
    assert found[:4] == first[:4]
    assert found[5:] == first[6:]
    lowest, highest = sorted(row.cpu_ns for row in first[4:6])
    assert lowest < found[4].cpu_ns < highest


def test_idle_times_all_out_of_order_make_one_row() -> None:
    falling = {pause_ns: 10**6 - number for number, pause_ns in enumerate(IDLE_NS)}
    (row,) = wakeups(falling)
    assert 10**6 - len(IDLE_NS) < row.idle_ns < 10**6 + 10_000


def test_what_was_not_measured_makes_no_costs() -> None:
    nothing = estimate.Noted([])
    assert estimate.wakeups(nothing, PYTHON.costs, PYTHON.caches) == []
    assert estimate.client_wake(nothing, PYTHON.costs, PYTHON.caches) == {}
    assert estimate.sleep(nothing, PYTHON.wakeup, PYTHON.costs) == {}
    assert estimate.interference(nothing) is None


class Disturbed(Simulated):
    """A place where waking up is measured in vain, but with ticks in reversed order."""

    def __init__(self) -> None:
        super().__init__(PYTHON)

    def measure(self, name: str, rounds: int, patience_s: float = 0) -> list[Row]:
        rows = super().measure(name, rounds)
        for row in rows:
            if row.about.startswith("slept, "):
                row.values[:] = [1e9 / float(row.about.split()[1])] * len(row.values)
        return [] if name in ("wakeups", "nanosleep") else rows


def test_a_profile_says_what_noise_has_taken_from_it() -> None:
    profile, _ = calibrate(Disturbed(), "a", HOST, plan=PLAN)
    assert CostProfile.model_validate(profile.model_dump()) == profile
    missing, of_wakeups, ticking = profile.warnings
    lost = ("nanosleep_ns", "timer_slack_ns", "client_wake_ns")
    assert missing == f"{', '.join(lost)} could not be measured and are as in the profile native"
    assert {name: profile.costs[name] for name in lost} == {n: NATIVE.costs[n] for n in lost}
    assert "of wake-ups after 9 idle times none is left" in of_wakeups
    assert (profile.wakeup, profile.wakeup_source) == (NATIVE.wakeup, NATIVE.wakeup_source)
    assert "of wake-ups with ticks after 5 idle times only 1 are kept" in ticking
    assert len(profile.wakeup_ticking) == 1


def test_measurements_that_make_no_profile_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try would end like this one."""

    def failing(*_: object) -> None:
        raise ValueError("Residuals are not finite")

    class Silent(Simulated):
        def measure(self, name: str, rounds: int, patience_s: float = 0) -> list[Row]:
            assert kept.exists() or name == "aio"
            return []

    kept = tmp_path / "kept.json"
    monkeypatch.setattr(estimate, "costs_of", failing)
    with pytest.raises(RunFailed, match=r"no cost profile \(Residuals .*calibrate again when the"):
        calibrate(Silent(PYTHON), "a", HOST, plan=PLAN, kept=kept)
    assert list(tmp_path.iterdir()) == []


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
            rows.append(Row(name, "spun", {}, [1e9], [0]))
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
    assert differences(here) == {}
    other = python.model_copy(update={"host": facts() | {"cores": 999}})
    assert differences(other) == {"cores": (999, facts()["cores"])}
    assert differences(CostProfile.shipped("native")) == {}


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
