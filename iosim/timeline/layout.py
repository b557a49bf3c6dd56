"""Where the moments of a story stand on the page.

Every moment gets a level of its own, so that no two labels meet; between two levels the distance
grows with the logarithm of the time between them.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import groupby, pairwise
from math import log2

from iosim.timeline.story import Story
from iosim.trace import TracedCall

_ROW_IN = 0.3
"""Room for one line of text."""
_DOUBLING_IN = 0.17
"""What each doubling of the time adds."""
_UNIT_NS = 300
_GAP_IN = 0.62
"""Room for the note about tries that are left out."""

_SHOWN_FIRST, _SHOWN_LAST = 2, 2
"""Of a long run of empty tries, these are drawn."""


class Layout:
    """The calls to draw, and the way from times to inches below the top."""

    def __init__(self, story: Story) -> None:
        self.calls: list[TracedCall] = []
        self.gaps: list[tuple[int, int, int]] = []
        """(begin, end, number) of empty tries that are not drawn one by one."""
        for empty, group in groupby(story.calls, key=lambda call: call.name if call.empty else ""):
            run = list(group)
            left_out = run[_SHOWN_FIRST:-_SHOWN_LAST]
            if not empty or len(left_out) < 2:
                self.calls += run
                continue
            self.calls += run[:_SHOWN_FIRST] + run[-_SHOWN_LAST:]
            last_end_ns = run[_SHOWN_FIRST - 1].end_ns
            assert last_end_ns is not None
            self.gaps.append((last_end_ns, run[-_SHOWN_LAST].begin_ns, len(left_out)))
        returns = {call.end_ns for call in self.calls}
        levels = {(call.begin_ns, int(call.begin_ns in returns)) for call in self.calls}
        levels |= {(end_ns, 0) for end_ns in returns if end_ns and end_ns <= story.end_ns}
        levels |= {(copy.end_ns, 0) for copy in story.copies}
        levels |= {(read.begin_ns, 0) for read in story.reads if read.begin_ns >= story.begin_ns}
        levels |= {(signal.at_ns, 0) for pair in story.signals for signal in pair}
        levels |= {(story.ready_ns, 0), (story.end_ns, 0)}
        known = {at_ns for at_ns, _ in levels}
        levels |= {(copy.begin_ns, 0) for copy in story.copies if copy.begin_ns not in known}
        levels |= {(story.done_ns, 0)} if story.done_ns not in known else set()
        self._levels = sorted(levels)
        self._y_in = [0.0]
        for (before_ns, _), (at_ns, _) in pairwise(self._levels):
            self._y_in.append(self._y_in[-1] + self._distance_in(before_ns, at_ns))

    def _distance_in(self, before_ns: int, at_ns: int) -> float:
        if any(begin_ns <= before_ns and at_ns <= end_ns for begin_ns, end_ns, _ in self.gaps):
            return _GAP_IN
        return _ROW_IN + _DOUBLING_IN * log2(1 + (at_ns - before_ns) / _UNIT_NS)

    @property
    def height_in(self) -> float:
        return self._y_in[-1]

    @property
    def times_ns(self) -> list[int]:
        """Every time that has a level, once."""
        return sorted({at_ns for at_ns, _ in self._levels})

    def y(self, at_ns: int, later: bool = False) -> float:
        """The place of a time; `later` means a call that begins just when another returned."""
        position = bisect_right(self._levels, (at_ns, 1 if later else 0)) - 1
        position = max(position, 0)
        level_ns, _ = self._levels[position]
        if level_ns == at_ns or position + 1 == len(self._levels):
            return self._y_in[position]
        next_ns = self._levels[position + 1][0]
        if next_ns == level_ns or at_ns < level_ns:
            return self._y_in[position]
        share = (at_ns - level_ns) / (next_ns - level_ns)
        return self._y_in[position] + share * (self._y_in[position + 1] - self._y_in[position])
