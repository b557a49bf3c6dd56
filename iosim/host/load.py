"""The load generator of a real run, started by `iosim.host.run`.

One thread that never waits for replies before it sends. It sleeps until shortly before a request
is due and then spins, so that it is punctual and the server's replies never have to wake it: a
wake-up would be work for the server. Reply times are the kernel's receive time stamps
(SO_TIMESTAMPNS, socket(7)), which do not depend on when this process looks.
"""

from __future__ import annotations

import gc
import select
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from heapq import heappop, heappush
from time import monotonic_ns

from iosim.errors import CLOSED_EARLY, HostRefused, RunFailed, Unanswered
from iosim.host.child import attach
from iosim.host.server import raise_file_limit

_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_STALL_MS = 10_000
SPIN_NS = 300_000
"""Before this long before a send, sleep instead of spinning: timers wake later than asked."""


class Clock:
    """Turns the kernel's receive time stamps (CLOCK_REALTIME) into CLOCK_MONOTONIC.

    The two may drift apart while the real-time clock is being disciplined, so the offset is taken
    again at the end and assumed to change evenly.
    """

    def __init__(self) -> None:
        self._first = self._offset()

    @staticmethod
    def _offset() -> tuple[int, int]:
        """(monotonic time, real time minus monotonic time), the tightest of several readings."""
        best = None
        for _ in range(50):
            before = monotonic_ns()
            real = time.time_ns()
            after = monotonic_ns()
            if best is None or after - before < best[0]:
                best = (after - before, before, real - (before + after) // 2)
        assert best is not None
        return best[1], best[2]

    def monotonic_ns(self, stamps: list[int]) -> list[int]:
        """The stamps on the monotonic clock."""
        (begin, offset), (end, last_offset) = self._first, self._offset()
        slope = (last_offset - offset) / max(1, end - begin)
        return [t - offset - round(slope * (t - offset - begin)) for t in stamps]


def connected(port: int, connections: int, gap_ns: int) -> list[socket.socket]:
    """Open connections one after the other; raises HostRefused where the host does not."""
    sockets = []
    for number in range(connections):
        if gap_ns:
            time.sleep(gap_ns / 1e9)
        sock = socket.socket()
        sock.settimeout(5)
        try:
            sock.connect(("127.0.0.1", port))
        except TimeoutError:
            raise HostRefused(
                f"connection {number + 1} of {connections} was not taken: the backlog of a "
                "program that does not accept is limited by net.core.somaxconn; "
                "use fewer connections"
            ) from None
        except OSError as error:
            way_out = "use fewer connections"
            if isinstance(error, ConnectionRefusedError):
                way_out = f"nothing listens on port {port}, start the server first"
            raise HostRefused(
                f"connection {number + 1} of {connections}: {error.strerror}; {way_out}"
            ) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


class Load:
    """The connections and the messages of one run."""

    def __init__(
        self, sockets: Sequence[socket.socket], request_bytes: int, reply_bytes: int
    ) -> None:
        self.request = bytes(request_bytes)
        self.reply_bytes = reply_bytes
        self.sockets = sockets

    def run(
        self,
        connection: list[int],
        intended_ns: list[int],
        closed: bool,
        hang_up: bool,
        patience_s: float,
        one_by_one: bool = False,
    ) -> dict[str, list[int]]:
        """Send everything, take every reply; times on the monotonic clock.

        `connection` carries each request. In a closed loop that is so only if `hang_up` closes
        every connection after its last reply, or in one loop over all connections, `one_by_one`;
        else whoever is free takes the next request.

        Raises RunFailed when no reply has come for `patience_s` and nothing is left to be sent.
        """
        requests = len(connection)
        sockets, request, reply_bytes = self.sockets, self.request, self.reply_bytes
        shared = closed and not (hang_up or one_by_one)
        epoll = select.epoll()
        by_fd = {}
        waiting: dict[int, deque[int]] = {}
        turns: dict[int, deque[int]] = {}
        for number, client in enumerate(connection):
            turns.setdefault(client, deque()).append(number)
        left = {client: len(numbers) for client, numbers in turns.items()}
        for client in turns:
            fd = sockets[client].fileno()
            epoll.register(fd, select.EPOLLIN)
            by_fd[fd] = client
            waiting[client] = deque()
        partial = dict.fromkeys(turns, 0)
        due_ns = [0] * requests
        sent_ns = [0] * requests
        took_ns = [0] * requests
        replied_ns = [0] * requests
        clock = Clock()
        begin_ns = monotonic_ns()
        due: list[tuple[int, int, int]] = []
        """A heap: when a request is due, its place among all, and its number; if whoever is free
        takes it, its client."""
        if one_by_one:
            loop = deque(range(requests))
            turns = dict.fromkeys(turns, loop)
            due.append((begin_ns, 0, loop.popleft()))
        elif closed:
            for client, numbers in turns.items():
                due.append((begin_ns, len(due), client if shared else numbers.popleft()))
        else:
            due.append((begin_ns + intended_ns[0], 0, 0))
        places = len(due)
        sent = 0
        unanswered = requests
        outstanding = 0
        last_news_ns = begin_ns
        idle_ns = idle_since_ns = 0
        while unanswered:
            now_ns = monotonic_ns()
            if idle_since_ns:
                idle_ns += now_ns - idle_since_ns
                idle_since_ns = 0
            wait_ns = SPIN_NS
            if due:
                wait_ns = due[0][0] - now_ns
                if wait_ns <= 0:
                    due_at_ns, _, number = heappop(due)
                    if shared:
                        client, number = number, sent
                        connection[number] = client
                    else:
                        client = connection[number]
                    due_ns[number] = due_at_ns
                    waiting[client].append(number)
                    sent_ns[number] = last_news_ns = monotonic_ns()
                    send_whole(sockets[client], request)
                    took_ns[number] = monotonic_ns() - last_news_ns
                    sent += 1
                    outstanding += 1
                    if sent == requests:
                        due.clear()
                    elif not closed:
                        due.append((begin_ns + intended_ns[sent], 0, sent))
                    continue
            events = epoll.poll(0)
            for fd, _ in events:
                client = by_fd[fd]
                try:
                    data, ancillary, _, _ = sockets[client].recvmsg(1 << 18, 64)
                except ConnectionError:
                    data = b""
                if not data:
                    if waiting[client] or (sent < requests if shared else left[client]):
                        raise RunFailed(CLOSED_EARLY)
                    epoll.unregister(fd)
                    continue
                whole, partial[client] = divmod(partial[client] + len(data), reply_bytes)
                if not whole:
                    continue
                stamp = _stamp(ancillary)
                for _ in range(whole):
                    number = waiting[client].popleft()
                    replied_ns[number] = stamp
                    if closed and (sent < requests if shared else turns[client]):
                        following = client if shared else turns[client].popleft()
                        pause_ns = intended_ns[number if shared else following]
                        heappush(due, (monotonic_ns() + pause_ns, places, following))
                        places += 1
                unanswered -= whole
                outstanding -= whole
                left[client] -= whole
                last_news_ns = monotonic_ns()
                if hang_up and not left[client]:
                    epoll.unregister(fd)
                    sockets[client].close()
            if events:
                continue
            idle_since_ns = now_ns
            # In a closed loop a reply that it slept through would come late to know of.
            if wait_ns > SPIN_NS and not (closed and outstanding):
                time.sleep((wait_ns - SPIN_NS) / 1e9)
            if not due and now_ns - last_news_ns > patience_s * 1e9:
                raise Unanswered(
                    f"{unanswered} of {requests} requests were not answered within {patience_s:g} s"
                )
        return {
            "begin_ns": [begin_ns],
            "busy_ns": [monotonic_ns() - begin_ns - idle_ns],
            "connection": connection,
            "intended_ns": due_ns,
            "sent_ns": sent_ns,
            "took_ns": took_ns,
            "replied_ns": clock.monotonic_ns(replied_ns),
        }


def _stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    """When a reply came, by the kernel's stamp.

    It begins to stamp a while after the first socket has asked for that (net_enable_timestamp in
    net/core/dev.c leaves it to a worker); what came before then came just now.
    """
    if not ancillary:
        return time.time_ns()
    seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
    return int(seconds * 1_000_000_000 + nanoseconds)


def send_whole(sock: socket.socket, request: bytes) -> None:
    """Send all of it; raises RunFailed if the server is gone or does not read."""
    view = memoryview(request)
    while view:
        try:
            view = view[sock.send(view) :]
        except ConnectionError:
            raise RunFailed(CLOSED_EARLY) from None
        except BlockingIOError:
            # The server's buffers are full: the sender must wait, as a client would.
            writable = select.poll()
            writable.register(sock, select.POLLOUT)
            if not writable.poll(_STALL_MS):
                raise RunFailed(
                    "the server has not read for 10 s and its buffers are full"
                ) from None


def main() -> None:
    """Load one run."""
    pipe = attach(sys.argv[1:])
    port, connections, gap_ns, *sizes = pipe.hear()
    raise_file_limit()
    try:
        load = Load(connected(port, connections, gap_ns), *sizes)
        pipe.tell([sock.getsockname()[1] for sock in load.sockets])
        arguments = pipe.hear()
        gc.collect()
        gc.disable()
        pipe.tell("ready")
        pipe.hear()
        times = load.run(*arguments)
        pipe.tell("done")
        pipe.tell(times)
    except (HostRefused, RunFailed) as error:
        pipe.tell(error)
    pipe.hear()
