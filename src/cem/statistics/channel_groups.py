"""Channels compressed in groups, where those of the same columns share a factorisation; coordinates learned on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.statistics.columns import Design
from cem.statistics.coordinates import Coordinates, Layout, times_inverse

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = [
    "ChannelGroup",
    "PooledCurves",
    "centres_of",
    "compressed",
    "compressed_plainly",
    "groups_of",
    "in_coordinates",
    "learned",
]

FloatArray = NDArray[np.float64]

_ROWS_PER_CHUNK = 16384
_ROWS_FOR_CENTRING = 1024
# Added to a pooled design, relative to its columns, so that S is invertible for any times.
_RIDGE = 1e-7
# Below this ratio of its smallest singular value to its largest, a design is examined more closely.
_SUSPICIOUS = 1e-5


@dataclass(frozen=True, eq=False)
class PooledCurves:
    """Results of each channel's pooled least squares, from which the coordinates are learned.

    Parameters
    ----------
    ranks : tuple of int
        Number of coefficients that the channel's times determine, over all units, length C.
    deviations : ndarray of shape (C,)
        Root mean square deviation from the pooled curve, in units of the channel; 0 if there is none.
    """

    ranks: tuple[int, ...]
    deviations: FloatArray


@dataclass
class ChannelGroup:
    """Compressed channels of one basis."""

    blocks: FloatArray  # (n_blocks, p, p)
    block_of: NDArray[np.int64]  # (L, C_g), -1 where not observed
    w: FloatArray  # (L, C_g, p)
    rss: FloatArray  # (L, C_g)
    n: NDArray[np.int32]  # (L, C_g)
    log_determinants: FloatArray | None = None  # (L,) of the one channel of a group whose units wander


def groups_of(designs: Sequence[Design], coordinates: Coordinates | None) -> list[list[int]]:
    """Group channels by columns and, if coordinates are given, by S; channels of one group share a factorisation.

    A fit gives channels of one basis the same S, but a model built by hand need not.
    """
    groups: list[list[int]] = []
    transforms: list[bytes] = []
    for channel, design in enumerate(designs):
        transform = b"" if coordinates is None else coordinates.transform(channel).tobytes()
        for group, of_group in zip(groups, transforms, strict=True):
            if of_group == transform and designs[group[0]].shares_columns(design):
                group.append(channel)
                break
        else:
            groups.append([channel])
            transforms.append(transform)
    return groups


def _chunks(offsets: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of whole units of about `_ROWS_PER_CHUNK` rows."""
    first, n_units = 0, len(offsets) - 1
    while first < n_units:
        last = int(np.searchsorted(offsets, offsets[first] + _ROWS_PER_CHUNK, side="right")) - 1
        last = min(max(last, first + 1), n_units)
        yield first, last
        first = last


def compressed(
    panel: Panel,
    columns_of: Design,
    channels: list[int],
    centres: FloatArray,
) -> ChannelGroup:
    """R, w, rss, n in the original basis: centred, but neither scaled nor orthonormalised."""
    from cem.statistics._compression import compress_units

    p, n_units, n_channels = columns_of.size, len(panel.offsets) - 1, len(channels)
    columns = np.asarray(channels, dtype=np.int32)
    w = np.empty((n_units, n_channels, p))
    rss = np.empty((n_units, n_channels))
    n = np.empty((n_units, n_channels), dtype=np.int32)
    offsets = np.empty((n_units, n_channels), dtype=np.int64)
    used_parts: list[FloatArray] = []
    used = 0
    scratch = np.empty(0)
    log_determinants = None if columns_of.process is None else np.empty(n_units)
    for first, last in _chunks(panel.offsets):
        rows = slice(int(panel.offsets[first]), int(panel.offsets[last]))
        design, values = np.ascontiguousarray(columns_of(rows)), panel.values[rows]
        if log_determinants is not None:
            design, values, log_determinants[first:last] = _white(panel, columns_of, design, channels, first, last)
            columns = np.zeros(1, dtype=np.int32)
        n_scratch = (last - first) * n_channels * p * p
        if len(scratch) < n_scratch:
            scratch = np.empty(n_scratch)
        length = compress_units(
            design,
            values,
            panel.offsets[first : last + 1] - panel.offsets[first],
            columns,
            centres,
            scratch,
            offsets[first:last],
            w[first:last],
            rss[first:last],
            n[first:last],
        )
        used_parts.append(scratch[:length].copy())
        part = offsets[first:last]
        part[part >= 0] += used
        used += length
    blocks = np.concatenate(used_parts).reshape(-1, p, p)
    return ChannelGroup(blocks, np.where(offsets < 0, -1, offsets // (p * p)), w, rss, n, log_determinants)


def _white(
    panel: Panel, columns_of: Design, design: FloatArray, channels: list[int], first: int, last: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """White rows (n, p) and readings (n, 1) of the one channel of a group, and Σ ln F, of units first to last − 1."""
    from cem.statistics.whitening import whitened  # plain models do not need it

    assert columns_of.process is not None and len(channels) == 1
    rows = slice(int(panel.offsets[first]), int(panel.offsets[last]))
    offsets = panel.offsets[first : last + 1] - panel.offsets[first]
    found = whitened(columns_of.process, panel.times[rows], design, panel.values[rows, channels[0]], offsets)
    return found.design, found.values, found.log_determinants


def centres_of(coordinates: Coordinates, channels: list[int]) -> FloatArray:
    """The centring curves of some channels of one basis, (C_g, p)."""
    return np.stack([coordinates.centre(c) for c in channels])


def _rough_centres(panel: Panel, columns: Design, channels: list[int]) -> FloatArray:
    """Least squares on a sample of rows, (C_g, p): close enough that later steps lose no digits to an offset."""
    n_rows = len(panel.times)
    rows = np.arange(0, n_rows, max(1, n_rows // _ROWS_FOR_CENTRING))
    design, sample = columns(rows), panel.values[rows][:, channels]
    scales = np.fmax(np.nanmax(np.abs(sample), axis=0, initial=0.0), np.finfo(float).tiny)
    if not np.isnan(sample).any():
        together: FloatArray = np.linalg.lstsq(design, sample / scales, rcond=1e-10)[0]
        return np.ascontiguousarray((together * scales).T)
    centres = np.zeros((len(channels), columns.size))
    for i, channel in enumerate(channels):
        readings, channel_design = sample[:, i], design
        if np.isfinite(readings).sum() < 4 * columns.size:
            seen = np.flatnonzero(np.isfinite(panel.values[:, channel]))[:_ROWS_FOR_CENTRING]
            readings, channel_design = panel.values[seen, channel], columns(seen)
        observed = np.isfinite(readings)
        scale = np.abs(readings[observed]).max(initial=0.0)
        if scale > 0:
            solution = np.linalg.lstsq(channel_design[observed], readings[observed] / scale, rcond=1e-10)[0]
            centres[i] = scale * solution
    return centres


def _orthonormalising(part: ChannelGroup) -> FloatArray:
    """S, upper triangular with a positive diagonal, that makes the basis orthonormal over the observed times."""
    p = part.blocks.shape[-1]
    readings = np.zeros(len(part.blocks))
    observed = part.block_of >= 0
    readings[part.block_of[observed]] = part.n[observed]
    scaled = np.linalg.qr(part.blocks.reshape(-1, p), mode="r") / np.sqrt(readings.sum())
    norms = np.linalg.norm(scaled, axis=0)
    norms[norms == 0] = 1.0
    # A rank-deficient pooled design (fewer distinct times than coefficients) still needs an invertible S.
    S = np.asarray(np.linalg.qr(np.concatenate([scaled, _RIDGE * np.diag(norms)]), mode="r"), dtype=np.float64)
    signed: FloatArray = S * np.where(np.diagonal(S) < 0, -1.0, 1.0)[:, None]
    return signed


def learned(
    panel: Panel, designs: Sequence[Design], groups: list[list[int]]
) -> tuple[Coordinates, list[ChannelGroup], PooledCurves]:
    """Coordinates of a panel, its channels compressed in them, and the pooled curves, from one pass over the data."""
    from cem.statistics._compression import pooled_moments, recentre

    layout = Layout(tuple(design.size for design in designs))
    centres = np.zeros(int(layout.mean_offsets[-1]))
    scales = np.ones(len(designs))
    transforms = np.zeros(int(layout.factor_offsets[-1]))
    parts = []
    ranks, deviations = np.empty(len(designs), dtype=np.int64), np.empty(len(designs))
    for group in groups:
        rough = _rough_centres(panel, designs[group[0]], group)
        part = compressed(panel, designs[group[0]], group, rough)
        S = _orthonormalising(part)
        inverse = _inverse(S)
        part.blocks = _times(part.blocks, inverse)
        gram, cross = np.empty((len(group), *S.shape)), np.empty((len(group), len(S)))
        pooled_moments(part.blocks, part.block_of, part.w, gram, cross)
        # R is orthonormal over the pooled times, so the normal equations are as accurate as a QR.
        shifts = np.einsum("cij,cj->ci", np.linalg.pinv(gram, rcond=1e-10, hermitian=True), cross)
        ranks[group] = _ranks(part, S, gram)
        recentre(part.blocks, part.block_of, shifts, part.w)
        squares = part.rss.sum(axis=0) + np.einsum("lcj,lcj->c", part.w, part.w)
        group_scales = np.sqrt(squares / part.n.sum(axis=0, dtype=np.int64))
        deviations[group] = group_scales
        group_scales[group_scales == 0] = 1.0
        part.w /= group_scales[:, None]
        with np.errstate(over="ignore", invalid="ignore"):  # squares of readings may overflow; E step and fit name them
            part.rss /= np.square(group_scales)
        for i, channel in enumerate(group):
            layout.matrix(transforms, channel)[:] = S
            layout.vector(centres, channel)[:] = rough[i] + inverse @ shifts[i]
            scales[channel] = group_scales[i]
        parts.append(part)
    pooled = PooledCurves(tuple(map(int, ranks)), deviations)
    return Coordinates(centres, scales, transforms, layout.sizes), parts, pooled


def _ranks(part: ChannelGroup, S: FloatArray, gram: FloatArray) -> NDArray[np.int64]:
    """Number of coefficients that the times of each channel determine, (C_g,); blocks are orthonormalised by S already.

    The channels of a basis share S, but they may be read at different times, and some of them hardly ever.
    """
    p = len(S)
    ranks = np.full(len(gram), p, dtype=np.int64)
    eigenvalues = np.linalg.eigvalsh(gram)
    suspicious = eigenvalues[:, 0] < _SUSPICIOUS**2 * eigenvalues[:, -1]
    if _condition(S) > 1.0 / _SUSPICIOUS:
        suspicious[:] = True
    for channel in np.flatnonzero(suspicious):
        blocks = np.unique(part.block_of[:, channel])
        design = np.linalg.qr(_times(part.blocks[blocks[blocks >= 0]], S).reshape(-1, p), mode="r")
        norms = np.linalg.norm(design, axis=0)
        values = np.linalg.svd(design / np.where(norms > 0, norms, 1.0), compute_uv=False)
        ranks[channel] = np.count_nonzero(values > _RIDGE * values[0])
    return ranks


def _condition(S: FloatArray) -> float:
    """The condition number of a transform, with its columns scaled to one length."""
    values = np.linalg.svd(S / np.linalg.norm(S, axis=0), compute_uv=False)
    return float(values[0] / values[-1])


def _inverse(S: FloatArray) -> FloatArray:
    """S⁻¹ with exact zeros below its diagonal."""
    return np.triu(np.linalg.solve(S, np.eye(len(S))))


def _times(blocks: FloatArray, matrix: FloatArray) -> FloatArray:
    """Multiply every block by a matrix, in one product; shape (n_blocks, p, p)."""
    return (blocks.reshape(-1, blocks.shape[-1]) @ matrix).reshape(blocks.shape)


def in_coordinates(part: ChannelGroup, group: list[int], coordinates: Coordinates) -> ChannelGroup:
    """Scale and orthonormalise statistics that are centred already."""
    part.blocks = _times(part.blocks, _inverse(coordinates.transform(group[0])))
    scales = coordinates.scales[group]
    part.w /= scales[:, None]
    part.rss /= np.square(scales)
    return part


def compressed_plainly(panel: Panel, columns_of: Design, group: list[int], coordinates: Coordinates) -> ChannelGroup:
    """Compress without SciPy: internal design and readings first, then Householder reflections."""
    from cem.statistics._householder import compress_units

    p, n_units, n_channels = columns_of.size, len(panel.offsets) - 1, len(group)
    R = np.empty((n_units, n_channels, p, p))
    w = np.empty((n_units, n_channels, p))
    rss = np.empty((n_units, n_channels))
    n = np.empty((n_units, n_channels), dtype=np.int64)
    columns = np.arange(n_channels, dtype=np.int32)
    S = coordinates.transform(group[0])
    centres = centres_of(coordinates, group)
    scales = coordinates.scales[group]
    log_determinants = None if columns_of.process is None else np.empty(n_units)
    for first, last in _chunks(panel.offsets):
        rows = slice(int(panel.offsets[first]), int(panel.offsets[last]))
        design, values = columns_of(rows), panel.values[rows][:, group]
        if log_determinants is not None:
            design, values, log_determinants[first:last] = _white(panel, columns_of, design, group, first, last)
        readings = np.ascontiguousarray((values - design @ centres.T) / scales)
        compress_units(
            times_inverse(design, S),
            readings,
            panel.offsets[first : last + 1] - panel.offsets[first],
            columns,
            R[first:last],
            w[first:last],
            rss[first:last],
            n[first:last],
            (len(design), n_channels, last - first, n_channels, p),
        )
    block_of = np.where(n > 0, np.arange(n.size, dtype=np.int64).reshape(n.shape), -1)
    return ChannelGroup(R.reshape(-1, p, p), block_of, w, rss, n.astype(np.int32), log_determinants)
