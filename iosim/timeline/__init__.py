"""The figures that textbooks draw by hand (Stevens, UNP vol. 1, figures 6.1 to 6.6), from a run.

Everything in them comes from the trace of a simulated run: calls, results, times, who sleeps, who
copies. Only the words for calls and phases come from a table, `iosim.timeline.words`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.kernel import READ_BYTES
from iosim.models import Model, get, models_of
from iosim.plots import style
from iosim.sim import simulate
from iosim.timeline.story import Story, tell
from iosim.timeline.words import family_title, phases
from iosim.trace import Trace
from iosim.units import format_bytes
from iosim.workload import Workload

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIVE = ("blocking", "nonblocking", "epoll", "rtsig", "aio")
"""One variant of each of Stevens' five models."""

_FAMILIES = {get(name).family for name in FIVE}

REQUEST = 1
"""The request to draw: the second, so that the program comes from serving another; or the next
one that finds the program waiting."""

_MOST_SHARE = 10.0
"""A load in which requests are rarer than that is as quiet as can be asked for."""


def request_story(
    model: str | Model,
    *,
    profile: CostProfile | str = "native",
    workload: Workload | None = None,
    seed: int = 1,
) -> Story:
    """Simulate a model and tell the story of one request."""
    _, (story,) = _stories([model], workload, profile, seed)
    return story


def _stories(
    models: Sequence[str | Model],
    workload: Workload | None,
    profile: CostProfile | str,
    seed: int,
    share: float = 3.0,
) -> tuple[Workload, list[Story]]:
    """The story of one request under each model, and the load: that of `quiet_workload` unless one
    is given, and a still quieter one if a program was not waiting, as it happened to pause."""
    if workload is not None:
        return workload, [_story(model, workload, profile, seed) for model in models]
    try:
        workload = quiet_workload(models, profile=profile, seed=seed, share=share)
        return _stories(models, workload, profile, seed)
    except IosimError:
        if share > _MOST_SHARE:
            raise
        return _stories(models, None, profile, seed, 2 * share)


def _story(model: str | Model, workload: Workload, profile: CostProfile | str, seed: int) -> Story:
    trace = Trace()
    simulate(model, workload, profile=profile, seed=seed, trace=trace)
    last = workload.requests - 1
    for number in range(min(REQUEST, last), last):
        try:
            return tell(trace, number)
        except IosimError:
            continue
    return tell(trace, last)


def quiet_workload(
    models: Sequence[str | Model],
    *,
    profile: CostProfile | str = "native",
    seed: int = 1,
    share: float = 3.0,
) -> Workload:
    """One connection, three evenly spaced requests that each fill the program's buffer.

    The gap between two is `share` times what the slowest of the models needs for one of them, so
    that it is waiting again when the next comes, and the wait does not dwarf the rest.
    """
    pilot = Workload(
        connections=1, arrivals="even", rate_per_s=1000, request_bytes=READ_BYTES, requests=3
    )
    gap_ns = 0
    for model in models:
        records = simulate(model, pilot, profile=profile, seed=seed).records
        longest_ns = int((records["replied_ns"] - records["ready_ns"])[: REQUEST + 1].max())
        gap_ns = max(gap_ns, round(share * longest_ns))
    return pilot.model_copy(update={"rate_per_s": 1e9 / gap_ns})


def timeline(
    model: str | Model,
    *,
    profile: CostProfile | str = "native",
    workload: Workload | None = None,
    seed: int = 1,
) -> Figure:
    """The timeline of one request under one model.

    The default workload is that of `quiet_workload`; of another one the first request is drawn that
    finds the program waiting, the very first excepted.
    """
    from iosim.timeline.single import draw

    model = get(model) if isinstance(model, str) else model
    workload, (story,) = _stories([model], workload, profile, seed)
    note = f"{_source(profile)} Not to scale: heights grow with the logarithm of time."
    if tries := story.listener_tries:
        plural = "tries" if tries > 1 else "try"
        note += f"\nLeft out: {tries} {plural} at the listening socket (accept: EAGAIN)."
    with style():
        return draw(
            story,
            f"{family_title(model.family)}: {model.name}",
            f"{_subject(workload)}, from the first call to the reply",
            note,
        )


def timelines(
    models: Sequence[str | Model] = FIVE,
    *,
    profile: CostProfile | str = "native",
    workload: Workload | None = None,
    seed: int = 1,
) -> Figure:
    """The timelines of several models side by side, to scale on one time axis."""
    from iosim.timeline.together import draw

    chosen = models_of(models)
    # A shorter wait than in a single figure leaves room for what comes after it.
    workload, stories = _stories(chosen, workload, profile, seed, share=1.3)
    with style():
        return draw(
            [
                (model.family, model.name, story)
                for model, story in zip(chosen, stories, strict=True)
            ],
            "Who waits, who works: the five I/O models compared"
            if {model.family for model in chosen} == _FAMILIES
            else "Who waits, who works: I/O models compared",
            f"{_subject(workload)}; time runs down, to scale; 0 is when the data is ready",
            f"{_source(profile)} White marks in a polling bar: one try each. Bars begin where the "
            "program is done with the request before.",
        )


def _subject(workload: Workload) -> str:
    connections = (
        "one connection"
        if workload.connections == 1
        else (f"one of {workload.connections} connections")
    )
    return f"one request of {format_bytes(workload.request_bytes)} on {connections}"


def _source(profile: CostProfile | str) -> str:
    name = profile if isinstance(profile, str) else profile.name
    return f"Simulated with the costs of profile {name!r}."


__all__ = ["FIVE", "phases", "quiet_workload", "request_story", "timeline", "timelines"]
