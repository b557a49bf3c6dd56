"""What a run leaves behind, simulated or real: one record per request and the totals."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from iosim.errors import IosimError
from iosim.files import content, replacing
from iosim.units import format_rate

if TYPE_CHECKING:
    import pandas as pd

RECORD = np.dtype(
    [
        (name, np.int64)
        for name in (
            "connection",
            "intended_ns",
            "sent_ns",
            "arrival_ns",
            "ready_ns",
            "noticed_ns",
            "copied_ns",
            "done_ns",
            "replied_ns",
        )
    ]
)
"""One request. Times count from the start of the load.

- `intended_ns`: when it was due, `sent_ns`: when the load generator began to send it;
- `arrival_ns`: its last byte is on the server's machine; `ready_ns`: readable on its socket. A real
  run cannot see either from user space: both are `sent_ns` there, since loopback does the receive
  work inside the send call;
- `noticed_ns`: the program learns of it (its readiness call, or its read, returns);
- `copied_ns`: the bytes are in the program's memory; `done_ns`: the reply is computed and send
  begins; `replied_ns`: the reply is at the client's socket (a real run takes the kernel's receive
  time stamp, SO_TIMESTAMPNS of socket(7)).
"""

PULSE = np.dtype([("at_ns", np.int64), ("took_ns", np.int64), ("server_ns", np.int64)])
"""A look at the server's core during a real run: when, from the start of the load; how long a short
piece of work took there, see `iosim.host.pulse`; and the server's processor time until then."""

_FORMAT = 3
_SEAL = b"iosim run %d sha256 %s"
"""The comment of a file's zip archive, with the digest of everything that comes before."""
_SEALED = re.compile(rb"iosim run ([0-9]{1,9}) sha256 [0-9a-f]{64}\Z")
_NO_COMMENT = b"\0\0"
"""The end of an archive without one: its length, see APPNOTE.TXT of zip, 4.3.16."""
_WAY_OUT = "make the run again with --out"


@dataclass(frozen=True)
class TaskTimes:
    """Where one thread of the server spent the run, ns."""

    name: str
    running_ns: int
    runnable_ns: int
    sleeping_ns: int
    helper: bool = False
    """The thread belongs to the C library or the kernel, not to the program."""
    requests: int = 0
    """Requests that it has taken."""
    connections: int = 0
    """Connections that it has accepted, those before the load included."""


@dataclass(frozen=True)
class CoreTimes:
    """Where one core of the server spent the run, ns; the sum is the elapsed time."""

    user_ns: int
    system_ns: int
    softirq_ns: int
    switch_ns: int
    """From one thread to another, or out of idling into a thread."""
    stolen_ns: int
    idle_ns: int


@dataclass(frozen=True)
class Run:
    """The outcome of one run. Real and simulated runs have the same shape."""

    model: str
    kernel: Literal["simulated", "real"]
    seed: int
    records: npt.NDArray[np.void]
    """Array of `RECORD`, in the order in which the requests were due."""
    tasks: tuple[TaskTimes, ...]
    syscalls: Mapping[str, int]
    """Calls by name, of those that were made."""
    empty_polls: int
    """Calls that found nothing (EAGAIN)."""
    context_switches: int
    wakeups: int
    """Times a sleeping thread was woken; on a real host, voluntary context switches."""
    drops: int
    """Packets that found the ring of the simulated network card full; they were sent again, so
    that no request is ever lost. 0 on loopback and in a real run."""
    wait_for_data_ns: int
    """Time the program's threads were asleep inside calls that wait for data (phase 1)."""
    copy_data_ns: int
    """Time the program's threads were inside reads that copy received data (phase 2); in a real run
    a recv that slept also counts the processor time of its own waking up. What the kernel copies
    for a ring is not among it, even if it does so on a thread of the program: see
    `iosim.models.stevens.NOT_BLOCKED`."""
    elapsed_ns: int
    """From the start of the load to the last reply."""
    cores: int
    """Cores that the server could use."""
    wall_s: float
    """How long the run took to make."""
    events: int | None = None
    """SimPy events of a simulated run."""
    core_times: tuple[CoreTimes, ...] = ()
    """One for each core of a simulated run."""
    memory_bytes: Mapping[str, int] | None = None
    """The most memory that a simulated server took at any one time: of its threads, sockets,
    epoll items and poll entries, and their total. None for a real run."""
    generator_ns: int | None = None
    """For how long the load generator was sending requests and taking replies; None if it is many
    machines, behind a network card."""
    pulses: npt.NDArray[np.void] = field(default_factory=lambda: np.zeros(0, PULSE))
    """Array of `PULSE` of a real run, from its first reply on, some milliseconds apart."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What it takes to make the run again: versions, workload, machine, cost profile, host."""

    @property
    def latency_ns(self) -> npt.NDArray[np.int64]:
        """Reply time minus intended send time per request, so that a late sender hides nothing."""
        latency: npt.NDArray[np.int64] = self.records["replied_ns"] - self.records["intended_ns"]
        return latency

    @property
    def cpu_ns(self) -> int:
        """Processor time of all the server's threads."""
        return sum(task.running_ns for task in self.tasks)

    @property
    def workers(self) -> tuple[TaskTimes, ...]:
        """The threads among which a program of several `workers` shares out its connections; of a
        program of the user's those that have taken requests. Empty if there is only one."""
        threads = [task for task in self.tasks if not task.helper]
        model = self.provenance.get("model")
        if isinstance(model, Mapping):
            workers = threads[: model.get("workers", 1)]
        else:
            workers = [thread for thread in threads if thread.requests]
        return tuple(workers) if len(workers) > 1 else ()

    @property
    def generator(self) -> dict[str, Any] | None:
        """How busy the load generator was, and whether it was the limit; None if it is no single
        thread, behind a network card.

        In an open loop it is saturated if it sends less than 95 % of what is offered and is busy
        for 90 % of the time until the last request is sent; in a closed loop if it is busy for 95 %
        of the run.
        """
        if self.generator_ns is None:
            return None
        about: dict[str, Any] = {"busy": self.generator_ns / self.elapsed_ns}
        if self.provenance.get("workload", {}).get("arrivals") == "closed":
            return about | {"saturated": about["busy"] >= 0.95}
        gaps = len(self.records) - 1
        took_ns, offered_ns = (
            int(np.ptp(self.records[name])) for name in ("sent_ns", "intended_ns")
        )
        if not (gaps and took_ns and offered_ns):
            return about | {"saturated": False}
        busy = self.generator_ns >= 0.9 * int(self.records["sent_ns"].max())
        return about | {
            "saturated": busy and took_ns > offered_ns / 0.95,
            "sent_per_s": gaps / took_ns * 1e9,
            "offered_per_s": gaps / offered_ns * 1e9,
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What keeps the figures from meaning what they seem to."""
        found = []
        generator = self.generator
        if generator is not None and generator["saturated"]:
            said = f"it is busy for {generator['busy']:.0%} of the time"
            if "sent_per_s" in generator:
                sent, offered = (
                    format_rate(generator[name]).removesuffix("/s")
                    for name in ("sent_per_s", "offered_per_s")
                )
                said = f"it sends {sent} of {offered} requests/s offered"
            found.append(f"the load generator is saturated: {said}")
        if self.workers:
            busiest = max(self.workers, key=lambda worker: worker.requests)
            mean = sum(worker.requests for worker in self.workers) / len(self.workers)
            if busiest.requests > 2 * mean:
                found.append(
                    f"the workers' shares are uneven: {busiest.name!r} takes "
                    f"{busiest.requests / len(self.records):.0%} of the requests, "
                    f"{busiest.requests / mean:.1f} times the mean of {len(self.workers)}"
                )
        return tuple(found)

    def summary(self) -> dict[str, Any]:
        """The figures of the run, as `iosim simulate --json` prints them."""
        requests = len(self.records)
        latency = self.latency_ns
        quantiles = np.quantile(latency, [0.5, 0.9, 0.99, 0.999])
        lateness = self.records["sent_ns"] - self.records["intended_ns"]
        summary = {
            "model": self.model,
            "kernel": self.kernel,
            "seed": self.seed,
            "requests": requests,
            "throughput_per_s": requests / self.elapsed_ns * 1e9,
            "latency_ns": {"mean": float(latency.mean())}
            | dict(zip(("p50", "p90", "p99", "p999"), map(float, quantiles), strict=True)),
            "cpu_ns_per_request": self.cpu_ns / requests,
            "utilisation": self.cpu_ns / (self.elapsed_ns * self.cores),
            "syscalls_per_request": sum(self.syscalls.values()) / requests,
            "empty_polls": self.empty_polls,
            "context_switches": self.context_switches,
            "wakeups": self.wakeups,
            "drops": self.drops,
            "blocked_ns": {
                "wait_for_data": self.wait_for_data_ns / requests,
                "copy_data": self.copy_data_ns / requests,
            },
            "lateness_ns": dict(
                zip(("p50", "p99"), map(float, np.quantile(lateness, [0.5, 0.99])), strict=True)
            ),
            "wall_s": self.wall_s,
            "warnings": list(self.warnings),
        }
        if (generator := self.generator) is not None:
            summary["load_generator"] = generator
        if self.workers:
            summary["workers"] = [
                {
                    "name": worker.name,
                    "requests": worker.requests,
                    "connections": worker.connections,
                    "cpu_ns": worker.running_ns,
                }
                for worker in self.workers
            ]
        if self.core_times:
            summary["cores"] = [asdict(core) for core in self.core_times]
        if self.events is not None:
            summary["events_per_request"] = self.events / requests
        if self.memory_bytes is not None:
            summary["memory_bytes"] = dict(self.memory_bytes)
        return summary

    def frame(self) -> pd.DataFrame:
        """The records as a pandas DataFrame with a column `latency_ns` added."""
        import pandas as pd

        frame = pd.DataFrame(self.records)
        frame["latency_ns"] = self.latency_ns
        return frame

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one file (NumPy .npz); an existing one is replaced whole."""
        about = asdict(self)
        del about["records"], about["pulses"]
        archive = io.BytesIO()
        np.savez_compressed(
            archive, records=self.records, pulses=self.pulses, about=np.array(json.dumps(about))
        )
        with replacing(path) as temporary:
            temporary.write_bytes(_sealed(archive.getvalue()))
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Run:
        """Read what `save` wrote; raises IosimError for anything else."""
        try:
            sealed = content(path)
        except OSError as error:
            raise IosimError(f"cannot read run {path}: {error.strerror}; {_WAY_OUT}") from None
        _check_seal(sealed, path)
        try:
            with np.load(io.BytesIO(sealed), allow_pickle=False) as archive:
                about = json.loads(str(archive["about"]))
                about["tasks"] = tuple(TaskTimes(**task) for task in about["tasks"])
                about["core_times"] = tuple(CoreTimes(**core) for core in about["core_times"])
                return cls(records=archive["records"], pulses=archive["pulses"], **about)
        except (LookupError, TypeError, ValueError) as error:
            raise IosimError(
                f"{path} was saved by another version of iosim ({error}); {_WAY_OUT}"
            ) from None


def _sealed(archive: bytes) -> bytes:
    """A zip archive with a seal as its comment, over every byte before the length of that."""
    unsealed = archive[: -len(_NO_COMMENT)]
    seal = _SEAL % (_FORMAT, hashlib.sha256(unsealed).hexdigest().encode())
    return unsealed + len(seal).to_bytes(2, "little") + seal


def _check_seal(sealed: bytes, path: str | os.PathLike[str]) -> None:
    """Raise IosimError unless a file is as it was saved, to the last byte, in this format.

    It is checked before anything is made of the content: readers of archives and arrays fail in
    countless ways on damaged ones, and some damage they do not see.
    """
    found = _SEALED.search(sealed, max(0, len(sealed) - 99))
    if found is not None and int(found[1]) != _FORMAT:
        raise IosimError(
            f"{path} has run format {int(found[1])}, this iosim reads {_FORMAT}: {_WAY_OUT}"
        )
    if found is None or _sealed(sealed[: found.start() - 2] + _NO_COMMENT) != sealed:
        raise IosimError(
            f"{path} is not a saved run of format {_FORMAT}, or it was damaged or changed: its "
            f"checksum {'is missing' if found is None else 'does not match'}; {_WAY_OUT}"
        )
