"""Modes of FD003 at 30, 40 and 50 % of life, every choice made in the training folds.

    python benchmarks/nested_modes.py        # writes benchmarks/results/nested_modes.json

`cmapss.py` names the mode by sensors, a basis and a share of life to train on that were settled on the folds on which
it reports. Here each outer fold chooses them, and the tempering of the probabilities, by the log score on inner folds
of the other 80 engines. Baselines are removed: the first 20 cycles of each engine tell nothing.
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
import numpy as np
from cmapss import N_FOLDS, SEED, SENSORS, SHARES_OF_LIFE, SIGNS
from common import harness

import cem
from cem import metrics
from cem.datasets import read_cmapss
from cem.panel import Panel
from cem.prognosis.heldout import folds_of_units

warnings.simplefilter("ignore", cem.CemWarning)

TEMPERS = np.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12, 0.08, 0.05])


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
    parser.add_argument("--data", type=Path, default=default, help="folder with train_FD003.txt and its modes")
    parser.add_argument("--quick", action="store_true", help="small: to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/nested_modes.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    panel = read_cmapss(options.data / "train_FD003.txt", channels=SENSORS)
    with (options.data / "fd003_train_modes.csv").open() as file:
        labels = {int(row["unit"]): row["mode"] for row in csv.DictReader(file)}
    harness.write_results(__file__, options, modes(panel, labels, options.quick), load_before=before)


if __name__ == "__main__":
    main()
