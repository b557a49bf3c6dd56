"""How much memory this process could still have."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from iosim.procfs import Files
from iosim.room import address_bytes


def test_address_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("1000 500 100 1 0 300 0\n")
    files, page = Files(tmp_path), resource.getpagesize()
    for limit, left in [(10, 0), (resource.RLIM_INFINITY, None), (1500 * page, 500 * page)]:
        limits = {resource.RLIMIT_AS: (limit, limit)}
        monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
        assert address_bytes(files) == left
    assert address_bytes(Files(tmp_path / "empty")) is None
