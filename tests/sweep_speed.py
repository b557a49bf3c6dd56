"""What a sweep costs beside its points. No test, but run by hand:

    python tests/sweep_speed.py                2,000 points: two workers against one process
    python tests/sweep_speed.py --points 500   fewer

The serial rate is that of `work_on`, called again and again in this process with no driver and no
store; it is taken before and after, since a shared machine is now fast, now slow.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path

from iosim.sweep import Design, Store, drive, profiles_of
from iosim.sweep.engines import Engine, Serial, local
from iosim.sweep.points import work_on


def design(points: int) -> Design:
    """Points of about 10 ms."""
    axes = {
        "model": ["blocking", "poll", "epoll", "io_uring"],
        "workload.connections": [10, 20, 40, 80, 160],
        "workload.rate": ["1k/s", "2k/s", "5k/s", "10k/s", "20k/s"],
    }
    sweep = {"axes": axes, "replications": points // 100}
    return Design.of({"sweep": sweep, "workload": {"requests": 700}})


def cpu_s() -> float:
    """Processor time of this process."""
    return time.process_time()


def peak_bytes() -> int:
    """The most memory that this process has had, getrusage(2)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def bare(chosen: Design, every: int) -> float:
    """Seconds per point with nothing around it, over every so-many-th point."""
    packed = chosen.common(profiles_of(chosen)).packed()
    some = [chosen[number] for number in range(0, len(chosen), every)]
    began_s = time.perf_counter()
    for point in some:
        work_on(packed, [point])
    return (time.perf_counter() - began_s) / len(some)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=2_000)
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    chosen = design(options.points)
    serial_s = [bare(chosen, 7)]
    with tempfile.TemporaryDirectory() as folder:
        memory = []

        def look(counts: object, rate: float) -> None:
            memory.append(peak_bytes())

        with (
            Store.create(Path(folder) / "s", chosen, profiles_of(chosen)) as store,
            local(options.workers) as engine,
        ):
            began_s, began_cpu_s = time.perf_counter(), cpu_s()
            drive(store, engine, progress=look)
            spent_s = time.perf_counter() - began_s
            driver_s = cpu_s() - began_cpu_s
        serial_s.append(bare(chosen, 7))
        with Store.create(Path(folder) / "t", chosen, profiles_of(chosen)) as store:
            began_s = time.perf_counter()
            drive(store, Engine(Serial(), 1))
            alone_s = (time.perf_counter() - began_s) / len(chosen)
    serial_s.append(bare(chosen, 7))
    point_s = statistics.median(serial_s)
    print(f"points                          {len(chosen):,}")
    print(f"serial, no driver or store      {1 / point_s:.1f} points/s", end="")
    print(f" ({', '.join(f'{1 / one:.1f}' for one in serial_s)})")
    print(f"{options.workers} workers                       {len(chosen) / spent_s:.1f} points/s")
    print(f"speedup                         {point_s * len(chosen) / spent_s:.2f}")
    print(f"driver's processor time         {driver_s / len(chosen) * 1e3:.2f} ms a point")
    print(f"driver and store, in series     {(alone_s - point_s) * 1e3:+.2f} ms a point")
    tenth, last = memory[len(memory) // 10] / 2**20, memory[-1] / 2**20
    print(f"driver's memory at most         {tenth:.1f} MiB after 10 %, {last:.1f} MiB at the end")


if __name__ == "__main__":
    main()
