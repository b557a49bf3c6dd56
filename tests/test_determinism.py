"""A seed fixes a simulated run, record for record, in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from iosim.machine import Machine, Nic
from iosim.models import MODELS
from iosim.results import RECORD, Run
from iosim.sim import simulate
from iosim.workload import Workload

WORKLOAD = Workload(connections=7, requests=300, rate_per_s=50_000, service="exponential(4us)")
MACHINES = (Machine(), Machine(cores=2, nic=Nic()))

PROGRAM = f"""\
import hashlib
import sys
sys.path[:] = {sys.path!r}
from iosim.machine import Machine, Nic
from iosim.models import MODELS
from iosim.sim import simulate
from iosim.workload import Workload
workload = Workload.model_validate({WORKLOAD.model_dump()!r})
for name in MODELS:
    if name != "blocking-serial":
        for machine in (Machine(), Machine(cores=2, nic=Nic())):
            run = simulate(name, workload, machine=machine, seed=11)
            print(name, hashlib.sha256(run.records.tobytes()).hexdigest(), run.cpu_ns, run.events)
"""


def in_a_new_process(hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    return done.stdout


def test_same_records_in_two_processes() -> None:
    """Two processes order sets and hashes differently; no record may depend on that."""
    one, other = in_a_new_process("1"), in_a_new_process("2")
    assert one == other
    assert len(one.splitlines()) == 2 * (len(MODELS) - 1)


@pytest.mark.parametrize("model", [name for name in MODELS if name != "blocking-serial"])
def test_same_records_twice_in_one_process(model: str) -> None:
    """Nothing is left over from one run to the next, from one with another seed either."""
    one = simulate(model, WORKLOAD, seed=3)
    other = simulate(model, WORKLOAD, seed=4)
    again = simulate(model, WORKLOAD, seed=3)
    assert one.records.tobytes() == again.records.tobytes()
    assert one.records.tobytes() != other.records.tobytes()
    assert (one.tasks, one.syscalls, one.events) == (again.tasks, again.syscalls, again.events)


def test_a_saved_run_comes_back_as_it_was(tmp_path: Path) -> None:
    run = simulate("aio", WORKLOAD, machine=MACHINES[1], seed=2**40)
    back = Run.load(run.save(tmp_path / "run.npz"))
    assert back.records.dtype == RECORD
    assert back.records.tobytes() == run.records.tobytes()
    assert back.tasks == run.tasks
    assert back.summary() == run.summary()
    assert (back.syscalls, back.provenance) == (run.syscalls, run.provenance)


def test_what_a_run_says_of_itself_makes_it_again() -> None:
    run = simulate("select", WORKLOAD, machine=MACHINES[1], seed=9)
    said = run.provenance
    again = simulate(
        said["model"]["name"],
        Workload.model_validate(said["workload"]),
        machine=Machine.model_validate(said["machine"]),
        seed=said["seed"],
    )
    assert (again.records == run.records).all()


def test_streams_are_independent_of_platform_types() -> None:
    """Everything in a record is a 64-bit integer, whatever the platform's own integers are."""
    schedule = WORKLOAD.schedule(1)
    for values in (schedule.connection, schedule.intended_ns, schedule.service_ns):
        assert values.dtype == np.int64
