"""Plans: which combinations of the axes a sweep runs. Any of them is computed from its index."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import accumulate, islice

import numpy as np
import numpy.typing as npt

from iosim.errors import IosimError
from iosim.sweep.axes import Axis
from iosim.sweep.fields import Value, Values

_BLOCK = 4_096
"""So many points of a Sobol sequence are drawn at a time."""

MOST_SOBOL = 2**30
"""So many points `scipy.stats.qmc.Sobol` has, of 30 bits."""

_MOST_CASES = 1_000_000
"""So many combinations of the axes that conditions name are kept in memory."""


class Plan(ABC):
    """A sequence of combinations of values."""

    @property
    @abstractmethod
    def size(self) -> int:
        """How many there are."""

    @abstractmethod
    def values(self, index: int) -> dict[str, Value]:
        """Those of the axes that apply."""


@dataclass(frozen=True)
class Listed(Plan):
    """Combinations as they are listed."""

    points: Sequence[Values]

    @property
    def size(self) -> int:
        return len(self.points)

    def values(self, index: int) -> dict[str, Value]:
        return dict(self.points[index])


@dataclass(frozen=True)
class Factorial(Plan):
    """Every combination; the last axis changes fastest.

    Axes that others' conditions name come first. For each combination of their values, a case, the
    remaining axes that apply are fixed.
    """

    axes: Sequence[Axis]
    fixed: Values

    @cached_property
    def _inner(self) -> list[Axis]:
        named = {name for axis in self.axes for name in axis.when}
        return [axis for axis in self.axes if axis.name not in named]

    @cached_property
    def _cases(self) -> list[dict[str, Value]]:
        """The combinations of the axes that conditions name."""
        inner = {axis.name for axis in self._inner}
        outer = in_turn([axis for axis in self.axes if axis.name not in inner])
        cases = list(islice(_combinations(outer, self), _MOST_CASES + 1))
        if len(cases) > _MOST_CASES:
            raise IosimError(
                f"{', '.join(axis.name for axis in outer)}, which conditions name, have more than "
                f"{_MOST_CASES:,} combinations: give them fewer values, or list points"
            )
        return cases

    @cached_property
    def _ends(self) -> list[int]:
        """The index after the last of each case."""
        sizes = (math.prod(len(a.values) for a in self._applying(case)) for case in self._cases)
        return list(accumulate(sizes))

    def _applying(self, case: Values) -> list[Axis]:
        return [axis for axis in self._inner if axis.applies({**self.fixed, **case})]

    @property
    def size(self) -> int:
        return self._ends[-1]

    def values(self, index: int) -> dict[str, Value]:
        which = bisect_right(self._ends, index)
        case = self._cases[which]
        rest = index - (self._ends[which - 1] if which else 0)
        chosen: dict[str, Value] = {}
        for axis in reversed(self._applying(case)):
            rest, digit = divmod(rest, len(axis.values))
            chosen[axis.name] = axis.values[digit]
        return {**case, **dict(reversed(chosen.items()))}


def _combinations(axes: Sequence[Axis], plan: Factorial) -> Iterator[dict[str, Value]]:
    """Every combination of axes, each after those that its condition names."""
    if not axes:
        yield {}
        return
    *earlier, axis = axes
    for case in _combinations(earlier, plan):
        if axis.applies({**plan.fixed, **case}):
            for value in axis.values:
                yield {**case, axis.name: value}
        else:
            yield case


def in_turn(axes: Sequence[Axis]) -> list[Axis]:
    """The axes in an order in which each comes after those that its condition names."""
    ordered: list[Axis] = []
    left = list(axes)
    while left:
        waiting = {axis.name for axis in left}
        free = next((axis for axis in left if waiting.isdisjoint(axis.when)), None)
        if free is None:
            names = ", ".join(axis.name for axis in left)
            raise IosimError(f"the conditions of {names} go round in a circle: remove one")
        ordered.append(free)
        left.remove(free)
    return ordered


@dataclass(frozen=True)
class Sampled(Plan):
    """Points of the unit cube, one dimension for each axis, turned into values."""

    axes: Sequence[Axis]
    fixed: Values
    samples: int
    seed: int

    @property
    def size(self) -> int:
        return self.samples

    @abstractmethod
    def cube(self, index: int) -> Sequence[float]:
        """A point of the unit cube."""

    @cached_property
    def _in_turn(self) -> list[tuple[int, Axis]]:
        places = {axis.name: place for place, axis in enumerate(self.axes)}
        return [(places[axis.name], axis) for axis in in_turn(self.axes)]

    def values(self, index: int) -> dict[str, Value]:
        point = self.cube(index)
        chosen: dict[str, Value] = {}
        for place, axis in self._in_turn:
            if axis.applies({**self.fixed, **chosen}):
                chosen[axis.name] = axis.at(point[place])
        return {axis.name: chosen[axis.name] for axis in self.axes if axis.name in chosen}


class LatinHypercube(Sampled):
    """Each axis is cut into as many equal parts as there are samples, and each part has one.

    M. D. McKay, R. J. Beckman and W. J. Conover, Technometrics 21(2), 1979. The permutation of each
    axis is computed value by value, so that it is never in memory.
    """

    def cube(self, index: int) -> Sequence[float]:
        point = []
        for place in range(len(self.axes)):
            part = permuted(index, self.samples, self.seed, place)
            within = _mixed(index, self.seed, place, 0) / 2**64
            # Rounding must not lead out of the part, nor out of the cube.
            point.append(min((part + within) / self.samples, math.nextafter(1, 0)))
        return point


class Sobol(Sampled):
    """A scrambled Sobol sequence, by `scipy.stats.qmc.Sobol`. Balanced for powers of two."""

    def cube(self, index: int) -> Sequence[float]:
        row: list[float] = _sobol(len(self.axes), self.seed, index // _BLOCK)[index % _BLOCK]
        return row


class Sensitivity(Sampled):
    """Saltelli's plan for Sobol indices: for each sample, two independent points A and B, and for
    each axis A with that coordinate from B.

    A. Saltelli et al., Computer Physics Communications 181(2), 2010. `samples` is that of A.
    """

    @property
    def size(self) -> int:
        return self.samples * (len(self.axes) + 2)

    def cube(self, index: int) -> Sequence[float]:
        count = len(self.axes)
        sample, which = divmod(index, count + 2)
        both = _sobol(2 * count, self.seed, sample // _BLOCK)[sample % _BLOCK]
        a, b = both[:count], both[count:]
        if which == 0:
            return a
        if which == 1:
            return b
        return [*a[: which - 2], b[which - 2], *a[which - 1 :]]


@lru_cache(maxsize=4)
def _sobol(dimensions: int, seed: int, block: int) -> list[list[float]]:
    import warnings

    from scipy.stats import qmc

    sequence = qmc.Sobol(dimensions, scramble=True, rng=np.random.default_rng(seed))
    if block:
        sequence.fast_forward(block * _BLOCK)
    with warnings.catch_warnings():
        # The balance of the sequence is of its whole, not of each block.
        warnings.simplefilter("ignore", UserWarning)
        points: npt.NDArray[np.float64] = sequence.random(_BLOCK)
    # A rare 1.0 is one of rounding: the sequence is in [0, 1).
    rows: list[list[float]] = np.minimum(points, math.nextafter(1, 0)).tolist()
    return rows


def _mixed(value: int, *keys: int) -> int:
    """64 bits that depend on all arguments: SplitMix64 over them (G. L. Steele et al., OOPSLA
    2014)."""
    state = 0
    for word in (value, *keys):
        state = (state ^ word) + 0x9E3779B97F4A7C15 & _WORD
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _WORD
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _WORD
        state ^= state >> 31
    return state


_WORD = 2**64 - 1


def permuted(index: int, size: int, *keys: int) -> int:
    """Where a random permutation of `range(size)` that the keys fix leads `index`.

    A Feistel network permutes the next power of four; what leaves the range goes through again
    until it is back (J. Black and P. Rogaway, "Ciphers with arbitrary finite domains", 2002).
    """
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(1, 5):
            left, right = right, left ^ _mixed(right, turn, *keys) & mask
        index = left << half | right
        if index < size:
            return index


PLANS: Mapping[str, type[Plan]] = {
    "factorial": Factorial,
    "list": Listed,
    "latin-hypercube": LatinHypercube,
    "sobol": Sobol,
    "sensitivity": Sensitivity,
}
"""By the names that files use."""
