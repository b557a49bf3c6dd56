"""Where this host's own cost profile is kept, and which profile a run uses."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from iosim.calibrate.calibration import FULL, QUICK, Plan, Progress, calibrate
from iosim.calibrate.real import ThisHost
from iosim.costs import ABOUT, REGISTERED, SCHEMA, CostProfile
from iosim.errors import Interrupted, IosimError
from iosim.files import check_target, is_stream
from iosim.host import facts

DEFAULT = "python"
"""The shipped profile that is used on a host without its own."""


def path() -> Path:
    """The file in the user's cache directory that belongs to these host facts and this format."""
    key = json.dumps([facts(), SCHEMA, sorted(ABOUT)], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("iosim")) / f"profile-{digest}.json"


def own() -> CostProfile:
    """The profile of this host; raises IosimError if it has not been calibrated."""
    if not path().exists():
        raise IosimError("this host has no cost profile yet: run `iosim calibrate` first")
    return CostProfile.load(path())


REGISTERED["host"] = own


def samples_path(profile: Path) -> Path:
    """Where everything that was measured for a profile is kept: beside it."""
    return profile.with_suffix(".samples.json.gz")


def calibrate_host(
    plan: Plan = FULL,
    *,
    out: Path | None = None,
    again: bool = False,
    progress: Progress = lambda *_: None,
) -> CostProfile:
    """Measure this host under this Python and save the profile and all samples.

    `out` is a file for the profile instead of the one that runs look for. A calibration of the same
    plan that was interrupted goes on where it was, or begins `again`.
    Raises HostRefused where real runs are impossible, Interrupted on Ctrl-C, and IosimError before
    anything is measured if profile and samples cannot be kept.
    """
    file = out or path()
    if is_stream(file):
        raise IosimError(f"{file} is no file, beside which samples can be kept: name a file")
    for target in (file, samples_path(file)):
        check_target(target, make_folder=True)
    kept = path().with_suffix(f".{plan.passes}-{plan.rounds}.unfinished.json")
    if again:
        kept.unlink(missing_ok=True)
    host = facts()
    name = f"{host['cpu']}, {host['python']}"
    try:
        profile, steps = calibrate(ThisHost(), name, host, plan=plan, kept=kept, progress=progress)
    except KeyboardInterrupt:
        left = "what has been measured is kept, and the same command goes on from there"
        raise Interrupted(
            f"interrupted; {left if kept.exists() else 'nothing has been measured yet'}"
        ) from None
    profile.save(file)
    steps.save(samples_path(file))
    return profile


def host_profile(progress: Progress | None = None) -> CostProfile | None:
    """This host's profile. With none kept yet, calibrate quickly if `progress` is given."""
    kept = path()
    if kept.exists():
        return CostProfile.load(kept)
    if progress is None:
        return None
    return calibrate_host(QUICK, progress=progress)


def differences(profile: CostProfile) -> dict[str, tuple[Any, Any]]:
    """The facts of the host that a profile was measured on, and of this one, where they differ;
    nothing if it says of none."""
    if not profile.measured:
        return {}
    return {
        name: (profile.host[name], here)
        for name, here in facts().items()
        if name in profile.host and profile.host[name] != here
    }


@dataclass(frozen=True)
class Found:
    """A profile, and where it was found."""

    profile: CostProfile
    file: Path | None
    """None if it comes with iosim."""
    asked: str
    """What `find` finds it by."""

    @property
    def samples(self) -> Path | None:
        """The file of what was measured for it, if there is one."""
        if self.file is None or not samples_path(self.file).exists():
            return None
        return samples_path(self.file)

    def __str__(self) -> str:
        if self.file is None:
            return f"{self.profile.name} (shipped)"
        return f"{self.profile.name} ({'measured here' if self.file == path() else self.file})"


def find(name: str | None) -> Found:
    """The profile a user asked for: "native", "python", a file, "host", or None for the best one.

    The best is this host's own if it has been calibrated, else the shipped Python profile.
    """
    if name is None:
        name = "host" if path().exists() else DEFAULT
    profile = CostProfile.named(name)
    if name == "host":
        return Found(profile, path(), name)
    return Found(profile, Path(name) if name.endswith(".json") else None, name)


def profile_for(name: str | None) -> CostProfile:
    """The profile that `find` finds."""
    return find(name).profile
