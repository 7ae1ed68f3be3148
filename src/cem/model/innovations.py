"""Each reading of a unit as the unit's earlier readings predict it under each mode: innovations and their variances.

Channels of one unit are independent given the mode (and the factors that they share, model.md (16)). So a filter runs
over the readings of each channel alone, all units and modes at once, and a second one of r dimensions joins the
channels where they share factors. Both keep a square root of a covariance, which a reading changes by a matrix of rank
one (Potter's form), so that no variance is a difference of large numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters

__all__ = ["Cells", "predicted_cells"]

FloatArray = NDArray[np.float64]
Int64Array = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Cells:
    """The observed cells of a panel, unit by unit, in order of time and then of channels.

    Parameters
    ----------
    rows : ndarray of shape (n,), int64
        Reading of the panel that a cell belongs to.
    channels : ndarray of shape (n,), int64
        Position of its channel.
    first : ndarray of shape (L + 1,), int64
        Where each unit's cells begin; the last entry is n.
    """

    rows: Int64Array
    channels: Int64Array
    first: Int64Array

    @classmethod
    def of(cls, values: FloatArray, offsets: Int64Array) -> Cells:
        """The cells of an array of readings (N, C), of units whose readings begin at `offsets`."""
        seen = np.isfinite(values)
        rows, channels = np.nonzero(seen)
        counted = np.concatenate([[0], np.cumsum(seen.sum(axis=1))])
        return cls(rows.astype(np.int64), channels.astype(np.int64), counted[offsets].astype(np.int64))

    def of_channel(self, channel: int) -> tuple[Int64Array, Int64Array]:
        """Positions of a channel's cells, and where each unit's begin among them, (L + 1,)."""
        own = np.flatnonzero(self.channels == channel)
        return own, np.searchsorted(own, self.first)


def predicted_cells(
    cells: Cells, designs: list[FloatArray], values: FloatArray, parameters: Parameters
) -> tuple[FloatArray, FloatArray]:
    """Innovations of all cells under each mode, and their variances, in internal coordinates: twice (n, K).

    Parameters
    ----------
    cells : Cells
    designs : list of ndarray of shape (N, p_c)
        Rows of each channel's design at the readings.
    values : ndarray of shape (N, C)
        Readings less the channels' centres, divided by their scales.
    parameters : Parameters
    """
    n_modes, rank = parameters.n_modes, parameters.rank
    innovations, variances = (np.empty((len(cells.rows), n_modes)) for _ in range(2))
    slopes = np.empty((len(cells.rows), n_modes, rank))
    layout = parameters.layout
    for c, design in enumerate(designs):
        own, first = cells.of_channel(c)
        factors = layout.matrix(parameters.factors, c)
        loads = None if parameters.loadings is None else factors @ layout.rows(parameters.loadings, c)
        innovations[own], variances[own], slopes[own] = _along_channel(
            design[cells.rows[own]],
            values[cells.rows[own], c],
            first,
            layout.vector(parameters.means, c),
            factors,
            np.zeros((*factors.shape[:2], rank)) if loads is None else loads,
            parameters.noise_variances[:, c],
        )
    if rank:
        _join(innovations, variances, slopes, cells.first)
    return innovations, variances


def _ranks(first: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Units by falling number of cells, and how many have more than j cells, for every j."""
    counts = np.diff(first)
    order = np.argsort(-counts, kind="stable")
    falling = counts[order]
    longest = int(falling[0]) if len(falling) else 0
    return order, np.searchsorted(-falling, -np.arange(longest), side="left")


def _along_channel(
    design: FloatArray,
    values: FloatArray,
    first: Int64Array,
    means: FloatArray,
    factors: FloatArray,
    loads: FloatArray,
    noise: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Innovations (n, K), variances (n, K) and slopes by the factors (n, K, r) of one channel's cells, given f = 0."""
    n, (n_modes, p, rank) = len(values), loads.shape
    innovations, variances = np.empty((n, n_modes)), np.empty((n, n_modes))
    slopes = np.empty((n, n_modes, rank))
    order, running = _ranks(first)
    n_units = len(order)
    mean = np.broadcast_to(means, (n_units, n_modes, p)).copy()
    root = np.broadcast_to(factors, (n_units, n_modes, p, p)).copy()
    slope = np.broadcast_to(loads, (n_units, n_modes, p, rank)).copy()
    for j, n_running in enumerate(running):
        at = first[order[:n_running]] + j
        phi, m, s, g = design[at], mean[:n_running], root[:n_running], slope[:n_running]
        by_root = np.einsum("lkpq,lp->lkq", s, phi)
        variance = np.einsum("lkq,lkq->lk", by_root, by_root) + noise
        innovation = values[at, None] - np.einsum("lkp,lp->lk", m, phi)
        by_factors = np.einsum("lkpr,lp->lkr", g, phi)
        innovations[at], variances[at], slopes[at] = innovation, variance, by_factors
        gain = np.einsum("lkpq,lkq->lkp", s, by_root) / variance[..., None]
        m += gain * innovation[..., None]
        g -= gain[..., :, None] * by_factors[..., None, :]
        shrink = 1.0 / (1.0 + np.sqrt(noise / variance))
        s -= (shrink[..., None] * gain)[..., :, None] * by_root[..., None, :]
    return innovations, variances, slopes


def _join(innovations: FloatArray, variances: FloatArray, slopes: FloatArray, first: Int64Array) -> None:
    """Innovations and variances under what the earlier cells of all channels say of the factors, in place."""
    _, n_modes, rank = slopes.shape
    order, running = _ranks(first)
    mean = np.zeros((len(order), n_modes, rank))
    root = np.broadcast_to(np.eye(rank), (len(order), n_modes, rank, rank)).copy()
    for j, n_running in enumerate(running):
        at = first[order[:n_running]] + j
        f, s, g, own = mean[:n_running], root[:n_running], slopes[at], variances[at]
        by_root = np.einsum("lkpq,lkp->lkq", s, g)
        variance = np.einsum("lkq,lkq->lk", by_root, by_root) + own
        innovation = innovations[at] - np.einsum("lkr,lkr->lk", f, g)
        innovations[at], variances[at] = innovation, variance
        gain = np.einsum("lkpq,lkq->lkp", s, by_root) / variance[..., None]
        f += gain * innovation[..., None]
        shrink = 1.0 / (1.0 + np.sqrt(own / variance))
        s -= (shrink[..., None] * gain)[..., :, None] * by_root[..., None, :]
