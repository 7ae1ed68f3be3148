"""Predictions of units that were still running when last seen: what is known of them counts, and no more.

Two estimates of Kaplan and Meier do it. One is of how long units are followed: what is known at a time counts for all
units that would be known there had they been followed. The other is of the probability integral transforms F(y): that
of a running unit lies somewhere above F(time seen).

References
----------
Kaplan, Meier (1958), Journal of the American Statistical Association 53. Graf, Schmoor, Sauerbrei, Schumacher (1999),
"Assessment and comparison of prognostic classification schemes for survival data", Statistics in Medicine 18.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.mixture.life_law import RemainingLifeLaw

__all__ = ["Followed", "Outcomes", "kaplan_meier", "pit_of", "quantiles_of_running"]

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


@dataclass(frozen=True, eq=False)
class Followed:
    """P(a unit is followed for at least t), by Kaplan and Meier; an end of the life ends this observation.

    Parameters
    ----------
    times : ndarray of shape (m,)
        When units were last seen, running, counted from their first reading.
    shares : ndarray of shape (m + 1,)
        The probability before the first of these times, between them, and after the last.
    """

    times: FloatArray
    shares: FloatArray

    @classmethod
    def of(cls, spans: FloatArray, running: BoolArray) -> Followed:
        """From each unit's end, or last reading, and whether it was running then, (L,)."""
        times = np.unique(spans[running])
        leave = np.array([np.count_nonzero(spans[running] == time) for time in times])
        stay = np.array([np.count_nonzero(np.where(running, spans >= time, spans > time)) for time in times])
        return cls(times, np.concatenate([[1.0], np.cumprod(1.0 - leave / np.maximum(stay, 1))]))

    @property
    def longest(self) -> float:
        """Beyond it nothing is known, since the unit that was seen longest was running then; else inf."""
        return float(self.times[-1]) if len(self.times) and self.shares[-1] <= 0 else np.inf

    def weights(self, ages: FloatArray, ahead: FloatArray) -> FloatArray:
        """1 / P(followed until age + ahead | followed until the age)."""
        seen = self.shares[np.searchsorted(self.times, np.stack(np.broadcast_arrays(ages, ages + ahead)), side="left")]
        return np.asarray(np.divide(seen[0], seen[1], out=np.zeros(seen.shape[1:]), where=seen[1] > 0))

    def integrals(self, ages: FloatArray, low: FloatArray, high: FloatArray, power: int = 0) -> FloatArray:
        """∫ xᵖ · weight dx from low to high, both counted from the age, for p = 0 or 1; 0 where high ≤ low."""
        edges = np.concatenate([[-np.inf], self.times, [np.inf]])
        found = np.zeros(np.shape(ages))
        own = self.weights(ages, np.zeros_like(ages))
        first = self.shares[np.searchsorted(self.times, ages, side="left")]
        for begin, end, share in zip(edges[:-1], edges[1:], self.shares, strict=True):
            below, above = np.maximum(low, begin - ages), np.minimum(high, end - ages)
            is_part = (above > below) & (share > 0)
            below, above = np.where(is_part, below, 0.0), np.where(is_part, above, 0.0)
            part = above - below if power == 0 else 0.5 * (np.square(above) - np.square(below))
            found += np.where(is_part, part * first / max(share, 1e-300), 0.0)
        return found * own


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of n predictions, and how scores count it.

    Parameters
    ----------
    lives : ndarray of shape (n,)
        Remaining lives; of a unit that still ran, how long it was seen after the prediction.
    running : ndarray of shape (n,), bool
    ages : ndarray of shape (n,)
        Time from the unit's first reading to the prediction.
    clusters : ndarray of shape (n,), int64
        The unit of each.
    cap : float
        Lives beyond it count as the cap.
    followed : Followed
        Of the units.
    """

    lives: FloatArray
    running: BoolArray
    ages: FloatArray
    clusters: NDArray[np.int64]
    cap: float
    followed: Followed

    @property
    def caps(self) -> FloatArray:
        """How far ahead of each prediction something is known, the cap at most, (n,)."""
        return np.minimum(self.cap, np.maximum(self.followed.longest - self.ages, 0.0))

    def errors(self, guesses: FloatArray, power: int = 0) -> FloatArray:
        """|guess − life|, or with power 1 its square, expected over what is not known, (n,).

        It is the integral over x of what is known at x, whether a life is beyond x: a unit that was seen running beyond
        x counts 1 / P(followed so long), and one that ended before x as at its end.
        """
        caps = self.caps
        guess, seen = np.minimum(guesses, caps), np.minimum(self.lives, caps)
        late = self.followed.integrals(self.ages, guess, seen, 0)
        early = np.where(self.running, 0.0, self.followed.weights(self.ages, seen)) * np.maximum(guess - seen, 0.0)
        if power == 0:
            return np.asarray(late + early)
        beyond = self.followed.integrals(self.ages, guess, seen, 1)
        return np.asarray(2.0 * np.maximum(beyond - guess * late, 0.0) + early * np.maximum(guess - seen, 0.0))

    def interval_scores(self, low: FloatArray, high: FloatArray, level: float) -> FloatArray:
        """Width, and 2 / (1 − level) times what the life lies outside, (n,)."""
        caps = self.caps
        low, high, seen = np.minimum(low, caps), np.minimum(high, caps), np.minimum(self.lives, caps)
        early = np.where(self.running, 0.0, self.followed.weights(self.ages, seen)) * np.maximum(low - seen, 0.0)
        outside = early + self.followed.integrals(self.ages, high, seen)
        return np.asarray(high - low + 2.0 / (1.0 - level) * outside)

    def crps_and_means(self, laws: Sequence[RemainingLifeLaw]) -> tuple[FloatArray, FloatArray]:
        """∫ (F(r) − 1{life ≤ r})² dr, the Brier score integrated, and E[min(r, cap)], each (n,)."""
        caps = self.caps[:, None]
        ends = np.minimum(self.lives[:, None], caps)
        share = 0.5 * (1.0 + _NODES)
        times = np.concatenate([ends * share, ends + (caps - ends) * share], axis=1)
        cdf = np.concatenate([law.cdf(own) for law, own in zip(laws, self.parts(times, laws), strict=True)])
        below, above = np.split(cdf, 2, axis=1)
        weights = self.followed.weights(np.broadcast_to(self.ages[:, None], below.shape), times[:, : len(_NODES)])
        at_end = np.where(self.running, 0.0, self.followed.weights(self.ages, ends[:, 0]))[:, None]
        quadrature = 0.5 * _WEIGHTS
        crps = (ends * np.square(below) * weights + (caps - ends) * np.square(1.0 - above) * at_end) @ quadrature
        means = (ends * (1.0 - below) + (caps - ends) * (1.0 - above)) @ quadrature
        return crps, means

    def rooted_errors(self, laws: Sequence[RemainingLifeLaw], n_cells: int) -> FloatArray:
        """F(r) − 1{life ≤ r}, times the root of its weight, in the middle of cells of [0, cap], (n, n_cells).

        Their mean square times the cap is the mean of `crps_and_means`, but for the width of the cells.
        """
        times = self.cap * (np.arange(n_cells) + 0.5) / n_cells
        lives, ages = self.lives[:, None], self.ages[:, None]
        cdf = np.concatenate([law.cdf(times) for law in laws])
        weights = self.followed.weights(np.broadcast_to(ages, cdf.shape), np.minimum(times, lives))
        known = (times <= self.caps[:, None]) & ((times < lives) | ~self.running[:, None])
        return np.asarray(np.where(known, np.sqrt(weights) * (cdf - (times >= lives)), 0.0))

    def brier(self, chances: FloatArray, h: float) -> FloatArray:
        """(P − 1{ended within h})² of the predictions that can be known at h, each with its weight."""
        known = h <= self.followed.longest - self.ages
        ended = ~self.running & (self.lives <= h)
        weights = self.followed.weights(self.ages, np.minimum(self.lives, h))
        weights = np.where(self.running & (self.lives < h), 0.0, weights)
        scores: FloatArray = (weights * np.square(chances - ended))[known]
        return scores

    @staticmethod
    def parts(values: NDArray[Any], laws: Sequence[RemainingLifeLaw]) -> list[NDArray[Any]]:
        """Rows of all predictions, by law."""
        return np.split(values, np.cumsum([law.n_units for law in laws])[:-1])


def pit_of(law: RemainingLifeLaw, lives: FloatArray, running: BoolArray) -> tuple[FloatArray, BoolArray]:
    """F(life), and whether the transform of the outcome is only known to lie above it.

    That is so for units that still ran, and for lives beyond the horizon of a simulated law.
    """
    return law.pit(np.minimum(lives, law.horizon)), running | (lives > law.horizon)


def kaplan_meier(values: FloatArray, running: BoolArray, counts: FloatArray | None = None) -> FloatArray:
    """Masses of values of which some are only known to be exceeded, (n,) or (B, n); what is left to 1 lies beyond all.

    Parameters
    ----------
    values : ndarray of shape (n,)
        What was seen.
    running : ndarray of shape (n,), bool
        Whether the value lies beyond it.
    counts : ndarray of shape (n,) or (B, n), optional
        How often each counts; once by default.
    """
    order = np.lexsort((running, values))
    own = np.ones(len(values)) if counts is None else counts
    ranked = own[..., order]
    stay = np.cumsum(ranked[..., ::-1], axis=-1)[..., ::-1]
    ends = np.where(running[order], 0.0, ranked)
    lasting = np.cumprod(1.0 - np.divide(ends, stay, out=np.zeros_like(stay), where=stay > 0), axis=-1)
    masses = np.empty(own.shape)
    masses[..., order] = np.concatenate([1.0 - lasting[..., :1], lasting[..., :-1] - lasting[..., 1:]], axis=-1)
    return masses


def quantiles_of_running(values: FloatArray, running: BoolArray, levels: FloatArray) -> FloatArray:
    """Quantiles of values of which some are only known to be exceeded; NaN above what is known."""
    order = np.lexsort((running, values))
    masses = kaplan_meier(values, running)[order]
    ended = masses > 0
    points, cumulated = values[order][ended], np.cumsum(masses[ended])
    found = np.interp(levels, cumulated - 0.5 * masses[ended], points)
    return np.where(levels > cumulated[-1] + 1e-12, np.nan, found)
