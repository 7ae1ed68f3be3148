"""Coverage and scores of predictions where some units were still running when last seen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from cem.metrics.metrics import cluster_standard_error
from cem.mixture.life_law import RemainingLifeLaw
from cem.numerics.floating import underflow_is_zero
from cem.prognosis.censored import Outcomes, kaplan_meier, pit_of
from cem.prognosis.reliability import LEVELS, THIRDS, ByLife, Reliability

__all__ = ["reliability_of_running", "scores_of_laws"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_RESAMPLES = 500


@underflow_is_zero
def reliability_of_running(laws: Sequence[RemainingLifeLaw], outcomes: Outcomes) -> Reliability:
    """See `cem.calibration.reliability`; `outcomes` says since when each unit was followed.

    Parameters
    ----------
    laws : sequence of RemainingLifeLaw
        All predictions.
    outcomes : Outcomes
        Of all of them.
    """
    parts, laws = list(laws), list(laws)
    clusters = outcomes.clusters
    found = [
        pit_of(law, own, still)
        for law, own, still in zip(
            parts, outcomes.parts(outcomes.lives, laws), outcomes.parts(outcomes.running, laws), strict=True
        )
    ]
    pit, open_ended = (np.concatenate(column) for column in zip(*found, strict=True))
    # One search for all quantiles: those of a law of first passage are found by halving.
    sides = [0.5 - 0.5 * level for level in LEVELS]
    levels = [0.5, *sides, *(1.0 - side for side in sides)]
    quantiles = np.concatenate([law.quantile(levels) for law in laws]).T
    medians = np.minimum(quantiles[0], outcomes.cap)
    thirds = np.array_split(np.argsort(medians, kind="stable"), len(THIRDS))
    by_third = all(len(np.unique(clusters[third])) > 1 for third in thirds)
    coverage, errors, widths, scores = {}, {}, {}, {}
    third_shares: dict[float, tuple[float, ...]] = {}
    third_errors: dict[float, tuple[float, ...]] = {}
    counts = _resampled(clusters)
    for level, low, high in zip(LEVELS, *np.split(quantiles[1:], 2), strict=True):
        inside, still = _seen(pit, open_ended, outcomes.lives, low, high, level)
        coverage[level], errors[level] = _share(pit, still, inside, counts)
        widths[level] = float(np.mean(np.minimum(high, outcomes.cap) - np.minimum(low, outcomes.cap)))
        scores[level] = float(outcomes.interval_scores(low, high, level).mean())
        if by_third:
            cells = [_share(pit[i], still[i], inside[i], counts[:, i]) for i in thirds]
            third_shares[level], third_errors[level] = (tuple(column) for column in zip(*cells, strict=True))
    bounds = [0.5 * float(medians[left[-1]] + medians[right[0]]) for left, right in pairwise(thirds) if by_third]
    masses = kaplan_meier(pit, open_ended)
    crps, means = outcomes.crps_and_means(laws)
    return Reliability(
        coverage, errors, widths, scores,
        crps=float(crps.mean()),
        pit=tuple(np.histogram(pit, bins=10, range=(0.0, 1.0), weights=masses)[0].tolist()),
        n_units=len(np.unique(clusters)),
        n_predictions=len(pit),
        rmse=float(np.sqrt(outcomes.errors(means, 1).mean())),
        by_life=ByLife((bounds[0], bounds[1]), tuple(map(len, thirds)), third_shares, third_errors) if by_third else None,
        n_running=len(np.unique(clusters[outcomes.running])),
    )  # fmt: skip


@underflow_is_zero
def scores_of_laws(laws: Sequence[RemainingLifeLaw], outcomes: Outcomes, within: float) -> dict[str, float]:
    """Mean scores of predictions, by the names that `cem.selection.Scored` gives them.

    Parameters
    ----------
    laws : sequence of RemainingLifeLaw
        All predictions.
    outcomes : Outcomes
        Of all of them.
    within : float
        Time ahead, of the Brier score.
    """
    parts = list(laws)
    lives, running = (outcomes.parts(values, parts) for values in (outcomes.lives, outcomes.running))
    found = [pit_of(law, own, still) for law, own, still in zip(parts, lives, running, strict=True)]
    pit, open_ended = (np.concatenate(column) for column in zip(*found, strict=True))
    low, median, high = np.concatenate([law.quantile([0.05, 0.5, 0.95]) for law in parts]).T
    inside, still = _seen(pit, open_ended, outcomes.lives, low, high, 0.9)
    crps, means = outcomes.crps_and_means(parts)
    squares = outcomes.errors(means, 1)
    value = float(np.sqrt(squares.mean()))
    density = np.concatenate([law.pdf(own[:, None])[:, 0] for law, own in zip(parts, lives, strict=True)])
    brier = outcomes.brier(np.concatenate([law.failure_probability(within) for law in parts]).ravel(), within)
    return {
        "rmse": value,
        # Delta method: from the error of the mean square to that of its root.
        "rmse_standard_error": cluster_standard_error(squares, outcomes.clusters) / (2.0 * max(value, 1e-300)),
        "crps": float(crps.mean()),
        "log_score": float(-np.log(np.maximum(np.where(open_ended, 1.0 - pit, density), 1e-300)).mean()),
        "mae": float(outcomes.errors(median).mean()),
        "coverage_90": _share(pit, still, inside, None)[0],
        "brier": float(brier.mean()) if len(brier) else float("nan"),
    }


def _seen(
    pit: FloatArray, open_ended: BoolArray, lives: FloatArray, low: FloatArray, high: FloatArray, level: float
) -> tuple[BoolArray, BoolArray]:
    """Whether the value seen is inside the interval, and whether the life lies beyond it, unknown where.

    An interval without an upper end holds whatever lies beyond.
    """
    sure = open_ended & np.isinf(high) & (lives >= low)
    inside = ((pit >= 0.5 - 0.5 * level) & (pit <= 0.5 + 0.5 * level)) | sure
    return inside, open_ended & ~sure


def _share(pit: FloatArray, still: BoolArray, inside: BoolArray, counts: FloatArray | None) -> tuple[float, float]:
    """Mass inside, and its standard error; what lies beyond all that was seen is outside: it was not held by anyone."""
    share = float(kaplan_meier(pit, still)[inside].sum())
    if counts is None:
        return share, float("nan")
    drawn = counts.sum(axis=1) > 0
    return share, float(np.std(kaplan_meier(pit, still, counts[drawn])[:, inside].sum(axis=1), ddof=1))


def _resampled(clusters: NDArray[np.int64]) -> FloatArray:
    """How often each prediction is drawn in each resample of units, (B, n)."""
    names, unit = np.unique(clusters, return_inverse=True)
    even = np.full(len(names), 1.0 / len(names))
    drawn = np.random.default_rng(0).multinomial(len(names), even, _RESAMPLES)
    return np.asarray(drawn[:, unit], dtype=np.float64)
