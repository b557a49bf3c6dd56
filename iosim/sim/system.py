"""The state that all threads of a simulated server share."""

from __future__ import annotations

import errno
from array import array
from collections import defaultdict
from collections.abc import Callable
from typing import Any, ClassVar, NoReturn, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from iosim.arguments import error, whole
from iosim.costs import Prices
from iosim.kernel import Call, Request
from iosim.machine import Machine
from iosim.results import RECORD
from iosim.sim.accounts import Use
from iosim.sim.cpu import Core, Cpu, Task
from iosim.sim.engine import Environment, Process, events_made
from iosim.sim.memo import Memo
from iosim.sim.memory import Memory
from iosim.sim.pending import AioReads, Gil, Signals
from iosim.sim.states import TaskState
from iosim.workload import Schedule, Workload

AnyFile = TypeVar("AnyFile", bound="File")


class Watcher(Protocol):
    """Told when a descriptor has become readable; True if that woke an idle core."""

    def notify(self, file: File) -> bool: ...


class Peer(Protocol):
    """The clients' ends of all connections, as the server's kernel reaches them."""

    def transmit(self, connection: Any, nbytes: int, now_ns: int) -> int:
        """Bytes on their way to the client: how many it has room for, the others wait."""

    def finish(self, connection: Any) -> None:
        """A FIN, after the last byte."""

    def reset(self, connection: Any) -> None:
        """A RST."""


def refuses(number: int) -> Any:
    """An attribute that a kind of file lacks: the call that looks for it fails with this error."""

    def fail(file: File) -> NoReturn:
        raise error(number, file.fd)

    return property(fail)


class File:
    """Anything a descriptor names and a program can wait for.

    Calls take a descriptor to be of the kind that they are for, and look for what that has. Where
    it is of another kind they come upon what this class, or that one, refuses.
    """

    __slots__ = ("fd", "holders", "nonblocking", "noticed_ns", "sleepers", "watchers")

    wakes_one: ClassVar[bool] = False
    """Of the threads that sleep in a call on it, whether only the first is woken (they wait
    exclusively), or all, the last first (add_wait_queue of Linux puts an entry in front)."""

    sends_signals: ClassVar[bool] = False
    """Whether it heeds O_ASYNC: sockets do, of what is here (open(2))."""

    unread: Any = refuses(errno.ENOTSOCK)
    out: Any = refuses(errno.ENOTSOCK)
    state: Any = refuses(errno.ENOTSOCK)
    backlog: Any = refuses(errno.ENOTSOCK)
    limit: Any = refuses(errno.ENOTSOCK)
    uncounted: Any = refuses(errno.ENOTSOCK)
    """Of sockets: recv(2), send(2), shutdown(2), accept(2), getsockname(2)."""

    harvest: Any = refuses(errno.EINVAL)
    """Of epoll instances: epoll_wait(2)."""

    def __init__(self) -> None:
        self.fd = -1
        """The descriptor that it has, or had; -1 before that."""
        self.holders = 0
        """How many keep it open: its descriptor, calls that sleep on it, requests of rings."""
        self.nonblocking = False
        self.noticed_ns = 0
        """When a call last reported it ready; 0 when the read itself brings the news."""
        self.sleepers: list[Task] | None = None
        self.watchers: tuple[Watcher, ...] = ()

    def readable(self) -> bool:
        """Whether a read or accept would return at once."""
        raise NotImplementedError

    def writable(self, limit_bytes: int) -> bool:
        """Whether poll reports POLLOUT: never, but of a connection."""
        return False

    def tell_when_writable(self, watcher: Watcher) -> None:
        """Have a watcher told once when it has become writable."""

    def closed(self, system: System) -> None:
        """Nothing holds it any more."""
        raise NotImplementedError


class Records:
    """The request records under construction: one array a column, by request number."""

    def __init__(self, connection: npt.NDArray[np.int64]) -> None:
        self.connection = array("q", connection.tobytes())
        empty = bytes(8 * len(connection))
        self.intended_ns = array("q", empty)
        self.sent_ns = array("q", empty)
        self.arrival_ns = array("q", empty)
        self.ready_ns = array("q", empty)
        self.noticed_ns = array("q", empty)
        """When a call last reported the socket readable before it was read."""
        self.copied_ns = array("q", empty)
        self.done_ns = array("q", empty)
        self.replied_ns = array("q", empty)

    def table(self, origin_ns: int) -> npt.NDArray[np.void]:
        """All records with times counted from `origin_ns`, the start of the load."""
        table = np.empty(len(self.connection), RECORD)
        for name in RECORD.names or ():
            table[name] = np.frombuffer(getattr(self, name), np.int64)
            if name.endswith("_ns"):
                table[name] -= origin_ns
        # What came after the last report was brought to notice by the read itself.
        late = table["noticed_ns"] < table["ready_ns"]
        table["noticed_ns"][late] = table["copied_ns"][late]
        return table


class System:
    """Descriptors, counters and clock of one simulated server."""

    __slots__ = (
        "_before_load",
        "_cores_before_load",
        "_events_before_load",
        "_miss_ns",
        "_replies",
        "_switches_before_load",
        "_wakeups_before_load",
        "aio",
        "closed",
        "copy_data_ns",
        "copy_ns",
        "cpu",
        "current",
        "empty_polls",
        "env",
        "epolls",
        "files",
        "following",
        "gil",
        "kernel_thread",
        "machine",
        "memory",
        "peer",
        "pollers",
        "positions",
        "prices",
        "readable",
        "receive_buffer_bytes",
        "records",
        "request",
        "request_bytes",
        "roaming",
        "service_ns",
        "signals",
        "start",
        "syscalls",
        "tasks",
        "workload",
    )

    def __init__(
        self,
        env: Environment,
        cpu: Cpu,
        prices: Prices,
        machine: Machine,
        workload: Workload,
        schedule: Schedule,
    ) -> None:
        self.env = env
        self.cpu = cpu
        self.prices = prices
        self.copy_ns = Memo(lambda nbytes: round(prices.copy_ns(nbytes)))
        """Of so many bytes between kernel and user; most copies are of few sizes."""
        self.machine = machine
        self.workload = workload
        self._miss_ns = Memo(prices.request_miss_ns)
        self._replies = 0
        self.records = Records(schedule.connection)
        self.request_bytes = workload.request_bytes
        self.receive_buffer_bytes = machine.receive_buffer_bytes
        self.following = schedule.following().tolist()
        """Number of the next request on the same connection, by request number."""
        self.service_ns = schedule.service_ns.tolist()
        """What each request takes to compute, by request number."""
        self.request: Request | None = None
        """What every request is to the program, if they are all alike."""
        if workload.service.distribution == "constant":
            self.request = Request(workload.service.mean_ns, workload.reply_bytes)
        self.files: list[Any] = [None, None, None]
        """By descriptor; None is closed. 0 to 2 are the standard streams."""
        self.closed: list[int] = []
        """Descriptors that have been closed, the oldest first."""
        self.readable: dict[int, File] = {}
        """The sockets that have something to read, in the order in which they got it."""
        self.pollers: list[Watcher] = []
        """Threads that wait in select, poll or a spin: told of every socket."""
        self.epolls: list[Any] = []
        """The epoll instances that are open."""
        self.current: Any = None
        """The thread that looks at what is readable (`current` of Linux): see `SignalFile`."""
        self.tasks: list[Any] = []
        self.roaming = 0
        """How many of them are not pinned to a core."""
        self.syscalls: defaultdict[str, int] = defaultdict(int)
        """Calls by name. (To count one up in a Counter takes three times as long.)"""
        self.empty_polls = 0
        self.copy_data_ns = 0
        self.positions: dict[int, int] = {}
        """Where descriptors stand in the list that a spinning thread tries."""
        self.peer: Peer
        self.memory = Memory(machine, prices)
        self.signals = Signals(machine.queued_signals)
        self.start: Callable[..., Any]
        """Start a program as a new thread, and return that."""
        self.kernel_thread: Callable[[str, Core, Callable[[Any], Call[None]]], Task]
        """Start a thread of the kernel with this name, core and work."""
        self.aio = AioReads()
        self.gil: Gil
        """Of a CPython program only."""

    def open(self, file: AnyFile) -> AnyFile:
        """Give a file the next descriptor.

        Linux gives the lowest free one. Counting up instead keeps what is under way for a closed
        connection from reaching its successor.
        """
        file.fd = len(self.files)
        file.holders += 1
        self.files.append(file)
        return file

    def file(self, fd: int) -> Any:
        """The file of a descriptor; raises OSError EBADF if it is not open."""
        try:
            file = self.files[fd] if fd >= 0 else None
        except (IndexError, TypeError):
            file = None
        if file is None:
            raise error(errno.EBADF, whole("fd", fd))
        return file

    def is_open(self, fd: int) -> bool:
        """Whether a descriptor names a file."""
        return 0 <= fd < len(self.files) and self.files[fd] is not None

    def launch(self, thread: Any, program: Call[None]) -> None:
        """Let a new thread run a program."""
        self.roaming += not thread.pinned
        Process(thread.live(program), thread.alarm)
        self.cpu.wake(thread)

    def became_readable(self, file: File) -> bool:
        """Tell everybody who waits for `file`; True if an idle core was woken."""
        if self.files[file.fd] is file:
            self.readable[file.fd] = file
        elif not file.holders:
            return False
        woke = False
        if file.sleepers:
            if file.wakes_one:
                woke = self.cpu.wake(file.sleepers.pop(0))
            else:
                sleepers, file.sleepers = file.sleepers, None
                for sleeper in reversed(sleepers):
                    woke = self.cpu.wake(sleeper) or woke
        for watcher in file.watchers:
            woke = watcher.notify(file) or woke
        if self.pollers:
            # A wait queue has its newest entry first (add_wait_queue of Linux).
            for poller in self.pollers[::-1]:
                woke = poller.notify(file) or woke
        return woke

    def reply_on(self, connection: Any) -> int:
        """A reply goes out on a connection: what its request takes longer, ns, since those on other
        connections have pushed its data out of the caches."""
        if (ticks := self.cpu.ticks) is not None:
            ticks.delay_ack(connection)
        self._replies = number = self._replies + 1
        others = number - connection.replied_at - 1
        connection.replied_at = number
        if not others:
            return 0
        sockets = self.memory.sockets
        return self._miss_ns[others if others < sockets else sockets - 1]

    def waits_for_clients(self) -> bool:
        """Whether each thread of the program sleeps in a call, or has found nobody who would
        connect, since the last of them was started."""
        return all(task.waits_for_clients() for task in reversed(self.tasks))

    def start_counting(self) -> None:
        """The load begins: forget what setting up took."""
        self.catch_up()
        self.syscalls.clear()
        self.empty_polls = self.copy_data_ns = 0
        self._wakeups_before_load = self.cpu.wakeup_count
        self._switches_before_load = self.cpu.switch_count
        self.cpu.counting_since_ns = self.env.now_ns
        for task in self.tasks:
            task.waited_ns = 0
        self._before_load = [task.spent_ns() for task in self.tasks]
        self._cores_before_load = self.cpu.spent_ns()
        self._events_before_load = events_made(self.env)

    def catch_up(self) -> None:
        """Bring the counters up to date with the scans and the sleeps under way."""
        now_ns = self.env.now_ns
        for task in self.tasks:
            if task.scan is not None:
                task.scan.count()
            if task.waiting_since_ns is not None:
                task.waited_ns += now_ns - task.waiting_since_ns
                task.waiting_since_ns = now_ns

    @property
    def wait_for_data_ns(self) -> int:
        """How long the program's threads have slept in phase 1."""
        return sum(task.waited_ns for task in self.tasks if not task.helper)

    def load_wakeups(self) -> int:
        """Wake-ups since the load began."""
        return self.cpu.wakeup_count - self._wakeups_before_load

    def load_switches(self) -> int:
        """Switches between threads, or from an idle core to one, since the load began."""
        return self.cpu.switch_count - self._switches_before_load

    def load_events(self) -> int:
        """Events since the load began."""
        return events_made(self.env) - self._events_before_load

    def load_spent_ns(self) -> list[dict[TaskState, int]]:
        """What each thread spent in each state since the load began."""
        nothing = dict.fromkeys(TaskState, 0)
        before = self._before_load + [nothing] * (len(self.tasks) - len(self._before_load))
        return [
            {state: ns - earlier[state] for state, ns in task.spent_ns().items()}
            for task, earlier in zip(self.tasks, before, strict=True)
        ]

    def load_core_ns(self) -> list[dict[Use, int]]:
        """What each core did since the load began."""
        return [
            {use: ns - earlier[use] for use, ns in spent.items()}
            for spent, earlier in zip(self.cpu.spent_ns(), self._cores_before_load, strict=True)
        ]
