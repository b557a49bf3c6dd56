"""Checks of the interpreter that runs both the real servers and the simulation."""

from __future__ import annotations

import platform
import sys
import sysconfig

from iosim.doctor.finding import Finding


def build() -> dict[str, bool]:
    """What makes this interpreter slower than, or different from, what profiles describe."""
    return {
        "debug build": bool(sysconfig.get_config_var("Py_DEBUG")),
        "development mode": sys.flags.dev_mode,
        "without the global interpreter lock": not getattr(sys, "_is_gil_enabled", lambda: True)(),
        "not CPython": platform.python_implementation() != "CPython",
    }


def interpreter(version: str, build: dict[str, bool]) -> Finding:
    """Whether it is a release build of CPython with the lock that the simulation knows."""
    unusual = [name for name, it_is in build.items() if it_is]
    value = ", ".join([version, *unusual])
    source = "sysconfig, sys.flags, sys._is_gil_enabled"
    if not unusual:
        return Finding("Python", value, source)
    return Finding(
        "Python",
        value,
        source,
        "warning",
        "what it adds to each call differs from release builds of CPython, and the simulated lock "
        "from its threads: use such a build, or compare only with runs under this one",
    )
