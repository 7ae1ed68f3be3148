"""What shrunk covariances are worth: predictions of new units by a default fit, and by full and pooled covariances.

    python benchmarks/shrinkage.py                                  # development seeds, 1000 and above
    python benchmarks/shrinkage.py --fleets 400 --evaluate 1        # seeds 9000 and above, for evaluation only

Five kinds of fleets of two modes. Each fleet is fitted with default options, with full and with pooled covariances, and
60 new units of the same law are predicted. Reported are the log score of the true mode above that of the true
parameters, paired by fleets; the default's divided by that of the better of the two others, whose target is 1.1; the
weight that was chosen; and the processor time of a default fit divided by that of one with full covariances, both in
turn in one run, the median over fleets. An interrupted run goes on from its file of progress (``--output`` with
``.progress``).
"""

from __future__ import annotations

from common import harness

import warnings  # isort: skip
from typing import Any

import numpy as np
from common.two_modes import (
    Kind,
    excess,
    first_mode,
    measure,
    new_units,
    panel_of,
)

import cem

SETTINGS = ("auto", "full", "pooled")
_WARM: list[bool] = []  # whether this process has made a fit: the first one imports what all need


def one_fleet(task: tuple[int, Kind]) -> dict[str, float]:
    """Log scores above the truth's, processor seconds, and the weight of the default fit."""
    seed, kind = task
    panel, new = panel_of(seed, kind), new_units(seed, kind)
    order = SETTINGS if seed % 2 else SETTINGS[::-1]
    fits: dict[str, tuple[cem.FailureModeEM, float]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        for covariance in order if _WARM else (*SETTINGS, *order):
            em = cem.FailureModeEM(2, basis=cem.Polynomial(1), covariance=covariance, random_state=0)
            _, _, seconds = harness.once(lambda em=em: em.fit(panel))
            fits[covariance] = (em, seconds)
    _WARM.append(True)
    found: dict[str, float] = {"weight": fits["auto"][0].shrinkage_}
    for covariance, (em, seconds) in fits.items():
        found[covariance] = excess(em.predict_proba(new.panel)[:, first_mode(em, kind)], new)
        found[f"{covariance}_seconds"] = seconds
    return found


def row_of(kind: Kind, fleets: list[dict[str, float]]) -> dict[str, Any]:
    """Figures of one kind of fleet."""
    of = {name: np.array([fleet[name] for fleet in fleets]) for name in fleets[0]}
    n = len(fleets)
    row: dict[str, Any] = {"curves": kind[0], "units": kind[1], "covariances": kind[2], "fleets": n}
    for covariance in SETTINGS:
        row[covariance] = round(float(of[covariance].mean()), 5)
        row[f"{covariance}_error"] = round(float(of[covariance].std() / np.sqrt(n)), 5)
    better = "full" if row["full"] <= row["pooled"] else "pooled"
    ratio = of["auto"].mean() / of[better].mean()
    error = (of["auto"] - ratio * of[better]).std() / abs(of[better].mean()) / np.sqrt(n)
    row |= {
        "better": better,
        "ratio": round(float(ratio), 3),
        "ratio_error": round(float(error), 3),
        "weight": round(float(np.median(of["weight"])), 1),
        "time_by_full": round(float(np.median(of["auto_seconds"] / of["full_seconds"])), 2),
    }
    return row


def shown(kind: Kind, fleets: list[dict[str, float]]) -> None:
    row = row_of(kind, fleets)
    scores = "  ".join(f"{name} {row[name]:.4f} +- {row[f'{name}_error']:.4f}" for name in SETTINGS)
    print(
        f"{row['curves']:5} {row['units']:4} {row['covariances']:6} {scores}  default by {row['better']} "
        f"{row['ratio']:.2f} +- {row['ratio_error']:.2f}  weight {row['weight']:.0f}  "
        f"time by full {row['time_by_full']:.1f}",
        flush=True,
    )


def main() -> None:
    measure(__file__, __doc__, one_fleet, lambda kind, fleets: [row_of(kind, fleets)], shown, 100)


if __name__ == "__main__":
    main()
