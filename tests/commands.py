"""The command line as tests call it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple


class Result(NamedTuple):
    """What a command leaves behind."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed for programs."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Command = Callable[..., Result]


def refused(result: Result, *said: str) -> None:
    """One line on standard error, nothing on standard output, an exit code that tells."""
    assert result.code not in (0, None)
    assert result.out == ""
    assert result.err.startswith("iosim: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    for words in said:
        assert words in result.err
