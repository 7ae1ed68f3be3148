"""Turbofan figures with an outer loop of folds around the choice of the candidate and around the calibration.

    python benchmarks/nested.py              # writes benchmarks/results/nested.json

`cmapss.py` chooses among candidates that were written down after exploring on the same cut-offs, and on the folds on
which it then reports. Here the candidates are a ladder of time constants (a, 3a, 10a cycles), K = 1 to 3, written down
before any of them was fitted, with channels and lives independent, or sharing four or eight factors whose loadings are
held back by decades of the penalty. That ranks of four and more, and penalties below the default, are worth a try was
seen on these engines.
Each outer fold's candidate is chosen, and its laws are calibrated, by inner folds of the other 80 engines. Test files
are not opened.
"""

from __future__ import annotations

import argparse
import itertools
import os
import warnings
from collections import Counter
from pathlib import Path

import cmapss
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS
from common import harness

import cem
from cem import metrics
from cem.datasets import read_cmapss
from cem.panel import Panel
from cem.prognosis.calibration import calibrate, reliability
from cem.prognosis.distribution import RemainingLifeDistribution
from cem.prognosis.heldout import folds_of_units
from cem.prognosis.selection import cross_validate

warnings.simplefilter("ignore", cem.CemWarning)

N_INNER, CUTS_TO_CHOOSE = 3, slice(None, None, 3)  # of the choice; calibration takes all folds and cut-offs
SHORTEST = (6.0, 12.0, 24.0)
MODES = (1, 2, 3)


def menu(quick: bool) -> dict[str, cem.FailureModeEM]:
    """Candidates by name."""
    shortest, modes, links = ((20.0,), (1, 2), cmapss.LINKS[:1]) if quick else (SHORTEST, MODES, cmapss.LINKS)
    return {
        f"K={k}, {a:g}, {3 * a:g}, {10 * a:g}" + (f", r={rank}, λ={penalty:g}" if rank else ""): cmapss.estimator(
            k, (a, 3 * a, 10 * a), rank, penalty
        )
        for (rank, penalty), a, k in itertools.product(links, shortest, modes)
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
        cuts, inner = ages[fold_of != fold], {"random_state": SEED, "n_jobs": options.jobs}
        best = cross_validate(
            train, candidates, score="rmse", cap=CAP, ages=cuts[:, CUTS_TO_CHOOSE], n_folds=N_INNER, **inner
        ).best.name
        em = candidates[best]
        prognosis = cem.RemainingLife(cem.FailureModeEM(**em.get_params(deep=False)).fit(train).model_)
        mended = prognosis.replaced(
            calibration=calibrate(train, prognosis.recipe(em), ages=cuts, n_folds=N_FOLDS, **inner)
        )
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
    rows = []
    for name, panel in panels.items():
        rows += remaining_lives(name, panel, cmapss.committed_ages(name, panel, 2 if options.quick else 10), options)
    if not options.quick:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
