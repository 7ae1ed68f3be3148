"""What the RMSE of the turbofan engines rests on: the point that is taken from a law, and a peer without any model.

    python benchmarks/capping.py          # writes benchmarks/results/capping.json; needs scikit-learn

The models are those that benchmarks/cmapss.py chose, on its folds and cut-offs of training engines, and for FD001 on
the test file too. From each law three points are taken: E[min(r, 125)], min(E r, 125) and min(median, 125). The peer is
a gradient boosting of scikit-learn on features made by hand (age; means of the last 5, 15 and 30 readings, slope and
standard deviation of the last 30, mean of the first 10, and how far the last 5 are from it), with min(r, 125) as its
target. Its options were not tuned. The folder of the data is $CEM_SHARED_DATA/cmapss.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import harness
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS, Candidate, committed_ages
from sklearn.ensemble import HistGradientBoostingRegressor

import cem
from cem.datasets import read_cmapss
from cem.metrics import rmse
from cem.prognosis.calibration import calibration_of
from cem.prognosis.heldout import folds_of_units, hold_out

warnings.simplefilter("ignore", cem.CemWarning)

EVERY = 4  # readings between the training rows of an engine
FIRST = 20


def points(laws: list[cem.RemainingLifeDistribution], truth: np.ndarray) -> dict[str, float]:
    """Capped RMSE of the three points."""
    taken = {
        "mean of min(r, 125)": np.concatenate([law.mean(CAP) for law in laws]),
        "min(mean, 125)": np.concatenate([law.mean() for law in laws]),
        "min(median, 125)": np.concatenate([law.median() for law in laws]),
    }
    return {name: rmse(truth, values, cap=CAP) for name, values in taken.items()}


def features(values: np.ndarray, age: float) -> np.ndarray:
    """What a unit has shown so far, as one row."""
    last = values[-30:]
    steps = np.arange(len(last)) - (len(last) - 1) / 2
    slope = steps @ last / max(float(steps @ steps), 1.0)
    first = values[:10].mean(axis=0)
    means = [values[-n:].mean(axis=0) for n in (5, 15, 30)]
    return np.concatenate([[age], *means, slope, last.std(axis=0), first, means[0] - first])


def boosting(training: cem.Panel, judged: list[cem.Panel]) -> np.ndarray:
    """Predictions of the peer for units that are cut off already."""
    rows, targets = [], []
    for unit, end in zip(training, training.failure_times, strict=True):
        for n in range(FIRST, len(unit.times) + 1, EVERY):
            rows.append(features(unit.values[:n], unit.times[n - 1]))
            targets.append(min(end - unit.times[n - 1], CAP))
    peer = HistGradientBoostingRegressor(
        max_iter=300, learning_rate=0.05, max_leaf_nodes=15, l2_regularization=1.0, random_state=SEED
    ).fit(np.array(rows), targets)
    found: np.ndarray = peer.predict(np.array([features(unit.values, unit.times[-1]) for unit in judged]))
    return found.clip(0.0, CAP)


def on_training_units(name: str, panel: cem.Panel, candidate: Candidate) -> dict:
    """On engines left out, fold by fold."""
    ages, fold_of = committed_ages(name, panel), folds_of_units(panel.n_units, N_FOLDS, SEED)

    def fit(part: cem.Panel) -> cem.RemainingLife:
        return cem.RemainingLife(candidate.estimator().fit(part).model_)

    held = hold_out(panel, fit, ages, fold_of)
    truth, calibration = held.collected("truth"), calibration_of(held)
    corrected = [calibration.corrected(fold.law(calibration.temper)) for fold in held.folds]
    peer, target = [], []
    for fold in range(N_FOLDS):
        mine = np.flatnonzero(fold_of == fold)
        cut = [panel[int(i)].until(float(age)) for i in mine for age in ages[i]]
        peer.append(boosting(panel[fold_of != fold], cut))
        lives = [(panel.failure_times[i], unit) for i in mine for unit in cut if unit.units[0] == panel.units[i]]
        target.append([life - unit.times[-1] for life, unit in lives])
    return {
        "figure": "training units", "set": name, "candidate": candidate.name,
        "plain": points([fold.law() for fold in held.folds], truth), "calibrated": points(corrected, truth),
        "boosting": rmse(np.concatenate(target), np.concatenate(peer), cap=CAP),
    }  # fmt: skip


def on_the_test_file(name: str, folder: Path, panel: cem.Panel, candidate: Candidate) -> dict:
    """One prediction an engine, at its last cycle."""
    running, truth = read_cmapss(folder / f"test_{name}.txt", channels=SENSORS), np.loadtxt(folder / f"RUL_{name}.txt")
    em = candidate.estimator().fit(panel)
    plain = cem.RemainingLife(em.model_)
    calibrated = plain.calibrated(panel, em, ages=committed_ages(name, panel))
    return {
        "figure": "test", "set": name, "candidate": candidate.name, "plain": points([plain.predict(running)], truth),
        "calibrated": points([calibrated.predict(running)], truth),
        "boosting": rmse(truth, boosting(panel, list(running)), cap=CAP),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=harness.SHARED_DATA / "cmapss")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/capping.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    parser.set_defaults(quick=False)
    options, before = parser.parse_args(), harness.load_average()
    folder = options.data
    chosen = {
        row["set"]: Candidate(**row["chosen"])
        for row in json.loads((harness.RESULTS / "cmapss.json").read_text(encoding="utf-8"))["rows"]
        if row["figure"] == "choice"
    }
    rows = []
    for name, candidate in chosen.items():
        panel = read_cmapss(folder / f"train_{name}.txt", channels=SENSORS)
        rows.append(on_training_units(name, panel, candidate))
        print(rows[-1], flush=True)
        if name == "FD001":
            rows.append(on_the_test_file(name, folder, panel, candidate))
            print(rows[-1], flush=True)
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
