"""Engines on clusters: Dask and Ray. Both are extras, and import slowly.

Whether a cluster is there is found out before its engine is entered, so that whoever wants to run
something on it can ask first.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from typing import Any, TypeVar

from iosim.errors import HostRefused, IosimError
from iosim.host.reach import why_unreachable
from iosim.sweep.engines import Engine

_T = TypeVar("_T")

_PATIENCE_S = 5
"""How long a cluster may take to be connected to."""
_ANSWER_S = 15
"""How long it may take to answer, with the time that a new process needs to import its library."""

_DASK_CHECK = "is `dask scheduler` running there, and is the address the one it prints?"
_RAY_CHECK = "is `ray start --head` running there, and is the address the one it prints?"

_DASK = "import sys, distributed; distributed.Client(sys.argv[1], timeout=5).close()"
_RAY = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"


def dask(address: str) -> AbstractContextManager[Engine]:
    """The workers of a Dask scheduler, such as `tcp://10.0.0.1:8786`.

    Raises IosimError without Dask, and HostRefused if the scheduler does not answer within seconds
    or, once it is entered, has no workers.
    """
    if find_spec("distributed") is None:
        raise IosimError("--dask needs Dask: install it by `pip install 'iosim[dask]'`")
    _reach(address, "Dask scheduler", _DASK_CHECK, _DASK)
    return _on_dask(address)


@contextmanager
def _on_dask(address: str) -> Iterator[Engine]:
    from distributed import Client, KilledWorker

    try:
        client = Client(address, timeout=_PATIENCE_S, set_as_default=False)
    except OSError as error:
        raise HostRefused(
            f"no Dask scheduler answers at {address} ({error}): {_DASK_CHECK}"
        ) from None
    with client:
        slots = sum(client.nthreads().values())
        if not slots:
            raise HostRefused(
                f"the Dask scheduler at {address} has no workers: start `dask worker {address}`"
            )
        # The scheduler runs the calls of a worker that dies again, as often as its
        # allowed-failures say.
        executor = client.get_executor(pure=False)
        yield Engine(executor, slots, (BrokenExecutor, KilledWorker))


def ray(address: str) -> AbstractContextManager[Engine]:
    """The nodes of a Ray cluster, such as `10.0.0.1:6379`; this host must be one of them.

    Raises IosimError without Ray, and HostRefused if the cluster does not answer within seconds
    or, once it is entered, does not take us.
    """
    if find_spec("ray") is None:
        raise IosimError("--ray needs Ray: install it by `pip install 'iosim[ray]'`")
    if address.startswith("ray://"):
        raise IosimError(
            f"{address}: run this on a node of the cluster, and give --ray its HOST:6379; the Ray "
            "Client of ray:// is not supported"
        )
    _reach(address, "Ray cluster", _RAY_CHECK, _RAY)
    return _on_ray(address)


@contextmanager
def _on_ray(address: str) -> Iterator[Engine]:
    import ray

    try:
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
    except (OSError, RuntimeError, ValueError) as error:
        raise HostRefused(f"no Ray cluster takes us at {address}: {error}") from None
    try:
        slots = int(ray.cluster_resources().get("CPU", 0))
        if not slots:
            raise HostRefused(f"the Ray cluster at {address} has no CPUs: add a node that has some")
        exceptions = ray.exceptions
        lost = exceptions.WorkerCrashedError, exceptions.OutOfMemoryError, exceptions.NodeDiedError
        yield Engine(_Ray(ray), slots, lost)
    finally:
        ray.shutdown()


def _reach(address: str, what: str, check: str, connect: str) -> None:
    """Fail within seconds where the libraries would try for minutes, or for ever: what they do is
    done in another process first, which can be given up."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdigit():
        raise IosimError(f"{address!r} is not the address of a {what}: write HOST:PORT")
    reason = why_unreachable(host.strip("[]"), int(port), _PATIENCE_S)
    if reason is None:
        command = (sys.executable, "-c", connect, address)
        try:
            done = subprocess.run(command, capture_output=True, timeout=_ANSWER_S, check=False)
            reason = "something else listens there" if done.returncode else None
        except subprocess.TimeoutExpired:
            reason = "what listens there does not answer"
    if reason is not None:
        raise HostRefused(
            f"no {what} answers at {address} ({reason}): {check} Does a firewall lie between?"
        )


class _Ray(Executor):
    """Each call is a task. One whose worker dies is not run again: that is for the driver."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._tasks: dict[Callable[..., Any], Any] = {}

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        if fn not in self._tasks:
            self._tasks[fn] = self._ray.remote(max_retries=0, num_cpus=1)(fn)
        future: Future[_T] = self._tasks[fn].remote(*args, **kwargs).future()
        return future
