"""The machine that serves: cores, network and kernel limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from iosim.units import BitsPerSecond, Bytes, Count, Nanoseconds, PerSecond


class Nic(BaseModel):
    """A network interface between the clients and the server.

    The default wire is 10GbE with the default MTU; 40 bytes of every packet are TCP and IPv4
    headers without options, 38 more the Ethernet frame with preamble and gap (IEEE 802.3).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    link_bits_per_s: Annotated[BitsPerSecond, Field(gt=0)] = 10_000_000_000
    latency_ns: Nanoseconds = 5_000
    """One way, beyond the time that the bits take."""
    mtu_bytes: Annotated[Bytes, Field(gt=40)] = 1_500

    def packets(self, nbytes: int) -> int:
        """How many packets a message takes."""
        return -(-nbytes // (self.mtu_bytes - 40))

    def wire_ns(self, nbytes: int) -> int:
        """How long a message occupies the link."""
        bits = 8 * (nbytes + self.packets(nbytes) * (40 + 38))
        return bits * 1_000_000_000 // self.link_bits_per_s


class Interference(BaseModel):
    """Time that others take from each core: a hypervisor, or whatever shares the host.

    It comes at random moments (a Poisson process), as often whether the core is busy or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_s: Annotated[PerSecond, Field(gt=0)]
    """How often, on each core."""
    duration_ns: Annotated[list[Nanoseconds], Field(min_length=1)]
    """For how long: values that are equally likely, such as quantiles at equal steps."""


class Machine(BaseModel):
    """What a simulated program runs on; the default is one pinned core on loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cores: Annotated[Count, Field(gt=0)] = 1
    """Cores that the server may use; the load generator has one of its own."""
    nic: Nic | None = None
    """None is loopback: receive work is done by the sender, on the sender's core."""
    time_slice_ns: Annotated[Nanoseconds, Field(gt=0)] = 2_800_000
    """How long a thread runs while others wait: base_slice_ns of Linux's EEVDF scheduler, 0.7 ms
    scaled by 1 + log2(cores), for the 8 and more cores of common machines."""
    protected_slice_ns: Nanoseconds = 700_000
    """For how long a thread keeps its core from threads that wake up, which preempt it afterwards:
    base_slice_ns before scaling (RUN_TO_PARITY of EEVDF). Measured on Linux 6.18: a thread that has
    had the core for 0.45 ms is not preempted, one that has had it for 0.85 ms is."""
    interference: Interference | None = None
    """None is a machine of one's own."""
    backlog: Annotated[Count, Field(gt=0)] = 4_096
    """Connections that may wait for accept: net.core.somaxconn, listen(2)."""
    receive_buffer_bytes: Annotated[Bytes, Field(gt=0)] = 6_291_456
    """Bytes a socket holds for its program before the sender must wait: the maximum of
    net.ipv4.tcp_rmem, tcp(7)."""
    memory_bytes: Annotated[Bytes, Field(gt=0)] = 17_179_869_184
    """Memory for threads, sockets and watched descriptors; a server that needs more is refused.
    The default is the 16 GiB of a common laptop."""
    queued_signals: Annotated[Count, Field(gt=0)] = 96_365
    """Real-time signals that may be pending: RLIMIT_SIGPENDING, getrlimit(2)."""
