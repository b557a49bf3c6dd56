"""The whole examination: complete, never a traceback, and a verdict that follows its findings."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path

import pytest
from hosts import LAPTOP, VIRTUAL_MACHINE, host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from processes import children

from iosim import doctor
from iosim.compare import FIGURES
from iosim.doctor import Finding, Report, examine, read
from iosim.errors import HostRefused
from iosim.host import why_not
from iosim.procfs import Files

needs_real_runs = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

FINE = Finding("cores", "2 usable", "")
ODD = Finding("turbo", "on", "", "warning", "switch it off")
BAD = Finding("CPU quota", "0.5 cores", "", "problem", "raise it")
NOISE = {"throughput_per_s": 0.001, "cpu_ns_per_request": -0.031, "p50": 0.02, "p99": 0.9}


def test_verdicts() -> None:
    report = Report([FINE], NOISE)
    assert report.fit
    assert report.verdict == "This host can measure: expect about ±4 % between runs."
    report = Report([FINE, ODD], NOISE)
    assert report.fit
    assert report.verdict.endswith("±4 % between runs; worth a look: turbo.")
    report = Report([ODD, BAD, BAD])
    assert not report.fit
    assert report.verdict == "Not fit to measure on: 2 problems. Fix first: CPU quota, 0.5 cores."


def test_a_recorded_host_is_read_without_surprises(tmp_path: Path) -> None:
    """What follows from files alone; the rest depends on where the tests run."""
    found = {one.subject: one for one in read(host(tmp_path, VIRTUAL_MACHINE))}
    for subject in ("CPU quota", "frequency scaling", "turbo", "clock source", "backlog", "memory"):
        assert found[subject].verdict == "ok", found[subject]
    found = {one.subject: one for one in read(host(tmp_path, LAPTOP))}
    assert found["turbo"].verdict == "warning"


def check(findings: list[Finding]) -> None:
    """Each finding is complete, and those that are not ok say what to do."""
    for one in findings:
        assert one.subject
        assert one.value
        assert one.source
        assert one.verdict in ("ok", "warning", "problem")
        assert bool(one.advice) == (one.verdict != "ok"), one
    assert len({one.subject for one in findings}) == len(findings)


def test_a_host_without_proc_and_sys(tmp_path: Path) -> None:
    findings = read(Files(tmp_path))
    check(findings)
    unknown = {one.subject for one in findings if one.value.startswith("unknown")}
    assert unknown >= {"clock source", "backlog", "memory"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(sorted(LAPTOP)),
        st.one_of(
            st.text(max_size=20), st.sampled_from(["-1", "0", "max", "0-", "9 x", ":::", "\0"])
        ),
    )
)
def test_broken_files_never_break_it(tmp_path: Path, broken: dict[str, str]) -> None:
    check(read(host(tmp_path, LAPTOP, broken)))


def test_not_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    report = examine()
    (found,) = report.findings
    assert (found.subject, found.value, found.verdict) == ("system", "Darwin", "problem")
    assert "Linux" in found.advice


@needs_real_runs
def test_one_core_is_told_and_not_measured() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        report = examine()
        assert os.sched_getaffinity(0) == {min(allowed)}
    finally:
        os.sched_setaffinity(0, allowed)
    assert [one.subject for one in report.findings if one.verdict == "problem"] == ["cores"]
    assert (report.noise, report.jitter) == ({}, ())
    check(list(report.findings))


@needs_real_runs
def test_a_run_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(cores: object) -> None:
        raise HostRefused("no more processes; end some")

    monkeypatch.setattr(doctor, "jitter", refuse)
    report = examine()
    assert not report.fit
    assert report.findings[-1].advice == "no more processes; end some"


@needs_real_runs
def test_examine_for_real() -> None:
    """The verdict is the host's; that it is complete and adds up is tested."""
    before, allowed = children(), os.sched_getaffinity(0)
    shares: list[float] = []
    report = examine(lambda share, what: shares.append(share))
    check(list(report.findings))
    subjects = {one.subject for one in report.findings}
    assert {"lost time", "stolen time", "steady speed", "timers", "clock reading"} <= subjects
    assert ("noise floor" in subjects) != ("real runs" in subjects)
    if report.noise:
        assert set(report.noise) == set(FIGURES)
        assert len(report.jitter) == 2
    assert shares == sorted(shares)
    assert 0 <= shares[0] <= shares[-1] <= 1
    assert os.sched_getaffinity(0) == allowed
    assert json.loads(json.dumps(report.as_dict()))["fit"] == report.fit
    assert children().keys() <= before.keys()
