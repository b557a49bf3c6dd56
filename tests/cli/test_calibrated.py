"""What commands do with a calibration that fails, or whose place they cannot write to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commands import Command, refused

from iosim.calibrate import cache
from iosim.cli.compare import _calibrated
from iosim.errors import RunFailed


def test_a_comparison_survives_a_calibration_that_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> None:
        raise RunFailed("what was measured makes no cost profile")

    monkeypatch.setattr(cache, "host_profile", failing)
    found = _calibrated()
    assert (found.profile.name, found.file) == (cache.find("python").profile.name, None)
    assert capsys.readouterr().err == (
        "iosim: warning: what was measured makes no cost profile; python stands in for it\n"
    )


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    iosim: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(cache, "calibrate")
    os.mkfifo("pipe.json")
    Path("p.samples.json.gz").mkdir()
    refused(iosim("calibrate", "--out", "pipe.json"), "pipe.json is no file, beside which")
    refused(iosim("calibrate", "--out", "p.json"), "cannot write p.samples.json.gz: it is a folder")
    refused(iosim("calibrate", "--out", "."), "cannot write .: it is a folder")
    (tmp_path / "cache").write_text("")
    refused(iosim("calibrate"), "cannot write", "cache/iosim/profile-")
