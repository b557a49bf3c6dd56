"""`python -m iosim` is the command `iosim`."""

from iosim.cli import main

main()
