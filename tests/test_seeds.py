"""Seeds of replications, and the streams that every committed figure depends on."""

from __future__ import annotations

import numpy as np
import pytest

from iosim import Workload, simulate
from iosim.errors import IosimError
from iosim.seeds import KEY, replication_seed
from iosim.workload import STREAMS, stream

FIRST_DRAWS = {
    "arrivals": (0.6990345474368357, 0.17433552137309583, 0.6451185321972944),
    "connections": (0.4757645185899906, 0.6005884039084781, 0.24508622403606528),
    "service": (0.23316830360018304, 0.04702160764433405, 0.42109979918046114),
    "wakeups": (0.1141246529720964, 0.8533637052303807, 0.5510678421044461),
    "interference": (0.6110309345532344, 0.3863486169780681, 0.8443221867670936),
    "gil": (0.2829750553411281, 0.27989764778648074, 0.43364314770810697),
    "ticking": (0.5876989127681226, 0.4644284083977802, 0.28479045200626185),
}
"""Of each stream of seed 1. A new stream comes after these, which must stay as they are: each has
the number of its place as key."""


def test_streams_are_added_at_the_end_only() -> None:
    assert STREAMS[: len(FIRST_DRAWS)] == tuple(FIRST_DRAWS)
    for place, (name, draws) in enumerate(FIRST_DRAWS.items()):
        assert tuple(stream(1, name).random(3).tolist()) == draws
        child = np.random.SeedSequence(1, spawn_key=(place,))
        assert tuple(np.random.default_rng(child).random(3).tolist()) == draws


def test_seeds_of_replications_are_these() -> None:
    """Pinned, since stored tables and committed figures name them."""
    assert [replication_seed(1, number) for number in range(4)] == [
        1,
        1866587750259440311,
        2397813144232480975,
        6056399224171474433,
    ]
    assert [replication_seed(2, number) for number in range(2)] == [2, 2941912819603952858]


def test_the_first_replication_has_the_seed_itself() -> None:
    for seed in (0, 1, 2**63, 2**128):
        assert replication_seed(seed, 0) == seed


def test_replications_of_neighbouring_seeds_have_no_seed_in_common() -> None:
    seeds = [replication_seed(seed, number) for seed in range(50) for number in range(50)]
    assert len(set(seeds)) == len(seeds)
    assert all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds)


def test_replications_are_apart_from_streams() -> None:
    """By the key: a stream has its place among the streams, and there will never be so many."""
    assert KEY > 2**30 > len(STREAMS)


def test_a_replication_can_be_made_again_by_its_seed() -> None:
    load = Workload(connections=2, requests=50)
    run = simulate("epoll", load, seed=replication_seed(1, 3))
    again = simulate("epoll", load, seed=run.provenance["seed"])
    assert run.seed == run.provenance["seed"] == run.summary()["seed"] == replication_seed(1, 3)
    assert run.records.tobytes() == again.records.tobytes()
    other = simulate("epoll", load, seed=4)
    assert run.records.tobytes() != other.records.tobytes()


@pytest.mark.parametrize(("seed", "replication"), [(-1, 0), (-1, 1), (1, -1)])
def test_negative(seed: int, replication: int) -> None:
    with pytest.raises(IosimError, match="neither must be negative"):
        replication_seed(seed, replication)
