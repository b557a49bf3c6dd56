"""The seeds of replications: runs of the same thing that differ in their random numbers only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from iosim.errors import IosimError

KEY = 0x7265706C
"""Sets the seeds of replications apart from the streams of a run (`iosim.workload.STREAMS`), whose
keys count from 0: no replication draws what a stream of another draws."""


@lru_cache(maxsize=4_096)  # every point of a sweep asks
def replication_seed(seed: int, replication: int) -> int:
    """The seed of a replication: of the first, 0, `seed` itself; of any other a whole number below
    2**63 that NumPy's SeedSequence draws, so that replications of neighbouring seeds have no run in
    common.

    The replication is made again by itself from that number, as from any seed.
    """
    if seed < 0 or replication < 0:
        raise IosimError(f"seed {seed}, replication {replication}: neither must be negative")
    if replication == 0:
        return seed
    child = np.random.SeedSequence(seed, spawn_key=(KEY, replication))
    return int(child.generate_state(1, np.uint64)[0]) >> 1
