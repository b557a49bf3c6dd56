"""Signals: what is pending, who takes it, and handlers that interrupt."""

from __future__ import annotations

from typing import Any

from conformance.scenario import refused, scenario

from iosim.kernel import EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLLET, EPOLLIN, SIGIO, SIGRTMIN, Call

LATER = SIGRTMIN + 1


def connect(client: Any) -> object:
    return client.connect()


def send(connection: int, nbytes: int = 1) -> Any:
    return lambda client: client.send(connection, nbytes)


def close(connection: int) -> Any:
    return lambda client: client.close(connection)


# --- which signals become pending ---------------------------------------------------------------


@scenario(
    'signal(7): "Multiple instances of real-time signals can be queued. By contrast, if multiple '
    "instances of a standard signal are delivered while that signal is currently blocked, then "
    'only one instance is queued."',
    connect,
    send(0),
    send(0),
    expect="""
        sigblock([SIGIO])
        accept(l0) = c0
        set_async(c0, SIGIO)
        sigwaitinfo([SIGIO]) = SIGIO -1
        sigwaitinfo([SIGIO]) sleeps
    """,
)
def standard_signals_merge(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGIO])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGIO)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.sigwaitinfo([SIGIO])
    yield from kernel.sigwaitinfo([SIGIO])


@scenario(
    "fcntl(2), F_SETSIG: with a real-time signal several events may be queued, and si_fd names the "
    "descriptor of each.",
    connect,
    connect,
    send(1),
    send(0),
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        accept(l0) = c1
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c1
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN]) sleeps
    """,
)
def realtime_signals_queue_and_name_the_descriptor(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    first = yield from kernel.accept(listener)
    second = yield from kernel.accept(listener)
    yield from kernel.set_async(first, SIGRTMIN)
    yield from kernel.set_async(second, SIGRTMIN)
    for _ in range(3):
        yield from kernel.step()
    for _ in range(4):
        yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "fcntl(2), F_SETSIG: a signal tells of an event, not of data that is still there: what came "
    "with a later event may be read at the first.",
    connect,
    send(0, 10),
    send(0, 20),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_nonblocking(c0)
        set_async(c0, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        recv(c0, 100) = 30
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        recv(c0, 100) = EAGAIN
    """,
)
def second_of_two_signals_finds_nothing(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_nonblocking(fd)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.step()
    for _ in range(2):
        yield from kernel.sigwaitinfo([SIGRTMIN])
        yield from kernel.recv(fd, 100)


@scenario(
    "fcntl(2), F_SETSIG: the events of a descriptor whose real-time signal finds the queue full "
    "(RLIMIT_SIGPENDING) are told by SIGIO, which names none: the program has to look everywhere.",
    connect,
    connect,
    send(0, 10),
    send(1, 20),
    expect="""
        sigblock([SIGRTMIN, SIGIO])
        accept(l0) = c0
        accept(l0) = c1
        set_nonblocking(c0)
        set_nonblocking(c1)
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGRTMIN)
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGIO -1
        recv(c0, 100) = 10
        recv(c1, 100) = 20
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN, SIGIO]) sleeps
    """,
    queued_signals=1,
)
def full_queue_falls_back_on_sigio(kernel: Any, listener: int) -> Call[None]:
    signals = [SIGRTMIN, SIGIO]
    yield from kernel.sigblock(signals)
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    for fd in fds:
        yield from kernel.set_nonblocking(fd)
    for fd in fds:
        yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.sigwaitinfo(signals)
    for fd in fds:
        yield from kernel.recv(fd, 100)
    yield from kernel.sigwaitinfo(signals)
    yield from kernel.sigwaitinfo(signals)


@scenario(
    "getrlimit(2), RLIMIT_SIGPENDING: the limit is on signals queued at a time; one that has been "
    "taken makes room.",
    connect,
    send(0),
    send(0),
    expect="""
        sigblock([SIGRTMIN, SIGIO])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGRTMIN c0
    """,
    queued_signals=1,
)
def taking_a_signal_makes_room_in_the_queue(kernel: Any, listener: int) -> Call[None]:
    signals = [SIGRTMIN, SIGIO]
    yield from kernel.sigblock(signals)
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.sigwaitinfo(signals)
    yield from kernel.sigwaitinfo(signals)


@scenario(
    "fcntl(2), O_ASYNC: a signal comes when input becomes possible; input that was there before is "
    "not told.",
    connect,
    send(0, 10),
    send(0, 20),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        recv(c0, 100) = 30
        sigwaitinfo([SIGRTMIN]) sleeps
    """,
)
def input_from_before_sends_no_signal(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.recv(fd, 100)
    yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "fcntl(2), O_ASYNC: input is possible at the end of the stream too. (TCP tells it twice: "
    "tcp_fin() and tcp_data_queue() both do.)",
    connect,
    close(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        recv(c0, 100) = 0
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN]) sleeps
    """,
)
def end_of_stream_signals(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.recv(fd, 100)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "fcntl(2), O_ASYNC: a listening socket signals each connection that it could accept.",
    connect,
    connect,
    expect="""
        sigblock([SIGRTMIN])
        set_async(l0, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN l0
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN l0
        accept(l0) = c0
        accept(l0) = c1
    """,
)
def new_connections_signal(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    yield from kernel.set_async(listener, SIGRTMIN)
    for _ in range(2):
        yield from kernel.sigwaitinfo([SIGRTMIN])
    for _ in range(2):
        yield from kernel.accept(listener)


@scenario(
    "fcntl(2), F_SETSIG sets the signal of a descriptor: another one replaces it.",
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN, SIGRTMIN+1])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        set_async(c0, SIGRTMIN+1)
        sigwaitinfo([SIGRTMIN, SIGRTMIN+1]) = SIGRTMIN+1 c0
        sigwaitinfo([SIGRTMIN, SIGRTMIN+1]) sleeps
    """,
)
def descriptor_has_one_signal(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN, LATER])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.set_async(fd, LATER)
    yield from kernel.sigwaitinfo([SIGRTMIN, LATER])
    yield from kernel.sigwaitinfo([SIGRTMIN, LATER])


# --- who takes them, and in which order ---------------------------------------------------------


@scenario(
    'signal(7): "If different real-time signals are sent to a process, they are delivered starting '
    'with the lowest-numbered signal."',
    connect,
    connect,
    send(0),
    send(1),
    expect="""
        sigblock([SIGRTMIN, SIGRTMIN+1])
        accept(l0) = c0
        set_async(c0, SIGRTMIN+1)
        accept(l0) = c1
        set_async(c1, SIGRTMIN)
        sigwaitinfo([SIGRTMIN+1, SIGRTMIN]) = SIGRTMIN c1
        sigwaitinfo([SIGRTMIN+1, SIGRTMIN]) = SIGRTMIN+1 c0
    """,
)
def lowest_number_comes_first(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN, LATER])
    for signal in (LATER, SIGRTMIN):
        fd = yield from kernel.accept(listener)
        yield from kernel.set_async(fd, signal)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.sigwaitinfo([LATER, SIGRTMIN])
    yield from kernel.sigwaitinfo([LATER, SIGRTMIN])


@scenario(
    'signal(7): "If both standard and real-time signals are pending for a process, POSIX leaves it '
    "unspecified which is delivered first. Linux, like many other implementations, gives priority "
    'to standard signals in this case."',
    connect,
    connect,
    send(0),
    send(1),
    expect="""
        sigblock([SIGRTMIN, SIGIO])
        accept(l0) = c0
        accept(l0) = c1
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGIO)
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGIO -1
        sigwaitinfo([SIGRTMIN, SIGIO]) = SIGRTMIN c0
    """,
)
def standard_before_realtime(kernel: Any, listener: int) -> Call[None]:
    signals = [SIGRTMIN, SIGIO]
    yield from kernel.sigblock(signals)
    fds = []
    for _ in signals:
        fds.append((yield from kernel.accept(listener)))
    for fd, signal in zip(fds, signals, strict=True):
        yield from kernel.set_async(fd, signal)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.sigwaitinfo(signals)
    yield from kernel.sigwaitinfo(signals)


@scenario(
    "sigwaitinfo(2) takes signals of the set only; others stay pending.",
    connect,
    connect,
    send(0),
    send(1),
    expect="""
        sigblock([SIGRTMIN, SIGRTMIN+1])
        accept(l0) = c0
        accept(l0) = c1
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGRTMIN+1)
        sigwaitinfo([SIGRTMIN+1]) = SIGRTMIN+1 c1
        sigwaitinfo([SIGRTMIN, SIGRTMIN+1]) = SIGRTMIN c0
    """,
)
def signals_outside_the_set_stay_pending(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN, LATER])
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    yield from kernel.set_async(fds[0], SIGRTMIN)
    yield from kernel.set_async(fds[1], LATER)
    yield from kernel.sigwaitinfo([LATER])
    yield from kernel.sigwaitinfo([SIGRTMIN, LATER])


@scenario(
    "fcntl(2), F_SETOWN_EX with F_OWNER_TID: the signals go to one thread; pthreads(7): a signal "
    "directed to a thread is pending for that thread alone.",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        sigwaitinfo([SIGRTMIN]) sleeps
        1: set_async(c0, SIGRTMIN)
        1: sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        1: recv(c0, 100) = 10
    """,
)
def signal_of_one_thread_wakes_no_other(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(waits_for_its_own, fd)
    yield from kernel.sigwaitinfo([SIGRTMIN])


def waits_for_its_own(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.recv(fd, 100)


@scenario(
    "pthreads(7), signal(7): a signal directed to a thread stays pending for it; no other thread "
    "can take it.",
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        sigwaitinfo([SIGRTMIN]) sleeps
        1: set_async(c0, SIGRTMIN)
        1: get(...) sleeps
    """,
)
def signal_pending_for_one_thread_is_taken_by_no_other(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(asks_and_sleeps, fd)
    yield from kernel.rest()
    yield from kernel.step()
    yield from kernel.sigwaitinfo([SIGRTMIN])


def asks_and_sleeps(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.get(kernel.queue())


# --- masks --------------------------------------------------------------------------------------


@scenario(
    "sigprocmask(2), SIG_BLOCK: a blocked signal stays pending; its handler runs when it is "
    "unblocked, before the call returns.",
    connect,
    send(0),
    expect="""
        sigaction(SIGRTMIN, append)
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        recv(c0, 100) = 1
        came []
        sigunblock([SIGRTMIN])
        came [34]
    """,
)
def blocked_signal_stays_pending(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGRTMIN, came.append)
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.recv(fd, 100)
    kernel.note(f"came {came}")
    yield from kernel.sigunblock([SIGRTMIN])
    kernel.note(f"came {came}")


@scenario(
    "pthread_sigmask(3): a new thread inherits a copy of its creator's signal mask.",
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        sigunblock([SIGRTMIN])
        get(...) sleeps
        1: set_async(c0, SIGRTMIN)
        1: sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
    """,
)
def thread_inherits_the_mask(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.spawn(waits_after_the_signal, fd)
    yield from kernel.sigunblock([SIGRTMIN])
    yield from kernel.get(kernel.queue())


def waits_after_the_signal(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.sigwaitinfo([SIGRTMIN])


@scenario(
    "sigsuspend(2): the call returns after a handler has run, and the mask is what it was before; "
    "sigaction(2): a signal is blocked while its handler runs. So of two queued ones one stays.",
    connect,
    send(0),
    send(0),
    expect="""
        sigaction(SIGRTMIN, append)
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        sigsuspend()
        came [34]
        sigsuspend()
        came [34, 34]
        sigsuspend() sleeps
    """,
)
def sigsuspend_takes_one_and_restores_the_mask(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGRTMIN, came.append)
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.step()
    yield from kernel.step()
    for _ in range(2):
        yield from kernel.sigsuspend()
        kernel.note(f"came {came}")
    yield from kernel.sigsuspend()


@scenario(
    "sigsuspend(2) unblocks all signals until it returns: pending ones of different numbers are "
    "all delivered; sigaction(2): a handler blocks its own signal only.",
    connect,
    connect,
    send(0),
    send(1),
    expect="""
        sigaction(SIGIO, append)
        sigaction(SIGRTMIN, append)
        sigblock([SIGRTMIN, SIGIO])
        accept(l0) = c0
        accept(l0) = c1
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGIO)
        sigsuspend()
        came [29, 34]
        sigsuspend() sleeps
    """,
)
def sigsuspend_takes_one_of_each_number(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGIO, came.append)
    yield from kernel.sigaction(SIGRTMIN, came.append)
    yield from kernel.sigblock([SIGRTMIN, SIGIO])
    fds = []
    for _ in range(2):
        fds.append((yield from kernel.accept(listener)))
    yield from kernel.set_async(fds[0], SIGRTMIN)
    yield from kernel.set_async(fds[1], SIGIO)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.sigsuspend()
    kernel.note(f"came {sorted(came)}")
    yield from kernel.sigsuspend()


# --- handlers that interrupt --------------------------------------------------------------------


@scenario(
    "signal(7): a handler interrupts a program that computes. (The read finds its data there, so "
    "that its helper signals while the program computes.)",
    connect,
    send(0, 10),
    expect="""
        sigaction(SIGRTMIN, append)
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        compute(50000000)
        came [34]
        aio_return(c0) = 10
    """,
    needs="aio",
)
def handler_interrupts_computing(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGRTMIN, came.append)
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.compute(50_000_000)
    kernel.note(f"came {came}")
    yield from kernel.aio_return(fd)


@scenario(
    "sigprocmask(2): a handler does not run while its signal is blocked, however long the program "
    "computes.",
    connect,
    send(0, 10),
    expect="""
        sigaction(SIGRTMIN, append)
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        compute(50000000)
        came []
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        came []
    """,
    needs="aio",
)
def handler_does_not_run_while_blocked(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGRTMIN, came.append)
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.compute(50_000_000)
    kernel.note(f"came {came}")
    yield from kernel.sigwaitinfo([SIGRTMIN])
    kernel.note(f"came {came}")


@scenario(
    'signal(7), "Interruption of system calls and library functions by signal handlers": recv on a '
    "socket is restarted.",
    connect,
    connect,
    send(1, 20),
    send(1, 20),
    send(0, 10),
    expect="""
        sigaction(SIGIO, append)
        accept(l0) = c0
        accept(l0) = c1
        set_async(c1, SIGIO)
        recv(c0, 100) = 10
        came [29, 29]
    """,
)
def interrupted_recv_goes_on(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGIO, came.append)
    fd = yield from kernel.accept(listener)
    other = yield from kernel.accept(listener)
    yield from kernel.set_async(other, SIGIO)
    yield from kernel.recv(fd, 100)
    kernel.note(f"came {came}")


@scenario(
    "signal(7): epoll_wait and sigwaitinfo fail with EINTR after a handler; PEP 475: both kernels "
    "make them anew.",
    connect,
    connect,
    send(1),
    send(0),
    send(1),
    send(0),
    expect="""
        sigaction(SIGIO, append)
        sigblock([SIGRTMIN])
        accept(l0) = c0
        accept(l0) = c1
        set_async(c0, SIGRTMIN)
        set_async(c1, SIGIO)
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0)
        epoll_wait(e0, 8) = [c0]
        came [29]
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        came [29, 29]
    """,
)
def interrupted_waits_go_on(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGIO, came.append)
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    other = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.set_async(other, SIGIO)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
    yield from kernel.epoll_wait(epfd, 8)
    kernel.note(f"came {came}")
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.sigwaitinfo([SIGRTMIN])
    kernel.note(f"came {came}")


@scenario(
    "sigsuspend(2) returns after the handler, where recv would go on.",
    connect,
    send(0, 10),
    expect="""
        sigaction(SIGIO, append)
        accept(l0) = c0
        set_async(c0, SIGIO)
        sigsuspend()
        came [29]
        recv(c0, 100) = 10
    """,
)
def handler_ends_sigsuspend(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGIO, came.append)
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGIO)
    yield from kernel.sigsuspend()
    kernel.note(f"came {came}")
    yield from kernel.recv(fd, 100)


# --- signalfd -----------------------------------------------------------------------------------


def signalling(kernel: Any, listener: int, *signals: int) -> Call[list[int]]:
    """A connection for each of the signals, which it sends; all of them are blocked."""
    yield from kernel.sigblock(sorted(set(signals)))
    fds = []
    for signal in signals:
        fds.append((yield from kernel.accept(listener)))
        yield from kernel.set_async(fds[-1], signal)
    return fds


@scenario(
    'signalfd(2), read(2): "The read(2) returns information for as many signals as are pending and '
    'will fit in the supplied buffer." signal(7): the lowest-numbered first; standard ones merge.',
    connect,
    connect,
    connect,
    send(0),
    send(1),
    send(1),
    send(2),
    send(2),
    expect="""
        sigblock([SIGIO, SIGRTMIN, SIGRTMIN+1])
        accept(l0) = c0
        set_async(c0, SIGRTMIN+1)
        accept(l0) = c1
        set_async(c1, SIGRTMIN)
        accept(l0) = c2
        set_async(c2, SIGIO)
        signalfd([SIGRTMIN+1, SIGRTMIN, SIGIO]) = s0
        read_signals(s0, 2) = [SIGIO -1, SIGRTMIN c1]
        read_signals(s0, 8) = [SIGRTMIN c1, SIGRTMIN+1 c0]
        read_signals(s0, 8) sleeps
    """,
)
def one_read_takes_several_signals_in_order(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, LATER, SIGRTMIN, SIGIO)
    signals = yield from kernel.signalfd([LATER, SIGRTMIN, SIGIO])
    for _ in range(5):
        yield from kernel.step()
    for count in (2, 8, 8):
        yield from kernel.read_signals(signals, count)


@scenario(
    'signalfd(2), read(2): "If none of the signals in mask is pending for the process, then the '
    'read(2) [...] blocks until one of the signals in mask is generated for the process".',
    connect,
    connect,
    send(0),
    send(1),
    expect="""
        sigblock([SIGRTMIN, SIGRTMIN+1])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        accept(l0) = c1
        set_async(c1, SIGRTMIN+1)
        signalfd([SIGRTMIN+1]) = s0
        read_signals(s0, 8) = [SIGRTMIN+1 c1]
        sigwaitinfo([SIGRTMIN, SIGRTMIN+1]) = SIGRTMIN c0
    """,
)
def a_read_sleeps_until_a_signal_of_the_set_comes(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN, LATER)
    signals = yield from kernel.signalfd([LATER])
    yield from kernel.read_signals(signals, 8)
    yield from kernel.sigwaitinfo([SIGRTMIN, LATER])


@scenario(
    'signalfd(2), read(2): "or fails with the error EAGAIN if the file descriptor has been made '
    'nonblocking." (Then `read_signals` gives an empty list.) SFD_NONBLOCK is O_NONBLOCK.',
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN], True) = s0
        signalfd([SIGRTMIN]) = s1
        set_nonblocking(s1)
        read_signals(s0, 8) = []
        read_signals(s1, 8) = []
        read_signals(s0, 8) = [SIGRTMIN c0]
        read_signals(s1, 8) = []
    """,
)
def a_nonblocking_read_finds_no_signal(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    both = [
        (yield from kernel.signalfd([SIGRTMIN], True)),
        (yield from kernel.signalfd([SIGRTMIN])),
    ]
    yield from kernel.set_nonblocking(both[1])
    for signals in both:
        yield from kernel.read_signals(signals, 8)
    yield from kernel.step()
    for signals in both:
        yield from kernel.read_signals(signals, 8)


@scenario(
    'signalfd(2), poll(2), select(2): "The file descriptor is readable [...] if one or more of the '
    'signals in mask is pending"; as a consequence of a read the signal is no longer pending.',
    connect,
    send(0),
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        signalfd([SIGRTMIN+1]) = s1
        epoll_create() = e0
        epoll_ctl(e0, ADD, s0)
        epoll_ctl(e0, ADD, s1)
        epoll_wait(e0, 8) = [s0]
        epoll_wait(e0, 8) = [s0]
        select(..., 0) = [s0]
        poll(..., 0) = [s0]
        read_signals(s0, 8) = [SIGRTMIN c0]
        epoll_wait(e0, 8, 0) = []
        select(..., 0) = []
        poll(...) = [s0]
    """,
)
def a_signalfd_is_readable_while_a_signal_is_pending(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    others = yield from kernel.signalfd([LATER])
    epfd = yield from kernel.epoll_create()
    by_select, by_poll = kernel.fd_set(), kernel.poll_set()
    for fd in (signals, others):
        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
        by_select.add(fd)
        by_poll.add(fd)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.select(by_select, 0)
    yield from kernel.poll(by_poll, 0)
    yield from kernel.read_signals(signals, 8)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.select(by_select, 0)
    yield from kernel.poll(by_poll)


@scenario(
    "epoll(7): edge-triggered, a signalfd is reported once for each signal that becomes pending; "
    "signal(7): one that merges with its like does not.",
    connect,
    send(0),
    send(0),
    expect="""
        sigblock([SIGIO])
        accept(l0) = c0
        set_async(c0, SIGIO)
        signalfd([SIGIO]) = s0
        epoll_create() = e0
        epoll_ctl(e0, ADD, s0, IN|ET)
        epoll_wait(e0, 8) = [s0]
        epoll_wait(e0, 8) sleeps
    """,
)
def edge_triggered_signals(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGIO)
    signals = yield from kernel.signalfd([SIGIO])
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, signals, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    'signalfd(2): "If a signal appears in the mask of more than one of the file descriptors, then '
    'occurrences of that signal can be read (once) from any one of the file descriptors."',
    connect,
    send(0),
    send(0),
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        signalfd([SIGRTMIN, SIGRTMIN+1]) = s1
        select(...) = [s0, s1]
        read_signals(s1, 1) = [SIGRTMIN c0]
        read_signals(s0, 1) = [SIGRTMIN c0]
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        select(..., 0) = []
    """,
)
def a_signal_is_taken_once(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    first = yield from kernel.signalfd([SIGRTMIN])
    second = yield from kernel.signalfd([SIGRTMIN, LATER])
    for _ in range(3):
        yield from kernel.step()
    fds = kernel.fd_set()
    fds.add(first)
    fds.add(second)
    yield from kernel.select(fds)
    yield from kernel.read_signals(second, 1)
    yield from kernel.read_signals(first, 1)
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from kernel.select(fds, 0)


@scenario(
    'signalfd(2), Thread semantics: "A thread will not be able to read signals that are directed '
    'to other threads in the process."',
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        read_signals(s0, 8) = [SIGRTMIN c0]
        1: read_signals(s0, 8) sleeps
        2: poll(...) sleeps
    """,
)
def a_signal_is_read_by_the_thread_it_is_for(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    yield from kernel.spawn(reads, signals)
    yield from kernel.spawn(polls, signals)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.read_signals(signals, 8)


def reads(kernel: Any, fd: int) -> Call[None]:
    yield from kernel.read_signals(fd, 8)


def polls(kernel: Any, fd: int) -> Call[None]:
    fds = kernel.poll_set()
    fds.add(fd)
    yield from kernel.poll(fds)


@scenario(
    "signalfd(2), Thread semantics, and epoll(7): the ready list belongs to the instance. The look "
    "of a thread that the signal is not for takes the signalfd off it, and the thread that it is "
    "for waits in vain (signalfd_poll() asks for the thread that looks).",
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        epoll_create() = e0
        epoll_ctl(e0, ADD, s0)
        epoll_wait(e0, 8, 0) = []
        poll(...) = [s0]
        epoll_ctl(e0, MOD, s0)
        epoll_wait(e0, 8, 0) = [s0]
        1: epoll_wait(e0, 8, 0) = []
    """,
)
def a_look_of_another_thread_hides_a_signal(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, signals)
    yield from kernel.step()
    yield from kernel.spawn(looks, epfd)
    yield from kernel.rest()
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from polls(kernel, signals)
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_MOD, signals)
    yield from kernel.epoll_wait(epfd, 8, 0)


def looks(kernel: Any, epfd: int) -> Call[None]:
    yield from kernel.epoll_wait(epfd, 8, 0)


@scenario(
    "signalfd(2), read(2): a signal for the process, as that of a finished read, can be read by "
    "any thread; ssi_int has its value (SI_ASYNCIO).",
    connect,
    send(0, 10),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_read(c0, 100, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        get(...) sleeps
        1: read_signals(s0, 8) = [SIGRTMIN c0]
    """,
    needs="aio",
)
def a_signal_of_the_process_is_read_by_any_thread(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.spawn(reads, (yield from kernel.signalfd([SIGRTMIN])))
    yield from kernel.get(kernel.queue())


@scenario(
    'signalfd(2): signals "should be blocked using sigprocmask(2), to prevent the signals being '
    'handled according to their default dispositions": a handler takes them first. (But it is the '
    "read that takes what comes while its thread sleeps in it: signalfd_dequeue().)",
    connect,
    send(0),
    send(0),
    expect="""
        sigaction(SIGRTMIN, append)
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        came [34]
        read_signals(s0, 8) = [SIGRTMIN c0]
        came [34]
    """,
)
def a_handler_takes_a_signal_that_is_not_blocked(kernel: Any, listener: int) -> Call[None]:
    came: list[int] = []
    yield from kernel.sigaction(SIGRTMIN, came.append)
    fd = yield from kernel.accept(listener)
    yield from kernel.set_async(fd, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    yield from kernel.step()
    kernel.note(f"came {came}")
    yield from kernel.read_signals(signals, 8)
    kernel.note(f"came {came}")


@scenario(
    'signalfd(2), read(2): "The buffer must be at least sizeof(struct signalfd_siginfo) bytes." '
    "read(2): EINVAL for what is unsuitable for reading, EBADF for what is not open; epoll_ctl(2): "
    "EINVAL for what is not an epoll instance.",
    expect="""
        signalfd([SIGRTMIN]) = s0
        epoll_create() = e0
        read_signals(s0, 0) raises EINVAL
        read_signals(e0, 8) raises EINVAL
        epoll_ctl(s0, ADD, l0) raises EINVAL
        close(s0)
        read_signals(s0, 8) raises EBADF
    """,
)
def errors_of_reading_signals(kernel: Any, listener: int) -> Call[None]:
    signals = yield from kernel.signalfd([SIGRTMIN])
    epfd = yield from kernel.epoll_create()
    yield from refused(kernel.read_signals(signals, 0))
    yield from refused(kernel.read_signals(epfd, 8))
    yield from refused(kernel.epoll_ctl(signals, EPOLL_CTL_ADD, listener))
    yield from kernel.close(signals)
    yield from refused(kernel.read_signals(signals, 8))


@scenario(
    'close(2): "The blocking I/O system call holds a reference to the underlying open file '
    "description, and this reference keeps the description open until the I/O system call "
    'completes." So does a read of a signalfd.',
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        signalfd([SIGRTMIN]) = s0
        close(s0)
        1: set_async(c0, SIGRTMIN)
        1: read_signals(s0, 8) = [SIGRTMIN c0]
    """,
)
def a_read_of_signals_outlives_its_descriptor(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    signals = yield from kernel.signalfd([SIGRTMIN])
    yield from kernel.spawn(reads_its_own, fd, signals)
    yield from kernel.rest()
    yield from kernel.close(signals)
    yield from kernel.step()


def reads_its_own(kernel: Any, fd: int, signals: int) -> Call[None]:
    yield from kernel.set_async(fd, SIGRTMIN)
    yield from kernel.read_signals(signals, 8)


@scenario(
    "epoll(7), questions: a signalfd that is closed leaves the interest list.",
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        epoll_create() = e0
        epoll_ctl(e0, ADD, s0)
        epoll_wait(e0, 8) = [s0]
        close(s0)
        epoll_wait(e0, 8) sleeps
    """,
)
def a_closed_signalfd_leaves_the_interest_list(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, signals)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.close(signals)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    'open(2), O_ASYNC: "This feature is available only for terminals, pseudoterminals, sockets, '
    'and (since Linux 2.6) pipes and FIFOs." A signalfd sends no signals.',
    connect,
    send(0),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        set_async(c0, SIGRTMIN)
        signalfd([SIGRTMIN]) = s0
        set_async(s0, SIGRTMIN)
        read_signals(s0, 1) = [SIGRTMIN c0]
        read_signals(s0, 1) sleeps
    """,
)
def a_signalfd_sends_no_signals(kernel: Any, listener: int) -> Call[None]:
    yield from signalling(kernel, listener, SIGRTMIN)
    signals = yield from kernel.signalfd([SIGRTMIN])
    yield from kernel.set_async(signals, SIGRTMIN)
    yield from kernel.read_signals(signals, 1)
    yield from kernel.read_signals(signals, 1)
