"""`python -m iosim` is the command `iosim`."""

from iosim.cli import main

# Worker processes of a sweep import this module too.
if __name__ == "__main__":
    main()
