"""Settings of the whole suite."""

from __future__ import annotations

import os
import tempfile

import pytest
from hypothesis import settings

# The same examples on every machine and in every run; an example may take as long as it needs,
# since a shared machine may stop for a while at any time.
settings.register_profile("iosim", derandomize=True, deadline=None)
settings.load_profile("iosim")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How often sweeps are disturbed: a few times in CI, 20 times for whoever changes them."""
    parser.addoption("--faults", type=int, default=3, help="how often tests kill a sweep")


def pytest_configure(config: pytest.Config) -> None:
    """Gives every test, and every process one starts, the caches of a user who never calibrated.

    Set before anything is collected, and not by a fixture, since notebooks have none.
    """
    caches = tempfile.TemporaryDirectory(prefix="iosim-tests-")
    config.add_cleanup(caches.cleanup)
    os.environ["XDG_CACHE_HOME"] = caches.name
