"""Signals that descriptors send."""

from __future__ import annotations

from iosim.calibrate.bench import BATCH, Bench, benchmark, each, times
from iosim.kernel import SIGIO, SIGRTMIN, Call


@benchmark()
def sigwaitinfo(bench: Bench) -> Call[None]:
    """Taking queued real-time signals (sigwaitinfo_ns)."""
    kernel = bench.kernel
    yield from kernel.sigblock([SIGIO, SIGRTMIN])
    yield from bench.connect()
    yield from each(lambda fd: kernel.set_async(fd, SIGRTMIN), bench.fds)
    for _ in range(bench.rounds):
        yield from bench.feed(bench.fds)
        block = times(BATCH, kernel.sigwaitinfo, (SIGRTMIN,))
        yield from bench.time("queued", block, BATCH, sigwaitinfo_ns=1)
        yield from bench.empty(bench.fds)


@benchmark()
def signalfd(bench: Bench) -> Call[None]:
    """Reading queued real-time signals from a signalfd, one at a time (signalfd_ns) and all at once
    (signalfd_event_ns)."""
    kernel = bench.kernel
    yield from kernel.sigblock([SIGIO, SIGRTMIN])
    yield from bench.connect()
    yield from each(lambda fd: kernel.set_async(fd, SIGRTMIN), bench.fds)
    fd = yield from kernel.signalfd((SIGRTMIN,))
    for _ in range(bench.rounds):
        for count in (1, BATCH):
            calls = BATCH // count
            yield from bench.feed(bench.fds)
            block = times(calls, kernel.read_signals, fd, count)
            expected = {"signalfd_ns": 1, "signalfd_event_ns": count - 1}
            yield from bench.time(f"{count} queued", block, calls, **expected)
            yield from bench.empty(bench.fds)


@benchmark()
def sigsuspend(bench: Bench) -> Call[None]:
    """sigsuspend with a pending signal, whose empty handler runs (sigsuspend_ns)."""
    kernel = bench.kernel
    yield from kernel.sigblock([SIGIO])
    yield from bench.connect(1)
    yield from kernel.set_async(bench.fds[0], SIGIO)
    for _ in range(8 * bench.rounds):
        yield from bench.feed(bench.fds)
        yield from bench.time("pending", kernel.sigsuspend(), 1, sigsuspend_ns=1)
        yield from bench.empty(bench.fds)


@benchmark()
def signal_handler(bench: Bench) -> Call[None]:
    """Unblocking a signal, with none pending (sigprocmask_ns) and with one (signal_handler_ns)."""
    kernel = bench.kernel
    yield from kernel.sigblock([SIGRTMIN])
    yield from bench.connect(1)
    yield from kernel.set_async(bench.fds[0], SIGRTMIN)
    yield from kernel.sigaction(SIGRTMIN, lambda _: None)
    for pending in (0, 1):
        for _ in range(4 * bench.rounds):
            if pending:
                yield from bench.feed(bench.fds)
            block = kernel.sigunblock([SIGRTMIN])
            about = f"{pending} pending"
            yield from bench.time(about, block, 1, sigprocmask_ns=1, signal_handler_ns=pending)
            yield from kernel.sigblock([SIGRTMIN])
            if pending:
                yield from bench.empty(bench.fds)
