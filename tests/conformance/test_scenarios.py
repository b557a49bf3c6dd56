"""Every scenario on the simulated and on the real kernel; see scenario.py."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conformance.scenario import SCENARIOS, Scenario
from conformance.simulated import Simulated
from processes import alive, children, wait_until

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


@pytest.mark.skipif(iosim.why_not() is not None, reason=str(iosim.why_not()))
def test_no_program_is_left_of_clients_that_are_killed() -> None:
    takes_a_second = SCENARIOS["a_full_backlog_ignores_a_client_until_it_tries_again"]
    before, programs = children(), dict[int, str]()
    with child("clients that are killed", "conformance.real", cores()[-1]) as clients:
        [pid] = children().keys() - before.keys()
        clients.tell((takes_a_second.program.__module__, takes_a_second.name))
        wait_until(lambda: bool(programs.update(children(pid)) or programs))
    wait_until(lambda: not any(map(alive, programs)))
