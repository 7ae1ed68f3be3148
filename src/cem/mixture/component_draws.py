"""From draws of the parameters to a few components for each mode.

Refits θ* of bootstrap fleets scatter about the fit θ̂ as the fit scatters about the truth. So they are *reflected*
before they are averaged: whatever the refits do to the fit, the fit is taken to have done to the truth. With Λ* = Λ̂ A,

    Σ = Λ̂ (A Aᵀ)⁻¹ Λ̂ᵀ,    μ = μ̂ − Λ̂ (A Aᵀ)⁻¹ Λ̂⁻¹ (μ* − μ̂),    σ² = σ̂⁴ / σ*²,    ln π = 2 ln π̂ − ln π*

For a single mode these are draws of an inverse Wishart law and its normal, so that their average is Student's.
Covariances and noise that refits underestimate come out larger, and modes that refits move apart come closer. A
hundredth of the noise variance is added to Σ and Σ* before, and taken off after: along directions in which units hardly
differ a refit's Σ* says nothing, and A would turn its noise into variance along others.

Then the draws of a mode are cut into J groups along their principal direction, and each group becomes a component: the
geometric mean of its covariances and noise, plus the scatter of its means.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.mixture.grouped import Components
from cem.mixture.parameters import Parameters

__all__ = ["components_of_draws", "grouped_draws"]

FloatArray = NDArray[np.float64]

# Of a variance to that of the fit, along any direction. A draw on a floor says nothing more. A reflected one is the
# reciprocal of a refit's: where few readings determine a direction, refits lose it, and a variance many times that of
# the fit would take units from one mode and give them to another.
_LARGEST_RATIO, _LARGEST_REFLECTED = 20.0, 4.0
_SMALLEST_WEIGHT = 1e-3
_SMALLEST_SHARE = 1e-6
_OF_NOISE = 0.01  # smaller variances of coefficients are known too little to be reflected
_SINGULAR = 1e-12  # a singular value below this share of the largest is 0


class _Channel(NamedTuple):
    """A channel's draws in one mode, whitened by the fit: T = μ̂ + R t."""

    root: FloatArray  # (p, p)     R Rᵀ = Σ + ridge in the range of Λ, of dimension n; p - n unit vectors beside it
    own_share: FloatArray  # (n,)  of Σ in Σ + ridge; the coefficients t that vary from unit to unit come first
    means: FloatArray  # (B, p)
    logs: FloatArray  # (B, n, n)  logarithms of covariances of t, with the ridge
    log_noise: FloatArray  # (B,)  less that of the fit
    loadings: FloatArray  # (B, n, r)


def components_of_draws(
    fit: Parameters,
    draws: Sequence[Parameters],
    n_components: int,
    *,
    reflect: bool,
    record: dict[str, Any],
    spread: float = 1.0,
) -> Components:
    """Summarise draws of the parameters.

    Parameters
    ----------
    fit : Parameters
        Of K modes, in internal coordinates.
    draws : sequence of Parameters
        B of them, in the same coordinates and order of modes.
    n_components : int
        J, of each mode.
    reflect : bool
        True for refits of bootstrap fleets; False for draws of what the parameters may be.
    record : dict
        Kept with the components.
    spread : float
        Factor on how far draws are from the fit, on the scale of logarithms where numbers are positive.

    Returns
    -------
    Components
        The same for the same draws. With draws that all equal the fit, each mode is the fit's, to rounding.
    """
    return grouped_draws(fit, draws, n_components, reflect=reflect, record=record, spread=spread)[0]


def grouped_draws(
    fit: Parameters,
    draws: Sequence[Parameters],
    n_components: int,
    *,
    reflect: bool,
    record: dict[str, Any],
    spread: float = 1.0,
) -> tuple[Components, list[tuple[NDArray[np.intp], FloatArray]]]:
    """`components_of_draws`, and of each component the draws that it stands for, with their shares.

    Parameters
    ----------
    fit, draws, n_components, reflect, record, spread
        As for `components_of_draws`.
    """
    weights = _weights(fit, draws, -spread if reflect else spread)
    J = min(n_components, len(draws))
    parts: list[tuple[float, FloatArray, FloatArray, FloatArray, FloatArray]] = []
    groups: list[tuple[NDArray[np.intp], FloatArray]] = []
    for k in range(fit.n_modes):
        channels = [_whitened(fit, draws, k, c, reflect, spread) for c in range(fit.n_channels)]
        for group in np.array_split(_order(channels) if J > 1 else np.arange(len(draws)), J):
            shares = weights[group, k]
            total = float(shares.sum())
            shares = shares / total if total > 0 else np.full(len(group), 1.0 / len(group))
            groups.append((group, shares))
            parts.append((total / len(draws), *_component(fit, k, channels, group, shares)))
    found = Parameters(
        np.array([part[0] for part in parts]) / sum(part[0] for part in parts),
        np.stack([part[1] for part in parts]),
        np.stack([part[2] for part in parts]),
        np.stack([part[3] for part in parts]),
        fit.sizes,
        None if fit.loadings is None else np.stack([part[4] for part in parts]),
    )
    return Components(found, np.arange(0, len(parts) + 1, J), record), groups


def _weights(fit: Parameters, draws: Sequence[Parameters], spread: float) -> FloatArray:
    """π of each draw, (B, K)."""
    drawn = np.stack([draw.weights for draw in draws])
    if spread == 1.0 or fit.n_modes == 1:
        return drawn
    base = np.log(np.maximum(fit.weights, _SMALLEST_WEIGHT))
    logs = base + spread * (np.log(np.maximum(drawn, _SMALLEST_WEIGHT)) - base)
    found = np.exp(logs - logs.max(axis=1, keepdims=True)) * (fit.weights > 0)
    result: FloatArray = found / found.sum(axis=1, keepdims=True)
    return result


def _whitened(fit: Parameters, draws: Sequence[Parameters], k: int, c: int, reflect: bool, spread: float) -> _Channel:
    root, own_share = _basis_of(fit.factor(k, c), _OF_NOISE * float(fit.noise_variances[k, c]))
    n = len(own_share)
    # Coefficients that do not vary belong to the mode: only their means have a law.
    A = np.linalg.solve(root, np.stack([draw.factor(k, c) for draw in draws]))[:, :n]
    e, U = np.linalg.eigh(A @ np.swapaxes(A, -1, -2) + np.diag(1.0 - own_share))
    most = np.log(_LARGEST_REFLECTED if reflect and fit.n_modes > 1 else _LARGEST_RATIO)
    logs = np.clip(np.log(np.maximum(e, np.exp(-most))), -most, most) * (-1.0 if reflect else 1.0)
    gaps = np.stack([draw.mean(k, c) for draw in draws]) - fit.mean(k, c)
    means: FloatArray = np.asarray(np.linalg.solve(root, gaps.T), dtype=np.float64).T
    if reflect:
        means = -means
        means[:, :n] = np.einsum("bij,bj,bkj,bk->bi", U, np.exp(logs), U, means[:, :n])
    log_noise = np.log(np.array([draw.noise_variances[k, c] for draw in draws]) / fit.noise_variances[k, c])
    log_noise = np.clip(log_noise, -most, most) * (-1.0 if reflect else 1.0)
    matrices = np.einsum("bij,bj,bkj->bik", U, spread * logs, U)
    loadings = np.zeros((len(draws), n, fit.rank))
    if fit.rank:
        # R⁻¹ W of the fit, and of each draw turned to the factors of the fit, which fix no axes.
        own = np.linalg.solve(root, fit.factor(k, c) @ fit.loading(k, c))[:n]
        turned = A @ np.stack([draw.loading(k, c) for draw in draws])
        left, _, right = np.linalg.svd(np.swapaxes(turned, -1, -2) @ own)
        turned = turned @ (left @ right)
        loadings = own + (-spread if reflect else spread) * (turned - own)
    return _Channel(root, own_share, spread * means, matrices, spread * log_noise, loadings)


def _basis_of(factor: FloatArray, ridge: float) -> tuple[FloatArray, FloatArray]:
    """R of a channel, and the shares of Σ in Σ + ridge along those of its columns that span the range of Λ."""
    U, s, _ = np.linalg.svd(factor)
    n = int(np.count_nonzero(s > _SINGULAR * s[:1])) if s.size and s[0] > 0 else 0
    whole = np.square(s[:n]) + ridge
    return U * np.concatenate([np.sqrt(whole), np.ones(len(s) - n)]), np.square(s[:n]) / whole


def _order(channels: Sequence[_Channel]) -> NDArray[np.intp]:
    """Draws along the direction in which they scatter most, in about the units of the log-density."""
    columns = []
    for channel in channels:
        i, j = np.tril_indices(len(channel.own_share))
        columns += [channel.means, 0.7 * channel.logs[:, i, j], 2.0 * channel.log_noise[:, None]]
    X = np.concatenate(columns, axis=1)
    X = X - X.mean(axis=0)
    # The sign of a principal direction is free: take that of its largest entry.
    direction = np.linalg.svd(X, full_matrices=False)[2][0]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])
    return np.argsort(X @ direction, kind="stable")


def _component(
    fit: Parameters, k: int, channels: Sequence[_Channel], group: NDArray[np.intp], shares: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Means (P,), factors (Σ p²,), noise variances (C,) and loadings (P, r) of one component."""
    layout = fit.layout
    means, factors = np.array(fit.means[k]), np.zeros(fit.factors.shape[1])
    noise, loadings = np.array(fit.noise_variances[k]), np.zeros((len(means), fit.rank))
    for c, channel in enumerate(channels):
        centre = shares @ channel.means[group]
        gap = channel.means[group] - centre
        S, n = np.einsum("b,bi,bj->ij", shares, gap, gap), len(channel.own_share)
        S[:n, :n] += _less_ridge(np.einsum("b,bij->ij", shares, channel.logs[group]), channel.own_share)
        if fit.rank:
            W = np.einsum("b,bir->ir", shares, channel.loadings[group])
            apart = channel.loadings[group] - W
            S[:n, :n] += np.einsum("b,bir,bjr->ij", shares, apart, apart)
        layout.vector(means, c)[:] += channel.root @ centre
        factor = _lower(channel.root @ _root(S))
        layout.matrix(factors, c)[:] = factor
        noise[c] *= np.exp(shares @ channel.log_noise[group])
        if fit.rank:
            start = int(layout.mean_offsets[c])
            rows = slice(start, start + fit.sizes[c])
            loadings[rows] = np.linalg.lstsq(factor, channel.root[:, :n] @ W, rcond=1e-14)[0]
    return means, factors, noise, loadings


def _less_ridge(logs: FloatArray, own_share: FloatArray) -> FloatArray:
    """Σ of a component from the logarithm of Σ + ridge, (n, n), where I is Σ + ridge of the fit."""
    if not len(own_share):
        return logs
    values, U = np.linalg.eigh(logs)
    S = np.diag(own_share) + (U * np.expm1(values)) @ U.T
    values, U = np.linalg.eigh(S)
    least = min(float(own_share.min()), _SMALLEST_SHARE)
    found: FloatArray = S if values[0] >= least else (U * np.maximum(values, least)) @ U.T
    return found


def _root(S: FloatArray) -> FloatArray:
    """A square root of a positive semi-definite matrix; rows of zeros stay zero."""
    found = np.zeros_like(S)
    own = np.flatnonzero(S.any(axis=1))
    values, U = np.linalg.eigh(S[np.ix_(own, own)])
    found[np.ix_(own, own)] = U * np.sqrt(np.maximum(values, 0.0))
    return found


def _lower(root: FloatArray) -> FloatArray:
    """Lower triangular with a non-negative diagonal, of the same product with its transpose."""
    upper = np.asarray(np.linalg.qr(root.T, mode="r"), dtype=np.float64)
    found: FloatArray = (upper * np.where(np.diagonal(upper) < 0, -1.0, 1.0)[:, None]).T
    found[~root.any(axis=1)] = 0.0
    return np.tril(found)
