"""Constants of a channel for the kernels of candidate remaining lives; computed once for a model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.statistics.block_layout import unit_upper

__all__ = ["mode_constants"]

FloatArray = NDArray[np.float64]


def mode_constants(
    means: FloatArray, factors: FloatArray, noise_variances: FloatArray, loadings: FloatArray | None = None
) -> FloatArray:
    """Constants of one channel, (K, 3 + 2p + p^2), as _rul_level.h reads them; 2pr more where channels are linked.

    Parameters
    ----------
    means : ndarray of shape (K, p)
    factors : ndarray of shape (K, p, p)
        Lambda.
    noise_variances : ndarray of shape (K,)
    loadings : ndarray of shape (K, p, r), optional
        Gamma.
    """
    n_modes, p = means.shape
    upper = unit_upper(np.asarray(factors) / np.sqrt(noise_variances)[:, None, None])
    Q = 1.0 / np.diagonal(upper, axis1=1, axis2=2)
    upper[:, np.arange(p), np.arange(p)] = 1.0
    first = np.stack([1.0 / noise_variances, np.log(2.0 * np.pi * noise_variances), -np.log(Q).sum(axis=1)], axis=1)
    constants = [first, Q, means, upper.reshape(n_modes, p * p)]
    if loadings is not None:
        g = np.linalg.solve(upper, factors @ loadings / np.sqrt(noise_variances)[:, None, None])
        constants += [g.reshape(n_modes, -1), (Q[..., None] * g).reshape(n_modes, -1)]
    return np.concatenate(constants, axis=1)
