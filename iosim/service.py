"""How long requests compute: a distribution, and how people write it."""

from __future__ import annotations

import math
import re
from typing import Any, Literal, get_args

from pydantic import model_serializer, model_validator

from iosim.checked import Checked
from iosim.draws import share
from iosim.errors import IosimError, did_you_mean
from iosim.units import Nanoseconds, parse_time, write_time

Distribution = Literal["constant", "exponential"]

_DRAWN = re.compile(r"\s*(\w*)\s*\((.*)\)\s*", re.ASCII)


class Service(Checked):
    """The computing per request, in user mode: `50us` for all alike, or `exponential(50us)`, where
    the time is the mean. A plain number counts nanoseconds. JSON holds it as it is written."""

    mean_ns: Nanoseconds = 0
    distribution: Distribution = "constant"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        if isinstance(value, dict | Service):
            return value
        try:
            return _fields(value)
        except IosimError as refusal:
            raise ValueError(str(refusal)) from None

    @model_serializer
    def __str__(self) -> str:
        time = write_time(self.mean_ns)
        return time if self.distribution == "constant" else f"{self.distribution}({time})"

    def drawn_ns(self, bits: int) -> int:
        """What the request computes that has drawn these 64 random bits, see `iosim.draws`."""
        if self.distribution == "constant":
            return self.mean_ns
        # Python's logarithm, since NumPy's of an array may differ in the last bit from that of one.
        return int(-self.mean_ns * math.log(share(bits)))


def _fields(value: Any) -> dict[str, Any]:
    """The fields of a service from what people write; raises IosimError."""
    drawn = _DRAWN.fullmatch(value) if isinstance(value, str) else None
    if drawn is None:
        return {"mean_ns": parse_time(value)}
    name, mean = drawn.groups()
    known = get_args(Distribution)
    if name not in known:
        raise IosimError(
            f"{value!r} has an unknown distribution{did_you_mean(name, known)}: write a time, for "
            "all requests alike, or exponential(TIME), for example exponential(50us)"
        )
    return {"mean_ns": parse_time(mean), "distribution": name}
