"""Random numbers that belong to something."""

from __future__ import annotations

import numpy as np
from scipy import stats

from iosim.draws import draw, draws, share

NUMBERS = np.arange(-3, 200_000)


def test_known_numbers() -> None:
    """The first of SplitMix64 with the seed 1234567, as published with other implementations."""
    assert [draw(1_234_567, number) for number in range(5)] == [
        6_457_827_717_110_365_317,
        3_203_168_211_198_807_973,
        9_817_491_932_198_370_423,
        4_593_380_528_125_082_431,
        16_408_922_859_458_223_821,
    ]


def test_many_are_as_one_by_one() -> None:
    assert draws(99, NUMBERS[:500]).tolist() == [draw(99, number) for number in range(-3, 497)]
    keys = draws(99, NUMBERS[:500])
    assert draws(keys, NUMBERS[:500]).tolist() == [
        draw(int(key), number) for key, number in zip(keys, range(-3, 497), strict=True)
    ]


def test_shares_are_uniform_and_never_nothing() -> None:
    assert share(0) == 2.0**-53
    assert share(2**64 - 1) == 1
    shares = [share(bits) for bits in draws(7, NUMBERS).tolist()]
    assert stats.kstest(shares, "uniform").pvalue > 1e-4


def test_neighbours_are_independent() -> None:
    """Sequences of neighbouring keys, and neighbouring numbers of one."""
    at = NUMBERS[NUMBERS >= 0]
    one, other = (draws(draw(5, key), at) / 2.0**64 for key in (1, 2))
    for pair in ((one, other), (one[1:], one[:-1])):
        assert abs(np.corrcoef(*pair)[0, 1]) < 4 / np.sqrt(len(at))
