"""select, poll and epoll."""

from __future__ import annotations

from typing import Any

from conformance.scenario import refused, scenario

from iosim.kernel import (
    EAGAIN,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLIN,
    EPOLLONESHOT,
    Call,
)

MS = 1_000_000
LONG = 1_000_000 * MS
"""Longer than a test may take, however slow the machine."""


def watching(kernel: Any, fds: list[int], events: int = EPOLLIN) -> Call[int]:
    """A new epoll instance that watches these descriptors."""
    epfd = yield from kernel.epoll_create()
    for fd in fds:
        yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd, events)
    return epfd


def accepted(kernel: Any, listener: int, count: int) -> Call[list[int]]:
    """So many connections."""
    fds = []
    for _ in range(count):
        fds.append((yield from kernel.accept(listener)))
    return fds


def spawned(kernel: Any, program: Any, *each: Any) -> Call[None]:
    """A thread with each of these arguments; one sleeps before the next begins."""
    for argument in each:
        yield from kernel.spawn(program, argument)
        yield from kernel.rest()


# --- timeouts ---------------------------------------------------------------------------------


@scenario(
    'select(2): "If both fields of the timeval structure are zero, then select() returns '
    'immediately." poll(2): "Specifying a timeout of zero causes poll() to return immediately, '
    'even if no file descriptors are ready." epoll_wait(2) likewise.',
    expect="""
        select(..., 0) = []
        poll(..., 0) = []
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN)
        epoll_wait(e0, 8, 0) = []
    """,
)
def no_timeout_returns_at_once(kernel: Any, listener: int) -> Call[None]:
    fds = kernel.fd_set()
    fds.add(listener)
    yield from kernel.select(fds, 0)
    fds = kernel.poll_set()
    fds.add(listener)
    yield from kernel.poll(fds, 0)
    epfd = yield from watching(kernel, [listener])
    yield from kernel.epoll_wait(epfd, 8, 0)


@scenario(
    'epoll_wait(2): "A call to epoll_wait() will block until either: a file descriptor delivers '
    'an event; the call is interrupted by a signal handler; or the timeout expires." '
    "select(2) and poll(2) likewise.",
    expect="""
        select(..., 20000000) = []
        poll(..., 20000000) = []
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN)
        epoll_wait(e0, 8, 20000000) = []
        epoll_wait(e0, 8) sleeps
    """,
)
def a_timeout_ends_the_wait(kernel: Any, listener: int) -> Call[None]:
    fds = kernel.fd_set()
    fds.add(listener)
    yield from kernel.select(fds, 20 * MS)
    fds = kernel.poll_set()
    fds.add(listener)
    yield from kernel.poll(fds, 20 * MS)
    epfd = yield from watching(kernel, [listener])
    yield from kernel.epoll_wait(epfd, 8, 20 * MS)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    "epoll_wait(2), select(2), poll(2): the timeout is how long the call will block; it ends with "
    "the call.",
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        select(..., 1000000000000) = [c0]
        recv(c0, 100) = 1
        poll(..., 1000000000000) = [c0]
        recv(c0, 100) = 1
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_wait(e0, 8, 1000000000000) = [c0]
        recv(c0, 100) = 1
        epoll_wait(e0, 8) sleeps
    """,
)
def a_timeout_ends_with_its_call(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    for fds, wait in ((kernel.fd_set(), kernel.select), (kernel.poll_set(), kernel.poll)):
        fds.add(fd)
        yield from wait(fds, LONG)
        yield from kernel.recv(fd, 100)
    epfd = yield from watching(kernel, [fd])
    yield from kernel.epoll_wait(epfd, 8, LONG)
    yield from kernel.recv(fd, 100)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    "epoll_wait(2): a thread whose timeout has expired waits no more, so that the next event goes "
    "to one that does.",
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|ET)
        1: epoll_wait(e0, 8) = [l0]
        2: epoll_wait(e0, 8, 20000000) = []
    """,
)
def who_has_timed_out_is_not_woken(kernel: Any, listener: int) -> Call[None]:
    def wait(kernel: Any, timeout_ns: int | None) -> Call[None]:
        given = () if timeout_ns is None else (timeout_ns,)
        yield from kernel.epoll_wait(epfd, 8, *given)

    epfd = yield from watching(kernel, [listener], EPOLLIN | EPOLLET)
    yield from spawned(kernel, wait, None, 20 * MS)
    yield from kernel.step()


# --- which descriptors, in which order ----------------------------------------------------------


@scenario(
    "select(2) reports in its sets, whose members have no order but their numbers; poll(2) reports "
    "in the array that it is given, in the order of that.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(2, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        accept(l0) = c2
        select(...) = [c0, c2]
        poll(...) = [c2, c0]
    """,
)
def order_of_select_and_poll(kernel: Any, listener: int) -> Call[None]:
    connections = yield from accepted(kernel, listener, 3)
    yield from kernel.step()
    yield from kernel.step()
    for fds, wait in ((kernel.fd_set(), kernel.select), (kernel.poll_set(), kernel.poll)):
        for fd in reversed(connections):
            fds.add(fd)
        yield from wait(fds)


@scenario(
    "epoll(7): the ready list is what epoll_wait fetches items from; they stand there in the order "
    "in which they became ready.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(1, 1),
    lambda client: client.send(2, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        accept(l0) = c2
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_ctl(e0, ADD, c1, IN)
        epoll_ctl(e0, ADD, c2, IN)
        epoll_wait(e0, 8) = [c1, c2, c0]
    """,
)
def order_of_the_ready_list(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from watching(kernel, (yield from accepted(kernel, listener, 3)))
    for _ in range(3):
        yield from kernel.step()
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    'epoll_wait(2): "If more than maxevents file descriptors are ready when epoll_wait() is '
    "called, then successive epoll_wait() calls will round robin through the set of ready file "
    'descriptors."',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(1, 1),
    lambda client: client.send(2, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        accept(l0) = c2
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_ctl(e0, ADD, c1, IN)
        epoll_ctl(e0, ADD, c2, IN)
        epoll_wait(e0, 1) = [c0]
        epoll_wait(e0, 2) = [c1, c2]
        epoll_wait(e0, 2) = [c0, c1]
    """,
)
def few_events_at_a_time_are_round_robin(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from watching(kernel, (yield from accepted(kernel, listener, 3)))
    for _ in range(3):
        yield from kernel.step()
    for max_events in (1, 2, 2):
        yield from kernel.epoll_wait(epfd, max_events)


# --- triggers ------------------------------------------------------------------------------------


@scenario(
    'epoll(7): "when used as a level-triggered interface (the default, when EPOLLET is not '
    'specified), epoll is simply a faster poll(2)": both report what is left to read.',
    lambda client: client.connect(),
    lambda client: client.send(0, 20),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_wait(e0, 8) = [c0]
        recv(c0, 15) = 15
        epoll_wait(e0, 8) = [c0]
        poll(..., 0) = [c0]
        recv(c0, 15) = 5
        epoll_wait(e0, 8, 0) = []
        poll(..., 0) = []
    """,
)
def level_triggered_reports_until_drained(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from watching(kernel, [fd])
    fds = kernel.poll_set()
    fds.add(fd)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.recv(fd, 15)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.poll(fds, 0)
    yield from kernel.recv(fd, 15)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.poll(fds, 0)


@scenario(
    'epoll(7): "If the rfd file descriptor has been added to the epoll interface using the EPOLLET '
    "(edge-triggered) flag, the call to epoll_wait(2) done in step 5 will probably hang despite "
    'the available data still present in the file input buffer".',
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e0, 8) = [c0]
        recv(c0, 10) = 10
        epoll_wait(e0, 8) sleeps
    """,
)
def edge_triggered_is_silent_with_data_left(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from watching(kernel, [fd], EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.recv(fd, 10)
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    'epoll(7): "Since even with edge-triggered epoll, multiple events can be generated upon '
    'receipt of multiple chunks of data".',
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e0, 8) = [c0]
        epoll_wait(e0, 8) = [c0]
        epoll_wait(e0, 8, 0) = []
        recv(c0, 1000) = 200
    """,
)
def edge_triggered_reports_each_arrival(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from watching(kernel, [fd], EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.recv(fd, 1000)


@scenario(
    "epoll_ctl(2): EPOLL_CTL_MOD changes the settings; what is there to read by then is an event, "
    "edge-triggered too.",
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e0, 8) = [c0]
        epoll_wait(e0, 8, 0) = []
        epoll_ctl(e0, MOD, c0, IN|ET)
        epoll_wait(e0, 8, 0) = [c0]
        epoll_wait(e0, 8, 0) = []
    """,
)
def edge_triggered_reports_again_after_mod(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from watching(kernel, [fd], EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.epoll_wait(epfd, 8, 0)


@scenario(
    'epoll_ctl(2), EPOLLONESHOT: "after an event notified for the file descriptor by '
    "epoll_wait(2), the file descriptor is disabled in the interest list and no other events will "
    "be reported by the epoll interface. The user must call epoll_ctl() with EPOLL_CTL_MOD to "
    'rearm the file descriptor with a new event mask."',
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ONESHOT)
        epoll_wait(e0, 8) = [c0]
        epoll_wait(e0, 8, 0) = []
        epoll_wait(e0, 8, 0) = []
        epoll_ctl(e0, MOD, c0, IN|ONESHOT)
        epoll_wait(e0, 8, 0) = [c0]
        epoll_wait(e0, 8, 0) = []
    """,
)
def one_shot_is_silent_until_rearmed(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from watching(kernel, [fd], EPOLLIN | EPOLLONESHOT)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.step()
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLONESHOT)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.epoll_wait(epfd, 8, 0)


# --- the interest list ------------------------------------------------------------------------


@scenario(
    "epoll(7), questions and answers: events that took place before a descriptor was added are "
    "reported, edge-triggered too.",
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e0, 8, 0) = [c0]
    """,
)
def what_is_readable_when_added_is_reported(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    epfd = yield from watching(kernel, [fd], EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(epfd, 8, 0)


@scenario(
    'epoll(7): "Will closing a file descriptor cause it to be removed from all epoll interest '
    'lists? Yes".',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    lambda client: client.send(1, 100),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_ctl(e0, ADD, c1, IN)
        epoll_wait(e0, 8, 0) = [c0, c1]
        close(c0)
        epoll_wait(e0, 8, 0) = [c1]
        epoll_ctl(e0, DEL, c1, IN)
        epoll_wait(e0, 8, 0) = []
    """,
)
def closed_and_deleted_ones_are_not_reported(kernel: Any, listener: int) -> Call[None]:
    first, second = yield from accepted(kernel, listener, 2)
    epfd = yield from watching(kernel, [first, second])
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.close(first)
    yield from kernel.epoll_wait(epfd, 8, 0)
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, second, EPOLLIN)
    yield from kernel.epoll_wait(epfd, 8, 0)


@scenario(
    'epoll_ctl(2): "EBADF epfd or fd is not a valid file descriptor. EEXIST op was EPOLL_CTL_ADD, '
    "and the supplied file descriptor fd is already registered with this epoll instance. ENOENT op "
    "was EPOLL_CTL_MOD or EPOLL_CTL_DEL, and fd is not registered with this epoll instance. EINVAL "
    'epfd is not an epoll file descriptor".',
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, MOD, l0) raises ENOENT
        epoll_ctl(e0, DEL, l0) raises ENOENT
        epoll_ctl(e0, ADD, l0)
        epoll_ctl(e0, ADD, l0) raises EEXIST
        epoll_ctl(e0, DEL, l0)
        epoll_ctl(e0, DEL, l0) raises ENOENT
        epoll_ctl(e0, ADD, 12345) raises EBADF
        epoll_ctl(12345, ADD, l0) raises EBADF
        epoll_ctl(l0, ADD, e0) raises EINVAL
    """,
)
def epoll_ctl_errors(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from kernel.epoll_create()
    yield from refused(kernel.epoll_ctl(epfd, EPOLL_CTL_MOD, listener))
    yield from refused(kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, listener))
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener)
    yield from refused(kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, listener))
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, listener)
    yield from refused(kernel.epoll_ctl(epfd, EPOLL_CTL_DEL, listener))
    yield from refused(kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, 12345))
    yield from refused(kernel.epoll_ctl(12345, EPOLL_CTL_ADD, listener))
    yield from refused(kernel.epoll_ctl(listener, EPOLL_CTL_ADD, epfd))


@scenario(
    'epoll_ctl(2): "EPOLLEXCLUSIVE may be used only in an EPOLL_CTL_ADD operation; attempts to '
    "employ it with EPOLL_CTL_MOD yield an error. If EPOLLEXCLUSIVE has been set using "
    "epoll_ctl(), then a subsequent EPOLL_CTL_MOD on the same epfd, fd pair yields an error. A "
    "call to epoll_ctl() that specifies EPOLLEXCLUSIVE in events and specifies the target file "
    "descriptor fd as an epoll instance will likewise fail. The error in all of these cases is "
    'EINVAL." EPOLLONESHOT is not among the values that go with it.',
    expect="""
        epoll_create() = e0
        epoll_create() = e1
        epoll_ctl(e0, ADD, l0, IN|ONESHOT|EXCLUSIVE) raises EINVAL
        epoll_ctl(e0, ADD, e1, IN|EXCLUSIVE) raises EINVAL
        epoll_ctl(e0, ADD, l0, IN)
        epoll_ctl(e0, MOD, l0, IN|EXCLUSIVE) raises EINVAL
        epoll_ctl(e1, ADD, l0, IN|EXCLUSIVE)
        epoll_ctl(e1, MOD, l0, IN) raises EINVAL
        epoll_ctl(e1, DEL, l0, IN)
    """,
)
def exclusive_has_rules(kernel: Any, listener: int) -> Call[None]:
    first = yield from kernel.epoll_create()
    second = yield from kernel.epoll_create()
    exclusive = EPOLLIN | EPOLLEXCLUSIVE
    one_shot = exclusive | EPOLLONESHOT
    yield from refused(kernel.epoll_ctl(first, EPOLL_CTL_ADD, listener, one_shot))
    yield from refused(kernel.epoll_ctl(first, EPOLL_CTL_ADD, second, exclusive))
    yield from kernel.epoll_ctl(first, EPOLL_CTL_ADD, listener, EPOLLIN)
    yield from refused(kernel.epoll_ctl(first, EPOLL_CTL_MOD, listener, exclusive))
    yield from kernel.epoll_ctl(second, EPOLL_CTL_ADD, listener, exclusive)
    yield from refused(kernel.epoll_ctl(second, EPOLL_CTL_MOD, listener, EPOLLIN))
    yield from kernel.epoll_ctl(second, EPOLL_CTL_DEL, listener, EPOLLIN)


# --- who is woken -------------------------------------------------------------------------------


def wait_once(kernel: Any, epfd: int) -> Call[None]:
    yield from kernel.epoll_wait(epfd, 8)


@scenario(
    'epoll_ctl(2): "The default in this scenario (when EPOLLEXCLUSIVE is not set) is for all epoll '
    'file descriptors to receive an event."',
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, l0, IN)
        epoll_create() = e2
        epoll_ctl(e2, ADD, l0, IN)
        1: epoll_wait(e0, 8) = [l0]
        2: epoll_wait(e1, 8) = [l0]
        3: epoll_wait(e2, 8) = [l0]
    """,
)
def a_shared_listener_wakes_every_instance(kernel: Any, listener: int) -> Call[None]:
    instances = []
    for _ in range(3):
        instances.append((yield from watching(kernel, [listener])))
    yield from spawned(kernel, wait_once, *instances)
    yield from kernel.step()


@scenario(
    'epoll_ctl(2): "When a wakeup event occurs and multiple epoll file descriptors are attached to '
    "the same target file using EPOLLEXCLUSIVE, one or more of the epoll file descriptors will "
    'receive an event with epoll_wait(2)." On Linux 6.18 it is the first one added that somebody '
    "waits for, whoever began to wait first.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e1
        epoll_ctl(e1, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e2
        epoll_ctl(e2, ADD, l0, IN|EXCLUSIVE)
        1: epoll_wait(e2, 8) sleeps
        2: epoll_wait(e1, 8) = [l0]
        3: epoll_wait(e0, 8) = [l0]
    """,
)
def an_exclusive_listener_wakes_one_instance(kernel: Any, listener: int) -> Call[None]:
    instances = []
    for _ in range(3):
        instances.append((yield from watching(kernel, [listener], EPOLLIN | EPOLLEXCLUSIVE)))
    yield from spawned(kernel, wait_once, *reversed(instances))
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.step()


@scenario(
    'epoll_ctl(2), EPOLLEXCLUSIVE: "one or more of the epoll file descriptors will receive an '
    'event". Those that nobody waits for receive it on the way to one that wakes somebody.',
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e1
        epoll_ctl(e1, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e2
        epoll_ctl(e2, ADD, l0, IN|EXCLUSIVE)
        epoll_wait(e0, 8, 0) = [l0]
        1: epoll_wait(e1, 8) = [l0]
        2: epoll_wait(e2, 8) sleeps
    """,
)
def exclusive_passes_by_instances_without_waiters(kernel: Any, listener: int) -> Call[None]:
    instances = []
    for _ in range(3):
        instances.append((yield from watching(kernel, [listener], EPOLLIN | EPOLLEXCLUSIVE)))
    yield from spawned(kernel, wait_once, *instances[1:])
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.epoll_wait(instances[0], 8, 0)


@scenario(
    'epoll_ctl(2): "If the same file descriptor is in multiple epoll instances, some with the '
    "EPOLLEXCLUSIVE flag, and others without, then events will be provided to all epoll instances "
    "that did not specify EPOLLEXCLUSIVE, and at least one of the epoll instances that did "
    'specify EPOLLEXCLUSIVE."',
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e1
        epoll_ctl(e1, ADD, l0, IN)
        epoll_create() = e2
        epoll_ctl(e2, ADD, l0, IN|EXCLUSIVE)
        1: epoll_wait(e0, 8) = [l0]
        2: epoll_wait(e1, 8) = [l0]
        3: epoll_wait(e2, 8) sleeps
    """,
)
def exclusive_leaves_the_others_their_events(kernel: Any, listener: int) -> Call[None]:
    instances = []
    for exclusive in (EPOLLEXCLUSIVE, 0, EPOLLEXCLUSIVE):
        instances.append((yield from watching(kernel, [listener], EPOLLIN | exclusive)))
    yield from spawned(kernel, wait_once, *instances)
    yield from kernel.step()


@scenario(
    'epoll(7): "If multiple threads are blocked in epoll_wait(2) waiting on the same epoll file '
    "descriptor and a file descriptor in the interest list that is marked for edge-triggered "
    "(EPOLLET) notification becomes ready, just one of the threads is awoken from "
    'epoll_wait(2)." On Linux 6.18 it is the last one that came.',
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|ET)
        1: epoll_wait(e0, 8) sleeps
        2: epoll_wait(e0, 8) = [l0]
        3: epoll_wait(e0, 8) = [l0]
    """,
)
def an_edge_wakes_one_thread_of_an_instance(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from watching(kernel, [listener], EPOLLIN | EPOLLET)
    yield from spawned(kernel, wait_once, epfd, epfd, epfd)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.step()


@scenario(
    "epoll(7) spares threads that share an instance the herd for EPOLLET only: a level-triggered "
    "descriptor stays ready, and that is news for the next of them.",
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN)
        1: epoll_wait(e0, 8) = [l0]
        2: epoll_wait(e0, 8) = [l0]
        3: epoll_wait(e0, 8) = [l0]
    """,
)
def a_level_wakes_every_thread_of_an_instance(kernel: Any, listener: int) -> Call[None]:
    epfd = yield from watching(kernel, [listener])
    yield from spawned(kernel, wait_once, epfd, epfd, epfd)
    yield from kernel.step()


@scenario(
    'accept(2): "If the socket is marked nonblocking and no pending connections are present on the '
    'queue, accept() fails with the error EAGAIN": all who sleep in poll and select are told of '
    "one connection, and one gets it.",
    lambda client: client.connect(),
    expect="""
        set_nonblocking(l0)
        1 accepted, 2 times EAGAIN
        1: poll(...) = [l0]
        2: poll(...) = [l0]
        3: select(...) = [l0]
    """,
)
def a_connection_wakes_every_poller(kernel: Any, listener: int) -> Call[None]:
    results = kernel.queue()

    def compete(kernel: Any, call: str) -> Call[None]:
        fds = kernel.fd_set() if call == "select" else kernel.poll_set()
        fds.add(listener)
        yield from getattr(kernel, call)(fds)
        yield from kernel.rest()
        # Who comes first is not promised.
        yield from kernel.quiet.put(results, (yield from kernel.quiet.accept(listener)))

    yield from kernel.set_nonblocking(listener)
    yield from spawned(kernel, compete, "poll", "poll", "select")
    yield from kernel.step()
    yield from kernel.rest()
    in_vain = 0
    for _ in range(3):
        in_vain += (yield from kernel.quiet.get(results)) == EAGAIN
    kernel.note(f"{3 - in_vain} accepted, {in_vain} times EAGAIN")


@scenario(
    "accept(2) blocks the caller until a connection is present; of several callers Linux wakes the "
    "one that has slept longest.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        1: accept(l0) = c0
        2: accept(l0) = c1
        3: accept(l0) sleeps
    """,
)
def threads_in_accept_take_turns(kernel: Any, listener: int) -> Call[None]:
    def accept(kernel: Any, listener: int) -> Call[None]:
        yield from kernel.accept(listener)

    yield from spawned(kernel, accept, listener, listener, listener)
    for _ in range(2):
        yield from kernel.step()
        yield from kernel.rest()


# --- instances that watch one another ------------------------------------------------------------


@scenario(
    'epoll(7), questions and answers: "Is the epoll file descriptor itself poll/epoll/selectable? '
    "Yes. If an epoll file descriptor has events waiting, then it will indicate as being "
    'readable."',
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN)
        select(..., 0) = []
        select(...) = [e0]
        select(..., 0) = [e0]
        recv(c0, 100) = 1
        poll(..., 0) = []
        poll(...) = [e0]
        poll(..., 0) = [e0]
        recv(c0, 100) = 1
        epoll_wait(e1, 8, 0) = []
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8, 0) = [e0]
        epoll_wait(e0, 8, 0) = [c0]
        recv(c0, 100) = 1
        epoll_wait(e1, 8, 0) = []
    """,
)
def an_instance_is_readable_with_events(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    inner = yield from watching(kernel, [fd])
    outer = yield from watching(kernel, [inner])
    for fds, wait in ((kernel.fd_set(), kernel.select), (kernel.poll_set(), kernel.poll)):
        fds.add(inner)
        yield from wait(fds, 0)
        yield from wait(fds)
        yield from wait(fds, 0)
        yield from kernel.recv(fd, 100)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_wait(outer, 8)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_wait(inner, 8, 0)
    yield from kernel.recv(fd, 100)
    yield from kernel.epoll_wait(outer, 8, 0)


@scenario(
    "epoll(7): edge-triggered, an instance is reported for each event of a descriptor it watches, "
    "on its ready list already or not, and not for what is left.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    lambda client: client.send(1, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_ctl(e0, ADD, c1, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN|ET)
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8, 0) = []
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8, 0) = []
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8) sleeps
    """,
)
def an_edge_of_an_instance_is_each_of_its_events(kernel: Any, listener: int) -> Call[None]:
    inner = yield from watching(kernel, (yield from accepted(kernel, listener, 2)))
    outer = yield from watching(kernel, [inner], EPOLLIN | EPOLLET)
    for _ in range(2):
        yield from kernel.epoll_wait(outer, 8)
        yield from kernel.epoll_wait(outer, 8, 0)
    for _ in range(2):
        yield from kernel.epoll_wait(outer, 8)


@scenario(
    "epoll_ctl(2), EPOLLONESHOT: an instance too is reported once, until EPOLL_CTL_MOD.",
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN|ONESHOT)
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8, 0) = []
        epoll_ctl(e1, MOD, e0, IN|ONESHOT)
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8) sleeps
    """,
)
def an_instance_is_reported_once_with_one_shot(kernel: Any, listener: int) -> Call[None]:
    inner = yield from watching(kernel, [(yield from kernel.accept(listener))])
    outer = yield from watching(kernel, [inner], EPOLLIN | EPOLLONESHOT)
    yield from kernel.epoll_wait(outer, 8)
    yield from kernel.step()
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_ctl(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLONESHOT)
    yield from kernel.epoll_wait(outer, 8)
    yield from kernel.epoll_wait(outer, 8)


@scenario(
    "epoll(7): what is edge-triggered in an instance makes that readable until it is reported "
    "there, even if data is left.",
    lambda client: client.connect(),
    lambda client: client.send(0, 100),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN)
        epoll_wait(e1, 8) = [e0]
        epoll_wait(e1, 8, 0) = [e0]
        epoll_wait(e0, 8) = [c0]
        epoll_wait(e1, 8) sleeps
    """,
)
def an_edge_makes_an_instance_readable_until_reported(kernel: Any, listener: int) -> Call[None]:
    inner = yield from watching(kernel, [(yield from kernel.accept(listener))], EPOLLIN | EPOLLET)
    outer = yield from watching(kernel, [inner])
    yield from kernel.epoll_wait(outer, 8)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_wait(inner, 8)
    yield from kernel.epoll_wait(outer, 8)


@scenario(
    "epoll(7): the ready list holds what became ready, in that order; on Linux a look whether the "
    "instance is readable takes off it what is found unreadable before the first that is not.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    lambda client: client.send(1, 1),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_ctl(e0, ADD, c1, IN)
        recv(c0, 100) = 1
        poll(..., 0) = [e0]
        epoll_wait(e0, 8) = [c1, c0]
    """,
)
def a_look_at_an_instance_tidies_its_ready_list(kernel: Any, listener: int) -> Call[None]:
    connections = yield from accepted(kernel, listener, 2)
    inner = yield from watching(kernel, connections)
    fds = kernel.poll_set()
    fds.add(inner)
    yield from kernel.step()
    yield from kernel.step()
    yield from kernel.recv(connections[0], 100)
    yield from kernel.poll(fds, 0)
    yield from kernel.step()
    yield from kernel.epoll_wait(inner, 8)


@scenario(
    "epoll_ctl(2): what is readable when it is added to an instance, or armed again, is an event "
    "for those that watch the instance, unless it is on the ready list already.",
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN|ET)
        epoll_ctl(e0, ADD, c0, IN|ET)
        epoll_wait(e1, 8, 0) = [e0]
        epoll_ctl(e0, MOD, c0, IN|ET)
        epoll_wait(e1, 8, 0) = []
        epoll_wait(e0, 8, 0) = [c0]
        epoll_wait(e1, 8, 0) = []
        epoll_ctl(e0, MOD, c0, IN|ET)
        epoll_wait(e1, 8, 0) = [e0]
        epoll_ctl(e1, MOD, e0, IN|ET)
        epoll_wait(e1, 8, 0) = [e0]
    """,
)
def adding_and_arming_is_news_of_the_instance(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    inner = yield from watching(kernel, [])
    outer = yield from watching(kernel, [inner], EPOLLIN | EPOLLET)
    yield from kernel.epoll_ctl(inner, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_ctl(inner, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_wait(inner, 8, 0)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_ctl(inner, EPOLL_CTL_MOD, fd, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.epoll_ctl(outer, EPOLL_CTL_MOD, inner, EPOLLIN | EPOLLET)
    yield from kernel.epoll_wait(outer, 8, 0)


@scenario(
    "epoll(7): an instance tells both the threads that wait in epoll_wait(2) on it and those that "
    "watch it.",
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN)
        epoll_create() = e2
        epoll_ctl(e2, ADD, e1, IN)
        1: epoll_wait(e2, 8) = [e1]
        2: epoll_wait(e1, 8) = [e0]
        3: epoll_wait(e0, 8) = [l0]
        4: poll(...) = [e0]
        5: select(...) = [e1]
    """,
)
def an_instance_tells_all_who_wait(kernel: Any, listener: int) -> Call[None]:
    def scan(kernel: Any, call: str, epfd: int) -> Call[None]:
        fds = kernel.fd_set() if call == "select" else kernel.poll_set()
        fds.add(epfd)
        yield from getattr(kernel, call)(fds)

    instances = [listener]
    for _ in range(3):
        instances.append((yield from watching(kernel, instances[-1:])))
    yield from spawned(kernel, wait_once, *instances[:0:-1])
    for call, epfd in (("poll", instances[1]), ("select", instances[2])):
        yield from kernel.spawn(scan, call, epfd)
        yield from kernel.rest()
    yield from kernel.step()


@scenario(
    'epoll_ctl(2), EPOLLEXCLUSIVE: "one or more of the epoll file descriptors will receive an '
    'event". An instance that is only watched passes it on, as nobody waits for that one itself.',
    lambda client: client.connect(),
    expect="""
        epoll_create() = e0
        epoll_ctl(e0, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e1
        epoll_ctl(e1, ADD, l0, IN|EXCLUSIVE)
        epoll_create() = e2
        epoll_ctl(e2, ADD, e0, IN)
        1: epoll_wait(e2, 8) = [e0]
        2: epoll_wait(e1, 8) = [l0]
    """,
)
def exclusive_passes_by_instances_that_are_only_watched(kernel: Any, listener: int) -> Call[None]:
    first = yield from watching(kernel, [listener], EPOLLIN | EPOLLEXCLUSIVE)
    second = yield from watching(kernel, [listener], EPOLLIN | EPOLLEXCLUSIVE)
    outer = yield from watching(kernel, [first])
    yield from spawned(kernel, wait_once, outer, second)
    yield from kernel.step()


@scenario(
    'epoll(7): "Will closing a file descriptor cause it to be removed from all epoll interest '
    'lists? Yes"; so with one of an instance, and closing that ends its own watching.',
    lambda client: client.connect(),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0, IN)
        epoll_create() = e1
        epoll_ctl(e1, ADD, e0, IN)
        epoll_wait(e1, 8, 0) = [e0]
        close(e0)
        epoll_wait(e1, 8, 0) = []
        epoll_ctl(e1, ADD, e0) raises EBADF
        epoll_create() = e2
        epoll_ctl(e2, ADD, e1, IN)
        epoll_ctl(e1, ADD, e2) raises ELOOP
        close(e2)
        epoll_create() = e3
        epoll_ctl(e3, ADD, c0, IN)
        epoll_ctl(e1, ADD, e3)
        epoll_wait(e1, 8, 0) = [e3]
    """,
)
def closed_instances_are_gone(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    inner = yield from watching(kernel, [fd])
    outer = yield from watching(kernel, [inner])
    yield from kernel.step()
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from kernel.close(inner)
    yield from kernel.epoll_wait(outer, 8, 0)
    yield from refused(kernel.epoll_ctl(outer, EPOLL_CTL_ADD, inner))
    above = yield from watching(kernel, [outer])
    yield from refused(kernel.epoll_ctl(outer, EPOLL_CTL_ADD, above))
    yield from kernel.close(above)
    another = yield from watching(kernel, [fd])
    yield from kernel.epoll_ctl(outer, EPOLL_CTL_ADD, another)
    yield from kernel.epoll_wait(outer, 8, 0)


@scenario(
    'epoll_ctl(2): "EINVAL [...] fd is the same as epfd". "ELOOP fd refers to an epoll instance '
    "and this EPOLL_CTL_ADD operation would result in a circular loop of epoll instances "
    'monitoring one another or a nesting depth of epoll instances greater than 5."',
    expect="""
        epoll_create() = e0
        epoll_create() = e1
        epoll_create() = e2
        epoll_create() = e3
        epoll_create() = e4
        epoll_create() = e5
        epoll_ctl(e0, ADD, e0) raises EINVAL
        epoll_ctl(e0, DEL, e0) raises EINVAL
        epoll_ctl(e0, ADD, e1)
        epoll_ctl(e0, ADD, e1) raises EEXIST
        epoll_ctl(e1, ADD, e0) raises ELOOP
        epoll_ctl(e1, MOD, e0) raises ENOENT
        epoll_ctl(e1, ADD, e2)
        epoll_ctl(e2, ADD, e0) raises ELOOP
        epoll_ctl(e3, ADD, e4)
        epoll_ctl(e4, ADD, e5)
        epoll_ctl(e2, ADD, e3) raises ELOOP
        epoll_ctl(e4, DEL, e5)
        epoll_ctl(e2, ADD, e3)
        epoll_ctl(e4, ADD, e5) raises ELOOP
        epoll_ctl(e5, ADD, e0) raises ELOOP
        epoll_ctl(e5, ADD, e1)
        epoll_ctl(e4, ADD, l0)
    """,
)
def nesting_has_limits(kernel: Any, listener: int) -> Call[None]:
    def add(above: int, below: int) -> Call[None]:
        yield from refused(kernel.epoll_ctl(e[above], EPOLL_CTL_ADD, e[below]))

    e = []
    for _ in range(6):
        e.append((yield from kernel.epoll_create()))
    yield from add(0, 0)
    yield from refused(kernel.epoll_ctl(e[0], EPOLL_CTL_DEL, e[0]))
    yield from add(0, 1)
    yield from add(0, 1)
    yield from add(1, 0)
    yield from refused(kernel.epoll_ctl(e[1], EPOLL_CTL_MOD, e[0]))
    yield from add(1, 2)
    yield from add(2, 0)
    yield from add(3, 4)
    yield from add(4, 5)
    yield from add(2, 3)
    yield from kernel.epoll_ctl(e[4], EPOLL_CTL_DEL, e[5])
    yield from add(2, 3)
    yield from add(4, 5)
    yield from add(5, 0)
    yield from add(5, 1)
    yield from kernel.epoll_ctl(e[4], EPOLL_CTL_ADD, listener)


# --- several listening sockets on one address -----------------------------------------------------


@scenario(
    "socket(7), SO_REUSEPORT: several sockets are bound to an identical address, and each "
    "connection is on one of them; which, is a matter of a hash. A connection that waits stays "
    "where it is; once a socket is closed, new connections are on the others.",
    lambda client: client.connect(),
    *[lambda client: client.connect()] * 20,
    *[lambda client: client.connect()] * 3,
    expect="""
        set_nonblocking(l0)
        reuseport(l0) = l1
        set_nonblocking(l1)
        accept(l1) = EAGAIN
        accept(l0) = c0
        accept(l0) = EAGAIN
        20 connections on two sockets, on each of them some
        close(l1)
        accept(l0) = c1
        accept(l0) = c2
        accept(l0) = c3
        accept(l0) = EAGAIN
    """,
)
def reuseport_shares_an_address(kernel: Any, listener: int) -> Call[None]:
    def take_all(kernel: Any, listener: int) -> Call[int]:
        count = 0
        while (yield from kernel.accept(listener)) != EAGAIN:
            count += 1
        return count

    yield from kernel.set_nonblocking(listener)
    yield from kernel.step()
    another = yield from kernel.reuseport(listener)
    yield from kernel.set_nonblocking(another)
    yield from take_all(kernel, another)
    yield from take_all(kernel, listener)
    for _ in range(20):
        yield from kernel.step()
    first = yield from take_all(kernel.quiet, listener)
    second = yield from take_all(kernel.quiet, another)
    # That all twenty meet on one socket has a probability of two in a million.
    some = "on each of them some" if first and second else "all on one"
    kernel.note(f"{first + second} connections on two sockets, {some}")
    yield from kernel.close(another)
    for _ in range(3):
        yield from kernel.step()
    yield from take_all(kernel, listener)
