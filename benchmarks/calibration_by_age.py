"""Do calibrated lives hold at every predicted life? Nested folds of FD001 and FD003, by thirds.

    python benchmarks/calibration_by_age.py      # writes benchmarks/results/calibration_by_age.json

The recipe is that of the turbofan page, with links and without them, where plain laws are far too narrow. Each outer
fold's correction is learned by inner folds of the other 80 engines, at the committed cut-offs: none, one for all lives
(as before 0.9.0), and one by predicted life. Test files are not opened.
"""

from __future__ import annotations

from common import harness

import warnings  # isort: skip
from collections.abc import Callable

import cmapss
import numpy as np
from cmapss import CAP, N_FOLDS, SEED, SENSORS

import cem
from cem import metrics
from cem.datasets import read_cmapss
from cem.prognosis.calibration import Calibration, calibration_of
from cem.prognosis.distribution import RemainingLifeDistribution
from cem.prognosis.heldout import folds_of_units, hold_out
from cem.prognosis.reliability import THIRDS, reliability

warnings.simplefilter("ignore", cem.CemWarning)

RECIPES = {"FD001": (1, (12.0, 35.0, 100.0)), "FD003": (3, (15.0, 50.0, 200.0))}
LINKS = {"r=8, λ=5": (8, 5.0), "no links": (0, 0.0)}
WITHIN = (10.0, 30.0, 60.0)
LARGEST_SLOPE = 10.0  # that a table shows


def rows_of(name: str, links: str, panel: cem.Panel, ages: np.ndarray) -> list[dict[str, object]]:
    """Coverage by thirds of predicted life, and slopes of the probability to fail within a time."""
    em = cmapss.estimator(*RECIPES[name], *LINKS[links])
    fold_of = folds_of_units(panel.n_units, N_FOLDS, SEED)
    laws: dict[str, list[RemainingLifeDistribution]] = {"plain": [], "one correction": [], "by predicted life": []}
    outer = hold_out(panel, _recipe(em, panel), ages, fold_of)
    for fold, own in enumerate(outer.folds):
        train = panel[fold_of != fold]
        inner = hold_out(train, _recipe(em, train), ages[fold_of != fold], folds_of_units(train.n_units, N_FOLDS, SEED))
        corrections = (Calibration(), calibration_of(inner, degrees=0), calibration_of(inner))
        for parts, found in zip(laws.values(), corrections, strict=True):
            parts.append(found.corrected(own.law(found.temper)))
    truth, units = outer.collected("truth"), outer.collected("positions")
    rows = []
    for kind, parts in laws.items():
        report = reliability(parts, truth, units)
        row: dict[str, object] = {"set": name, "links": links, "laws": kind, "crps": report.crps}
        row["rmse_capped"] = metrics.rmse(truth, np.concatenate([law.mean(CAP) for law in parts]), cap=CAP)
        if report.by_life is not None:
            for level in (0.5, 0.9):
                thirds = zip(THIRDS, report.by_life.coverage[level], strict=True)
                row |= {f"coverage_{level:.0%}"[:-1] + f"_{third}": share for third, share in thirds}
                row[f"error_{level:.0%}"[:-1]] = max(report.by_life.standard_errors[level])
        for h in WITHIN:
            chances = np.concatenate([law.failure_probability(h) for law in parts])
            row[f"slope_{h:g}"] = metrics.failure_reliability(truth, chances, h).slope
            row[f"slope_{h:g}_low"], row[f"slope_{h:g}_high"] = slope_range(truth, chances, h, units)
        rows.append(row)
        print(row, flush=True)
    return rows


def slope_range(
    truth: np.ndarray, chances: np.ndarray, h: float, units: np.ndarray, n: int = 100
) -> tuple[float, float | None]:
    """The range that holds the calibration slope in 68 % of bootstrap resamples of units; no end: None.

    A resample whose failures are told apart without an error has an infinite slope.
    """
    rng, known = np.random.default_rng(SEED), np.unique(units)
    places = {unit: np.flatnonzero(units == unit) for unit in known}
    found = []
    for _ in range(n):
        drawn = np.concatenate([places[unit] for unit in rng.choice(known, len(known))])
        found.append(metrics.failure_reliability(truth[drawn], chances[drawn], h).slope)
    low, high = np.quantile(np.nan_to_num(found, nan=np.inf, posinf=np.inf), [0.16, 0.84], method="nearest")
    return float(low), float(high) if np.isfinite(high) and high < LARGEST_SLOPE else None


def _recipe(em: cem.FailureModeEM, panel: cem.Panel) -> Callable[[cem.Panel], cem.RemainingLife]:
    """How a fold is fitted: by this estimator, from scratch."""
    whole = cem.FailureModeEM(**em.get_params(deep=False)).fit(panel)
    return cem.RemainingLife(whole.model_).recipe(em)


def main() -> None:
    options = harness.arguments(__doc__)
    before = harness.load_average()
    folder = harness.SHARED_DATA / "cmapss"
    rows: list[dict[str, object]] = []
    for name in RECIPES:
        panel = read_cmapss(folder / f"train_{name}.txt", channels=SENSORS)
        if options.quick:
            panel = panel[:50]
        ages = cmapss.committed_ages(name, panel, 10)
        for links in list(LINKS)[: 1 if options.quick else None]:
            rows += rows_of(name, links, panel, ages)
    if not options.quick:
        harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
