"""The server process of a real run, started by `iosim.host.run`.

The main thread runs the program (Python runs signal handlers there only). A second thread sleeps
until the parent asks for counters.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from typing import Any

from iosim.errors import HostRefused, IosimError
from iosim.forgotten import forgotten
from iosim.host.child import Pipe, attach
from iosim.host.kernel import HostKernel
from iosim.host.thread import BACKLOG, Server, Thread
from iosim.kernel import Program
from iosim.models import Model
from iosim.program import Standstill, begin, drive, failure, place_of
from iosim.provenance import name_of

_LOOK_S = 0.2
"""How long a program is looked at that does not answer."""
_BUSY_NS = 1_000_000
"""A thread that has run for longer than that, and not come to a call, computes."""


@dataclass(frozen=True)
class Task:
    """Counters of one thread, ns, since it began."""

    name: str
    at_ns: int
    running_ns: int
    runnable_ns: int
    switches: int
    wakeups: int
    in_recv_ns: int
    in_copy_ns: int
    in_readiness_ns: int
    in_free_ns: int
    helper: bool
    requests: int = 0
    connections: int = 0


@dataclass(frozen=True)
class Snapshot:
    """All counters of the server at one moment."""

    at_ns: int
    process_ns: int
    """Processor time of all threads, those included that have ended since; without the asker."""
    tasks: dict[int, Task]
    """By the number of the program's thread; of others by their native id, negative."""
    syscalls: Counter[str]
    empty_polls: int


def raise_file_limit() -> int:
    """Allow as many open files as the hard limit does, getrlimit(2); returns the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def allow_more(listener: socket.socket) -> None:
    """Let `reuseport` bind further sockets to the address of one that is bound already.

    socket(7) wants the option before bind(2), but then two runs could share a port by mistake. It
    must be there before the first connection, which inherits it and would be in the way without.
    """
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 lets the kernel choose."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # Accepted sockets inherit it: replies to pipelined requests shall not wait for each other.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError as error:
        listener.close()
        raise HostRefused(
            f"port {port}: {error.strerror}; choose another with --port, or 0 for a free one"
        ) from None
    allow_more(listener)
    listener.listen(BACKLOG)
    return listener


def snapshot(server: Server, ignored: int) -> Snapshot:
    """Read every thread's counters; `ignored` is the thread that asks."""
    # What other threads may add to meanwhile is copied first, in one step each.
    tasks = dict(server.ended)
    threads = [thread for thread in list(server.threads) if thread.number not in tasks]
    by_id = {thread.native_id: thread for thread in threads}
    now_ns = time.monotonic_ns()
    process_ns = time.process_time_ns() - time.thread_time_ns()
    for tid in sorted(map(int, os.listdir("/proc/self/task"))):
        if tid != ignored:
            thread = by_id.get(tid)
            try:
                tasks[-tid if thread is None else thread.number] = count(tid, thread)
            except OSError:
                continue  # the thread has just ended
    syscalls: Counter[str] = Counter()
    threads = list(server.threads)
    for thread in threads:
        syscalls.update(dict(thread.syscalls))
    return Snapshot(now_ns, process_ns, tasks, syscalls, sum(t.empty_polls for t in threads))


def count(tid: int, thread: Thread | None) -> Task:
    """Counters of one thread; None is a helper of the C library."""
    # The clock of another thread, as clock_getcpuclockid(3) makes it: schedstat lags behind by up
    # to a tick while the thread runs.
    running_ns = time.clock_gettime_ns((~tid << 3) | 6)
    now_ns = time.monotonic_ns()
    with open(f"/proc/self/task/{tid}/schedstat") as file:
        runnable_ns = int(file.read().split()[1])
    with open(f"/proc/self/task/{tid}/status") as file:
        voluntary, involuntary = (int(line.split()[1]) for line in file if "ctxt_switches" in line)
    spent = now_ns, running_ns, runnable_ns, voluntary + involuntary, voluntary
    if thread is None:
        return Task("helper", *spent, 0, 0, 0, 0, True)

    def inside(total_ns: int, since_ns: int) -> int:
        return total_ns + (now_ns - since_ns if since_ns else 0)

    return Task(
        thread.name,
        *spent,
        inside(thread.in_recv_ns, thread.recv_since_ns),
        thread.in_copy_ns,
        inside(thread.in_readiness_ns, thread.readiness_since_ns),
        inside(thread.in_free_ns, thread.free_since_ns),
        False,
        thread.requests_taken,
        thread.connections,
    )


def standstill(server: Server, program: Program) -> Standstill:
    """How the program stands, by two looks at its threads."""
    looks = []
    for pause_s in (_LOOK_S, 0):
        running = [thread for thread in list(server.threads) if thread.number not in server.ended]
        made = {t.number: (sum(dict(t.syscalls).values()), _spent_ns(t)) for t in running}
        looks.append(made)
        time.sleep(pause_s)
    busy = ""
    for thread in running:
        calls, spent_ns = looks[0].get(thread.number, (-1, 0))
        calls_now, spent_now_ns = looks[1][thread.number]
        if calls == calls_now and spent_now_ns - spent_ns > _BUSY_NS:
            frame = sys._current_frames().get(thread.ident)
            busy = place_of(frame)
    return Standstill(
        accepted=len(server.every_connection),
        ended=not running,
        asleep=all(looks[0].get(n) == made for n, made in looks[1].items()),
        busy=busy,
        hint=None if isinstance(getattr(program, "__self__", None), Model) else forgotten(program),
    )


def _spent_ns(thread: Thread) -> int:
    """Processor time of a thread of the program so far."""
    try:
        return time.clock_gettime_ns((~thread.native_id << 3) | 6)
    except OSError:
        return 0  # it has just ended


def run(pipe: Pipe, program: Program, server: Server) -> None:
    """Run the program in this thread until the parent has had enough of it."""

    def guarded(program: Program, *args: Any) -> None:
        name = name_of(program)
        kernel = HostKernel(server, name)
        kernel.name = f"{name} {kernel.number}"
        try:
            drive(begin(program, kernel, *args))
        except BaseException as error:
            told = failure(name, error)
            told.add_note(traceback.format_exc())
            pipe.tell(told)
        finally:
            server.ended[kernel.number] = count(kernel.native_id, kernel)
            del kernel.buffer  # there may be a thread for every request

    def control() -> None:
        me = threading.get_native_id()
        while True:
            request = pipe.hear()
            if request == "waits":
                pipe.tell(server.waits_for_clients())
            elif isinstance(request, dict):
                server.client_of = request
                pipe.tell("ready")
            elif request == "accepted":
                pipe.tell(len(server.every_connection))
            elif request == "snapshot":
                pipe.tell(snapshot(server, me))
            elif request == "standstill":
                pipe.tell(standstill(server, program))
            elif request == "times":
                times = {
                    c.peer_port: (c.noticed_at_ns, c.copied_at_ns, c.done_at_ns)
                    for c in server.every_connection
                    if c.copied_at_ns
                }
                pipe.tell((times, server.meter.seen))

    server.run = guarded
    threading.Thread(target=control, daemon=True).start()
    # All are blocked so far: only the program's threads shall take signals.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
    gc.collect()
    gc.disable()
    server.meter.start()
    # Told only now, so that connections come to a program that has begun.
    pipe.tell(server.listener.getsockname()[1])
    guarded(program, server.listener.fileno())
    while True:
        signal.pause()


def main() -> None:
    """Serve one run."""
    pipe = attach(sys.argv[1:])
    program, port, workload, seed = pipe.hear()
    raise_file_limit()
    threading.stack_size(256 * 1024)
    try:
        listener = listen(port)
    except IosimError as error:
        pipe.tell(error)
        return
    run(pipe, program, Server(listener, workload, seed, replies_only=True))
