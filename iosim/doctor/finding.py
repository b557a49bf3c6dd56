"""What a check has found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Verdict = Literal["ok", "warning", "problem"]
"""A problem makes real runs impossible or their figures wrong; a warning makes them less exact, or
takes models or sizes of load away."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    value: str
    source: str
    """What was read, and the document that explains it."""
    verdict: Verdict = "ok"
    advice: str = ""
    """Why it matters and what to do about it; empty when there is nothing to do."""


def unknown(subject: str, path: str, source: str) -> Finding:
    """A file that every Linux has does not say what it should."""
    return Finding(
        subject,
        f"unknown: {path} cannot be read",
        source,
        "warning",
        "a sandbox hides it: look at it outside, or mount /proc and /sys where iosim runs",
    )


def judge(value: float, warning: float, problem: float) -> Verdict:
    """The verdict on a figure that is worse the larger it is, from these values on."""
    return "problem" if value >= problem else "warning" if value >= warning else "ok"
