"""Cost profiles: the shipped ones, their file, and what is wrong with a bad one."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from iosim.caches import CONNECTION_BYTES, NO_MISSES, SCAN_BYTES, THREAD_BYTES, Caches
from iosim.costs import (
    ABOUT,
    CALLS,
    FAMILIES,
    RATES,
    SCHEMA,
    Cost,
    CostProfile,
    Prices,
    WakeUp,
    unit,
    wakeup_after,
)
from iosim.errors import IosimError
from iosim.machine import Machine
from iosim.sim import simulate
from iosim.sim.wakeups import WakeUps
from iosim.workload import Workload

NATIVE = CostProfile.shipped("native")


@pytest.mark.parametrize("name", ["native", "python"])
def test_shipped_profiles_say_where_each_value_comes_from(name: str) -> None:
    profile = CostProfile.shipped(name)
    assert profile.runtime == name
    assert profile.schema_version == SCHEMA
    assert set(profile.costs) == set(ABOUT)
    for cost in profile.costs.values():
        assert cost.source == "measured" or cost.note
    if any(cost.source == "measured" for cost in profile.costs.values()):
        assert profile.host


def test_every_cost_is_explained_and_carries_its_unit() -> None:
    for name, about in ABOUT.items():
        assert about
        assert name.endswith(("_ns", "_bytes")) or "_ns_per_" in name
    assert set(ABOUT) == {field.name for field in fields(Prices)} - {"caches"}
    assert "user_ns" not in CALLS


def test_every_cost_is_in_one_family() -> None:
    assert [name for names in FAMILIES.values() for name in names] == list(ABOUT)
    assert all(FAMILIES.values())
    assert "sigwaitinfo_ns" in FAMILIES["signals"]
    assert set(FAMILIES["memory"]) == {name for name in ABOUT if unit(name) == "bytes"}


def test_units() -> None:
    units = {unit(name) for name in ABOUT}
    assert units == {"ns", "ns/byte", "ns/packet", "bytes"}
    assert unit("copy_ns_per_byte") == "ns/byte"


def test_quantiles_of_a_wakeup() -> None:
    row = WakeUp(idle_ns=0, latency_ns=[100, 200, 300, 400], cpu_ns=50, cold_ns=5)
    # Those known are at 1/8, 3/8, 5/8 and 7/8.
    assert row.quantiles_ns([0, 0.125, 0.5, 0.875, 1]).tolist() == [100, 100, 250, 400, 400]
    assert row.summary() == {
        "p10_ns": 100,
        "p50_ns": 250,
        "p90_ns": 400,
        "cpu_ns": 50,
        "cold_ns": 5,
    }


@given(st.integers(0, 10**7))
def test_a_wakeup_between_rows_is_what_the_simulated_kernel_draws(idle_ns: int) -> None:
    """Of certain wake-ups, whose quantiles are all alike."""
    rows = [
        WakeUp(idle_ns=1_000, latency_ns=[500], cpu_ns=100, cold_ns=10),
        WakeUp(idle_ns=5_000, latency_ns=[900, 900], cpu_ns=80, cold_ns=20),
        WakeUp(idle_ns=2_000_000, latency_ns=[70_000], cpu_ns=9_000, cold_ns=0),
    ]
    row = wakeup_after(rows, idle_ns)
    drawn = WakeUps(rows).after(idle_ns, step=512)
    assert drawn == pytest.approx((row.latency_ns[0], row.cpu_ns, row.cold_ns), abs=0.51)
    assert row.idle_ns == idle_ns
    assert len(set(row.latency_ns)) == 1


def test_prices_add_what_the_runtime_takes_to_each_call() -> None:
    """Calls only: a copy or a wake-up runs no line of the program's language."""
    plain = NATIVE.scaled(user_ns=0).prices()
    slow = NATIVE.scaled(user_ns=10).prices()
    user_ns = 10 * NATIVE.costs["user_ns"].value
    for name in set(ABOUT) - {"user_ns"}:
        more = getattr(slow, name) - getattr(plain, name)
        assert more == (user_ns if name in CALLS else 0), name


def test_prices_are_whole_nanoseconds_but_rates_are_exact() -> None:
    prices = NATIVE.scaled(send_ns=1 / 3, select_fd_ns=1 / 3).prices()
    for name in set(ABOUT) - RATES:
        assert type(getattr(prices, name)) is int
    assert prices.select_fd_ns == NATIVE.costs["select_fd_ns"].value / 3


def on_host(**host: Any) -> CostProfile:
    """The native profile as if it came from that host."""
    return NATIVE.model_copy(update={"host": host})


def test_caches_are_those_of_the_host() -> None:
    assert on_host(l2_bytes=2**20, l3_bytes=2**25).caches == Caches(2**20, 2**25)
    assert on_host(l2_bytes=2**20, l3_bytes=None).caches == Caches(2**20)
    for silent in ({}, {"l2_bytes": None, "l3_bytes": 2**25}, {"l2_bytes": 0}):
        assert on_host(**silent).caches == NO_MISSES


@pytest.mark.parametrize("name", ["native", "python"])
def test_shipped_profiles_know_their_caches(name: str) -> None:
    assert CostProfile.shipped(name).caches != NO_MISSES


def test_a_scan_costs_more_once_its_descriptors_leave_l2() -> None:
    prices = on_host(l2_bytes=100 * SCAN_BYTES, l3_bytes=300 * SCAN_BYTES).prices()
    assert prices.scan_miss_ns(100) == 0
    # Of twice what a cache holds 0.7968 of it misses, of three times 0.9405, of six times 0.9975.
    assert prices.scan_miss_ns(200) == pytest.approx(200 * prices.fd_miss_ns * 0.7968, rel=1e-4)
    assert prices.scan_miss_ns(600) == pytest.approx(
        600 * prices.fd_miss_ns * (0.9975 + 3 * 0.7968), rel=1e-4
    )
    without_l3 = on_host(l2_bytes=100 * SCAN_BYTES).prices()
    assert without_l3.scan_miss_ns(200) == pytest.approx(4 * prices.scan_miss_ns(200))
    assert on_host().prices().scan_miss_ns(10**9) == 0


def test_a_copy_costs_more_once_both_its_ends_leave_l2() -> None:
    prices = on_host(l2_bytes=2_000).prices()
    in_l2_ns, beyond_ns = prices.copy_ns_per_byte, 4 * prices.copy_miss_ns_per_byte
    assert prices.copy_ns(1_000) == 1_000 * in_l2_ns
    assert prices.copy_ns(2_000) == pytest.approx(2_000 * (in_l2_ns + 0.7968 * beyond_ns), rel=1e-4)
    assert prices.copy_ns(10**6) == pytest.approx(10**6 * (in_l2_ns + beyond_ns))


ONE_BY_ONE = Workload(connections=3, requests=60, arrivals="even", rate_per_s=1_000)
"""Each is answered long before the next comes."""


def others_before() -> int:
    """How many of these requests come after one on another connection."""
    connection = ONE_BY_ONE.schedule(1).connection
    return int((connection[1:] != connection[:-1]).sum())


def spent_ns(model: str, name: str) -> int:
    """What a run takes longer if nothing stays in L2 and that cost is 1000."""
    host = {"l2_bytes": 1, "l3_bytes": 2**40}
    cheap = NATIVE.model_copy(update={"host": host}).scaled(
        connection_miss_ns=0, thread_miss_ns=0, fd_miss_ns=0, copy_miss_ns_per_byte=0
    )
    costs = cheap.costs | {name: Cost(value=1_000, source="assumed")}
    dear = cheap.model_copy(update={"costs": costs})
    runs = [simulate(model, ONE_BY_ONE, profile=profile) for profile in (cheap, dear)]
    return runs[1].cpu_ns - runs[0].cpu_ns


@pytest.mark.parametrize("model", ["epoll", "blocking", "io_uring"])
def test_a_request_costs_more_after_others_on_other_connections(model: str) -> None:
    """But the last, which pays after its reply, when the run is over."""
    last, before = ONE_BY_ONE.schedule(1).connection[-2:]
    assert last != before
    assert spent_ns(model, "connection_miss_ns") == 1_000 * (others_before() - 1)


def test_a_thread_costs_more_after_others_have_run() -> None:
    """Of the first request's nothing is claimed: it comes after all threads have started."""
    assert spent_ns("epoll", "thread_miss_ns") == 0
    assert spent_ns("blocking", "thread_miss_ns") // 1_000 - others_before() in (0, 1)


def test_misses_grow_with_what_others_have_used() -> None:
    """Up to L2 nothing, then with the share that it misses, and beyond L3 with that one's too."""
    host = {"l2_bytes": 10 * CONNECTION_BYTES, "l3_bytes": 100 * CONNECTION_BYTES}
    profile = NATIVE.model_copy(update={"host": host})
    prices, caches = profile.prices(), profile.caches
    near, far = prices.connection_miss_ns, prices.connection_far_ns
    assert prices.request_miss_ns(10) == 0
    for count in (20, 100, 300):
        beyond_l2, beyond_l3 = caches.beyond(count * CONNECTION_BYTES)
        assert prices.request_miss_ns(count) == round(near * beyond_l2 + far * beyond_l3)
    assert caches.beyond(100 * CONNECTION_BYTES)[1] == 0 < caches.beyond(300 * CONNECTION_BYTES)[1]
    threads = 10 * CONNECTION_BYTES // THREAD_BYTES
    assert prices.wakeup_miss_ns(threads) == 0 < prices.wakeup_miss_ns(2 * threads)


def test_the_machine_of_a_profile_has_the_ticks_of_its_host() -> None:
    """Without them that of everybody; two cores scale the base slice by two, and its end is noticed
    at the next tick."""
    assert NATIVE.machine() == Machine()
    host = {"cores": 2, "tick_ns": 1_000_000}
    machine = NATIVE.model_copy(update={"host": host}).machine()
    assert (machine.tick_ns, machine.time_slice_ns) == (1_000_000, 2_000_000)


def test_scaled_profile_is_marked() -> None:
    scaled = NATIVE.scaled(recv_ns=2)
    assert scaled.costs["recv_ns"].value == 2 * NATIVE.costs["recv_ns"].value
    assert scaled.costs["recv_ns"].source == "assumed"
    assert scaled.costs["send_ns"] == NATIVE.costs["send_ns"]
    assert scaled.name != NATIVE.name
    with pytest.raises(IosimError, match=r"unknown cost 'warp_ns': choose one of user_ns"):
        NATIVE.scaled(warp_ns=2)
    for factor in (-1, 1e300, math.inf, math.nan):
        with pytest.raises(IosimError, match=r"recv_ns of [\d.]+ x .*: a cost lies between 0 and"):
            NATIVE.scaled(recv_ns=factor)


def test_dearer_calls_make_a_dearer_run() -> None:
    load = Workload(requests=200)
    cheap = simulate("epoll", load, profile=NATIVE)
    dear = simulate("epoll", load, profile=NATIVE.scaled(recv_ns=10))
    assert dear.cpu_ns > cheap.cpu_ns


def test_free_tries_are_refused() -> None:
    """A spinning program would make endlessly many of them at one instant."""
    free = NATIVE.scaled(eagain_ns=0, user_ns=0)
    with pytest.raises(IosimError, match="eagain_ns must be at least 1 ns"):
        simulate("nonblocking", Workload(requests=2), profile=free)


def test_unknown_shipped_profile_lists_the_choices() -> None:
    with pytest.raises(IosimError, match=r"'nativ' \(did you mean native\?\): shipped are nat"):
        CostProfile.shipped("nativ")


def test_save_and_load(tmp_path: Path) -> None:
    path = NATIVE.save(tmp_path / "new" / "profile.json")
    assert CostProfile.load(path) == NATIVE
    assert [file.name for file in path.parent.iterdir()] == ["profile.json"]


def test_save_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(IosimError, match=r"cannot write .*choose a place"):
        NATIVE.save(tmp_path / "file" / "profile.json")


def changed(*steps: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value in the profile's data."""

    def change(data: Any) -> None:
        for step in steps[:-1]:
            data = data[step]
        data[steps[-1]] = to

    return change


def removed(*names: str) -> Callable[[dict[str, Any]], None]:
    def change(data: dict[str, Any]) -> None:
        for name in names:
            del data["costs"][name]

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (removed("recv_ns", "send_ns"), r"missing costs: recv_ns \(for every model\), send_ns \("),
        (
            changed("costs", "warp_ns", to={"value": 1, "source": "assumed"}),
            "unknown costs: warp_ns",
        ),
        (changed("schema_version", to=SCHEMA + 1), f"schema version {SCHEMA + 1}, .* reads 1"),
        (changed("costs", "recv_ns", "value", to="fast"), r"costs\.recv_ns\.value: .*got 'fast'"),
        (changed("costs", "recv_ns", "value", to=-1), r"costs\.recv_ns\.value: .*got -1"),
        (changed("costs", "recv_ns", "value", to=math.nan), r"costs\.recv_ns\.value: .*got nan"),
        (changed("costs", "recv_ns", "value", to=math.inf), r"costs\.recv_ns\.value: .*got inf"),
        (changed("costs", "recv_ns", "value", to=1e19), r"costs\.recv_ns\.value: .*got 1e\+19"),
        (changed("costs", "recv_ns", "spread", to=[2, 1]), r"recv_ns\.spread: its lower end must"),
        (changed("costs", "recv_ns", "interval", to=[0, math.nan]), r"interval\.1: .*got nan"),
        (changed("costs", "recv_ns", "source", to="rumour"), r"costs\.recv_ns\.source: .*rumour"),
        (changed("costs", "recv_ns", "unit", to="us"), r"costs\.recv_ns\.unit: Extra inputs"),
        (changed("costs", to=5), "costs: .*got 5"),
        (changed("runtime", to="cobol"), "runtime: .*got 'cobol'"),
        (changed("wakeup", to=[]), "wakeup: .*at least 1"),
        (changed("wakeup", 0, "latency_ns", to=[]), r"wakeup\.0\.latency_ns: .*at least 1"),
        (changed("wakeup", 0, "latency_ns", to=[3, 2]), "quantiles must rise"),
        (changed("wakeup", 0, "latency_ns", to=[-1, 2]), r"wakeup\.0\.latency_ns\.0: .*got -1"),
        (changed("wakeup", 0, "latency_ns", to=[1, math.inf]), r"latency_ns\.1: .*got inf"),
        (changed("wakeup", 0, "cpu_ns", to=1e19), r"wakeup\.0\.cpu_ns: .*got 1e\+19"),
        (changed("wakeup", 0, "idle_ns", to=10**11), "idle_ns must rise from row to row"),
        (changed("wakeup", 0, "idle_ns", to=10**400), r"wakeup\.0\.idle_ns: .*got 1000"),
        (changed("host", to={"cores": 0}), "host: cores = 0 must be from 1 to 1e"),
        (changed("host", to={"cores": True}), "host: cores = True must be int"),
        (changed("host", to={"cores": "two"}), "host: cores = 'two' must be int"),
        (changed("host", to={"tick_ns": -4}), "host: tick_ns = -4 must be from 1 to"),
        (changed("host", to={"tick_ns": 10**400}), "host: tick_ns = 1000.* must be from 1 to"),
        (changed("host", to={"l2_bytes": 1.5}), r"host: l2_bytes = 1\.5 must be int"),
        (changed("host", to={"l4_bytes": "many"}), "host: l4_bytes = 'many' must be int"),
        (changed("host", to={"cpu": 486}), "host: cpu = 486 must be str"),
        (changed("host", to={"temperature": math.nan}), r"host\.temperature\.float: .*got nan"),
        (changed("pulse_ns", to=math.inf), "pulse_ns: .*got inf"),
        (changed("l3_bytes", to=10**400), "l3_bytes: .*got 1000"),
        (changed("colour", to="red"), "colour: Extra inputs"),
    ],
)
def test_bad_profile(change: Callable[[dict[str, Any]], None], said: str, tmp_path: Path) -> None:
    data = json.loads(NATIVE.model_dump_json())
    # Two rows at least, so that their order can be wrong.
    data["wakeup"] = [data["wakeup"][0] | {"idle_ns": idle_ns} for idle_ns in (0, 1_000)]
    change(data)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(IosimError, match=said) as caught:
        CostProfile.load(path)
    assert str(path) in str(caught.value)
    assert "calibrate again or name another file" in str(caught.value)


def test_every_mistake_is_said_at_once(tmp_path: Path) -> None:
    data = json.loads(NATIVE.model_dump_json())
    data["runtime"] = "cobol"
    data["costs"]["recv_ns"]["value"] = "fast"
    data["costs"]["send_ns"]["source"] = "rumour"
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(data))
    with pytest.raises(IosimError) as caught:
        CostProfile.load(path)
    for where in ("runtime", "costs.recv_ns.value", "costs.send_ns.source"):
        assert where in str(caught.value)


DEEP = 100_000
DAMAGED = [b"", b"{", b"\xff\xfe\x00", b"[]", b"null", b"NaN", b"[" * DEEP + b"]" * DEEP]


@pytest.mark.parametrize("content", DAMAGED, ids=lambda content: content[:3].hex())
def test_damaged_file(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(IosimError, match=r"cost profile .*bad\.json.*calibrate again"):
        CostProfile.load(path)


def test_no_file_at_all(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    for path in (tmp_path / "none.json", tmp_path, tmp_path / "pipe.json"):
        with pytest.raises(IosimError, match="cannot read cost profile"):
            CostProfile.load(path)


def test_profiles_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        NATIVE.name = "another"  # type: ignore[misc]
