"""The files in which the kernel describes the host: proc(5), sysfs(5), cgroups(7)."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


class Files:
    """Reads them below `root`, which tests set to a folder of recorded ones.

    A file that is missing, unreadable or not of the expected form is None: containers hide some,
    kernels before and after change others.
    """

    def __init__(self, root: str | Path = "/") -> None:
        self._root = Path(root)

    def text(self, path: str) -> str | None:
        """What a file says, without white space around it."""
        try:
            return (self._root / path.lstrip("/")).read_text(errors="replace").strip()
        except OSError:
            return None

    def numbers(self, path: str) -> list[int] | None:
        """The whole numbers that are all of a file."""
        try:
            return [int(word) for word in (self.text(path) or "").split()] or None
        except ValueError:
            return None

    def number(self, path: str) -> int | None:
        """The whole number that is all of a file."""
        numbers = self.numbers(path) or []
        return numbers[0] if len(numbers) == 1 else None

    def cores(self, path: str) -> list[int] | None:
        """The cores of a list such as `0-3,8`, cpuset(7)."""
        found: list[int] = []
        try:
            for part in (self.text(path) or "").split(","):
                first, dash, last = part.partition("-")
                found += range(int(first), int(last if dash else first) + 1)
        except ValueError:
            return None
        return found

    def glob(self, pattern: str) -> list[str]:
        """The paths that match, in order."""
        return sorted(f"/{path.relative_to(self._root)}" for path in self._root.glob(pattern[1:]))

    def groups(self, controller: str) -> list[str]:
        """The folders of this process's control group and of all above it, cgroups(7).

        Where a container sees its own group as the root only, the others are missing.
        """
        folders = []
        for line in (self.text("/proc/self/cgroup") or "").splitlines():
            _, _, rest = line.partition(":")
            controllers, colon, path = rest.partition(":")
            if colon and (not controllers or controller in controllers.split(",")):
                mount = f"/sys/fs/cgroup/{controller}" if controllers else "/sys/fs/cgroup"
                own = PurePosixPath(path)
                folders += [f"{mount}{group}".rstrip("/") for group in (own, *own.parents)]
        return folders


HERE = Files()
"""Those of this host."""
