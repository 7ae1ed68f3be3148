"""The test units of FD002's part, once: regimes inside the model, and sensors standardised by hand.

    python benchmarks/regimes_test_units.py

Recipe and arms are those of `regimes_inside.py`, where everything was chosen on training units. One fit to all training
units of the part predicts the remaining lives of its test units. Errors are capped at 125 cycles. The range of a right
90 % interval is that in which 95 % of draws from a binomial law lie.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

from common import harness

import numpy as np  # isort: skip
from regimes_inside import ARMS, CAP, LEVEL, RECIPES, SETTINGS
from scipy.stats import binom

import cem

SET = "FD002"


def predicted(arm: str, train: np.ndarray, test: np.ndarray, lives: np.ndarray) -> dict[str, Any]:
    """Capped RMSE, NASA score and coverage of one arm."""
    n_modes, constants = RECIPES[SET]
    more: dict[str, Any] = {"regimes": cem.Regimes(list(SETTINGS), n=6)} if arm == "inside" else {}
    em = cem.FailureModeEM(
        n_modes, basis=cem.Exponential(constants), time_axis="to_failure", random_state=0, linking_rank=8,
        linking_penalty=5.0, **more,
    )  # fmt: skip
    fleet = ARMS[arm](train, train, True)
    law = cem.RemainingLife(em.fit(fleet).model_).calibrated(fleet, em).predict(ARMS[arm](test, train, False))
    error = law.mean(cap=CAP) - np.minimum(lives, CAP)
    low, high = law.interval(LEVEL)
    held = int(((low <= lives) & (lives <= high)).sum())
    fewest, most = binom.interval(0.95, len(lives), LEVEL)
    return {
        "arm": arm,
        "units": len(lives),
        "rmse": float(np.sqrt(np.mean(np.square(error)))),
        "nasa_score": float(np.where(error < 0, np.expm1(-error / 13.0), np.expm1(error / 10.0)).sum()),
        "held": held,
        "coverage": held / len(lives),
        "fewest": int(fewest),
        "most": int(most),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the arm by hand alone; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    before = harness.load_average()
    folder = harness.SHARED_DATA / "cmapss"
    train, test = (np.loadtxt(folder / f"{name}_{SET}_part.txt") for name in ("train", "test"))
    lives = np.loadtxt(folder / f"RUL_{SET}_part.txt", ndmin=1)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        for arm in list(ARMS)[: 1 if options.quick else None]:
            rows.append(predicted(arm, train, test, lives))
            print(rows[-1], flush=True)
    harness.write_results(__file__, options, rows, load_before=before)


if __name__ == "__main__":
    main()
