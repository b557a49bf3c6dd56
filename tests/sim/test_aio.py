"""The C library's helper threads."""

from __future__ import annotations

from round_costs import round_costs

from iosim.models import get
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload


def helpers(workload: Workload) -> tuple[int, int]:
    """How many are started in a run, all requests of which are answered, and how many end."""
    trace = Trace()
    run = simulate(get("aio"), workload, profile=round_costs(), trace=trace)
    assert (run.records["replied_ns"] > run.records["done_ns"]).all()
    started = [name for name in trace.threads if name.startswith("aio helper")]
    ended = [name for name in started if trace.spells(name)[-1][0] == "EXITED"]
    return len(started), len(ended)


def test_alone_a_helper_carries_out_read_after_read() -> None:
    assert helpers(Workload(connections=1, requests=50)) == (1, 0)


def test_helpers_end_when_another_has_taken_their_read() -> None:
    """And others are started when none rests, but never more at a time than there are reads."""
    started, ended = helpers(Workload(connections=16, requests=2_000, rate_per_s=400_000))
    assert ended > 0
    assert 16 <= started <= 16 + ended
