"""The same program, call for call, on the simulated and on the real kernel."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import iosim
from iosim.kernel import EAGAIN, Call, Kernel
from iosim.models import get

pytestmark = pytest.mark.skipif(iosim.why_not() is not None, reason=str(iosim.why_not()))

# The server's process has no tests to import: what is defined here travels as it is.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


# --- programs that no model of the library contains -------------------------------------------


def dispatch(kernel: iosim.Kernel, listener: int) -> Any:
    """One thread waits in epoll and passes ready sockets to two that read and answer."""
    epfd = yield from kernel.epoll_create()
    todo = kernel.queue()
    for _ in range(2):
        yield from kernel.spawn(serve_from_queue, epfd, todo)
    yield from kernel.set_nonblocking(listener)
    yield from kernel.epoll_ctl(epfd, iosim.kernel.EPOLL_CTL_ADD, listener)
    while True:
        for fd in (yield from kernel.epoll_wait(epfd, 64)):
            if fd != listener:
                yield from kernel.epoll_ctl(epfd, iosim.kernel.EPOLL_CTL_DEL, fd)
                yield from kernel.put(todo, fd)
            elif (new := (yield from kernel.accept(listener))) != iosim.kernel.EAGAIN:
                yield from kernel.epoll_ctl(epfd, iosim.kernel.EPOLL_CTL_ADD, new)


def serve_from_queue(kernel: iosim.Kernel, epfd: int, todo: Any) -> Any:
    while True:
        fd = yield from kernel.get(todo)
        if nbytes := (yield from kernel.recv(fd)):
            yield from iosim.answer(kernel, fd, nbytes)
            yield from kernel.epoll_ctl(epfd, iosim.kernel.EPOLL_CTL_ADD, fd)
        else:
            yield from kernel.close(fd)


def two_loops(kernel: iosim.Kernel, listener: int) -> Any:
    """One thread accepts in epoll and deals the connections out to two event loops."""
    loops = []
    for _ in range(3):
        loops.append((yield from kernel.epoll_create()))
    for epfd in loops[:2]:
        yield from kernel.spawn(event_loop, epfd)
    yield from kernel.set_nonblocking(listener)
    yield from kernel.epoll_ctl(loops[2], iosim.kernel.EPOLL_CTL_ADD, listener)
    accepted = 0
    while True:
        yield from kernel.epoll_wait(loops[2], 1)
        while (fd := (yield from kernel.accept(listener))) != iosim.kernel.EAGAIN:
            yield from kernel.epoll_ctl(loops[accepted % 2], iosim.kernel.EPOLL_CTL_ADD, fd)
            accepted += 1


def event_loop(kernel: iosim.Kernel, epfd: int) -> Any:
    while True:
        for fd in (yield from kernel.epoll_wait(epfd, 64)):
            if nbytes := (yield from kernel.recv(fd)):
                yield from iosim.answer(kernel, fd, nbytes)
            else:
                yield from kernel.close(fd)


LOADS = [
    iosim.Workload(connections=10, rate_per_s="10k/s", requests=500),
    iosim.Workload(connections=3, arrivals="closed", requests=100, service="20us"),
    iosim.Workload(connections=4, rate_per_s=500, requests=20, request_bytes="200kB"),
]


def check(run: iosim.Run, load: iosim.Workload) -> None:
    records = run.records
    assert len(records) == load.requests
    assert (records["sent_ns"] <= records["copied_ns"]).all()
    assert (records["copied_ns"] <= records["done_ns"]).all()
    assert (records["done_ns"] <= records["replied_ns"]).all()
    for client in range(load.connections):
        own = records[records["connection"] == client]
        assert (np.diff(own["replied_ns"]) >= 0).all()
    assert len([task for task in run.tasks if not task.helper]) == 3


@pytest.mark.parametrize("load", LOADS, ids=["open", "closed", "large"])
@pytest.mark.parametrize("program", [dispatch, two_loops])
def test_a_program_of_the_users_own_runs_on_both_kernels(
    program: Callable[..., Any], load: iosim.Workload
) -> None:
    check(iosim.simulate(program, load), load)
    check(iosim.simulate(program, load, machine=iosim.Machine(cores=2)), load)
    check(iosim.run_real(program, load), load)


def one_request_each(kernel: iosim.Kernel, listener: int) -> Any:
    """A connection carries one request and is closed by the server, as in HTTP/1.0."""
    while True:
        fd = yield from kernel.accept(listener)
        yield from iosim.answer(kernel, fd, (yield from kernel.recv(fd)))
        yield from kernel.close(fd)


def test_a_server_may_close_a_connection_after_its_last_reply() -> None:
    load = iosim.Workload(connections=5, requests=5, arrivals="closed")
    assert len(iosim.simulate(one_request_each, load).records) == load.requests
    assert len(iosim.run_real(one_request_each, load).records) == load.requests


def test_a_server_that_closes_too_early_fails_the_run() -> None:
    load = iosim.Workload(connections=1, requests=2, arrivals="closed")
    for run in iosim.simulate, iosim.run_real:
        with pytest.raises(iosim.RunFailed, match="closed a connection before its last reply"):
            run(one_request_each, load)


# --- the models, call for call ----------------------------------------------------------------

SETTING_UP = ("accept", "epoll_ctl", "set_async", "spawn", "aio_init", "sigblock")


class Recorder:
    """A kernel that writes down each call that returns, `thread call result` a line.

    Left out is what only time decides: tries that found nothing and naps between tries.
    """

    def __init__(self, kernel: Kernel, log: int, thread: str, known: dict[int, Any]) -> None:
        self._kernel = kernel
        self._log = log
        self._thread = thread
        self._known = known
        """Names of descriptors, which the two kernels number differently, and at -1 how many."""
        self._spawned = 0

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._kernel, name)
        if not inspect.isgeneratorfunction(call):
            return call

        def recorded(*args: Any, **options: Any) -> Call[Any]:
            result = yield from call(*args, **options)
            if result != EAGAIN and name != "nanosleep":
                self._write(name, result)
            return result

        return recorded

    def try_each(self, *args: Any, **options: Any) -> Call[tuple[int, int]]:
        """By the loop that defines it, so that each try passes here."""
        return Kernel.try_each(self, *args, **options)  # type: ignore[arg-type]

    def spawn(self, program: Callable[..., Any], *args: Any) -> Call[None]:
        self._spawned += 1
        thread = f"{self._thread}.{self._spawned}"
        yield from self._kernel.spawn(recorded(program, self._log, thread, self._known), *args)
        self._write("spawn", None)

    def _write(self, name: str, result: Any) -> None:
        if name in ("accept", "epoll_create"):
            self._known[-1] = self._known.get(-1, -1) + 1
            self._known[result] = f"{name} {self._known[-1]}"
        results = [result]
        if name in ("select", "poll", "epoll_wait"):
            results = [[self._known.get(fd, "listener") for fd in result]]
        elif name in ("accept", "epoll_create"):
            results = [self._known[result]]
        elif name == "sigwaitinfo":
            results = [(result[0], self._known.get(result[1], "listener"))]
        elif name == "io_uring_enter":
            # How many come at once is a matter of time, their order is not.
            results = [(what, "fd" if what == "accept" else n) for (what, _), n in result]
        elif name.endswith("_setup"):
            results = ["ring"]
        for value in results:
            os.write(self._log, f"{self._thread} {name} {value}\n".encode())


def recorded(
    program: Callable[..., Any], log: int | str, thread: str, known: dict[int, Any]
) -> Callable[..., Any]:
    """The program, run on a `Recorder`; `log` is a file to append to, by descriptor or name."""

    def recorded_program(kernel: Kernel, *args: Any) -> Call[None]:
        file = os.open(log, os.O_WRONLY | os.O_APPEND) if isinstance(log, str) else log
        yield from program(Recorder(kernel, file, thread, known), *args)

    return recorded_program


def calls(path: Path) -> Iterator[tuple[str, str, str]]:
    for line in path.read_text().splitlines():
        thread, name, result = line.split(maxsplit=2)
        yield thread, name, result


def by_thread(path: Path) -> dict[str, list[tuple[str, str]]]:
    """What each thread called, after the last step that sets a connection up.

    Whether a client connects before or after the program asks for it is a matter of time, and so is
    whether a signal comes for a connection that has been found without. So is how far the program
    comes with the last request before its reply ends the run.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    read = 0
    for thread, name, result in calls(path):
        made = found.setdefault(thread, [])
        if name in SETTING_UP or "listener" in result:
            made.clear()
        elif not (name == "sigsuspend" and (name, result) in made[-1:]):
            made.append((name, result))
        read += (name, result) in ASKED
        if read == FIVE.requests:
            break
    return {thread: made for thread, made in found.items() if made}


FIVE = iosim.Workload(connections=1, arrivals="closed", think_ns="20ms", requests=5)
"""The client thinks until the server has found nothing more to read, on a busy core too."""

ASK = ("recv", "64")
TELL = ("send", "64")
ASKED = (ASK, ("aio_return", "64"), ("io_uring_enter", "('recv', 64)"))
"""A request has been read, in each way of reading it."""


def five(*turn: tuple[str, str]) -> list[tuple[str, str]]:
    """Five requests, a turn of calls each; the last up to where it has been read."""
    read = next(number for number, call in enumerate(turn) if call in ASKED)
    return [*turn * 4, *turn[: read + 1]]


EXPECTED = {
    "blocking": {"0.1": five(ASK, TELL)},
    "blocking-pool": {"0": five(ASK, TELL)},
    "blocking-serial": {"0": five(ASK, TELL)},
    "nonblocking": {"0": five(ASK, TELL)},
    "nonblocking-sleep": {"0": five(ASK, TELL)},
    "select": {"0": five(("select", "['accept 0']"), ASK, TELL)},
    "poll": {"0": five(("poll", "['accept 0']"), ASK, TELL)},
    "epoll": {"0": five(("epoll_wait", "['accept 1']"), ASK, TELL)},
    "epoll-et": {"0": five(("epoll_wait", "['accept 1']"), ASK, TELL)},
    "sigio": {"0": five(("sigsuspend", "None"), ASK, TELL)},
    "rtsig": {"0": five(("sigwaitinfo", "(34, 'accept 0')"), ASK, TELL)},
    "aio": {
        "0": five(
            ("sigwaitinfo", "(34, 'accept 0')"), ("aio_return", "64"), TELL, ("aio_read", "None")
        ),
        "0.1": [("aio_read", "None")],
    },
    "io_uring": {
        "0": [
            ("io_uring_setup", "ring"),
            ("io_uring_enter", "('accept', 'fd')"),
            *five(("io_uring_enter", "('recv', 64)"), ("io_uring_enter", "('send', 64)")),
        ]
    },
    "io_uring-multishot": {
        "0": [
            ("io_uring_setup", "ring"),
            ("io_uring_register_buffers", "None"),
            ("io_uring_enter", "('accept', 'fd')"),
            *five(("io_uring_enter", "('recv', 64)"), ("io_uring_enter", "('send', 64)")),
        ]
    },
    "io_uring-sqpoll": {
        "0": [
            ("io_uring_setup", "ring"),
            ("io_uring_enter", "('accept', 'fd')"),
            *five(("io_uring_enter", "('recv', 64)"), ("io_uring_enter", "('send', 64)")),
        ]
    },
}


def test_every_model_is_here() -> None:
    assert set(EXPECTED) == set(iosim.MODELS)


def run_both(model: str, load: iosim.Workload, folder: Path) -> tuple[Path, Path]:
    """Where the calls of the simulated and of the real run are written down."""
    program = get(model, **({"threads": 1} if model == "blocking-pool" else {})).program
    logs = folder / "simulated", folder / "real"
    for log in logs:
        log.touch()
    iosim.simulate(recorded(program, str(logs[0]), "0", {}), load)
    iosim.run_real(recorded(program, str(logs[1]), "0", {}), load)
    return logs


@pytest.mark.parametrize("model", EXPECTED)
def test_models_make_the_same_calls_on_both_kernels(model: str, tmp_path: Path) -> None:
    reason = iosim.why_not(iosim.MODELS[model])
    if reason is not None:
        pytest.skip(reason)
    simulated, real = run_both(model, FIVE, tmp_path)
    assert by_thread(simulated) == EXPECTED[model]
    assert by_thread(real) == EXPECTED[model]


def test_end_of_stream(tmp_path: Path) -> None:
    """recv(2): "When a stream socket peer has performed an orderly shutdown, the return value will
    be 0". The clients of a serial server hang up after their last reply."""
    load = FIVE.model_copy(update={"connections": 2, "requests": 4})
    simulated, real = run_both("blocking-serial", load, tmp_path)
    served = [("0", *ASK), ("0", *TELL)] * 2
    expected = [
        ("0", "accept", "accept 0"),
        *served,
        ("0", "recv", "0"),
        ("0", "close", "None"),
        ("0", "accept", "accept 1"),
        *served,
    ]
    assert list(calls(simulated)) == expected
    assert list(calls(real))[: len(expected)] == expected


# --- programs that are no functions ------------------------------------------------------------


def with_threads(kernel: iosim.Kernel, listener: int, handle: Callable[..., Any]) -> Any:
    """A thread for each connection, which the argument serves."""
    while True:
        fd = yield from kernel.accept(listener)
        yield from kernel.spawn(handle, fd)


class Answering:
    """Serves a connection."""

    def __call__(self, kernel: iosim.Kernel, fd: int) -> Any:
        while nbytes := (yield from kernel.recv(fd)):
            yield from iosim.answer(kernel, fd, nbytes)
        yield from kernel.close(fd)


class Threads:
    """A server with an object of its own for each thread."""

    def __call__(self, kernel: iosim.Kernel, listener: int) -> Any:
        return with_threads(kernel, listener, Answering())


@pytest.mark.parametrize(
    ("program", "name", "described"),
    [
        (partial(with_threads, handle=Answering()), "with_threads", "with_threads(handle=<{}>)"),
        (partial(partial(Threads())), "Threads", "Threads()"),
        (Threads(), "Threads", "Threads"),
        (Threads().__call__, "__call__", "Threads.__call__"),
    ],
    ids=["partial", "partial of an object", "object", "method"],
)
def test_whatever_can_be_called_is_a_program(program: Any, name: str, described: str) -> None:
    """It has a name, as have its threads, and provenance tells what it was."""
    load = iosim.Workload(connections=2, requests=20)
    here = Threads.__module__
    for run in (iosim.simulate(program, load), iosim.run_real(program, load)):
        assert (run.model, len(run.records)) == (name, 20)
        said = described.format(f"{here}.Answering object")
        assert run.provenance["model"] == f"{here}.{said}"
        threads = {task.name for task in run.tasks}
        assert threads == {f"{name} 0", "Answering 1", "Answering 2"}


@pytest.mark.parametrize("program", [5, None, ["epoll"], iosim], ids=repr)
def test_what_cannot_be_called_is_none(program: Any) -> None:
    for run in (iosim.simulate, iosim.run_real):
        with pytest.raises(iosim.IosimError, match="is no model: give the name of one"):
            run(program)
