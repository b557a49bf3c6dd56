"""Whether a machine is at rest: every thread of the program sleeps, and nothing is on its way that
would wake one.

It is seen from outside, by a process on the same core. While that looks, no other thread runs there
and no packet is half-way: loopback delivers packets in the context of their sender.

Threads can be looked at one by one only. So there are two looks: a thread that sleeps at both, and
was not switched off the core in between, has slept in between; all of them did at once. In state S
of proc(5) is also a thread that is preempted on its way into a sleep or out of it, and it goes on
without being woken: /proc/PID/task/TID/syscall says of it that it is running. One in state D will
be woken by a disk or a lock.

Packets are delivered as they are sent, unless they become too many at a time. Then the kernel
leaves the rest to the thread ksoftirqd, and they stand in the backlog of the core until that runs
(/proc/net/softnet_stat). A connection, an end or a reset of a client is nowhere else on its way.

Data is, where TCP waits: for an acknowledgement that is delayed, or for a timer, to send once more
what was lost. So no connection may have data without acknowledgement while its window is open
(TCP_INFO of tcp(7)). What a closed window holds back moves only when the program reads. The
program's own data is not looked at: it wakes nobody but who waits for room to send more.
"""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_TCP_CLOSE = 7
_UNACKED_AT, _NOTSENT_AT, _SND_WND_AT = 24, 144, 228
"""Where struct tcp_info of <linux/tcp.h> has tcpi_unacked, tcpi_notsent_bytes and tcpi_snd_wnd."""

_BACKLOG, _CORE = 11, 12
"""Columns of /proc/net/softnet_stat: softnet_seq_show() in net/core/net-procfs.c."""


def asleep(pid: int) -> list[str] | None:
    """How often each thread of a process has been switched; None if one does not sleep."""
    seen = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (thread / "status").read_text()
            if "\nState:\tS" not in status or _on_the_run_queue(thread):
                return None
        except (FileNotFoundError, ProcessLookupError):
            return None  # it has just ended
        seen.append(thread.name + status.partition("\nvoluntary_ctxt_switches")[2])
    return seen


def _on_the_run_queue(thread: Path) -> bool:
    try:
        return (thread / "syscall").read_text() == "running\n"
    except PermissionError:
        # Root may change its user but not trace others in a container, ptrace(2): look no closer.
        return False


def packets_wait() -> bool:
    """Whether packets are in the backlog of this process's core."""
    cores = os.sched_getaffinity(0)
    rows = (line.split() for line in Path("/proc/net/softnet_stat").read_text().splitlines())
    return any(int(row[_BACKLOG], 16) for row in rows if int(row[_CORE], 16) in cores)


def under_way(sock: socket.socket) -> bool:
    """Whether it has data that is not acknowledged although the other end has room for it."""
    if sock.fileno() < 0:
        return False
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
    unacked, notsent, window = (
        struct.unpack_from("=I", info, at)[0] for at in (_UNACKED_AT, _NOTSENT_AT, _SND_WND_AT)
    )
    return info[0] != _TCP_CLOSE and bool(window and (unacked or notsent))
