"""How sure predictions are and how right, with the parameters taken as known and with their uncertainty.

    python benchmarks/overconfidence.py --fleets 80                   # development seeds, 1000 and above
    python benchmarks/overconfidence.py --fleets 400 --evaluate 1     # seeds 9000 and above, for evaluation only

Five kinds of fleets of two modes: how far their curves are apart, how many units, and whether the modes have the same
covariances. Each fleet is fitted twice, without uncertainty and with that of the bootstrap, and 60 new units of the
same law are predicted. Reported are the log score of the true mode above that of the true parameters; among calls of a
probability of 0.95 and more the errors that they claim, those that they make, and their ratio with its 95 % interval by
fleets; the share of units with a novelty of 0.01 and less; and how many 90 % forecasts of a unit's last reading, from
the others, hold it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from common import harness

import cem

WEIGHTS = np.array([0.6, 0.4])
NOISE = np.array([[0.2, 0.1], [0.3, 0.15]])  # variances, mode by channel
CURVES = {  # mode, channel, (intercept, slope)
    "apart": np.array([[[0, 1.0], [1.0, -0.5]], [[1.2, 2.2], [-0.2, 0.5]]]),
    "close": np.array([[[0, 1.0], [1.0, -0.5]], [[0.6, 1.6], [0.5, 0.0]]]),
}
VARIANCES = {
    "alike": np.array([[0.25, 0.16], [0.25, 0.16]]),
    "unlike": np.array([[0.15, 0.16], [0.40, 0.06]]),
}
ROWS = (
    ("close", 100, "alike"),
    ("apart", 25, "alike"),
    ("apart", 25, "unlike"),
    ("close", 100, "unlike"),
    ("close", 400, "unlike"),
)
SURE, LEVEL, NOVEL, N_NEW = 0.95, 0.9, 0.01, 60
NEW_SEED = 49_000  # of new units, beyond that of the fleet
SETTINGS = (None, "bootstrap")


def fleet_of(
    rng: np.random.Generator, n_units: int, curves: str, variances: str
) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """True modes, times and readings of the units of a fleet."""
    modes, times, values = rng.choice(2, n_units, p=WEIGHTS), [], []
    for unit, k in enumerate(modes):
        t = np.sort(rng.uniform(-1, 1, rng.integers(5, 16)))
        if unit < 2:
            t[0], t[-1] = -1, 1
        x = np.empty((t.size, 2))
        for c in range(2):
            b = CURVES[curves][k, c] + rng.standard_normal(2) * np.sqrt(VARIANCES[variances][k])
            x[:, c] = b[0] + b[1] * t + np.sqrt(NOISE[k, c]) * rng.standard_normal(t.size)
        times.append(t)
        values.append(x)
    return modes, times, values


def true_log_odds(curves: str, variances: str, t: np.ndarray, x: np.ndarray) -> float:
    """Of the first mode against the second for one unit, at the parameters that fleets are drawn from."""
    log_density = []
    for k in range(2):
        total = np.log(WEIGHTS[k])
        for c in range(2):
            design = np.column_stack([np.ones_like(t), t])
            covariance = design * VARIANCES[variances][k] @ design.T + NOISE[k, c] * np.eye(t.size)
            factor = np.linalg.cholesky(covariance)
            z = np.linalg.solve(factor, x[:, c] - design @ CURVES[curves][k, c])
            total -= 0.5 * z @ z + np.log(np.diag(factor)).sum()
        log_density.append(total)
    return float(log_density[0] - log_density[1])


def log_score(p: np.ndarray, is_first: np.ndarray) -> float:
    return float(-np.log(np.clip(np.where(is_first, p, 1 - p), 1e-9, 1)).mean())


def predicted(model: cem.FailureModeModel, first: int, new: tuple[Any, ...], oracle: np.ndarray) -> dict[str, float]:
    """Counts and scores of one model on the new units."""
    modes, times, values = new
    said = model.predict_proba(cem.Panel.from_arrays(times, values))
    p, truth = said[:, first], modes == 0
    top, right = np.maximum(p, 1 - p), (p > 0.5) == truth
    sure = top >= SURE
    seen = cem.Panel.from_arrays([t[:-1] for t in times], [x[:-1] for x in values])
    last_time, last = np.array([[t[-1]] for t in times]), np.array([x[-1, 0] for x in values])
    low, high = model.forecast(seen, last_time, channel=0).interval(LEVEL)
    return {
        "excess": log_score(p, truth) - log_score(1 / (1 + np.exp(-oracle)), truth),
        "sure": float(sure.sum()),
        "claimed": float((1 - top)[sure].sum()),
        "wrong": float((~right & sure).sum()),
        "novel": float((model.novelty(cem.Panel.from_arrays(times, values)) <= NOVEL).sum()),
        "held": float(((np.ravel(low) <= last) & (last <= np.ravel(high))).sum()),
    }


def row_of(curves: str, n_units: int, variances: str, seeds: range) -> list[dict[str, Any]]:
    """A row of figures without uncertainty, and one with it."""
    found: dict[str | None, list[dict[str, float]]] = {setting: [] for setting in SETTINGS}
    for seed in seeds:
        _, times, values = fleet_of(np.random.default_rng(seed), n_units, curves, variances)
        panel = cem.Panel.from_arrays(times, values)
        em = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, uncertainty="bootstrap").fit(panel)
        gaps = [np.abs(means - CURVES[curves]).sum() for means in (em.means_, em.means_[::-1])]
        new = fleet_of(np.random.default_rng(seed + NEW_SEED), N_NEW, curves, variances)
        oracle = np.array([true_log_odds(curves, variances, t, x) for t, x in zip(new[1], new[2], strict=True)])
        for setting, model in ((None, em.model_.without_uncertainty()), ("bootstrap", em.model_)):
            found[setting].append(predicted(model, int(gaps[0] > gaps[1]), new, oracle))
    rows = []
    for setting, fleets in found.items():
        of = {name: np.array([fleet[name] for fleet in fleets]) for name in fleets[0]}
        n, total = len(fleets), N_NEW * len(fleets)
        ratio = of["wrong"].sum() / of["claimed"].sum()
        error = np.sqrt(np.square(of["wrong"] - ratio * of["claimed"]).sum()) / of["claimed"].sum()
        rows.append(
            {
                "curves": curves,
                "units": n_units,
                "covariances": variances,
                "uncertainty": setting or "none",
                "fleets": n,
                "log_score_excess": round(float(of["excess"].mean()), 4),
                "log_score_excess_error": round(float(of["excess"].std() / np.sqrt(n)), 4),
                "sure": round(float(of["sure"].sum() / total), 4),
                "claimed": round(float(of["claimed"].sum() / of["sure"].sum()), 5),
                "wrong": round(float(of["wrong"].sum() / of["sure"].sum()), 5),
                "ratio": round(float(ratio), 3),
                "ratio_low": round(float(ratio - 1.96 * error), 3),
                "ratio_high": round(float(ratio + 1.96 * error), 3),
                "novel": round(float(of["novel"].sum() / total), 5),
                "novel_error": round(float(of["novel"].std() / N_NEW / np.sqrt(n)), 5),
                "held": round(float(of["held"].sum() / total), 4),
                "held_error": round(float(of["held"].std() / N_NEW / np.sqrt(n)), 4),
            }
        )
    return rows


def shown(row: dict[str, Any]) -> str:
    return (
        f"{row['curves']:5} {row['units']:4} {row['covariances']:6} {row['uncertainty']:9} "
        f"log score above the truth's {row['log_score_excess']:.4f} +- {row['log_score_excess_error']:.4f}  "
        f"of {100 * row['sure']:.0f} % sure: claimed {row['claimed']:.4f}, wrong {row['wrong']:.4f}, "
        f"ratio {row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]  "
        f"novelty <= .01: {100 * row['novel']:.2f} % +- {100 * row['novel_error']:.2f}  "
        f"90 % forecasts hold {100 * row['held']:.1f} % +- {100 * row['held_error']:.1f}"
    )


def main() -> None:
    options = harness.arguments(
        __doc__,
        fleets=("fleets of each kind", 80),
        evaluate=("1: the seeds of evaluation, 9000 and above", 0),
        only=("this row only, from 1; 0: all", 0),
    )
    first = 9000 if options.evaluate else 1000
    n_fleets = 4 if options.quick else options.fleets
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.errors.CemWarning)
        for number, setting in enumerate(ROWS, 1):
            if options.only in (0, number):
                for row in row_of(*setting, range(first, first + n_fleets)):
                    print(shown(row), flush=True)
                    rows.append(row)
    harness.write_results(__file__, options, rows)


if __name__ == "__main__":
    main()
