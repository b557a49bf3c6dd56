"""The report of the validation: a table, figures, a summary, and one page with all of it."""

from __future__ import annotations

import base64
import html as markup
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from iosim import CostProfile
from iosim.agreement import SHORT, Agreement
from iosim.compare import Cell
from iosim.phases import REGIONS
from iosim.plots import FAINT, PALETTE, canvas, distributions, duration, style
from iosim.stats import kendall, winner

TARGETS = {"throughput_per_s": 0.05, "cpu_ns_per_request": 0.10, "p50": 0.10, "p99": 0.25}
"""The median over the cells shall be within these, or inside the noise."""
MAPPED = ("cpu_ns_per_request", "p50")
"""What the heat maps show."""
MOST_SHOWN = 1.0


def table(cells: Sequence[Cell], loads: Sequence[str]) -> pd.DataFrame:
    """A row per cell."""
    rows = []
    for cell, load in zip(cells, loads, strict=True):
        found = cell.agreement
        row: dict[str, object] = {
            "model": cell.model,
            "load": load,
            "rate_per_s": cell.workload.rate_per_s,
            "requests": cell.workload.requests,
            "runs": len(cell.real_runs),
            "calm_share": cell.calm_share,
            "tells": cell.tells,
        }
        for name in SHORT:
            row |= {
                f"{name}, simulated": found.simulated[name],
                f"{name}, real": found.real[name],
                f"{name}, error": found.errors[name],
                f"{name}, noise": found.noise.get(name, float("nan")),
            }
        for name, distance in found.distances.items():
            row |= {name: distance, f"{name}, noise": found.distance_noise.get(name, float("nan"))}
        explained = cell.explanation
        for region in REGIONS:
            phase = explained.widest(region)
            more_us = explained.difference_ns(region, phase) / 1e3
            row[f"{region} differs most in"] = f"{phase} {more_us:+.1f} us"
        rows.append(row | {"verdict": cell.verdict})
    return pd.DataFrame(rows)


def excess(data: pd.DataFrame, name: str) -> pd.Series[float]:
    """The absolute error of a figure, 0 where it is inside the noise."""
    error, noise = data[f"{name}, error"].abs(), data[f"{name}, noise"].abs()
    return error.where(error > noise.fillna(0), 0.0)


@dataclass(frozen=True)
class Orders:
    """How simulation and reality put the models in order by one figure, over all loads."""

    tau: float
    """Kendall's tau, the mean over the loads."""
    own_tau: float
    """The same of each real run against the median of the others: nearly equal models swap places
    by noise."""
    pairs: tuple[int, int]
    """Of the pairs of models that are farther apart in reality than the noise of either: those in
    the right order, and all."""
    winners: tuple[int, int]
    """Of the loads in which the real gap between the best two exceeds their noise: those in which
    the simulation names the same best, and all."""

    @property
    def decided_tau(self) -> float:
        """Kendall's tau over `pairs` alone: the share in the right order less that in the wrong."""
        right, pairs = self.pairs
        return 2 * right / pairs - 1 if pairs else float("nan")


def orders(cells: Sequence[Cell], loads: Sequence[str], name: str) -> Orders | None:
    """By a figure; None if no load has two models that can be told."""
    by_load: dict[str, dict[str, Agreement]] = {}
    for cell, load in zip(cells, loads, strict=True):
        if cell.tells:
            by_load.setdefault(load, {})[cell.model] = cell.agreement
    taus, own_taus, pairs, winners = [], [], [], []
    for found in by_load.values():
        simulated = {model: one.simulated[name] for model, one in found.items()}
        real = {model: one.real[name] for model, one in found.items()}
        noise = {model: abs(one.noise[name]) for model, one in found.items() if one.noise}
        taus.append(kendall(list(simulated.values()), list(real.values())))
        runs = [[run.figures[name] for run in one.real_samples] for one in found.values()]
        for number in range(min(map(len, runs)) if noise else 0):
            others = [np.median(np.delete(values, number)) for values in runs]
            own_taus.append(kendall([values[number] for values in runs], others))
        for a, b in combinations(noise, 2):
            if abs(real[a] / real[b] - 1) > max(noise[a], noise[b]):
                pairs.append((simulated[a] < simulated[b]) == (real[a] < real[b]))
        best = winner(simulated, real, noise)
        if best is not None and best.agrees is not None:
            winners.append(best.agrees)
    known, own = ([tau for tau in each if tau is not None] for each in (taus, own_taus))
    if not known:
        return None
    own_tau = float(np.mean(own)) if own else float("nan")
    return Orders(
        float(np.mean(known)), own_tau, (sum(pairs), len(pairs)), (sum(winners), len(winners))
    )


def by_model(told: pd.DataFrame) -> list[str]:
    """A table of each model's median absolute errors over its loads, and of the real runs' own."""
    lines = [
        "| model | loads | CPU | p50 | p99 | noise of CPU, p50, p99 | worst CPU | worst p50 |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    figures = list(TARGETS)[1:]
    for model, rows in told.groupby("model", sort=False):
        errors = " | ".join(f"{rows[f'{name}, error'].abs().median():.0%}" for name in figures)
        noises = ", ".join(f"{rows[f'{name}, noise'].abs().median():.0%}" for name in figures)
        worst = []
        for name in MAPPED:
            place = rows[f"{name}, error"].abs().idxmax()
            worst.append(f"{rows.loc[place, f'{name}, error']:+.0%} ({rows.loc[place, 'load']})")
        lines.append(f"| `{model}` | {len(rows)} | {errors} | {noises} | {worst[0]} | {worst[1]} |")
    return lines


def _of(parts: tuple[int, int]) -> str:
    return f"{parts[0]} of {parts[1]}"


def summary(
    cells: Sequence[Cell],
    loads: Sequence[str],
    data: pd.DataFrame,
    profile: CostProfile,
    refused: dict[str, str],
) -> str:
    """What came of it, in Markdown."""
    told = data[data["tells"]]
    lines = [
        f"{len(data)} cells of {data['model'].nunique()} models, profile {profile.name!r}. "
        f"{len(told)} can be told: in the others the server's core was hardly ever at full speed.",
        "",
        "| figure | target | median error | beyond the noise | within target or noise | of cells |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, target in TARGETS.items():
        beyond = excess(told, name)
        lines.append(
            f"| {SHORT[name]} | {target:.0%} | {told[f'{name}, error'].abs().median():.0%} "
            f"| {beyond.median():.0%} | {(beyond <= target).mean():.0%} | {len(told)} |"
        )
    lines += ["", *by_model(told), ""]
    for name in MAPPED:
        if (order := orders(cells, loads, name)) is None:
            continue
        lines.append(
            f"Order of the models by {SHORT[name]}: Kendall's tau {order.tau:.2f} on average, "
            f"{order.own_tau:.2f} of one real run against the others, {order.decided_tau:.2f} over "
            f"the pairs that are farther apart than the noise ({_of(order.pairs)} in the right "
            f"order); the right winner in {_of(order.winners)} loads where reality decides."
        )
    beyond_by = pd.concat({name: excess(told, name) / TARGETS[name] for name in TARGETS}, axis=1)
    worst = told.assign(times=beyond_by.max(axis=1)).sort_values("times", ascending=False)
    outside = worst[worst["times"] > 2]
    lines += ["", f"{len(outside)} cells are outside twice the target:", ""]
    lines += [
        "| model | load | CPU | p50 | p99 | noise of CPU, p50, p99 | p50 differs most in | p99 |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for _, row in outside.iterrows():
        errors = " | ".join(f"{row[f'{name}, error']:+.0%}" for name in list(TARGETS)[1:])
        noises = ", ".join(f"{abs(row[f'{name}, noise']):.0%}" for name in list(TARGETS)[1:])
        phases = " | ".join(row[f"{region} differs most in"] for region in REGIONS)
        lines.append(f"| {row['model']} | {row['load']} | {errors} | {noises} | {phases} |")
    lines += ["", "Phases of a request: docs/validation.md."]
    if refused:
        lines += ["", "Not run:", ""]
        lines += [f"- {name}: {reason}" for name, reason in refused.items()]
    return "\n".join(lines) + "\n"


def draw(data: pd.DataFrame) -> Figure:
    """Heat maps of the errors, models by loads."""
    models, loads = list(dict.fromkeys(data["model"])), list(dict.fromkeys(data["load"]))
    with style():
        figure = canvas(3.5 + 0.5 * len(loads) * len(MAPPED), 2.5 + 0.3 * len(models))
        figure.set_layout_engine("constrained")
        panels = figure.subplots(1, len(MAPPED), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, MAPPED, strict=True):
            error = data.pivot(index="model", columns="load", values=f"{name}, error")
            noise = data.pivot(index="model", columns="load", values=f"{name}, noise").abs()
            tells = data.pivot(index="model", columns="load", values="tells")
            error, noise, tells = (
                frame.reindex(index=models, columns=loads) for frame in (error, noise, tells)
            )
            image = axes.imshow(
                error.to_numpy(float),
                cmap="PuOr_r",
                vmin=-MOST_SHOWN,
                vmax=MOST_SHOWN,
                aspect="auto",
            )
            for y, model in enumerate(models):
                for x, load in enumerate(loads):
                    value = error.loc[model, load]
                    if np.isnan(value):
                        continue
                    if not tells.loc[model, load]:
                        text = "?"
                    else:
                        within = abs(value) <= noise.loc[model, load]
                        text = f"({100 * value:+.0f})" if within else f"{100 * value:+.0f}"
                    colour = "white" if abs(value) > 0.6 * MOST_SHOWN else "black"
                    axes.text(x, y, text, ha="center", va="center", size=7, color=colour)
            axes.set_xticks(range(len(loads)), loads, rotation=60, ha="right", size=8)
            axes.set_yticks(range(len(models)), models, size=8)
            axes.set_title(SHORT[name], loc="left")
            axes.tick_params(length=0)
        bar = figure.colorbar(image, ax=list(panels), fraction=0.02, pad=0.02)
        bar.set_label("relative error")
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:+.0%}")
        figure.suptitle("Simulated over real, minus one (%)", x=0.01, ha="left")
        note = "in brackets: within the noise of the real runs; ?: hardly ever at full speed"
        figure.supxlabel(note, color=FAINT, size=8)
    return figure


def scatter(data: pd.DataFrame) -> Figure:
    """Simulated over real: a point per cell."""
    told = data[data["tells"]]
    with style():
        figure = canvas(9, 4.4)
        for axes, name in zip(figure.subplots(1, len(MAPPED)), MAPPED, strict=True):
            real, simulated = told[f"{name}, real"], told[f"{name}, simulated"]
            axes.plot(real, simulated, "o", ms=4, color=PALETTE["blue"], mec="white", mew=0.4)
            ends = min(real.min(), simulated.min()), max(real.max(), simulated.max())
            axes.plot(ends, ends, color=FAINT, lw=1)
            axes.set(xscale="log", yscale="log")
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_formatter(lambda ns, _: duration(ns))
            axes.set_xlabel("real")
            axes.set_ylabel("simulated")
            axes.set_title(SHORT[name], loc="left")
            axes.grid(True)
        figure.tight_layout()
    return figure


def html(
    cells: Sequence[Cell], loads: Sequence[str], data: pd.DataFrame, text: str, profile: CostProfile
) -> str:
    """One page with everything in it."""
    told = data[data["tells"]]
    by_demerit = told["demerit"].sort_values().index.tolist()
    pages = [("Errors, models by loads", draw(data))]
    if len(told):
        pages.append(("Simulated over real", scatter(data)))
    for title, chosen in (
        ("The cells that agree best", by_demerit[:6]),
        ("The cells that agree least", by_demerit[::-1][:6]),
    ):
        if chosen:
            figure = distributions([cells[number] for number in chosen])
            for axes, number in zip(figure.axes, chosen, strict=False):
                axes.set_title(f"{cells[number].model}, {loads[number]}", size=8)
            figure.suptitle("")
            pages.append((title, figure))
    images = "".join(f"<h2>{title}</h2>{_image(figure)}" for title, figure in pages)
    shown = data[["model", "load", "calm_share", "verdict"]].to_html(
        index=False, float_format="{:.2f}".format, border=0
    )
    warnings = "".join(f"<p>{markup.escape(warning)}</p>" for warning in profile.warnings)
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>iosim: validation</title>"
        "<style>body{font:15px/1.5 sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
        "color:#222}img{max-width:100%}pre{white-space:pre-wrap;background:#f6f6f6;padding:1rem}"
        "td,th{padding:.15rem .6rem;text-align:left}</style>"
        "<h1>Simulated runs against real ones</h1>"
        f"{warnings}<pre>{markup.escape(text)}</pre>{images}<h2>Verdicts</h2>{shown}</html>\n"
    )


def _image(figure: Figure) -> str:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=130)
    return (
        f"<img alt='' src='data:image/png;base64,{base64.b64encode(picture.getvalue()).decode()}'>"
    )
