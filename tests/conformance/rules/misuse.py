"""What no program should do, and what comes of it: the manual's error, or a refusal by name.

A refusal stands for what C would not compile, or what the manual leaves undefined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from conformance.scenario import refused, scenario

from iosim.errors import IosimError
from iosim.kernel import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLIN,
    SIGIO,
    SIGRTMIN,
    Call,
)

MS = 1_000_000
FAR = 10**9
"""A descriptor that nobody has."""


def rejected(call: Call[Any]) -> Call[None]:
    """A call that raises OSError or IosimError, as the transcript shows."""
    try:
        yield from refused(call)
    except IosimError:
        return


def all_rejected(*calls: Call[Any]) -> Call[None]:
    for call in calls:
        yield from rejected(call)


def noted(kernel: Any, what: str, act: Any, *args: Any) -> None:
    """Tell what comes of what is no call to be waited for."""
    try:
        act(*args)
    except IosimError:
        kernel.note(f"{what} raises IosimError")
    except OSError as error:
        kernel.note(f"{what} raises {error.errno}")
    else:
        kernel.note(what)


# --- descriptors -------------------------------------------------------------------------------


@scenario(
    'recv(2), EBADF: "The argument sockfd is an invalid file descriptor"; likewise send(2), '
    "accept(2), shutdown(2), close(2), fcntl(2), epoll_ctl(2) and epoll_wait(2). No number is "
    "counted from the end, and none is too large to be refused.",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        accept(-1) raises EBADF
        reuseport(-1) raises EBADF
        recv(-1) raises EBADF
        send(-1, 64) raises EBADF
        shutdown(-1) raises EBADF
        close(-1) raises EBADF
        set_nonblocking(-1) raises EBADF
        set_async(-1, SIGIO) raises EBADF
        epoll_wait(-1, 8) raises EBADF
        epoll_ctl(e0, ADD, -1) raises EBADF
        epoll_ctl(-1, ADD, l0) raises EBADF
        read_signals(-1, 8) raises EBADF
        accept(1000000000) raises EBADF
        reuseport(1000000000) raises EBADF
        recv(1000000000) raises EBADF
        send(1000000000, 64) raises EBADF
        shutdown(1000000000) raises EBADF
        close(1000000000) raises EBADF
        set_nonblocking(1000000000) raises EBADF
        set_async(1000000000, SIGIO) raises EBADF
        epoll_wait(1000000000, 8) raises EBADF
        epoll_ctl(e0, ADD, 1000000000) raises EBADF
        epoll_ctl(1000000000, ADD, l0) raises EBADF
        read_signals(1000000000, 8) raises EBADF
    """,
)
def numbers_that_are_no_descriptors(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.accept(listener)
    epfd = yield from kernel.epoll_create()
    for fd in -1, FAR:
        yield from all_rejected(
            kernel.accept(fd),
            kernel.reuseport(fd),
            kernel.recv(fd),
            kernel.send(fd, 64),
            kernel.shutdown(fd),
            kernel.close(fd),
            kernel.set_nonblocking(fd),
            kernel.set_async(fd, SIGIO),
            kernel.epoll_wait(fd, 8),
            kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd),
            kernel.epoll_ctl(fd, EPOLL_CTL_ADD, listener),
            kernel.read_signals(fd, 8),
        )


@scenario(
    "stdin(3): 0, 1 and 2 are open when a program starts, and a process has others for itself. "
    "A server here has the descriptors that it opened, and its listener: EBADF.",
    expect="""
        recv(0) raises EBADF
        send(1, 5) raises EBADF
        close(2) raises EBADF
        close(3) raises EBADF
    """,
)
def descriptors_of_somebody_else(kernel: Any, listener: int) -> Call[None]:
    # That of the listener is another one on each kernel.
    other = next(fd for fd in (3, 4) if fd != listener)
    yield from all_rejected(kernel.recv(0), kernel.send(1, 5), kernel.close(2))
    yield from rejected(kernel.quiet.close(other))
    kernel.note("close(3) raises EBADF")


@scenario(
    "Calls are functions of C: descriptors and sizes are whole numbers. A call that stands where "
    "its result should is refused, and nothing else that is no number is taken for one.",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        recv(...) raises IosimError
        recv(...) raises IosimError
        recv(...) raises IosimError
        recv(c0) raises IosimError
        recv(c0, ...) raises IosimError
        send(c0, ...) raises IosimError
        send(c0, ...) raises IosimError
        send(..., 1) raises IosimError
        accept(...) raises IosimError
        close(...) raises IosimError
        epoll_wait(..., 8) raises IosimError
        compute(...) raises IosimError
        compute(...) raises IosimError
        nanosleep(...) raises IosimError
    """,
)
def what_is_no_number(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)

    def call() -> Any:
        return kernel.quiet.recv(fd)

    for what in call(), None, [fd]:
        yield from shown(kernel, "recv(...)", kernel.quiet.recv(what))
    yield from shown(kernel, "recv(c0)", kernel.quiet.recv(float(fd)))
    for size in (2.5,):
        yield from shown(kernel, "recv(c0, ...)", kernel.quiet.recv(fd, size))
    for size in 64.0, "64":
        yield from shown(kernel, "send(c0, ...)", kernel.quiet.send(fd, size))
    yield from shown(kernel, "send(..., 1)", kernel.quiet.send(call(), 1))
    yield from shown(kernel, "accept(...)", kernel.quiet.accept(call()))
    yield from shown(kernel, "close(...)", kernel.quiet.close(call()))
    yield from shown(kernel, "epoll_wait(..., 8)", kernel.quiet.epoll_wait(call(), 8))
    for ns in call(), 1.5:
        yield from shown(kernel, "compute(...)", kernel.quiet.compute(ns))
    yield from shown(kernel, "nanosleep(...)", kernel.quiet.nanosleep(call()))


def shown(kernel: Any, what: str, call: Call[Any]) -> Call[None]:
    """What comes of a call whose arguments differ from run to run."""
    try:
        yield from call
    except IosimError:
        kernel.note(f"{what} raises IosimError")
    except OSError as error:
        kernel.note(f"{what} raises {error.errno}")
    else:
        kernel.note(what)


@scenario(
    "A whole number is one whatever type it has: those of NumPy are taken (object.__index__ of "
    "Python), and True is 1.",
    lambda client: client.connect(),
    lambda client: client.send(0, 5),
    lambda client: client.recv(0, 4),
    expect="""
        accept(l0) = c0
        3
        1
        1
        3
        client: recv(0, 4) = 4
    """,
)
def whole_numbers_of_other_types(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    quiet = kernel.quiet
    kernel.note(str((yield from quiet.recv(np.int64(fd), np.int32(3)))))
    kernel.note(str(int((yield from quiet.recv(fd, True)))))
    kernel.note(str(int((yield from quiet.send(fd, True)))))
    kernel.note(str((yield from quiet.send(np.int32(fd), np.int64(3)))))
    yield from kernel.step()


# --- sizes and times ---------------------------------------------------------------------------


@scenario(
    'recv(2) and send(2), EINVAL: "Invalid argument passed". recv(2): "The value 0 may also be '
    'returned if the requested number of bytes to receive from a stream socket was 0."',
    lambda client: client.connect(),
    lambda client: client.send(0, 5),
    expect="""
        accept(l0) = c0
        recv(c0, -5) raises EINVAL
        send(c0, -5) raises EINVAL
        recv(c0, 0) = 0
        send(c0, 0) = 0
        recv(c0, 1000000000000) = 5
    """,
)
def sizes_of_nothing_and_less(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    yield from all_rejected(
        kernel.recv(fd, -5),
        kernel.send(fd, -5),
        kernel.recv(fd, 0),
        kernel.send(fd, 0),
        kernel.recv(fd, 10**12),
    )


@scenario(
    'clock_nanosleep(2), EINVAL: "The value in the tv_nsec field was not in the range [0, '
    '999999999] or tv_sec was negative." What is computed takes some time, or none.',
    expect="""
        nanosleep(-1) raises EINVAL
        compute(-100000) raises IosimError
        nanosleep(0)
        compute(0)
    """,
)
def times_before_now(kernel: Any, listener: int) -> Call[None]:
    yield from all_rejected(
        kernel.nanosleep(-1), kernel.compute(-100_000), kernel.nanosleep(0), kernel.compute(0)
    )


# --- readiness ---------------------------------------------------------------------------------


@scenario(
    'epoll_wait(2), EINVAL: "maxevents is less than or equal to zero."',
    expect="""
        epoll_create() = e0
        epoll_wait(e0, 0, 0) raises EINVAL
        epoll_wait(e0, -1, 0) raises EINVAL
        epoll_wait(e0, 1000000000, 0) raises EINVAL
        epoll_wait(e0, 1, 0) = []
    """,
)
def epoll_wait_for_no_events(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    for most in 0, -1, 10**9, 1:
        yield from rejected(kernel.epoll_wait(epfd, most, 0))


@scenario(
    'epoll_ctl(2), EINVAL: "the requested operation op is not supported by this interface." '
    "EPOLL_CTL_DEL ignores the events.",
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0)
        epoll_ctl(e0, , l0) raises EINVAL
        epoll_ctl(e0, , l0) raises EINVAL
        epoll_ctl(e0, ADD|DEL|MOD, l0) raises EINVAL
        epoll_ctl(e0, DEL, l0, )
    """,
)
def operations_that_epoll_ctl_has_not(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener)
    for op in 0, -4, 7:
        yield from rejected(kernel.epoll_ctl(epfd, op, listener))
    yield from rejected(kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, listener, 0))


@scenario(
    "epoll_ctl(2), events: a bit mask. These kernels report input, so an interest in anything "
    "else, or in nothing, is refused by name.",
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, ) raises IosimError
        epoll_ctl(e0, ADD, l0, ET) raises IosimError
        epoll_ctl(e0, ADD, l0, IN) raises IosimError
        epoll_ctl(e0, ADD, l0, IN|ET|ONESHOT|EXCLUSIVE) raises IosimError
        epoll_ctl(e0, ADD, l0, IN|ET)
        epoll_ctl(e0, MOD, l0, ) raises IosimError
    """,
)
def interests_in_no_input(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    for events in 0, EPOLLET, EPOLLIN | 4, -1, EPOLLIN | EPOLLET:
        yield from rejected(kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener, events))
    yield from rejected(kernel.epoll_ctl(epfd, EPOLL_CTL_MOD, listener, 0))


@scenario(
    'select(2): "The behavior of these macros is undefined if a descriptor value is less than zero '
    'or greater than or equal to FD_SETSIZE", so that it is refused by name. A poll(2) of a '
    "negative one would look at nothing.",
    expect="""
        select -1 raises IosimError
        select 1024 raises IosimError
        select None raises IosimError
        poll -1 raises IosimError
        poll 2.0 raises IosimError
        0 and 0 are watched
    """,
)
def sets_of_what_is_no_descriptor(kernel: Any, listener: int) -> Call[None]:
    fds, polled = kernel.fd_set(), kernel.poll_set()
    for fd in -1, 1024, None:
        noted(kernel, f"select {fd}", fds.add, fd)
    for fd in -1, 2.0:
        noted(kernel, f"poll {fd}", polled.add, fd)
    kernel.note(f"{len(fds)} and {len(polled)} are watched")
    return
    yield


@scenario(
    'select(2), EBADF: "An invalid file descriptor was given in one of the sets. (Perhaps a file '
    'descriptor that was already closed [...])". poll(2), POLLNVAL: "Invalid request: fd not '
    'open", which is reported at once.',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        select(...) raises EBADF
        poll(...) = [900]
        close(c0)
        select(..., 0) = []
        select(..., 0) raises EBADF
        poll(...) = [c0]
        poll(..., 0) = []
    """,
)
def sets_with_what_is_not_open(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    fds, polled = kernel.fd_set(), kernel.poll_set()
    for watched in fds, polled:
        watched.add(900)
    yield from rejected(kernel.select(fds))
    yield from kernel.poll(polled)
    for watched in fds, polled:
        watched.discard(900)
        watched.add(fd)
    yield from kernel.close(fd)
    fds.discard(fd)
    yield from kernel.select(fds, 0)
    fds.add(fd)
    yield from rejected(kernel.select(fds, 0))
    yield from kernel.poll(polled)
    polled.discard(fd)
    yield from kernel.poll(polled, 0)


@scenario(
    'select(2), EINVAL: "The value contained within timeout is invalid." poll(2): "Specifying a '
    'negative value in timeout means an infinite timeout"; epoll_wait(2): "a timeout of -1 causes '
    'epoll_wait() to block indefinitely".',
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0)
        select(..., -1) raises EINVAL
        poll has slept
        epoll_wait has slept
    """,
)
def timeouts_before_now(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener)
    fds, polled = kernel.fd_set(), kernel.poll_set()
    for watched in fds, polled:
        watched.add(listener)
    yield from rejected(kernel.select(fds, -1))
    # They sleep until a client connects.
    quiet = kernel.quiet
    assert (yield from quiet.poll(polled, -1)) == [listener]
    kernel.note("poll has slept")
    yield from quiet.accept(listener)
    assert (yield from quiet.epoll_wait(epfd, 8, -MS)) == [listener]
    kernel.note("epoll_wait has slept")


@scenario(
    "select(2) takes an fd_set and poll(2) an array of pollfd: the compiler tells them apart. "
    "Timeouts are whole numbers.",
    expect="""
        select(...) raises IosimError
        poll(...) raises IosimError
        select(...) raises IosimError
        poll(...) raises IosimError
        select(..., ...) raises IosimError
        poll(..., ...) raises IosimError
        epoll_create() = e0
        epoll_wait(e0, 8, ...) raises IosimError
    """,
)
def the_wrong_kind_of_set(kernel: Any, listener: int) -> Call[None]:
    fds, polled = kernel.fd_set(), kernel.poll_set()
    yield from all_rejected(
        kernel.select(polled),
        kernel.poll(fds),
        kernel.select([listener]),
        kernel.poll(None),
        kernel.select(fds, 0.5),
        kernel.poll(polled, 0.5),
    )
    epfd = yield from kernel.epoll_create()
    yield from rejected(kernel.epoll_wait(epfd, 8, 0.5))


# --- signals -----------------------------------------------------------------------------------


@scenario(
    'sigaction(2), EINVAL: "An invalid signal was specified. This will also be generated if an '
    "attempt is made to change the action for SIGKILL or SIGSTOP, which cannot be caught or "
    'ignored." signal(7): the C library keeps the first two real-time signals.',
    expect="""
        0 raises 22
        -1 raises 22
        65 raises 22
        9 raises 22
        19 raises 22
        32 raises 22
        no handler raises IosimError
        a handler that makes calls raises IosimError
    """,
)
def signals_that_nobody_handles(kernel: Any, listener: int) -> Call[None]:
    quiet = kernel.quiet
    for signal in 0, -1, 65, 9, 19, 32:
        yield from shown(kernel, str(signal), quiet.sigaction(signal, print))
    yield from shown(kernel, "no handler", quiet.sigaction(SIGRTMIN, None))

    def calls(signal: int) -> Call[None]:
        yield from kernel.close(listener)

    yield from shown(kernel, "a handler that makes calls", quiet.sigaction(SIGRTMIN, calls))


@scenario(
    'sigsetops(3), EINVAL: "signum is not a valid signal." sigprocmask(2): "It is not possible to '
    'block SIGKILL or SIGSTOP. Attempts to do so are silently ignored."',
    expect="""
        sigblock [0] raises 22
        sigunblock [0] raises 22
        sigwaitinfo [0] raises 22
        signalfd [0] raises 22
        sigblock [-1] raises 22
        sigunblock [-1] raises 22
        sigwaitinfo [-1] raises 22
        signalfd [-1] raises 22
        sigblock [65] raises 22
        sigunblock [65] raises 22
        sigwaitinfo [65] raises 22
        signalfd [65] raises 22
        sigblock 34 raises IosimError
        sigunblock 34 raises IosimError
        sigwaitinfo 34 raises IosimError
        signalfd 34 raises IosimError
        sigblock ['SIGIO'] raises IosimError
        sigunblock ['SIGIO'] raises IosimError
        sigwaitinfo ['SIGIO'] raises IosimError
        signalfd ['SIGIO'] raises IosimError
        SIGKILL and SIGSTOP
    """,
)
def sets_of_no_signals(kernel: Any, listener: int) -> Call[None]:
    quiet = kernel.quiet
    for signals in [0], [-1], [65], 34, ["SIGIO"]:
        for name in "sigblock", "sigunblock", "sigwaitinfo", "signalfd":
            yield from shown(kernel, f"{name} {signals}", getattr(quiet, name)(signals))
    yield from shown(kernel, "SIGKILL and SIGSTOP", quiet.sigblock([9, 19]))


@scenario(
    'fcntl(2), EINVAL: "op is F_SETSIG and arg is not an allowable signal number." F_SETSIG: "A '
    'value of zero means to send the default SIGIO signal."',
    lambda client: client.connect(),
    expect="""
        sigblock([SIGIO])
        set_async to 65 raises 22
        set_async to -1 raises 22
        set_async to None raises IosimError
        set_async to 0
        sigwaitinfo([SIGIO]) = SIGIO -1
    """,
)
def signals_that_no_input_sends(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGIO])
    for signal in 65, -1, None, 0:
        call = kernel.quiet.set_async(listener, signal)
        yield from shown(kernel, f"set_async to {signal}", call)
    yield from kernel.sigwaitinfo([SIGIO])


@scenario(
    "Kernel.sigaction: handlers run in the main thread, which installs them; a signal that another "
    "one blocks has a handler already.",
    expect="""
        1: sigaction(SIGRTMIN, print) raises IosimError
        1: sigblock([SIGRTMIN]) raises IosimError
    """,
)
def handlers_of_other_threads(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.spawn(install)
    yield from kernel.rest()


def install(kernel: Any) -> Call[None]:
    yield from all_rejected(kernel.sigaction(SIGRTMIN, print), kernel.sigblock([SIGRTMIN]))


# --- threads and queues --------------------------------------------------------------------------


@scenario(
    "pthread_create(3): the thread executes start_routine(), a function. A program is a generator "
    "function, and its kernel is that of its own thread.",
    expect="""
        a number raises IosimError
        a program that runs already raises IosimError
        the parent's kernel raises IosimError
        a closure over it raises IosimError
        put raises IosimError
        get raises IosimError
    """,
)
def what_is_no_program(kernel: Any, listener: int) -> Call[None]:
    quiet = kernel.quiet

    def over(own: Any) -> Call[None]:
        yield from quiet.close(listener)

    begun = install(kernel)
    yield from shown(kernel, "a number", quiet.spawn(7))
    yield from shown(kernel, "a program that runs already", quiet.spawn(begun))
    yield from shown(kernel, "the parent's kernel", quiet.spawn(install, quiet))
    yield from shown(kernel, "a closure over it", quiet.spawn(over))
    yield from shown(kernel, "put", quiet.put([], 1))
    yield from shown(kernel, "get", quiet.get(None))


# --- asynchronous reads ---------------------------------------------------------------------------


@scenario(
    'aio_return(3), EINVAL: "aiocbp does not point at a control block for an asynchronous I/O '
    'request of which the return status has not been retrieved yet." aio_error(3): EINPROGRESS "if '
    'the request has not been completed yet".',
    lambda client: client.connect(),
    lambda client: client.send(0, 5),
    expect="""
        sigblock([SIGRTMIN])
        accept(l0) = c0
        aio_return(c0) raises EINVAL
        aio_return(-1) raises EINVAL
        aio_read(c0, 100, SIGRTMIN)
        aio_return(c0) = EINPROGRESS
        aio_read(c0, 100, SIGRTMIN) raises IosimError
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN c0
        aio_read(c0, 100, SIGRTMIN) raises IosimError
        aio_return(c0) = 5
        aio_return(c0) raises EINVAL
        aio_init(3) raises EBUSY
    """,
    needs="aio",
)
def results_that_are_not_there(kernel: Any, listener: int) -> Call[None]:
    yield from kernel.sigblock([SIGRTMIN])
    fd = yield from kernel.accept(listener)
    yield from rejected(kernel.aio_return(fd))
    yield from rejected(kernel.aio_return(-1))
    yield from kernel.aio_read(fd, 100, SIGRTMIN)
    yield from kernel.aio_return(fd)
    yield from rejected(kernel.aio_read(fd, 100, SIGRTMIN))
    yield from kernel.sigwaitinfo([SIGRTMIN])
    yield from rejected(kernel.aio_read(fd, 100, SIGRTMIN))
    yield from kernel.aio_return(fd)
    yield from rejected(kernel.aio_return(fd))
    yield from rejected(kernel.aio_init(3))


@scenario(
    'aio_read(3), EINVAL: one or more of the values are invalid; EBADF: "aio_fildes is not a valid '
    'file descriptor opened for reading", which the read tells when it is over; read(2), EINVAL: '
    '"fd is attached to an object which is unsuitable for reading".',
    expect="""
        epoll_create() = e0
        sigblock([SIGRTMIN])
        -5 bytes raises 22
        signal 65 raises 22
        notify None raises IosimError
        aio_read(900, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN 900
        aio_return(900) = EBADF
        aio_read(l0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN l0
        aio_return(l0) = ENOTCONN
        aio_read(e0, 100, SIGRTMIN)
        sigwaitinfo([SIGRTMIN]) = SIGRTMIN e0
        aio_return(e0) = EINVAL
    """,
    needs="aio",
)
def reads_of_what_is_no_connection(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    yield from kernel.sigblock([SIGRTMIN])
    quiet = kernel.quiet
    yield from shown(kernel, "-5 bytes", quiet.aio_read(listener, -5, SIGRTMIN))
    yield from shown(kernel, "signal 65", quiet.aio_read(listener, 5, 65))
    yield from shown(kernel, "notify None", quiet.aio_read(listener, 5, None))
    for fd in 900, listener, epfd:
        yield from kernel.aio_read(fd, 100, SIGRTMIN)
        yield from kernel.sigwaitinfo([SIGRTMIN])
        yield from kernel.aio_return(fd)


# --- rings --------------------------------------------------------------------------------------


@scenario(
    'io_uring_enter(2), CQE errors: "EBADF The fd field in the submission queue entry is invalid"; '
    "requests on the wrong kind of file complete with the error of the call: recv(2), accept(2), "
    "send(2).",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        io_uring_setup(8)
        io_uring_enter(..., 1) = [recv: EBADF]
        io_uring_enter(..., 1) = [recv: EBADF]
        io_uring_enter(..., 1) = [recv: ENOTCONN]
        io_uring_enter(..., 1) = [recv: ENOTSOCK]
        io_uring_enter(..., 1) = [accept: EINVAL]
        io_uring_enter(..., 1) = [accept: ENOTSOCK]
        io_uring_enter(..., 1) = [send: EPIPE]
        io_uring_enter(..., 1) = [send: ENOTSOCK]
    """,
    needs="io_uring",
)
def requests_on_the_wrong_kind(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from kernel.epoll_create()
    ring = yield from kernel.io_uring_setup(8)
    for wrong in -1, FAR, listener, epfd:
        kernel.prep_recv(ring, wrong, 100, "recv")
        yield from kernel.io_uring_enter(ring, 1)
    for wrong in fd, epfd:
        kernel.prep_accept(ring, wrong, "accept")
        yield from kernel.io_uring_enter(ring, 1)
    for wrong in listener, epfd:
        kernel.prep_send(ring, wrong, 5, "send")
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    "io_uring_setup(2): a ring is what the call gives; IORING_SETUP_SINGLE_ISSUER: only one task "
    'submits requests, and "the kernel enforces this rule by failing requests with -EEXIST if the '
    'restriction is violated".',
    expect="""
        io_uring_setup(8)
        io_uring_enter(..., 0) raises IosimError
        io_uring_submit(...) raises IosimError
        io_uring_enter(..., -1) raises IosimError
        io_uring_enter(..., ...) raises IosimError
        prep_recv raises IosimError
        prep_recv raises IosimError
        prep_recv raises 22
        prep_send raises 22
        sq_space_left raises IosimError
        1: io_uring_enter(..., 0) raises EEXIST
        1: io_uring_submit(...) raises EEXIST
    """,
    needs="io_uring",
)
def rings_that_are_none_or_of_others(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(8)
    call = kernel.quiet.io_uring_setup(8)
    yield from all_rejected(
        kernel.io_uring_enter(call, 0),
        kernel.io_uring_submit(None),
        kernel.io_uring_enter(ring, -1),
        kernel.io_uring_enter(ring, 0.5),
    )
    noted(kernel, "prep_recv", kernel.prep_recv, call, listener, 5, "recv")
    noted(kernel, "prep_recv", kernel.prep_recv, ring, call, 5, "recv")
    noted(kernel, "prep_recv", kernel.prep_recv, ring, listener, -5, "recv")
    noted(kernel, "prep_send", kernel.prep_send, ring, listener, -5, "send")
    noted(kernel, "sq_space_left", kernel.sq_space_left, listener)
    yield from kernel.spawn(enter, ring)
    yield from kernel.rest()


def enter(kernel: Any, ring: Any) -> Call[None]:
    yield from all_rejected(kernel.io_uring_enter(ring, 0), kernel.io_uring_submit(ring))


@scenario(
    "io_uring_setup(2), EINVAL: entries is out of bounds. io_uring_register(2): the sizes of "
    "buffers are numbers. io_uring_buf_ring_add(3): a buffer is given back once, by its number.",
    lambda client: client.connect(),
    lambda client: client.send(0, 5),
    expect="""
        io_uring_setup(-1) raises EINVAL
        io_uring_setup(8, -1) raises EINVAL
        io_uring_setup(8, 16, -1) raises EINVAL
        io_uring_setup(...) raises IosimError
        accept(l0) = c0
        io_uring_setup(8)
        return_buffer 0 raises IosimError
        io_uring_register_buffers(..., 0, 10) raises EINVAL
        io_uring_register_buffers(..., 2, 0) raises EINVAL
        io_uring_register_buffers(..., 2, -10) raises EINVAL
        io_uring_register_buffers(..., 2, 10)
        return_buffer 0 raises IosimError
        return_buffer 7 raises IosimError
        io_uring_enter(..., 1) = [recv: 5 in buffer 0, more]
        return_buffer 0
        return_buffer 0 raises IosimError
    """,
    needs="io_uring",
)
def sizes_and_buffers_of_rings(kernel: Any, listener: int) -> Call[None]:
    yield from all_rejected(
        kernel.io_uring_setup(-1),
        kernel.io_uring_setup(8, -1),
        kernel.io_uring_setup(8, 16, -1),
        kernel.io_uring_setup(None),
    )
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(8)

    def give_back(buffer: int) -> None:
        what = f"return_buffer {buffer}"
        noted(kernel, what, kernel.io_uring_return_buffer, ring, buffer)

    give_back(0)
    yield from all_rejected(
        kernel.io_uring_register_buffers(ring, 0, 10),
        kernel.io_uring_register_buffers(ring, 2, 0),
        kernel.io_uring_register_buffers(ring, 2, -10),
    )
    yield from kernel.io_uring_register_buffers(ring, 2, 10)
    give_back(0)
    give_back(7)
    kernel.prep_recv_multishot(ring, fd, "recv")
    yield from kernel.io_uring_enter(ring, 1)
    give_back(0)
    give_back(0)


# --- the application ----------------------------------------------------------------------------


@scenario(
    "Kernel.requests counts what has been received into requests, once: more than that, or the "
    "error number of a read, is refused by name.",
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        -11 raises IosimError
        1 raises IosimError
        recv(c0) = 100
        101 raises IosimError
        64
        36
        1 raises IosimError
        of a listener raises 107
        of an epoll instance raises 88
        of what is not open raises 9
    """,
)
def bytes_that_are_no_requests(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    epfd = yield from kernel.quiet.epoll_create()
    for nbytes in -11, 1:
        noted(kernel, str(nbytes), kernel.requests, fd, nbytes)
    yield from kernel.recv(fd)
    for nbytes in 101, 64, 36, 1:
        noted(kernel, str(nbytes), kernel.requests, fd, nbytes)
    noted(kernel, "of a listener", kernel.requests, listener, 64)
    noted(kernel, "of an epoll instance", kernel.requests, epfd, 64)
    noted(kernel, "of what is not open", kernel.requests, FAR, 64)
