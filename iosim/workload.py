"""What the clients send: connections, arrivals, sizes and service times."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from numbers import Real
from typing import Annotated, Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, Field, model_validator

from iosim.checked import Checked
from iosim.draws import draw, draws
from iosim.errors import IosimError
from iosim.service import Service
from iosim.units import Bytes, Count, Nanoseconds, PerSecond, parse_count, parse_seed

STREAMS = ("arrivals", "connections", "service", "wakeups", "interference", "gil", "ticking")
"""The random streams of a run; each has a generator of its own, so that changing how much one of
them is used leaves the others as they were (common random numbers). A stream is known by its place
here: new ones come at the end. "ticking" is not drawn from any more."""


def _sequence(seed: int, name: str) -> np.random.SeedSequence:
    """What one of the `STREAMS` of a run with this seed begins with."""
    return np.random.SeedSequence(parse_seed(seed), spawn_key=(STREAMS.index(name),))


def stream(seed: int, name: str) -> np.random.Generator:
    """The generator of one of the `STREAMS`, for numbers that are drawn one after the other."""
    return np.random.default_rng(_sequence(seed, name))


def stream_key(seed: int, name: str) -> int:
    """The key of one of the `STREAMS`, for numbers that belong to something: `iosim.draws`."""
    return int(_sequence(seed, name).generate_state(1, np.uint64)[0])


PATIENCE_NS = 10_000_000_000
"""How long clients wait for a reply, beyond what all requests take to compute, when all is sent."""

ServiceOf = Callable[[int, int], int]
"""What the n-th request of a connection takes to compute, ns, from both numbers, which count from
0. Workload and seed tell it, so that it is the same under every model and on both kernels."""


@dataclass(frozen=True)
class Schedule:
    """The requests of one run, drawn from workload and seed; an item per request."""

    connection: npt.NDArray[np.int64]
    """Index of the connection that carries the request. In a closed loop it is so only if each
    connection has its share: else a connection that is free takes the next request."""
    intended_ns: npt.NDArray[np.int64]
    """When the request is due, from the start of the load; for a closed loop the think time
    before it."""
    service_ns: npt.NDArray[np.int64]
    """Computing that the request will need."""

    def first(self) -> dict[int, int]:
        """Number of the first request on each connection that carries any."""
        connections, numbers = np.unique(self.connection, return_index=True)
        return dict(zip(connections.tolist(), numbers.tolist(), strict=True))

    def following(self) -> npt.NDArray[np.int64]:
        """Number of the next request on the same connection, by request; -1 after the last."""
        order = np.argsort(self.connection, kind="stable")
        same = self.connection[order[1:]] == self.connection[order[:-1]]
        following = np.full(len(order), -1)
        following[order[:-1][same]] = order[1:][same]
        return following


def _active(value: Any) -> int | float | None:
    """A count, a share below 1, or None for all, from what people write."""
    if value is None:
        return None
    try:
        count = parse_count(value)
    except IosimError:
        share = _share(value)
        return None if share == 1 else share
    if count == 1 and "." in str(value):
        raise ValueError(f"{value!r} could be one connection or all of them: write 1 or 100%")
    return count


def _share(value: Any) -> float:
    """From `10%`, `0.1` or 0.1."""
    share = math.nan
    with suppress(ValueError):
        if isinstance(value, str):
            share = float(value[:-1]) / 100 if value.endswith("%") else float(value)
        elif isinstance(value, Real) and not isinstance(value, bool):
            share = float(value)
    if not 0 < share <= 1:
        raise ValueError(f"{value!r} is neither a count nor a share of all: write 100 or 10%")
    return share


class Workload(Checked):
    """A load on a server. Times in ns, sizes in bytes; strings with units are taken too."""

    connections: Annotated[Count, Field(gt=0)] = 64
    """Connections open throughout the run; of a program that does not accept them all at first,
    each hangs up after its last reply."""
    connect_gap_ns: Nanoseconds = 0
    """Pause before each connection is opened. They are opened one after the other anyway, when
    every thread of the server waits for them."""
    active: Annotated[int | float | None, BeforeValidator(_active)] = None
    """How many of the connections carry requests. A whole number is a count; "10%", or a number
    between 0 and 1, is a share; None, or "100%", is all. 1.0 is refused: it could be either."""
    arrivals: Literal["poisson", "even", "bursty", "closed"] = "poisson"
    """Open loop with exponential or constant gaps between requests, or with exponential gaps
    between bursts of `burst` requests that are due at once; or a closed loop: each active
    connection takes the next of all requests `think_ns` after the reply."""
    burst: Annotated[Count, Field(gt=0)] = 16
    """Requests in a burst; only with bursty arrivals."""
    rate_per_s: Annotated[PerSecond, Field(gt=0)] = 10_000.0
    """Offered requests per second over all connections; a closed loop ignores it."""
    think_ns: Nanoseconds = 0
    """Pause between reply and next request in a closed loop."""
    request_bytes: Annotated[Bytes, Field(gt=0)] = 64
    reply_bytes: Annotated[Bytes, Field(gt=0)] = 64
    service: Service = Service()
    """Computing per request, in user mode: a time that is the same for all ("50us"), or a
    distribution with its mean ("exponential(50us)")."""
    requests: Annotated[Count, Field(gt=0)] = 20_000
    """Requests in the run."""

    @model_validator(mode="after")
    def _check_active(self) -> Self:
        if not 1 <= self.active_connections <= self.connections:
            raise ValueError(
                f"active = {self.active} of {self.connections} connections: "
                "at least one and at most all connections can be active"
            )
        return self

    @property
    def active_connections(self) -> int:
        """How many connections carry requests."""
        if self.active is None:
            return self.connections
        if isinstance(self.active, float):
            return max(1, round(self.active * self.connections))
        return self.active

    def schedule(self, seed: int) -> Schedule:
        """Draw the requests. Active connections lie evenly spread among all."""
        active = np.arange(self.active_connections) * self.connections // self.active_connections
        which = stream(seed, "connections")
        if self.arrivals == "closed":
            connection = np.resize(active, self.requests)
            intended = np.full(self.requests, self.think_ns)
        else:
            connection = active[which.integers(len(active), size=self.requests)]
            burst = self.burst if self.arrivals == "bursty" else 1
            gap_ns, bursts = burst * 1e9 / self.rate_per_s, -(-self.requests // burst)
            if self.arrivals == "even":
                gaps = np.full(bursts, gap_ns)
            else:
                gaps = stream(seed, "arrivals").exponential(gap_ns, bursts)
            intended = np.repeat(np.cumsum(gaps), burst)[: self.requests]
        connection = connection.astype(np.int64)
        return Schedule(connection, intended.astype(np.int64), self._service_ns(seed, connection))

    @property
    def service_sum_ns(self) -> int:
        """What all requests take to compute, in the mean."""
        return self.requests * self.service.mean_ns

    def service_of(self, seed: int) -> ServiceOf:
        """What each request takes to compute."""
        service = self.service
        if service.distribution == "constant":
            return lambda connection, number: service.mean_ns
        key = stream_key(seed, "service")
        return lambda connection, number: service.drawn_ns(draw(draw(key, connection), number))

    def _service_ns(self, seed: int, connection: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """As `service_of`, of requests on these connections, in this order on each."""
        if self.service.distribution == "constant":
            return np.full(len(connection), self.service.mean_ns)
        keys = draws(stream_key(seed, "service"), connection)
        drawn = draws(keys, _numbers(connection)).tolist()
        return np.array([self.service.drawn_ns(bits) for bits in drawn], np.int64)


def _numbers(connection: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many requests come before each on its connection."""
    order = np.argsort(connection, kind="stable")
    first = np.flatnonzero(np.diff(connection[order], prepend=-1))
    counts = np.diff(first, append=len(order))
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order)) - np.repeat(first, counts)
    return numbers
