"""What others take."""

from __future__ import annotations

from iosim.calibrate.bench import Bench, benchmark
from iosim.kernel import Call


@benchmark()
def interference(bench: Bench) -> Call[None]:
    """How often, and for how long, a program that spins has lost its core: the interference of the
    profile. A gap of less than 20 us does not count, see `iosim.host.jitter`."""
    spun_ns, gaps_ns = bench.place.gaps_ns()
    bench.note("spun", spun_ns)
    for gap_ns in gaps_ns:
        bench.note("gap", gap_ns)
    return
    yield
