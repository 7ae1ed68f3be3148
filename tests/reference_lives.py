"""Twins in NumPy of what weighs remaining lives: the kernels of cem.prognosis are compared with them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cem.basis.families import Basis
from cem.lifetimes.grid import cell_edges
from cem.lifetimes.lifetimes import LinkedLognormal
from cem.numerics.normal import log_normal_cdf
from cem.panel.panel import Panel
from cem.statistics.anchored import AnchoredStatistics


def anchored_statistics(panel: Panel, bases: Sequence[Basis]) -> AnchoredStatistics:
    """One QR in NumPy a unit, basis and pattern of missing cells."""
    n_units, n_channels = panel.n_units, panel.n_channels
    triangles = [np.zeros((n_units, basis.size, basis.size)) for basis in bases]
    projections = [np.zeros((n_units, basis.size)) for basis in bases]
    norms, counts = np.zeros((n_units, n_channels)), np.zeros((n_units, n_channels), dtype=np.int64)
    ages = np.array(panel.times[np.asarray(panel.offsets[1:]) - 1], dtype=np.float64)
    for unit in range(n_units):
        rows = slice(int(panel.offsets[unit]), int(panel.offsets[unit + 1]))
        times, values = panel.times[rows] - ages[unit], panel.values[rows]
        # One factorisation for all channels of one basis that are observed at the same times.
        alike: dict[tuple[Basis, bytes], list[int]] = {}
        for c, seen in enumerate(~np.isnan(values).T):
            if seen.any():
                alike.setdefault((bases[c], seen.tobytes()), []).append(c)
        for (basis, pattern), channels in alike.items():
            there, p = np.frombuffer(pattern, dtype=np.bool_), basis.size
            readings = values[there][:, channels]
            # The triangle of [Φ x] holds w above row p and what is left of x below: no orthogonal factor is formed.
            whole = np.asarray(np.linalg.qr(np.column_stack([basis(times[there]), readings]), mode="r"))
            kept = min(len(whole), p)
            for column, c in enumerate(channels, start=p):
                triangles[c][unit, :kept] = whole[:kept, :p]
                projections[c][unit, :kept] = whole[:kept, column]
                norms[unit, c] = float(np.square(whole[p:, column]).sum())
                counts[unit, c] = len(readings)
    return AnchoredStatistics(tuple(triangles), tuple(projections), norms, counts, ages, tuple(panel.units))


def candidate_log_densities(
    statistics: AnchoredStatistics,
    shifts: Sequence[np.ndarray],
    means: Sequence[np.ndarray],
    factors: Sequence[np.ndarray],
    noise_variances: np.ndarray,
    *,
    information: Sequence[float] | None = None,
) -> np.ndarray:
    """ln P(x | k, r), shape (L, G, K); arguments as of `cem.prognosis.candidate_log_densities`."""
    n_units, n_channels = statistics.counts.shape
    n_grid, n_modes = shifts[0].shape[-3], len(noise_variances)
    worth = np.ones(n_channels) if information is None else np.asarray(information, dtype=np.float64)
    result = np.zeros((n_units, n_grid * n_modes))
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
        if len(read):
            some = read
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
    R: np.ndarray, shifts: np.ndarray, factors: np.ndarray, means: np.ndarray, noise_variances: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """R S(r) Λ / σ, (l, p, p, G K), and R S(r) μ / σ, (l, p, G K), of units with r of their own: S is (l, p, G, p)."""
    n_units, p, n_grid = shifts.shape[:3]
    scale = 1.0 / np.sqrt(noise_variances)
    moved = (R @ shifts.reshape(n_units, p, -1)).reshape(shifts.shape)
    B = np.empty((n_units, p, p, n_grid, len(means)))
    for m in range(p):
        np.matmul(moved, (factors[:, :, m] * scale[:, None]).T, out=B[:, :, m])
    centre = moved @ (means * scale[:, None]).T
    return B.reshape(n_units, p, p, -1), centre.reshape(n_units, p, -1)


def _misfit_and_log_det(B: np.ndarray, e: np.ndarray) -> np.ndarray:
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
    G: list[list[np.ndarray]] = [[] for _ in range(p)]
    u: list[np.ndarray] = []
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
    return np.einsum("lmx,lmx->lx", rest, rest) + np.einsum("lmx,lmx->lx", d, d) + log_det


def log_survival_given(lifetimes, lives, means, variances) -> np.ndarray:
    """ln P(life > t | k) of linked laws where γᵀf is N(mean, variance), both (..., K)."""
    laws = [law for law in lifetimes.laws if isinstance(law, LinkedLognormal)]
    locations, own = np.array([law.location for law in laws]), np.array([law.own_variance for law in laws])
    with np.errstate(divide="ignore"):
        log_lives = np.log(lives)[..., None]
    return log_normal_cdf((locations + means - log_lives) / np.sqrt(own + variances))


def posterior(log_densities, weights, lifetimes, ages, grid, shared=None) -> tuple[np.ndarray, np.ndarray]:
    """(18) in logarithms throughout: P(r, k | x), (L, G, K), and the log evidence, (L,)."""
    edges = cell_edges(grid)
    edges[..., 0] = 0.0
    lives = ages[:, None] + edges[..., :-1]
    nothing = np.full((len(ages), 1, lifetimes.n_modes), -np.inf)
    if shared is None:
        log_survival = lifetimes.log_survival(lives)
        beyond = np.concatenate([log_survival[:, 1:], nothing], axis=1)
    else:
        log_survival = log_survival_given(lifetimes, lives, shared.means, shared.variances)
        ends = log_survival_given(lifetimes, lives[:, 1:], shared.means[:, :-1], shared.variances[:, :-1])
        beyond = np.concatenate([ends, nothing], axis=1)
    with np.errstate(divide="ignore", invalid="ignore", under="ignore"):
        log_mass = log_survival + np.log(-np.expm1(np.minimum(beyond - log_survival, 0.0)))
        joint = np.log(weights) + np.where(np.isneginf(log_survival), -np.inf, log_mass) + log_densities
        highest = joint.max(axis=(1, 2))
        masses = np.exp(joint - highest[:, None, None])
    totals = masses.sum(axis=(1, 2))
    return masses / totals[:, None, None], highest + np.log(totals)


def score_table() -> tuple[np.ndarray, np.ndarray]:
    """Normal scores, and ln Φ there."""
    points = np.linspace(-37.0, 0.1, 15_000)
    return points, log_normal_cdf(points)


def scores_of(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Φ⁻¹ from the smaller tail."""
    points, log_cdf = score_table()
    with np.errstate(divide="ignore"):
        tail = np.interp(np.log(np.minimum(np.minimum(below, above), 0.5)), log_cdf, points)
    return np.where(below <= above, tail, -tail)


def recalibrated(masses: np.ndarray, knots: Sequence[float], images: Sequence[float]) -> np.ndarray:
    """Φ(h(Φ⁻¹(F))) of the cells of laws, (L, G)."""
    points, log_cdf = score_table()
    nothing = np.zeros((len(masses), 1))
    below = np.concatenate([nothing, np.cumsum(masses, axis=1)], axis=1)
    above = np.concatenate([np.cumsum(masses[:, ::-1], axis=1)[:, ::-1], nothing], axis=1)
    knots, images = np.asarray(knots), np.asarray(images)
    scores = scores_of(below, above)
    slopes = np.diff(images) / np.diff(knots)
    piece = np.clip(np.searchsorted(knots, scores, side="right") - 1, 0, len(slopes) - 1)
    scores = images[piece] + slopes[piece] * (scores - knots[piece])
    with np.errstate(under="ignore"):
        low = np.exp(np.interp(np.minimum(scores, 0.0), points, log_cdf))
        high = np.exp(np.interp(np.minimum(-scores, 0.0), points, log_cdf))
    below, above = np.where(scores <= 0, low, 1.0 - high), np.where(scores <= 0, 1.0 - low, high)
    below[:, 0], above[:, 0], below[:, -1], above[:, -1] = 0.0, 1.0, 1.0, 0.0
    after = np.where(scores[:, 1:] <= 0, np.diff(below, axis=1), -np.diff(above, axis=1))
    after = np.maximum(after, 0.0)
    return after / after.sum(axis=1, keepdims=True)


def scores_at(edges: np.ndarray, masses: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
    """Φ⁻¹ of laws at outcomes, (L,)."""
    below = np.concatenate([np.zeros((len(masses), 1)), np.cumsum(masses, axis=1)], axis=1)
    above = np.concatenate([np.cumsum(masses[:, ::-1], axis=1)[:, ::-1], np.zeros((len(masses), 1))], axis=1)
    edges = np.broadcast_to(edges, below.shape)
    rows = list(zip(outcomes, edges, below, above, strict=True))
    return scores_of(
        np.array([np.interp(t, e, b) for t, e, b, _ in rows]), np.array([np.interp(t, e, a) for t, e, _, a in rows])
    )
