"""What the table of a sweep says: means with their intervals, winners, and what an output depends
on."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from iosim.errors import IosimError, did_you_mean
from iosim.sweep.design import Design
from iosim.sweep.fields import Value, full_name, read
from iosim.sweep.outcomes import OUTCOMES

if TYPE_CHECKING:
    import pandas as pd

_GROUPS = ("workload.", "machine.", "machine.nic.", "param.", "costs.", "scale.")
_UNITS = ("_ns", "_bytes", "_per_s", "_bits_per_s")


def field_of(design: Design, name: str) -> str:
    """The varied field that a short name means: `connections` is `workload.connections`."""
    found = [full for prefix in ("", *_GROUPS) if (full := full_name(prefix + name))]
    for full in found:
        if full in design.varied:
            return full
    raise IosimError(
        f"{name!r} does not vary in this sweep{did_you_mean(name, design.varied)}: "
        f"choose one of {', '.join(design.varied)}"
    )


def figure_of(name: str) -> str:
    """The figure that a short name means: `latency.p99` is `latency_ns.p99`."""
    for full in OUTCOMES:
        group, dot, part = full.partition(".")
        short = [group.removesuffix(unit) for unit in _UNITS if group.endswith(unit)]
        if name in (full, *(one + dot + part for one in short)):
            return full
    raise IosimError(
        f"there is no figure {name!r}{did_you_mean(name, OUTCOMES)}: "
        f"choose one of {', '.join(OUTCOMES)}"
    )


def where(table: pd.DataFrame, design: Design, conditions: Mapping[str, str]) -> pd.DataFrame:
    """The rows whose fields have these values, written as people write them."""
    for name, text in conditions.items():
        field = field_of(design, name)
        value = read(field, _plain(text, design.possible(field)))
        if table[field].dtype == object and value is not None:
            value = str(value)  # as in a column that holds numbers and texts
        rows = table[table[field] == value]
        if rows.empty:
            raise IosimError(f"no point has {field} = {text}")
        table = rows
    return table


def _plain(text: str, possible: Iterable[Value]) -> Any:
    """A number or a truth value where the field has such; else the text itself."""
    for value in possible:
        if str(value).lower() == text.lower():
            return value
    return text


def others(table: pd.DataFrame, design: Design, used: Iterable[str]) -> list[str]:
    """The fields that still vary beside those that are used."""
    return [
        name
        for name in design.varied
        if name not in set(used) and table[name].nunique(dropna=False) > 1
    ]


def means(table: pd.DataFrame, by: Sequence[str], figure: str) -> pd.DataFrame:
    """Mean of a figure over the replications, with the ends of its 95 % confidence interval.

    Columns: those of `by`, `mean`, `low`, `high`. The interval is Student's, of replications with
    seeds of their own; NaN with fewer than two. Points that failed are left out.
    """
    from scipy.stats import t

    grouped = table.dropna(subset=[figure]).groupby(list(by), sort=False, dropna=False)[figure]
    found = grouped.agg(mean="mean", deviation="std", count="count").reset_index()
    half = t.ppf(0.975, np.maximum(found["count"] - 1, 1)) * found["deviation"]
    half = half / np.sqrt(found["count"])
    return found.assign(low=found["mean"] - half, high=found["mean"] + half)[
        [*by, "mean", "low", "high"]
    ]


@dataclass(frozen=True)
class Cell:
    """Which alternative is best at one place of a map."""

    at: tuple[Value, ...]
    winner: Value
    second: Value
    ahead: float
    """How much more the second takes (or how much less it gives), relative to the winner."""
    sure: bool
    """Whether the 95 % interval of their difference leaves out zero. They have met the same
    arrivals, so that the differences of single replications count (paired Student's t)."""


def winners(
    table: pd.DataFrame, by: Sequence[str], over: str, figure: str, *, most: bool = False
) -> list[Cell]:
    """The best alternative of `over` at each place that `by` names: the least of the figure, or
    with `most` the greatest.

    An alternative of which a replication failed is left out there. Raises IosimError with fewer
    than two replications, as nothing would tell what is too close to call.
    """
    from scipy.stats import t

    replications = table["replication"].nunique()
    if replications < 2:
        raise IosimError("one replication does not tell what is too close: use two or more")
    sign = -1.0 if most else 1.0
    cells = []
    groups: Any = table.groupby(list(by), sort=False)
    for at, group in groups:
        runs = group.pivot_table(
            index=over, columns="replication", values=figure, sort=False, observed=True
        ).dropna()
        if len(runs) < 2:
            continue
        best, second = (sign * runs.mean(axis=1)).sort_values(kind="stable").index[:2]
        gaps = sign * (runs.loc[second] - runs.loc[best]).to_numpy(float)
        half = t.ppf(0.975, len(gaps) - 1) * gaps.std(ddof=1) / np.sqrt(len(gaps))
        cells.append(
            Cell(
                at,
                best,
                second,
                float(gaps.mean() / abs(runs.loc[best].mean())),
                bool(gaps.mean() > half),
            )
        )
    if not cells:
        raise IosimError(f"nowhere are there two alternatives of {over} with {figure}")
    return cells


@dataclass(frozen=True)
class Index:
    """How much of the variance of a figure comes from one field."""

    field: str
    first: float
    """By itself."""
    first_interval: tuple[float, float]
    total: float
    """With its interactions."""
    total_interval: tuple[float, float]


def sensitivity(table: pd.DataFrame, design: Design, figure: str) -> list[Index]:
    """Sobol indices of a figure, with 95 % bootstrap intervals, by `scipy.stats.sobol_indices`.

    Figures are means over the replications. Raises IosimError unless the design is `sensitivity`
    and all its points are finished.
    """
    from scipy.stats import DegenerateDataWarning, sobol_indices

    if design.kind != "sensitivity":
        raise IosimError(
            f"Sobol indices need design = 'sensitivity', and this is {design.kind!r}: sweep anew"
        )
    values = table.groupby("point")[figure].mean().to_numpy(float)
    if len(values) < design.plan.size or np.isnan(values).any():
        raise IosimError("some points are missing or failed: finish the sweep first")
    rows = values.reshape(design.samples or 0, len(design.axes) + 2)
    if np.ptp(rows) == 0:
        raise IosimError(f"{figure} is the same at every point: it depends on none of the fields")
    found = sobol_indices(
        func={"f_A": rows[:, :1].T, "f_B": rows[:, 1:2].T, "f_AB": rows[:, 2:].T[:, None, :]},
        n=len(rows),
        rng=np.random.default_rng(design.seed),
    )
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)
        ends = found.bootstrap(confidence_level=0.95)
    first = _with_ends(found.first_order, ends.first_order.confidence_interval)
    total = _with_ends(found.total_order, ends.total_order.confidence_interval)
    return [
        Index(axis.name, *alone, *together)
        for axis, alone, together in zip(design.axes, first, total, strict=True)
    ]


def _with_ends(values: Any, interval: Any) -> list[tuple[float, tuple[float, float]]]:
    """Each value with its interval: one point for what does not vary, as the index of a field
    without effect."""
    found = []
    for value, low, high in np.column_stack(
        [np.ravel(part) for part in (values, interval.low, interval.high)]
    ).tolist():
        found.append((value, (value if np.isnan(low) else low, value if np.isnan(high) else high)))
    return found
