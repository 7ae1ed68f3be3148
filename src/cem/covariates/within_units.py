"""Coefficients of covariates beside regimes, from what varies within units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["WithinUnits"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_VARIES = 1e-3
"""A column varies within units if their own curves leave more than this share of its length."""

_ENOUGH = 5
"""Degrees of freedom that units' own curves have to leave for each coefficient."""


class WithinUnits:
    """Least squares of one channel's readings on covariate columns, regimes, and each unit's own curve.

    Units differ by far more than the noise. A regression with one curve for all of them takes their differences for an
    effect of a covariate that varies little within regimes, and the regimes' offsets then make up for it. A column that
    does not vary within units has to be judged between them.

    Parameters
    ----------
    columns : ndarray of shape (n, q)
        The covariate columns at the readings.
    indicators : ndarray of shape (n, G)
        Whether a reading is in the regime.
    rows : ndarray of shape (n, p)
        The basis at the readings.
    units : ndarray of shape (n,), int
        Ascending.
    """

    def __init__(self, columns: FloatArray, indicators: FloatArray, rows: FloatArray, units: IntArray) -> None:
        self._columns = columns
        self._curves = _OwnCurves(rows, units)
        whole = np.concatenate([columns, indicators], axis=1)
        within = self._curves.taken_off(whole)
        varies = np.linalg.norm(within, axis=0) > _VARIES * np.linalg.norm(whole, axis=0)
        self._within = within[:, varies]
        self._varies = varies[: columns.shape[1]]
        if self._curves.degrees_left < _ENOUGH * whole.shape[1]:
            self._varies[:] = False
        self._between = np.concatenate([columns[:, ~self._varies], indicators, rows], axis=1)

    def coefficients(self, values: FloatArray) -> FloatArray:
        """The coefficients of the covariate columns, (q,), for readings (n,)."""
        found = np.zeros(len(self._varies))
        n_within = int(self._varies.sum())
        if n_within:
            own = self._curves.taken_off(values[:, None])[:, 0]
            found[self._varies] = _least_squares(self._within, own)[:n_within]
        if n_within < len(found):
            rest = values - self._columns @ found
            found[~self._varies] = _least_squares(self._between, rest)[: len(found) - n_within]
        return found


def _least_squares(design: FloatArray, values: FloatArray) -> FloatArray:
    lengths = np.maximum(np.linalg.norm(design, axis=0), 1e-300)
    found: FloatArray = np.linalg.lstsq(design / lengths, values, rcond=1e-9)[0] / lengths
    return found


class _OwnCurves:
    """Each unit's least-squares curve."""

    def __init__(self, rows: FloatArray, units: IntArray) -> None:
        self._starts = np.flatnonzero(np.diff(units, prepend=-1))
        self._units = np.repeat(np.arange(len(self._starts)), np.diff(np.append(self._starts, len(units))))
        # Columns orthonormal over all readings, less those that are not determined.
        left, singular, _ = np.linalg.svd(rows / np.maximum(np.abs(rows).max(axis=0), 1e-300), full_matrices=False)
        self._rows = left[:, singular > 1e-8 * singular[0]] * np.sqrt(len(rows))
        grams = self._moments(self._rows)
        self._inverses = np.linalg.pinv(grams, rcond=1e-10, hermitian=True)
        lengths = np.bincount(self._units)
        self.degrees_left = int(np.maximum(lengths - self._rows.shape[1], 0).sum())

    def _moments(self, columns: FloatArray) -> FloatArray:
        """Of the curves' functions and columns (n, m), by unit, (L, p, m)."""
        return np.stack(
            [np.add.reduceat(function[:, None] * columns, self._starts) for function in self._rows.T], axis=1
        )

    def taken_off(self, columns: FloatArray) -> FloatArray:
        """Columns (n, m) less each unit's own curve."""
        fitted = self._inverses @ self._moments(columns)
        result = np.array(columns)
        for j in range(self._rows.shape[1]):
            result -= self._rows[:, j : j + 1] * fitted[self._units, j]
        return result
