"""Constants of linked channels some of whose coefficients do not vary from unit to unit, for `_rul`.

The kernel takes Σ / σ² = U D Uᵀ and g = U⁻¹ Λ Γ / σ, and divides g by D. A direction without variance has g = 0; what
rounding leaves of it must not be divided.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["linked_constants", "without_variance"]

FloatArray = NDArray[np.float64]

_NOTHING = 1e-12
"""Standard deviation, as a share of the largest, that stands for none (as in `cem.statistics._blocks`)."""


def without_variance(factors: FloatArray) -> NDArray[np.bool_]:
    """Whether a Λ has no full rank, by the diagonal of its triangle, (K, p) from (K, p, p)."""
    diagonal = np.abs(np.diagonal(factors, axis1=1, axis2=2))
    result: NDArray[np.bool_] = diagonal <= _NOTHING * np.abs(factors).max(axis=(1, 2), initial=0.0)[:, None]
    return result


def linked_constants(mean: FloatArray, factor: FloatArray, noise_variance: float, loadings: FloatArray) -> FloatArray:
    """The row of `mode_constants` for one mode, (3 + 2p + p² + 2pr,).

    U D Uᵀ comes from orthogonalising the rows of Λ from the last one on, which leaves out directions without variance.

    Parameters
    ----------
    mean : ndarray of shape (p,)
    factor : ndarray of shape (p, p)
        Λ.
    noise_variance : float
    loadings : ndarray of shape (p, r)
        Γ.
    """
    p = len(mean)
    rows = factor / np.sqrt(noise_variance)
    moved = rows @ loadings
    sizes = np.linalg.norm(rows, axis=1)
    least = _NOTHING * sizes.max() if sizes.any() else _NOTHING
    U, d, g = np.eye(p), np.full(p, least**2), np.zeros((p, loadings.shape[1]))
    for j in range(p - 1, -1, -1):
        square = float(rows[j] @ rows[j])
        if square <= max(_NOTHING * sizes[j], least) ** 2:
            continue
        d[j], g[j] = square, moved[j]
        U[:j, j] = rows[:j] @ rows[j] / square
        rows[:j] -= np.outer(U[:j, j], rows[j])
        moved[:j] -= np.outer(U[:j, j], g[j])
    Q = 1.0 / d
    first = [1.0 / noise_variance, np.log(2.0 * np.pi * noise_variance), -np.log(Q).sum()]
    return np.concatenate([first, Q, mean, U.ravel(), g.ravel(), (Q[:, None] * g).ravel()])
