"""select, poll and epoll."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from iosim.calibrate.bench import BATCH, Bench, benchmark, each, times
from iosim.kernel import EPOLL_CTL_ADD, EPOLL_CTL_DEL, Call, FdSet

COUNTS = (1, 16, 64, 200, 480, 900)
"""Descriptors in a scan; the last is near what select can watch."""
MANY_COUNTS = (1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 19_500)
CALLS = 8
"""Calls in a block."""
SIZES = 12
"""Of other data between two polls."""


@benchmark()
def select(bench: Bench) -> Call[None]:
    """select over few and many descriptors (select_ns, select_fd_ns), see `_scan`."""
    yield from _scan(bench, "select", bench.kernel.fd_set, bench.kernel.select)


@benchmark()
def poll(bench: Bench) -> Call[None]:
    """poll over few and many descriptors (poll_ns, poll_fd_ns), see `_scan`."""
    yield from _scan(bench, "poll", bench.kernel.poll_set, bench.kernel.poll)


def _scan(
    bench: Bench, kind: str, empty_set: Callable[[], FdSet], call: Callable[[Any], Call[Any]]
) -> Call[None]:
    """One descriptor is ready: the first, or the last.

    Before it finds the first one that is ready, a scan joins the wait queue of each descriptor
    (scan_join_fd_ns), for it may have to sleep. One call of a block finds its descriptors outside
    of the second-level cache (fd_miss_ns).
    """
    yield from bench.connect(max(COUNTS))
    sets = {}
    for count in COUNTS:
        sets[count] = empty_set()
        for fd in bench.fds[:count]:
            sets[count].add(fd)
    yield from bench.feed(bench.fds[:1])
    for _ in range(bench.rounds):
        for count, watched in sets.items():
            block = times(CALLS, call, watched)
            expected = bench.scan(kind, count, bench.fds[count - 1])
            yield from bench.time(f"{count}, first ready", block, CALLS, **expected)
        if bench.place.evict():
            expected = bench.scan(kind, count, bench.fds[count - 1], evicted=True)
            yield from bench.time(f"{count}, evicted", call(watched), 1, **expected)
    yield from bench.empty(bench.fds[:1])
    sets[1] = empty_set()
    sets[1].add(bench.fds[-1])
    for count, watched in sets.items():
        last = bench.fds[count - 1 : count] if count > 1 else bench.fds[-1:]
        yield from bench.feed(last)
        for _ in range(bench.rounds):
            block = times(CALLS, call, watched)
            expected = bench.scan(kind, count, last[0], joined=count - 1)
            yield from bench.time(f"{count}, last ready", block, CALLS, **expected)
        yield from bench.empty(last)


@benchmark()
def beyond_caches(bench: Bench) -> Call[None]:
    """poll over many descriptors after other data has been gone through: the more, the more of what
    it needs comes from memory instead of the third-level cache (`CostProfile.l3_bytes`)."""
    caches, place = bench.place.caches, bench.place
    if not caches.l3_bytes or not place.evict():
        return
    count = max(COUNTS)
    yield from bench.connect(count)
    watched = bench.kernel.poll_set()
    for fd in bench.fds:
        watched.add(fd)
    yield from bench.feed(bench.fds[:1])
    least, most = 2 * caches.l2_bytes, 4 * caches.l3_bytes
    for _ in range(bench.rounds):
        for step in range(SIZES):
            nbytes = round(least * (most / least) ** (step / (SIZES - 1)))
            # Twice, so that a cache that takes in only what the nearer one gives up has it.
            yield from times(2, bench.kernel.poll, watched)
            place.evict(nbytes)
            spent_ns, pulse_ns = yield from bench.spent(bench.kernel.poll(watched))
            bench.note(str(nbytes), spent_ns / count, pulse_ns)


@benchmark()
def epoll_wait(bench: Bench) -> Call[None]:
    """epoll_wait that reports few and many of the descriptors (epoll_wait_ns, epoll_event_ns)."""
    kernel = bench.kernel
    yield from bench.connect()
    epfd = yield from kernel.epoll_create()
    yield from each(lambda fd: kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd), bench.fds)
    for count in (1, 8, BATCH):
        fds = bench.fds[:count]
        yield from bench.feed(fds)
        for _ in range(bench.rounds):
            block = times(CALLS, kernel.epoll_wait, epfd, 512)
            about = f"{count} ready"
            yield from bench.time(about, block, CALLS, epoll_wait_ns=1, epoll_event_ns=count)
        yield from bench.empty(fds)


@benchmark(check=True)
def many_descriptors(bench: Bench) -> Call[None]:
    """poll and epoll_wait over many times more descriptors than a calibration uses, one ready.

    Ends where the peer cannot open more connections.
    """
    kernel = bench.kernel
    polled = kernel.poll_set()
    epfd = yield from kernel.epoll_create()
    for count in MANY_COUNTS:
        known = len(bench.fds)
        try:
            yield from bench.connect(count - known)
        except OSError:
            return
        for fd in bench.fds[known:]:
            polled.add(fd)
            yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
        yield from bench.feed(bench.fds[:1])
        for _ in range(bench.rounds):
            block = times(2, kernel.poll, polled)
            yield from bench.time(f"poll, {count}", block, 2, **bench.scan("poll", count, 0))
        # Not in turns with poll, which leaves the caches to others.
        for _ in range(bench.rounds):
            block = times(CALLS, kernel.epoll_wait, epfd, 512)
            expected = {"epoll_wait_ns": 1, "epoll_event_ns": 1}
            yield from bench.time(f"epoll_wait, {count}", block, CALLS, **expected)
        yield from bench.empty(bench.fds[:1])


@benchmark()
def epoll_ctl(bench: Bench) -> Call[None]:
    """Adding a descriptor to an interest list (epoll_ctl_ns)."""
    kernel = bench.kernel
    yield from bench.connect()
    epfd = yield from kernel.epoll_create()
    for _ in range(bench.rounds):
        block = each(lambda fd: kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd), bench.fds)
        yield from bench.time("ADD", block, BATCH, epoll_ctl_ns=1)
        yield from each(lambda fd: kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, fd), bench.fds)
