"""Metrics of a prognosis: errors, proper scores, coverage.

Metrics of a whole set of predictions (`rmse`, `mae`, `nasa_score`, `cumulative_relative_accuracy`) are floats. Scores
of single predictions (`crps_sample`, `pinball_loss`, `brier_score`, ...) keep the shape of the outcomes, so that you
can average, weight, or resample them by unit (`cluster_standard_error`). Of all scores, smaller is better. Times and
remaining lives are in the panel's time unit.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.errors.options import floats
from cem.numerics.floating import underflow_is_zero

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


# ---- checks of every metric ------------------------------------------------------------------------------------


def _finite(name: str, values: ArrayLike) -> FloatArray:
    """The argument as floats; an OptionError names the first entry that is NaN or infinite."""
    array = floats(name, values)
    if array.size == 0:
        raise OptionError(f"{name} is empty; at least one number was expected")
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise OptionError(
            f"{name} is {array[place]} at index {place}; give finite numbers, or leave that prediction out"
        )
    return array


def _pair(truth: ArrayLike, predicted: ArrayLike, cap: float | None = None) -> tuple[FloatArray, FloatArray]:
    """Truth and prediction of one shape, both capped."""
    true, guess = _finite("truth", truth), _finite("predicted", predicted)
    if true.shape != guess.shape:
        raise OptionError(f"truth has shape {true.shape} and predicted {guess.shape}; one shape was expected")
    if cap is not None:
        if not cap > 0:
            raise OptionError(f"cap is {cap}; a positive number was expected")
        true, guess = np.minimum(true, cap), np.minimum(guess, cap)
    return true, guess


def _fraction(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise OptionError(f"{name} is {value}; a number between 0 and 1, both excluded, was expected")
    return float(value)


# ---- errors of point predictions -------------------------------------------------------------------------------


def rmse(truth: ArrayLike, predicted: ArrayLike, *, cap: float | None = None) -> float:
    """Return the root mean square error.

    Parameters
    ----------
    truth, predicted : array_like of one shape
        True and predicted remaining lives.
    cap : float, optional
        Both are cut at this value first: the piecewise-linear target of Heimes (2008, "Recurrent neural networks
        for remaining useful life estimation", PHM08), 125 cycles in the usual C-MAPSS protocol.

    Raises
    ------
    OptionError
        The shapes differ or a number is not finite.

    Examples
    --------
    >>> import cem
    >>> cem.metrics.rmse([100.0, 20.0], [110.0, 20.0])
    7.0710678118654755
    """
    true, guess = _pair(truth, predicted, cap)
    return float(np.sqrt(np.mean(np.square(guess - true))))


def mae(truth: ArrayLike, predicted: ArrayLike, *, cap: float | None = None) -> float:
    """Return the mean absolute error; arguments as for `rmse`.

    Parameters
    ----------
    truth, predicted, cap
        As for `rmse`.
    """
    true, guess = _pair(truth, predicted, cap)
    return float(np.mean(np.abs(guess - true)))


def nasa_score(truth: ArrayLike, predicted: ArrayLike, *, cap: float | None = None) -> float:
    """Return Σ exp(−d/13) − 1 for d = predicted − true < 0 (early), plus Σ exp(d/10) − 1 for d ≥ 0 (late).

    It is a sum, not a mean, in cycles: it grows with the number of units, and one late prediction can dominate it.
    Arguments as for `rmse`.

    Parameters
    ----------
    truth, predicted, cap
        As for `rmse`.

    References
    ----------
    Saxena, Goebel, Simon, Eklund (2008), "Damage propagation modeling for aircraft engine run-to-failure
    simulation", PHM08.
    """
    true, guess = _pair(truth, predicted, cap)
    late = guess - true
    with np.errstate(over="ignore"):  # a prediction 7,000 cycles late scores inf, correctly
        return float(np.sum(np.expm1(np.where(late < 0, -late / 13.0, late / 10.0))))


def relative_accuracy(truth: ArrayLike, predicted: ArrayLike) -> FloatArray:
    """Return ``1 − |true − predicted| / true`` of each prediction: 1 is perfect, and it may be below 0.

    Parameters
    ----------
    truth, predicted : array_like
        Remaining lives, of the same shape.

    Raises
    ------
    OptionError
        A true remaining life is not above 0: at the failure itself the metric has no value.

    References
    ----------
    Saxena, Celaya, Saha, Saha, Goebel (2010), "Metrics for offline evaluation of prognostic performance",
    International Journal of Prognostics and Health Management 1(1).
    """
    true, guess = _pair(truth, predicted)
    if np.any(true <= 0):
        place = tuple(int(i) for i in np.argwhere(true <= 0)[0])
        raise OptionError(f"truth is {true[place]} at index {place}; leave out times at or after the failure")
    return 1.0 - np.abs(true - guess) / true


def cumulative_relative_accuracy(truth: ArrayLike, predicted: ArrayLike, *, weights: ArrayLike | None = None) -> float:
    """Return the weighted mean of `relative_accuracy` over the predictions for a unit.

    Parameters
    ----------
    truth, predicted : array_like of one shape
        True and predicted remaining lives, all above 0.
    weights : array_like of the same shape, optional
        Weight of each prediction, for example heavier towards the failure. Only their ratios count, so perfect
        predictions score 1. Equal by default.

    References
    ----------
    Saxena et al. (2010), as in `relative_accuracy`, where the weighted sum is divided by the number of predictions.
    """
    accuracy = relative_accuracy(truth, predicted)
    if weights is None:
        return float(np.mean(accuracy))
    shares = _finite("weights", weights)
    if shares.shape != accuracy.shape or np.any(shares < 0) or not np.sum(shares) > 0:
        raise OptionError(
            f"weights must be of shape {accuracy.shape}, none negative and not all zero; found shape {shares.shape}"
        )
    return float(np.sum(shares * accuracy) / np.sum(shares))


def alpha_lambda_accuracy(truth: ArrayLike, predicted: ArrayLike, *, alpha: float = 0.2) -> BoolArray:
    """Return whether each prediction lies in the cone (1 − α) true ≤ predicted ≤ (1 + α) true.

    You choose λ, the moment of evaluation (half of life, say), by the predictions that you pass.

    Parameters
    ----------
    truth, predicted : array_like
        Remaining lives, of the same shape.
    alpha : float
        Half the width of the cone, as a fraction of the true remaining life.

    References
    ----------
    Saxena et al. (2010), as in `relative_accuracy`.
    """
    true, guess = _pair(truth, predicted)
    return np.abs(guess - true) <= _fraction("alpha", alpha) * true


@underflow_is_zero
def alpha_lambda_probability(truth: ArrayLike, grid: ArrayLike, pmf: ArrayLike, *, alpha: float = 0.2) -> FloatArray:
    """Return the probability that each predictive distribution gives to the cone [(1 − α) true, (1 + α) true].

    The α–λ test with a criterion β is ``alpha_lambda_probability(...) >= beta``.

    Parameters
    ----------
    truth : array_like of shape (L,)
        True remaining lives.
    grid : array_like of shape (G,)
        Remaining lives, ascending.
    pmf : array_like of shape (L, G)
        Probability of each, rows summing to 1.
    alpha : float
        Half-width of the cone, as a fraction of the true remaining life.

    References
    ----------
    Saxena et al. (2010), as in `relative_accuracy`.
    """
    true, points, masses = _law(truth, grid, pmf)
    inside = np.abs(points - true[..., None]) <= _fraction("alpha", alpha) * true[..., None]
    shares: FloatArray = np.sum(masses * inside, axis=-1)
    return shares


def prognostic_horizon(
    times: ArrayLike, predicted: ArrayLike, failure_time: float, *, alpha: float = 0.05, lasting: bool = False
) -> float:
    """Return how long before its failure a unit's predictions first come within ± α · failure_time of the truth.

    Parameters
    ----------
    times : array_like of shape (n,)
        Times of the predictions, ascending, none after the failure.
    predicted : array_like of shape (n,)
        Remaining lives predicted at these times.
    failure_time : float
        Age at which the unit failed (end of life).
    alpha : float
        Half-width of the band, as a fraction of the life; it does not shrink towards the failure.
    lasting : bool
        True: count from when the predictions stay in the band to the last one. False: from the first entry, as
        published.

    Returns
    -------
    float
        failure_time − time of the first such prediction; 0 if there is none.

    References
    ----------
    Saxena et al. (2010), as in `relative_accuracy`.
    """
    moments, guess = _pair(times, predicted)
    end = float(_finite("failure_time", failure_time))
    if moments.ndim != 1 or np.any(np.diff(moments) < 0) or moments[-1] > end:
        raise OptionError("times must be one ascending sequence that ends at or before failure_time")
    inside = np.abs(guess - (end - moments)) <= _fraction("alpha", alpha) * end
    first = _first(inside, lasting)
    return 0.0 if first is None else float(end - moments[first])


def _first(right: BoolArray, lasting: bool) -> int | None:
    """Index of the first True, or of the first True after which all are True."""
    if lasting:
        wrong = np.flatnonzero(~right)
        start = int(wrong[-1]) + 1 if len(wrong) else 0
        return start if start < len(right) else None
    hits = np.flatnonzero(right)
    return int(hits[0]) if len(hits) else None


# ---- scores of predictive distributions ------------------------------------------------------------------------


def _law(truth: ArrayLike, grid: ArrayLike, pmf: ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Outcomes (L,), grid (G,) or (L, G), masses (L, G), checked; sums within 1e-6 of 1 are made exact."""
    true, points, masses = _finite("truth", truth), _finite("grid", grid), _finite("pmf", pmf)
    if points.ndim == 0 or points.shape[:-1] not in ((), true.shape) or np.any(np.diff(points, axis=-1) <= 0):
        raise OptionError("grid must be one strictly ascending sequence of remaining lives, or one for each outcome")
    if masses.shape != (*true.shape, points.shape[-1]):
        raise OptionError(f"pmf has shape {masses.shape}; {(*true.shape, points.shape[-1])} was expected")
    totals = masses.sum(axis=-1)
    if np.any(masses < 0) or np.any(np.abs(totals - 1) > 1e-6):
        raise OptionError(
            f"pmf must have no negative entry and rows that sum to 1; sums lie in [{totals.min()}, {totals.max()}]"
        )
    return true, points, masses / totals[..., None]


def _crps_of_atoms(true: FloatArray, points: FloatArray, masses: FloatArray) -> FloatArray:
    """E|X − y| − ½ E|X − X'| of discrete distributions at ascending points; ½ E|X − X'| = ∫ F (1 − F)."""
    cdf = np.cumsum(masses, axis=-1)[..., :-1]
    spread = np.sum(cdf * (1.0 - cdf) * np.diff(points, axis=-1), axis=-1)
    scores: FloatArray = np.sum(masses * np.abs(points - true[..., None]), axis=-1) - spread
    return scores


@underflow_is_zero
def crps_sample(truth: ArrayLike, sample: ArrayLike, *, weights: ArrayLike | None = None) -> FloatArray:
    """Return the continuous ranked probability score of samples: ∫ (F(x) − 1{x ≥ true})² dx.

    Parameters
    ----------
    truth : array_like of shape (...,)
        Outcomes.
    sample : array_like of shape (..., m)
        Draws from the predictive distribution of each outcome.
    weights : array_like of shape (..., m), optional
        Weights of the draws, none negative, with a positive sum in every row; equal by default.

    Returns
    -------
    ndarray of shape (...,)
        In the unit of the outcomes; for a single draw, its absolute error.

    References
    ----------
    Gneiting, Raftery (2007), "Strictly proper scoring rules, prediction, and estimation", Journal of the American
    Statistical Association 102. This scores the empirical distribution (their energy form), without a correction for m.
    """
    true, draws = _finite("truth", truth), _finite("sample", sample)
    if draws.ndim == 0 or draws.shape[:-1] != true.shape:
        raise OptionError(f"sample has shape {draws.shape}; {true.shape} and one more axis, the draws, was expected")
    shares = np.ones_like(draws) if weights is None else _finite("weights", weights)
    if shares.shape != draws.shape or np.any(shares < 0) or not np.all(shares.sum(axis=-1) > 0):
        raise OptionError(f"weights must be of shape {draws.shape}, none negative, with a positive sum on every row")
    order = np.argsort(draws, axis=-1)
    masses = np.take_along_axis(shares, order, axis=-1)
    return _crps_of_atoms(true, np.take_along_axis(draws, order, axis=-1), masses / masses.sum(axis=-1, keepdims=True))


@underflow_is_zero
def crps_pmf(truth: ArrayLike, grid: ArrayLike, pmf: ArrayLike) -> FloatArray:
    """Return the continuous ranked probability score of distributions with probabilities on a grid.

    Parameters
    ----------
    truth : array_like of shape (L,)
        Outcomes; they need not lie on the grid.
    grid : array_like of shape (G,), or (L, G) for one of each distribution's own
        Strictly ascending.
    pmf : array_like of shape (L, G)
        Rows sum to 1. Sum a `RemainingLifeDistribution`'s pmf over modes first.

    Returns
    -------
    ndarray of shape (L,)

    References
    ----------
    As in `crps_sample`; exact for the discrete distribution, without quadrature.
    """
    return _crps_of_atoms(*_law(truth, grid, pmf))


def pinball_loss(truth: ArrayLike, quantile: ArrayLike, *, level: float) -> FloatArray:
    """Return level · (true − q) if the outcome lies above the predicted quantile q, (1 − level) · (q − true) below.

    Parameters
    ----------
    truth, quantile : array_like
        Outcomes and predicted quantiles, of the same shape.
    level : float
        Probability of the quantile.

    References
    ----------
    Koenker, Bassett (1978), "Regression quantiles", Econometrica 46.
    """
    true, guess = _pair(truth, quantile)
    over = true - guess
    return np.maximum(_fraction("level", level) * over, (level - 1.0) * over)


def _interval(lower: ArrayLike, upper: ArrayLike) -> tuple[FloatArray, FloatArray]:
    low, high = _finite("lower", lower), _finite("upper", upper)
    if low.shape != high.shape or np.any(low > high):
        raise OptionError("lower and upper must be of one shape, and lower nowhere above upper")
    return low, high


def interval_score(truth: ArrayLike, lower: ArrayLike, upper: ArrayLike, *, level: float) -> FloatArray:
    """Return the width of the interval plus 2/(1 − level) times the distance of the outcome outside it.

    Parameters
    ----------
    truth, lower, upper : array_like of one shape
        Outcomes, and the ends of central intervals.
    level : float
        Nominal probability of the interval: 0.9 for a 90 % interval.

    References
    ----------
    Gneiting, Raftery (2007), as in `crps_sample`; Winkler (1972), Journal of the American Statistical Association 67.
    """
    low, high = _interval(lower, upper)
    true, _ = _pair(truth, low)
    outside = np.maximum(low - true, 0.0) + np.maximum(true - high, 0.0)
    return (high - low) + 2.0 / (1.0 - _fraction("level", level)) * outside


def interval_coverage(truth: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the share of outcomes in [lower, upper], ends included.

    Parameters
    ----------
    truth, lower, upper : array_like
        Outcomes and ends of the intervals, of the same shape.

    References
    ----------
    Gneiting, Balabdaoui, Raftery (2007), "Probabilistic forecasts, calibration and sharpness", Journal of the Royal
    Statistical Society B 69.

    Examples
    --------
    >>> import cem
    >>> cem.metrics.interval_coverage([1.0, 5.0], [0.0, 0.0], [2.0, 2.0])
    0.5
    """
    low, high = _interval(lower, upper)
    true, _ = _pair(truth, low)
    return float(np.mean((low <= true) & (true <= high)))


def interval_width(lower: ArrayLike, upper: ArrayLike) -> float:
    """Return the mean width of the intervals (sharpness); read it together with `interval_coverage`.

    Parameters
    ----------
    lower, upper : array_like
        Ends of the intervals, of the same shape.

    References
    ----------
    As in `interval_coverage`.
    """
    low, high = _interval(lower, upper)
    return float(np.mean(high - low))


def binomial_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's confidence interval for a proportion, such as a coverage of ``successes`` in ``n`` units.

    Parameters
    ----------
    successes : int
        How many of the `n` are inside.
    n : int
        Number of trials.
    level : float
        Confidence of the interval.

    References
    ----------
    Wilson (1927), "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22.
    """
    if not 0 <= successes <= n or n < 1:
        raise OptionError(f"successes is {successes} of n = {n}; 0 <= successes <= n and n >= 1 was expected")
    return _wilson(successes / n, n, level)


def _wilson(share: float, n: float, level: float) -> tuple[float, float]:
    """Wilson's interval for a proportion that was found to be `share` in n trials, or in what weights make of them."""
    z = NormalDist().inv_cdf(0.5 + _fraction("level", level) / 2.0)
    slack = z * z / n
    centre = (share + slack / 2.0) / (1.0 + slack)
    half = z * np.sqrt(share * (1.0 - share) / n + slack / (4.0 * n)) / (1.0 + slack)
    # At shares of 0 and 1 the formula gives 0 and 1, up to rounding.
    return (float(centre - half) if share > 0 else 0.0, float(centre + half) if share < 1 else 1.0)


def cluster_standard_error(
    values: ArrayLike, clusters: Sequence[Hashable] | NDArray[Any], *, n_resamples: int = 2000, random_state: int = 0
) -> float:
    """Return the bootstrap standard error of the mean of ``values`` that are correlated within clusters.

    Ten cut-offs of one engine are not ten engines: whole clusters (units) are drawn with replacement.

    Parameters
    ----------
    values : array_like of shape (n,)
        One number per prediction: a score, or 1.0 if the interval held the outcome.
    clusters : sequence of n hashables
        Unit of each prediction.
    n_resamples, random_state : int
        Number of resamples, and the seed.

    References
    ----------
    Field, Welsh (2007), "Bootstrapping clustered data", Journal of the Royal Statistical Society B 69.
    """
    figures = _finite("values", values)
    if figures.ndim != 1 or len(clusters) != len(figures):
        raise OptionError(
            f"clusters has {len(clusters)} entries and values shape {figures.shape}; one each was expected"
        )
    places: dict[Hashable, int] = {}
    index = np.array([places.setdefault(cluster, len(places)) for cluster in clusters])
    if len(places) < 2:
        raise OptionError("clusters holds a single unit; a standard error needs at least two")
    sums, counts = np.bincount(index, figures), np.bincount(index)
    drawn = np.random.default_rng(random_state).integers(len(places), size=(n_resamples, len(places)))
    return float(np.std(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), ddof=1))


# ---- mode probabilities ----------------------------------------------------------------------------------------


def _classes(truth: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.int64], FloatArray]:
    """Numbers of the true modes (L,) and probabilities (L, K), checked."""
    chances = _finite("probabilities", probabilities)
    modes = np.asarray(truth)
    if chances.ndim < 1 or modes.shape != chances.shape[:-1]:
        raise OptionError(
            f"truth has shape {modes.shape}; {chances.shape[:-1]} was expected, as probabilities (..., K)"
        )
    if modes.dtype.kind not in "iu" or np.any(modes < 0) or np.any(modes >= chances.shape[-1]):
        raise OptionError(f"truth must hold mode numbers 0 to {chances.shape[-1] - 1}; leave units of unknown mode out")
    if np.any(chances < 0) or np.any(np.abs(chances.sum(axis=-1) - 1) > 1e-6):
        raise OptionError("probabilities must have no negative entry and rows that sum to 1")
    return modes.astype(np.int64), chances


def brier_score(truth: ArrayLike, probabilities: ArrayLike) -> FloatArray:
    """Return Σ_k (P(k) − 1{k = true mode})², from 0 to 2 (for two modes, twice the one-sided score).

    Parameters
    ----------
    truth : array_like of int, shape (...,)
        Number of the true mode.
    probabilities : array_like of shape (..., K)
        Mode probabilities, rows summing to 1.

    References
    ----------
    Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78.
    """
    modes, chances = _classes(truth, probabilities)
    hit = np.arange(chances.shape[-1]) == modes[..., None]
    scores: FloatArray = np.sum(np.square(chances - hit), axis=-1)
    return scores


def log_score(truth: ArrayLike, probabilities: ArrayLike) -> FloatArray:
    """Return −ln P(true mode); inf if the true mode has probability 0. Arguments as for `brier_score`.

    Parameters
    ----------
    truth, probabilities
        As for `brier_score`.

    References
    ----------
    Good (1952), "Rational decisions", Journal of the Royal Statistical Society B 14.
    """
    modes, chances = _classes(truth, probabilities)
    with np.errstate(divide="ignore"):
        return -np.log(np.take_along_axis(chances, modes[..., None], axis=-1)[..., 0])


def time_to_right_mode(
    times: ArrayLike, probabilities: ArrayLike, truth: int, *, threshold: float | None = None, lasting: bool = True
) -> float:
    """Return the time at which a unit's true mode became the most probable one, and stayed so.

    Parameters
    ----------
    times : array_like of shape (n,)
        Ascending times of the unit's readings.
    probabilities : array_like of shape (n, K)
        Mode probabilities after each reading.
    truth : int
        Number of the true mode.
    threshold : float, optional
        Smallest probability of the true mode that counts as right. By default it must be the largest, without a tie.
    lasting : bool
        True (default): count from when the mode is right to the last reading. False: from the first time it is right.

    Returns
    -------
    float
        The time; inf if the mode is never (lastingly) right.

    References
    ----------
    Feldman, Kurtoglu, Narasimhan, Poll, Garcia, de Kleer, Kuhn, van Gemund (2010), "Empirical evaluation of
    diagnostic algorithm performance using a generic framework", International Journal of Prognostics and Health
    Management 1(2): their isolation time, for one unit.
    """
    moments = _finite("times", times)
    if moments.ndim != 1 or np.any(np.diff(moments) < 0):
        raise OptionError("times must be one ascending sequence")
    _, chances = _classes(np.full(len(moments), truth), probabilities)
    own = chances[:, truth]
    if threshold is None:
        others = np.delete(chances, truth, axis=1)
        right = own > others.max(axis=1, initial=0.0)
    else:
        right = own >= _fraction("threshold", threshold)
    first = _first(right, lasting)
    return float("inf") if first is None else float(moments[first])
