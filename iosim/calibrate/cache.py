"""Where this host's own cost profile is kept, and which profile a run uses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs

from iosim.calibrate.calibration import FULL, QUICK, Plan, Progress, calibrate
from iosim.calibrate.real import ThisHost
from iosim.costs import ABOUT, SCHEMA, CostProfile
from iosim.errors import IosimError
from iosim.host import facts


def path() -> Path:
    """The file in the user's cache directory that belongs to these host facts and this format."""
    key = json.dumps([facts(), SCHEMA, sorted(ABOUT)], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("iosim")) / f"profile-{digest}.json"


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
    Raises HostRefused where real runs are impossible.
    """
    file = out or path()
    kept = path().with_suffix(f".{plan.passes}-{plan.rounds}.unfinished.json")
    if again:
        kept.unlink(missing_ok=True)
    host = facts()
    name = f"{host['cpu']}, {host['python']}"
    profile, steps = calibrate(ThisHost(), name, host, plan=plan, kept=kept, progress=progress)
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


def differences(profile: CostProfile) -> list[str]:
    """How the host that a profile was measured on differs from this one; nothing if it says of
    none."""
    if profile.date is None and not any(c.source == "measured" for c in profile.costs.values()):
        return []
    here = facts()
    return [
        f"{name.replace('_', ' ')} {profile.host[name]!r}, here {value!r}"
        for name, value in here.items()
        if name in profile.host and profile.host[name] != value
    ]


def profile_for(name: str | None) -> CostProfile:
    """The profile a user asked for: "native", "python", a file, "host", or None for the best one.

    The best is this host's own if it has been calibrated, else the shipped Python profile.
    """
    if name is None:
        return host_profile() or CostProfile.shipped("python")
    if name == "host":
        if (own := host_profile()) is None:
            raise IosimError("this host has no cost profile yet: run `iosim calibrate` first")
        return own
    if name.endswith(".json"):
        return CostProfile.load(name)
    return CostProfile.shipped(name)
