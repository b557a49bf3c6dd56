"""Files are written whole or not at all, whatever is there before; tables that users hand in."""

from __future__ import annotations

import gzip
import os
import select
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from iosim import plots
from iosim.costs import CostProfile
from iosim.errors import IosimError
from iosim.files import check_folder, check_target, content, is_stream, read_table, replacing
from iosim.plots import canvas, style
from iosim.sim import simulate
from iosim.trace import Trace
from iosim.workload import Workload

# --- writing ---------------------------------------------------------------------------------


def write(path: Path | str, data: bytes = b"new") -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def fail_within(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise ZeroDivisionError


def device(path: Path, minor: int) -> Path:
    """A character device of mem(4): 3 is null, 7 is full."""
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, minor))
        path.open("rb").close()
    except PermissionError:
        pytest.skip("this user cannot make devices here")
    return path


def reading(path: Path) -> Callable[[], bytes]:
    """Read a pipe in another thread; the returned function waits for what came."""
    found: list[bytes] = []
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(descriptor, True)

    def read() -> None:
        select.select([descriptor], [], [])  # until something is written
        with open(descriptor, "rb") as file:
            found.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()

    def result() -> bytes:
        thread.join()
        return found[0]

    return result


def test_a_file_is_replaced_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"what was here before")
    path.chmod(0o640)
    write(path)
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_stays_as_it_was_when_the_writer_fails(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        fail_within(path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_longest_name_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    check_target(path)
    write(path)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_replaced(there: bool, tmp_path: Path) -> None:
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    target.parent.mkdir()
    if there:
        target.write_bytes(b"old")
    link.symlink_to("folder/target")
    check_target(link)
    write(link)
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_pipe_stays_and_is_sent_everything(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_target(pipe)
    come = reading(pipe)
    data = bytes(range(256)) * 4_000  # many times what a pipe holds
    write(pipe, data)
    assert come() == data
    assert is_stream(pipe)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.parametrize("name", ["run.npz", "p.json", "t.json.gz", "f.png", "f.svg", "f.pdf"])
def test_a_pipe_is_sent_what_a_file_would_hold(name: str, tmp_path: Path) -> None:
    run = simulate("epoll", Workload(requests=5), trace=(trace := Trace()))
    with style():
        figure = canvas(1, 1)
    save = {
        ".npz": run.save,
        ".json": CostProfile.shipped("native").save,
        ".gz": trace.save,
    }.get(Path(name).suffix, partial(plots.save, figure))
    save(tmp_path / name)
    pipe = tmp_path / f"pipe-{name}"
    os.mkfifo(pipe)
    come = reading(pipe)
    save(pipe)
    held, sent = (tmp_path / name).read_bytes(), come()
    if name.endswith(".gz"):  # which has the time in its head
        held, sent = gzip.decompress(held), gzip.decompress(sent)
    if name.endswith((".npz", ".pdf")):  # which have it too
        assert len(sent) == len(held)
    else:
        assert sent == held


def test_a_pipe_is_sent_nothing_when_the_writer_fails(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    descriptor = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(ZeroDivisionError):
        fail_within(pipe)
    assert os.read(descriptor, 1) == b""
    os.close(descriptor)


def test_a_pipe_that_nobody_reads_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(IosimError, match="pipe: nobody reads from this pipe; choose"):
        write(tmp_path / "pipe")


def test_a_device_stays_one(tmp_path: Path) -> None:
    null = device(tmp_path / "null", 3)
    check_target(null)
    write(null)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert is_stream(null)
    assert list(tmp_path.iterdir()) == [null]


def test_a_full_device_is_told(tmp_path: Path) -> None:
    full = device(tmp_path / "full", 7)
    with pytest.raises(IosimError, match=r"cannot write .*full: No space left on device; choose"):
        write(full)
    assert list(tmp_path.iterdir()) == [full]


REFUSED = {
    ".": "it is a folder",
    "": "it is a folder",
    "folder": "it is a folder",
    "to-folder": "it is a folder",
    "socket": "it is a socket",
    "round": "Too many levels of symbolic links",
    "file/x": "Not a directory",
    "none/x": "none is missing or not writable",
    "dangling": "none is missing or not writable",
    "x" * 256: "File name too long",
    "a\0b": "null",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written_is_known_beforehand(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check and the writer refuse the same, and nothing is changed."""
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    Path("file").write_bytes(b"old")
    Path("to-folder").symlink_to("folder")
    Path("round").symlink_to("round")
    Path("dangling").symlink_to("none/x")
    os.mknod("socket", stat.S_IFSOCK | 0o666)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(IosimError, match=f"cannot write .*{REFUSED[name]}.*; choose a place"):
        check_target(name)
    with pytest.raises(IosimError, match=r"cannot write .*; choose a place"):
        write(name)
    assert sorted(tmp_path.rglob("*")) == before
    assert Path("file").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written_to_is_known_beforehand(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_folder(tmp_path, "--out")
    check_folder(tmp_path / "new" / "newer", "--out")
    for name, said in {"file": "file is no folder", "file/x": "Not a directory"}.items():
        with pytest.raises(IosimError, match=f"cannot make folder .*{name}: .*{said}; .* --out"):
            check_folder(tmp_path / name, "--out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_file_that_a_command_prints_to_is_not_replaced(tmp_path: Path) -> None:
    """Else what it prints would go to a file without a name."""
    code = "import iosim.files as files, sys; files.check_target(sys.argv[1])"
    for name in ("printed", "/dev/stdout"):
        with open(tmp_path / "printed", "wb") as printed:
            ended = subprocess.run(
                [sys.executable, "-c", code, tmp_path / name],
                stdout=printed,
                stderr=subprocess.PIPE,
                check=False,
            )
        assert ended.returncode
        assert b"this command prints to it" in ended.stderr


DYING = """
import os, signal, sys
from iosim.files import replacing
with replacing(sys.argv[1]) as temporary:
    temporary.write_bytes(b"half")
    os.kill(os.getpid(), int(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_dead_writer_leaves_is_gone_after_the_next(number: int, tmp_path: Path) -> None:
    path, other = tmp_path / "f", tmp_path / ".iosim-notes"
    other.touch()
    ended = subprocess.run([sys.executable, "-c", DYING, path, str(int(number))], check=False)
    assert ended.returncode == -number
    (left,) = set(tmp_path.iterdir()) - {other}
    assert left.read_bytes() == b"half"
    write(tmp_path / "another")
    assert set(tmp_path.iterdir()) == {tmp_path / "another", other}


def test_what_a_writer_that_lives_has_written_stays(tmp_path: Path) -> None:
    with replacing(tmp_path / "f") as temporary:
        temporary.write_bytes(b"mine")
        write(tmp_path / "f", b"yours")
        write(tmp_path / "g")
        assert temporary.read_bytes() == b"mine"
    assert (tmp_path / "f").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f", "g"]


# --- reading ---------------------------------------------------------------------------------


def test_a_pipe_is_read_to_its_end(tmp_path: Path) -> None:
    """The writer begins when the reader already waits."""
    reads, writes = os.pipe()
    data = b"latency" * 100_000

    def fill() -> None:
        with open(writes, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=fill)
    thread.start()
    assert content(f"/proc/self/fd/{reads}") == data
    thread.join()
    os.close(reads)


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mknod(tmp_path / "socket", stat.S_IFSOCK | 0o666)
    for name, said in {
        "pipe": "nobody writes to this pipe",
        "socket": "it is a socket, not a file",
        ".": "it is a folder, not a file",
        "none": "No such file or directory",
        "a\0b": "null",
    }.items():
        with pytest.raises(OSError, match=said):
            content(tmp_path / name)
    with pytest.raises(OSError, match="it is a device, not a file"):
        content(device(tmp_path / "zero", 5))


# --- tables ----------------------------------------------------------------------------------


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
