"""The real kernel: the same programs on real sockets of this host."""

from iosim.host.own import load_server
from iosim.host.run import run_real
from iosim.host.thishost import facts, why_not

__all__ = ["facts", "load_server", "run_real", "why_not"]
