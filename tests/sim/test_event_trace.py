"""The whole event trace of one request and of three at once, for each model, written out.

Every call and switch takes 100 ns, a wake-up 1000 ns, a byte 1 ns, and the network only copies
(tests/round_costs.py), so that each line of event_traces/ can be added up by eye. A change that is
meant is written out anew by `python tests/sim/test_event_trace.py`, to be read line by line.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from round_costs import round_costs

from iosim.models import MODELS, get
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload

FOLDER = Path(__file__).parent / "event_traces"

ONE = Workload(
    connections=1, requests=1, arrivals="even", rate_per_s=100_000, request_bytes=50, reply_bytes=30
)
"""One request, due after 10,000 ns."""

THREE = Workload(
    connections=3, requests=3, arrivals="closed", request_bytes=50, reply_bytes=30, service=2_000
)
"""One request on each connection, all due at once."""

PARAMETERS = {"blocking-pool": {"threads": 3}, "nonblocking-sleep": {"interval_ns": 5_000_000}}
"""Pages would be filled by 200 threads, and by naps of 100 us before the load begins."""

CASES = [(model, count) for model in MODELS for count in ("one", "three")]


def events(model: str, count: str) -> str:
    """What happened, a line each: when it began and ended, who did it, and what it was."""
    trace = Trace()
    load = ONE if count == "one" else THREE
    simulate(get(model, **PARAMETERS.get(model, {})), load, profile=round_costs(), trace=trace)
    lines: list[tuple[int, str, str]] = []

    def add(begin_ns: int, end_ns: int | None, who: str, what: str) -> None:
        end = "" if end_ns == begin_ns else f" to {'...' if end_ns is None else f'{end_ns:,}'}"
        lines.append((begin_ns, f"{begin_ns:,}{end}", f"{who:28}{what}"))

    for change in trace.states:
        add(change.at_ns, change.at_ns, change.thread, change.state)
    for call in trace.calls:
        # A spinning program's empty tries are counted, not shown.
        if not (call.empty and model.startswith(("nonblocking", "sigio"))):
            arguments = ", ".join(map(str, call.args))
            result = "" if call.result is None else f" = {call.result}"
            add(call.begin_ns, call.end_ns, call.thread, f"{call.name}({arguments}){result}")
    for copy in trace.copies:
        what = f"copies {copy.nbytes} bytes from {copy.fd}"
        add(copy.begin_ns, copy.end_ns, copy.thread, what)
    for signal in trace.signals:
        what = f"signal {signal.signal} for {signal.value} {signal.what}"
        add(signal.at_ns, signal.at_ns, signal.thread or "kernel", what)
    for message in trace.messages:
        what = f"{message.what} {message.number} on connection {message.connection}"
        add(message.at_ns, message.at_ns, "network", what)
    lines.sort(key=lambda line: line[0])
    empty = sum(call.empty for call in trace.calls)
    return "\n".join(f"{when:28}{what}" for _, when, what in lines) + f"\n{empty} empty tries\n"


@pytest.mark.parametrize(("model", "count"), CASES)
def test_event_trace(model: str, count: str) -> None:
    assert events(model, count) == (FOLDER / f"{model}_{count}.txt").read_text()


if __name__ == "__main__":
    for _model, _count in CASES:
        (FOLDER / f"{_model}_{_count}.txt").write_text(events(_model, _count))
