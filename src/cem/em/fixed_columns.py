"""The M step of coefficients that do not vary from unit to unit, model.md (23), (24), and of a noise for all modes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints, FixedColumns
from cem.em.kernels import _maximisation
from cem.em.sums import ExpectedStatistics
from cem.mixture.parameters import Parameters

__all__ = ["moved_coefficients", "steps_of", "with_one_noise", "with_pooled_noise"]

FloatArray = NDArray[np.float64]


def moved_coefficients(
    expected: ExpectedStatistics, parameters: Parameters, fixed: FixedColumns
) -> tuple[FloatArray, ExpectedStatistics]:
    """β after the M step, and the sums (14) of what it leaves.

    Parameters
    ----------
    expected : ExpectedStatistics
        With the sums (23), evaluated at `parameters`.
    parameters : Parameters
        The current ones.
    fixed : FixedColumns
        Which coefficients are one for all modes.

    Returns
    -------
    coefficients : ndarray of shape (K, Q)
        β + δ.
    expected : ExpectedStatistics
        With E_kc − (2 δᵀg − δᵀHδ) / σ² in place of E_kc, so that (15) gives the noise of (24).
    """
    assert parameters.fixed is not None
    steps, decreases = steps_of(expected, parameters.noise_variances, fixed, None)
    return parameters.fixed + steps, expected.with_noise_moments(
        expected.noise_moments - decreases / parameters.noise_variances
    )


def steps_of(
    expected: ExpectedStatistics,
    noise_variances: FloatArray,
    fixed: FixedColumns,
    gradients: FloatArray | None,
) -> tuple[FloatArray, FloatArray]:
    """δ of (24), and by how much σ² E falls; or, with other gradients, the curvature's inverse times these.

    Parameters
    ----------
    expected : ExpectedStatistics
        With the sums (23).
    noise_variances : ndarray of shape (K, C)
        σ².
    fixed : FixedColumns
    gradients : ndarray of shape (K, Q), optional
        In place of g.

    Returns
    -------
    steps : ndarray of shape (K, Q)
    decreases : ndarray of shape (K, C)
    """
    sums = expected.fixed_sums
    assert sums is not None
    if gradients is not None:
        sums = np.concatenate([gradients.ravel(), sums[gradients.size :]])
    K, C = noise_variances.shape
    steps, decreases = np.empty((K, len(fixed.by_mode))), np.empty((K, C))
    _maximisation.fixed_coefficients(
        sums,
        np.ascontiguousarray(expected.channel_counts),
        noise_variances,
        fixed.sizes,
        fixed.by_mode.astype(np.int32),
        steps,
        decreases,
    )
    return steps, decreases


def with_pooled_noise(
    expected: ExpectedStatistics, parameters: Parameters, constraints: Constraints
) -> ExpectedStatistics:
    """The sums (14) with E_kc such that (15) gives every mode the channel's Σ_k σ²_kc E_kc / Σ_k n̄_kc."""
    noise, counts = parameters.noise_variances, expected.observation_counts
    pooled = (noise * expected.noise_moments).sum(axis=0) / np.maximum(counts.sum(axis=0), 1e-300)
    pooled = np.maximum(pooled, constraints.noise_floors)
    return expected.with_noise_moments(pooled * counts / noise)


def with_one_noise(noise_variances: FloatArray, expected: ExpectedStatistics) -> FloatArray:
    """σ² after (15), (K, C), with that of the largest mode in modes that are too small and kept theirs."""
    counts = np.where(expected.channel_counts >= 1.0, expected.observation_counts, -1.0)
    largest = np.take_along_axis(noise_variances, counts.argmax(axis=0)[None], axis=0)
    return np.repeat(largest, len(noise_variances), axis=0)
