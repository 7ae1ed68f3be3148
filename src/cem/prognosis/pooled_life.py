"""`PooledLife`: remaining life against a threshold, averaged over several models by how well they predict.

The weights minimise the CRPS of the averaged law on units left out. Choosing one basis and process is then not asked
for, and where the candidates disagree the law is as wide as their disagreement (model.md (42)).
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import CemWarning, OptionError
from cem.errors.names import listed
from cem.errors.options import floats
from cem.numerics.floating import underflow_is_zero
from cem.passage.law import FirstPassage
from cem.prognosis.reliability import Reliability
from cem.prognosis.threshold_life import ThresholdLife, report_of

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.panel.panel import Panel

__all__ = ["PooledLife", "PooledPassage"]

FloatArray = NDArray[np.float64]

_POINTS = 400
"""Cells of time on which distributions are compared."""

_BISECTIONS = 50


class PooledPassage(FirstPassage):
    """A weighted mean of laws of first passage of the same units; its "modes" are the laws, by number.

    Parameters
    ----------
    laws : sequence of FirstPassage
        Of the same units.
    weights : ndarray of shape (M,)
        At least 0, with sum 1.
    """

    _OF_UNITS: ClassVar[tuple[str, ...]] = ("probability_crossed", "probability_never", "mode_probabilities", "_ended")
    _SHOWN_AS: ClassVar[tuple[str, str]] = ("PooledPassage", "model")

    def __init__(self, laws: Sequence[FirstPassage], weights: FloatArray) -> None:
        first = laws[0]
        self._laws, self._shares = tuple(laws), np.asarray(weights, dtype=np.float64)
        for name in ("units", "direction", "time_unit", "_backend"):
            setattr(self, name, getattr(first, name))
        self._fits = next((law._fits for law in laws if law._fits is not None), None)
        self.exact, self.horizon = all(law.exact for law in laws), min(law.horizon for law in laws)
        self.mode_labels = tuple(range(len(laws)))
        self.mode_probabilities = np.tile(self._shares, (len(first.units), 1))
        self.probability_crossed = self._mixed([law.probability_crossed for law in laws])
        self._ended = np.all([law._ended for law in laws], axis=0)
        if np.isinf(self.horizon):
            never = self._mixed([law.probability_never for law in laws])
        else:  # of the laws that look further, what lies beyond the horizon
            never = 1.0 - self._cdf(np.full((len(first.units), 1), self.horizon))[:, 0]
        self.probability_never = np.clip(never, 0.0, 1.0)

    def _mixed(self, values: Sequence[FloatArray]) -> FloatArray:
        """Σ_m w_m of the laws' values; one without a weight may be infinite."""
        used = [share * own for share, own in zip(self._shares, values, strict=True) if share > 0]
        return np.asarray(np.sum(used, axis=0))

    def _cdf(self, lives: FloatArray) -> FloatArray:
        asked = np.minimum(lives, self.horizon)
        return self._mixed([law._cdf(asked) for law in self._laws])

    def _survival(self, lives: FloatArray) -> FloatArray:
        return 1.0 - self._cdf(lives)

    def _density(self, lives: FloatArray) -> FloatArray:
        return self._mixed([law._pdf(lives) for law in self._laws])

    def _quantile(self, levels: FloatArray) -> FloatArray:
        own = np.stack([law._quantile(levels) for law in self._laws])[self._shares > 0]
        low, high = own.min(axis=0), np.where(np.isfinite(own), own, -np.inf).max(axis=0)
        reached = levels < 1.0 - self.probability_never[:, None]
        if np.isfinite(self.horizon):
            low, high = np.minimum(low, self.horizon), np.where(np.isinf(own).any(axis=0), self.horizon, high)
        low, high = np.where(np.isfinite(low), low, 0.0), np.maximum(np.where(np.isfinite(high), high, 1.0), 1e-300)
        for _ in range(1100):  # doublings: where some law never ends, the others' quantiles bound nothing
            short = reached & (self._cdf(high) < levels)
            if np.isfinite(self.horizon) or not short.any():
                break
            high = np.where(short, np.minimum(2.0 * high, 1e300), high)
        for _ in range(_BISECTIONS):
            middle = low + 0.5 * (high - low)
            below = self._cdf(middle) < levels
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return np.where(self._ended[:, None], 0.0, np.where(reached, high, np.inf))

    def _mean(self, cap: float | None) -> FloatArray:
        if cap is None and np.isinf(self.horizon):
            total = self._mixed([(1.0 - law.probability_never) * law._mean(None) for law in self._laws])
            return np.asarray(total / np.maximum(1.0 - self.probability_never, np.finfo(float).tiny))
        end = self.horizon if cap is None else min(cap, self.horizon)
        until = self._mixed([law._mean(end) for law in self._laws])  # E[min(r, end)]
        later = 1.0 - self._cdf(np.full((self.n_units, 1), end))[:, 0]
        if cap is not None:
            return until + (cap - end) * later
        return np.where(later < 1.0, (until - end * later) / np.where(later < 1.0, 1.0 - later, 1.0), np.inf)

    @underflow_is_zero
    def standard_error(self, times: ArrayLike) -> FloatArray:
        """As in `FirstPassage`, of draws that are independent from law to law."""
        own = [share * law.standard_error(times) for share, law in zip(self._shares, self._laws, strict=True)]
        return np.asarray(np.linalg.norm(own, axis=0))

    def _selected(self, kept: NDArray[np.int64]) -> Self:
        law = super()._selected(kept)
        law._laws = tuple(own._selected(kept) for own in self._laws)
        return law


@dataclass(frozen=True, eq=False)
class PooledLife:
    """Predict when running units cross a threshold, by a weighted mean of what several models say; immutable.

    A basis and a process that are a little wrong make intervals that hold far too little, and one sample cannot say
    which pair is right at every age. An average hedges: candidates that predict badly get no weight. To keep one on
    disk, save its `lives` and note its `weights`.

    Parameters
    ----------
    lives : sequence of ThresholdLife
        Of the same threshold, channel and direction. Calibrations of theirs are used.
    weights : array_like of shape (M,)
        At least 0; they are divided by their sum.
    held_out_crps : array_like of shape (M,), optional
        From `stacked`: mean CRPS of each candidate on units left out, in units of time.
    report : Reliability, optional
        From `stacked`: how the average predicts units that neither fits nor weights have seen.

    Raises
    ------
    OptionError
        There is nothing to average, the prognoses are of different thresholds, or the weights are not M numbers of 0 or
        more with a positive sum.
    """

    lives: Sequence[ThresholdLife]
    weights: FloatArray
    held_out_crps: FloatArray | None = None
    report: Reliability | None = None

    def __post_init__(self) -> None:
        lives = _listed("lives", self.lives, ThresholdLife)
        weights = np.array(floats("weights", self.weights))
        asked = {(life.channel, life.threshold, life.direction) for life in lives}
        if len(asked) > 1:
            raise OptionError(
                f"lives are of different channels, thresholds or directions, {sorted(asked)[:4]}; a mean of such laws "
                "answers nothing"
            )
        if weights.shape != (len(lives),) or not (np.all(weights >= 0) and 0 < weights.sum() < np.inf):
            raise OptionError(
                f"weights is {self.weights!r}; {len(lives)} numbers of 0 or more with a positive sum were expected"
            )
        units = {life.model.time_unit for life in lives} - {None}
        if len(units) > 1:
            raise OptionError(
                f"lives are of models with different units of time, {listed(sorted(units))}; fit them to one panel"
            )
        weights /= weights.sum()
        weights.setflags(write=False)
        object.__setattr__(self, "lives", lives)
        object.__setattr__(self, "weights", weights)

    def predict(self, panel: Panel) -> PooledPassage:
        """Predict when each unit first crosses the threshold, counted from its last reading.

        Parameters
        ----------
        panel : Panel
            Running units, as for `FailureModeModel.remaining_life`.

        Returns
        -------
        PooledPassage
            Its "modes" are the candidates with a weight above 0, by their position among these.
        """
        used = np.flatnonzero(self.weights)
        return PooledPassage([self.lives[int(i)].predict(panel) for i in used], self.weights[used])

    @classmethod
    @underflow_is_zero
    def stacked(
        cls,
        panel: Panel,
        estimators: Sequence[FailureModeEM],
        threshold: float,
        *,
        channel: str | None = None,
        direction: str = "auto",
        ages: Mapping[Hashable, ArrayLike] | ArrayLike | int = 10,
        n_folds: int = 5,
        cap: float | None = None,
        options: Mapping[str, Any] | None = None,
        random_state: int = 0,
    ) -> PooledLife:
        """Fit several models, and weight them by how well they predict units that were left out.

        Each fold of units is cut off at earlier ages, and every candidate, fitted without the fold, predicts when it
        crosses. The weights are those of the smallest mean CRPS of the averaged law.

        Parameters
        ----------
        panel : Panel
            Training units. Those that do not cross within their records count with what is known of them.
        estimators : sequence of FailureModeEM
            Candidates on the forward time axis, for example of several bases with and without ``process=``.
        threshold, channel, direction, options
            As for `ThresholdLife`.
        ages, n_folds, cap, random_state
            As for `ThresholdLife.calibrated`.

        Returns
        -------
        PooledLife
            With `held_out_crps` and `report`. The report's weights were learned without the fold that they predict.

        Raises
        ------
        OptionError
            There are no estimators, or an option does not fit.
        PanelError
            Fewer than four units cross the threshold within their records.

        Warns
        -----
        ThresholdWarning
            Units are never predicted, because they begin beyond the threshold or have a single reading.
        """
        from cem.fitting.estimator import FailureModeEM

        lives, found = [], []
        for i, estimator in enumerate(_listed("estimators", estimators, FailureModeEM)):
            given = type(estimator)(**estimator.get_params(deep=False))
            life = ThresholdLife(
                given.fit(panel).model_, threshold, channel=channel, direction=direction, options=options
            )
            with warnings.catch_warnings():
                if i:  # the first has said which units are left out
                    warnings.simplefilter("ignore", CemWarning)
                found.append(
                    life.held_out(panel, estimator, ages=ages, n_folds=n_folds, cap=cap, random_state=random_state)
                )
            lives.append(life)
        outcomes = replace(found[0].outcomes, cap=min(held.outcomes.cap for held in found))
        errors = np.stack([outcomes.rooted_errors(held.laws, _POINTS) for held in found])
        folds = np.repeat(found[0].folds, [law.n_units for law in found[0].laws])
        weights = {fold: _weights(errors[:, folds != fold]) for fold in sorted(set(found[0].folds))}
        pools = [
            PooledPassage([held.laws[i] for held in found], weights[fold]) for i, fold in enumerate(found[0].folds)
        ]
        crps = np.square(errors).mean(axis=(1, 2)) * outcomes.cap
        return cls(lives, _weights(errors), crps, report_of(pools, outcomes))

    def __repr__(self) -> str:
        shown = ", ".join(f"{weight:.2g}" for weight in self.weights)
        return f"PooledLife({self.lives[0]!r} and {len(self.lives) - 1} more, weights {shown})"


def _listed(name: str, given: object, kind: type) -> tuple[Any, ...]:
    """A sequence of objects of one type, as a tuple; OptionError if it is empty or something else."""
    if isinstance(given, str) or not np.iterable(given):
        raise OptionError(f"{name} is of type {type(given).__name__}; a list of {kind.__name__} was expected")
    found = tuple(given)
    for i, one in enumerate(found):
        if not isinstance(one, kind):
            raise OptionError(f"{name}[{i}] is of type {type(one).__name__}; a {kind.__name__} was expected")
    if not found:
        raise OptionError(f"{name} is empty; one {kind.__name__} or more was expected")
    return found


def _weights(errors: FloatArray) -> FloatArray:
    """The weights w, at least 0 and with sum 1, of the smallest ∫ (Σ_m w_m F_m − 1)², averaged; (M,).

    Least squares without the sum, and with one row of ones more, have the same solution but for a factor: for w = s v
    the best s leaves vᵀQv / (1 + vᵀQv), which grows with vᵀQv.
    """
    from scipy.optimize import nnls

    rows = np.asarray(np.linalg.qr(errors.reshape(len(errors), -1).T, mode="r"))
    rows = rows / max(float(np.abs(rows).max()), np.finfo(float).tiny)
    n = len(errors)
    found = np.asarray(nnls(np.vstack([rows, np.ones((1, n))]), np.append(np.zeros(len(rows)), 1.0))[0])
    return np.asarray(found / found.sum())
