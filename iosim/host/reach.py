"""Whether something listens at an address."""

from __future__ import annotations

import socket


def why_unreachable(host: str, port: int, patience_s: float) -> str | None:
    """The reason why no TCP connection comes about within seconds; None if one does."""
    try:
        socket.create_connection((host, port), patience_s).close()
    except OSError as error:
        return error.strerror or str(error)
    return None
