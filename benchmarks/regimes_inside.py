"""Turbofans at six flight conditions: regimes inside the model against sensors standardised by condition outside it.

    python benchmarks/regimes_inside.py                                # both sets, seeds 9000 to 9009
    python benchmarks/regimes_inside.py --sets FD002 --seeds 1 2       # other seeds, to develop on
    python benchmarks/regimes_inside.py --arms by_hand --seeds 1       # one of the two alone

By hand, every sensor is standardised by the rounded condition with statistics of the training units. Inside, the fit
gets the three settings as covariates and ``regimes=cem.Regimes([...], n=6)``, and the sensors as they are. Both have
the same five folds over training units, the same cut-offs (ages uniform on 31 .. life - 1, three a unit), the same
basis, number of modes and links, and calibrated laws. Errors are capped at 125 cycles. Test files are not opened.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import harness

import numpy as np  # isort: skip

import cem

warnings.simplefilter("ignore", cem.CemWarning)

SENSORS = (2, 3, 4, 7, 8, 9, 11, 12, 13, 14, 15, 17, 20, 21)
COLUMNS = [4 + s for s in SENSORS]  # unit, cycle, three settings, s1 ...
SETTINGS = ("setting1", "setting2", "setting3")
RECIPES = {"FD002": (1, (12.0, 35.0, 100.0)), "FD004": (2, (15.0, 50.0, 200.0))}  # modes, time constants
N_FOLDS, N_CUTS, YOUNGEST, CAP, LEVEL = 5, 3, 31, 125.0, 0.9


@dataclass(frozen=True, eq=False)
class Fold:
    """Training rows, and for each round of cut-offs the rows of the held-out units until then and what is left."""

    train: np.ndarray
    running: list[np.ndarray]
    left: list[np.ndarray]


def folds(rows: np.ndarray, seed: int) -> list[Fold]:
    """Draw folds and cut-offs."""
    rng = np.random.default_rng(seed)
    found = []
    for fold in np.array_split(rng.permutation(np.unique(rows[:, 0])), N_FOLDS):
        running, left = [], []
        for _ in range(N_CUTS):
            histories = [rows[rows[:, 0] == unit] for unit in fold]
            ages = [int(rng.integers(YOUNGEST, len(history))) for history in histories]
            running.append(np.concatenate([history[:age] for history, age in zip(histories, ages, strict=True)]))
            left.append(np.array([len(history) - age for history, age in zip(histories, ages, strict=True)], float))
        found.append(Fold(rows[~np.isin(rows[:, 0], fold)], running, left))
    return found


def conditions(rows: np.ndarray) -> np.ndarray:
    """Altitude, Mach number in tenths, and throttle, rounded."""
    rounded: np.ndarray = np.round(rows[:, 2:5] / [1.0, 0.1, 1.0]).astype(int)
    return rounded


def standardised(rows: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Sensors by condition, with the statistics of other rows."""
    out = rows[:, COLUMNS].copy()
    here, there = conditions(rows), conditions(reference)
    for point in np.unique(there, axis=0):
        known = reference[(there == point).all(1)][:, COLUMNS]
        mine = (here == point).all(1)
        out[mine] = (out[mine] - known.mean(0)) / np.maximum(known.std(0), 1e-9)
    return out


def panel(rows: np.ndarray, values: np.ndarray, failed: bool, settings: Sequence[str] = ()) -> cem.Panel:
    """One unit for each engine; settings become covariates."""
    cut = np.flatnonzero(np.diff(rows[:, 0])) + 1
    times = np.split(rows[:, 1], cut)
    more: dict[str, Any] = {}
    if settings:
        more["covariates"] = {name: np.split(rows[:, 2 + i], cut) for i, name in enumerate(settings)}
    return cem.Panel.from_arrays(
        times,
        np.split(values, cut),
        channels=[f"s{s}" for s in SENSORS],
        failure_times=[t[-1] for t in times] if failed else None,
        **more,
    )


def by_hand(rows: np.ndarray, train: np.ndarray, failed: bool) -> cem.Panel:
    """Sensors standardised outside the package."""
    return panel(rows, standardised(rows, train), failed)


def inside(rows: np.ndarray, train: np.ndarray, failed: bool) -> cem.Panel:
    """Sensors as they are, with the settings beside them."""
    return panel(rows, rows[:, COLUMNS], failed, SETTINGS)


ARMS: dict[str, Callable[[np.ndarray, np.ndarray, bool], cem.Panel]] = {"by_hand": by_hand, "inside": inside}


def scores(arm: str, which: str, drawn: Sequence[Fold]) -> dict[str, float]:
    """Capped RMSE, and the share of 90 % intervals that hold."""
    n_modes, constants = RECIPES[which]
    more: dict[str, Any] = {"regimes": cem.Regimes(list(SETTINGS), n=6)} if arm == "inside" else {}
    errors: list[np.ndarray] = []
    held: list[np.ndarray] = []
    for fold in drawn:
        em = cem.FailureModeEM(
            n_modes, basis=cem.Exponential(constants), time_axis="to_failure", random_state=0, linking_rank=8,
            linking_penalty=5.0, **more,
        )  # fmt: skip
        fleet = ARMS[arm](fold.train, fold.train, True)
        prognosis = cem.RemainingLife(em.fit(fleet).model_).calibrated(fleet, em)
        for running, left in zip(fold.running, fold.left, strict=True):
            law = prognosis.predict(ARMS[arm](running, fold.train, False))
            low, high = law.interval(LEVEL)
            errors.append(law.mean(cap=CAP) - np.minimum(left, CAP))
            held.append((low <= left) & (left <= high))
    return {
        f"rmse_{arm}": float(np.sqrt(np.mean(np.square(np.concatenate(errors))))),
        f"coverage_{arm}": float(np.mean(np.concatenate(held))),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Of each set: mean RMSE inside over that by hand, and how far coverage is from 90 %, in points."""
    found: dict[str, float] = {}
    for which in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == which]
        means = {key: float(np.mean([row[key] for row in own])) for key in own[0] if key not in ("set", "seed")}
        if len({"rmse_inside", "rmse_by_hand"} & set(means)) == 2:
            found[f"{which}_rmse_ratio"] = means["rmse_inside"] / means["rmse_by_hand"]
        for arm in ARMS:
            if f"coverage_{arm}" in means:
                found[f"{which}_points_from_90_{arm}"] = 100 * abs(means[f"coverage_{arm}"] - LEVEL)
    return found


def options_given() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(9000, 9010)))
    parser.add_argument("--arms", nargs="+", choices=tuple(ARMS), default=list(ARMS))
    parser.add_argument("--quick", action="store_true", help="one seed and set, to see that it runs; keeps no results")
    parser.add_argument("--output", type=Path, help="file of results (default: benchmarks/results/regimes_inside.json)")
    parser.add_argument("--date", help="date of the run (default: that of the commit)")
    options = parser.parse_args()
    if options.quick:
        options.sets, options.seeds = options.sets[:1], options.seeds[:1]
    return options


def main() -> None:
    options = options_given()
    before = harness.load_average()
    rows: list[dict[str, Any]] = []
    for which in options.sets:
        table = np.loadtxt(harness.SHARED_DATA / "cmapss" / f"train_{which}_part.txt")
        for seed in options.seeds:
            drawn = folds(table, seed)
            row: dict[str, Any] = {"set": which, "seed": seed}
            for arm in options.arms:
                row.update(scores(arm, which, drawn))
            rows.append(row)
            print(
                *(f"{key}={value:.4g}" if isinstance(value, float) else value for key, value in row.items()), flush=True
            )
            with contextlib.redirect_stdout(io.StringIO()):  # kept after every seed: a run takes hours
                harness.write_results(__file__, options, rows, load_before=before, summary=summary(rows))
    for key, value in summary(rows).items():
        print(f"{key} {value:.3f}")


if __name__ == "__main__":
    main()
