"""What remaining lives cost: predictions of fleets, calibration and cross-validation, the law of one running unit.

    python benchmarks/remaining_life_speed.py           # prints the rows for the `cem` that this interpreter imports
    python benchmarks/remaining_life_speed.py --quick   # fewer repeats

One law is measured with gate and without, calibrated and not; with --instructions, by callgrind too. The record of fits
is what the gate compares with: its share of a fit is that of one call of `with_reference`. All else asks public names
only, so that two versions compare by running it under the interpreter of each. Figures are medians of processor time,
on one thread. The engines are C-MAPSS FD001, in the folder $CEM_SHARED_DATA/cmapss; those of the streamed law with
three modes are the simulated fleet of running_life.py, as FD001 has one.
"""

from __future__ import annotations

from common import harness

import argparse  # isort: skip
import os
import re
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import kernel_counts
from common.wear import fleet

import cem
from cem.datasets import read_cmapss
from cem.model.fit_reference import with_reference

warnings.simplefilter("ignore", cem.CemWarning)

SENSORS = [f"s{i}" for i in (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)]
CONSTANTS = (12.0, 35.0, 100.0)
GRID = 350


def estimator(n_modes: int, rank: int = 0) -> cem.FailureModeEM:
    """The estimator of benchmarks/cmapss.py, in one start."""
    return cem.FailureModeEM(
        n_modes, basis=cem.Exponential(CONSTANTS), time_axis="to_failure", n_init=1, max_iter=400, random_state=0,
        linking_rank=rank, linking_penalty=5.0 if rank else 0.0,
    )  # fmt: skip


def seconds(function: Callable[[], object], repeats: int) -> float:
    """Median of processor time, after one call that is not counted."""
    function()
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def streamed(prognosis: cem.RemainingLife, engine: cem.Panel) -> dict[str, float]:
    """Medians over the readings of one engine: taking it in, and the calibrated law."""
    spent: dict[str, list[float]] = {"update": [], "law": []}
    unit = prognosis.unit()
    for t, x in zip(engine.times, engine.values, strict=True):
        start = time.process_time_ns()
        unit.update(float(t), x)
        middle = time.process_time_ns()
        unit.distribution()
        spent["update"].append((middle - start) / 1e9)
        spent["law"].append((time.process_time_ns() - middle) / 1e9)
    return {what: statistics.median(one) for what, one in spent.items()}


def instructions(prognosis: cem.RemainingLife, engine: cem.Panel) -> int:
    """Of one law, Python's and NumPy's included."""
    few, many = 5, 25
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model.cem"
        prognosis.save(model)
        np.savez(Path(folder) / "engine.npz", times=engine.times, values=engine.values)
        runs = [
            kernel_counts.counted(
                [sys.executable, __file__, "--drive", folder, "--laws", str(n)], re.compile(""), dict(os.environ)
            )
            for n in (few, many)
        ]
    return round((runs[1] - runs[0]).instructions / (many - few))


def drive(folder: Path, n: int) -> None:
    """What callgrind runs."""
    unit = cem.RemainingLife.load(folder / "model.cem").replaced(n_points=GRID).unit()
    engine = np.load(folder / "engine.npz")
    for t, x in zip(engine["times"], engine["values"], strict=True):
        unit.update(float(t), x)
    for _ in range(n):
        unit.distribution()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--level", default="avx2", help="instruction level of the streamed law (default: avx2)")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--instructions", action="store_true", help="those of one law too, by valgrind")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--laws", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        return drive(options.drive, options.laws)
    folder, few = harness.SHARED_DATA / "cmapss", 3 if options.quick else 9

    def row(name: str, value: float) -> None:
        print(f"{name:68s} {1e3 * value:10.3f} ms", flush=True)

    def wanted(name: str) -> bool:
        return options.only in name

    demo = cem.datasets.load_demo_fleet()
    if wanted("predict, demo fleet, K=3"):
        em = cem.FailureModeEM(3, basis=cem.Polynomial(2), time_axis="to_failure", n_init=1, random_state=0)
        prognosis = cem.RemainingLife(em.fit(demo.with_modes(None)).model_)
        cut = demo.until(0.6 * demo.failure_times)
        row("predict, demo fleet, K=3", seconds(lambda: prognosis.predict(cut), few))
    train = read_cmapss(folder / "train_FD001.txt", channels=SENSORS)
    for rank in (0, 8):
        name = f"predict, FD001 test, K=1, r={rank}"
        if wanted(name):
            test = read_cmapss(folder / "test_FD001.txt", channels=SENSORS)
            prognosis = cem.RemainingLife(estimator(1, rank).fit(train).model_)
            row(name, seconds(lambda prognosis=prognosis, test=test: prognosis.predict(test), few))
    if wanted("calibrated, FD001, K=1, r=0"):
        plain = cem.RemainingLife(estimator(1).fit(train).model_)
        row("calibrated, FD001, K=1, r=0", seconds(lambda: plain.calibrated(train), few // 3))
    if wanted("cross_validate, crps, FD001, K=1 and 2, r=0"):
        menu = {k: estimator(k) for k in (1, 2)}
        row(
            "cross_validate, crps, FD001, K=1 and 2, r=0",
            seconds(lambda: cem.selection.cross_validate(train, menu, score="crps", cap=125.0), few // 3),
        )
    os.environ["CEM_INSTRUCTION_LEVEL"] = options.level
    simulated = fleet(30, 14, 0)
    for n_modes in (1, 3):
        name = f"one running unit, 14 channels, r=8, grid {GRID}, {options.level}, K={n_modes}"
        if wanted(name):
            panel, engine = (train, train[3]) if n_modes == 1 else (simulated, fleet(3, 14, 1)[2])
            prognosis = cem.RemainingLife(estimator(n_modes, 8).fit(panel).model_, n_points=GRID)
            corrected = prognosis.replaced(
                calibration=cem.calibration.Calibration(
                    0.5, tuple(np.linspace(-2.5, 2.5, 13)), tuple(np.linspace(-2.0, 2.0, 13))
                )
            )
            for gate in ("auto", None):
                for kind, own in (("law", prognosis), ("calibrated law", corrected)):
                    own, shown = own.replaced(gate=gate), f"{kind}, {'with' if gate else 'no'} gate"
                    found = streamed(own, engine)
                    row(f"{name}: {shown}", found["law"])
                    if options.instructions and kernel_counts.available():
                        print(f"{f'    of one {shown}':68s} {instructions(own, engine):10,d} instructions", flush=True)
            row(f"{name}: update", found["update"])
    for rank in (0, 8):
        name = f"record of fits, FD001, K=1, r={rank}"
        if wanted(name):
            em = estimator(1, rank)
            model, whole = em.fit(train).model_, seconds(lambda em=em: em.fit(train), few)
            share = seconds(lambda model=model: with_reference(model, train), few) / whole
            row(f"{name}: whole fit", whole)
            print(f"{name + ': share of it':68s} {100 * share:10.1f} %", flush=True)


if __name__ == "__main__":
    main()
