"""The speeds that the rooms of 0.4.0 were to bring, here and under another interpreter, in one table.

    python benchmarks/speed_table.py OTHER_PYTHON          # such as one that has the wheel of 0.3.1 installed
    python benchmarks/speed_table.py OTHER_PYTHON --rounds 5

Each question is asked by a script of its own (`remaining_life_speed.py`, `linked_and_gaps.py`), under either
interpreter in turn; a figure is the median over the rounds of what the script says, which is a median of processor time
itself. `compare.py` has the twelve speeds that were not to change.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIVES, LINKED = "remaining_life_speed.py", "linked_and_gaps.py"
# Question, script, its --only, the line that answers, and the target: a ratio (x), a time, or a rate.
ROWS = [
    ("RemainingLife.predict, demo fleet, K = 3", LIVES, "predict, demo", "predict, demo fleet, K=3", "5 x"),
    ("... FD001 test, r = 0", LIVES, "K=1, r=0", "predict, FD001 test, K=1, r=0", "5 x"),
    ("... FD001 test, r = 8", LIVES, "K=1, r=8", "predict, FD001 test, K=1, r=8", "2 x"),
    ("RemainingLife.calibrated, FD001, r = 0", LIVES, "K=1, r=0", "calibrated, FD001, K=1, r=0", "5 x"),
    ("cross_validate by crps, FD001, r = 0", LIVES, "cross", "cross_validate, crps, FD001, K=1 and 2, r=0", "5 x"),
    ("law of a running unit, K = 1, r = 8, AVX2", LIVES, "avx2, K=1", "avx2, K=1: law", ".25 ms"),
    ("law of a running unit, K = 3, r = 8, AVX2", LIVES, "avx2, K=3", "avx2, K=3: law", ".5 ms"),
    ("linked scorer, r = 4, K = 3, C = 15: update, answer", LINKED, "scorer", "update and answer", ".01 ms"),
    ("linked fit, 10 failed and 90 running, r = 8", LINKED, "fit", "running units, linked", "1500 ms"),
    ("compression, 5 % of the cells missing", LINKED, "compression", "compression, 5 %", "1.1 GB/s"),
]  # fmt: skip
_MS, _SECONDS, _RATE = (
    re.compile(r"([\d.]+) ms"),
    re.compile(r"seconds=(\S+)"),
    re.compile(r"gigabytes_per_second=(\S+)"),
)


def environment(source: str | None) -> dict[str, str]:
    """One thread, and the sources here or what the interpreter has installed."""
    kept = {key: value for key, value in os.environ.items()
            if key not in ("PYTHONPATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")}  # fmt: skip
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return {**kept, **threads, **({"PYTHONPATH": source} if source else {})}


def asked(python: str, source: str | None, script: str, only: str) -> list[str]:
    """The lines of a script."""
    done = subprocess.run(
        [python, str(HERE / script), "--only", only],
        env=environment(source),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def value(lines: list[str], key: str) -> float:
    """ms, or GB/s."""
    (line,) = [line for line in lines if key in line]
    rate, ms = _RATE.search(line), _MS.search(line)
    if rate:
        return float(rate[1])
    return float(ms[1]) if ms else 1e3 * float(_SECONDS.search(line)[1])  # type: ignore[index]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("other", metavar="OTHER_PYTHON")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    import cem

    sides = [(options.other, None), (sys.executable, str(Path(cem.__file__).parents[1]))]
    print(f"{'':52}{'there':>12}{'here':>12}{'ratio':>8}  target")
    for script, only in dict.fromkeys((script, only) for _, script, only, _, _ in ROWS):
        said: list[list[list[str]]] = [[], []]
        for _ in range(options.rounds):
            for lines, side in zip(said, sides, strict=True):
                lines.append(asked(*side, script, only))
        for question, of, part, key, target in ROWS:
            if (of, part) != (script, only):
                continue
            there, here = (statistics.median(value(one, key) for one in lines) for lines in said)
            unit, goal = target.split()[1], float(target.split()[0])
            ratio = here / there if unit == "GB/s" else there / here
            met = ratio >= goal if unit == "x" else here >= goal if unit == "GB/s" else here <= goal
            shown = "GB/s" if unit == "GB/s" else "ms"
            sign = "≥" if unit != "ms" else "≤"
            print(f"{question:52}{there:9.3f} {shown}{here:9.3f} {shown}{ratio:7.2f}x  {sign} {target}"
                  f"{'' if met else '   MISSED'}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
