"""The machine that serves: cores, network and kernel limits."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from iosim.units import BitsPerSecond, Bytes, Count, Nanoseconds


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
    backlog: Annotated[Count, Field(gt=0)] = 4_096
    """The limit of connections that wait for accept: net.core.somaxconn, listen(2). Linux lets one
    more wait; further clients connect when there is room."""
    receive_buffer_bytes: Annotated[Bytes, Field(gt=0)] = 6_291_456
    """Bytes a socket holds for its program before the sender must wait: the maximum of
    net.ipv4.tcp_rmem, tcp(7)."""
    send_buffer_bytes: Annotated[Bytes, Field(gt=0)] = 4_194_304
    """Bytes a socket holds for a client without room before its program must wait: the maximum of
    net.ipv4.tcp_wmem, tcp(7)."""
    queued_signals: Annotated[Count, Field(gt=0)] = 96_365
    """Real-time signals that may be pending: RLIMIT_SIGPENDING, getrlimit(2)."""
