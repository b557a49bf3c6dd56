"""Load a server that is none of the library's: any that answers each request with a reply."""

from __future__ import annotations

import os
import time

import numpy as np

from iosim.checked import expect
from iosim.errors import HostRefused
from iosim.host import thishost
from iosim.host.child import child
from iosim.host.run import connect, prepare
from iosim.limits import check_limits
from iosim.provenance import provenance
from iosim.results import RECORD, Run, TaskTimes
from iosim.units import parse_seed
from iosim.workload import PATIENCE_NS, Workload


def load_server(
    port: int, workload: Workload | None = None, *, pid: int | None = None, seed: int = 1
) -> Run:
    """Put a server that listens on a port of this machine under a workload.

    The server answers every `request_bytes` on a connection with `reply_bytes`; what it computes is
    its own business, so the workload's `service` is not used. Of a request it is known when it was
    due, sent and answered: the other stamps of the run are those of sending. With the server's
    process id its processor time is known too. Nothing of it is pinned to a core; the clients are
    on the first.

    Raises HostRefused for what this host does not allow, or if nothing listens, and RunFailed when
    replies stay out.
    """
    began_s = time.perf_counter()
    workload = Workload() if workload is None else expect(Workload, workload, "workload")
    if (reason := thishost.why_not()) is not None:
        raise HostRefused(reason)
    seed, port = parse_seed(seed), thishost.port(port)
    thishost.check(workload)
    check_limits(workload)
    schedule = workload.schedule(seed)
    with child("load generator", "iosim.host.load", thishost.cores()[0]) as load:
        connect(load, port, workload)
        patience_s = PATIENCE_NS / 1e9
        prepare(load, workload, schedule, False, patience_s)
        before_ns = _cpu_ns(pid)
        load.tell("go")
        load.hear(4 * float(schedule.intended_ns.max()) / 1e9 + patience_s + 60)
        after_ns = _cpu_ns(pid)
        sent = load.hear(20)
    records = np.zeros(workload.requests, RECORD)
    records["connection"] = sent["connection"]
    for name in RECORD.names or ():
        if name.endswith("_ns"):
            records[name] = np.array(sent.get(name, sent["sent_ns"])) - sent["begin_ns"][0]
    return Run(
        model=f"port {port}",
        kernel="real",
        seed=seed,
        records=records,
        tasks=() if pid is None else (TaskTimes("server", after_ns - before_ns, 0, 0),),
        syscalls={},
        empty_polls=0,
        context_switches=0,
        wakeups=0,
        drops=0,
        wait_for_data_ns=0,
        copy_data_ns=0,
        elapsed_ns=int(records["replied_ns"].max()),
        generator_ns=sent["busy_ns"][0],
        cores=1,
        wall_s=time.perf_counter() - began_s,
        provenance=provenance(workload=workload, seed=seed, host=thishost.facts()),
    )


def _cpu_ns(pid: int | None) -> int:
    """Processor time of a process so far, by its clock as clock_getcpuclockid(3) makes it."""
    if pid is None:
        return 0
    try:
        os.kill(pid, 0)
        return time.clock_gettime_ns((~pid << 3) | 2)
    except OSError as error:
        raise HostRefused(f"process {pid}: {error.strerror}; name the server's own") from None
