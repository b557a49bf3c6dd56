"""How fast simulations are and what memory they take. No test, but run by hand:

    python tests/speed.py                        this checkout
    python tests/speed.py --against ../before    another one too, and how many times as fast this is
    python tests/speed.py epoll io_uring         only the cases whose names hold one of these words

A shared machine is now fast, now slow, so two checkouts can only be compared by runs that take
turns. Each ratio is that of two runs made one after the other; the table gives the median of the
ratios and their quartiles. Time is processor time, without that for setting up the connections.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

HERE = Path(__file__).resolve().parent.parent
REQUESTS = 20_000
RATE_PER_S = 20_000
IDLE = 100_000, 300_000
"""An idle connection takes its share of the difference between so many."""

MANY = {"connections": 20_000, "active": 200}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "epoll": ({}, MANY, {}),
    "epoll-et": ({}, MANY, {}),
    "poll": ({}, {"connections": 500}, {}),
    "blocking": ({}, {"connections": 64}, {}),
    "io_uring": ({}, {"connections": 1_000}, {}),
    "nonblocking": ({}, {"connections": 100}, {}),
    "epoll with a card": ({}, MANY, {"nic": {}}),
    "epoll on 4 cores": (
        {"workers": 4, "listener": "reuseport"},
        {"connections": 1_000, "connect_gap_ns": 10_000},
        {"cores": 4},
    ),
}
"""Parameters of model, workload and machine. A name begins with that of the model."""


def simulate(case: str, profile: str, requests: int, **load: Any) -> Any:
    """A run, with the iosim that this process imports."""
    import iosim
    from iosim.models import get

    model, workload, machine = CASES[case]
    return iosim.simulate(
        get(case.split()[0], **model),
        iosim.Workload(rate_per_s=RATE_PER_S, requests=requests, **(workload | load)),
        machine=iosim.Machine(**machine),
        profile=profile,
    )


def speed(case: str, profile: str) -> tuple[float, float]:
    """Requests per second of processor time, and events per request."""
    spent_s, events = [], []
    for requests in (1, REQUESTS):
        gc.collect()
        began_s = time.process_time()
        events.append(simulate(case, profile, requests).events)
        spent_s.append(time.process_time() - began_s)
    return REQUESTS / (spent_s[1] - spent_s[0]), events[1] / REQUESTS


def memory(connections: int) -> int:
    """Peak memory of a process that has simulated so many connections, in bytes."""
    simulate("epoll", "native", 1, connections=connections)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # It is in KiB on Linux.


def start(checkout: Path, *what: str) -> subprocess.Popen[str]:
    """Start this script with the iosim of a checkout."""
    return subprocess.Popen(
        (sys.executable, __file__, *what),
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(server: subprocess.Popen[str], case: str, profile: str) -> tuple[float, float] | None:
    """`speed` as another process measures it; None if its iosim cannot simulate the case."""
    assert server.stdin is not None
    assert server.stdout is not None
    print(json.dumps((case, profile)), file=server.stdin, flush=True)
    answer = json.loads(server.stdout.readline())
    return answer and tuple(answer)


def serve() -> None:
    """Answer those who ask, as long as they do."""
    from iosim import IosimError

    for line in sys.stdin:
        try:
            answer = speed(*json.loads(line))
        except IosimError:
            answer = None
        print(json.dumps(answer), flush=True)


def bytes_per_connection(checkout: Path) -> float:
    """What one more idle connection takes."""
    peaks = [int(start(checkout, "--memory", str(n)).communicate()[0]) for n in IDLE]
    return (peaks[1] - peaks[0]) / (IDLE[1] - IDLE[0])


def row(
    name: str,
    here: Sequence[tuple[float, float]],
    there: Sequence[tuple[float, float] | None] = (),
) -> str:
    """A line of the table: what was measured here and, a run after each, in another checkout."""
    cells = f"{name:28}{median(per_s for per_s, _ in here):12,.0f}{here[0][1]:16.2f}"
    pairs = [(new[0], old[0]) for new, old in zip(here, there, strict=False) if old is not None]
    if pairs:
        low, middle, high = quantiles((new / old for new, old in pairs), n=4, method="inclusive")
        cells += f"{median(old for _, old in pairs):12,.0f}{middle:8.2f}  {low:.2f} to {high:.2f}"
    return cells


def measure(checkouts: list[Path], words: list[str], rounds: int) -> None:
    """Print what was asked for, of the first checkout and how it compares with the second."""
    servers = [start(checkout, "--serve") for checkout in checkouts]
    print(f"{'':28}{'requests/s':>12}{'events/request':>16}{'before':>12}{'ratio':>8}  quartiles")
    for case in CASES:
        for profile in ("native", "python"):
            if not words or any(word in f"{case}, {profile}" for word in words):
                turns = [[ask(server, case, profile) for server in servers] for _ in range(rounds)]
                here, *there = zip(*turns, strict=True)
                print(row(f"{case}, {profile}", here, *there), flush=True)
    for server in servers:
        server.communicate()
    idle = [bytes_per_connection(checkout) for checkout in checkouts]
    print("bytes per idle connection:", ", before: ".join(f"{taken:.0f}" for taken in idle))


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="measure the cases whose names hold one of these")
    parser.add_argument("--against", type=Path, help="the folder of another checkout")
    parser.add_argument("--rounds", type=int, default=9, help="runs of each case")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
    elif options.memory:
        print(memory(options.memory))
    else:
        checkouts = [HERE, options.against] if options.against else [HERE]
        measure(checkouts, options.words, options.rounds)


if __name__ == "__main__":
    main()
