"""Settings of the whole suite."""

from __future__ import annotations

from hypothesis import settings

# The same examples on every machine and in every run; an example may take as long as it needs,
# since a shared machine may stop for a while at any time.
settings.register_profile("iosim", derandomize=True, deadline=None)
settings.load_profile("iosim")
