"""Every scenario on the simulated and on the real kernel; see scenario.py."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.scenario import SCENARIOS, Scenario
from conformance.simulated import Simulated

import iosim
from iosim.host.child import Child, child
from iosim.host.thishost import cores
from iosim.sim.kernel import SimKernel

PATIENCE_S = 60

for _file in sorted((Path(__file__).parent / "rules").glob("*.py")):
    importlib.import_module(f"conformance.rules.{_file.stem}")  # which registers its scenarios


@pytest.fixture(scope="module")
def clients() -> Iterator[Child]:
    """The process that runs scenarios on the real kernel."""
    if (reason := iosim.why_not()) is not None:
        pytest.skip(reason)
    with child("clients of the scenarios", "conformance.real", cores()[-1]) as process:
        yield process


@pytest.fixture(params=SCENARIOS.values(), ids=SCENARIOS.keys())
def scenario(request: pytest.FixtureRequest) -> Scenario:
    found: Scenario = request.param
    return found


def test_simulated(scenario: Scenario) -> None:
    run = Simulated(scenario, SimKernel)
    run.run()
    assert run.text() == scenario.expect


def test_real(scenario: Scenario, clients: Child) -> None:
    if scenario.needs and (reason := iosim.why_not(iosim.MODELS[scenario.needs])):
        pytest.skip(reason)
    transcript = clients.ask((scenario.program.__module__, scenario.name), PATIENCE_S)
    assert transcript == scenario.expect
