"""Where this host's own cost profile is kept, and which profile a run uses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import platformdirs

from iosim.calibrate.quick import Progress, quick
from iosim.costs import ABOUT, SCHEMA, CostProfile
from iosim.errors import IosimError
from iosim.host import facts


def path() -> Path:
    """The file in the user's cache directory that belongs to these host facts and this format."""
    key = json.dumps([facts(), SCHEMA, sorted(ABOUT)], sort_keys=True)
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("iosim")) / f"profile-{digest}.json"


def host_profile(progress: Progress | None = None) -> CostProfile | None:
    """This host's profile. With none kept yet, calibrate if `progress` is given, else None."""
    kept = path()
    if kept.exists():
        return CostProfile.load(kept)
    if progress is None:
        return None
    profile = quick(progress)
    profile.save(kept)
    return profile


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
