"""Runs on real sockets: every request answered, calls counted, nothing left behind.

Times are only ever compared with each other: how long something takes is up to the host.
"""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest
from processes import alive, children, established, wait_until

from iosim.errors import HostRefused, IosimError, RunFailed
from iosim.host import run_real, why_not
from iosim.host.meter import GAP_NS
from iosim.host.server import listen
from iosim.kernel import Call, Kernel
from iosim.models import MODELS, get
from iosim.results import RECORD, Run
from iosim.workload import Workload

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))


def runnable(name: str) -> object:
    """A parameter for a model; one that this host cannot run is skipped with its reason."""
    reason = why_not(MODELS[name])
    return pytest.param(name, marks=pytest.mark.skipif(reason is not None, reason=str(reason)))


EVERY_MODEL = [runnable(name) for name in MODELS]

LOAD = Workload(connections=8, requests=300, rate_per_s=5_000)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    assert {pid: name for pid, name in children().items() if pid not in before} == {}


def check(run: Run, workload: Workload) -> None:
    """Every request is answered once, in order, and moves forward in time."""
    records = run.records
    schedule = workload.schedule(run.seed)
    assert run.kernel == "real"
    assert records.dtype == RECORD
    if workload.arrivals == "closed":
        # Whoever is free takes the next request; at first all are.
        assert (np.diff(records["sent_ns"]) >= 0).all()
        active = np.unique(schedule.connection)
        assert sorted(records["connection"][: len(active)]) == active.tolist()
    else:
        assert (records["connection"] == schedule.connection).all()
    assert (records["intended_ns"] <= records["sent_ns"]).all()
    # User space sees neither; on loopback the sender does the receive work.
    assert (records["sent_ns"] == records["arrival_ns"]).all()
    assert (records["sent_ns"] == records["ready_ns"]).all()
    family = get(run.model).family if run.model in MODELS else None
    for name in ("noticed_ns", "copied_ns"):
        assert (records["ready_ns"] <= records[name]).all(), name
        assert (records[name] <= records["done_ns"]).all(), name
    if family == "asynchronous":
        assert (records["copied_ns"] >= records["noticed_ns"]).all()
    elif family is not None:
        assert (records["noticed_ns"] <= records["copied_ns"]).all()
    assert (records["done_ns"] <= records["replied_ns"]).all()
    pulses = run.pulses
    assert records["done_ns"].min() <= pulses["at_ns"][0]
    assert (np.diff(pulses["at_ns"]) >= GAP_NS).all()
    assert (pulses["took_ns"] > 0).all()
    assert (np.diff(pulses["server_ns"]) > 0).all()
    # The clock of a helper that runs on another core is up to a tick behind.
    behind_ns = 10_000_000 * sum(task.helper for task in run.tasks)
    assert pulses["server_ns"][-1] - pulses["server_ns"][0] <= run.cpu_ns + behind_ns
    for client in range(workload.connections):
        own = records[records["connection"] == client]
        for name in ("sent_ns", "copied_ns", "done_ns", "replied_ns"):
            assert (np.diff(own[name]) >= 0).all(), name
    assert run.elapsed_ns == records["replied_ns"].max()
    assert run.tasks
    assert run.cpu_ns > 0
    for task in run.tasks:
        assert min(task.running_ns, task.runnable_ns, task.sleeping_ns) >= 0


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_every_request_is_answered(model: str) -> None:
    run = run_real(model, LOAD)
    check(run, LOAD)
    if LOAD.arrivals != "closed":
        schedule = LOAD.schedule(run.seed)
        assert (run.records["intended_ns"] == schedule.intended_ns).all()


# --- what is counted -------------------------------------------------------------------------

WAITS_IN = {
    "select": "select",
    "poll": "poll",
    "epoll": "epoll_wait",
    "epoll-et": "epoll_wait",
    "sigio": "rt_sigsuspend",
    "rtsig": "rt_sigtimedwait",
    "nonblocking-sleep": "clock_nanosleep",
    "aio": "rt_sigtimedwait",
}


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_calls_are_counted(model: str) -> None:
    """One client that waits for its answer: a request a time, so each takes its own calls."""
    load = Workload(connections=1, arrivals="closed", think_ns=300_000, requests=100)
    run = run_real(model, load)
    check(run, load)
    calls = run.syscalls
    if MODELS[model].needs == "io_uring":
        assert set(calls) == {"io_uring_enter"}
        # One that reads; one that sends the reply, arms the next recv and waits.
        assert calls["io_uring_enter"] >= load.requests
        return
    assert calls["send"] == load.requests
    if model == "aio":
        assert calls["aio_return"] == calls["aio_read"] == load.requests
        assert "recv" not in calls
    else:
        assert calls["recv"] >= load.requests - 1  # the first may have begun before the load
    if model in WAITS_IN:
        assert calls[WAITS_IN[model]] >= load.requests - 1
    if MODELS[model].family in ("blocking", "asynchronous") or model in ("select", "poll", "epoll"):
        assert run.empty_polls == 0
    else:
        assert run.empty_polls >= load.requests - 1


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_phases(model: str) -> None:
    """Who waits for data, and who copies it."""
    run = run_real(model, LOAD)
    family = MODELS[model].family
    own = [task for task in run.tasks if not task.helper]
    if family in ("blocking", "multiplexing"):
        assert 0 < run.wait_for_data_ns <= sum(task.runnable_ns + task.sleeping_ns for task in own)
    else:
        assert run.wait_for_data_ns == 0
    if family == "asynchronous":
        assert run.copy_data_ns == 0
    elif family in ("nonblocking", "signal-driven") or model == "epoll-et":
        assert run.copy_data_ns > 0
    else:
        # Of a recv that may sleep, what its thread ran was copying. Where others have kept the
        # thread from running for longer than that, none of it can be told (test_phases.py).
        assert 0 <= run.copy_data_ns <= sum(task.running_ns for task in own)
    expected = {"blocking": 9, "blocking-pool": 200, "aio": 2}
    assert len(own) == expected.get(model, 1)
    if model == "aio":
        assert any(task.helper for task in run.tasks)
    if model == "nonblocking":
        # What makes it wait is the interpreter lock, when another thread counts.
        assert run.wakeups < LOAD.requests / 10


def test_serial_serves_one_connection_to_its_end() -> None:
    """Clients hang up after their last reply, to let others in."""
    run = run_real("blocking-serial", LOAD)
    assert run.syscalls["accept4"] >= LOAD.connections - 1
    assert run.syscalls["close"] >= LOAD.connections - 1
    spans = sorted(
        (own["copied_ns"].min(), own["done_ns"].max())
        for own in (run.records[run.records["connection"] == c] for c in range(LOAD.connections))
    )
    for (_, end), (begin, _) in pairwise(spans):
        assert end <= begin


# --- sizes, loops, service -------------------------------------------------------------------


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_large_requests_and_replies(model: str) -> None:
    """Three reads for a request, and a reply that no send buffer holds at once."""
    load = Workload(
        connections=3,
        requests=20,
        rate_per_s=400,
        request_bytes="150kB",
        reply_bytes="6MB",
    )
    check(run_real(model, load), load)


@pytest.mark.parametrize("model", EVERY_MODEL)
def test_many_requests_in_one_read(model: str) -> None:
    """Sent faster than they are served, requests are read several at a time."""
    load = Workload(connections=2, requests=2_000, rate_per_s="500k/s")
    check(run_real(model, load), load)


@pytest.mark.parametrize("model", [runnable(m) for m in ("blocking", "epoll", "io_uring")])
def test_closed_loop(model: str) -> None:
    load = Workload(connections=4, arrivals="closed", think_ns="200us", requests=200)
    run = run_real(model, load)
    check(run, load)
    for client in range(load.connections):
        own = run.records[run.records["connection"] == client]
        # Due after the reply was read, which is after the program began to send it.
        assert (own["intended_ns"][1:] >= own["done_ns"][:-1] + load.think_ns).all()


@pytest.mark.parametrize("model", [runnable(m) for m in ("blocking", "epoll", "io_uring")])
def test_service_time_is_computed(model: str) -> None:
    load = Workload(connections=4, rate_per_s=1_000, service="200us", requests=100)
    run = run_real(model, load)
    check(run, load)
    assert run.cpu_ns >= load.requests * load.service.mean_ns
    # The clocks of thread and wall may be disciplined differently, by at most 500 ppm.
    assert ((run.records["done_ns"] - run.records["copied_ns"]) > 0.999 * 200_000).all()


def test_same_arrivals_as_simulated() -> None:
    load = Workload(connections=4, rate_per_s=20_000, requests=100)
    one, other = run_real("epoll", load, seed=7), run_real("poll", load, seed=7)
    assert (one.records["intended_ns"] == other.records["intended_ns"]).all()
    assert (one.records["intended_ns"] == load.schedule(7).intended_ns).all()


def test_provenance_names_the_host() -> None:
    run = run_real("epoll", Workload(connections=1, requests=10))
    assert run.provenance["host"]["kernel"] == os.uname().release
    assert run.provenance["workload"]["connections"] == 1
    assert run.provenance["load"]["send_ns"] > 0


def test_program_may_be_a_closure() -> None:
    """It travels to the server's process with all that it refers to."""
    reply_in_two = True

    def halves(kernel: Kernel, listener: int) -> Call[None]:
        fd = yield from kernel.accept(listener)
        while nbytes := (yield from kernel.recv(fd)):
            for request in kernel.requests(fd, nbytes):
                first = request.reply_bytes // 2 if reply_in_two else 0
                for part in (first, request.reply_bytes - first):
                    yield from kernel.send(fd, part)

    load = Workload(connections=1, requests=20)
    run = run_real(halves, load)
    check(run, load)
    assert run.model == "halves"


# --- refusals and failures -------------------------------------------------------------------


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(HostRefused, match=f"port {port}: Address already in use; choose"):
            run_real("epoll", LOAD, port=port)


def test_two_runs_do_not_share_a_port() -> None:
    """Though a program may share its own with further listening sockets."""
    with listen(0) as first, pytest.raises(HostRefused, match="Address already in use"):
        listen(first.getsockname()[1])


@pytest.mark.parametrize("how", ["shared", "exclusive", "reuseport"])
def test_workers(how: str) -> None:
    load = LOAD.model_copy(update={"connect_gap_ns": 1_000_000})
    run = run_real(get("epoll", workers=3, listener=how), load)
    check(run, load)
    assert sorted(task.name for task in run.tasks) == ["program 0", "worker 1", "worker 2"]


@pytest.mark.parametrize("name", ["select", "poll"])
def test_workers_of_select_and_poll(name: str) -> None:
    run = run_real(get(name, workers=3), LOAD)
    check(run, LOAD)
    assert len(run.tasks) == 3


def test_port_is_free_afterwards() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    small = Workload(connections=2, requests=10)
    for _ in range(2):
        check(run_real("epoll", small, port=port), small)


def in_a_new_process(program: str) -> str:
    """What a program prints: for limits that a process cannot take back."""
    program = f"import sys\nsys.path[:] = {sys.path!r}\n" + textwrap.dedent(program)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout


def test_too_few_descriptors() -> None:
    said = in_a_new_process("""
        import resource
        import iosim
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
        try:
            iosim.run_real("epoll", iosim.Workload(connections=190))
        except iosim.HostRefused as error:
            print(error)
        load = iosim.Workload(connections=120, requests=200)
        print(len(iosim.run_real("epoll", load).records))
    """)
    refusal, answered = said.splitlines()
    assert refusal.startswith("190 connections are more than the ")
    assert "a process may have 200 open files (ulimit -Hn)" in refusal
    assert answered == "200"


def test_soft_limit_is_raised_where_the_hard_one_allows() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1_000:
        pytest.skip(f"needs 1000 open files, this host allows {hard} (ulimit -Hn)")
    said = in_a_new_process(f"""
        import resource
        import iosim
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, {hard}))
        load = iosim.Workload(connections=500, requests=500)
        print(len(iosim.run_real("epoll", load).records))
    """)
    assert said == "500\n"


def test_one_core_is_too_few() -> None:
    said = in_a_new_process("""
        import os
        import iosim
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(iosim.why_not())
        try:
            iosim.run_real("epoll")
        except iosim.HostRefused as error:
            print(error)
    """)
    assert said.count("real runs need two cores") == 2


def test_select_beyond_fd_setsize() -> None:
    with pytest.raises(IosimError, match=r"select cannot watch descriptor 1024.*poll or epoll"):
        run_real("select", Workload(connections=1_100, requests=10))


def broken_at_once(kernel: Kernel, listener: int) -> Call[None]:
    raise ValueError("I am broken")
    yield


def broken_in_a_thread(kernel: Kernel, listener: int) -> Call[None]:
    def worker(kernel: Kernel, fd: int) -> Call[None]:
        yield from kernel.recv(fd)
        raise ValueError("I am broken")

    while True:
        fd = yield from kernel.accept(listener)
        yield from kernel.spawn(worker, fd)


def broken_descriptor(kernel: Kernel, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    yield from kernel.recv(9_999)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (broken_at_once, "ValueError: I am broken"),
        (broken_in_a_thread, "ValueError: I am broken"),
        (broken_descriptor, "9999"),
    ],
)
def test_program_that_raises(program: object, said: str) -> None:
    with pytest.raises(RunFailed, match=said):
        run_real(program, Workload(connections=2, requests=10))  # type: ignore[arg-type]


def test_program_that_hangs_up() -> None:
    def rude(kernel: Kernel, listener: int) -> Call[None]:
        while True:
            fd = yield from kernel.accept(listener)
            yield from kernel.recv(fd)
            yield from kernel.close(fd)

    with pytest.raises(RunFailed, match="closed a connection before its last reply"):
        run_real(rude, Workload(connections=1, requests=10))


def test_program_that_never_answers() -> None:
    def mute(kernel: Kernel, listener: int) -> Call[None]:
        while True:
            fd = yield from kernel.accept(listener)
            yield from kernel.recv(fd)

    with pytest.raises(RunFailed, match=r"10 of 10 requests were not answered within 0\.2 s"):
        run_real(mute, Workload(connections=1, requests=10), patience_ns=200_000_000)


@pytest.mark.skipif(why_not(MODELS["aio"]) is not None, reason=str(why_not(MODELS["aio"])))
def test_aio_callbacks() -> None:
    load = Workload(connections=3, rate_per_s=500, requests=30)
    run = run_real(get("aio", completion="callback"), load)
    check(run, load)
    assert "rt_sigtimedwait" not in run.syscalls


@pytest.mark.skipif(why_not(MODELS["aio"]) is not None, reason=str(why_not(MODELS["aio"])))
def test_aio_with_fewer_helpers_than_quiet_connections() -> None:
    """As the simulation says: every helper sleeps in the read of a connection that is quiet."""
    load = Workload(connections=8, active=2, requests=100)
    with pytest.raises(RunFailed, match="requests were not answered"):
        run_real(get("aio", threads=2), load, patience_ns=200_000_000)


# --- interruption ----------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def start(port: int) -> subprocess.Popen[str]:
    """`iosim real` on its way: a run of minutes, with all its connections open."""
    command = [sys.executable, "-m", "iosim", "real", "epoll", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    # Tests in the background of a shell ignore SIGINT, and so would what they start (bash(1)).
    signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [*command, "--connections", "4", "--rate", "1k/s", "--requests", "600k", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )
    wait_until(lambda: established(port) == 4 and len(children(process.pid)) == 2, process)
    return process


@pytest.mark.parametrize("whole_group", [True, False], ids=["Ctrl-C", "kill -INT"])
def test_interrupt_ends_everything(whole_group: bool) -> None:
    """Ctrl-C reaches every process of the terminal's group, kill(1) the first alone."""
    port = free_port()
    process = start(port)
    own = children(process.pid)
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.startswith("iosim: interrupted")
    assert err.count("\n") == 1
    assert not any(alive(pid) for pid in own)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_killed_parent_leaves_no_child() -> None:
    """SIGKILL gives no chance to clean up: the children notice by themselves."""
    port = free_port()
    process = start(port)
    own = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    wait_until(lambda: not any(alive(pid) for pid in own))


# --- workers, service ------------------------------------------------------------------------


def test_workers_of_a_real_run_are_told_apart() -> None:
    """Each has connections, as they come when all of them wait."""
    load = Workload(connections=40, requests=200, rate_per_s=2_000)
    run = run_real(get("epoll", workers=3, listener="reuseport"), load)
    assert len(run.workers) == 3
    assert sum(worker.connections for worker in run.workers) == 40
    assert sum(worker.requests for worker in run.workers) == 200
    assert all(worker.connections for worker in run.workers)
    assert [worker["requests"] for worker in run.summary()["workers"]] == [
        worker.requests for worker in run.workers
    ]


@pytest.mark.parametrize("model", [runnable(m) for m in ("blocking", "epoll", "io_uring")])
def test_service_belongs_to_the_request_of_a_connection(model: str) -> None:
    load = Workload(connections=3, arrivals="closed", service="exponential(300us)", requests=60)
    records = run_real(model, load, seed=3).records
    service_of = load.service_of(3)
    for client in range(3):
        own = records[records["connection"] == client]
        for number, record in enumerate(own):
            assert record["done_ns"] - record["copied_ns"] >= service_of(client, number)
