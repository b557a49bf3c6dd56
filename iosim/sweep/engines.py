"""Engines: where points are run. Each is an executor, and what the driver must know of it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from iosim.errors import HostRefused, IosimError
from iosim.start import deaf

_T = TypeVar("_T")

_STARTS = 3
"""How often a worker may die while it starts, in a row."""


@dataclass(frozen=True)
class Engine:
    """An executor for the driver."""

    executor: Executor
    slots: int
    """How many calls it runs at a time."""
    lost: tuple[type[BaseException], ...] = (BrokenExecutor,)
    """What the future of a call raises whose worker died."""


class Workers(Executor):
    """Processes of this host, each an executor of its own: one that dies takes only its own work
    along, and is replaced."""

    def __init__(self, count: int) -> None:
        self._pools = [_Worker() for _ in range(count)]
        try:
            for place in range(count):
                self._pools[place] = _ready(self._pools[place])
        except BaseException:
            self.kill()
            raise

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        """Give the call to the process that has least to do."""
        place = min(range(len(self._pools)), key=lambda place: self._pools[place].waiting)
        try:
            return self._pools[place].submit(fn, *args, **kwargs)
        except BrokenExecutor:
            self._pools[place].shutdown(wait=False)
            self._pools[place] = _ready(_Worker())
            return self._pools[place].submit(fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        for pool in self._pools:
            pool.shutdown(wait, cancel_futures=cancel_futures)

    def kill(self) -> None:
        """End all processes at once."""
        for pool in self._pools:
            pool.kill()
        self.shutdown(cancel_futures=True)


class _Worker(ProcessPoolExecutor):
    """One process, which is started at once."""

    def __init__(self) -> None:
        super().__init__(1, multiprocessing.get_context("spawn"), initializer=_end_with_parent)
        self._futures: list[Future[Any]] = []
        others = set(multiprocessing.active_children())
        with deaf():
            self.started = super().submit(os.getpid)
        self._mine = set(multiprocessing.active_children()) - others

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        future = super().submit(fn, *args, **kwargs)
        self._futures.append(future)
        return future

    @property
    def waiting(self) -> int:
        """How many calls are not finished."""
        self._futures = [future for future in self._futures if not future.done()]
        return len(self._futures)

    def kill(self) -> None:
        for process in self._mine:
            process.kill()


def _ready(worker: _Worker) -> _Worker:
    """The worker, or one in its place, when it takes calls."""
    for _ in range(_STARTS):
        try:
            worker.started.result()
            return worker
        except BrokenExecutor:
            worker.shutdown(wait=False)
            worker = _Worker()
    worker.kill()
    worker.shutdown(wait=False)
    raise HostRefused(
        f"{_STARTS} worker processes died one after the other as they started: is there memory "
        "left? A script that calls iosim.sweep needs `if __name__ == '__main__':` around the call"
    )


def _end_with_parent() -> None:
    """A worker whose driver is killed would wait for work for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


class Serial(Executor):
    """Runs each call where it is submitted."""

    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]:
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def serial() -> Iterator[Engine]:
    """One point after the other in this process, for debugging."""
    yield Engine(Serial(), 1)


def local(workers: int | None = None) -> AbstractContextManager[Engine]:
    """Processes of this host, by default one for each core that it may use; none is started before
    the engine is entered."""
    if workers is None:
        workers = len(os.sched_getaffinity(0))
    if type(workers) is not int or workers < 1:
        raise IosimError(
            f"workers = {workers!r} must be a whole number from 1 on, or None for one on each core"
        )
    return _local(workers)


@contextmanager
def _local(count: int) -> Iterator[Engine]:
    executor = Workers(count)
    try:
        yield Engine(executor, count)
    except BaseException:
        executor.kill()
        raise
    executor.shutdown()


@contextmanager
def given(executor: Executor) -> Iterator[Engine]:
    """An executor of the user's own, who also ends it."""
    slots = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    yield Engine(executor, slots)
