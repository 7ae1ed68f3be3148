"""Processor time of reading a CSV file into a panel, against another tree of this package: in turn, the best of each.

    python benchmarks/csv_against.py OTHER_TREE [--rows 10000000] [--rounds 3] [--backend pyarrow]

OTHER_TREE is a checkout with its modules built, such as a worktree of an earlier commit. Processor time, because other
work on the machine moves the wall clock; both are shown.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ONE = """
import resource, sys, time
sys.path.insert(0, sys.argv[1] + "/src")
import cem.tables
assert cem.__file__.startswith(sys.argv[1]), cem.__file__
sys.modules[cem.tables.read_panel.__module__]._BACKENDS = (sys.argv[3],)
__import__(sys.argv[3] + (".csv" if sys.argv[3] == "pyarrow" else "")), __import__("narwhals")
used = lambda: sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
wall, processor = time.perf_counter(), used()
panel = cem.tables.read_panel(sys.argv[2])
print(used() - processor, time.perf_counter() - wall, panel.n_readings)
"""


def write(path: Path, n_rows: int) -> None:
    rng = np.random.default_rng(0)
    with open(path, "w") as file:
        file.write("unit,time,s1,s2,s3\n")
        for start in range(0, n_rows, 100_000):
            rows = np.arange(start, min(start + 100_000, n_rows))
            numbers = rng.normal(size=(rows.size, 4))
            for row, (t, *x) in zip(rows.tolist(), numbers.tolist(), strict=True):
                file.write(f"{row // 14},{row % 14 * 5 + t:.6f},{x[0]:.6f},{x[1]:.6f},{x[2]:.6f}\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backend", choices=("pyarrow", "polars", "pandas"), default="pyarrow")
    options = parser.parse_args()
    trees = {"this": Path(__file__).resolve().parents[1], "other": options.other.resolve()}
    best = {name: [np.inf, np.inf] for name in trees}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, options.rows)
        for _ in range(options.rounds):
            for name, tree in trees.items():
                command = [sys.executable, "-c", ONE, str(tree), str(path), options.backend]
                spent = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
                best[name] = [min(old, float(new)) for old, new in zip(best[name], spent, strict=False)]
    for name, (processor, wall) in best.items():
        print(f"{name:6} {processor:6.2f} s of processor time, {wall:6.2f} s on the clock")
    print(f"this / other: {best['this'][0] / best['other'][0]:.2f} of processor time")


if __name__ == "__main__":
    main()
