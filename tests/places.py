"""Where the repository keeps what tests read."""

from __future__ import annotations

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
SOURCES = ROOT / "src" / "cem"
DATA = TESTS / "data"
FUZZ = TESTS / "fuzz"
BENCHMARKS = ROOT / "benchmarks"
# Real data is not part of the repository; tests that need it are skipped where it is missing.
SHARED_DATA = Path(os.environ.get("CEM_SHARED_DATA", ROOT.parent / "shared" / "data"))
