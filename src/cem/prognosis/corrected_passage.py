"""Laws of first passage after a correction of their cdf: Φ(h((Φ⁻¹(F) − a) / b)), equation (38) of model.md."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.mixture.life_law import RemainingLifeLaw
from cem.numerics.normal import normal_cdf, normal_density, normal_quantile
from cem.passage.law import FirstPassage
from cem.prognosis.calibration import Calibration
from cem.prognosis.censored import pit_of

__all__ = ["CorrectedPassage", "scores_of_passage"]

FloatArray = NDArray[np.float64]

_SUREST = 1e-15
"""Probabilities nearer to 0 or 1 have no normal score worth the name in float64."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PIECES = 24


def scores_of_passage(
    law: RemainingLifeLaw, lives: FloatArray, running: NDArray[np.bool_]
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Normal scores of outcomes under laws that may have mass at never, and whether they are only exceeded, (L,) each.

    Parameters
    ----------
    law : RemainingLifeLaw
        Of L units.
    lives : ndarray of shape (L,)
        Remaining lives; of a unit that still ran, how long it was seen.
    running : ndarray of shape (L,), bool
        Which units still ran.
    """
    pit, open_ended = pit_of(law, lives, running)
    return normal_quantile(np.clip(pit, _SUREST, 1.0 - _SUREST)), open_ended


class CorrectedPassage(FirstPassage):
    """A law of first passage whose cdf is corrected; its modes and its probability of having crossed stay.

    Parameters
    ----------
    law : FirstPassage
        As the model gives it.
    calibration : Calibration
        With knots. Its β is not used: readings enter the law of the curve, not candidates.
    """

    _OF_UNITS: ClassVar[tuple[str, ...]] = ("probability_crossed", "probability_never", "mode_probabilities", "_ended")

    def __init__(self, law: FirstPassage, calibration: Calibration) -> None:
        self._law, self._calibration = law, calibration
        self._medians = law.median()[:, None]
        for name in ("units", "direction", "exact", "horizon", "mode_labels", "time_unit", "_backend", "_fits"):
            setattr(self, name, getattr(law, name))
        for name in ("probability_crossed", "mode_probabilities", "_ended"):
            setattr(self, name, getattr(law, name))
        ever = self._mapped(1.0 - law.probability_never[:, None])[:, 0]
        self.probability_never = np.where(self._ended, 0.0, 1.0 - ever)

    def _mapped(self, chances: FloatArray) -> FloatArray:
        """F' of F, (L, m); 0 stays 0 and 1 stays 1."""
        inside = (chances > 0) & (chances < 1)
        scores = normal_quantile(np.clip(chances, _SUREST, 1.0 - _SUREST))
        return np.where(inside, normal_cdf(self._calibration.mapped(scores, self._medians)), chances)

    def _cdf(self, lives: FloatArray) -> FloatArray:
        return self._mapped(self._law._cdf(lives))

    def _survival(self, lives: FloatArray) -> FloatArray:
        return 1.0 - self._cdf(lives)

    def _slopes(self, lives: FloatArray) -> FloatArray:
        """dF' / dF, (L, m)."""
        scores = normal_quantile(np.clip(self._law._cdf(lives), _SUREST, 1.0 - _SUREST))
        return normal_density(self._calibration.mapped(scores, self._medians)) * self._calibration.slope(
            scores, self._medians
        ) / normal_density(scores)  # fmt: skip

    def _density(self, lives: FloatArray) -> FloatArray:
        return self._law._pdf(lives) * self._slopes(lives)

    def _quantile(self, levels: FloatArray) -> FloatArray:
        scores = self._calibration.unmapped(normal_quantile(levels), self._medians)
        found = np.clip(normal_cdf(scores), _SUREST, 1.0 - _SUREST)
        return np.where(levels < 1.0 - self.probability_never[:, None], self._law._quantile(found), np.inf)

    def _mean(self, cap: float | None) -> FloatArray:
        if cap is None:
            # E[r | crosses]: infinite where the law without the correction is, since tails keep their order.
            ever = 1.0 - self.probability_never
            plain = self._law._mean(None)
            if not np.isfinite(plain).any():
                return plain
            levels = np.concatenate([0.5 * (1.0 + _NODES) / _PIECES + i / _PIECES for i in range(_PIECES)])
            lives = self._quantile(np.clip(levels * ever[:, None], _SUREST, 1.0 - _SUREST))
            weights = np.tile(0.5 * _WEIGHTS / _PIECES, _PIECES)
            means = np.where(np.isfinite(lives), lives, 0.0) @ weights
            return np.where(np.isfinite(plain), means, np.inf)
        return self._capped_mean(cap)

    def standard_error(self, times: ArrayLike) -> FloatArray:
        """As in `FirstPassage`: that of the law before the correction, times the slope of the correction."""
        return self._law.standard_error(times) * self._slopes(self._by_unit(times))

    def _selected(self, kept: NDArray[np.int64]) -> CorrectedPassage:
        return CorrectedPassage(self._law._selected(kept), self._calibration)
