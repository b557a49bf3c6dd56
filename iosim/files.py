"""Writing files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iosim.errors import IosimError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a name to write to; what is there takes the place of `path` when the block is left.

    If the block fails, `path` stays as it was. The name has the ending of `path`, from which some
    writers tell the format. Raises IosimError if the file cannot be written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise IosimError(
            f"cannot write {path}: {error.strerror}; choose a place you may write to"
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()
