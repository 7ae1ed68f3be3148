"""Offsets and scales of channels by regime: x' = (x - a_cg) / s_cg.

The update is exact. With u = 1/s and v = -a/s the readings of a channel in a regime enter the expected log-likelihood
as n ln u - 1/2 sum w (u x + v - z)^2, with z the curve that the model expects and w its weight. The prior adds

    n_0 [ln u - u^2 / 2] - kappa (u m + v)^2 / 2,

as if n_0 = 20 readings had scale 1, and as if a reading of value m, the mean of like regimes, had been at the common
level. kappa is the inverse of the variance of regimes' means about those of like regimes, so the prior of offsets is
weak where regimes differ: what ten readings say of an offset of a hundred deviations needs no correction. The maximum
is the root of a quadratic.

A model whose curves are c f + d, with x' -> c x' + d, has the same likelihood. That freedom is fixed twice: for the
update at the point where the prior is largest, which makes the objective that never falls the likelihood times the
largest prior of all equivalent maps, `RegimeMaps.log_prior`; and afterwards by sum n ln s = 0 and sum n a = 0 over
the training readings of each channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from cem.covariates.regimes import FEW_READINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

__all__ = ["N_SUMS", "RegimeMaps", "initial_maps", "map_sums", "mapped", "refined_maps"]

_ROWS_AT_A_TIME = 2048
N_SUMS = 6
"""Sums of a channel in a regime: n, sum w, sum w x', sum w x'^2, sum w z, sum w x' z."""


@dataclass(frozen=True, eq=False)
class RegimeMaps:
    """Offsets and scales by regime and channel, with their prior.

    Attributes
    ----------
    offsets, scales : ndarray of shape (G, C)
        a, in the channels' units; s. Over the training readings of a channel, sum a = 0 and sum ln s = 0.
    counts : ndarray of shape (G, C)
        Training readings of each channel in each regime.
    prior_levels : ndarray of shape (G, C)
        m: mean readings of like regimes, in the channels' units.
    prior_precisions : ndarray of shape (C,)
        kappa, in 1 / (channel's unit)^2.
    """

    offsets: FloatArray
    scales: FloatArray
    counts: IntArray
    prior_levels: FloatArray
    prior_precisions: FloatArray

    def with_channel(self, channel: int, other: RegimeMaps) -> RegimeMaps:
        """The maps with the one channel of others in the place of one of theirs."""
        changed = {}
        for name in ("offsets", "scales", "counts", "prior_levels", "prior_precisions"):
            changed[name] = getattr(self, name).copy()
            changed[name][..., channel] = getattr(other, name)[..., 0]
        return replace(self, **changed)

    @property
    def log_prior(self) -> FloatArray:
        """Largest log-prior among the maps that are equivalent to these, by channel, (C,); up to a constant."""
        u = 1.0 / self.scales
        excess = u * (self.prior_levels - self.offsets)
        return np.array([_best_gauge(u[:, c], excess[:, c], self.prior_precisions[c])[2] for c in range(u.shape[1])])


def mapped(values: FloatArray, regimes: IntArray, offsets: FloatArray, scales: FloatArray) -> FloatArray:
    """x' of readings (N, C) in regimes (N,)."""
    result, inverses = np.empty(values.shape), 1.0 / scales  # as in scoring: the same bits
    of_rows = np.empty((_ROWS_AT_A_TIME, values.shape[1]))
    for first in range(0, len(values), _ROWS_AT_A_TIME):  # a part stays in the cache through all three steps
        rows = slice(first, first + _ROWS_AT_A_TIME)
        own = regimes[rows]
        part, buffer = result[rows], of_rows[: len(own)]
        np.subtract(values[rows], offsets.take(own, axis=0, out=buffer, mode="clip"), out=part)
        np.multiply(part, inverses.take(own, axis=0, out=buffer, mode="clip"), out=part)
    return result


def map_sums(
    values: FloatArray, regimes: IntArray, curves: FloatArray, weights: FloatArray, n_regimes: int
) -> FloatArray:
    """Sums (G, 6) of one channel for `refined_maps`; those of parts of the readings add up.

    Parameters
    ----------
    values : ndarray of shape (N,)
        x', mapped by the maps at hand; NaN = missing.
    regimes : ndarray of shape (N,), int
    curves : ndarray of shape (N,) or (N, K)
        Posterior mean of the curve at each reading, in the units of x', by mode.
    weights : ndarray of shape (N,) or (N, K)
        Responsibility of the mode divided by its noise variance.
    n_regimes : int
        G.
    """
    known = np.isfinite(values)
    x, g = values[known], regimes[known]
    z, w = curves[known].reshape(len(x), -1), weights[known].reshape(len(x), -1)
    total, weighted = w.sum(axis=1), (w * z).sum(axis=1)
    parts = (None, total, total * x, total * x * x, weighted, weighted * x)
    return np.stack([np.bincount(g, weights=part, minlength=n_regimes) for part in parts], axis=1).astype(np.float64)


def refined_maps(
    maps: RegimeMaps,
    sums: FloatArray,
    origins: FloatArray | None = None,
    units: FloatArray | None = None,
    *,
    keep_scales: bool = False,
) -> tuple[RegimeMaps, FloatArray, FloatArray]:
    """The maps that maximise the expected penalised log-likelihood.

    Parameters
    ----------
    maps : RegimeMaps
        At hand: `sums` are of readings that they mapped.
    sums : ndarray of shape (C, G, 6)
        From `map_sums`, of all training readings.
    origins, units : ndarray of shape (C,), optional
        Sums, curves and weights are of (x' - origin) / unit. It keeps their digits where x' is far from 0.
    keep_scales : bool
        Move the offsets alone, to their best values at these scales.

    Returns
    -------
    maps : RegimeMaps
    factors, shifts : ndarray of shape (C,)
        The curves of the new x' are c f + d, c > 0. With origins c o + d and units c h in place of o and h the model's
        parameters are as before; without origins, means, common coefficients and lower factors have to be multiplied by
        c, noise variances by its square, and d added to the curves. The likelihood times `log_prior` never falls then.
    """
    n_channels = maps.offsets.shape[1]
    origins = np.zeros(n_channels) if origins is None else origins
    units = np.ones(n_channels) if units is None else units
    offsets, scales = maps.offsets.copy(), maps.scales.copy()
    factors, shifts = np.ones(n_channels), np.zeros(n_channels)
    for c in range(n_channels):
        if maps.counts[:, c].any():
            offsets[:, c], scales[:, c], factor, shift = _refined(
                maps, sums[c], c, float(origins[c]), float(units[c]), keep_scales
            )
            factors[c], shifts[c] = factor / units[c], shift - factor * origins[c] / units[c]
    return replace(maps, offsets=offsets, scales=scales), factors, shifts


def _refined(
    maps: RegimeMaps, sums: FloatArray, c: int, origin: float, unit: float, keep_scales: bool
) -> tuple[FloatArray, FloatArray, float, float]:
    """New offsets and scales of a channel, and c, d of curves in the coordinates of the sums."""
    a, s = maps.offsets[:, c] + origin * maps.scales[:, c], unit * maps.scales[:, c]
    kappa = maps.prior_precisions[c]  # of the best gauge, whatever the coordinates of the sums
    u_now = 1.0 / s
    excess = u_now * (maps.prior_levels[:, c] - a)
    factor, shift, _ = _best_gauge(u_now, excess, kappa)
    n, w, wx, wxx, wz, wxz = sums.T
    # Curves become c z + d and weights w / c^2; x' stays, and u and v are relative to it.
    A = wxx / factor**2 + FEW_READINGS * u_now**2 + kappa * excess**2
    B, W = wx / factor**2 + kappa * excess, w / factor**2 + kappa
    D, E = (factor * wxz + shift * wx) / factor**2, (factor * wz + shift * w) / factor**2
    if keep_scales:
        u = np.full(len(n), factor)
        v = (E - B * u) / W
    else:
        u, v = _root(n + FEW_READINGS, A, B, W, D, E)
    scales = s / u
    return _identified(a - v * scales, scales, maps.counts[:, c], factor, shift)


def _root(
    n: FloatArray, A: FloatArray, B: FloatArray, W: FloatArray, D: FloatArray, E: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Where n ln u - 1/2 (A u^2 + 2 B u v + W v^2) + D u + E v is largest."""
    square, linear = A - B * B / W, D - B * E / W
    root = np.sqrt(linear**2 + 4.0 * n * square)
    # The form without cancellation, by the sign of the linear term.
    u = np.where(linear >= 0, (linear + root) / (2.0 * square), 2.0 * n / (root - linear))
    return u, (E - B * u) / W


def _best_gauge(u: FloatArray, excess: FloatArray, kappa: float) -> tuple[float, float, float]:
    """c and d that make the prior of c u, c excess + d largest, and its logarithm there."""
    mean = float(excess.mean())
    spread = FEW_READINGS * float((u**2).sum()) + kappa * float(((excess - mean) ** 2).sum())
    n = FEW_READINGS * len(u)
    factor = float(np.sqrt(n / spread))
    return factor, -factor * mean, float(FEW_READINGS * np.log(u).sum() + n * np.log(factor) - 0.5 * n)


def _identified(
    offsets: FloatArray, scales: FloatArray, counts: IntArray, factor: float = 1.0, shift: float = 0.0
) -> tuple[FloatArray, FloatArray, float, float]:
    """The equivalent map with sum n ln s = 0 and sum n a = 0, and c, d of curves altogether."""
    total = counts.sum()
    c = float(np.exp(counts @ np.log(scales) / total))
    scales = scales / c
    d = float(counts @ offsets / (counts @ scales))
    return offsets - d * scales, scales, c * factor, c * shift + d


# ---------------------------------------------------------------------------------------------------- the first maps


def initial_maps(
    values: FloatArray,
    regimes: IntArray,
    neighbours: FloatArray,
    unit_offsets: IntArray,
    basis_rows: Sequence[FloatArray],
    max_iter: int = 30,
) -> RegimeMaps:
    """Offsets and scales about each unit's own curve: a mixed model of one mode for each channel, fitted with the maps.

    Wear is no offset to it, since within a unit readings of all regimes stand beside one another.

    Parameters
    ----------
    values : ndarray of shape (N, C)
        Training readings, unit by unit; NaN = missing.
    regimes : ndarray of shape (N,), int
    neighbours : ndarray of shape (G, G)
        From `FittedRegimes.neighbours`.
    unit_offsets : ndarray of shape (L + 1,), int
        Where the units' readings begin.
    basis_rows : sequence of C ndarrays of shape (N, p_c)
        Each channel's basis at the readings.
    max_iter : int
        Most iterations for a channel.
    """
    n_regimes, n_channels = len(neighbours), values.shape[1]
    known = np.isfinite(values)
    counts = np.stack([np.bincount(regimes[known[:, c]], minlength=n_regimes) for c in range(n_channels)], axis=1)
    maps = RegimeMaps(
        np.zeros((n_regimes, n_channels)),
        np.ones((n_regimes, n_channels)),
        counts.astype(np.int64),
        np.zeros((n_regimes, n_channels)),
        np.ones(n_channels),
    )
    units = np.repeat(np.arange(len(unit_offsets) - 1), np.diff(unit_offsets))
    for c in range(n_channels):
        here = known[:, c]
        if here.any():
            _start_channel(
                maps, c, values[here, c], regimes[here], neighbours, units[here], basis_rows[c][here], max_iter
            )
    return maps


def _start_channel(
    maps: RegimeMaps,
    c: int,
    x: FloatArray,
    g: IntArray,
    neighbours: FloatArray,
    units: IntArray,
    rows: FloatArray,
    max_iter: int,
) -> None:
    """Write a channel's first maps and prior into `maps`."""
    counts = maps.counts[:, c]
    means, deviations = _moments(x, g, counts)
    pooled = float(np.sqrt(counts @ deviations**2 / counts.sum()))
    if pooled <= 1e-12 * float(np.abs(x).max()):  # exact in every regime: offsets alone, and a scale of 1
        maps.offsets[:, c], maps.scales[:, c], _, _ = _identified(
            _filled(means, counts, neighbours), np.ones(len(means)), counts
        )
        return
    # In units of the pooled deviation and about the common level, so that squares of a large level, which curves and
    # not offsets take up, do not swallow the noise.
    level = float(counts @ means / counts.sum())
    y, start = (x - means[g]) / pooled, (means - level) / pooled
    prior, precision = _prior(start, counts, neighbours)
    local = RegimeMaps(
        _filled(start, counts, neighbours)[:, None],
        np.sqrt((counts * deviations**2 / pooled**2 + FEW_READINGS) / (counts + FEW_READINGS))[:, None],
        counts[:, None],
        prior[:, None],
        np.array([precision]),
    )
    base = local.offsets[:, 0].copy()
    curves = _OneMode(rows, units)
    for _ in range(max_iter):
        before = local
        mapped_y = (y - (local.offsets[g, 0] - base[g])) / local.scales[g, 0]
        z, variance = curves.step(mapped_y)
        sums = map_sums(mapped_y, g, z, np.full(len(y), 1.0 / variance), len(counts))
        local, factors, shifts = refined_maps(local, sums[None])
        curves.rescale(float(factors[0]), float(shifts[0]))
        moved = np.abs(local.offsets - before.offsets).max(), np.abs(np.log(local.scales / before.scales)).max()
        if max(moved) < 1e-5:
            break
    mapped_y = (y - (local.offsets[g, 0] - base[g])) / local.scales[g, 0]
    levels, spreads = _at_common_wear(mapped_y, curves.step(mapped_y)[0], g, counts)
    offsets = local.offsets[:, 0] + local.scales[:, 0] * levels
    maps.offsets[:, c], maps.scales[:, c], _, _ = _identified(
        level + offsets * pooled, local.scales[:, 0] * spreads, counts
    )
    # The prior's coordinates have offsets as they were read; those of the maps differ by the identification.
    maps.prior_levels[:, c] = level + prior * pooled
    maps.prior_precisions[c] = precision / pooled**2


def _at_common_wear(y: FloatArray, z: FloatArray, g: IntArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each regime's readings, if all regimes saw the same wear.

    Where signal and noise do not have the same ratio in all regimes, the maximum of the likelihood follows the noise. A
    life depends on the signal, and lives of turbofans are predicted worse with scales of that maximum. So the whole
    spread is made alike. Of the wear that a regime happened to see it is freed by its slope on the curves.

    Parameters
    ----------
    y : ndarray of shape (N,)
        Mapped readings.
    z : ndarray of shape (N,)
        The curves behind them.
    g : ndarray of shape (N,), int
    counts : ndarray of shape (G,)
        Readings of each regime.
    """
    means, deviations = _moments(y, g, counts)
    curve_means, curve_deviations = _moments(z, g, counts)
    n = np.maximum(counts, 1)
    common = np.bincount(g, weights=(y - means[g]) * (z - curve_means[g]), minlength=len(counts)) / n
    variance = float(z.var())
    slopes = (counts * common + FEW_READINGS * variance) / (
        counts * curve_deviations**2 + FEW_READINGS * max(variance, 1e-300)
    )
    squares = np.maximum(deviations**2 + slopes**2 * (variance - curve_deviations**2), 1e-3 * deviations**2)
    trust = counts / (counts + FEW_READINGS)
    pooled = float(counts @ squares / counts.sum())
    levels = trust * (means + slopes * (float(z.mean()) - curve_means) - float(z.mean()))
    return levels, np.sqrt(np.maximum(trust * squares + (1.0 - trust) * pooled, 1e-300))


def _moments(x: FloatArray, g: IntArray, counts: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation by regime; 0 where there are no readings."""
    n = np.maximum(counts, 1)
    means = np.bincount(g, weights=x, minlength=len(counts)) / n
    return means, np.sqrt(np.bincount(g, weights=(x - means[g]) ** 2, minlength=len(counts)) / n)


def _filled(means: FloatArray, counts: IntArray, neighbours: FloatArray) -> FloatArray:
    """The means, and of regimes without readings those of like regimes."""
    result: FloatArray = np.where(counts > 0, means, _of_neighbours(means, counts, neighbours))
    return result


def _of_neighbours(means: FloatArray, counts: IntArray, neighbours: FloatArray) -> FloatArray:
    """Mean offset of like regimes, which count less where they have few readings."""
    trust = counts / (counts + FEW_READINGS)
    weights = neighbours * trust
    total = weights.sum(axis=1)
    overall = float(trust @ means / trust.sum())
    return np.where(total > 0, weights @ means / np.where(total > 0, total, 1.0), overall)


def _prior(means: FloatArray, counts: IntArray, neighbours: FloatArray) -> tuple[FloatArray, float]:
    """Offsets of like regimes, and the precision of offsets about them; readings have variance 1.

    The precision is that of `FEW_READINGS` readings at most, or a regime with many would be held by it.
    """
    expected = _of_neighbours(means, counts, neighbours)
    trust = counts / (counts + FEW_READINGS)
    variance = float(trust @ (means - expected) ** 2 / trust.sum())
    return expected, 1.0 / max(variance, 1.0 / FEW_READINGS)


class _OneMode:
    """A mixed model of one mode for one channel: x' = phi' T_l + noise, T_l ~ N(mu, Sigma); EM, one step at a time."""

    def __init__(self, rows: FloatArray, units: IntArray) -> None:
        self.starts = np.flatnonzero(np.diff(units, prepend=-1))
        self.units = np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, len(units))))
        # Columns orthonormal over all readings, less those that are not determined.
        left, singular, _ = np.linalg.svd(rows / np.maximum(np.abs(rows).max(axis=0), 1e-300), full_matrices=False)
        self.rows = left[:, singular > 1e-8 * singular[0]] * np.sqrt(len(rows))
        p = self.rows.shape[1]
        self.grams = np.empty((len(self.starts), p, p))
        for i in range(p):
            for j in range(i + 1):
                self.grams[:, i, j] = self.grams[:, j, i] = self._by_unit(self.rows[:, i] * self.rows[:, j])
        self.ones = self.rows.mean(axis=0)  # coefficients of the constant 1, where the basis holds it
        self.mean: FloatArray | None = None

    def _by_unit(self, values: FloatArray) -> FloatArray:
        result: FloatArray = np.add.reduceat(values, self.starts)
        return result

    def step(self, x: FloatArray) -> tuple[FloatArray, float]:
        """An EM step; returns the posterior mean curves (N,) under the parameters at hand, and the noise variance."""
        p = self.rows.shape[1]
        if self.mean is None:
            self.mean = self.rows.T @ x / len(x)
            left = max(float(((x - self.rows @ self.mean) ** 2).mean()), 1e-12)
            self.covariance, self.noise = np.eye(p) * left, left
            for _ in range(5):
                self._posterior(x, p)
        z = self._posterior(x, p)
        return z, self.noise

    def _posterior(self, x: FloatArray, p: int) -> FloatArray:
        assert self.mean is not None
        deviation = x - self.rows @ self.mean
        right = np.stack([self._by_unit(self.rows[:, i] * deviation) for i in range(p)], axis=1)
        # (I + G'SG/s2) with S = L L', which needs no inverse of a covariance that is nearly singular.
        lower = np.linalg.cholesky(self.covariance + 1e-10 * np.trace(self.covariance) / p * np.eye(p))
        inner = np.eye(p) + lower.T @ self.grams @ lower / self.noise
        spread = lower @ np.linalg.solve(inner, np.broadcast_to(lower.T, inner.shape))
        means = np.einsum("lij,lj->li", spread, right) / self.noise
        fitted = np.einsum("ip,ip->i", self.rows, means[self.units])
        trace = float(np.einsum("lij,lij->", self.grams, spread))
        z: FloatArray = self.rows @ self.mean + fitted
        step = means.mean(axis=0)
        self.covariance = (spread + (means - step)[:, :, None] * (means - step)[:, None, :]).mean(axis=0)
        self.mean = self.mean + step
        # A floor: without it the noise of a channel that a curve fits exactly would go to zero.
        self.noise = max((float(((deviation - fitted) ** 2).sum()) + trace) / len(x), 1e-10)
        return z

    def rescale(self, factor: float, shift: float) -> None:
        """The parameters of curves c f + d."""
        assert self.mean is not None
        self.mean = factor * self.mean + shift * self.ones
        self.covariance = factor**2 * self.covariance
        self.noise = factor**2 * self.noise
