"""The trace: complete, exact, and without influence on the run."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from round_costs import round_costs

from iosim.errors import IosimError
from iosim.kernel import EAGAIN, SIGIO, SIGRTMIN
from iosim.machine import Machine, Nic
from iosim.models import MODELS
from iosim.sim import simulate
from iosim.trace import RING, Trace
from iosim.workload import Workload

ONE_REQUEST = Workload(
    connections=1, requests=1, arrivals="even", rate_per_s=100_000, request_bytes=50, reply_bytes=30
)
"""Sent 10,000 ns after the start, on its socket 50 ns later."""


def traced(model: str, workload: Workload = ONE_REQUEST, **options: Any) -> Trace:
    trace = Trace()
    simulate(model, workload, profile=round_costs(), trace=trace, **options)
    return trace


def happenings(trace: Trace, since_ns: int = 0) -> list[tuple[Any, ...]]:
    """Everything from `since_ns` on, in order of time, as plain tuples."""
    found: list[tuple[Any, ...]] = []
    for call in trace.calls:
        found.append((call.begin_ns, "call", call.thread, call.name, call.args))
        if call.end_ns is not None:
            found.append((call.end_ns, "return", call.thread, call.name, call.result))
    found += [(c.begin_ns, "copy", c.thread, c.fd, c.nbytes, c.end_ns) for c in trace.copies]
    found += [(s.at_ns, "state", s.thread, s.state) for s in trace.states]
    found += [(s.at_ns, s.what, s.signal, s.value, s.thread) for s in trace.signals]
    found += [(m.at_ns, m.what, m.number) for m in trace.messages]
    # The clients' side first, as in the simulation, then returns before calls.
    order = ["request", "reply", "sent", "merged", "state", "taken", "return", "call", "copy"]
    return sorted(
        (h for h in found if h[0] >= since_ns and h[1] != "replied"),
        key=lambda h: (h[0], order.index(h[1])),
    )


def test_blocking_sleeps_in_recv_until_data_is_there() -> None:
    assert happenings(traced("blocking")) == [
        (10_050, "request", 0),
        (10_050, "state", "serve 1", "RUNNABLE"),
        (11_050, "state", "serve 1", "RUNNING"),
        (11_050, "copy", "serve 1", 4, 50, 11_200),
        (11_200, "reply", 0),
        (11_200, "return", "serve 1", "recv", 50),
        (11_200, "call", "serve 1", "send", (4, 30)),
        (11_330, "return", "serve 1", "send", 30),
    ]


def test_epoll_reports_readiness_and_the_program_reads() -> None:
    assert happenings(traced("epoll")) == [
        (10_050, "request", 0),
        (10_050, "state", "program 0", "RUNNABLE"),
        (11_050, "state", "program 0", "RUNNING"),
        (11_250, "return", "program 0", "epoll_wait", (5,)),
        (11_250, "call", "program 0", "recv", (5,)),
        (11_250, "copy", "program 0", 5, 50, 11_400),
        (11_400, "reply", 0),
        (11_400, "return", "program 0", "recv", 50),
        (11_400, "call", "program 0", "send", (5, 30)),
        (11_530, "return", "program 0", "send", 30),
    ]


def test_nonblocking_makes_every_empty_try() -> None:
    trace = traced("nonblocking")
    assert happenings(trace, since_ns=9_900) == [
        (9_900, "return", "program 0", "accept", EAGAIN),
        (9_900, "call", "program 0", "recv", (4,)),
        (10_000, "return", "program 0", "recv", EAGAIN),
        (10_000, "call", "program 0", "accept", (3, True)),
        (10_050, "request", 0),
        (10_100, "return", "program 0", "accept", EAGAIN),
        (10_100, "call", "program 0", "recv", (4,)),
        (10_100, "copy", "program 0", 4, 50, 10_250),
        (10_250, "reply", 0),
        (10_250, "return", "program 0", "recv", 50),
        (10_250, "call", "program 0", "send", (4, 30)),
        (10_380, "return", "program 0", "send", 30),
    ]
    empty = [call for call in trace.calls if call.empty and call.begin_ns >= 0]
    assert len(empty) == 10_100 // 100


def test_signal_is_sent_with_the_data_and_taken_after_the_wake_up() -> None:
    assert happenings(traced("sigio"))[:7] == [
        (10_050, "request", 0),
        (10_050, "sent", SIGIO, 4, ""),
        (10_050, "state", "program 0", "RUNNABLE"),
        (11_050, "state", "program 0", "RUNNING"),
        (11_050, "taken", SIGIO, -1, "program 0"),
        (11_150, "return", "program 0", "sigsuspend", None),
        (11_150, "call", "program 0", "recv", (4,)),
    ]


def test_aio_helper_copies_and_signals() -> None:
    trace = traced("aio")
    (copy,) = trace.copies
    (read,) = [call for call in trace.calls if call.name == "read"]
    assert (copy.thread, copy.begin_ns, copy.end_ns) == ("aio helper 1", 11_050, 11_200)
    assert (read.thread, read.end_ns, read.result) == ("aio helper 1", 11_200, 50)
    assert [(s.at_ns, s.what, s.signal, s.value) for s in trace.signals] == [
        (11_200, "sent", SIGRTMIN, 4),
        (11_300, "taken", SIGRTMIN, 4),  # the helper goes to sleep, the core switches
    ]


def test_ring_copies_inside_io_uring_enter() -> None:
    trace = traced("io_uring")
    (copy,) = trace.copies
    assert (copy.thread, copy.begin_ns, copy.end_ns) == (RING, 11_050, 11_200)
    (receive,) = [c for c in trace.calls if c.thread == RING and c.name == "recv" and c.result]
    assert receive.begin_ns < 0
    assert receive.end_ns == 11_200


@pytest.mark.parametrize("machine", [Machine(), Machine(cores=2), Machine(nic=Nic())], ids=str)
@pytest.mark.parametrize("profile", ["native", "python"])
@pytest.mark.parametrize("model", MODELS)
def test_tracing_changes_nothing(model: str, profile: str, machine: Machine) -> None:
    connections = 1 if model == "blocking-serial" else 8
    workload = Workload(connections=connections, requests=100, service=3_000)
    trace = Trace()
    plain = simulate(model, workload, profile=profile, machine=machine)
    watched = simulate(model, workload, profile=profile, machine=machine, trace=trace)
    assert (plain.records == watched.records).all()
    assert plain.tasks == watched.tasks
    assert plain.elapsed_ns == watched.elapsed_ns
    assert plain.syscalls == watched.syscalls
    assert plain.empty_polls == watched.empty_polls
    if not model.startswith("nonblocking") and model != "sigio":
        assert plain.events == watched.events
    program = {task.name for task in plain.tasks if not task.helper}
    own = [copy for copy in trace.copies if copy.begin_ns >= 0 and copy.thread in program]
    assert sum(copy.end_ns - copy.begin_ns for copy in own) == plain.copy_data_ns


@pytest.mark.parametrize("model", MODELS)
def test_calls_that_were_not_made_are_not_counted(model: str) -> None:
    """A run that ends within a pass over all sockets has not asked the listener, traced or not."""
    plain, watched = (
        simulate(model, ONE_REQUEST, profile=round_costs(), trace=trace)
        for trace in (None, Trace())
    )
    assert plain.syscalls == watched.syscalls
    assert all(plain.syscalls.values())


def test_interrupt_at_the_very_instant_of_a_try_comes_before_it() -> None:
    machine = Machine(nic=Nic(latency_ns=98))  # and 102 ns on the wire: there at 10,200 ns
    plain = simulate("nonblocking", ONE_REQUEST, profile=round_costs(), machine=machine)
    trace = traced("nonblocking", machine=machine)
    assert plain.records["arrival_ns"] == 10_200
    assert (plain.records == trace.records).all()


@pytest.mark.parametrize("model", MODELS)
def test_calls_of_a_thread_do_not_overlap(model: str) -> None:
    trace = Trace()
    connections = 1 if model == "blocking-serial" else 4
    workload = Workload(connections=connections, requests=30)
    simulate(model, workload, profile="native", machine=Machine(nic=Nic()), trace=trace)
    for thread in trace.threads:
        calls = [call for call in trace.calls if call.thread == thread]
        for before, after in pairwise(calls):
            assert before.end_ns is not None
            assert before.end_ns <= after.begin_ns


@pytest.mark.parametrize("model", MODELS)
def test_perfetto_file_has_no_overlaps_on_a_track(model: str, tmp_path: Path) -> None:
    trace = Trace()
    connections = 1 if model == "blocking-serial" else 4
    workload = Workload(connections=connections, requests=30, rate_per_s=40_000)
    simulate(model, workload, profile="native", trace=trace)
    events = json.loads(trace.save(tmp_path / "out.json").read_text())["traceEvents"]
    tracks: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for event in events:
        if event["ph"] == "X":
            span = (event["ts"], event["ts"] + event["dur"])
            tracks.setdefault((event["pid"], event["tid"]), []).append(span)
    assert len(tracks) > 2
    for spans in tracks.values():
        for before, after in pairwise(sorted(spans)):
            assert before[1] <= after[0] + 1e-6


def test_too_long_a_trace_is_refused() -> None:
    with pytest.raises(IosimError, match="too many to trace"):
        simulate("nonblocking", ONE_REQUEST, profile=round_costs(), trace=Trace(limit=100))


def test_unwritable_trace_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(IosimError, match="cannot write"):
        traced("blocking").save(tmp_path / "missing" / "out.json")
