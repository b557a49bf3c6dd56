"""What the kernel's actions cost: the profile file, and the prices the simulated kernel charges."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from iosim.caches import CONNECTION_BYTES, NO_MISSES, SCAN_BYTES, THREAD_BYTES, Caches
from iosim.checked import explain
from iosim.errors import IosimError, did_you_mean
from iosim.files import replacing, text
from iosim.machine import Interference, Machine, time_slice_ns

SCHEMA = 1

_FOLDER = resources.files("iosim") / "profiles"
SHIPPED = tuple(sorted(file.name.removesuffix(".json") for file in _FOLDER.iterdir()))
"""The profiles that come with iosim, by name."""

REGISTERED: dict[str, Callable[[], CostProfile]] = {}
"""Further profiles by name: whoever measures one registers it here, as `iosim.calibrate` does that
of this host."""

Source = Literal["measured", "literature", "assumed"]


def _price(about: str, *, call: bool = True) -> Any:
    return field(metadata={"about": about, "call": call})


@dataclass(frozen=True, slots=True)
class Prices:
    """Every scalar cost by name, with its unit: whole ns or bytes, but rates are exact.

    A price marked as a call is charged once per call and includes the runtime's share, `user_ns`.
    """

    user_ns: int = _price("what the language running the program adds to each call", call=False)
    syscall_ns: int = _price("a system call that does nothing (getppid)")
    accept_ns: int = _price("accept4 of a waiting connection")
    close_ns: int = _price("close of a connection whose peer hung up")
    recv_ns: int = _price("recv of data that is there, without the copy")
    eagain_ns: int = _price("recv or accept that returns EAGAIN")
    request_ns: int = _price("framing of one request and the program's own steps", call=False)
    send_ns: int = _price("send, with the receive work that loopback does inside it")
    copy_ns_per_byte: float = _price("copy between kernel and user, each way", call=False)
    copy_miss_ns_per_byte: float = _price(
        "copy: extra for a byte that comes from L3 instead of L2", call=False
    )
    connection_miss_ns: int = _price(
        "request on a connection whose data comes from L3 instead of L2: extra", call=False
    )
    connection_far_ns: int = _price(
        "request on a connection whose data comes from memory instead of L3: extra", call=False
    )
    delivery_ns: int = _price("from the start of a loopback send to data on the socket", call=False)
    reply_ns: int = _price("from the start of a loopback send to data at the client", call=False)
    select_ns: int = _price("select that finds one descriptor, without the scan")
    select_fd_ns: float = _price("select: scan of one idle descriptor", call=False)
    select_number_ns: float = _price(
        "select: one number up to the highest descriptor, watched or not", call=False
    )
    poll_ns: int = _price("poll that finds one descriptor, without the scan")
    poll_fd_ns: float = _price("poll: scan of one idle descriptor", call=False)
    scan_join_fd_ns: float = _price(
        "select or poll: joining the wait queue of a descriptor before the first ready", call=False
    )
    scan_leave_fd_ns: float = _price(
        "select or poll: leaving the wait queue of a descriptor at the end", call=False
    )
    fd_miss_ns: float = _price(
        "scan of one descriptor: extra when what it needs comes from L3 instead of L2", call=False
    )
    epoll_wait_ns: int = _price("epoll_wait, without its events")
    epoll_event_ns: int = _price("epoll_wait: one event reported", call=False)
    epoll_ctl_ns: int = _price("epoll_ctl")
    fcntl_ns: int = _price("fcntl that sets a flag, an owner or a signal")
    sigprocmask_ns: int = _price("pthread_sigmask, without handlers that it lets run")
    sigsuspend_ns: int = _price("sigsuspend with the handler it lets run")
    signal_handler_ns: int = _price(
        "signal handler that interrupts: delivery, an empty handler and sigreturn", call=False
    )
    sigwaitinfo_ns: int = _price("sigwaitinfo that takes a pending signal")
    signalfd_ns: int = _price("read of a signalfd that takes one pending signal")
    signalfd_event_ns: int = _price(
        "read of a signalfd: each further signal that it takes", call=False
    )
    uring_enter_ns: int = _price("io_uring_enter, without its entries")
    uring_reap_ns: int = _price(
        "io_uring_enter that returns completions, however many: extra", call=False
    )
    uring_wait_ns: int = _price(
        "io_uring_enter that has slept: extra beyond what epoll_wait takes", call=False
    )
    uring_prep_ns: int = _price("one submission filled in by the program", call=False)
    uring_sqe_ns: int = _price(
        "one submission that must wait for data: its arming, in the kernel", call=False
    )
    uring_recv_ns: int = _price("one receive completed by the ring, without the copy", call=False)
    uring_send_ns: int = _price("one send carried out by the ring, without the copy", call=False)
    uring_multishot_ns: int = _price(
        "one more completion of a multishot request, without the copy", call=False
    )
    uring_buffer_ns: int = _price("a provided buffer given back to its ring")
    uring_peek_ns: int = _price("submit to and look at a ring of SQPOLL without a system call")
    sqpoll_look_ns: int = _price(
        "until the awake kernel thread of SQPOLL sees what is submitted", call=False
    )
    aio_read_ns: int = _price("aio_read: hand a read to the C library")
    aio_return_ns: int = _price("aio_return")
    aio_take_ns: int = _price(
        "helper thread: one read taken up, until it has data or must wait", call=False
    )
    aio_helper_ns: int = _price(
        "helper thread: the end of a read and its signal, until the next is taken up", call=False
    )
    nanosleep_ns: int = _price("clock_nanosleep, without the sleep")
    timer_slack_ns: int = _price("how late a timer wakes its sleeper, prctl(2)", call=False)
    thread_create_ns: int = _price("pthread_create")
    queue_put_ns: int = _price("hand an item to another thread")
    queue_get_ns: int = _price("take an item that is there")
    queue_wait_ns: int = _price(
        "take an item that is not there yet: extra for the calls to sleep and to be woken",
        call=False,
    )
    thread_miss_ns: int = _price(
        "thread woken whose memory comes from L3 instead of L2: extra", call=False
    )
    thread_far_ns: int = _price("thread woken whose memory is not in L3 either: extra", call=False)
    context_switch_ns: int = _price("from one thread to another on a core", call=False)
    gil_handoff_ns: int = _price(
        "CPython's global interpreter lock passed on to a thread that waits for it", call=False
    )
    irq_ns: int = _price("hardware interrupt of a network card", call=False)
    softirq_ns_per_packet: int = _price(
        "receive work for one packet from a network card", call=False
    )
    client_connect_ns: int = _price(
        "load generator: one connection opened, until the next", call=False
    )
    client_send_ns: int = _price("load generator: one request sent", call=False)
    client_wake_ns: int = _price(
        "load generator: extra for a send that wakes an idle core", call=False
    )
    client_turn_ns: int = _price(
        "load generator: a reply taken, from when it is at its socket", call=False
    )
    thread_bytes: int = _price("memory of one thread: kernel stack, touched user stack", call=False)
    socket_bytes: int = _price("memory of one connection with empty buffers", call=False)
    epoll_item_bytes: int = _price("memory of one descriptor on an interest list", call=False)
    poll_entry_bytes: int = _price(
        "memory of one descriptor that select or poll watches", call=False
    )
    caches: Caches = NO_MISSES

    def copy_ns(self, nbytes: int) -> float:
        """A copy of so many bytes, which go through the caches twice: where from and where to."""
        if 2 * nbytes <= self.caches.l2_bytes:
            return nbytes * self.copy_ns_per_byte
        miss_ns = self.copy_miss_ns_per_byte * self.caches.steps(2 * nbytes)
        return nbytes * (self.copy_ns_per_byte + miss_ns)

    def scan_miss_ns(self, fds: int) -> float:
        """What a scan of so many descriptors takes longer than if all of them stayed in L2."""
        if fds * SCAN_BYTES <= self.caches.l2_bytes:
            return 0.0
        return fds * self.fd_miss_ns * self.caches.steps(fds * SCAN_BYTES)

    def request_miss_ns(self, connections: int) -> int:
        """What a request takes longer after others on so many connections."""
        beyond_l2, beyond_l3 = self.caches.beyond(connections * CONNECTION_BYTES)
        return round(self.connection_miss_ns * beyond_l2 + self.connection_far_ns * beyond_l3)

    def wakeup_miss_ns(self, threads: int) -> int:
        """What a thread that is woken takes longer after so many others have run."""
        beyond_l2, beyond_l3 = self.caches.beyond(threads * THREAD_BYTES)
        return round(self.thread_miss_ns * beyond_l2 + self.thread_far_ns * beyond_l3)


_COSTS = [f for f in fields(Prices) if f.name != "caches"]
CALLS = frozenset(f.name for f in _COSTS if f.metadata["call"])
RATES = frozenset(f.name for f in _COSTS if f.type == "float")
ABOUT: Mapping[str, str] = {f.name: f.metadata["about"] for f in _COSTS}
"""What each cost means, by name."""

_FAMILIES = {
    "user_ns": "calls on sockets",
    "select_ns": "select, poll and epoll",
    "fcntl_ns": "signals",
    "uring_enter_ns": "io_uring",
    "aio_read_ns": "AIO",
    "nanosleep_ns": "threads and sleep",
    "irq_ns": "network card",
    "client_connect_ns": "load generator",
    "thread_bytes": "memory",
}
"""By the first cost of each."""


def _families() -> dict[str, list[str]]:
    families: dict[str, list[str]] = {}
    for name in ABOUT:
        if name in _FAMILIES:
            family = families[_FAMILIES[name]] = []
        family.append(name)
    return families


FAMILIES: Mapping[str, Sequence[str]] = _families()
"""The names of the costs, by what they belong to."""


def unit(name: str) -> str:
    """What a cost is counted in: `ns`, `ns/byte`, `ns/packet` or `bytes`."""
    return "bytes" if name.endswith("_bytes") else "/".join(["ns", *name.split("_ns_per_")[1:]])


_NEEDED_BY = {
    "select": "select",
    "poll_fd": "poll",
    "poll_entry": "select and poll",
    "scan_join": "select and poll",
    "scan_leave": "select and poll",
    "fd_miss": "select and poll",
    "epoll": "epoll and epoll-et",
    "fcntl": "programs that set nonblocking or O_ASYNC",
    "sigprocmask": "sigio, rtsig and aio",
    "sigsuspend": "sigio",
    "signal_handler": "programs with signal handlers",
    "sigwaitinfo": "rtsig and aio",
    "signalfd": "programs that read signalfds",
    "uring": "io_uring and its variants",
    "sqpoll": "io_uring-sqpoll",
    "aio": "aio",
    "nanosleep": "nonblocking-sleep",
    "timer_slack": "nonblocking-sleep",
    "thread": "blocking, blocking-pool and aio",
    "queue": "programs with queues",
    "gil": "profiles of the runtime python",
    "syscall": "programs that call getppid",
    "irq": "machines with a network card",
    "softirq": "machines with a network card",
}
"""By the beginning of a cost's name."""


def needed_by(name: str) -> str:
    """Which models, or what else, cannot be simulated without a cost."""
    users = (users for start, users in _NEEDED_BY.items() if name.startswith(start))
    return next(users, "every model")


MOST_STEPS = 1_000
"""Memory is at most so many times as far from L3 as L3 is from L2."""
MOST = 1e12
Amount = Annotated[float, Field(ge=0, le=MOST, allow_inf_nan=False)]
"""ns or bytes: what a kernel does takes less than a quarter of an hour, or a terabyte."""


def _rising(ends: tuple[float, float]) -> tuple[float, float]:
    if not ends[0] <= ends[1]:
        raise ValueError("its lower end must not be above its upper end")
    return ends


_Finite = Annotated[float, Field(allow_inf_nan=False)]
Range = Annotated[tuple[_Finite, _Finite], AfterValidator(_rising)]


class Cost(BaseModel):
    """One value of a profile, where it comes from, and the range it was seen in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: Amount
    source: Source
    spread: Range | None = None
    """Lower and upper quartile of the measurements."""
    interval: Range | None = None
    """95 % confidence interval of the fit."""
    identified: bool = True
    """Whether the measurements tell it at all; if not, it is what was assumed beforehand."""
    note: str = ""


_FACTS: Mapping[str, type] = {
    "cpu": str,
    "architecture": str,
    "cores": int,
    "l1d_bytes": int,
    "l2_bytes": int,
    "l3_bytes": int,
    "kernel": str,
    "tick_ns": int,
    "virtualised": bool,
    "mitigations": str,
    "python": str,
}
"""What is computed or shown of a host, and its type; each may be unknown (None). What else is told
of it is a size or a time if its name ends so."""

Fact = str | int | _Finite | bool | None


def _sound(host: dict[str, Fact]) -> dict[str, Fact]:
    for name, fact in host.items():
        kind = _FACTS.get(name, int if name.endswith(("_bytes", "_ns")) else type(fact))
        if fact is None:
            continue
        if type(fact) is not kind:
            raise ValueError(f"{name} = {fact!r} must be {kind.__name__}")
        least = 0 if name == "l3_bytes" else 1  # a core may have no such cache
        if isinstance(fact, int) and kind is int and not least <= fact <= MOST:
            raise ValueError(f"{name} = {fact} must be from {least} to {MOST:g}")
    return host


Host = Annotated[dict[str, Fact], AfterValidator(_sound)]


def caches_of(host: Mapping[str, Any]) -> Caches:
    """The caches that a host's facts tell of, or endless ones if they do not."""
    l2_bytes, l3_bytes = (host.get(name) for name in ("l2_bytes", "l3_bytes"))
    if not (isinstance(l2_bytes, int) and l2_bytes > 0):
        return NO_MISSES
    return Caches(l2_bytes, l3_bytes if isinstance(l3_bytes, int) else 0)


class WakeUp(BaseModel):
    """How long a sleeping thread takes to run again on a core that has idled for `idle_ns`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    idle_ns: Annotated[int, Field(ge=0, le=MOST)]
    latency_ns: Annotated[list[Amount], Field(min_length=1)]
    """Quantiles at equal steps of probability: of n values the k-th is that of (k + 1/2) / n."""
    cpu_ns: Amount
    """Processor time that going to sleep and waking up again add to the work itself."""
    cold_ns: Amount = 0
    """The part of it that falls into the work: what the program does first after the pause takes
    longer, since caches and branch predictors have forgotten it."""

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        if sorted(self.latency_ns) != self.latency_ns:
            raise ValueError("latency_ns: quantiles must rise")
        return self

    def quantiles_ns(
        self, probability: Sequence[float] | npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Of the latency: linear between those known, flat beyond the outermost."""
        at = (np.arange(len(self.latency_ns)) + 0.5) / len(self.latency_ns)
        quantiles: npt.NDArray[np.float64] = np.interp(probability, at, self.latency_ns)
        return quantiles

    def summary(self) -> dict[str, float]:
        """Some quantiles of the latency, and the processor time, ns."""
        p10_ns, p50_ns, p90_ns = self.quantiles_ns([0.1, 0.5, 0.9]).tolist()
        return {
            "p10_ns": p10_ns,
            "p50_ns": p50_ns,
            "p90_ns": p90_ns,
            "cpu_ns": self.cpu_ns,
            "cold_ns": self.cold_ns,
        }


def wakeup_after(rows: Sequence[WakeUp], idle_ns: float) -> WakeUp:
    """The wake-up after an idle time between those of the rows: each of its figures is linear in
    the idle time, and as in the nearest row beyond the outermost."""
    at = [row.idle_ns for row in rows]
    most = max(len(row.latency_ns) for row in rows)
    latency_ns = np.array([row.quantiles_ns((np.arange(most) + 0.5) / most) for row in rows])
    return WakeUp(
        idle_ns=round(idle_ns),
        latency_ns=sorted(float(np.interp(idle_ns, at, column)) for column in latency_ns.T),
        cpu_ns=float(np.interp(idle_ns, at, [row.cpu_ns for row in rows])),
        cold_ns=float(np.interp(idle_ns, at, [row.cold_ns for row in rows])),
    )


class CostProfile(BaseModel):
    """All costs of one host under one runtime."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA
    name: str
    runtime: Literal["native", "python"]
    date: str | None = None
    """When it was measured, ISO 8601."""
    host: Host = {}
    """Facts of the host it was measured on; in a profile from literature, of the CPU whose caches
    it takes."""
    costs: dict[str, Cost]
    wakeup: Annotated[list[WakeUp], Field(min_length=1)]
    """By rising idle time."""
    wakeup_ticking: list[WakeUp] = []
    """The same while the tick of the idle core goes on, see `iosim.sim.ticks`; empty if that was
    not measured, and then it makes no difference."""
    wakeup_source: Source
    l3_bytes: Annotated[int, Field(gt=0, le=MOST)] | None = None
    """What a core really has of the third-level cache: the rest is for other cores and machines.
    None if that was not measured; then it has all that the host tells of."""
    memory_steps: Annotated[float, Field(ge=0, le=MOST_STEPS)] | None = None
    """The step from there to memory over that from L2, see `iosim.caches`."""
    pulse_ns: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """How long a pulse took at full speed, see `iosim.calm`; None if that was not measured."""
    interference: Interference | None = None
    """Time that others took from the core where it was measured; for `Machine`."""
    warnings: list[str] = []
    """What speaks against the measurements."""

    @property
    def gil(self) -> bool:
        """Whether the runtime lets one thread at a time run the program's own code."""
        return self.runtime == "python"

    @property
    def measured(self) -> bool:
        """Whether it comes from a host, not from literature alone."""
        return any(cost.source == "measured" for cost in self.costs.values())

    def machine(self) -> Machine:
        """One core of its host, with its ticks and time slices, and with what others take of it."""
        cores, tick_ns = self.host.get("cores"), self.host.get("tick_ns")
        if not (isinstance(cores, int) and isinstance(tick_ns, int)):
            return Machine(interference=self.interference)
        return Machine(
            time_slice_ns=time_slice_ns(cores, tick_ns),
            tick_ns=tick_ns,
            interference=self.interference,
        )

    @property
    def caches(self) -> Caches:
        """The caches of its host, or endless ones if that did not say."""
        told = caches_of(self.host)
        if self.l3_bytes is None or self.memory_steps is None:
            return told
        return Caches(told.l2_bytes, self.l3_bytes, self.memory_steps)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if missing := [name for name in ABOUT if name not in self.costs]:
            needed = (f"{name} (for {needed_by(name)})" for name in missing)
            raise ValueError(f"missing costs: {', '.join(needed)}")
        if unknown := [name for name in self.costs if name not in ABOUT]:
            raise ValueError(f"unknown costs: {', '.join(unknown)}")
        for name in ("wakeup", "wakeup_ticking"):
            idle = [row.idle_ns for row in getattr(self, name)]
            if sorted(set(idle)) != idle:
                raise ValueError(f"{name}: idle_ns must rise from row to row")
        return self

    def prices(self) -> Prices:
        """The costs as numbers, the runtime's share added to each call."""
        user_ns = self.costs["user_ns"].value
        values: dict[str, Any] = {}
        for name, cost in self.costs.items():
            value = cost.value + (user_ns if name in CALLS else 0)
            values[name] = value if name in RATES else round(value)
        if not values["eagain_ns"]:
            raise IosimError(
                f"cost profile {self.name!r}: eagain_ns must be at least 1 ns, or a program that "
                "polls would never let time pass"
            )
        return Prices(**values, caches=self.caches)

    def scaled(self, **factors: float) -> CostProfile:
        """A copy with the named costs multiplied, their source marked as assumed.

        Raises IosimError for what is no cost, and for what is none any more once it is multiplied.
        """
        costs = dict(self.costs)
        for name, factor in factors.items():
            if name not in costs:
                raise IosimError(f"unknown cost {name!r}: choose one of {', '.join(costs)}")
            old = costs[name]
            if isinstance(factor, bool) or not isinstance(factor, int | float):
                raise IosimError(f"{name} x {factor!r}: a cost is multiplied by a number")
            if not 0 <= old.value * factor <= MOST:
                raise IosimError(
                    f"{name} of {old.value:g} x {factor:g} = {old.value * factor:g}: a cost lies "
                    f"between 0 and {MOST:g} {unit(name)}; multiply it by less"
                )
            costs[name] = Cost(
                value=old.value * factor, source="assumed", note=f"{factor} x {old.source}"
            )
        return self.model_copy(update={"costs": costs, "name": f"{self.name}, scaled"})

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the profile as JSON; an existing file is replaced whole."""
        path = Path(path)
        with replacing(path, make_folder=True) as temporary:
            temporary.write_text(json.dumps(self.model_dump(), indent=2) + "\n")
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> CostProfile:
        """Read a profile; raises IosimError that says what is wrong with the file."""
        way_out = "calibrate again or name another file with --profile"
        try:
            data = json.loads(text(path))
        except OSError as error:
            raise IosimError(f"cannot read cost profile {path}: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise IosimError(f"cost profile {path} is damaged ({error}); {way_out}") from None
        if isinstance(data, dict) and data.get("schema_version", SCHEMA) != SCHEMA:
            raise IosimError(
                f"cost profile {path} has schema version {data['schema_version']}, "
                f"this iosim reads {SCHEMA}; {way_out}"
            )
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise IosimError(f"cost profile {path}: {explain(error)}; {way_out}") from None
        except RecursionError:
            raise IosimError(f"cost profile {path} is damaged (it nests); {way_out}") from None

    @classmethod
    def named(cls, name: str) -> CostProfile:
        """The profile that a user names: one that comes with iosim, "host" for this host's own, or
        a file that ends in .json. Raises IosimError if there is none."""
        if isinstance(name, str) and name in REGISTERED:
            return REGISTERED[name]()
        return cls.load(name) if str(name).endswith(".json") else cls.shipped(name)

    @classmethod
    def shipped(cls, name: str) -> CostProfile:
        """A profile that comes with iosim: "native" or "python"."""
        if name not in SHIPPED:
            raise IosimError(
                f"unknown cost profile {name!r}{did_you_mean(str(name), ('host', *SHIPPED))}: "
                f"shipped are {', '.join(SHIPPED)}; `host` is this host's own, and the name of a "
                "file ends in .json"
            )
        with resources.as_file(_FOLDER / f"{name}.json") as path:
            return cls.load(path)
