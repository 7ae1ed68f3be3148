"""Sufficient statistics of columns whose coefficients do not vary from unit to unit: R_φψ, R_ψ and w₂ of (22)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.statistics.coordinates import Coordinates, layout_of

if TYPE_CHECKING:
    from cem.statistics.columns import ColumnPlan
    from cem.statistics.sufficient import SufficientStatistics

__all__ = ["FixedStatistics", "conditioned", "leading", "split"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FixedStatistics:
    """R_φψ, R_ψ and w₂ of every unit and channel, in internal coordinates (model.md (22)).

    Parameters
    ----------
    sizes : tuple of int
        q_c, the number of fixed columns of each channel; some may be 0.
    by_mode : ndarray of shape (Q,), bool
        Whether a column has a coefficient for each mode, packed by channel; else it has one for all.
    blocks : ndarray
        By blocks: R_φψ (p × q, row-major), then the upper triangle of R_ψ by rows. Channels share blocks as they share
        those of R.
    block_offsets : ndarray of shape (L, C), int64
        Start of each block; -1 if the channel is not observed on the unit, or has no fixed columns.
    projections : ndarray of shape (L, Q)
        w₂, packed by channel.
    wide : Coordinates
        The coordinates of whole designs, random columns first; those of the statistics are their leading parts.
    plan : ColumnPlan
        What the columns are; without features, which belong to readings.
    """

    sizes: tuple[int, ...]
    by_mode: NDArray[np.bool_]
    blocks: FloatArray
    block_offsets: NDArray[np.int64]
    projections: FloatArray
    wide: Coordinates
    plan: ColumnPlan

    @cached_property
    def kernel_sizes(self) -> NDArray[np.int32]:
        """q_c as kernels take them."""
        sizes = np.array(self.sizes, dtype=np.int32)
        sizes.setflags(write=False)
        return sizes

    @property
    def starts(self) -> NDArray[np.int64]:
        """Where each channel's columns begin among the Q, shape (C + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    def subset(self, chosen: NDArray[np.int64]) -> FixedStatistics:
        """Of some units; blocks are shared, not copied."""
        return replace(
            self,
            block_offsets=np.ascontiguousarray(self.block_offsets[chosen]),
            projections=np.ascontiguousarray(self.projections[chosen]),
        )

    def without_last_channel(self) -> FixedStatistics:
        """Of the other channels."""
        kept = int(self.starts[-2])
        return replace(
            self,
            sizes=self.sizes[:-1],
            by_mode=self.by_mode[:kept],
            block_offsets=np.ascontiguousarray(self.block_offsets[:, :-1]),
            projections=np.ascontiguousarray(self.projections[:, :kept]),
            wide=self.wide.without_last_channel(),
            plan=self.plan.without_last_channel(),
        )

    @staticmethod
    def concatenate(parts: Sequence[FixedStatistics]) -> FixedStatistics:
        """Join the parts' units."""
        starts = np.cumsum([0, *(len(part.blocks) for part in parts)])
        return replace(
            parts[0],
            blocks=np.concatenate([part.blocks for part in parts]),
            block_offsets=np.concatenate(
                [
                    np.where(part.block_offsets < 0, -1, part.block_offsets + start)
                    for part, start in zip(parts, starts, strict=False)
                ]
            ),
            projections=np.concatenate([part.projections for part in parts]),
        )

    def coefficients(self, internal: FloatArray, random: FloatArray, channel: int) -> FloatArray:
        """All coefficients of a channel in the panel's units, random ones first.

        Parameters
        ----------
        internal : ndarray of shape (..., q_c)
            β, internal.
        random : ndarray of shape (..., p_c)
            Coefficients of the random columns, internal.
        channel : int
        """
        return self.wide.coefficients(np.concatenate([random, internal], axis=-1), channel)


def split(wide: SufficientStatistics, plan: ColumnPlan) -> SufficientStatistics:
    """Take the fixed columns out of the statistics of whole designs.

    Parameters
    ----------
    wide : SufficientStatistics
        Of whole designs, random columns first, in the coordinates of whole designs.
    plan : ColumnPlan
        Which columns are fixed.

    Returns
    -------
    SufficientStatistics
        Of the random columns, with `fixed`. Its residual norms are what is left beyond all columns.
    """
    sizes, fixed_sizes, coordinates = plan.sizes, plan.fixed_sizes, wide.coordinates
    layout, wide_layout = layout_of(sizes), wide.layout
    n_units, n_channels = wide.n_units, len(sizes)
    factor_parts, block_parts = [], []
    factor_offsets = np.full((n_units, n_channels), -1, dtype=np.int64)
    block_offsets = np.full((n_units, n_channels), -1, dtype=np.int64)
    projections = np.empty((n_units, int(layout.mean_offsets[-1])))
    fixed_starts = np.concatenate([[0], np.cumsum(fixed_sizes)])
    fixed_projections = np.empty((n_units, int(fixed_starts[-1])))
    used = used_by_blocks = 0
    for c, (p, q) in enumerate(zip(sizes, fixed_sizes, strict=True)):
        starts = wide.factor_offsets[:, c]
        twin = next(
            (g for g in range(c) if (sizes[g], fixed_sizes[g]) == (p, q)
             and np.array_equal(wide.factor_offsets[:, g], starts)),
            None,
        )  # fmt: skip
        if twin is not None:
            factor_offsets[:, c], block_offsets[:, c] = factor_offsets[:, twin], block_offsets[:, twin]
        else:
            observed = starts >= 0
            distinct, which = np.unique(starts[observed], return_inverse=True)
            n = p + q
            R = wide.factors[distinct[:, None] + np.arange(n * n)].reshape(-1, n, n)
            factor_parts.append(np.ascontiguousarray(R[:, :p, :p]).reshape(-1))
            factor_offsets[observed, c] = used + which.reshape(-1) * (p * p)
            used += len(distinct) * p * p
            if q:
                rows, columns = np.triu_indices(q)
                blocks = np.concatenate([R[:, :p, p:].reshape(-1, p * q), R[:, p:, p:][:, rows, columns]], axis=1)
                block_parts.append(blocks.reshape(-1))
                block_offsets[observed, c] = used_by_blocks + which.reshape(-1) * blocks.shape[1]
                used_by_blocks += blocks.size
        w = wide_layout.vector(wide.projections, c)
        layout.vector(projections, c)[:] = w[:, :p]
        fixed_projections[:, fixed_starts[c] : fixed_starts[c + 1]] = w[:, p:]
    fixed = FixedStatistics(
        fixed_sizes,
        plan.by_mode,
        np.concatenate(block_parts) if block_parts else np.zeros(0),
        block_offsets,
        fixed_projections,
        coordinates,
        replace(plan, features=np.zeros((0, 0))),
    )
    return replace(
        wide,
        coordinates=leading(coordinates, sizes),
        factors=np.concatenate(factor_parts),
        factor_offsets=factor_offsets,
        projections=projections,
        fixed=fixed,
    )


def leading(coordinates: Coordinates, sizes: tuple[int, ...]) -> Coordinates:
    """The coordinates of the first columns of every channel: S is upper triangular, so its leading part is theirs."""
    layout = layout_of(sizes)
    centres = np.empty(int(layout.mean_offsets[-1]))
    transforms = np.empty(int(layout.factor_offsets[-1]))
    for c, p in enumerate(sizes):
        layout.vector(centres, c)[:] = coordinates.centre(c)[:p]
        layout.matrix(transforms, c)[:] = coordinates.transform(c)[:p, :p]
    return Coordinates(centres, coordinates.scales, transforms, sizes)


def conditioned(statistics: SufficientStatistics, coefficients: FloatArray) -> SufficientStatistics:
    """The statistics of what fixed columns with given coefficients leave: w and rss of (22).

    Parameters
    ----------
    statistics : SufficientStatistics
        With fixed columns, or without: then they are returned as they are.
    coefficients : ndarray of shape (Q,)
        β, internal.

    Returns
    -------
    SufficientStatistics
        Without `fixed`.
    """
    if statistics.fixed is None:
        return statistics
    projections, residual_norms = np.empty_like(statistics.projections), np.empty_like(statistics.residual_norms)
    beta = np.ascontiguousarray(coefficients, dtype=np.float64)
    statistics.bundle.condition(beta, projections, residual_norms)
    return replace(statistics, projections=projections, residual_norms=residual_norms, fixed=None)
