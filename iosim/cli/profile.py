"""`iosim profile list`, `show` and `diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from iosim.calibrate import cache, difference
from iosim.calibrate.cache import Found
from iosim.calibrate.samples import Samples
from iosim.cli import profile_tables as tables
from iosim.cli.options import AsJson
from iosim.cli.output import console, make_folder, print_json
from iosim.costs import ABOUT, FAMILIES, SHIPPED, unit
from iosim.errors import IosimError

app = typer.Typer(
    help="Cost profiles: which there are, what is in them, how they differ.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_NAMES = "`host`, `python`, `native` or a file"


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """The profiles that come with iosim, and this host's own.

    Example: `iosim profile list`
    """
    rows = [_listed(name) for name in ("host", *SHIPPED)]
    if as_json:
        print_json(rows)
        return
    table = Table(title="Cost profiles", pad_edge=False)
    for heading in ("profile", "default", "name", "runtime", "date", "measured on", "this host?"):
        table.add_column(heading)
    for row in rows:
        where = row["host"].get("cpu") if row["measured"] else None
        texts = (row["name"], row["runtime"], row["date"], where, _belongs(row))
        table.add_row(
            row["profile"], "yes" if row["default"] else "", *(text or "" for text in texts)
        )
    console().print(table)
    print("default: what `iosim simulate` and `iosim compare` use without --profile")


def _listed(name: str) -> dict[str, Any]:
    """A profile as plain data, without its costs; `problem` says why it cannot be used."""
    row: dict[str, Any] = dict.fromkeys(("name", "runtime", "date", "file", "problem"))
    row |= {"profile": name, "measured": False, "host": {}, "differences": {}}
    row["default"] = name == ("host" if cache.path().exists() else cache.DEFAULT)
    try:
        found = cache.find(name)
    except IosimError as error:
        return row | {"problem": str(error)}
    return row | _about(found)


def _about(found: Found) -> dict[str, Any]:
    profile = found.profile
    return {
        **{key: getattr(profile, key) for key in ("name", "runtime", "date", "host", "measured")},
        "differences": cache.differences(profile),
        "file": str(found.file) if found.file else None,
    }


def _belongs(row: dict[str, Any]) -> str:
    """Whether a profile tells of this host."""
    if row["problem"]:
        return str(row["problem"])
    if not row["measured"]:
        return "no: from literature and assumptions"
    names = (tables.fact(name, None)[0] for name in row["differences"])
    return f"no: other {', '.join(names)}" if row["differences"] else "yes"


@app.command("show")
def show_command(
    profile: Annotated[
        str | None,
        typer.Argument(metavar="[PROFILE]", help=f"{_NAMES}; by default what runs would use."),
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Draw the costs into this folder.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Every cost of a profile: its value, how sure it is, where it comes from, what it means.

    Examples: `iosim profile show`, `iosim profile show native --figures native`
    """
    found = cache.find(profile)
    drawn = _draw(found, make_folder(figures, "--figures")) if figures else []
    if as_json:
        about = _about(found) | {"samples": str(found.samples) if found.samples else None}
        print_json(about | _costs(found) | {"figures": [str(path) for path in drawn]})
        return
    tables.print_profile(found.profile, tables.header(found))
    for path in drawn:
        print(f"figure: {path}")


def _costs(found: Found) -> dict[str, Any]:
    """Costs and wake-ups as plain data, with what the tables say of them."""
    profile = found.profile
    return {
        "costs": {
            name: profile.costs[name].model_dump()
            | {"unit": unit(name), "family": family, "about": ABOUT[name]}
            for family, names in FAMILIES.items()
            for name in names
        },
        "wakeup": [row.model_dump() | row.summary() for row in profile.wakeup],
        "wakeup_ticking": [row.model_dump() | row.summary() for row in profile.wakeup_ticking],
        "wakeup_source": profile.wakeup_source,
        "l3_bytes": profile.l3_bytes,
        "memory_steps": profile.memory_steps,
        "pulse_ns": profile.pulse_ns,
        "interference": profile.interference and profile.interference.model_dump(),
        "warnings": profile.warnings,
    }


def _draw(found: Found, folder: Path) -> list[Path]:
    """The figures of a profile, with what was measured for it if that is known."""
    from iosim.plots import save
    from iosim.plots.profile import figures

    samples = Samples.load(found.samples) if found.samples else None
    drawn = figures(found.profile, samples)
    return [save(figure, folder / f"{name}.png") for name, figure in drawn.items()]


@app.command("diff")
def diff_command(
    a: Annotated[str, typer.Argument(metavar="A", help=f"A profile: {_NAMES}.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    as_json: AsJson = False,
) -> None:
    """Two profiles side by side; what differs by more than 10 % is marked.

    Example: `iosim profile diff native host`
    """
    one, other = cache.find(a), cache.find(b)
    hosts = difference.hosts(one.profile, other.profile)
    costs = difference.costs(one.profile, other.profile)
    wakeups = difference.wakeups(one.profile, other.profile)
    if as_json:
        print_json(
            {
                "a": _about(one),
                "b": _about(other),
                "host": hosts,
                "costs": {name: cost.as_dict() for name, cost in costs.items()},
                "wakeup": [
                    {"idle_ns": idle_ns} | {name: part.as_dict() for name, part in parts.items()}
                    for idle_ns, parts in wakeups.items()
                ],
            }
        )
        return
    print(f"A: {one}\nB: {other}")
    console().print(
        tables.host_differences(hosts) if hosts else "The hosts do not differ.",
        tables.cost_differences(costs),
        tables.wakeup_differences(wakeups),
    )
