"""Cost profiles as tables."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from iosim.calibrate import cache
from iosim.calibrate.cache import Found
from iosim.calibrate.difference import Difference
from iosim.cli.output import console
from iosim.costs import ABOUT, FAMILIES, Cost, CostProfile, unit
from iosim.units import format_bytes, format_time

_WAKEUP = {
    "p10_ns": "latency p10",
    "p50_ns": "p50",
    "p90_ns": "p90",
    "cpu_ns": "processor time",
    "cold_ns": "cold part",
}
"""How the parts of `WakeUp.summary` are headed."""

_OF_ANOTHER_HOST = (
    "another host: a simulation is of that one, and in `iosim compare` what differs looks like "
    "errors of the simulation; `iosim calibrate` measures this host"
)

_WIDE = 120
"""Columns of a terminal that has room for what a cost means beside its value."""
_MARKS = "▲ ▼: B is more than 10 % above or below A"
_OVERLAP = {True: Text("apart", "bold"), False: Text("overlap", "dim"), None: Text()}


def amount(name: str, value: float) -> str:
    """The value of a cost, with its unit."""
    if unit(name) == "bytes":
        return format_bytes(value)
    return format_time(value) + unit(name).removeprefix("ns")


def fact(name: str, value: Any) -> tuple[str, str]:
    """A fact of a host and what it is called."""
    heading, _, unit = name.rpartition("_")
    in_units = {"bytes": format_bytes, "ns": format_time}.get(unit)
    if in_units is None:
        heading, in_units = name.replace("_", " "), str
    return heading, "not known" if value is None else in_units(value)


def header(found: Found) -> Table:
    """Which profile it is, and of which host."""
    profile, differences = found.profile, cache.differences(found.profile)
    table = Table(title=str(found), show_header=False, pad_edge=False)
    table.add_row("runtime", profile.runtime)
    table.add_row("measured", profile.date or ("on an unknown day" if profile.measured else "no"))
    for name, there in profile.host.items():
        heading, text = fact(name, there)
        if name in differences:
            text += f" (this host: {fact(name, differences[name][1])[1]})"
        table.add_row(heading, text)
    if profile.l3_bytes is not None:
        table.add_row("l3 for one core", f"{format_bytes(profile.l3_bytes)}, as measured")
    if profile.interference is not None:
        gaps, per_s = profile.interference.duration_ns, profile.interference.per_s
        middle = format_time(gaps[len(gaps) // 2])
        text = f"{per_s:.0f} times a second, for {middle}, up to {format_time(gaps[-1])}"
        table.add_row("core taken away", text)
    table.add_row("samples", str(found.samples or "none"))
    if differences:
        table.add_row(Text("warning", "yellow"), _OF_ANOTHER_HOST)
    for warning in profile.warnings:
        table.add_row(Text("warning", "yellow"), warning)
    return table


def print_profile(profile: CostProfile, *before: Table) -> None:
    """Print costs and wake-ups."""
    out = console()
    out.print(*before, _cost_table(profile, out.width), _wakeup_table(profile))


def _cost_table(profile: CostProfile, width: int) -> Table:
    """All costs by family: value, how sure it is, where it is from, what it means."""
    wide = width >= _WIDE
    table = Table(title="Costs", pad_edge=False, caption=_caption(profile))
    table.add_column("cost", no_wrap=wide)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("95 % interval", no_wrap=True)
    table.add_column("source", no_wrap=True)
    if wide:
        table.add_column("what it is, and why so much if it is not measured")
    for family, names in FAMILIES.items():
        table.add_section()
        table.add_row(Text(family, "bold"))
        for name in names:
            cost = profile.costs[name]
            value = amount(name, cost.value) + ("" if cost.identified else " ?")
            about = Text.assemble(ABOUT[name], (f"\n{cost.note}" if cost.note else "", "dim"))
            row = (value, _sureness(name, cost), cost.source)
            if wide:
                table.add_row(f"  {name}", *row, about)
            else:
                table.add_row(Text.assemble(f"  {name}\n", about), *row)
    return table


def _caption(profile: CostProfile) -> str | None:
    costs = profile.costs.values()
    lines = []
    if not all(cost.identified for cost in costs):
        lines.append("?: not told by the measurements; it is what was assumed beforehand")
    if any(cost.spread and not cost.interval for cost in costs):
        lines.append("q: quartiles of the measurements, where there is no interval")
    return "\n".join(lines) or None


def _sureness(name: str, cost: Cost) -> str:
    """The interval, or else the quartiles; without a unit if it is that of the value."""
    ends = cost.interval or cost.spread
    if ends is None:
        return ""
    texts = [amount(name, value).split() for value in (cost.value, *ends)]
    same = len({unit for _, unit in texts}) == 1
    low, high = (number if same else f"{number} {unit}" for number, unit in texts[1:])
    return f"{low} to {high}" + ("" if cost.interval else " q")


def _wakeup_table(profile: CostProfile) -> Table:
    """Wake-ups by how long the core has idled."""
    title = f"Waking up a thread that sleeps ({profile.wakeup_source})"
    table = Table(title=title, pad_edge=False)
    table.caption = "cold part: what of it falls into the steps after the wake-up"
    if profile.wakeup_ticking:
        table.caption += "; ticking: the tick of the idle core goes on, as timers are due"
    for heading in ("after idling for", *_WAKEUP.values()):
        table.add_column(heading, justify="right")
    for rows in (profile.wakeup, profile.wakeup_ticking):
        table.add_section()
        for row in rows:
            ticking = ", ticking" if rows is profile.wakeup_ticking else ""
            figures = map(format_time, row.summary().values())
            table.add_row(f"{format_time(row.idle_ns)}{ticking}", *figures)
    return table


def host_differences(facts: dict[str, tuple[Any, Any]]) -> Table:
    """What differs between the hosts."""
    table = Table("", "A", "B", title="Hosts", pad_edge=False)
    for name, (one, other) in facts.items():
        heading, text = fact(name, one)
        table.add_row(heading, text, fact(name, other)[1])
    return table


def cost_differences(differences: dict[str, Difference]) -> Table:
    """Costs side by side."""
    table = Table(title="Costs", pad_edge=False, caption=_MARKS)
    table.add_column("cost", no_wrap=True)
    for heading in ("A", "B", "B / A"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("intervals", no_wrap=True)
    for family, names in FAMILIES.items():
        table.add_section()
        table.add_row(Text(family, "bold"))
        for name in names:
            one = differences[name]
            values = (amount(name, value) for value in (one.a, one.b))
            table.add_row(f"  {name}", *values, _ratio(one), _OVERLAP[one.apart])
    return table


def wakeup_differences(differences: dict[int, dict[str, Difference]]) -> Table:
    """Wake-ups side by side."""
    table = Table(title="Waking up a thread that sleeps", pad_edge=False)
    for heading in ("after idling for", "", "A", "B", "B / A"):
        table.add_column(heading, justify="left" if not heading else "right", no_wrap=True)
    for idle_ns, parts in differences.items():
        table.add_section()
        first = format_time(idle_ns)
        for name, one in parts.items():
            values = (format_time(value) for value in (one.a, one.b))
            table.add_row(first, _WAKEUP[name], *values, _ratio(one))
            first = ""
    return table


def _ratio(one: Difference) -> Text:
    """The ratio, with a mark that says which way it is worth a look."""
    text = "-" if one.ratio is None else f"{one.ratio:.{2 if one.ratio < 100 else 0}f}"
    if not one.notable:
        return Text(text)
    return Text(f"▲ {text}", "red") if one.b > one.a else Text(f"▼ {text}", "green")
