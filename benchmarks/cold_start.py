"""A fresh process from start to first score, against one that only imports NumPy; the two run in turn.

What a gateway pays when it restarts: import, load a model file, one reading of every channel, mode probabilities. Files
are in the system's cache and bytecode is compiled, as pip leaves it: a directory of its own holds that of this run.
"""

from __future__ import annotations

from common import harness

import os  # isort: skip
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

FIRST_SCORE = """
import sys
import cem
unit = cem.load(sys.argv[1]).scorer().unit()
unit.update(1.0, [float(x) for x in sys.argv[2].split(",")])
unit.mode_probabilities()
"""


def measured(rounds: int) -> list[dict[str, Any]]:
    """One row a process; the first round is not counted."""
    import cem

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        model = (
            cem.FailureModeEM(3, n_init=2, covariance="pooled", random_state=0)
            .fit(cem.datasets.load_demo_fleet())
            .model_
        )
    reading = ",".join(str(curve) for curve in model.means_[0, :, 0])
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "fleet.cem")
        model.save(path)
        commands = {
            "import numpy": [sys.executable, "-c", "import numpy"],
            "import cem, load, first score": [sys.executable, "-c", FIRST_SCORE, path, reading],
        }
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = str(Path(folder) / "bytecode")
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(rounds):
            for name, command in commands.items():
                start = time.perf_counter()
                subprocess.run(command, check=True, env=environment)
                if round_number:  # the first round warms the file cache and compiles
                    seconds[name].append(time.perf_counter() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return [
        {
            "process": name,
            "cores": 1,
            "repeats": len(seconds[name]),
            "seconds": medians[name],
            "against_numpy": medians[name] / medians["import numpy"],
        }
        for name in commands
    ]


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    harness.write_results(__file__, options, measured(2 if options.quick else 22), load_before=before)


if __name__ == "__main__":
    main()
