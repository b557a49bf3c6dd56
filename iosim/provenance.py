"""What it takes to make a run again."""

from __future__ import annotations

import dataclasses
import platform
import re
from functools import partial
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
    return described(value) if callable(value) else value


def name_of(program: Any) -> str:
    """What a program is called: a function by its name, one with arguments filled in as that
    function, any other object that can be called by its class."""
    while isinstance(program, partial):
        program = program.func
    return str(getattr(program, "__name__", type(program).__name__))


def described(program: Any) -> str:
    """Where a program is defined, and the arguments that are filled in."""
    if isinstance(program, partial):
        filled = [*map(repr, program.args)]
        filled += [f"{name}={value!r}" for name, value in program.keywords.items()]
        # Where objects lie differs from process to process.
        arguments = re.sub(r" at 0x[0-9a-f]+", "", ", ".join(filled))
        return f"{described(program.func)}({arguments})"
    named = program if hasattr(program, "__qualname__") else type(program)
    return f"{named.__module__}.{named.__qualname__}"
