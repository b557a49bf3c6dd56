"""Run a program under a workload on real sockets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from iosim.checked import expect
from iosim.errors import HostRefused, RunFailed, Unanswered
from iosim.host import thishost
from iosim.host.child import Child, child
from iosim.host.server import Snapshot, Task
from iosim.kernel import Program
from iosim.limits import check_limits
from iosim.models import Model, get, resolve
from iosim.program import Standstill
from iosim.provenance import provenance
from iosim.results import PULSE, RECORD, Run, TaskTimes
from iosim.units import parse_seed
from iosim.workload import PATIENCE_NS, Schedule, Workload

START_S = 1.0
"""Clients connect when every thread of the program waits for them, or after this long."""

SETTLE_S = 0.3
"""The load starts when the program has accepted all connections, or none for this long. One that
serves a connection to its end before the next never accepts them all; then clients hang up after
their last reply, to let others in."""

STANDSTILL_S = 5.0
"""How long a server may take to tell how it stands."""


def run_real(
    model: str | Model | Program,
    workload: Workload | None = None,
    *,
    seed: int = 1,
    port: int = 0,
    patience_ns: int = PATIENCE_NS,
    progress: Callable[[float], object] | None = None,
) -> Run:
    """Run the program in a process on the last core, loaded by a process on the first.

    Takes what `iosim.sim.simulate` takes and returns the same kind of result. `port` 0 is any free
    one. `progress` is told, a few times a second, which share of the time has passed in which the
    requests are due; in a closed loop, nothing, since nobody knows.

    Raises HostRefused for what this host does not allow, and RunFailed when the program fails or
    when all is sent and no reply has come for `patience_ns` and what all requests take to compute.
    """
    began_s = time.perf_counter()
    workload = Workload() if workload is None else expect(Workload, workload, "workload")
    model = get(model) if isinstance(model, str) else model
    name, program = resolve(model)
    reason = thishost.why_not(model if isinstance(model, Model) else None)
    if reason is not None:
        raise HostRefused(f"{name}: {reason}")
    seed, port = parse_seed(seed), thishost.port(port)
    thishost.check(workload)
    check_limits(workload, model)
    cores = thishost.cores()
    schedule = workload.schedule(seed)
    with (
        child("server", "iosim.host.server", cores[-1]) as server,
        child("load generator", "iosim.host.load", cores[0]) as load,
    ):
        port = server.ask((program, port, workload, seed))
        _wait_for_start(server)
        ports = connect(load, port, workload)
        server.ask({port: client for client, port in enumerate(ports)})
        hang_up = not _settle(server, workload.connections)
        patience_s = (patience_ns + workload.service_sum_ns) / 1e9
        prepare(load, workload, schedule, hang_up, patience_s)
        before: Snapshot = server.ask("snapshot")
        load.tell("go")
        offered_s = float(schedule.intended_ns.max()) / 1e9
        due_s = math.inf if workload.arrivals == "closed" else offered_s
        try:
            _hear_either(load, server, offered_s * 4 + patience_s + 60, due_s, progress)
        except Unanswered as error:
            raise _explained(error, server, workload, model) from None
        after: Snapshot = server.ask("snapshot")
        sent = load.hear(20)
        seen, looks = server.ask("times")
    load_costs = {"send_ns": float(np.median(sent.pop("took_ns")))}
    records = _records(workload, ports, sent, seen)
    pulses = np.array(looks, PULSE)
    pulses["at_ns"] -= sent["begin_ns"][0]
    tasks, wait_ns, copy_ns = _task_times(before, after)
    return Run(
        model=name,
        kernel="real",
        seed=seed,
        records=records,
        tasks=tasks,
        syscalls=dict(sorted((after.syscalls - before.syscalls).items())),
        empty_polls=after.empty_polls - before.empty_polls,
        context_switches=_difference(before, after, lambda task: task.switches),
        wakeups=_difference(before, after, lambda task: task.wakeups),
        drops=0,
        wait_for_data_ns=wait_ns,
        copy_data_ns=copy_ns,
        elapsed_ns=int(records["replied_ns"].max()),
        cores=1,
        wall_s=time.perf_counter() - began_s,
        generator_ns=sent["busy_ns"][0],
        pulses=pulses,
        provenance=provenance(
            model=model, workload=workload, seed=seed, host=thishost.facts(), load=load_costs
        ),
    )


def connect(load: Child, port: int, workload: Workload) -> list[int]:
    """Have the load generator open its connections; returns its port of each."""
    connecting_s = workload.connections * workload.connect_gap_ns / 1e9
    sizes = workload.request_bytes, workload.reply_bytes
    about = (port, workload.connections, workload.connect_gap_ns, *sizes)
    ports: list[int] = load.ask(about, 60 + 2 * connecting_s)
    return ports


def prepare(
    load: Child, workload: Workload, schedule: Schedule, hang_up: bool, patience_s: float
) -> None:
    """Have the load generator ready to go."""
    numbers = schedule.connection.tolist(), schedule.intended_ns.tolist()
    load.ask((*numbers, workload.arrivals == "closed", hang_up, patience_s))


def _wait_for_start(server: Child) -> None:
    """Wait until the program waits for clients, or has had the time to."""
    until_s = time.monotonic() + START_S
    while not server.ask("waits") and time.monotonic() < until_s:
        time.sleep(0.005)


def _settle(server: Child, connections: int) -> bool:
    """Wait until the program has accepted what it will; True if that is every connection."""
    accepted, since_s = 0, time.monotonic()
    while accepted < connections and time.monotonic() - since_s < SETTLE_S:
        time.sleep(0.01)
        now_accepted = server.ask("accepted")
        if now_accepted != accepted:
            accepted, since_s = now_accepted, time.monotonic()
    return accepted == connections


def _hear_either(
    load: Child,
    server: Child,
    timeout_s: float,
    due_s: float,
    progress: Callable[[float], object] | None,
) -> Any:
    """The load generator's results, or the reason that the server gives for failing."""
    began_s = now_s = time.monotonic()
    while now_s < began_s + timeout_s:
        if load.has_news(0.2):
            return load.hear(1)
        if server.has_news(0):
            server.hear(1)
        now_s = time.monotonic()
        if progress is not None and due_s < math.inf:
            progress(min(1.0, (now_s - began_s) / due_s))
    raise RunFailed(f"the run has not ended after {timeout_s:.0f} s")


def _explained(error: Unanswered, server: Child, workload: Workload, model: object) -> RunFailed:
    """What the server tells of why replies stayed out."""
    left = int(str(error).partition(" ")[0])
    try:
        stands: Standstill = server.ask("standstill", STANDSTILL_S)
    except RunFailed as failed:
        # The program's own failure may have come meanwhile.
        silent = str(failed).startswith("the server ")
        return RunFailed(f"{error}: {failed}") if silent else failed
    why = stands.why(workload.requests - left, workload.connections, model)
    return RunFailed(f"{error}: {why}" if why else str(error))


def _records(
    workload: Workload,
    ports: list[int],
    sent: dict[str, list[int]],
    seen: dict[int, tuple[list[int], list[int], list[int]]],
) -> Any:
    """Join what the load generator and the server saw: order on a connection is kept."""
    records = np.zeros(workload.requests, RECORD)
    records["connection"] = sent["connection"]
    for name in ("intended_ns", "sent_ns", "replied_ns"):
        records[name] = sent[name]
    records["arrival_ns"] = records["ready_ns"] = records["sent_ns"]
    for client, port in enumerate(ports):
        if port in seen:
            numbers = np.flatnonzero(records["connection"] == client)
            for name, times in zip(("noticed_ns", "copied_ns", "done_ns"), seen[port], strict=True):
                records[name][numbers] = times[: len(numbers)]
    # What came between the report that a socket is ready and the read was found by the read.
    late = records["noticed_ns"] < records["sent_ns"]
    records["noticed_ns"][late] = records["copied_ns"][late]
    for name in RECORD.names or ():
        if name.endswith("_ns"):
            records[name] -= sent["begin_ns"][0]
    return records


def _difference(before: Snapshot, after: Snapshot, what: Callable[[Task], int]) -> int:
    earlier = {tid: what(task) for tid, task in before.tasks.items()}
    return sum(what(task) - earlier.get(tid, 0) for tid, task in after.tasks.items())


def _task_times(before: Snapshot, after: Snapshot) -> tuple[tuple[TaskTimes, ...], int, int]:
    """Times of each thread, and the program's time in phase 1 and phase 2.

    A thread is blocked while it neither runs nor has been let run. What it was blocked outside of
    readiness calls and of calls that wait for other things than data, it was blocked in recv; the
    rest of its time in recv was copying.
    """
    nothing = Task("", before.at_ns, 0, 0, 0, 0, 0, 0, 0, 0, False)
    tasks = []
    wait_ns = copy_ns = 0
    for tid, task in after.tasks.items():
        earlier = before.tasks.get(tid, nothing)
        running_ns = task.running_ns - earlier.running_ns
        runnable_ns = task.runnable_ns - earlier.runnable_ns
        blocked_ns = max(0, task.at_ns - earlier.at_ns - running_ns)
        sleeping_ns = max(0, blocked_ns - runnable_ns)
        taken = task.requests - earlier.requests
        spent = running_ns, runnable_ns, sleeping_ns
        tasks.append(TaskTimes(task.name, *spent, task.helper, taken, task.connections))
        in_recv_ns = task.in_recv_ns - earlier.in_recv_ns
        in_readiness_ns = min(task.in_readiness_ns - earlier.in_readiness_ns, blocked_ns)
        in_free_ns = task.in_free_ns - earlier.in_free_ns
        waiting_in_recv_ns = min(in_recv_ns, max(0, blocked_ns - in_readiness_ns - in_free_ns))
        wait_ns += waiting_in_recv_ns + in_readiness_ns
        copy_ns += in_recv_ns - waiting_in_recv_ns + task.in_copy_ns - earlier.in_copy_ns
    # The C library's helper threads come and go: what ended ones ran is known in sum only.
    ended_ns = after.process_ns - before.process_ns - sum(task.running_ns for task in tasks)
    if any(task.helper for task in tasks):
        tasks.append(TaskTimes("ended helpers", max(0, ended_ns), 0, 0, True))
    return tuple(tasks), wait_ns, copy_ns
