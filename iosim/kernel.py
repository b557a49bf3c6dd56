"""The kernel as one thread of a server program sees it.

A server program is a generator function `program(kernel, listener)`. Every system call is a
generator method, so a program calls it with `yield from`:

    n = yield from kernel.recv(fd, READ_BYTES)

`iosim.sim` implements these calls on simulated time and `iosim.host` on the real Linux kernel; a
program cannot tell which one it runs on. Calls return what the Linux system call returns: a
non-negative result, or a negative error number for conditions a server expects (`EAGAIN`,
`ECONNRESET`, `EPIPE`), see syscalls(2). Programming errors raise `OSError`.

File descriptors are plain integers. Payloads are counted, not carried: `recv` returns how many
bytes were copied and `send` is told how many to send.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
Call = Generator[Any, Any, T]
"""What a system call is to a program: something to `yield from`, giving a T."""

Notify = int | Callable[..., Call[None]]
"""How an `aio_read` reports its end: a signal number, or a program to run in a new thread."""

SignalHandler = Callable[[int], object]
"""What runs when a signal comes: a plain function of its number, see `Kernel.sigaction`."""

EAGAIN = -errno.EAGAIN
"""The call would have had to wait (errno(3), value negated as in the system-call interface)."""

ECONNRESET = -errno.ECONNRESET
"""The client has reset the connection, tcp(7)."""

EPIPE = -errno.EPIPE
"""The socket takes no more: it has been shut down, or its client is gone, send(2)."""

ENOBUFS = -errno.ENOBUFS
"""A multishot receive has found no buffer, io_uring_prep_recv_multishot(3)."""

EPOLLIN = 0x001
EPOLLEXCLUSIVE = 1 << 28
EPOLLONESHOT = 1 << 30
EPOLLET = 1 << 31
EPOLL_CTL_ADD = 1
EPOLL_CTL_DEL = 2
EPOLL_CTL_MOD = 3
"""Values of epoll_ctl(2) and <sys/epoll.h> on Linux."""

SIGIO = 29
SIGRTMIN = 34
"""Signal numbers of signal(7) on x86 and Arm; glibc keeps the first two real-time signals."""

FD_SETSIZE = 1024
"""Descriptors from this one on cannot be put into an fd_set, select(2)."""

READ_BYTES = 64 * 1024
"""The buffer that the models of the library read into."""


class Request(NamedTuple):
    """One complete request, as the application sees it."""

    service_ns: int
    reply_bytes: int


class Completion(tuple[Any, int]):
    """One completion queue entry, io_uring_enter(2): the pair (user_data, result), and its flags.

    The flags are attributes, so that programs without multishot requests unpack a pair.
    """

    buffer: int | None = None
    """The provided buffer that holds the data (IORING_CQE_F_BUFFER), until it is returned."""
    more: bool = False
    """The request goes on and will complete again (IORING_CQE_F_MORE)."""

    @property
    def user_data(self) -> Any:
        """What the submission was tagged with."""
        return self[0]

    @property
    def result(self) -> int:
        """What the call would have returned, or an error as a negative number."""
        return self[1]

    def __repr__(self) -> str:
        return f"Completion(user_data={self.user_data!r}, result={self.result!r})"


class FdSet(Protocol):
    """Descriptors to watch for input with select(2) or poll(2); kept in user space."""

    def add(self, fd: int) -> None: ...

    def discard(self, fd: int) -> None: ...

    def __len__(self) -> int: ...


class Kernel(ABC):
    """Every call a server program can make. One instance belongs to one thread.

    What a program gives wrong is refused alike by both kernels: with OSError where the manual has
    an error number for it, as EINVAL for a size below 0, else with IosimError, in one line. Numbers
    are whole, Python's or NumPy's.

    A program has the descriptors that it opened, and its listener. A call on any other raises
    OSError (EBADF), if its manual knows that error; likewise one on a descriptor of the wrong kind:
    ENOTSOCK where a socket is wanted, EINVAL where an epoll instance or a listening socket is
    (`accept`, `reuseport`), ENOTCONN where a connection is, but EPIPE is returned by `send`.
    """

    # --- sockets -------------------------------------------------------------------------------

    @abstractmethod
    def set_nonblocking(self, fd: int) -> Call[None]:
        """Set O_NONBLOCK, fcntl(2)."""

    @abstractmethod
    def accept(self, listener: int, nonblocking: bool = False) -> Call[int]:
        """accept4(2): the next connection's descriptor; `nonblocking` asks for SOCK_NONBLOCK.

        Sleeps while no connection waits, or returns EAGAIN on a nonblocking listener.
        """

    @abstractmethod
    def reuseport(self, listener: int) -> Call[int]:
        """A further listening socket on the address of `listener`, SO_REUSEPORT of socket(7).

        Takes socket(2), setsockopt(2), bind(2) and listen(2). Each new connection goes to one of
        the sockets on the address, by a hash of its addresses; those that wait stay where they are.
        """

    @abstractmethod
    def recv(self, fd: int, nbytes: int = READ_BYTES) -> Call[int]:
        """recv(2): copy at most `nbytes`; returns the count, 0 at end of stream.

        Sleeps while the receive buffer is empty, or returns EAGAIN on a nonblocking descriptor.
        After a reset it returns ECONNRESET once the data received before has been read, then 0.
        """

    @abstractmethod
    def send(self, fd: int, nbytes: int) -> Call[int]:
        """send(2): returns how many bytes the socket took.

        In a run only replies may be sent, to requests that `requests` has counted before.
        Sleeps until it has taken all of them; a nonblocking descriptor takes what fits, or returns
        EAGAIN if none do. Returns ECONNRESET after a reset that no call has yet told of, else EPIPE
        when the connection is shut down or gone; there is no SIGPIPE (MSG_NOSIGNAL).
        """

    @abstractmethod
    def wait_writable(self, fd: int) -> Call[None]:
        """poll(2) for POLLOUT on one descriptor: sleeps until `send` can take bytes or fails."""

    @abstractmethod
    def shutdown(self, fd: int) -> Call[None]:
        """shutdown(2) with SHUT_WR: the client reads the end of the stream after what was sent.

        Raises OSError (ENOTCONN) after a reset, or when both sides have ended their streams.
        """

    @abstractmethod
    def close(self, fd: int) -> Call[None]:
        """close(2): the client reads the end of the stream after what was sent.

        With unread data it is a reset instead (RFC 1122, section 4.2.2.13), which discards what the
        client has not yet taken. A listening socket resets the connections that wait for accept.
        All that happens when the calls and the ring's requests under way on the socket are over:
        they hold it open.
        """

    # --- the application -----------------------------------------------------------------------

    @abstractmethod
    def requests(self, fd: int, nbytes: int) -> Sequence[Request]:
        """Count `nbytes` just received on `fd` into requests; returns the ones now complete.

        Each of them is owed one reply. Counts no more than has been received, else IosimError.

        Not a system call: it is the framing every server does in user space. It is also where a
        request's record takes its `noticed` and `copied` times.
        """

    @abstractmethod
    def compute(self, ns: int) -> Call[None]:
        """Use the processor for `ns` nanoseconds in user mode; 0 or more."""

    # --- clocks and calls that do nothing ------------------------------------------------------

    @abstractmethod
    def monotonic_ns(self) -> int:
        """CLOCK_MONOTONIC of clock_gettime(2). Not a system call (vdso(7))."""

    @abstractmethod
    def thread_time_ns(self) -> int:
        """CLOCK_THREAD_CPUTIME_ID of clock_gettime(2): processor time of this thread."""

    @abstractmethod
    def process_time_ns(self) -> int:
        """CLOCK_PROCESS_CPUTIME_ID of clock_gettime(2): processor time of all threads of the
        program, those included that the C library or a ring has started for it."""

    @abstractmethod
    def involuntary_switches(self) -> int:
        """ru_nivcsw of getrusage(2) with RUSAGE_THREAD: how often others took the core from this
        thread."""

    @abstractmethod
    def nothing(self) -> Call[None]:
        """A call that does not enter the kernel: what the program's language adds to each call."""

    @abstractmethod
    def getppid(self) -> Call[None]:
        """getppid(2): as short as a system call can be."""

    # --- threads -------------------------------------------------------------------------------

    @abstractmethod
    def spawn(self, program: Callable[..., Call[None]], *args: Any) -> Call[None]:
        """pthread_create(3): run `program(kernel, *args)` in a thread, with a kernel of its own.

        That of the thread that spawns it is refused, as an argument or in a closure.
        """

    @abstractmethod
    def queue(self) -> Any:
        """A queue between threads of the program (a mutex and a condition variable, futex(2))."""

    @abstractmethod
    def put(self, queue: Any, item: Any) -> Call[None]:
        """Append `item` and wake one thread that waits in `get`."""

    @abstractmethod
    def get(self, queue: Any) -> Call[Any]:
        """Take the oldest item; sleeps while there is none."""

    @abstractmethod
    def nanosleep(self, ns: int) -> Call[None]:
        """clock_nanosleep(2) for `ns` nanoseconds."""

    # --- readiness -----------------------------------------------------------------------------

    @abstractmethod
    def fd_set(self) -> FdSet:
        """An empty set for `select`."""

    @abstractmethod
    def select(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        """select(2) for input: the ready descriptors in ascending order.

        Sleeps while there are none, for `timeout_ns` at most, then returns an empty list: 0 returns
        at once, None waits for ever. The time is rounded up to what the system call can express:
        whole microseconds here, whole milliseconds in `poll` and `epoll_wait`. A negative one
        raises OSError (EINVAL) here, and waits for ever there.

        Raises OSError (EBADF) for a descriptor that is not open; one below 0, or FD_SETSIZE or
        above, cannot be added (IosimError).
        """

    @abstractmethod
    def poll_set(self) -> FdSet:
        """An empty set for `poll`."""

    @abstractmethod
    def poll(self, fds: FdSet, timeout_ns: int | None = None) -> Call[list[int]]:
        """poll(2) for POLLIN: the ready descriptors in the order of adding, those among them that
        are not open (POLLNVAL).

        `timeout_ns` is that of `select`, rounded up to whole milliseconds.
        """

    @abstractmethod
    def epoll_create(self) -> Call[int]:
        """epoll_create1(2): the descriptor of a new epoll instance."""

    @abstractmethod
    def epoll_ctl(self, epfd: int, op: int, fd: int, events: int = EPOLLIN) -> Call[None]:
        """epoll_ctl(2); `events` are flags of those above, EPOLLIN among them.

        Raises OSError: EEXIST or ENOENT when `fd` is on the interest list already or is not on it,
        EBADF for a descriptor that is not open, EINVAL for what the manual rules out, ELOOP when
        instances would watch one another in a circle or more than five deep.
        """

    @abstractmethod
    def epoll_wait(
        self, epfd: int, max_events: int, timeout_ns: int | None = None
    ) -> Call[list[int]]:
        """epoll_wait(2): at most `max_events` descriptors from the ready list, at least 1 (EINVAL).

        `timeout_ns` is that of `select`, rounded up to whole milliseconds.
        """

    # --- signals -------------------------------------------------------------------------------

    @abstractmethod
    def sigaction(self, signal: int, handler: SignalHandler) -> Call[None]:
        """sigaction(2): run `handler(signal)` whenever the signal comes and is not blocked.

        The handler interrupts whatever the program does, so it may only set variables, which the
        program finds set when `compute` or the call under way returns (signal-safety(7)). A sleep
        that it interrupts goes on afterwards, in whatever call it is; `sigsuspend` alone returns.
        Linux restarts some calls itself and lets others fail with EINTR (signal(7), "Interruption
        of system calls"), and Python makes those anew (PEP 475). Signals of one number that come
        together run the handler once. Handlers run in the main thread, which installs them; other
        threads keep the signals blocked.
        """

    @abstractmethod
    def sigblock(self, signals: Iterable[int]) -> Call[None]:
        """pthread_sigmask(3) with SIG_BLOCK: keep `signals` pending until a call waits for them or
        they are unblocked.

        Those without a handler get one that does nothing, so that `sigsuspend` can wait for them.
        A thread that is spawned inherits what its parent blocks.
        """

    @abstractmethod
    def sigunblock(self, signals: Iterable[int]) -> Call[None]:
        """pthread_sigmask(3) with SIG_UNBLOCK; handlers of those pending run before it returns."""

    @abstractmethod
    def set_async(self, fd: int, signal: int) -> Call[None]:
        """F_SETOWN_EX, F_SETSIG, O_ASYNC of fcntl(2): send this thread `signal` when input becomes
        possible. Blocked it must be, or have a handler: its default action ends the program.

        SIGIO is a standard signal: while one is pending, further ones merge into it. A real-time
        signal queues once per event and carries the descriptor; when the queue is full the kernel
        sends SIGIO instead.
        """

    @abstractmethod
    def sigsuspend(self) -> Call[None]:
        """sigsuspend(2): unblock all signals, sleep until a handler has run, block them again.

        Of several pending signals it takes one of each number.
        """

    @abstractmethod
    def sigwaitinfo(self, signals: Collection[int]) -> Call[tuple[int, int]]:
        """sigwaitinfo(2): take one pending signal of `signals`; sleeps while there is none.

        The lowest number comes first, so standard signals before real-time ones; of one number the
        oldest (signal(7)).
        Returns (signal, value). The value is the descriptor of a signal sent by `set_async`
        (si_fd) or of a finished `aio_read` (si_value); it is -1 for SIGIO.
        """

    @abstractmethod
    def signalfd(self, signals: Collection[int], nonblocking: bool = False) -> Call[int]:
        """signalfd(2): a descriptor to take `signals` from; `nonblocking` asks for SFD_NONBLOCK.

        select, poll and epoll report it while one of them is pending for the thread that asks.
        Those that are not blocked go to their handlers, or to the default action, unless the thread
        just sleeps in `read_signals`.
        """

    @abstractmethod
    def read_signals(self, fd: int, count: int) -> Call[list[tuple[int, int]]]:
        """read(2) of a signalfd: take at most `count` pending signals, in the order and the form of
        `sigwaitinfo`.

        Sleeps while there is none; a nonblocking one gives an empty list then (EAGAIN). Raises
        OSError (EINVAL) without room for a signal, or when `fd` is no signalfd.
        """

    # --- completion ----------------------------------------------------------------------------

    @abstractmethod
    def aio_init(self, threads: int) -> Call[None]:
        """aio_init(3): let the C library use at most `threads` helper threads.

        Raises OSError (EBUSY) when a read has begun, and the number would change.
        """

    @abstractmethod
    def aio_read(self, fd: int, nbytes: int, notify: Notify) -> Call[None]:
        """aio_read(3): hand a read to the C library's helpers.

        Its completion is reported by the signal `notify`, sent to the process (SIGEV_SIGNAL), or
        by the program `notify(kernel, fd)`, run in a new thread that blocks no signals
        (SIGEV_THREAD, sigevent(7)). When the signal queue is full the signal is lost and the
        result becomes EAGAIN. At most one read may be under way per descriptor, until its result
        has been taken (IosimError). What the read fails with is its result, also EBADF.
        """

    @abstractmethod
    def aio_return(self, fd: int) -> Call[int]:
        """aio_return(3): the result of the read that has finished on `fd`, once.

        -EINPROGRESS while it is under way; raises OSError (EINVAL) when there is none.
        """

    @abstractmethod
    def io_uring_setup(
        self, entries: int, cq_entries: int | None = None, sqpoll_idle_ns: int | None = None
    ) -> Call[Any]:
        """io_uring_setup(2): a ring with room for `entries` submissions and `cq_entries`
        completions, by default four times as many.

        Both are rounded up to powers of two and cut to 32,768 and 65,536. With `sqpoll_idle_ns` a
        kernel thread (IORING_SETUP_SQPOLL) looks for submissions, and carries them out, until there
        were none for so long, in whole milliseconds; then it sleeps. It is good on a core of its
        own, and bad on the program's. It belongs to the thread that sets it up: to enter it, or
        submit to it, raises OSError (EEXIST) in another (IORING_SETUP_SINGLE_ISSUER). Raises
        OSError (EINVAL) without room for a submission, or with less room for completions than for
        submissions.
        """

    @abstractmethod
    def sq_space_left(self, ring: Any) -> int:
        """io_uring_sq_space_left(3): how many submissions can be prepared before some must be
        submitted. Not a system call."""

    @abstractmethod
    def prep_accept(self, ring: Any, listener: int, user_data: Any) -> None:
        """Write a submission entry for IORING_OP_ACCEPT; `io_uring_enter` submits it.

        This and all other `prep_` calls raise IosimError when the submission queue is full.
        """

    @abstractmethod
    def prep_accept_multishot(self, ring: Any, listener: int, user_data: Any) -> None:
        """io_uring_prep_multishot_accept(3): completes for every connection, as long as each
        completion says that `more` will come."""

    @abstractmethod
    def prep_recv(self, ring: Any, fd: int, nbytes: int, user_data: Any) -> None:
        """Write a submission entry for IORING_OP_RECV; `io_uring_enter` submits it."""

    @abstractmethod
    def prep_recv_multishot(self, ring: Any, fd: int, user_data: Any) -> None:
        """io_uring_prep_recv_multishot(3): receives into provided buffers, one for each completion,
        as long as those say that `more` will come.

        It ends with the stream (result 0), with -ENOBUFS when there is no buffer, and with the
        completion that does not fit the completion queue any more.
        """

    @abstractmethod
    def prep_send(self, ring: Any, fd: int, nbytes: int, user_data: Any) -> None:
        """Write a submission entry for IORING_OP_SEND; like `send` it may send fewer bytes."""

    @abstractmethod
    def io_uring_register_buffers(self, ring: Any, count: int, nbytes: int) -> Call[None]:
        """IORING_REGISTER_PBUF_RING of io_uring_register(2): provide `count` buffers of `nbytes`,
        numbered from 0, for the multishot receives of the ring.

        Raises OSError: EINVAL unless `count` is a power of two up to 32,768, EEXIST the second
        time.
        """

    @abstractmethod
    def io_uring_return_buffer(self, ring: Any, buffer: int) -> None:
        """io_uring_buf_ring_add(3): let the ring fill a buffer again, one that it has filled and
        that has not been returned. Not a system call."""

    @abstractmethod
    def io_uring_submit(self, ring: Any) -> Call[None]:
        """io_uring_submit(3): submit what was prepared and do not wait; there is room in the
        submission queue afterwards.

        While the kernel thread of SQPOLL is awake it takes a system call only to wait for room.
        """

    @abstractmethod
    def io_uring_needs_wakeup(self, ring: Any) -> bool:
        """IORING_SQ_NEED_WAKEUP: whether the kernel thread of SQPOLL sleeps, so that the next
        submission takes a system call to wake it (IORING_ENTER_SQ_WAKEUP). Not a system call."""

    @abstractmethod
    def io_uring_enter(self, ring: Any, min_complete: int) -> Call[list[Completion]]:
        """io_uring_enter(2): submit what was prepared, sleep until `min_complete` completions are
        there, and take all that the completion queue holds.

        Completions that did not fit it come with the next calls, in order; `min_complete` beyond
        its size means its size. With SQPOLL it is a system call only if it must wake the kernel
        thread, or wait.
        """

    # --- loops that a simulation can skip --------------------------------------------------------

    def try_each(
        self, fds: Sequence[int], listener: int, start: int = 0, spin: bool = False
    ) -> Call[tuple[int, int]]:
        """Try nonblocking descriptors in turn from position `start` until one has news.

        `recv` on each of `fds`, then `accept` on `listener` as the last of the pass. Returns
        (position, result); a connection accepted has position `len(fds)`. A pass without news
        ends with (len(fds), EAGAIN), or with `spin` begins anew until there is some. This loop
        defines the meaning; a simulated kernel jumps over the empty tries to the same result at
        the same time.
        """
        while True:
            for position in range(start, len(fds)):
                got = yield from self.recv(fds[position])
                if got != EAGAIN:
                    return position, got
            got = yield from self.accept(listener, nonblocking=True)
            if got != EAGAIN or not spin:
                return len(fds), got
            start = 0


Program = Callable[[Kernel, int], Call[None]]
"""A server: called with the kernel and the descriptor of its listening socket. It may run for
ever; it is stopped when the workload is done."""
