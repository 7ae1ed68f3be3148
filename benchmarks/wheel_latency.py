"""What does one reading cost in each x86-64 wheel that this Python takes: its own version's, and abi3?

    python benchmarks/wheel_latency.py [--wheels DIRECTORY]

Each wheel goes into an environment of its own with NumPy alone; each row is the best of five runs of `scoring.latency`
(one `update` of 15 channels and `mode_probabilities` into a buffer, called from Python, K = 3, p = 3, the clock's own
time included), in turn, without garbage collection.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROUNDS = 5
MEASURE = "import json, sys; sys.path.insert(0, sys.argv[1]); import scoring; print(json.dumps(scoring.latency(False)))"


def fitting_wheels(directory: Path) -> list[Path]:
    """The wheel of this version of Python and the one of the limited API, as far as they are there."""
    own = "cp{}{}".format(*sys.version_info[:2])
    wheels = sorted(directory.glob(f"*{platform.machine()}.whl"))
    return [path for path in wheels if f"-{own}-{own}-" in path.name] + [p for p in wheels if "-abi3-" in p.name]


def environment_with(wheel: Path, place: Path) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    python = place / "bin" / "python"
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, f"numpy=={np.__version__}"], check=True)
    subprocess.run([*pip, "--no-deps", "--no-index", str(wheel)], check=True)
    return python


def measure(python: Path, place: Path) -> dict[str, float]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(python), "-c", MEASURE, str(harness.HERE)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=place, env=kept)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    extra = argparse.ArgumentParser(add_help=False)
    extra.add_argument("--wheels", type=Path, default=harness.HERE.parent / "wheels")
    given, rest = extra.parse_known_args()
    sys.argv[1:] = rest
    options = harness.arguments(__doc__)
    load = harness.load_average()
    wheels = fitting_wheels(given.wheels.resolve())
    if not wheels:
        sys.exit(f"{given.wheels} has no wheel for this Python; name a directory with --wheels")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        pythons = [environment_with(wheel, Path(place) / f"{i}") for i, wheel in enumerate(wheels)]
        runs = [[measure(python, Path(place)) for python in pythons] for _ in range(1 if options.quick else ROUNDS)]
        for i, wheel in enumerate(wheels):
            best = min((found[i] for found in runs), key=lambda figures: figures["p50_ns"])
            tag = "-".join(wheel.stem.split("-")[2:4])
            rows.append(
                {"wheel": tag, "python": platform.python_version(), "kilobytes": wheel.stat().st_size / 1e3} | best
            )
    harness.write_results(__file__, options, rows, load_before=load)


if __name__ == "__main__":
    main()
