"""The machine that serves: cores, network and kernel limits."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from iosim.checked import Checked
from iosim.units import BitsPerSecond, Bytes, Count, Nanoseconds, PerSecond, format_time

_HEADER_BYTES = 40
_FRAME_BYTES = 38

BASE_SLICE_NS = 700_000
"""base_slice_ns of Linux's EEVDF scheduler before scaling (kernel/sched/fair.c)."""


class Nic(Checked):
    """A network interface between the clients and the server.

    The default wire is 10GbE with the default MTU. Each packet costs 40 bytes of TCP and IPv4
    headers without options, and 38 of Ethernet frame with preamble and gap (IEEE 802.3).
    """

    link_bits_per_s: Annotated[BitsPerSecond, Field(gt=0)] = 10_000_000_000
    """In each direction: packets queue for the link, and those the other way do not matter."""
    latency_ns: Nanoseconds = 5_000
    """One way, beyond the time that the bits take."""
    mtu_bytes: Annotated[Bytes, Field(gt=_HEADER_BYTES)] = 1_500
    queues: Annotated[Count, Field(gt=0)] = 1
    """Receive queues. Queue q interrupts core q modulo the number of cores; a connection always
    uses the same queue (receive-side scaling)."""
    rx_ring: Annotated[Count, Field(gt=0)] = 512
    """Packets that each queue holds for the kernel, beyond which they are dropped; the default of
    Linux's ixgbe and i40e drivers, see ethtool(8), -g."""
    retransmit_ns: Annotated[Nanoseconds, Field(gt=0)] = 200_000_000
    """How long after sending a packet the client gives it up for lost and sends it again; twice as
    long for each time that this was in vain, up to 120 s. TCP_RTO_MIN and TCP_RTO_MAX of Linux: the
    estimate of RFC 6298 is below the minimum on the short ways that are simulated here."""
    coalesce_ns: Nanoseconds = 0
    """How long after the first packet its interrupt comes; 0 is at once. ethtool(8), rx-usecs."""
    coalesce_frames: Count = 0
    """So many waiting packets have the interrupt come earlier; 0 is no matter how many.
    ethtool(8), rx-frames."""
    napi_budget: Annotated[Count, Field(gt=0)] = 64
    """Packets that one poll takes off a queue: NAPI_POLL_WEIGHT of Linux."""

    @model_validator(mode="after")
    def _check_coalescing(self) -> Self:
        if self.coalesce_frames and not self.coalesce_ns:
            raise ValueError(
                f"coalesce_frames = {self.coalesce_frames} without coalesce_ns: the last packets "
                "of a burst would wait for ever; set coalesce_ns too"
            )
        if self.coalesce_frames > self.rx_ring:
            raise ValueError(
                f"coalesce_frames = {self.coalesce_frames}: the ring holds only "
                f"rx_ring = {self.rx_ring}; let it hold more or wait for fewer"
            )
        return self

    @property
    def payload_bytes(self) -> int:
        """The most that a packet carries of a message."""
        return self.mtu_bytes - _HEADER_BYTES

    def packet_bits(self, payload_bytes: int) -> int:
        """For how many bits a packet occupies the link."""
        return 8 * (payload_bytes + _HEADER_BYTES + _FRAME_BYTES)


class Interference(Checked):
    """Time that others take from each core: a hypervisor, or whatever shares the host.

    It comes at random moments (a Poisson process), as often whether the core is busy or not.
    """

    per_s: Annotated[PerSecond, Field(gt=0)]
    """How often, on each core."""
    duration_ns: Annotated[list[Nanoseconds], Field(min_length=1)]
    """For how long: values that are equally likely, such as quantiles at equal steps."""

    @property
    def share(self) -> float:
        """How much of a core's time it takes."""
        return self.per_s * sum(self.duration_ns) / len(self.duration_ns) / 1e9

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.share >= 1:
            mean = format_time(self.share / self.per_s * 1e9)
            raise ValueError(
                f"per_s = {self.per_s:g} times duration_ns, {mean} on average, takes "
                f"{self.share:.0%} of a core: it must be below 100 %, or the server gets nothing"
            )
        return self


class Machine(Checked):
    """What a simulated program runs on; the default is one pinned core on loopback."""

    cores: Annotated[Count, Field(gt=0)] = 1
    """Cores that the server may use; the load generator has one of its own."""
    nic: Nic | None = None
    """None is loopback: receive work is done by the sender, on the sender's core."""
    time_slice_ns: Annotated[Nanoseconds, Field(gt=0)] = 2_800_000
    """How long a thread runs while others wait, see `time_slice_ns`; for the 8 and more cores of
    common machines."""
    protected_slice_ns: Nanoseconds = BASE_SLICE_NS
    """For how long a thread keeps its core from threads that wake up, which preempt it afterwards,
    and before if they have had less than their share: base_slice_ns before scaling (RUN_TO_PARITY
    of EEVDF). Measured on Linux 6.18: a thread that has had the core for 0.45 ms is not preempted,
    one that has had it for 0.85 ms is."""
    tick_ns: Annotated[Nanoseconds, Field(gt=0)] = 4_000_000
    """From one tick of the kernel to the next: its default, 250 a second (CONFIG_HZ). A core that
    idles stops it as a rule, which makes waking it up dearer where a cost profile knows that."""
    interference: Interference | None = None
    """None is a machine of one's own."""
    backlog: Annotated[Count, Field(gt=0)] = 4_096
    """The limit of connections that wait for accept: net.core.somaxconn, listen(2). Linux lets one
    more wait; further clients connect when there is room."""
    receive_buffer_bytes: Annotated[Bytes, Field(gt=0)] = 6_291_456
    """Bytes a socket holds for its program before the sender must wait: the maximum of
    net.ipv4.tcp_rmem, tcp(7)."""
    send_buffer_bytes: Annotated[Bytes, Field(gt=0)] = 4_194_304
    """Bytes a socket holds for a client without room before its program must wait: the maximum of
    net.ipv4.tcp_wmem, tcp(7)."""
    memory_bytes: Annotated[Bytes, Field(gt=0)] = 17_179_869_184
    """Memory for threads, sockets and watched descriptors; a server that needs more is refused.
    The default is the 16 GiB of a common laptop."""
    queued_signals: Annotated[Count, Field(gt=0)] = 96_365
    """Real-time signals that may be pending: RLIMIT_SIGPENDING, getrlimit(2)."""


def time_slice_ns(cores: int, tick_ns: int = 1) -> int:
    """How long a thread runs on Linux while others wait, on a host of so many cores.

    The base slice is scaled by 1 + log2(cores), for 8 cores at most (get_update_sysctl_factor in
    kernel/sched/fair.c), and its end is noticed at the next tick, of which CONFIG_HZ are in a
    second: those that always use all of it take turns every few ticks.
    """
    slice_ns = BASE_SLICE_NS * min(8, cores).bit_length()
    return -(-slice_ns // tick_ns) * tick_ns
