"""Processes of a real run: started fresh, pinned to a core, talking over a pipe, ended for sure."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from threading import Lock
from typing import Any

import cloudpickle

from iosim.errors import IosimError, RunFailed
from iosim.start import deaf

_PR_SET_PDEATHSIG = 1
_START = """\
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
from {} import main
main()
"""
"""Threads that libraries start when they are imported must not take the program's signals:
one sent to the process goes to any thread that does not block it, signal(7)."""


class Child:
    """The parent's side of a child process."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], pipe: Connection) -> None:
        self._name = name
        self._process = process
        self._pipe = pipe

    def tell(self, message: Any) -> None:
        """Send a message; anything cloudpickle can carry, programs of notebooks included."""
        try:
            self._pipe.send_bytes(cloudpickle.dumps(message))
        except BrokenPipeError:
            raise self._gone() from None

    def hear(self, timeout_s: float) -> Any:
        """Wait for a message; an error that the child reports is raised here."""
        try:
            if not self._pipe.poll(timeout_s):
                raise RunFailed(f"the {self._name} has not answered for {timeout_s:.0f} s")
            message = cloudpickle.loads(self._pipe.recv_bytes())
        except (EOFError, ConnectionResetError):
            raise self._gone() from None
        if isinstance(message, IosimError):
            raise message
        return message

    def has_news(self, timeout_s: float) -> bool:
        """Whether `hear` would return, or raise, at once."""
        return self._pipe.poll(timeout_s)

    def ask(self, message: Any, timeout_s: float = 60) -> Any:
        """Send a message and wait for the answer."""
        self.tell(message)
        return self.hear(timeout_s)

    def _gone(self) -> RunFailed:
        return RunFailed(f"the {self._name} ended with exit code {self._process.wait(5)}")


@contextmanager
def child(name: str, module: str, core: int) -> Iterator[Child]:
    """Run `module` as a process pinned to `core`; it has ended when the context is left.

    A fresh interpreter instead of a fork: no threads, heap or imports of this process disturb what
    is measured, and a program defined in a notebook travels along by cloudpickle.
    """
    ours, theirs = multiprocessing.Pipe()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path),
        "OPENBLAS_NUM_THREADS": "1",  # no threads beside the program's
    }
    with deaf():
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START.format(module), str(theirs.fileno()), str(core)],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    theirs.close()
    try:
        yield Child(name, process, ours)
    finally:
        ours.close()
        process.kill()
        process.wait()


class Pipe:
    """The child's side of the pipe to its parent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._telling = Lock()

    def tell(self, message: Any) -> None:
        """Send a message to the parent, from any thread; without one the process ends at once."""
        packed = cloudpickle.dumps(message)
        try:
            with self._telling:
                self._connection.send_bytes(packed)
        except OSError:
            os._exit(1)

    def hear(self) -> Any:
        """Wait for a message; without a parent the process ends at once."""
        try:
            return cloudpickle.loads(self._connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(1)

    def fileno(self) -> int:
        """Readable when there is something to hear."""
        return self._connection.fileno()


def attach(arguments: list[str]) -> Pipe:
    """The child's side: pin the process and open the pipe named by its command line."""
    # Ctrl-C reaches the whole process group; it is the parent that decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with(os.getppid())
    os.sched_setaffinity(0, {int(arguments[1])})
    return Pipe(Connection(int(arguments[0])))


def end_with(parent: int) -> None:
    """Have this process killed when its parent is, prctl(2): it may be busy, or asleep for good.

    A fork does not inherit that, and a process that changes its user loses it.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
