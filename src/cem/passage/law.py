"""What all distributions of first passage share, exact or simulated."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import PredictionError
from cem.mixture.life_law import RemainingLifeLaw
from cem.numerics.normal import normal_cdf

if TYPE_CHECKING:
    from cem.mixture.unit_fits import UnitFits

__all__ = ["CERTAINLY_CROSSED", "FirstPassage", "given_monotone"]

FloatArray = NDArray[np.float64]

CERTAINLY_CROSSED = 1e-9
"""If the probability of not having crossed is below this, the unit counts as failed: remaining life 0."""


_PIECES, _ROUNDS = 12, 9
_LEVELS = normal_cdf(np.linspace(-5.0, 5.0, 25))
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)
"""Of an integral over a law: even pieces, how often quantiles are looked for, their levels, and the rule on a piece."""


def given_monotone(
    names: Sequence[Hashable], rho: FloatArray, shares: FloatArray, least: float, remedy: str
) -> FloatArray:
    """Return ρ̂ / Σ_k ρ̂_k P(the curve only rises | k), (L, K): weights of probabilities that are joint with rising.

    Parameters
    ----------
    names : sequence of hashables
        The units.
    rho, shares : ndarray of shape (L, K)
        Mode probabilities, and P(the curve only rises | k).
    least : float
        Least total probability to rise.
    remedy : str
        What to do where it is below.

    Raises
    ------
    PredictionError
        The curve of a unit almost never rises; the message names it.
    """
    total = (rho * shares).sum(axis=1)
    bad = np.flatnonzero(~(total > least))
    if bad.size:
        raise PredictionError(
            f"unit {names[bad[0]]!r}: its readings give the probability {total[bad[0]]:.3g} to curves that never turn "
            f"back from the threshold; at least {least:.3g} was expected for monotone=True: {remedy}"
        )
    weights: FloatArray = rho / total[:, None]
    return weights


class FirstPassage(RemainingLifeLaw):
    """Remaining lives of units against a threshold that they have not crossed yet; made by `first_passage`.

    Attributes
    ----------
    units : tuple of hashables, length L
    direction : {"upper", "lower"}
        Crossed at or above the threshold, or at or below it.
    exact : bool
        Whether probabilities are exact (straight lines) or come from draws.
    horizon : float
        Longest remaining life considered; later crossings count as "never". inf for straight lines.
    probability_crossed : ndarray of shape (L,)
        P(crossed somewhere on [t_first, t_now]). Everything else is conditional on no crossing there; if the
        crossing is almost certain, the remaining life is 0.
    probability_never : ndarray of shape (L,)
        P(no crossing within the horizon | not crossed yet).
    mode_probabilities : ndarray of shape (L, K)
        P(mode | readings, not crossed yet).
    mode_labels : tuple of hashables, length K
        Empty if the law was made without a model.
    time_unit : str, optional
        Label of the unit of time, if the model or the panel has one.
    """

    units: tuple[Hashable, ...]
    direction: str = "upper"
    exact: bool
    horizon: float
    probability_crossed: FloatArray
    probability_never: FloatArray
    mode_probabilities: FloatArray
    mode_labels: tuple[Hashable, ...] = ()
    time_unit: str | None = None
    _backend: str | None = None  # of the frame that the units came from
    _fits: UnitFits | None = None  # how well the units fit the model
    _ended: NDArray[np.bool_]
    _weights: FloatArray
    _OF_UNITS: ClassVar[tuple[str, ...]] = (
        "probability_crossed", "probability_never", "mode_probabilities", "_ended", "_weights",
    )  # fmt: skip
    """Names of the arrays that have a row for each unit."""
    _SHOWN_AS: ClassVar[tuple[str, str]] = ("FirstPassage", "mode")

    def _conclude(self, names: Sequence[Hashable], rho: FloatArray, not_crossed: FloatArray, never: FloatArray) -> None:
        """Finish from P(not crossed yet | k) and P(not crossed within the horizon | k), both (L, K)."""
        self.units = tuple(names)
        joint = rho * not_crossed
        total = joint.sum(axis=1)
        self.probability_crossed = np.clip(1.0 - total, 0.0, 1.0)
        self._ended = total <= CERTAINLY_CROSSED
        self._weights = np.where(self._ended[:, None], 0.0, rho) / np.where(self._ended, 1.0, total)[:, None]
        self.mode_probabilities = np.where(self._ended[:, None], rho, self._weights * not_crossed)
        self.probability_never = np.where(self._ended, 0.0, np.minimum((self._weights * never).sum(axis=1), 1.0))

    @abstractmethod
    def _survival(self, lives: FloatArray) -> FloatArray:
        """Σ_k of conditional weight times P(no crossing before t_now + r | k), (L, m) from (L, m), r ≥ 0."""

    @abstractmethod
    def _density(self, lives: FloatArray) -> FloatArray:
        """Its negative derivative."""

    @abstractmethod
    def standard_error(self, times: ArrayLike) -> FloatArray:
        """Return the Monte Carlo standard error of `cdf` at these remaining lives, shape (L, m); 0 if exact."""

    def _cdf(self, lives: FloatArray) -> FloatArray:
        survival = self._survival(np.clip(lives, 0.0, self.horizon))
        survival = np.where(self._ended[:, None], 0.0, np.clip(survival, 0.0, 1.0))
        return np.where(lives < 0, 0.0, 1.0 - survival)

    def _pdf(self, lives: FloatArray) -> FloatArray:
        inside = (lives >= 0) & (lives <= self.horizon) & ~self._ended[:, None]
        return np.where(inside, np.maximum(self._density(np.clip(lives, 0.0, self.horizon)), 0.0), 0.0)

    def _capped_mean(self, cap: float) -> FloatArray:
        """E[min(r, cap)], the integral of 1 − cdf from 0 to the cap, in pieces that end at quantiles.

        A law may rise within a thousandth of the cap. Its quantiles are found by going on from where it rose before.
        """
        even = np.tile(np.linspace(0.0, cap, _PIECES + 1), (self.n_units, 1))
        edges = even
        for _ in range(_ROUNDS):
            risen = self._cdf(edges)
            wanted = risen[:, :1] + _LEVELS * (risen[:, -1:] - risen[:, :1])
            rows = zip(wanted, np.maximum.accumulate(risen, axis=1), edges, strict=True)
            found = np.array([np.interp(*row) for row in rows]).reshape(self.n_units, len(_LEVELS))
            edges = np.sort(np.concatenate([even, found], axis=1), axis=1)
        half = 0.5 * np.diff(edges, axis=1)
        times = (edges[:, :-1] + half)[..., None] + half[..., None] * _NODES
        shape = (self.n_units, half.shape[1] * len(_NODES))
        alive = 1.0 - self._cdf(times.reshape(shape))
        return np.asarray((alive * (half[..., None] * _WEIGHTS).reshape(shape)).sum(axis=1))

    def _selected(self, kept: NDArray[np.int64]) -> Self:
        law = copy.copy(self)
        law.units = tuple(self.units[int(i)] for i in kept)
        for name in self._OF_UNITS:
            setattr(law, name, getattr(self, name)[kept])
        law._fits = None if self._fits is None else self._fits.of(kept)
        return law

    def _figures(self, shared: dict[str, Any]) -> dict[str, Any]:
        return {
            **shared,
            "mean": self._mean(None),
            "probability_crossed": self.probability_crossed,
            "probability_never": self.probability_never,
        }

    def summary(self) -> list[dict[str, Any]]:
        """Return one row per unit: median, 90 % interval, probabilities of having crossed and of never crossing."""
        low, high = self.interval(0.9)
        median = self.median()
        return [
            {
                "unit": unit,
                "median": float(median[i]),
                "lower_90": float(low[i]),
                "upper_90": float(high[i]),
                "probability_crossed": float(self.probability_crossed[i]),
                "probability_never": float(self.probability_never[i]),
            }
            for i, unit in enumerate(self.units)
        ]

    def __repr__(self) -> str:
        how = "exact" if self.exact else f"simulated, horizon {self.horizon:g}"
        n = self.mode_probabilities.shape[1]
        law, mode = self._SHOWN_AS
        modes = f"{n} {mode}{'s' * (n != 1)}"
        return f"{law}({self.n_units} units, {modes}, {how}{self._flags_shown()})"
