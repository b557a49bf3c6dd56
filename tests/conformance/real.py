"""Scenarios on the real kernel: the program in a process of its own, its clients in another.

The clients' process forks the program's, which runs on the same core: see rest.py.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from socket import MSG_DONTWAIT
from typing import Any

from conformance.rest import asleep, packets_wait, under_way
from conformance.scenario import (
    REPLY_BYTES,
    REQUEST_BYTES,
    REST,
    SCENARIOS,
    STEP,
    Names,
    Recorder,
    Scenario,
    Side,
    TellingClient,
    Transcript,
)

from iosim.host.child import attach, end_with
from iosim.host.kernel import HostKernel
from iosim.host.server import allow_more
from iosim.host.thread import Server
from iosim.kernel import Call
from iosim.program import drive
from iosim.workload import Workload


class Clients:
    """The clients' ends of the connections."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._sockets: list[socket.socket] = []
        self._unsent: dict[int, int] = {}
        """Bytes of `start_send` that the socket of a connection has not taken yet."""

    def connect(self) -> None:
        self.start_connect()
        self.finish_connect(-1)

    def start_connect(self) -> None:
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(self._address)
        self._sockets.append(sock)

    def finish_connect(self, connection: int) -> None:
        sock = self._sockets[connection]
        select.select([], [sock], [])
        sock.setblocking(True)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, connection: int, nbytes: int) -> int | None:
        try:
            self._sockets[connection].sendall(bytes(nbytes))
        except ConnectionError as error:
            return -(error.errno or 0)
        return None

    def start_send(self, connection: int, nbytes: int) -> None:
        self._unsent[connection] = nbytes

    def sending(self, connection: int) -> bool:
        return self._unsent[connection] > 0

    def recv(self, connection: int, nbytes: int) -> int:
        left = nbytes
        try:
            while left and (got := len(self._sockets[connection].recv(min(left, 1 << 20)))):
                left -= got
        except ConnectionError as error:
            if left == nbytes:
                return -(error.errno or 0)
        return nbytes - left

    def shutdown(self, connection: int) -> None:
        self._sockets[connection].shutdown(socket.SHUT_WR)

    def close(self, connection: int) -> None:
        self._sockets[connection].close()

    def abort(self, connection: int) -> None:
        linger = struct.pack("ii", 1, 0)
        self._sockets[connection].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sockets[connection].close()

    def close_all(self) -> None:
        """The end of the scenario."""
        for sock in self._sockets:
            sock.close()

    def at_rest(self) -> bool:
        """Whether nothing is on its way to the program, and nothing more can be sent to it."""
        return not (self._send_on() or any(map(under_way, self._sockets)) or packets_wait())

    def _send_on(self) -> bool:
        """Go on with `start_send`; whether a socket has taken anything."""
        before = dict(self._unsent)
        for connection, nbytes in before.items():
            some = bytes(min(nbytes, 1 << 20))
            with contextlib.suppress(BlockingIOError):
                self._unsent[connection] -= self._sockets[connection].send(some, MSG_DONTWAIT)
        return before != self._unsent


class Program:
    """The side of the program: tells of its calls through a pipe."""

    def __init__(self, tell: int) -> None:
        self._tell = tell

    def begin(self, *call: Any) -> None:
        os.write(self._tell, json.dumps(call).encode() + b"\n")

    end = begin

    def pause(self, thread: str, kernel: Any) -> Call[None]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as gate:
            gate.bind(_gate(os.getpid(), thread))
            gate.recv(1)
        return
        yield

    def run(self, scenario: Scenario, listener: socket.socket) -> None:
        """Run the program in this process."""
        server = Server(listener, Workload(request_bytes=REQUEST_BYTES, reply_bytes=REPLY_BYTES))

        def run(program: Callable[..., Call[None]], *args: Any) -> None:
            drive(program(HostKernel(server, "thread"), *args))

        server.run = run
        side: Side = self
        kernel: Any = Recorder(HostKernel(server, "main"), side, Names(listener.fileno()))
        drive(scenario.run(kernel, listener.fileno()))


def _gate(pid: int, thread: str) -> str:
    """The abstract address, unix(7), where a thread waits to be let go on: that one, no other."""
    return f"\0iosim.{pid}.{thread}"


class Real(Transcript):
    """One scenario, seen by the process that makes the clients' steps."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self._steps = iter(scenario.steps)
        listener = _listen(scenario.limits)
        address = listener.getsockname()
        self._told, tell = os.pipe()
        os.set_blocking(self._told, False)
        clients = os.getpid()
        self._pid = os.fork()
        if not self._pid:
            try:
                _limit(scenario.limits)
                end_with(clients)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
                Program(tell).run(scenario, listener)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        os.close(tell)
        listener.close()
        self._gate = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._clients = Clients(address)
        self._rest = b""
        self._over = False

    def run(self) -> None:
        """Let the program and the clients act until nothing is left to do."""
        try:
            while not self._over:
                if not self._machine_rests():
                    os.sched_yield()
                elif not self._act():
                    break
        finally:
            os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            self._listen()
            os.close(self._told)
            self._gate.close()
            self._clients.close_all()
        failed = os.waitstatus_to_exitcode(status) not in (0, -signal.SIGKILL)
        assert not failed, "the program failed, see what it printed"

    def _act(self) -> bool:
        """At rest: let go on who waited for it, or take a step; False if there is none."""
        waiting_for = REST if self.resting(REST) else STEP
        if waiting_for == STEP:
            step = next(self._steps, None)
            assert step or not self.resting(STEP), "the program waits for a step that is not there"
            if step is None:
                return False
            step(TellingClient(self._clients, self))
        for thread in self.release(waiting_for):
            self._gate.sendto(b".", _gate(self._pid, thread))
        return True

    def _machine_rests(self) -> bool:
        self._listen()
        before = asleep(self._pid)
        still = before is not None and self._clients.at_rest() and before == asleep(self._pid)
        return still and not self._listen() and self.at_rest()

    def _listen(self) -> bool:
        """Take in what the program has told of its calls; whether it has told anything."""
        try:
            told = os.read(self._told, 1 << 16)
        except BlockingIOError:
            return False
        self._over = not told
        *lines, self._rest = (self._rest + told).split(b"\n")
        for line in lines:
            thread, what, *timeout_ns = json.loads(line)
            if timeout_ns:
                self.begin(thread, what, *timeout_ns)
            else:
                self.end(thread, what)
        return True


def _listen(limits: Any) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if "receive_buffer_bytes" in limits:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, limits["receive_buffer_bytes"])
    if "send_buffer_bytes" in limits:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, limits["send_buffer_bytes"])
    listener.bind(("127.0.0.1", 0))
    allow_more(listener)
    listener.listen(limits.get("backlog", 4096))
    return listener


def _limit(limits: Any) -> None:
    if "queued_signals" in limits:
        # It counts those of all processes of the user: be one without others, or allow for theirs.
        if not os.geteuid():
            os.setuid(os.getpid())
        queued = Path("/proc/self/status").read_text().partition("\nSigQ:\t")[2].partition("/")[0]
        most = int(queued) + limits["queued_signals"]
        resource.setrlimit(resource.RLIMIT_SIGPENDING, (most, most))


def main() -> None:
    """Run the scenarios that are asked for, in turn; answer with their transcripts."""
    pipe = attach(sys.argv[1:])
    while True:
        module, name = pipe.hear()
        importlib.import_module(module)
        run = Real(SCENARIOS[name])
        try:
            run.run()
            pipe.tell(run.text())
        except AssertionError as error:
            pipe.tell(f"{error}\n{run.text()}")
