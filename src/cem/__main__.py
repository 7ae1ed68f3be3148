"""``python -m cem`` is the command ``cem``."""

import sys

from cem.cli import main

if __name__ == "__main__":
    sys.exit(main())
