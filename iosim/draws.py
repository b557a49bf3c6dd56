"""Random numbers that can be asked for in any order: the n-th of a key is always the same.

SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014). Its
n-th number is a hash of its seed and n, so a draw can belong to a thing, such as a request of a
connection, whoever asks for it and when. The seed of one sequence may be a number of another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_GAMMA = 0x9E3779B97F4A7C15
"""The odd number nearest to 2**64 over the golden ratio."""
_MASK = 2**64 - 1
_STEPS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
"""Variant 13 of Stafford's mixing functions: a shift to the right, then a product."""


def draw(key: int, number: int) -> int:
    """The number of that place in the sequence of a key, from 0 to 2**64 - 1; any place will do."""
    bits = key + (number + 1) * _GAMMA & _MASK
    for shift, factor in _STEPS:
        bits = (bits ^ bits >> shift) * factor & _MASK
    return bits ^ bits >> 31


def draws(
    key: int | npt.NDArray[np.uint64], numbers: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint64]:
    """As `draw`, of many places; each may have a key of its own."""
    bits = np.asarray(key, np.uint64) + (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(
        _GAMMA
    )
    for shift, factor in _STEPS:
        bits = (bits ^ (bits >> np.uint64(shift))) * np.uint64(factor)
    drawn: npt.NDArray[np.uint64] = bits ^ (bits >> np.uint64(31))
    return drawn


def share(bits: int) -> float:
    """A number above 0 and up to 1 from what was drawn, all equally likely."""
    return ((bits >> 11) + 1) * 2.0**-53
