"""What the README says in figures and tables is what models and committed results say."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from iosim.models import MODELS

ROOT = Path(__file__).parents[1]
VALIDATION = ROOT / "experiments" / "validation"
RESULTS = VALIDATION / "results"


def prose(path: Path) -> str:
    """A text without its line breaks."""
    return " ".join(path.read_text().split())


@pytest.fixture(scope="module")
def readme() -> str:
    return (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def summary() -> str:
    """The report of the validation, per cents written as in the README."""
    return (RESULTS / "summary.md").read_text().replace("%", " %")


def test_phases_are_those_of_the_models(readme: str) -> None:
    """A row for each family and what its variants do, in the order of the models."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for name, model in MODELS.items():
        rows.setdefault((model.family, model.phase_1, model.phase_2), []).append(f"`{name}`")
    table = [
        "| model | variants | while it waits for data | while data is copied |",
        "|---|---|---|---|",
        *(
            f"| {family} | {', '.join(variants)} | {phase_1} | {phase_2} |"
            for (family, phase_1, phase_2), variants in rows.items()
        ),
    ]
    assert "\n".join(["", *table, ""]) in readme


def test_errors_of_the_validation_are_those_of_its_report(readme: str, summary: str) -> None:
    """The README leaves columns out."""
    names = {
        "throughput": "throughput",
        "CPU": "CPU per request",
        "p50": "latency p50",
        "p99": "latency p99",
    }
    for name, told in names.items():
        (row,) = re.findall(rf"^\| {name} \| (.*) \|$", summary, re.MULTILINE)
        target, error, _, within, _ = row.split(" | ")
        target = f"target {target}" if name == "throughput" else target
        assert f"\n| {told} | {error} | {within} ({target}) |\n" in readme
    rows = re.findall(r"^\| (`.*`) \| (.*) \|$", summary, re.MULTILINE)
    assert [name for name, _ in rows] == [f"`{name}`" for name in MODELS]
    for name, row in rows:
        _, cpu, p50, _, noise, *worst = row.split(" | ")
        both = ", ".join(noise.split(", ")[:2])
        assert "\n| " + " | ".join([name, cpu, p50, both, *worst]) + " |\n" in readme


def test_order_of_the_models_is_that_of_the_report(summary: str) -> None:
    cells, told = re.findall(r"^(\d+) cells of .* (\d+) can be told", summary)[0]
    by_cpu, by_p50 = re.findall(
        r"Kendall's tau ([\d.]+) on average, ([\d.]+) of one .*, ([\d.]+) over the pairs .* "
        r"\((\d+) of (\d+) in the right order\).* in (\d+) of (\d+) loads",
        summary,
    )
    pairs = [100 * int(right) / int(pairs) for *_, right, pairs, _, _ in (by_cpu, by_p50)]
    right, cases = (int(by_cpu[n]) + int(by_p50[n]) for n in (5, 6))
    assert right == cases
    said = prose(ROOT / "README.md")
    assert f"{cells} cells in all" in said
    assert (
        f"{pairs[0]:.0f} % are in the right order by CPU per request and {pairs[1]:.0f} %" in said
    )
    assert f"(Kendall's tau {by_cpu[2]} and {by_p50[2]}; over all pairs {by_cpu[0]} and" in said
    assert f"and {by_p50[0]}, where one real run agrees with the others by {by_cpu[1]} and" in said
    assert f"the right one in all of the {cases} cases" in said
    said = prose(VALIDATION / "README.md")
    assert f"in the median over {told} cells" in said
    assert f"tau is {by_cpu[2]} by CPU and {by_p50[2]} by p50" in said
    assert f"({by_cpu[0]} and {by_p50[0]} over all pairs" in said
    assert f"right in {right} of {cases} cases" in said


def test_what_many_threads_take_is_what_was_measured() -> None:
    cells = pd.read_csv(RESULTS / "data.csv").set_index(["model", "load"])
    low = -100 * cells.loc["blocking", "cpu_ns_per_request, error"]
    assert (
        f"`blocking` takes {low['2,000 connections']:.0f} % less CPU in the simulation than in "
        f"reality with 2,000 connections, and {low['8,000 connections']:.0f} % less with 8,000"
    ) in prose(ROOT / "README.md")


def test_what_the_readme_lists_is_there(readme: str) -> None:
    block = readme.partition("## Where things are\n\n")[2].partition("\n\n")[0]
    listed = [line.split()[0] for line in block.splitlines()]
    assert [path for path in listed if not (ROOT / path).exists()] == []
    assert "iosim/sim/" in listed
