"""Quasi-Newton coordinates of mixtures with fixed columns, or with one noise for all modes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints, FixedColumns
from cem.em.fixed_columns import steps_of
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import Metric, UnconstrainedCoordinates
from cem.mixture.parameters import Parameters

__all__ = ["FixedCoordinates"]

FloatArray = NDArray[np.float64]


class FixedCoordinates:
    """The vector of `UnconstrainedCoordinates`, with one τ for each channel if noise is pooled, and β after it.

    β is unconstrained already: the coefficients of common columns come first, then those of each mode.

    Parameters
    ----------
    plain : UnconstrainedCoordinates
        Of all other parameters.
    constraints : Constraints
        Of the M step.
    n_modes : int
        K.
    sizes : tuple of int
        p_c.
    """

    def __init__(
        self, plain: UnconstrainedCoordinates, constraints: Constraints, n_modes: int, sizes: tuple[int, ...]
    ) -> None:
        self._plain, self._fixed, self.n_modes = plain, constraints.fixed, n_modes
        self._pooled = constraints.pooled_noise
        first = n_modes * (1 + sum(sizes))
        self._noise = slice(first, first + n_modes * len(sizes))

    def vector(self, point: Parameters) -> FloatArray:
        """Convert parameters that satisfy the constraints to a vector."""
        vector = self._plain.vector(point)
        if self._pooled:
            vector = self._tied(vector, np.mean)
        if self._fixed is None:
            return vector
        assert point.fixed is not None
        return np.concatenate([vector, self._packed(point.fixed, self._fixed)])

    def parameters(self, vector: FloatArray) -> Parameters:
        """Convert any vector to parameters that satisfy the constraints; LinAlgError as for the plain ones."""
        n_free = 0 if self._fixed is None else self._fixed.n_free(self.n_modes)
        rest, beta = vector[: len(vector) - n_free], vector[len(vector) - n_free :]
        found = self._plain.parameters(self._untied(rest))
        return found if self._fixed is None else replace(found, fixed=self._unpacked(beta, self._fixed))

    def gradient(
        self, vector: FloatArray, point: Parameters, sums: ExpectedStatistics
    ) -> tuple[FloatArray, _FixedMetric]:
        """Gradient of the objective, and a metric; LinAlgError as for the plain ones."""
        n_free = 0 if self._fixed is None else self._fixed.n_free(self.n_modes)
        plain, metric = self._plain.gradient(self._untied(vector[: len(vector) - n_free]), point, sums)
        if self._pooled:
            plain = self._tied(plain, np.sum)
        whole = _FixedMetric(metric, self, sums, point.noise_variances, n_free)
        if self._fixed is None:
            return plain, whole
        assert sums.fixed_sums is not None
        Q = len(self._fixed.by_mode)
        g = sums.fixed_sums[: self.n_modes * Q].reshape(self.n_modes, Q)
        by_noise = g / np.repeat(point.noise_variances, self._fixed.sizes, axis=1)
        return np.concatenate([plain, self._packed(by_noise, self._fixed, np.sum)]), whole

    # ---- noise: (K, C) numbers of the plain vector, or C

    def _tied(self, vector: FloatArray, how: np.ufunc | object) -> FloatArray:
        own = vector[self._noise].reshape(self.n_modes, -1)
        one = own.mean(axis=0) if how is np.mean else own.sum(axis=0)
        return np.concatenate([vector[: self._noise.start], one, vector[self._noise.stop :]])

    def _untied(self, vector: FloatArray) -> FloatArray:
        if not self._pooled:
            return vector
        n_channels = (self._noise.stop - self._noise.start) // self.n_modes
        start = self._noise.start
        one = vector[start : start + n_channels]
        return np.concatenate([vector[:start], np.tile(one, self.n_modes), vector[start + n_channels :]])

    # ---- β: (K, Q) numbers, or the free ones

    def _packed(self, beta: FloatArray, fixed: FixedColumns, how: object = np.mean) -> FloatArray:
        common = beta[:, ~fixed.by_mode]
        one = common.mean(axis=0) if how is np.mean else common.sum(axis=0)
        return np.concatenate([one, beta[:, fixed.by_mode].ravel()])

    def _unpacked(self, free: FloatArray, fixed: FixedColumns) -> FloatArray:
        beta = np.empty((self.n_modes, len(fixed.by_mode)))
        n_common = int(np.count_nonzero(~fixed.by_mode))
        beta[:, ~fixed.by_mode] = free[:n_common]
        beta[:, fixed.by_mode] = free[n_common:].reshape(self.n_modes, -1)
        return beta

    def _scaled_coefficients(self, free: FloatArray, sums: ExpectedStatistics, noise: FloatArray) -> FloatArray:
        """The inverse of the curvature by β, Σ H / σ², times a vector."""
        fixed = self._fixed
        assert fixed is not None
        gradients = self._unpacked(free, fixed) * np.repeat(noise, fixed.sizes, axis=1)
        gradients[1:, ~fixed.by_mode] = 0.0  # the sum over modes counts once
        steps, _ = steps_of(sums, noise, fixed, gradients)
        return self._packed(steps, fixed)


@dataclass(frozen=True, eq=False)
class _FixedMetric:
    """The plain metric, with the curvatures by a pooled τ and by β."""

    plain: Metric
    coordinates: FixedCoordinates
    sums: ExpectedStatistics
    noise_variances: FloatArray
    n_free: int

    def scaled(self, vector: FloatArray) -> FloatArray:
        """The inverse times a vector."""
        at = self.coordinates
        rest, free = vector[: len(vector) - self.n_free], vector[len(vector) - self.n_free :]
        result = self.plain.scaled(at._untied(rest))
        if at._pooled:
            start, n_channels = at._noise.start, self.noise_variances.shape[1]
            curvature = (1.0 / self.plain.noise_scales).sum(axis=0)
            result = at._tied(result, np.mean)
            result[start : start + n_channels] = rest[start : start + n_channels] / curvature
        if not self.n_free:
            return result
        return np.concatenate([result, at._scaled_coefficients(free, self.sums, self.noise_variances)])
