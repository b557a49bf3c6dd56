"""What it takes to make a run again."""

from __future__ import annotations

import dataclasses
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel


def iosim_version() -> str:
    """The installed version of iosim."""
    try:
        return version("iosim")
    except PackageNotFoundError:
        return "unknown"


def provenance(**parts: Any) -> dict[str, Any]:
    """The versions in use and the given parts of a run, as plain data."""
    return {
        "versions": {
            "iosim": iosim_version(),
            "python": platform.python_version(),
            "simpy": version("simpy"),
            "numpy": version("numpy"),
        },
        **{name: plain(part) for name, part in parts.items()},
    }


def plain(value: Any) -> Any:
    """Data that JSON can hold."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")  # lists for tuples, as they come back from a file
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {"name": getattr(value, "name", type(value).__name__), **dataclasses.asdict(value)}
    if callable(value):
        named = getattr(value, "func", value)  # of a functools.partial
        return f"{named.__module__}.{getattr(named, '__qualname__', type(named).__qualname__)}"
    return value
