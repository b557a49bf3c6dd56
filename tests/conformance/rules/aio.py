"""POSIX AIO as glibc carries it out; part of the group of rings: asynchronous calls."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.kernel import SIGRTMIN, Call


def connect(client: Any) -> object:
    return client.connect()


def send(connection: int, nbytes: int = 1) -> Any:
    return lambda client: client.send(connection, nbytes)


def close(connection: int) -> Any:
    return lambda client: client.close(connection)


@scenario(
    "sigevent(7), SIGEV_SIGNAL: the completion sends the signal with the value that was asked for; "
    "aio_return(3): the result is that of the read.",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 10
    """,
    needs="aio",
)
def completion_signal_carries_the_value(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.aio_return(fd)


@scenario(
    "aio_read(3) reads at most aio_nbytes; what is left waits for the next read.",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 4, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 4
        aio_read(c0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 6
        aio_read(c0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) sleeps
    """,
    needs="aio",
)
def aio_read_takes_at_most_what_was_asked(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    for nbytes in (4, 100):
        yield from kernel.aio_read(fd, nbytes, SIGRTMIN)
        yield from kernel.sigwaitinfo([SIGRTMIN])
        yield from kernel.aio_return(fd)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "aio_return(3) gives what read(2) would have given: zero at the end of the stream.",
    connect,
    close(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 0
    """,
    needs="aio",
)
def aio_return_is_zero_at_the_end(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.aio_return(fd)


@scenario(
    "aio(7): reads on different descriptors end in the order in which their data comes.",
    connect,
    connect,
    send(1, 20),
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        accept(l0) = c1
        aio_read(c0, 100, SIGRTMIN)
        aio_read(c1, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c1
        aio_return(c1) = 20
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 10
    """,
    needs="aio",
)
def aio_reads_end_as_data_comes(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    for fd in fds:
        yield from kernel.aio_read(fd, 100, SIGRTMIN)
    for _ in fds:
        _, fd = yield from kernel.sigwaitinfo([SIGRTMIN])
        yield from kernel.aio_return(fd)


@scenario(
    "aio_init(3), aio_threads: at most so many helpers. Each sleeps in its read; a read beyond "
    "them waits though its data is there.",
    connect,
    connect,
    send(1, 20),
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        aio_init(1)
        accept(l0) = c0
        accept(l0) = c1
        aio_read(c0, 100, SIGRTMIN)
        aio_read(c1, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c1
    """,
    needs="aio",
)
def aio_reads_wait_for_a_helper(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    yield from kernel.aio_init(1)
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    for fd in fds:
        yield from kernel.aio_read(fd, 100, SIGRTMIN)
    for _ in fds:
        yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "aio_init(3): without the call there are at most 20 helpers.",
    *[connect] * 21,
    send(20),
    send(3),
    expect="\n".join(
        [
            "sigblock([SIGRTMIN])",
            *(f"accept(l0) = c{n}\naio_read(c{n}, 100, SIGRTMIN)" for n in range(21)),
            "sigwaitinfo([SIGRTMIN]) = SIGRTMIN c3",
            "sigwaitinfo([SIGRTMIN]) = SIGRTMIN c20",
            "sigwaitinfo([SIGRTMIN]) sleeps",
        ]
    ),
    needs="aio",
)
def aio_has_twenty_helpers(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    for _ in range(21):
        fd = yield from kernel.accept(listener)
        yield from kernel.aio_read(fd, 100, SIGRTMIN)
    while True:
        yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "sigevent(7), SIGEV_THREAD: the completion calls the function as if it were the start of a new "
    "thread.",
    connect,
    send(0, 10),
    send(0, 20),
    expect="""
        accept(l0) = c0
        aio_read(c0, 100, take_and_read_on)
        get(...) sleeps
        1: aio_return(c0) = 10
        1: aio_read(c0, 100, take)
        1.1: aio_return(c0) = 20
    """,
    needs="aio",
)
def callback_runs_in_a_new_thread(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.aio_read(fd, 100, take_and_read_on)
    yield from kernel.get(kernel.queue())


def take_and_read_on(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.aio_return(fd)
    yield from kernel.aio_read(fd, 100, take)


def take(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.aio_return(fd)


@scenario(
    "sigqueue(3) fails with EAGAIN when RLIMIT_SIGPENDING signals are queued; glibc makes that the "
    "result of the read, whose signal and data are lost.",
    connect,
    connect,
    send(0, 10),
    send(1, 20),
    send(1, 30),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        accept(l0) = c1
        aio_read(c0, 100, SIGRTMIN)
        aio_read(c1, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_return(c0) = 10
        aio_return(c1) = EAGAIN
        recv(c1, 100) = 30
    """,
    needs="aio",
    queued_signals=1,
)
def full_signal_queue_loses_the_read(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    for fd in fds:
        yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.sigwaitinfo([SIGRTMIN])
    for fd in fds:
        yield from kernel.aio_return(fd)
    yield from kernel.recv(fds[1], 100)


@scenario(
    "sigevent(7), SIGEV_SIGNAL: the signal goes to the process: any thread that waits for it takes "
    "it, whoever asked for the read.",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        get(...) sleeps
        1: sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        1: aio_return(c0) = 10
    """,
    needs="aio",
)
def completion_signal_goes_to_the_process(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(takes_a_completion)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.get(kernel.queue())


def takes_a_completion(kernel: Any) -> Call[None]:
    _, fd = yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.aio_return(fd)


@scenario(
    "signal(7): a signal directed to the process goes to a thread that does not block it; with all "
    "such threads ended it stays pending.",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        1: sigunblock([SIGRTMIN])
    """,
    needs="aio",
)
def ended_thread_takes_no_signal(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    yield from kernel.spawn(unblocks_and_ends)
    fd = yield from kernel.accept(listener)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.sigwaitinfo([SIGRTMIN])


def unblocks_and_ends(kernel: Any) -> Call[None]:
    yield from kernel.sigunblock([SIGRTMIN])
