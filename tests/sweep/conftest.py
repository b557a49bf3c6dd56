"""A design for whole modules, and its table."""

from __future__ import annotations

from pathlib import Path

import pytest
from swept import undisturbed, write_design


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A design with as many replications as the module's `REPLICATIONS`."""
    return write_design(tmp_path_factory.mktemp("design"), request.module.REPLICATIONS)


@pytest.fixture(scope="module")
def expected(file: Path) -> bytes:
    """The table of that design when nothing comes in its way."""
    return undisturbed(file.parent, file)
