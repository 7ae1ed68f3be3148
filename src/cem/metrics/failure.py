"""How good is "fails within h with probability p"? Brier score and reliability, with units that are still running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError
from cem.errors.options import floats, integer
from cem.metrics.metrics import _finite, _fraction, _wilson
from cem.numerics.floating import underflow_is_zero

__all__ = ["FailureReliability", "failure_brier_score", "failure_reliability"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_SUREST = 1e-6
"""Probabilities nearer to 0 or 1 count as this near in the recalibration, because their logit is infinite."""

_MOST_STEPS = 100


@underflow_is_zero
def failure_brier_score(
    truth: ArrayLike, probability: ArrayLike, h: ArrayLike, *, running: ArrayLike | None = None
) -> FloatArray:
    """Return (P − 1{failed within h})² of each unit; the mean over units is the Brier score.

    A unit that still runs and was seen for less than h has no known outcome. It scores 0, and the units with a known
    outcome count for it: each is weighted by the inverse probability that a unit was seen for long enough (1 / G of the
    Kaplan-Meier estimate of the censoring). So the mean stays that of all units, if units are censored whatever
    their remaining lives. Leaving such units out would not do: of those that end early only failures would stay.

    Parameters
    ----------
    truth : array_like of shape (L,)
        Remaining lives from the time of the prediction; of a unit that still runs, how long it was seen from then on.
        inf for a unit that is known never to fail.
    probability : array_like of shape (L,), or (L, m) for m times h
        P(remaining life ≤ h), as from `cem.RemainingLifeLaw.failure_probability`.
    h : float, or array_like of shape (m,)
        Time from the prediction.
    running : array_like of bool, shape (L,), optional
        Which units were still running when last seen; none by default.

    Returns
    -------
    ndarray of the shape of `probability`

    Raises
    ------
    OptionError
        Shapes do not fit, h is below 0, a probability is outside [0, 1], or units were last seen, running, before h and
        no unit was seen later: then nothing is known at h.

    References
    ----------
    Graf, Schmoor, Sauerbrei, Schumacher (1999), "Assessment and comparison of prognostic classification schemes for
    survival data", Statistics in Medicine 18.

    Examples
    --------
    >>> import cem
    >>> cem.metrics.failure_brier_score([10.0, 50.0], [0.75, 0.5], 30.0)
    array([0.0625, 0.25  ])
    """
    times = _times(h)
    lives, chances, censored = _outcomes(truth, probability, running)
    if chances.shape != (*lives.shape, *times.shape) or times.ndim > 1:
        raise OptionError(
            f"probability has shape {chances.shape}; {(*lives.shape, *times.shape[:1])} was expected, for "
            f"{len(lives)} units and h of shape {times.shape}"
        )
    columns = chances[:, None] if times.ndim == 0 else chances
    scores = np.empty(columns.shape)
    for column, moment in enumerate(np.atleast_1d(times)):
        failed, weights = _known(lives, censored, float(moment))
        scores[:, column] = weights * np.square(columns[:, column] - failed)
    return scores[:, 0] if times.ndim == 0 else scores


@dataclass(frozen=True, eq=False)
class FailureReliability:
    """What probabilities of failure within h claimed, and what happened. Print it for a report.

    Parameters
    ----------
    h : float
        Time from the prediction.
    claimed, observed : ndarray of shape (B,)
        Mean probability, and share of units that failed within h, in each bin.
    lower, upper : ndarray of shape (B,)
        Ends of Wilson's interval for the share in the bin.
    counts : ndarray of shape (B,), int64
        Units with a known outcome in each bin.
    level : float
        Confidence of the intervals.
    slope, intercept : float
        Of the logistic recalibration logit P(failed) = intercept + slope · logit p: 1 and 0 if calibrated. A slope
        below 1 says that probabilities are too extreme. The slope is infinite if the probabilities separate failures
        from the rest without an error, and there is no intercept then: NaN. Both are NaN if all units had one outcome
        or one probability.
    brier_score : float
        Mean of `failure_brier_score`.
    base_rate : float
        Share of all units that failed within h.
    skill : float
        1 − Brier score / that of the base rate, given to every unit; NaN if the base rate is 0 or 1.
    n_unknown : int
        Units that still ran and were seen for less than h; the others are weighted for them.
    """

    h: float
    claimed: FloatArray
    observed: FloatArray
    lower: FloatArray
    upper: FloatArray
    counts: NDArray[np.int64]
    level: float
    slope: float
    intercept: float
    brier_score: float
    base_rate: float
    skill: float
    n_unknown: int

    def to_frame(self, backend: str | None = None) -> Any:
        """Return one row for each bin as a data frame.

        Its columns are n, claimed, observed, and the ends of the interval: lower_95 and upper_95.

        Parameters
        ----------
        backend : {"pandas", "polars", "pyarrow"}, optional
            As for `cem.Panel.to_frame`.
        """
        from cem.panel.frames.out import frame_of

        return frame_of(self._table(), backend)

    def _table(self) -> dict[str, Any]:
        from cem.panel.frames.out import interval_columns

        low, high = interval_columns(self.level)
        return {
            "n": self.counts, "claimed": self.claimed, "observed": self.observed, low: self.lower, high: self.upper,
        }  # fmt: skip

    def __repr__(self) -> str:
        return (
            f"FailureReliability: within {self.h:g}, {self._units()}, slope {self.slope:.3g}"
            f"{'' if np.isinf(self.slope) else f', intercept {self.intercept:.3g}'}, {self._scores()}"
        )

    def __str__(self) -> str:
        held = f"{100 * self.level:.6g} % in"
        lines = [
            f"failure within {self.h:g}: {self._units()}, {self.base_rate:.1%} failed",
            f"  {self._recalibrated()}",
            f"  {self._scores()} against the base rate",
            f"  {'n':>6}  claimed  observed  {held}",
        ]
        for n, claimed, share, low, high in zip(*(column.tolist() for column in self._table().values()), strict=True):
            lines.append(f"  {n:>6}  {claimed:7.3f}  {share:8.3f}  {low:.3f} to {high:.3f}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        from cem.errors.html import html_table

        return html_table(repr(self), self._table())

    def _recalibrated(self) -> str:
        if np.isinf(self.slope):
            order = "all failures had higher" if self.slope > 0 else "all failures had lower"
            return f"no finite calibration slope: {order} probabilities than all others"
        if np.isnan(self.slope):
            return "no calibration slope: all outcomes, or all probabilities, are alike"
        return f"calibration slope {self.slope:.3g} (1 is right), intercept {self.intercept:.3g} (0 is right)"

    def _units(self) -> str:
        unknown = f" and {self.n_unknown:,} of unknown outcome" if self.n_unknown else ""
        return f"{int(self.counts.sum()):,} predictions{unknown}"

    def _scores(self) -> str:
        return f"Brier score {self.brier_score:.4g}, skill {self.skill:.3g}"


@underflow_is_zero
def failure_reliability(
    truth: ArrayLike,
    probability: ArrayLike,
    h: float,
    *,
    running: ArrayLike | None = None,
    n_bins: int = 10,
    level: float = 0.95,
) -> FailureReliability:
    """Compare probabilities of failure within h with what happened: bins, calibration slope and intercept, skill.

    Units with an unknown outcome are treated as in `failure_brier_score`: the weights enter every figure, and the
    intervals of the bins count as many units as the weights are worth. Intervals take units as independent. With
    several predictions of each unit they are too narrow.

    Parameters
    ----------
    truth, probability, running
        As for `failure_brier_score`, for one h.
    h : float
        Time from the prediction.
    n_bins : int
        Bins with equally many units each, as far as units of equal probability, which stay together, allow.
    level : float
        Confidence of the intervals of the bins.

    Returns
    -------
    FailureReliability

    Raises
    ------
    OptionError
        As for `failure_brier_score`, or n_bins is below 1.

    References
    ----------
    Cox (1958), "Two further applications of a model for binary regression", Biometrika 45; Van Calster, McLernon, van
    Smeden, Wynants, Steyerberg (2019), "Calibration: the Achilles heel of predictive analytics", BMC Medicine 17.
    """
    n_bins = integer("n_bins", n_bins, 1, 10**6)
    _fraction("level", level)
    moments = _times(h)
    if moments.ndim:
        raise OptionError(f"h has shape {moments.shape}; one number was expected: call it for each h")
    moment = float(moments)
    lives, chances, censored = _outcomes(truth, probability, running)
    brier = float(failure_brier_score(lives, chances, moment, running=censored).mean())
    failed, weights = _known(lives, censored, moment)
    known = weights > 0
    p, y, w = chances[known], failed[known].astype(np.float64), weights[known]
    base = float(w @ y / w.sum())
    slope, intercept = _recalibration(p, y, w)
    bins = []
    for own in _bins(p, n_bins):
        share, worth = float(w[own] @ y[own] / w[own].sum()), float(w[own].sum() ** 2 / np.square(w[own]).sum())
        bins.append((float(w[own] @ p[own] / w[own].sum()), share, *_wilson(share, worth, level), len(own)))
    claimed, observed, lower, upper, counts = (np.array(column) for column in zip(*bins, strict=True))
    alike = base * (1.0 - base)
    return FailureReliability(
        h=moment, claimed=claimed, observed=observed, lower=lower, upper=upper, counts=counts.astype(np.int64),
        level=float(level), slope=slope, intercept=intercept, brier_score=brier, base_rate=base,
        skill=1.0 - brier / alike if alike > 0 else float("nan"), n_unknown=int(np.count_nonzero(~known)),
    )  # fmt: skip


def _outcomes(
    truth: ArrayLike, probability: ArrayLike, running: ArrayLike | None
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Remaining lives (L,), probabilities (L, ...) and which units still run (L,), checked."""
    lives = floats("truth", truth)
    if lives.ndim != 1 or lives.size == 0:
        raise OptionError(f"truth has shape {lives.shape}; (n_units,), with at least one unit, was expected")
    bad = np.flatnonzero(~(lives >= 0))
    if bad.size:
        raise OptionError(f"truth is {lives[bad[0]]} at index {bad[0]}; a remaining life of 0 or more was expected")
    chances = _finite("probability", probability)
    if np.any((chances < 0) | (chances > 1)):
        worst = chances[(chances < 0) | (chances > 1)][0]
        raise OptionError(f"probability holds {worst:g}; numbers from 0 to 1 were expected")
    if chances.ndim < 1 or len(chances) != len(lives):
        raise OptionError(
            f"probability has shape {chances.shape}; a row for each of the {len(lives)} units was expected"
        )
    censored = np.zeros(len(lives), dtype=np.bool_) if running is None else np.asarray(running)
    if censored.shape != lives.shape or censored.dtype != np.bool_:
        raise OptionError(
            f"running has shape {censored.shape} and type {censored.dtype}; one True or False for each of the "
            f"{len(lives)} units was expected"
        )
    return lives, chances, censored


def _times(h: ArrayLike) -> FloatArray:
    """Times from now, checked."""
    times = _finite("h", h)
    if np.any(times < 0):
        raise OptionError(f"h is {times[times < 0][0]:g}; a time from now, 0 or more, was expected")
    return times


def _known(lives: FloatArray, censored: BoolArray, h: float) -> tuple[BoolArray, FloatArray]:
    """Whether each unit failed within h, and its weight: 1 / P(seen for long enough), 0 if its outcome is unknown."""
    failed = (lives <= h) & ~censored
    unknown = censored & (lives < h)
    # Kaplan-Meier of the censoring before h: at one time, units fail first and leave afterwards.
    times = np.unique(lives[unknown])
    leave = np.array([np.count_nonzero(lives[unknown] == time) for time in times])
    stay = np.array([np.count_nonzero(np.where(censored, lives >= time, lives > time)) for time in times])
    seen = np.concatenate([[1.0], np.cumprod(1.0 - leave / np.maximum(stay, 1))])
    chance = seen[np.searchsorted(times, np.minimum(lives, h), side="left")]
    weights = np.where(unknown, 0.0, 1.0 / np.where(unknown, 1.0, chance))
    # The weights of all outcomes sum to the number of units, unless the last unit to be seen was lost before h.
    if weights.sum() < len(lives) * (1.0 - 1e-9):
        raise OptionError(
            f"h is {h:g}, and the unit that was seen longest, for {lives.max():g}, was still running then; take h "
            f"of at most {lives.max():g}"
        )
    return failed, weights


def _bins(p: FloatArray, n_bins: int) -> list[NDArray[np.int64]]:
    """Positions of units in bins of equal counts, in the order of probability; equal ones stay together."""
    order = np.argsort(p, kind="stable")
    ranked = p[order]
    wanted = np.round(np.arange(1, n_bins) * len(p) / n_bins).astype(np.int64)
    cuts = np.searchsorted(ranked, ranked[np.maximum(wanted - 1, 0)], side="right")
    return [own for own in np.split(order, np.unique(cuts)) if len(own)]


def _recalibration(p: FloatArray, y: FloatArray, w: FloatArray) -> tuple[float, float]:
    """Slope and intercept of the weighted logistic regression of the outcomes on logit p, by Newton's method."""
    held = np.clip(p, _SUREST, 1.0 - _SUREST)
    x = np.log(held) - np.log1p(-held)
    if np.ptp(y) == 0 or np.ptp(x) == 0:
        return float("nan"), float("nan")
    for sign in (1.0, -1.0):
        if (sign * x[y == 0]).max() <= (sign * x[y == 1]).min():
            return sign * float("inf"), float("nan")
    design = np.stack([x, np.ones_like(x)], axis=1)

    def loss(point: FloatArray) -> float:
        eta = design @ point
        return float(w @ (np.logaddexp(0.0, eta) - y * eta))

    point, value = np.array([1.0, 0.0]), loss(np.array([1.0, 0.0]))
    for _ in range(_MOST_STEPS):
        fitted = 0.5 * (1.0 + np.tanh(0.5 * (design @ point)))
        gradient = design.T @ (w * (fitted - y))
        curvature = (design * (w * fitted * (1.0 - fitted))[:, None]).T @ design
        try:
            step = np.linalg.solve(curvature, gradient)
        except np.linalg.LinAlgError:
            step = gradient / w.sum()
        size = 1.0
        while (found := loss(point - size * step)) > value and size > 1e-10:
            size *= 0.5
        moved = size * np.abs(step).max()
        point, value = point - size * step, found
        if moved <= 1e-10 * (1.0 + np.abs(point).max()):
            break
    return float(point[0]), float(point[1])
