"""Instructions of loading a model and of a cold start, here and in another copy of cem.

``python benchmarks/load_counts.py --against FOLDER``: FOLDER holds the other ``cem`` (the ``src`` of a checkout with
its modules built, or an unpacked wheel). Counts are valgrind's; they repeat but for the order of dictionaries, which
PYTHONHASHSEED fixes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

LOAD = "import sys, cem\nfor _ in range(int(sys.argv[2])): model = cem.load(sys.argv[1])\n"
SCORE = (
    LOAD + "unit = model.scorer().unit()\nunit.update(1.0, [0.0] * len(model.channels))\nunit.mode_probabilities()\n"
)


def instructions(program: str, model: Path, times: int, source: str | None, python: str = sys.executable) -> int:
    """Instructions of a process that runs `program`, its bytecode compiled before, as pip leaves it.

    `source` is the folder that holds cem; None: where `python` has it installed.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    bytecode = str(model.parent / f"bytecode-of-{abs(hash((python, source)))}")
    environment |= {"PYTHONPATH": source or "", "PYTHONPYCACHEPREFIX": bytecode}
    environment |= {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([python, "-c", program, str(model), "1"], env=environment, check=True)
    return collected([python, "-c", program, str(model), str(times)], environment)


def collected(command: Sequence[str], environment: dict[str, str]) -> int:
    """Instructions of a whole process."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        done = subprocess.run([*valgrind, *command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed under valgrind:\n{done.stderr[-2000:]}")
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if found is None:
        raise SystemExit(f"valgrind printed no count:\n{done.stderr[-2000:]}")
    return int(found[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--against", type=Path, required=True, metavar="FOLDER", help="holds the other cem")
    options = parser.parse_args()
    import cem

    sources = {"here": str(Path(cem.__file__).parents[1]), "there": str(options.against.resolve())}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        fleet = cem.datasets.load_demo_fleet()
        models = {
            "3 modes, 8 channels": cem.FailureModeEM(3, n_init=10, covariance="pooled", random_state=0).fit(fleet),
            "2 modes, 8 linked channels": cem.FailureModeEM(2, n_init=2, linking_rank=1, random_state=0).fit(fleet),
        }
        print(f"{'':<58}{'here':>14}{'there':>14}{'ratio':>8}")
        for name, em in models.items():
            path = Path(folder) / "model.cem"
            em.model_.save(path)
            loads, starts = {}, {}
            for place, source in sources.items():
                loads[place] = (instructions(LOAD, path, 21, source) - instructions(LOAD, path, 1, source)) // 20
                starts[place] = instructions(SCORE, path, 1, source)
            for what, counts in {"one load": loads, "import, load, first score": starts}.items():
                ratio = counts["here"] / counts["there"]
                print(f"{name + ': ' + what:<58}{counts['here']:>14,}{counts['there']:>14,}{ratio:>8.3f}", flush=True)


if __name__ == "__main__":
    main()
