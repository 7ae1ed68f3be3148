"""ln P(x | k, r) of model.md (18) where candidates lie side by side in NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.prognosis.distribution import AnchoredStatistics

__all__ = ["candidate_log_densities"]

FloatArray = NDArray[np.float64]

MOST_CANDIDATES = 4_000
"""Small problems (units × candidates × modes) solved side by side: few enough to stay in the cache."""


def candidate_log_densities(
    statistics: AnchoredStatistics,
    shifts: Sequence[FloatArray],
    means: Sequence[FloatArray],
    factors: Sequence[FloatArray],
    noise_variances: FloatArray,
    *,
    information: ArrayLike | None = None,
) -> FloatArray:
    """ln P(x | k, r) of every unit, candidate and mode: (10) and (11) with R S(r) in place of R.

    Parameters
    ----------
    statistics : AnchoredStatistics
        Of L units.
    shifts : sequence over channels of ndarray (G, p_c, p_c), or (L, G, p_c, p_c)
        S(r), from `Basis.shift_matrix` of the channel's basis at the grid, or at each unit's own.
    means : sequence over channels of ndarray (K, p_c)
        μ_kc, in the user's terms.
    factors : sequence over channels of ndarray (K, p_c, p_c)
        Λ_kc, any square root of Σ_kc, in the user's terms.
    noise_variances : ndarray of shape (K, C)
        σ²_kc, in the channel's squared units.
    information : array_like of shape (C,), optional
        κ_c, above 0 and at most 1: each channel's readings count as that many independent ones (R and w by √κ, rss
        and n by κ), which is what noise correlated in time is worth. 1 if not given.

    Returns
    -------
    ndarray of shape (L, G, K)
    """
    n_units, n_channels = statistics.counts.shape
    n_grid, n_modes = shifts[0].shape[-3], len(noise_variances)
    worth = np.ones(n_channels) if information is None else np.asarray(information, dtype=np.float64)
    if worth.shape != (n_channels,) or not np.all((worth > 0) & (worth <= 1)):
        raise OptionError(f"information is {information!r}; {n_channels} numbers above 0 and at most 1 were expected")
    result = np.zeros((n_units, n_grid * n_modes))
    chunk = max(1, MOST_CANDIDATES // (n_grid * n_modes))
    # Of each unit's own: rows first, so that R S(r) is one product a unit; channels of one basis share them.
    by_rows = {id(shift): np.ascontiguousarray(np.swapaxes(shift, 1, 2)) for shift in shifts if shift.ndim == 4}
    for c in range(n_channels):
        variance = np.tile(noise_variances[:, c], n_grid)  # (G K,): candidates and modes lie side by side, last
        sigma = np.sqrt(variance)
        own = shifts[c].ndim == 4
        if not own:
            # Shifted parameters, shared by all units: S(r) Λ / σ and S(r) μ / σ, candidates last.
            p = shifts[c].shape[-1]
            moved = np.einsum("gij,kjm->imgk", shifts[c], factors[c]).reshape(p, p, -1) / sigma
            centre = np.einsum("gij,kj->igk", shifts[c], means[c]).reshape(p, -1) / sigma
        root = math.sqrt(worth[c])
        read = np.flatnonzero(statistics.counts[:, c] > 0)
        for first in range(0, len(read), chunk):
            some = read[first : first + chunk]
            R, w = root * statistics.triangles[c][some], root * statistics.projections[c][some]
            counts, norms = statistics.counts[some, c, None], statistics.residual_norms[some, c, None]
            constant = worth[c] * (counts * np.log(2.0 * math.pi * variance) + norms / variance)
            if own:
                B, shifted_means = _turned(R, by_rows[id(shifts[c])][some], factors[c], means[c], noise_variances[:, c])
            else:
                B, shifted_means = np.tensordot(R, moved, axes=1), np.tensordot(R, centre, axes=1)
            result[some] -= 0.5 * (constant + _misfit_and_log_det(B, w[:, :, None] / sigma - shifted_means))
    return result.reshape(n_units, n_grid, n_modes)


def _turned(
    R: FloatArray, shifts: FloatArray, factors: FloatArray, means: FloatArray, noise_variances: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """R S(r) Λ / σ, (l, p, p, G K), and R S(r) μ / σ, (l, p, G K), of units with r of their own: S is (l, p, G, p)."""
    n_units, p, n_grid = shifts.shape[:3]
    scale = 1.0 / np.sqrt(noise_variances)
    moved = (R @ shifts.reshape(n_units, p, -1)).reshape(shifts.shape)
    B = np.empty((n_units, p, p, n_grid, len(means)))
    for m in range(p):
        np.matmul(moved, (factors[:, :, m] * scale[:, None]).T, out=B[:, :, m])
    centre = moved @ (means * scale[:, None]).T
    return B.reshape(n_units, p, p, -1), centre.reshape(n_units, p, -1)


def _misfit_and_log_det(B: FloatArray, e: FloatArray) -> FloatArray:
    """‖e − B Ed‖² + ‖Ed‖² + ln|A| of (10)–(12), many small problems side by side.

    Parameters
    ----------
    B : ndarray of shape (l, p, p, X)
        The last axis holds the problems: loops are over p, and each step is one operation on all of them.
    e : ndarray of shape (l, p, X)

    Returns
    -------
    ndarray of shape (l, X)
    """
    p = B.shape[1]
    # Lower triangle of A = I + BᵀB, turned into its Cholesky factor G in place; u = G⁻¹Bᵀe on the way.
    G: list[list[FloatArray]] = [[] for _ in range(p)]
    u: list[FloatArray] = []
    log_det = np.zeros((e.shape[0], e.shape[2]))
    for i in range(p):
        for j in range(i + 1):
            entry = np.einsum("lmx,lmx->lx", B[:, :, i], B[:, :, j])
            if i == j:
                entry += 1.0
            for m in range(j):
                entry -= G[i][m] * G[j][m]
            G[i].append(np.sqrt(entry) if i == j else entry / G[j][j])
        log_det += 2.0 * np.log(G[i][i])
        right = np.einsum("lmx,lmx->lx", B[:, :, i], e)
        for m in range(i):
            right -= G[i][m] * u[m]
        u.append(right / G[i][i])
    # Back substitution Ed = G⁻ᵀu, and the residual that (11) wants, never ‖e‖² − ‖u‖².
    d = np.empty_like(e)
    for i in reversed(range(p)):
        left = u[i]
        for m in range(i + 1, p):
            left = left - G[m][i] * d[:, m]
        d[:, i] = left / G[i][i]
    rest = e - np.einsum("lmjx,ljx->lmx", B, d)
    result: FloatArray = np.einsum("lmx,lmx->lx", rest, rest) + np.einsum("lmx,lmx->lx", d, d) + log_det
    return result
