"""Tables that users hand in, and what is wrong with bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from iosim.errors import IosimError
from iosim.files import read_table


def table(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    return path


def test_rows_of_the_columns_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path, b"what,fds,more,took\npoll,10,x,0.5\nselect,1e3,,7\n")
    assert read_table(path, ["what"], ["fds", "took"]) == [
        {"what": "poll", "fds": 10, "took": 0.5},
        {"what": "select", "fds": 1_000, "took": 7},
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "has no column what, fds: its first line must name what, fds"),
        (b"what,took\n", "has no column fds: its first line must name what, fds"),
        (b"what,fds\n", "has no rows below its first line"),
        (b"what,fds\npoll,10\npoll,ten\n", "line 3, fds: 'ten' is not a positive number"),
        (b"what,fds\npoll,0\n", "line 2, fds: '0' is not a positive number"),
        (b"what,fds\npoll,-1\n", "line 2, fds: '-1' is not a positive number"),
        (b"what,fds\npoll,nan\n", "line 2, fds: 'nan' is not a positive number"),
        (b"what,fds\npoll,inf\n", "line 2, fds: 'inf' is not a positive number"),
        (b"what,fds\npoll\n", "line 2, fds: None is not a positive number"),
        (b"what,fds\n\xff\xfe,1\n", "is no CSV file"),
        (b'what,fds\n"poll,1\n', "is no CSV file"),
    ],
)
def test_bad_table(content: bytes, said: str, tmp_path: Path) -> None:
    path = table(tmp_path, content)
    with pytest.raises(IosimError, match=said) as caught:
        read_table(path, ["what"], ["fds"])
    assert str(path) in str(caught.value)


def test_no_table_at_all(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(IosimError, match=r"cannot read .*; name a CSV file"):
            read_table(path, [], ["fds"])
