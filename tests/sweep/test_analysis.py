"""What is computed from tables, on tables whose answer is known; and the figures of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from iosim import plots
from iosim.errors import IosimError
from iosim.sweep import Design, analysis
from iosim.sweep.export import columns

MODELS = ["epoll", "poll", "select"]
DESIGN = Design.of(
    {
        "sweep": {
            "replications": 3,
            "axes": {
                "model": MODELS,
                "workload.connections": [10, 100, 1_000],
                "workload.rate": ["1k/s", "5k/s"],
            },
        }
    }
)
P99, CPU = "latency_ns.p99", "cpu_ns_per_request"


def table(value: Callable[[str, int, float, int], float], design: Design = DESIGN) -> pd.DataFrame:
    """Rows as of a finished sweep, of which one figure is made up."""
    rows = [
        {
            "point": point.number // design.replications,
            "replication": point.replication,
            **point.values,
            P99: value(*point.values.values(), point.replication),  # type: ignore[arg-type]
        }
        for point in design
    ]
    return pd.DataFrame(rows)


# --- names -----------------------------------------------------------------------------------


def test_short_names() -> None:
    assert analysis.field_of(DESIGN, "connections") == "workload.connections"
    assert analysis.field_of(DESIGN, "rate") == "workload.rate_per_s"
    assert analysis.field_of(DESIGN, "workload.rate_per_s") == "workload.rate_per_s"
    assert analysis.figure_of("latency.p99") == P99
    assert analysis.figure_of("throughput") == "throughput_per_s"
    assert analysis.figure_of(CPU) == CPU
    with pytest.raises(IosimError, match=r"did you mean workload\.connections"):
        analysis.field_of(DESIGN, "workload.conections")
    with pytest.raises(IosimError, match="'burst' does not vary in this sweep"):
        analysis.field_of(DESIGN, "burst")
    with pytest.raises(IosimError, match="there is no figure 'latency"):
        analysis.figure_of("latency.p98")


def test_conditions_are_written_as_in_a_file() -> None:
    rows = table(lambda *_: 1.0)
    some = analysis.where(rows, DESIGN, {"rate": "5k/s", "connections": "100", "model": "poll"})
    assert len(some) == 3
    assert set(some["workload.rate_per_s"]) == {5_000.0}
    assert analysis.others(some, DESIGN, []) == []
    assert analysis.others(rows, DESIGN, ["model"]) == [
        "workload.connections",
        "workload.rate_per_s",
    ]
    with pytest.raises(IosimError, match=r"no point has workload\.rate_per_s = 7k/s"):
        analysis.where(rows, DESIGN, {"rate": "7k/s"})


def test_a_condition_finds_a_number_among_texts() -> None:
    written = ["50us", "exponential(50us)"]
    axes = {"model": ["epoll"], "workload.service": written}
    design = Design.of({"sweep": {"axes": axes}})
    kind = columns(design)["workload.service"]
    rows = table(lambda *_: 1.0, design)
    rows["workload.service"] = rows["workload.service"].map(kind).astype(object)
    found = [analysis.where(rows, design, {"service": text})["point"].tolist() for text in written]
    assert found == [[0], [1]]


# --- numbers ---------------------------------------------------------------------------------


def test_means_and_their_student_intervals() -> None:
    rows = table(lambda model, connections, rate, replication: connections + replication)
    found = analysis.means(rows, ["model", "workload.connections", "workload.rate_per_s"], P99)
    assert len(found) == 18
    first = found.iloc[0]
    assert first["mean"] == 11
    # Of 10, 11, 12 the standard deviation is 1; t(0.975, 2) = 4.3027, from tables.
    assert first["high"] - first["mean"] == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)
    assert first["mean"] - first["low"] == pytest.approx(4.3027 / math.sqrt(3), rel=1e-4)


def test_winners_are_those_that_are_better_on_the_same_arrivals() -> None:
    """Noise that all alternatives share does not count, as large as it may be."""

    def value(model: str, connections: int, rate: float, replication: int) -> float:
        shared = 1_000 * replication
        if connections == 10:  # select is ahead by 1 of about 1000, in each replication
            return shared + MODELS[::-1].index(model) + 0.01 * replication
        if connections == 100:  # epoll is ahead by 3 on average, by no more than chance
            return shared + (0 if model != "epoll" else (-10, 8, -7)[replication])
        return shared + 100 * MODELS.index(model) + replication * (model == "poll")

    cells = analysis.winners(
        table(value), ("workload.connections", "workload.rate_per_s"), "model", P99
    )
    found = {cell.at: (cell.winner, cell.second, cell.sure) for cell in cells}
    for rate in (1_000.0, 5_000.0):
        assert found[10, rate] == ("select", "poll", True)
        assert found[100, rate][0] == "epoll"
        assert not found[100, rate][2]
        assert found[1_000, rate] == ("epoll", "poll", True)
    (gap,) = {cell.ahead for cell in cells if cell.at[0] == 1_000}
    assert gap == pytest.approx(101 / 1_000)


def test_the_greatest_can_win_and_failures_do_not() -> None:
    def value(model: str, connections: int, rate: float, replication: int) -> float:
        failed = model == "select" and connections == 1_000
        return math.nan if failed else 10.0 * (MODELS.index(model) + 1) + replication

    cells = analysis.winners(
        table(value), ("workload.connections", "workload.rate_per_s"), "model", P99, most=True
    )
    assert {cell.at[0]: cell.winner for cell in cells} == {
        10: "select",
        100: "select",
        1000: "poll",
    }


def test_one_replication_tells_no_winner() -> None:
    rows = table(lambda *_: 1.0)
    with pytest.raises(IosimError, match="one replication does not tell"):
        analysis.winners(rows[rows["replication"] == 0], ("model",), "model", P99)


def sensitivity_design(samples: int) -> Design:
    axes = {f"scale.{name}": {"from": 0, "to": 1} for name in ("recv_ns", "send_ns", "poll_ns")}
    sweep = {"design": "sensitivity", "samples": samples, "axes": axes}
    return Design.of({"sweep": sweep, "model": "epoll"})


def test_sobol_indices_of_a_function_whose_indices_are_known() -> None:
    """That of T. Ishigami and T. Homma (1990) with a = 7, b = 0.1; its indices follow from its
    variance in closed form."""
    a, b = 7.0, 0.1

    def ishigami(*values: Any) -> float:
        x, y, z = (math.pi * (2 * value - 1) for value in values[:3])
        return math.sin(x) + a * math.sin(y) ** 2 + b * z**4 * math.sin(x)

    design = sensitivity_design(2_048)
    x_alone = 0.5 * (1 + b * math.pi**4 / 5) ** 2
    y_alone, x_and_z = a**2 / 8, b**2 * math.pi**8 * 8 / 225
    whole = x_alone + y_alone + x_and_z
    first = (x_alone / whole, y_alone / whole, 0.0)
    total = ((x_alone + x_and_z) / whole, y_alone / whole, x_and_z / whole)
    found = analysis.sensitivity(table(ishigami, design), design, P99)
    assert [index.field for index in found] == [axis.name for axis in design.axes]
    for index, one, all_in in zip(found, first, total, strict=True):
        low, high = index.first_interval
        assert low < one < high
        low, high = index.total_interval
        assert low < all_in < high
        assert high - low < 0.2


def test_indices_need_their_design_all_of_it_and_some_variance() -> None:
    design = sensitivity_design(8)
    rows = table(lambda x, y, z, _: x + y, design)
    with pytest.raises(IosimError, match="some points are missing or failed"):
        analysis.sensitivity(rows[:-1], design, P99)
    with pytest.raises(IosimError, match="need design = 'sensitivity'"):
        analysis.sensitivity(table(lambda *_: 1.0), DESIGN, P99)
    with pytest.raises(IosimError, match="the same at every point"):
        analysis.sensitivity(table(lambda *_: 1.0, design), design, P99)
    with pytest.raises(IosimError, match="must be a power of two"):
        sensitivity_design(12)


# --- figures ---------------------------------------------------------------------------------


def test_lines_have_a_panel_and_a_band_for_each_value() -> None:
    rows = table(lambda model, connections, rate, r: connections * 100 + r)
    by = ["workload.connections", "model", "workload.rate_per_s"]
    means = analysis.means(rows, by, P99)
    drawn = plots.lines(means, by[0], P99, hue="model", panel="workload.rate_per_s")
    panels = drawn.get_axes()
    assert [axes.get_title("left") for axes in panels] == ["rate_per_s 1k/s", "rate_per_s 5k/s"]
    for axes in panels:
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        assert [line.get_label() for line in axes.lines] == MODELS
        assert [list(line.get_xdata()) for line in axes.lines] == [[10, 100, 1_000]] * 3
        np.testing.assert_allclose(axes.lines[0].get_ydata(), [1_001, 10_001, 100_001])
        assert len(axes.collections) == 3  # the bands
    linear = plots.lines(means, by[0], P99, hue="model", panel=by[2], log=False)
    assert linear.get_axes()[0].get_xscale() == "linear"


def test_maps(tmp_path: Path) -> None:
    rows = table(lambda model, connections, rate, r: connections + r + MODELS.index(model))
    by = ["workload.connections", "workload.rate_per_s"]
    heat = plots.heat(analysis.means(rows[rows["model"] == "poll"], by, P99), *by, P99)
    assert [text.get_text() for text in heat.get_axes()[0].texts][:3] == ["12 ns", "102 ns", "1 µs"]
    cells = analysis.winners(rows, (by[0], by[1]), "model", P99)
    drawn = plots.break_even(cells, by[0], by[1], "model", P99)
    assert len(drawn.get_axes()[0].patches) == 6
    plots.save(drawn, tmp_path / "a.svg")
    plots.save(plots.break_even(cells, by[0], by[1], "model", P99), tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
