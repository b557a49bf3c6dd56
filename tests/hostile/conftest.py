"""A folder with a finished sweep and other files that commands take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import iosim
from iosim.costs import CostProfile

DESIGN = """\
model = "epoll"
profile = "native"
workload.requests = 50
sweep.axes.machine.cores = [1, 2]
"""


DAMAGES: dict[str, Callable[[dict[str, Any]], None]] = {
    "taken": lambda data: data.update(interference={"per_s": 1e6, "duration_ns": [10**9]}),
    "endless": lambda data: [data["costs"][name].update(value=0) for name in FREE],  # type: ignore[func-returns-value]
}
"""Profiles under which no time is left, and under which none passes."""

FREE = ("user_ns", "eagain_ns")


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Names and contents of files that are well."""
    folder = tmp_path_factory.mktemp("made")
    native = CostProfile.shipped("native")
    iosim.simulate("epoll", iosim.Workload(requests=50), profile=native).save(folder / "run.npz")
    (folder / "design.toml").write_text(DESIGN)
    iosim.sweep(
        axes={"machine.cores": [1, 2]},
        model="epoll",
        profile="native",
        workload={"requests": 50},
        store=folder / "done.sweep",
        workers=1,
    )
    (folder / "good.csv").write_text("latency_us\n" + "".join(f"{n}.5\n" for n in range(1, 301)))
    (folder / "few.csv").write_text("latency_us\n1\n2\n3\n")
    (folder / "table.csv").write_text("old\n")
    for name, change in DAMAGES.items():
        data = native.model_dump(mode="json")
        change(data)
        (folder / f"{name}.json").write_text(json.dumps(data))
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture
def folder(_made: dict[str, bytes], tmp_path: Path) -> Path:
    """An empty folder but for those files."""
    for name, content in _made.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path
