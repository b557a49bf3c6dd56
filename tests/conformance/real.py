"""Scenarios on the real kernel: the program in a process of its own, its clients in another.

The clients' process forks the program's, and sees in /proc whether it is at rest: every thread of
it sleeps, and has done nothing else for two looks (proc(5)).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import os
import resource
import select
import signal
import socket
import struct
import sys
import termios
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from iosim.host.child import attach
from iosim.host.kernel import HostKernel
from iosim.host.server import allow_more
from iosim.host.thread import Server
from iosim.kernel import Call, drive

_TCP_CLOSE = 7


class Clients:
    """The clients' ends of the connections."""

    def __init__(self, address: Any) -> None:
        self._address = address
        self._sockets: list[socket.socket] = []

        self._senders: dict[int, threading.Thread] = {}

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
        sock = self._sockets[connection]
        try:
            sock.sendall(bytes(nbytes))
        except ConnectionError as error:
            return -(error.errno or 0)
        _wait_until_there(sock)
        return None

    def start_send(self, connection: int, nbytes: int) -> None:
        def send() -> None:
            with contextlib.suppress(ConnectionError):  # when the scenario ends
                self._sockets[connection].sendall(bytes(nbytes))

        self._senders[connection] = threading.Thread(target=send, daemon=True)
        self._senders[connection].start()

    def sending(self, connection: int) -> bool:
        return self._senders[connection].is_alive()

    def finish_send(self, connection: int) -> None:
        self._senders[connection].join()

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


def _wait_until_there(sock: socket.socket) -> None:
    """Wait until the other end's kernel has acknowledged everything, SIOCOUTQ of tcp(7), or has
    reset the connection."""
    while struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]:
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
            return
        os.sched_yield()


class Program:
    """The side of the program: tells of its calls through a pipe."""

    def __init__(self, tell: int, go_on: int) -> None:
        self._tell = tell
        self._go_on = go_on

    def begin(self, *call: Any) -> None:
        os.write(self._tell, json.dumps(call).encode() + b"\n")

    end = begin

    def pause(self, thread: Any) -> Call[None]:
        os.read(self._go_on, 1)
        return
        yield

    def run(self, scenario: Scenario, listener: socket.socket) -> None:
        """Run the program in this process."""
        server = Server(listener, REQUEST_BYTES, REPLY_BYTES, [0])

        def run(program: Callable[..., Call[None]], *args: Any) -> None:
            drive(program(HostKernel(server, "thread"), *args))

        server.run = run
        side: Side = self
        kernel: Any = Recorder(HostKernel(server, "main"), side, Names(listener.fileno()))
        drive(scenario.program(kernel, listener.fileno()))


class Real(Transcript):
    """One scenario, seen by the process that makes the clients' steps."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self._steps = iter(scenario.steps)
        listener = _listen(scenario.limits)
        address = listener.getsockname()
        self._told, tell = os.pipe()
        go_on, self._go_on = os.pipe()
        os.set_blocking(self._told, False)
        self._pid = os.fork()
        if not self._pid:
            os.close(self._go_on)
            try:
                _limit(scenario.limits)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, signal.valid_signals())
                Program(tell, go_on).run(scenario, listener)
                os._exit(0)
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                os._exit(1)
        for file in (tell, go_on):
            os.close(file)
        listener.close()
        self._clients = TellingClient(Clients(address), self)
        self._rest = b""
        self._over = False

    def run(self) -> None:
        """Let the program and the clients act until nothing is left to do."""
        try:
            while not self._over and (not self._program_rests() or self._act()):
                pass
        finally:
            os.kill(self._pid, signal.SIGKILL)
            _, status = os.waitpid(self._pid, 0)
            self._listen()
            os.close(self._told)
            os.close(self._go_on)
        failed = os.WIFEXITED(status) and os.WEXITSTATUS(status)
        assert not failed, "the program failed, see what it printed"

    def _act(self) -> bool:
        """At rest: let go on who waited for it, or take a step; False if there is none."""
        if not self.resting(REST):
            step = next(self._steps, None)
            assert step or not self.resting(STEP), "the program waits for a step that is not there"
            if step is None:
                return False
            step(self._clients)
        os.write(self._go_on, b"." * self.release())
        return True

    def _program_rests(self) -> bool:
        before = self._activity()
        os.sched_yield()
        same = before is not None and before == self._activity()
        self._listen()
        return same and self.at_rest()

    def _activity(self) -> list[Any] | None:
        """How often each thread of the program has been switched; None if one does not sleep."""
        seen = []
        for task in sorted(Path(f"/proc/{self._pid}/task").iterdir()):
            try:
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
                status = (task / "status").read_text().splitlines()
            except (FileNotFoundError, ProcessLookupError):
                return None
            if state != "S":
                return None
            seen.append((task.name, [line for line in status if "ctxt_switches" in line]))
        return seen

    def _listen(self) -> None:
        """Take in what the program has told of its calls so far."""
        while True:
            try:
                told = os.read(self._told, 1 << 16)
            except BlockingIOError:
                return
            if not told:
                self._over = True
                return
            *lines, self._rest = (self._rest + told).split(b"\n")
            for line in lines:
                thread, what, *timeout_ns = json.loads(line)
                if timeout_ns:
                    self.begin(thread, what, *timeout_ns)
                else:
                    self.end(thread, what)


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
        # It counts those of all processes of the user: be one that has no others.
        if not os.geteuid():
            os.setuid(os.getpid())
        most = limits["queued_signals"]
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
