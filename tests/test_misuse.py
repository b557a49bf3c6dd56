"""Programs of a user's own that misbehave: what is said of them, alike for both kernels.

What single calls refuse is in tests/conformance/rules/misuse.py.
"""

from __future__ import annotations

import inspect
import re
import sys
import threading
from collections.abc import Callable
from functools import partial
from unittest import mock

import cloudpickle
import pytest

import iosim
from iosim.forgotten import forgotten
from iosim.kernel import Call, Kernel, Program
from iosim.models import MODELS, Model, get

# The server's process has no tests to import: what is defined here travels as it is.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

LOAD = iosim.Workload(connections=1, requests=4, arrivals="closed")

needs_real_runs = pytest.mark.skipif(iosim.why_not() is not None, reason=str(iosim.why_not()))
on_both = pytest.mark.parametrize(
    "run",
    [iosim.simulate, pytest.param(iosim.run_real, marks=needs_real_runs)],
    ids=["simulated", "real"],
)


def told(run: Callable[..., object], program: Program, load: iosim.Workload = LOAD) -> str:
    """What is said of a run that fails."""
    with (
        mock.patch.object(sys.modules["iosim.sim.watchdog"], "PATIENCE_S", 0.2),
        pytest.raises(iosim.RunFailed) as caught,
    ):
        run(program, load, patience_ns=200_000_000)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def line_of(program: Callable[..., object], text: str) -> int:
    """The number of the line of this file where a program has that text."""
    lines, first = inspect.getsourcelines(program)
    return first + next(number for number, line in enumerate(lines) if number and text in line)


def raises(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    raise ValueError("one thing\nor another")


def leaves(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    sys.exit("enough")


def forgets(kernel: Kernel, listener: int) -> Call[None]:
    fd = kernel.accept(listener)
    yield from kernel.recv(fd)  # type: ignore[arg-type]


def yields(kernel: Kernel, listener: int) -> Call[None]:
    yield kernel.accept(listener)


def yields_nothing(kernel: Kernel, listener: int) -> Call[None]:
    yield


def sends_too_much(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    kernel.requests(fd, (yield from kernel.recv(fd)))
    yield from kernel.send(fd, 65)


def answers_first(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.send(fd, 64)


def never_counts(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    while nbytes := (yield from kernel.recv(fd)):
        yield from kernel.send(fd, nbytes)


def invents(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    kernel.requests(fd, (yield from kernel.recv(fd)) + 64)


FAILURES: dict[Program, tuple[str, str]] = {
    raises: ("raise", ": ValueError: one thing or another"),
    leaves: ("exit", ": SystemExit: enough"),
    forgets: ("recv", ", recv(): fd is the call accept() itself and not its result: write `yield"),
    yields: ("yield", ": `yield` before the call accept(): write `yield from`"),
    yields_nothing: ("yield", ": `yield` of None: a program yields nothing itself"),
    sends_too_much: ("send", ", send(): connection 0: 65 bytes are sent, but 64 bytes of replies"),
    answers_first: ("send", ", send(): connection 0: 64 bytes are sent, but 0 bytes of replies"),
    never_counts: ("send", ", send(): connection 0: 64 bytes are sent, but 0 bytes of replies"),
    invents: (
        "requests",
        ", requests(): connection 0: 128 bytes are counted into requests, but 64",
    ),
}


@on_both
@pytest.mark.parametrize("program", FAILURES, ids=lambda program: program.__name__)
def test_a_failure_names_program_and_line(run: Callable[..., object], program: Program) -> None:
    text, said = FAILURES[program]
    where = f"in line {line_of(program, text)} of test_misuse.py"
    assert told(run, program).startswith(f"the program {program.__name__} failed {where}{said}")


def test_the_cause_of_a_failure_is_kept() -> None:
    with pytest.raises(iosim.RunFailed) as caught:
        iosim.simulate(raises, LOAD)
    assert isinstance(caught.value.__cause__, ValueError)


@needs_real_runs
def test_the_traceback_of_another_process_is_noted() -> None:
    with pytest.raises(iosim.RunFailed) as caught:
        iosim.run_real(raises, LOAD)
    assert 'raise ValueError("one thing\\nor another")' in caught.value.__notes__[0]


def no_program(kernel: Kernel, listener: int) -> int:
    return 5


@on_both
def test_what_makes_no_calls_is_no_program(run: Callable[..., object]) -> None:
    said = told(run, no_program)  # type: ignore[arg-type]
    assert said.startswith("the program no_program failed: no_program has returned 5 and made no")


def serves(kernel: Kernel, listener: int, service_ns: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    while nbytes := (yield from kernel.recv(fd)):
        yield from kernel.compute(service_ns)
        yield from iosim.answer(kernel, fd, nbytes)


@on_both
def test_a_program_need_not_be_a_function(run: Callable[..., iosim.Run]) -> None:
    one = run(partial(serves, service_ns=1_000), LOAD)
    assert len(one.records) == LOAD.requests
    assert one.tasks[0].name == "serves 0"


# --- programs that no longer answer ---------------------------------------------------------------


def returns(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from iosim.answer(kernel, fd, (yield from kernel.recv(fd)))


def accepts_nobody(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.get(kernel.queue())


def sleeps_again_and_again(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        yield from kernel.nanosleep(100_000_000)


def computes_for_ever(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        yield from kernel.compute(1_000_000)


def drops_a_call(kernel: Kernel, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    for request in kernel.requests(fd, (yield from kernel.recv(fd))):
        kernel.send(fd, request.reply_bytes)
    yield from kernel.recv(fd)


SILENCES: dict[Program, str] = {
    returns: "3 of 4 requests .*: the program has returned after 1 replies$",
    accepts_nobody: "4 of 4 requests .*: the program has accepted no connection$",
    drops_a_call: r"4 of 4 requests .*: every thread sleeps; line \d+ calls send\(\) without",
    sleeps_again_and_again: "4 of 4 requests were not answered within 0.2 s",
    computes_for_ever: "4 of 4 requests were not answered within 0.2 s",
}


@on_both
@pytest.mark.parametrize("program", SILENCES, ids=lambda program: program.__name__)
def test_silence_has_a_reason(run: Callable[..., object], program: Program) -> None:
    said = told(run, program)
    assert re.match(SILENCES[program], said)
    assert "--param" not in said


@pytest.mark.parametrize(
    ("model", "has"), [(get("blocking-pool", threads=2), True), (get("blocking-serial"), False)]
)
def test_threads_are_advised_where_there_is_such_a_parameter(model: Model, has: bool) -> None:
    load = iosim.Workload(connections=8, requests=100, active=2)
    with pytest.raises(iosim.RunFailed, match="starves behind idle") as caught:
        iosim.simulate(model, load)
    assert ("--param threads=" in str(caught.value)) == has


def spins(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        pass


def asks_the_clock(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while kernel.monotonic_ns() >= 0:
        pass


def computes_nothing(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    while True:
        yield from kernel.compute(0)


def spins_at_once(kernel: Kernel, listener: int) -> Call[None]:
    while True:
        pass
    yield


@pytest.mark.parametrize("program", [spins, asks_the_clock, computes_nothing, spins_at_once])
def test_a_program_that_lets_no_time_pass_is_stopped(program: Program) -> None:
    said = told(iosim.simulate, program)
    assert said.startswith(f"the program {program.__name__} runs without end in line ")
    assert "no simulated time passes" in said
    assert not [one for one in threading.enumerate() if one.name == "iosim watchdog"]


@needs_real_runs
@pytest.mark.parametrize("program", [spins, asks_the_clock])
def test_a_real_program_that_makes_no_calls_is_found_out(program: Program) -> None:
    said = told(iosim.run_real, program)
    assert f"the program runs without making calls in line {line_of(program, 'while')}" in said or (
        f"the program runs without making calls in line {line_of(program, 'pass')}" in said
    )


def nothing_but_short_calls(kernel: Kernel, listener: int) -> Call[None]:
    """Time passes in them, so that another thread serves meanwhile."""
    yield from kernel.spawn(partial(serves, service_ns=0), listener)
    while True:
        yield from kernel.getppid()


def test_time_passes_in_short_calls() -> None:
    profile = iosim.CostProfile.shipped("native")
    assert len(iosim.simulate(nothing_but_short_calls, LOAD, profile=profile).records) == 4


# --- calls that are dropped -----------------------------------------------------------------------


def looks_at_a_call(kernel: Kernel, listener: int) -> Call[None]:
    while kernel.recv(listener):
        yield from kernel.getppid()


def drops_in_another(kernel: Kernel, listener: int) -> Call[None]:
    def inner(own: Kernel) -> Call[None]:
        own.close(listener)
        yield

    yield from kernel.spawn(inner)


def closes_something_else(kernel: Kernel, listener: int) -> Call[None]:
    file = open(__file__)  # noqa: SIM115
    file.close()
    nbytes = (yield from kernel.recv(listener)) + 1
    yield from kernel.send(listener, nbytes)


def test_dropped_calls_are_found() -> None:
    where = line_of(looks_at_a_call, "recv")
    said = f"line {where} calls recv() without `yield from`, so that it is never made"
    assert forgotten(looks_at_a_call) == said
    assert f"line {line_of(drops_in_another, 'close')} calls close()" in str(
        forgotten(drops_in_another)
    )
    assert forgotten(closes_something_else) is None


@pytest.mark.parametrize("model", MODELS)
def test_models_drop_no_call(model: str) -> None:
    assert forgotten(MODELS[model].program) is None
