"""The figures of Stevens' chapter come out of simulated runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from iosim.errors import IosimError
from iosim.models import MODELS
from iosim.models.stevens import NOT_BLOCKED
from iosim.plots import save
from iosim.sim import simulate
from iosim.timeline import FIVE, phases, request_story, timeline, timelines
from iosim.timeline.story import Story
from iosim.trace import RING
from iosim.workload import Workload


def kinds(story: Story, begin_ns: int, end_ns: int) -> set[str]:
    """What the program does within a span."""
    return {b.kind for b in story.bands if b.begin_ns < end_ns and b.end_ns > begin_ns}


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


@pytest.mark.parametrize("model", MODELS)
def test_models_say_what_their_runs_show(model: str) -> None:
    """A model's words for the two phases are those in which a run of it is told, and the totals of
    the run count as blocked exactly what these words call so."""
    known = MODELS[model]
    story = request_story(model)
    sleeps, reads = known.phase_1.startswith("asleep"), known.phase_2.startswith("blocked")
    lends, free = known.phase_2 == NOT_BLOCKED, known.phase_2.startswith("free")
    assert [reads, lends, free].count(True) == 1
    run = simulate(model, Workload(connections=1, requests=100), profile="native")
    assert (run.wait_for_data_ns > 0) == (story.spent_ns("blocked") > 0) == sleeps
    assert (run.copy_data_ns > 0) == reads
    copy_ns = story.copy_end_ns - story.copy_begin_ns
    assert story.spent_ns("copies") == copy_ns * reads
    assert story.spent_ns("lends") == copy_ns * lends
    helpers = {task.name for task in run.tasks if task.helper}
    assert (story.copies[0].thread in helpers) == free


@pytest.mark.parametrize("profile", ["native", "python"])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_found_waiting_with_every_shipped_profile(model: str, profile: str) -> None:
    story = request_story(model, profile=profile)
    assert phases(story) == (MODELS[model].phase_1, MODELS[model].phase_2)


@pytest.mark.parametrize("model", MODELS)
def test_figure_says_what_the_model_says(model: str) -> None:
    known = MODELS[model]
    said = " ".join(texts(timeline(model)).split())
    if not known.phase_1.startswith("free"):
        assert known.phase_1 in said
    copier = re.fullmatch("free: a (.*) copies", known.phase_2)
    assert (f"{copier[1]}: copy data" if copier else known.phase_2) in said


@pytest.mark.parametrize("model", MODELS)
def test_bands_cover_the_story(model: str) -> None:
    story = request_story(model)
    assert story.begin_ns < story.ready_ns <= story.copy_begin_ns < story.copy_end_ns
    assert story.copy_end_ns <= story.done_ns <= story.end_ns
    assert story.bands[0].begin_ns == story.begin_ns
    assert story.bands[-1].end_ns == story.end_ns
    for before, after in zip(story.bands, story.bands[1:], strict=False):
        assert before.end_ns == after.begin_ns


@pytest.mark.parametrize("model", ["blocking", "blocking-pool", "blocking-serial"])
def test_blocking_sleeps_in_recv_from_the_call_to_the_data(model: str) -> None:
    story = request_story(model)
    assert [call.name for call in story.calls] == ["recv", "send"]
    assert story.bands[0].kind == "blocked"
    assert story.bands[0].call == "recv"
    assert (story.bands[0].begin_ns, story.bands[0].end_ns) == (story.begin_ns, story.ready_ns)
    assert kinds(story, story.copy_begin_ns, story.copy_end_ns) == {"copies"}


def test_nonblocking_polls_and_never_sleeps() -> None:
    story = request_story("nonblocking")
    assert sum(call.empty for call in story.calls) >= 2
    assert kinds(story, story.begin_ns, story.ready_ns) == {"polls"}
    assert kinds(story, story.copy_begin_ns, story.copy_end_ns) == {"copies"}


def test_nonblocking_sleep_lets_data_wait() -> None:
    story = request_story("nonblocking-sleep")
    assert {"free", "polls"} <= kinds(story, story.begin_ns, story.ready_ns)
    assert story.copy_begin_ns - story.ready_ns > 1_000


@pytest.mark.parametrize("model", ["select", "poll", "epoll", "epoll-et"])
def test_multiplexing_blocks_in_its_wait_and_again_in_the_copy(model: str) -> None:
    story = request_story(model)
    asleep = [band.call for band in story.bands if band.kind == "blocked"]
    assert asleep == [{"epoll": "epoll_wait", "epoll-et": "epoll_wait"}.get(model, model)]
    assert kinds(story, story.copy_begin_ns, story.copy_end_ns) == {"copies"}


@pytest.mark.parametrize("model", ["sigio", "rtsig"])
def test_signal_driven_is_free_until_the_signal(model: str) -> None:
    story = request_story(model)
    ((sent, taken),) = story.signals
    assert sent.at_ns == story.ready_ns < taken.at_ns
    assert story.spent_ns("blocked") == 0
    assert story.spent_ns("free", until_ns=story.ready_ns) > 0.9 * (story.ready_ns - story.begin_ns)
    assert kinds(story, story.copy_begin_ns, story.copy_end_ns) == {"copies"}


def test_aio_reads_and_copies_outside_the_program() -> None:
    story = request_story("aio")
    assert story.calls[0].name == "aio_read"
    assert story.calls[0].end_ns is not None
    assert story.calls[0].end_ns < story.ready_ns
    assert kinds(story, story.calls[0].end_ns, story.copy_end_ns) == {"free"}
    assert story.copies[0].thread.startswith("aio helper")
    ((sent, _),) = story.signals
    assert sent.at_ns == story.copy_end_ns


def test_io_uring_is_free_until_the_ring_copies() -> None:
    story = request_story("io_uring")
    assert story.spent_ns("blocked", "polls") == 0
    assert story.copies[0].thread == RING


@pytest.mark.parametrize("model", MODELS)
def test_figure_names_the_calls_and_phases(model: str, tmp_path: Path) -> None:
    figure = timeline(model)
    said = texts(figure)
    for call in {call.name for call in request_story(model).calls}:
        assert call in said
    for words in ("application", "kernel", "wait for data", "copy data", "data ready", "reply"):
        assert words in said
    for ending in ("png", "svg"):
        assert save(figure, tmp_path / f"{model}.{ending}").stat().st_size > 5_000


def test_five_side_by_side(tmp_path: Path) -> None:
    figure = timelines()
    said = texts(figure)
    for model in FIVE:
        assert model in said
    assert "the five I/O models compared" in said
    five = texts(timelines(["epoll", "epoll-et", "poll", "select", "aio"]))
    assert "Who waits, who works: I/O models compared" in five
    assert (
        save(figure, tmp_path / "five.svg").read_bytes()
        == save(timelines(), tmp_path / "again.svg").read_bytes()
    )


def test_a_request_among_many_connections() -> None:
    workload = Workload(connections=16, rate_per_s=5_000, requests=20)
    assert "one of 16 connections" in texts(timeline("epoll", workload=workload))


def test_a_program_that_never_waits_is_refused() -> None:
    workload = Workload(connections=1, rate_per_s=10_000_000, requests=50)
    with pytest.raises(IosimError, match="lighter load"):
        timeline("epoll", workload=workload)


def test_figure_cannot_be_written(tmp_path: Path) -> None:
    figure = timeline("blocking")
    with pytest.raises(IosimError, match="cannot write"):
        save(figure, tmp_path / "missing" / "out.png")
    with pytest.raises(IosimError, match="name end in"):
        save(figure, tmp_path / "out.xyz")
