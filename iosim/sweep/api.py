"""Sweeps from Python."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from iosim.calibrate import cache
from iosim.checked import expect
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.files import check_target
from iosim.sweep.design import Design
from iosim.sweep.driver import Progress, drive
from iosim.sweep.engines import given, local
from iosim.sweep.export import frame
from iosim.sweep.store import Store

if TYPE_CHECKING:
    import pandas as pd


def profiles_of(
    design: Design, known: Mapping[str, CostProfile] | None = None
) -> dict[str, CostProfile]:
    """The cost profiles that a design names, with those that are known already."""
    known = known or {}
    return {name: known.get(name) or cache.profile_for(name) for name in design.profile_names}


def sweep(
    file: str | os.PathLike[str] | None = None,
    *,
    axes: Mapping[str, Any] | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
    design: str = "factorial",
    samples: int | None = None,
    replications: int = 1,
    seed: int = 1,
    store: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    executor: Executor | None = None,
    profiles: Iterable[CostProfile] = (),
    progress: Progress = lambda *_: None,
    **fixed: Any,
) -> pd.DataFrame:
    """Run a sweep and return its table, a row for each point in the order of the design.

    Either `file` names a TOML file, or `axes` (or `points`, for a list) and the rest say what it
    would: `sweep(axes={"workload.connections": [10, 100]}, model="epoll",
    workload={"requests": 2000})`. `fixed` are the fields that stay the same, see
    `iosim.sweep.fields`. `profiles` are cost profiles that points can name beside the shipped ones.

    With `store`, what is finished is kept there, and the same call goes on with it. Points run on
    `workers` processes, by default one for each core, or on an `executor` of yours; in a script the
    call must then be under `if __name__ == "__main__":`. On Ctrl-C, what is in flight is finished.

    Raises IosimError for a design, or for arguments, that contradict themselves; a point that fails
    has its `error` in the table.
    """
    chosen = _chosen(file, axes, points, design, samples, replications, seed, fixed)
    if executor is not None and workers is not None:
        raise IosimError("workers and executor: points run in one way only; choose one")
    if executor is not None and not isinstance(executor, Executor):
        raise IosimError(f"executor = {executor!r} must be a concurrent.futures.Executor")
    profiles = [expect(CostProfile, profile, "profiles: one") for profile in profiles]
    if store is not None:
        check_target(store)
    engine = local(workers) if executor is None else given(executor)
    known = profiles_of(chosen, {profile.name: profile for profile in profiles})
    with tempfile.TemporaryDirectory(prefix="iosim-sweep-") as folder:
        path = Path(store or Path(folder) / "sweep")
        with Store.create(path, chosen, known) as opened:
            with engine as entered:
                drive(opened, entered, progress=progress, lasting=store is not None)
            return frame(opened)


def _chosen(
    file: str | os.PathLike[str] | None,
    axes: Mapping[str, Any] | None,
    points: Sequence[Mapping[str, Any]] | None,
    design: str,
    samples: int | None,
    replications: int,
    seed: int,
    fixed: Mapping[str, Any],
) -> Design:
    table = {
        "design": "list" if points is not None else design,
        "replications": replications,
        "seed": seed,
        **({} if axes is None else {"axes": axes}),
        **({} if points is None else {"points": points}),
        **({} if samples is None else {"samples": samples}),
    }
    if file is not None:
        defaults = {"design": "factorial", "replications": 1, "seed": 1}
        if other := [*(name for name in table if table[name] != defaults.get(name)), *fixed]:
            raise IosimError(f"a file says all of a design: leave out {', '.join(other)}, or it")
        return Design.load(file)
    return Design.of({"sweep": table, **fixed})
