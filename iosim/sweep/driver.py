"""The driver: keeps an engine busy with the points that are missing, commits what comes back."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future
from itertools import islice
from queue import SimpleQueue

from iosim.errors import Interrupted, IosimError, RunFailed
from iosim.sweep.engines import Engine
from iosim.sweep.interrupt import interruptible
from iosim.sweep.points import Finished, Point, set_aside, work_on
from iosim.sweep.store import Counts, Store

Work = Callable[[bytes, Sequence[Point]], list[Finished]]
Progress = Callable[[Counts, float], None]
"""Is told how far the sweep is and how many points a second are finished."""

_BATCH_S = 0.2
"""Points go out in batches that take about so long: the driver's share is small, and little is lost
with a worker."""
_BATCH = 64
_DEATHS = 3
"""A point is set aside when so many workers have died while each ran nothing else."""
_BLOCK = 4_096
"""So many numbers of the design are looked up in the store at a time."""


def drive(
    store: Store,
    engine: Engine,
    *,
    progress: Progress = lambda *_: None,
    interrupted: Callable[[], None] = lambda: None,
    work: Work = work_on,
    lasting: bool = True,
) -> Counts:
    """Run every point that the store lacks; `lasting` tells whether it outlives the call.

    On the first Ctrl-C, `interrupted` is called, and what is in flight is finished and committed;
    on the second, everything stops at once. Either way Interrupted is raised.
    """
    return _Driver(store, engine, progress, interrupted, work, lasting).run()


def so_far(store: Store, *, lasting: bool = True) -> str:
    """How many points are finished, and what becomes of them if the sweep ends now."""
    counts = store.counts()
    kept = f"and kept: go on by `iosim sweep --resume {store.path}`"
    lost = "and lost with it, as there is no store: name one to keep them"
    return f"{counts.finished} of {counts.total} points are finished {kept if lasting else lost}"


class _Driver:
    def __init__(
        self,
        store: Store,
        engine: Engine,
        progress: Progress,
        interrupted: Callable[[], None],
        work: Work,
        lasting: bool,
    ) -> None:
        self._store = store
        self._engine = engine
        self._progress = progress
        self._interrupted = interrupted
        self._work = work
        self._lasting = lasting
        self._packed = store.common.packed()
        self._todo: Iterator[Point] = iter(())
        self._in_flight: dict[Future[list[Finished]], list[Point]] = {}
        self._keys: set[str] = set()
        """Of the points that are on their way."""
        self._returned: SimpleQueue[Future[list[Finished]] | None] = SimpleQueue()
        """Futures that are done; None is a nudge."""
        self._suspects: deque[Point] = deque()
        """What was in flight when a worker died; each runs while nothing else does, so that the
        next death tells which point it was."""
        self._alone: Future[list[Finished]] | None = None
        """That of the last point that was sent out while nothing else ran."""
        self._deaths: dict[int, int] = {}
        self._point_s: float | None = None
        """How long a point takes, of late."""
        self._one_by_one = False
        """Real runs are never in parallel with anything."""
        self._stopping = False
        self._counts = store.counts()

    def run(self) -> Counts:
        try:
            with interruptible(self._stop):
                for kernel in sorted(self._store.design.kernels, reverse=True):
                    self._one_by_one = kernel == "real"
                    self._todo = self._missing(kernel)
                    self._pump()
        except KeyboardInterrupt:
            self._stopping = True
        if self._stopping:
            raise Interrupted(f"interrupted; {self._so_far()}")
        return self._store.counts()

    def _stop(self) -> None:
        self._stopping = True
        self._interrupted()
        self._returned.put(None)

    def _so_far(self) -> str:
        return so_far(self._store, lasting=self._lasting)

    def _missing(self, kernel: str) -> Iterator[Point]:
        """The points on that kernel that are neither finished nor on their way."""
        design, store = self._store.design, self._store
        fixed = design.fixed.get("kernel", "simulated")
        for start in range(0, len(design), _BLOCK):
            stop = min(start + _BLOCK, len(design))
            finished = store.numbers(start, stop)
            if len(finished) == stop - start:
                continue
            for number in range(start, stop):
                if number in finished:
                    continue
                point = design[number]
                if point.values.get("kernel", fixed) != kernel:
                    continue
                key = store.common.key(point)
                if key in self._keys or store.holds(key):
                    store.repeat(number, key)
                    self._count(1, 0)
                else:
                    self._keys.add(key)
                    yield point

    def _pump(self) -> None:
        began_s, before = time.monotonic(), self._counts.finished
        while True:
            self._fill()
            if not self._in_flight:
                return
            future = self._returned.get()
            if future is None:
                for waiting in list(self._in_flight):
                    waiting.cancel()
                continue
            self._take(future)
            spent_s = time.monotonic() - began_s
            rate = (self._counts.finished - before) / spent_s if spent_s else 0.0
            self._progress(self._counts, rate)

    def _fill(self) -> None:
        """Keep every worker busy, and a batch waiting for it if batches are short."""
        if self._stopping:
            return
        if self._suspects:
            if not self._in_flight:
                self._alone = self._submit([self._suspects.popleft()])
            return
        slots = 1 if self._one_by_one else self._engine.slots
        short = self._point_s is not None and self._point_s < 1
        most = 2 * slots if short and not self._one_by_one else slots
        while len(self._in_flight) < most:
            batch = list(islice(self._todo, self._batch_size()))
            if not batch:
                return
            future = self._submit(batch)
            if self._one_by_one:
                self._alone = future
            if self._stopping:
                return

    def _batch_size(self) -> int:
        if self._one_by_one or self._point_s is None:
            return 1
        return min(_BATCH, max(1, round(_BATCH_S / max(self._point_s, 1e-6))))

    def _submit(self, batch: list[Point]) -> Future[list[Finished]]:
        try:
            future = self._engine.executor.submit(self._work, self._packed, batch)
        except BrokenExecutor:
            raise RunFailed(f"the executor takes no more work; {self._so_far()}") from None
        self._in_flight[future] = batch
        future.add_done_callback(self._returned.put)
        return future

    def _take(self, future: Future[list[Finished]]) -> None:
        """Commit what came back."""
        batch = self._in_flight.pop(future)
        if future.cancelled():
            if not self._stopping:
                raise RunFailed(f"the cluster has dropped its work, or is gone; {self._so_far()}")
            return
        error = future.exception()
        if error is None:
            self._commit(future.result())
        elif isinstance(error, self._engine.lost):
            self._suspect(batch, alone=future is self._alone)
        elif isinstance(error, IosimError):
            raise error
        else:
            raise RunFailed(f"a worker could not run its points: {error!r}") from error

    def _suspect(self, batch: list[Point], *, alone: bool) -> None:
        """A worker died with these points."""
        if alone:
            (point,) = batch
            deaths = self._deaths[point.number] = self._deaths.get(point.number, 0) + 1
            if deaths >= _DEATHS:
                self._commit([set_aside(point.number, deaths)])
                return
        self._suspects.extend(batch)

    def _commit(self, finished: list[Finished]) -> None:
        self._store.add(finished)
        for one in finished:
            self._deaths.pop(one.number, None)
            self._keys.discard(self._store.common.key(self._store.design[one.number]))
        failed = sum(one.error is not None for one in finished)
        self._count(len(finished), failed)
        took_s = sum(one.took_s for one in finished) / len(finished)
        weight = 1.0 if self._point_s is None else 0.3
        self._point_s = weight * took_s + (1 - weight) * (self._point_s or 0.0)

    def _count(self, finished: int, failed: int) -> None:
        before = self._counts
        self._counts = Counts(before.total, before.finished + finished, before.failed + failed)
