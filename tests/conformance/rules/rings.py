"""io_uring: queues, overflow, multishot requests, provided buffers, SQPOLL."""

from __future__ import annotations

from typing import Any

from conformance.scenario import scenario

from iosim.errors import IosimError
from iosim.kernel import EPOLL_CTL_ADD, Call

NEEDS = "io_uring"

MULTISHOT = "io_uring_multishot(7): "
SETUP = "io_uring_setup(2): "

LARGE = 1 << 24
"""More bytes than all buffers between two programs hold."""


@scenario(
    "io_uring_enter(2): a single call submits new I/O and waits for completions.",
    lambda client: client.connect(),
    lambda client: client.send(0, 30),
    lambda client: client.recv(0, 11),
    expect="""
        accept(l0) = c0
        io_uring_setup(8)
        io_uring_enter(..., 3) = [send: 5, recv: 30, send: 6]
        client: recv(0, 11) = 11
    """,
    needs=NEEDS,
)
def one_enter_submits_and_completes_a_batch(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    ring = yield from kernel.io_uring_setup(8)
    kernel.prep_send(ring, fd, 5, "send")
    kernel.prep_recv(ring, fd, 100, "recv")
    kernel.prep_send(ring, fd, 6, "send")
    yield from kernel.io_uring_enter(ring, 3)
    yield from kernel.step()


@scenario(
    SETUP + 'IORING_FEAT_FAST_POLL: requests "will begin operation when the file is ready".',
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        io_uring_enter(..., 0) = [recv: 3]
    """,
    needs=NEEDS,
)
def recv_without_data_completes_later(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, fd, 100, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.step()
    yield from kernel.io_uring_enter(ring, 0)


@scenario(
    "recv(2) returns EAGAIN on a nonblocking socket without data; io_uring_prep_recv(3) waits for "
    "data all the same, unless MSG_DONTWAIT is among the flags.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0, True) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        io_uring_enter(..., 1) = [recv: 3]
    """,
    needs=NEEDS,
)
def recv_ignores_o_nonblock(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener, nonblocking=True)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, fd, 100, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    "io_uring_enter(2), IORING_ENTER_GETEVENTS: the call waits for the number of events given by "
    "min_complete.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(1, 2),
    lambda client: client.send(0, 1),
    expect="""
        accept(l0) = c0
        accept(l0) = c1
        io_uring_setup(4)
        io_uring_enter(..., 2) = [second: 2, first: 1]
    """,
    needs=NEEDS,
)
def min_complete_waits_for_several(kernel: Any, listener: int) -> Call[None]:
    first = yield from kernel.accept(listener)
    second = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, first, 100, "first")
    kernel.prep_recv(ring, second, 100, "second")
    yield from kernel.io_uring_enter(ring, 2)


@scenario(
    "io_uring_enter(2): failures of an operation are results of its completion.",
    expect="""
        io_uring_setup(4)
        io_uring_enter(..., 2) = [recv: EBADF, send: EBADF]
    """,
    needs=NEEDS,
)
def failures_are_completions(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, 999, 100, "recv")
    kernel.prep_send(ring, 999, 100, "send")
    yield from kernel.io_uring_enter(ring, 2)


@scenario(
    SETUP + 'IORING_SETUP_CQSIZE: "The value must be greater than entries, and may be rounded up '
    'to the next power-of-two." (Linux takes an equal one too.)',
    expect="""
        io_uring_setup(5)
        room for 8
        io_uring_setup(8, 8)
        io_uring_setup(0) raises EINVAL
        io_uring_setup(8, 4) raises EINVAL
    """,
    needs=NEEDS,
)
def sizes_are_powers_of_two(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(5)
    kernel.note(f"room for {kernel.sq_space_left(ring)}")
    yield from kernel.io_uring_setup(8, 8)
    for sizes in ((0,), (8, 4)):
        try:
            yield from kernel.io_uring_setup(*sizes)
        except OSError:
            pass


@scenario(
    'io_uring_get_sqe(3): "If NULL is returned, the SQ ring is currently full and entries must be '
    'submitted for processing before new ones can get allocated."',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        io_uring_setup(2)
        room for 0
        full
        io_uring_submit(...)
        room for 2
        io_uring_enter(..., 3) = [1: 1, 2: 2, 3: 3]
    """,
    needs=NEEDS,
)
def full_submission_queue_must_be_submitted(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(2)
    kernel.prep_send(ring, fd, 1, 1)
    kernel.prep_send(ring, fd, 2, 2)
    kernel.note(f"room for {kernel.sq_space_left(ring)}")
    try:
        kernel.prep_send(ring, fd, 3, 3)
    except IosimError:
        kernel.note("full")
    yield from kernel.io_uring_submit(ring)
    kernel.note(f"room for {kernel.sq_space_left(ring)}")
    kernel.prep_send(ring, fd, 3, 3)
    yield from kernel.io_uring_enter(ring, 3)


@scenario(
    SETUP + 'IORING_FEAT_NODROP: "If a completion event occurs and the CQ ring is full, the kernel '
    'stores the event internally until such a time that the CQ ring has room for more entries."',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        io_uring_setup(2, 2)
        io_uring_submit(...)
        io_uring_submit(...)
        io_uring_enter(..., 5) = [1: 1, 2: 2]
        io_uring_enter(..., 0) = [3: 3, 4: 4]
        io_uring_enter(..., 1) = [5: 5]
        io_uring_enter(..., 0) = []
    """,
    needs=NEEDS,
)
def overflown_completions_come_later_in_order(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(2, 2)
    for number in range(1, 6):
        if not kernel.sq_space_left(ring):
            yield from kernel.io_uring_submit(ring)
        kernel.prep_send(ring, fd, number, number)
    for wanted in (5, 0, 1, 0):
        yield from kernel.io_uring_enter(ring, wanted)


@scenario(
    SETUP + 'IORING_FEAT_NODROP: "If a completion event occurs and the CQ ring is full, the kernel '
    'stores the event internally until such a time that the CQ ring has room for more entries."',
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        io_uring_setup(2, 2)
        io_uring_submit(...)
        io_uring_enter(..., 0) = [1: 1, 2: 2]
        io_uring_enter(..., 0) = [3: 3, 4: 4]
    """,
    needs=NEEDS,
)
def new_completions_come_behind_overflown_ones(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(2, 2)
    kernel.prep_send(ring, fd, 1, 1)
    kernel.prep_send(ring, fd, 2, 2)
    yield from kernel.io_uring_submit(ring)
    for number in (3, 4):
        kernel.prep_send(ring, fd, number, number)
        yield from kernel.io_uring_enter(ring, 0)


@scenario(
    MULTISHOT + '"Each incoming connection generates a CQE with the new file descriptor in '
    'cqe->res."',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        io_uring_setup(4)
        io_uring_enter(..., 1) = [accept: c0, more]
        io_uring_enter(..., 1) = [accept: c1, more]
        io_uring_enter(..., 1) = [accept: c2, more]
        io_uring_enter(..., 1) sleeps
    """,
    needs=NEEDS,
)
def multishot_accept_goes_on(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_accept_multishot(ring, listener, "accept")
    while True:
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    "io_uring_prep_accept(3): the single-shot request completes once.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        io_uring_setup(4)
        io_uring_enter(..., 1) = [accept: c0]
        io_uring_enter(..., 1) sleeps
    """,
    needs=NEEDS,
)
def accept_completes_once(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_accept(ring, listener, "accept")
    while True:
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    'io_uring_prep_recv_multishot(3): "issue a single receive request, which repeatedly posts a '
    'CQE when data is available."',
    lambda client: client.connect(),
    lambda client: client.send(0, 7),
    lambda client: client.send(0, 25),
    expect="""
        accept(l0) = c0
        io_uring_setup(8)
        io_uring_register_buffers(..., 4, 10)
        io_uring_enter(..., 1) = [recv: 7 in buffer 0, more]
        io_uring_enter(..., 1) = [recv: 10 in buffer 1, more, recv: 10 in buffer 2, more, \
recv: 5 in buffer 3, more]
        io_uring_enter(..., 1) sleeps
    """,
    needs=NEEDS,
)
def multishot_recv_goes_on(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(8)
    yield from kernel.io_uring_register_buffers(ring, 4, 10)
    kernel.prep_recv_multishot(ring, fd, "recv")
    while True:
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    MULTISHOT + '"If the buffer ring becomes empty, the multishot operation terminates with '
    '-ENOBUFS."',
    lambda client: client.connect(),
    lambda client: client.send(0, 30),
    expect="""
        accept(l0) = c0
        io_uring_setup(8)
        io_uring_register_buffers(..., 2, 10)
        io_uring_enter(..., 1) = [recv: 10 in buffer 0, more, recv: 10 in buffer 1, more, \
recv: ENOBUFS]
        io_uring_enter(..., 0) = []
        io_uring_enter(..., 1) = [again: 10 in buffer 1, more]
    """,
    needs=NEEDS,
)
def multishot_recv_ends_without_buffers(kernel: Any, listener: int) -> Call[None]:
    """It takes up the data left where it is when it is submitted again."""
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(8)
    yield from kernel.io_uring_register_buffers(ring, 2, 10)
    kernel.prep_recv_multishot(ring, fd, "recv")
    yield from kernel.io_uring_enter(ring, 1)
    kernel.io_uring_return_buffer(ring, 1)
    yield from kernel.io_uring_enter(ring, 0)
    kernel.prep_recv_multishot(ring, fd, "again")
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    MULTISHOT + '"Each completion consumes a buffer from the ring, and the application must return '
    'buffers to the ring to keep the operation running."',
    lambda client: client.connect(),
    lambda client: client.send(0, 10),
    lambda client: client.send(0, 9),
    lambda client: client.send(0, 8),
    lambda client: client.send(0, 7),
    expect="""
        accept(l0) = c0
        io_uring_setup(8)
        io_uring_register_buffers(..., 2, 10)
        io_uring_enter(..., 1) = [recv: 10 in buffer 0, more]
        io_uring_enter(..., 1) = [recv: 9 in buffer 1, more]
        io_uring_enter(..., 1) = [recv: 8 in buffer 1, more]
        io_uring_enter(..., 1) = [recv: 7 in buffer 0, more]
    """,
    needs=NEEDS,
)
def returned_buffers_are_used_again(kernel: Any, listener: int) -> Call[None]:
    """In the order in which they were returned."""
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(8)
    yield from kernel.io_uring_register_buffers(ring, 2, 10)
    kernel.prep_recv_multishot(ring, fd, "recv")
    yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.io_uring_enter(ring, 1)
    kernel.io_uring_return_buffer(ring, 1)
    kernel.io_uring_return_buffer(ring, 0)
    yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    MULTISHOT + '"The multishot receive terminates when an error occurs, the connection closes, or '
    'the buffer ring is exhausted."',
    lambda client: client.connect(),
    lambda client: client.send(0, 10),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_register_buffers(..., 4, 100)
        io_uring_enter(..., 1) = [recv: 10 in buffer 0, more]
        io_uring_enter(..., 1) = [recv: 0]
        io_uring_enter(..., 1) sleeps
    """,
    needs=NEEDS,
)
def end_of_stream_ends_multishot_recv(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    yield from kernel.io_uring_register_buffers(ring, 4, 100)
    kernel.prep_recv_multishot(ring, fd, "recv")
    while True:
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    MULTISHOT + '"Ensure the CQ ring is large enough to avoid overflow." The completion that does '
    "not fit is the last one of the request (io_req_post_cqe in io_uring/io_uring.c).",
    lambda client: client.connect(),
    lambda client: client.send(0, 70),
    expect="""
        accept(l0) = c0
        io_uring_setup(2, 4)
        io_uring_register_buffers(..., 16, 10)
        io_uring_enter(..., 1) = [recv: 10 in buffer 0, more, recv: 10 in buffer 1, more, \
recv: 10 in buffer 2, more, recv: 10 in buffer 3, more]
        io_uring_enter(..., 1) = [recv: 10 in buffer 4]
        io_uring_enter(..., 0) = []
        io_uring_enter(..., 1) = [again: 10 in buffer 5, more, again: 10 in buffer 6, more]
    """,
    needs=NEEDS,
)
def overflow_ends_multishot_recv(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    yield from kernel.step()
    ring = yield from kernel.io_uring_setup(2, 4)
    yield from kernel.io_uring_register_buffers(ring, 16, 10)
    kernel.prep_recv_multishot(ring, fd, "recv")
    for wanted in (1, 1, 0):
        yield from kernel.io_uring_enter(ring, wanted)
    kernel.prep_recv_multishot(ring, fd, "again")
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    MULTISHOT + '"Ensure the CQ ring is large enough to avoid overflow."',
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.connect(),
    expect="""
        io_uring_setup(2, 2)
        io_uring_enter(..., 1) = [accept: c0, more, accept: c1, more]
        io_uring_enter(..., 1) = [accept: c2]
        io_uring_enter(..., 1) sleeps
    """,
    needs=NEEDS,
)
def overflow_ends_multishot_accept(kernel: Any, listener: int) -> Call[None]:
    for _ in range(4):
        yield from kernel.step()
    ring = yield from kernel.io_uring_setup(2, 2)
    kernel.prep_accept_multishot(ring, listener, "accept")
    while True:
        yield from kernel.io_uring_enter(ring, 1)


@scenario(
    "io_uring_register(2), IORING_REGISTER_PBUF_RING: the number of entries must be a power of "
    "two; EEXIST, since a ring has one group of buffers here.",
    expect="""
        io_uring_setup(2)
        io_uring_register_buffers(..., 3, 10) raises EINVAL
        io_uring_register_buffers(..., 4, 10)
        io_uring_register_buffers(..., 4, 10) raises EEXIST
    """,
    needs=NEEDS,
)
def buffers_are_a_power_of_two(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(2)
    for count in (3, 4, 4):
        try:
            yield from kernel.io_uring_register_buffers(ring, count, 10)
        except OSError:
            pass


@scenario(
    SETUP + 'IORING_SETUP_SQPOLL: "the application can submit and reap I/Os without doing a single '
    'system call."',
    lambda client: client.connect(),
    lambda client: client.recv(0, 3),
    expect="""
        accept(l0) = c0
        io_uring_setup(4, ..., 500000000)
        io_uring_enter(..., 1) = [send: 2]
        asleep: False
        io_uring_submit(...)
        io_uring_enter(..., 0) = [send: 1]
        client: recv(0, 3) = 3
    """,
    needs=NEEDS,
)
def sqpoll_submits_without_a_call(kernel: Any, listener: int) -> Call[None]:
    """The client has its bytes before the program enters the ring."""
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4, None, 500_000_000)
    kernel.prep_send(ring, fd, 2, "send")
    yield from kernel.io_uring_enter(ring, 1)
    kernel.note(f"asleep: {kernel.io_uring_needs_wakeup(ring)}")
    kernel.prep_send(ring, fd, 1, "send")
    yield from kernel.io_uring_submit(ring)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.io_uring_enter(ring, 0)


@scenario(
    SETUP + 'IORING_SETUP_SQPOLL: "If the kernel thread is idle for more than sq_thread_idle '
    'milliseconds, it will set the IORING_SQ_NEED_WAKEUP bit".',
    lambda client: client.connect(),
    lambda client: client.recv(0, 3),
    lambda client: client.recv(0, 4),
    expect="""
        accept(l0) = c0
        io_uring_setup(4, ..., 1)
        io_uring_submit(...)
        asleep: True
        io_uring_submit(...)
        io_uring_enter(..., 2) = [send: 3, send: 4]
        client: recv(0, 3) = 3
        client: recv(0, 4) = 4
    """,
    needs=NEEDS,
)
def sqpoll_sleeps_when_idle_and_is_woken(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4, None, 1)
    kernel.prep_send(ring, fd, 3, "send")
    yield from kernel.io_uring_submit(ring)
    yield from kernel.step()
    kernel.note(f"asleep: {kernel.io_uring_needs_wakeup(ring)}")
    kernel.prep_send(ring, fd, 4, "send")
    yield from kernel.io_uring_submit(ring)
    yield from kernel.step()
    yield from kernel.io_uring_enter(ring, 2)


@scenario(
    SETUP + "IORING_SETUP_SQPOLL: data that comes for an armed receive wakes the kernel thread, "
    "which needs no call of the program for it.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        io_uring_setup(4, ..., 1)
        io_uring_register_buffers(..., 4, 100)
        io_uring_enter(..., 0) = []
        io_uring_enter(..., 0) = [recv: 3 in buffer 0, more]
        io_uring_enter(..., 1) = [recv: 0]
    """,
    needs=NEEDS,
)
def sqpoll_receives_while_the_program_does_not_call(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4, None, 1)
    yield from kernel.io_uring_register_buffers(ring, 4, 100)
    kernel.prep_recv_multishot(ring, fd, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.step()
    yield from kernel.rest()
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    "io_uring_enter(2), IORING_ENTER_SQ_WAIT: the call waits until at least one entry is free in "
    "the submission queue.",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        io_uring_setup(1, 4, 1)
        io_uring_submit(...)
        there is room: True
        io_uring_submit(...)
        there is room: True
        io_uring_submit(...)
        there is room: True
        io_uring_enter(..., 3) = [1: 1, 2: 2, 3: 3]
    """,
    needs=NEEDS,
)
def sqpoll_submit_waits_for_room(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(1, 4, 1)
    for number in range(1, 4):
        kernel.prep_send(ring, fd, number, number)
        yield from kernel.io_uring_submit(ring)
        kernel.note(f"there is room: {kernel.sq_space_left(ring) > 0}")
    yield from kernel.io_uring_enter(ring, 3)


# --- closing the descriptor of a request under way -----------------------------------------------

HOLDS = (
    "A request holds its file from its submission to its completion (io_file_get_normal and "
    "io_put_file in io_uring/io_uring.c). "
)


@scenario(
    HOLDS + 'close(2): "If fd is the last file descriptor referring to the underlying open file '
    'description [...], the resources associated with the open file description are freed": '
    "nothing ends before the receive does.",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [recv: 3]
        close(c0) raises EBADF
        client: recv(0, 1) = 0
    """,
    needs=NEEDS,
)
def a_recv_outlives_its_descriptor(kernel: Any, listener: int) -> Call[None]:
    ring, fd = yield from _receive_and_close(kernel, listener)
    yield from kernel.io_uring_enter(ring, 1)
    try:
        yield from kernel.close(fd)
    except OSError:
        pass
    yield from kernel.step()


def _receive_and_close(kernel: Any, listener: int, *sizes: Any) -> Call[Any]:
    """Accept a connection, arm a receive of at most 10 bytes on it, and close it."""
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4, *sizes)
    kernel.prep_recv(ring, fd, 10, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.rest()
    yield from kernel.close(fd)
    return ring, fd


@scenario(
    HOLDS + 'recv(2): "When a stream socket peer has performed an orderly shutdown, the return '
    'value will be 0".',
    lambda client: client.connect(),
    lambda client: client.close(0),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [recv: 0]
    """,
    needs=NEEDS,
)
def a_recv_on_a_closed_descriptor_meets_the_end(kernel: Any, listener: int) -> Call[None]:
    ring, _ = yield from _receive_and_close(kernel, listener)
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    HOLDS + "What its last request leaves unread makes the closing a reset (RFC 1122, section "
    "4.2.2.13).",
    lambda client: client.connect(),
    lambda client: client.send(0, 30),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [recv: 10]
        client: recv(0, 1) = ECONNRESET
    """,
    needs=NEEDS,
)
def a_recv_on_a_closed_descriptor_leaves_data(kernel: Any, listener: int) -> Call[None]:
    ring, _ = yield from _receive_and_close(kernel, listener)
    yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.step()


@scenario(
    HOLDS + "So it does where a kernel thread carries it out (IORING_SETUP_SQPOLL).",
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        io_uring_setup(4, ..., 1)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [recv: 3]
        client: recv(0, 1) = 0
    """,
    needs=NEEDS,
)
def sqpoll_receives_on_a_closed_descriptor(kernel: Any, listener: int) -> Call[None]:
    ring, _ = yield from _receive_and_close(kernel, listener, None, 1)
    yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.step()


@scenario(
    HOLDS + MULTISHOT + '"The multishot receive terminates when an error occurs, the connection '
    'closes, or the buffer ring is exhausted."',
    lambda client: client.connect(),
    lambda client: client.send(0, 10),
    lambda client: client.send(0, 5),
    lambda client: client.shutdown(0),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_register_buffers(..., 4, 100)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [recv: 10 in buffer 0, more]
        io_uring_enter(..., 1) = [recv: 5 in buffer 1, more]
        io_uring_enter(..., 1) = [recv: 0]
        client: recv(0, 1) = 0
    """,
    needs=NEEDS,
)
def a_multishot_recv_goes_on_without_its_descriptor(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    yield from kernel.io_uring_register_buffers(ring, 4, 100)
    kernel.prep_recv_multishot(ring, fd, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.close(fd)
    for _ in range(3):
        yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.step()


@scenario(
    HOLDS + "The stream ends after the last byte that was handed to it.",
    lambda client: client.connect(),
    lambda client: client.recv(0, LARGE),
    lambda client: client.recv(0, 1),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(c0)
        io_uring_enter(..., 1) = [send: 16777216]
        client: recv(0, 16777216) = 16777216
        client: recv(0, 1) = 0
    """,
    needs=NEEDS,
)
def a_send_outlives_its_descriptor(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_send(ring, fd, LARGE, "send")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.close(fd)
    yield from kernel.io_uring_enter(ring, 1)
    yield from kernel.step()


@scenario(
    HOLDS + "A socket goes on listening for a request to accept, and no longer.",
    lambda client: client.connect(),
    lambda client: client.connect(),
    lambda client: client.send(0, 2),
    lambda client: client.recv(1, 1),
    expect="""
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(l0)
        io_uring_enter(..., 0) = [accept: c0]
        recv(c0, 100) = 2
        client: recv(1, 1) = ECONNRESET
    """,
    needs=NEEDS,
)
def an_accept_outlives_its_descriptor(kernel: Any, listener: int) -> Call[None]:
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_accept(ring, listener, "accept")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.close(listener)
    yield from kernel.step()
    yield from kernel.step()
    [(_, fd)] = yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.recv(fd, 100)
    yield from kernel.step()


@scenario(
    HOLDS + "Submission looks the descriptor up, not preparation.",
    lambda client: client.connect(),
    expect="""
        accept(l0) = c0
        io_uring_setup(4)
        close(c0)
        io_uring_enter(..., 1) = [recv: EBADF]
    """,
    needs=NEEDS,
)
def a_prepared_entry_does_not_hold_its_file(kernel: Any, listener: int) -> Call[None]:
    fd = yield from kernel.accept(listener)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, fd, 10, "recv")
    yield from kernel.close(fd)
    yield from kernel.io_uring_enter(ring, 1)


@scenario(
    HOLDS + 'epoll(7), questions and answers: "A file descriptor is removed from an interest list '
    "only after all the file descriptors referring to the underlying open file description have "
    'been closed."',
    lambda client: client.connect(),
    lambda client: client.send(0, 3),
    expect="""
        accept(l0) = c0
        epoll_create() = e0
        epoll_ctl(e0, ADD, c0)
        io_uring_setup(4)
        io_uring_enter(..., 0) = []
        close(c0)
        epoll_wait(e0, 8) = [c0]
        io_uring_enter(..., 0) = [recv: 3]
        epoll_wait(e0, 8, 0) = []
    """,
    needs=NEEDS,
)
def a_descriptor_is_watched_for_as_long_as_a_request_lives(
    kernel: Any, listener: int
) -> Call[None]:
    fd = yield from kernel.accept(listener)
    epfd = yield from kernel.epoll_create()
    yield from kernel.epoll_ctl(epfd, EPOLL_CTL_ADD, fd)
    ring = yield from kernel.io_uring_setup(4)
    kernel.prep_recv(ring, fd, 10, "recv")
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.close(fd)
    yield from kernel.epoll_wait(epfd, 8)
    yield from kernel.io_uring_enter(ring, 0)
    yield from kernel.epoll_wait(epfd, 8, 0)
