"""What a candidate of `choose_basis` loses on units that were left out: on their lives, or on their later readings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import FitError
from cem.fitting.estimator import FailureModeEM
from cem.metrics.metrics import crps_pmf
from cem.numerics.normal import normal_cdf
from cem.prognosis.distribution import over_modes
from cem.prognosis.heldout import hold_out, in_fold
from cem.prognosis.remaining_life import RemainingLife

if TYPE_CHECKING:
    from cem.mixture.prediction import Forecast
    from cem.mixture.process_forecast import Level
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["SHARES", "Losses", "losses_of"]

FloatArray = NDArray[np.float64]

SHARES = (0.25, 0.5, 0.75)
"""Shares of a unit's record after which its later readings are forecast."""
_MOST_LATER = 8
"""Readings forecast from each of these, spread evenly over what is left of the record."""


@dataclass(frozen=True, eq=False)
class Losses:
    """What a candidate loses on each unit that was left out, and how large its model is.

    Parameters
    ----------
    values : ndarray of shape (L,)
        Mean over the unit's cut-offs; smaller is better.
    n_parameters : int
        Free parameters of the largest of the folds' fits.
    """

    values: FloatArray
    n_parameters: int


def losses_of(
    estimator: FailureModeEM,
    panel: Panel,
    fold_of: NDArray[np.int64],
    score: str,
    cuts: FloatArray,
    cap: float | None,
) -> Losses:
    """Fit without each fold, and score the fold.

    Parameters
    ----------
    estimator : FailureModeEM
        A candidate; it is not changed.
    panel : Panel
        All training units.
    fold_of : ndarray of shape (F,) or (L,), int64
        The fold of each unit that failed, or on the forward axis of each unit.
    score : {"crps", "rmse", "forecast", "log_likelihood"}
        Of lives: the continuous ranked probability score, or the square of the error of E[min(r, cap)]. Of later
        readings: the CRPS of each in standard deviations of its channel, or minus the log density of them together.
    cuts : ndarray of shape (F, m)
        Ages at which failed units are cut off; not used on the forward axis.
    cap : float or None
        Of "rmse".

    Raises
    ------
    CemError
        A fold could not be fitted or scored.
    KeyboardInterrupt
        A fit was interrupted: it would count as a bad one.
    """
    sizes = [0]

    def fitted(part: Panel) -> FailureModeModel:
        em = FailureModeEM(**estimator.get_params(deep=False)).fit(part)
        if em.interrupted_:
            raise KeyboardInterrupt
        sizes.append(em.n_parameters_)
        return em.model_

    if score in ("crps", "rmse"):
        values = _of_lives(panel, fitted, fold_of, cuts, score, cap)
    else:
        scales = np.nanstd(panel.values, axis=0)
        values = np.empty(panel.n_units)
        for fold in range(int(fold_of.max()) + 1):
            held = np.flatnonzero(fold_of == fold)
            with in_fold(fold, fold_of):
                model = fitted(panel[fold_of != fold])
                own = panel[held].with_modes(None).select_channels(model.channels)
                if score == "forecast":
                    of_channel = scales[[panel.channels.index(name) for name in model.channels]]
                    values[held] = np.mean([_of_forecasts(model, own, s, of_channel) for s in SHARES], axis=0)
                else:
                    values[held] = np.mean([_of_densities(model, own, share) for share in SHARES], axis=0)
    if not np.isfinite(values).all():
        raise FitError("predictions of units that were left out are not finite")
    return Losses(values, max(sizes))


def _of_lives(
    panel: Panel,
    fitted: Callable[[Panel], FailureModeModel],
    fold_of: NDArray[np.int64],
    cuts: FloatArray,
    score: str,
    cap: float | None,
) -> FloatArray:
    """Mean over the cut-offs of each failed unit, (F,)."""
    held = hold_out(panel, lambda part: RemainingLife(fitted(part)), cuts, fold_of)
    sums = np.zeros(len(fold_of))
    for fold in held.folds:
        law = fold.law()
        if score == "crps":
            lost = crps_pmf(fold.truth, law.grid, over_modes(law.pmf))
        else:
            lost = np.square(law.mean(cap) - (fold.truth if cap is None else np.minimum(fold.truth, cap)))
        sums += np.bincount(fold.positions, lost, len(fold_of))
    return np.asarray(sums / cuts.shape[1])


def _until(panel: Panel, share: float) -> tuple[Panel, FloatArray]:
    """The units until a share of their records, of each its first reading at least; and the ends of these, (L,)."""
    ends = np.asarray(panel.offsets)
    first, last = panel.times[ends[:-1]], panel.times[ends[1:] - 1]
    cut = first + share * (last - first)
    return panel.until(cut), cut


def _of_densities(model: FailureModeModel, panel: Panel, share: float) -> FloatArray:
    """−ln P(later readings | earlier ones) of each unit, per reading."""
    seen, _ = _until(panel, share)
    cells = np.isfinite(panel.values).sum() - np.isfinite(seen.values).sum()
    lost: FloatArray = (model.score_samples(seen) - model.score_samples(panel)) * (panel.n_units / max(int(cells), 1))
    return lost


def _of_forecasts(model: FailureModeModel, panel: Panel, share: float, scales: FloatArray) -> FloatArray:
    """Mean CRPS of later readings of each unit, in standard deviations of their channels."""
    seen, cut = _until(panel, share)
    ends = np.asarray(panel.offsets)
    rows = np.zeros((panel.n_units, _MOST_LATER), dtype=np.int64)
    there = np.zeros(rows.shape, dtype=np.bool_)
    for unit, (first, last) in enumerate(pairwise(ends.tolist())):
        later = first + np.flatnonzero(panel.times[first:last] > cut[unit])
        later = later[np.linspace(0, len(later) - 1, min(_MOST_LATER, len(later))).round().astype(np.int64)]
        rows[unit, : len(later)], rows[unit, len(later) :] = later, last - 1
        there[unit, : len(later)] = True
    times = panel.times[rows]
    total, count = np.zeros(panel.n_units), np.zeros(panel.n_units)
    for c, forecast in enumerate(_forecasts(model, seen, times)):
        truth = panel.values[rows, c]
        known = there & np.isfinite(truth)
        lost = crps_of_normals(np.where(known, truth, 0.0), forecast)
        total += np.where(known, lost, 0.0).sum(axis=1) / scales[c]
        count += known.sum(axis=1)
    return np.asarray(total / np.maximum(count, 1.0))


def _forecasts(model: FailureModeModel, seen: Panel, times: FloatArray) -> Iterator[Forecast]:
    """`FailureModeModel.forecast` of every channel, from readings that are compressed once."""
    aligned = model._aligned(seen)
    statistics = model.compressed(aligned)
    for channel in range(model.n_channels):
        level: tuple[Level | None, ...] = ()
        if model.processes is not None:
            from cem.mixture.process_forecast import level_at

            level = (level_at(model, aligned, channel, times),)
        yield model._forecast_of(statistics, channel, times, times, True, None, *level)


def crps_of_normals(truth: FloatArray, forecast: Forecast) -> FloatArray:
    """CRPS of mixtures of normal distributions, (L, m): E|X − x| − E|X − X'| / 2.

    Parameters
    ----------
    truth : ndarray of shape (L, m)
        Outcomes.
    forecast : Forecast
        Of L units at m times.
    """
    weights = forecast.weights[:, :, None]
    means, variances = forecast.mode_means, np.maximum(forecast.mode_variances, 0.0)
    apart = (weights * _mean_distance(truth[:, None] - means, variances)).sum(axis=1)
    within = np.zeros(truth.shape)
    for k in range(means.shape[1]):
        between = _mean_distance(means[:, k, None] - means, variances[:, k, None] + variances)
        within += weights[:, k] * (weights * between).sum(axis=1)
    return np.asarray(apart - 0.5 * within)


def _mean_distance(gap: FloatArray, variance: FloatArray) -> FloatArray:
    """E|Z| of normal Z with this mean and variance."""
    spread = np.sqrt(np.maximum(variance, 1e-300))
    z = gap / spread
    density = np.exp(-0.5 * np.square(z)) / np.sqrt(2.0 * np.pi)
    return np.asarray(2.0 * spread * density + gap * (2.0 * normal_cdf(z) - 1.0))
