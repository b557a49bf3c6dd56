"""The loads of the validation, and how heavy each is for each model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from iosim import MODELS, CostProfile, IosimError, Machine, Model, Workload, simulate
from iosim.kernel import FD_SETSIZE

LIGHT, HALF, NEAR = 0.15, 0.5, 0.8
"""Shares of what the model could serve at most."""
MOST_PER_S = 16_000.0
"""The load generator itself takes some 30 us for a request and its reply."""
DURATION_S = 1.0
FEWEST, MOST = 400, 12_000
"""Requests in a run."""
MOST_CONNECTIONS = 8_000


@dataclass(frozen=True)
class Load:
    """One kind of load, in one thing different from the base."""

    name: str
    level: float = HALF
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the workload."""


LOADS = (
    Load("base"),
    Load("light", LIGHT),
    Load("near saturation", NEAR),
    Load("1 connection", changes={"connections": 1}),
    Load("16 connections", changes={"connections": 16}),
    Load("256 connections", changes={"connections": 256}),
    Load("2,000 connections", changes={"connections": 2_000}),
    Load(f"{MOST_CONNECTIONS:,} connections", changes={"connections": MOST_CONNECTIONS}),
    Load("4 KiB", changes={"request_bytes": 4_096}),
    Load("64 KiB", changes={"request_bytes": 65_536}),
    Load("50 us service", changes={"service": "50us"}),
    Load("evenly spaced", changes={"arrivals": "even"}),
    Load("bursty", changes={"arrivals": "bursty", "burst": 8}),
    Load("closed loop", changes={"arrivals": "closed", "think_ns": 0}),
    Load("closed, 10 ms think", changes={"arrivals": "closed", "think_ns": 10_000_000}),
)
"""Calibration sees one connection at a time, one message at a time, and blocks of equal calls."""

QUICK_MODELS = ("blocking", "nonblocking", "epoll", "io_uring")
QUICK_LOADS = ("base", "light", "64 KiB", "bursty", "closed loop")


@dataclass(frozen=True)
class Point:
    """A model under a load: what is run, on both kernels."""

    model: Model
    load: Load
    workload: Workload

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.model.name}, {self.load.name}"


def points(
    profile: CostProfile,
    models: Sequence[str],
    loads: Sequence[Load],
    known: Mapping[str, Workload],
) -> tuple[list[Point], dict[str, str]]:
    """All of them, and those that cannot be, by name with the reason.

    What is `known` has been run: how heavy a load is follows from the costs, and with other costs,
    or once the simulation is mended, it would be another.
    """
    found, refused = [], {}
    for name in models:
        for load in loads:
            model = MODELS[name]
            connections = load.changes.get("connections", 64)
            if name == "blocking-serial" and connections > 1:
                # It serves one connection to its end before the next: latency is a queue of turns.
                load = dataclasses.replace(load, changes=load.changes | {"connections": 1})
                if "connection" in load.name:
                    continue
            if name == "select" and connections >= FD_SETSIZE:
                refused[f"{name}, {load.name}"] = f"select watches fewer than {FD_SETSIZE}"
                continue
            point = f"{name}, {load.name}"
            try:
                heavy = known.get(point) or workload(model, load, profile)
                found.append(Point(model, load, heavy))
            except IosimError as error:
                refused[point] = str(error)
    return found, refused


def workload(model: Model, load: Load, profile: CostProfile) -> Workload:
    """As heavy as the load says, by what a closed loop without pauses gets of the simulation."""
    about = {"connections": 64} | load.changes
    full = about | {"arrivals": "closed", "think_ns": 0, "requests": 2_000}
    run = simulate(model, Workload(**full), profile=profile, machine=Machine())
    capacity_per_s = len(run.records) / run.elapsed_ns * 1e9
    rate_per_s = min(MOST_PER_S, float(f"{load.level * capacity_per_s:.2g}"))
    if think_ns := about.get("think_ns"):
        rate_per_s = min(capacity_per_s, about["connections"] * 1e9 / think_ns)
    elif about.get("arrivals") == "closed":
        rate_per_s = capacity_per_s
    requests = int(min(MOST, max(FEWEST, rate_per_s * DURATION_S)))
    return Workload(**about | {"rate_per_s": rate_per_s, "requests": requests})
