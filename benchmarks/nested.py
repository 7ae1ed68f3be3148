"""Turbofan figures with an outer loop of folds around every choice: candidate, calibration, sensors of the modes.

    python benchmarks/nested.py              # writes benchmarks/results/nested.json

`cmapss.py` chooses among candidates that were written down after exploring on the same cut-offs, and on the folds on
which it then reports. Here the candidates are a ladder of time constants that nobody fitted (a, 3a, 10a cycles), K = 1
to 3; each outer fold's candidate is chosen, and its laws are calibrated, by inner folds of the other 80 engines. The
modes of FD003 likewise: sensors, degree and the share of life trained on are chosen in the training folds. Test
files are not opened.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import os
import warnings
from collections import Counter
from pathlib import Path

import cmapss
import harness
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS, SHARES_OF_LIFE, SIGNS

import cem
from cem import metrics
from cem.calibration import calibrate, reliability
from cem.datasets import read_cmapss
from cem.heldout import folds_of_units
from cem.panel import Panel
from cem.remaining_life import RemainingLifeDistribution
from cem.selection import cross_validate

warnings.simplefilter("ignore", cem.CemWarning)

N_INNER = 3  # folds for the choice; calibration takes cmapss.N_FOLDS
SHORTEST = (5.0, 10.0, 20.0, 30.0)
MODES = (1, 2, 3)
TEMPERS = np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05])


def menu(quick: bool) -> dict[str, cem.FailureModeEM]:
    """Candidates by name."""
    shortest, modes = ((20.0,), (1, 2)) if quick else (SHORTEST, MODES)
    return {
        f"K={k}, {a:g}, {3 * a:g}, {10 * a:g}": cmapss.estimator(k, (a, 3 * a, 10 * a))
        for a, k in itertools.product(shortest, modes)
    }


def remaining_lives(name: str, panel: Panel, ages: np.ndarray, options: argparse.Namespace) -> list[dict]:
    """Errors and coverage of plain and of calibrated laws on the outer folds."""
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    laws: dict[str, list[RemainingLifeDistribution]] = {"plain": [], "calibrated": []}
    truth, units, chosen = [], [], []
    candidates = menu(options.quick)
    for fold in range(N_FOLDS):
        inside = np.flatnonzero(fold_of == fold)
        train, own = panel[fold_of != fold], panel[inside]
        inner = {"ages": ages[fold_of != fold], "random_state": SEED, "n_jobs": options.jobs}
        best = cross_validate(train, candidates, score="rmse", cap=CAP, n_folds=N_INNER, **inner).best.name
        em = candidates[best]
        prognosis = cem.RemainingLife(cem.FailureModeEM(**em.get_params()).fit(train).model_)
        mended = prognosis.replaced(calibration=calibrate(train, prognosis.recipe(em), n_folds=N_FOLDS, **inner))
        chosen.append(best)
        for j in range(ages.shape[1]):
            cut = own.until(ages[inside, j])
            laws["plain"].append(prognosis.predict(cut))
            laws["calibrated"].append(mended.predict(cut))
            truth.append(own.failure_times - cut.times[np.asarray(cut.offsets[1:]) - 1])
            units.append(inside)
        print(f"{name}, fold {fold}: {best}, calibrated by {mended.calibration.temper}", flush=True)
    outcome, clusters = np.concatenate(truth), np.concatenate(units)
    rows = []
    for kind, parts in laws.items():
        found = reliability(parts, outcome, clusters)
        predicted = np.concatenate([law.mean(CAP) for law in parts])
        error = metrics.rmse(outcome, predicted, cap=CAP)
        squares = np.square(np.minimum(outcome, CAP) - predicted)
        rows.append(
            {
                "figure": "remaining life",
                "set": name,
                "laws": kind,
                "rmse_capped": error,
                "rmse_standard_error": metrics.cluster_standard_error(squares, clusters) / (2.0 * error),
                "chosen": ", ".join(f"{one} ({n})" for one, n in Counter(chosen).most_common()),
                **{f"coverage_{level:.0%}"[:-1]: found.coverage[level] for level in (0.5, 0.8, 0.9)},
                **{f"error_{level:.0%}"[:-1]: found.standard_errors[level] for level in (0.5, 0.8, 0.9)},
                "interval_score_90": found.interval_scores[0.9],
                "crps": found.crps,
            }
        )
        print(rows[-1], flush=True)
    return rows


def tempered(prior: np.ndarray, log_odds: np.ndarray, temper: float) -> np.ndarray:
    """Mode probabilities from ln π and from ln P(x | k), the latter counted `temper` times."""
    joint = prior + temper * log_odds
    joint = np.exp(joint - joint.max(axis=-1, keepdims=True))
    return joint / joint.sum(axis=-1, keepdims=True)


def evidence(train: Panel, own: Panel, degree: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """ln π (K,) and ln P(x | k) (S, L, K) of units at the shares of their lives, by a model of labelled units."""
    em = cem.FailureModeEM(2, basis=cem.Polynomial(degree), n_init=1, random_state=SEED)
    model = em.fit(train.until(np.floor(share * train.failure_times))).model_
    prior = np.log(model.weights_)
    unlabelled, rows = own.with_modes(None), []
    for seen in SHARES_OF_LIFE:
        chances = model.predict_proba(unlabelled.until(np.floor(seen * own.failure_times)))
        rows.append(np.log(np.maximum(chances, 1e-300)) - prior)
    return prior, np.stack(rows)


def modes(panel: Panel, labels: dict[int, str], quick: bool) -> list[dict]:
    """Accuracy and scores of the mode at the shares of life, everything chosen in the training folds by log score."""
    labelled = cmapss.baselines_removed(panel.with_modes(labels))
    codes = labelled.mode_codes
    sensor_sets = {"the five of the rule": SIGNS, "all": list(panel.channels)}
    options = list(itertools.product(sensor_sets, (1, 2), (0.5,) if quick else (0.5, 0.75, 1.0)))
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    plain, mended = np.empty((2, len(SHARES_OF_LIFE), panel.n_units, 2))
    chosen = []
    for fold in range(N_FOLDS):
        held, kept = np.flatnonzero(fold_of == fold), np.flatnonzero(fold_of != fold)
        inner_of = folds_of_units(len(kept), N_FOLDS, SEED)
        scores = {}
        for sensors, degree, share in options:
            train = labelled[kept].select_channels(sensor_sets[sensors])
            total = np.zeros(len(TEMPERS))
            for inner in range(N_FOLDS):
                inside = np.flatnonzero(inner_of == inner)
                prior, odds = evidence(train[inner_of != inner], train[inside], degree, share)
                true = np.broadcast_to(codes[kept[inside]], odds.shape[:-1])
                total += [metrics.log_score(true, tempered(prior, odds, one)).sum() for one in TEMPERS]
            scores.update({(sensors, degree, share, one): score for one, score in zip(TEMPERS, total, strict=True)})
        sensors, degree, share, temper = min(scores, key=scores.__getitem__)
        own = labelled.select_channels(sensor_sets[sensors])
        prior, odds = evidence(own[kept], own[held], degree, share)
        plain[:, held], mended[:, held] = tempered(prior, odds, 1.0), tempered(prior, odds, temper)
        chosen.append(f"{sensors}, degree {degree}, {share:.0%}")
        print(f"modes, fold {fold}: {chosen[-1]}, tempered by {temper}", flush=True)
    rows = []
    for s, seen in enumerate(SHARES_OF_LIFE):
        right = (mended[s].argmax(axis=1) == codes).astype(float)
        rows.append(
            {
                "figure": "modes",
                "share_of_life": seen,
                "accuracy": float(right.mean()),
                "mean_probability_of_the_mode_named": float(mended[s].max(axis=1).mean()),
                "brier": float(metrics.brier_score(codes, mended[s]).mean()),
                "log_score": float(metrics.log_score(codes, mended[s]).mean()),
                "log_score_plain": float(metrics.log_score(codes, np.maximum(plain[s], 1e-300)).mean()),
                "chosen": "; ".join(f"{one} ({n})" for one, n in Counter(chosen).most_common()),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(os.environ.get("CEM_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data")) / "cmapss"
    parser.add_argument("--data", type=Path, default=default, help="folder with train_FD001.txt and the others")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/nested.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    parser.add_argument("--jobs", type=int, default=1, help="inner folds side by side")
    options = parser.parse_args()
    before = harness.load_average()
    panels = {name: read_cmapss(options.data / f"train_{name}.txt", channels=SENSORS) for name in ("FD001", "FD003")}
    with (options.data / "fd003_train_modes.csv").open() as file:
        labels = {int(row["unit"]): row["mode"] for row in csv.DictReader(file)}
    rows = modes(panels["FD003"], labels, options.quick)
    for name, panel in panels.items():
        rows += remaining_lives(name, panel, cmapss.committed_ages(name, panel, 2 if options.quick else 10), options)
    if not options.quick:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
