"""How sure predictions are and how right, with the parameters taken as known and with their uncertainty.

    python benchmarks/overconfidence.py --fleets 80                   # development seeds, 1000 and above
    python benchmarks/overconfidence.py --fleets 400 --evaluate 2     # seeds 9600 and above, for evaluation only

Five kinds of fleets of two modes: how far their curves are apart, how many units, and whether the modes have the same
covariances. Each fleet is fitted twice, without uncertainty and with that of the bootstrap, and 60 new units of the
same law are predicted. Reported are the log score of the true mode above that of the true parameters; among calls of a
probability of 0.95 and more the errors that they claim, those that they make, and their ratio with its 95 % interval by
fleets; the share of units with a novelty of 0.01 and less; and how many 90 % forecasts of a unit's last reading, from
the others, hold it. An interrupted run goes on from its file of progress (``--output`` with ``.progress``).
"""

from __future__ import annotations

from common.two_modes import (
    N_NEW,
    Kind,
    NewUnits,
    excess,
    first_mode,
    measure,
    new_units,
    panel_of,
)

import warnings  # isort: skip
from typing import Any

import numpy as np

import cem

SURE, LEVEL, NOVEL = 0.95, 0.9, 0.01
SETTINGS = ("none", "bootstrap")


def predicted(model: cem.FailureModeModel, first: int, new: NewUnits) -> dict[str, float]:
    """Counts and scores of one model on the new units."""
    p, truth = model.predict_proba(new.panel)[:, first], new.modes == 0
    top, right = np.maximum(p, 1 - p), (p > 0.5) == truth
    sure = top >= SURE
    seen = cem.Panel.from_arrays([t[:-1] for t in new.times], [x[:-1] for x in new.values])
    last_time, last = np.array([[t[-1]] for t in new.times]), np.array([x[-1, 0] for x in new.values])
    low, high = model.forecast(seen, last_time, channel=0).interval(LEVEL)
    return {
        "excess": excess(p, new),
        "sure": float(sure.sum()),
        "claimed": float((1 - top)[sure].sum()),
        "wrong": float((~right & sure).sum()),
        "novel": float((model.novelty(new.panel) <= NOVEL).sum()),
        "held": float(((np.ravel(low) <= last) & (last <= np.ravel(high))).sum()),
    }


def one_fleet(task: tuple[int, Kind]) -> dict[str, dict[str, float]]:
    """The same of one fleet, without uncertainty and with it."""
    seed, kind = task
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, uncertainty="bootstrap")
        em.fit(panel_of(seed, kind))
        models = {"none": em.model_.without_uncertainty(), "bootstrap": em.model_}
        new, first = new_units(seed, kind), first_mode(em, kind)
        return {setting: predicted(models[setting], first, new) for setting in SETTINGS}


def rows_of(kind: Kind, fleets: list[dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """A row of figures without uncertainty, and one with it."""
    rows = []
    for setting in SETTINGS:
        of = {name: np.array([fleet[setting][name] for fleet in fleets]) for name in fleets[0][setting]}
        n, total = len(fleets), N_NEW * len(fleets)
        ratio = of["wrong"].sum() / of["claimed"].sum()
        error = np.sqrt(np.square(of["wrong"] - ratio * of["claimed"]).sum()) / of["claimed"].sum()
        rows.append(
            {
                "curves": kind[0],
                "units": kind[1],
                "covariances": kind[2],
                "uncertainty": setting,
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


def shown(kind: Kind, fleets: list[dict[str, dict[str, float]]]) -> None:
    for row in rows_of(kind, fleets):
        print(line_of(row), flush=True)


def line_of(row: dict[str, Any]) -> str:
    return (
        f"{row['curves']:5} {row['units']:4} {row['covariances']:6} {row['uncertainty']:9} "
        f"log score above the truth's {row['log_score_excess']:.4f} +- {row['log_score_excess_error']:.4f}  "
        f"of {100 * row['sure']:.0f} % sure: claimed {row['claimed']:.4f}, wrong {row['wrong']:.4f}, "
        f"ratio {row['ratio']:.2f} [{row['ratio_low']:.2f}, {row['ratio_high']:.2f}]  "
        f"novelty <= .01: {100 * row['novel']:.2f} % +- {100 * row['novel_error']:.2f}  "
        f"90 % forecasts hold {100 * row['held']:.1f} % +- {100 * row['held_error']:.1f}"
    )


def main() -> None:
    measure(__file__, __doc__, one_fleet, rows_of, shown, 80)


if __name__ == "__main__":
    main()
