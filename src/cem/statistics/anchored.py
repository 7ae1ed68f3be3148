"""Sufficient statistics (9) of running units on the axis that ends at their last reading, for (18)."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import PanelError
from cem.statistics import _householder
from cem.statistics.columns import ColumnPlan, Design, designs_of

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.panel.panel import Panel

__all__ = ["AnchoredStatistics", "anchored_statistics", "distinct"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AnchoredStatistics:
    """Sufficient statistics (9) of units on the axis t − t_now, in the panel's units; the data of (18).

    Parameters
    ----------
    triangles : sequence over channels of ndarray (L, p_c, p_c)
        R, upper triangular, rows of zeros if n < p.
    projections : sequence over channels of ndarray (L, p_c)
        w.
    residual_norms : ndarray of shape (L, C)
        rss.
    counts : ndarray of shape (L, C)
        n.
    ages : ndarray of shape (L,)
        t_now, the time of the last reading.
    units : tuple of hashables
    """

    triangles: tuple[FloatArray, ...]
    projections: tuple[FloatArray, ...]
    residual_norms: FloatArray
    counts: NDArray[np.int64]
    ages: FloatArray
    units: tuple[Hashable, ...]

    def of(self, unit: int) -> AnchoredStatistics:
        """The statistics of one unit, by its position."""
        some = slice(unit, unit + 1)
        return AnchoredStatistics(
            tuple(triangle[some] for triangle in self.triangles),
            tuple(projection[some] for projection in self.projections),
            self.residual_norms[some],
            self.counts[some],
            self.ages[some],
            self.units[some],
        )

    def without(self, left_out: NDArray[np.bool_]) -> AnchoredStatistics:
        """The statistics as if some channels of units, (L, C), had no readings; the same object for none at all."""
        if not left_out.any():
            return self
        return replace(
            self, residual_norms=np.where(left_out, 0.0, self.residual_norms), counts=np.where(left_out, 0, self.counts)
        )

    def packed(self, information: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Everything as kernels take it: R (L, Σ p²), w (L, Σ p), rss and n (L, C), with readings counted κ_c times."""
        n_units = len(self.ages)
        triangles = np.concatenate([R.reshape(n_units, -1) for R in self.triangles], axis=1)
        projections = np.concatenate(self.projections, axis=1)
        if (information == 1.0).all():
            return triangles, projections, self.residual_norms, self.counts.astype(np.float64)
        roots, sizes = np.sqrt(information), [w.shape[1] for w in self.projections]
        triangles *= np.repeat(roots, np.square(sizes))
        projections *= np.repeat(roots, sizes)
        return triangles, projections, self.residual_norms * information, self.counts * information


def distinct(bases: Sequence[Basis]) -> tuple[list[Basis], list[int]]:
    """The distinct bases, and the index of each channel's basis among them."""
    places: dict[int, int] = {}  # by identity first, which is faster than comparing content
    of_value: dict[Basis, int] = {}
    for basis in bases:
        if id(basis) not in places:
            places[id(basis)] = of_value.setdefault(basis, len(of_value))
    return list(of_value), [places[id(basis)] for basis in bases]


def distinct_designs(designs: Sequence[Design]) -> tuple[list[Design], list[int]]:
    """The designs with different columns, and the index of each channel's among them."""
    found: list[Design] = []
    places = []
    for design in designs:
        place = next((i for i, other in enumerate(found) if other.shares_columns(design)), len(found))
        if place == len(found):
            found.append(design)
        places.append(place)
    return found, places


def anchored_statistics(panel: Panel, bases: Sequence[Basis], plan: ColumnPlan | None = None) -> AnchoredStatistics:
    """Compress each unit of a panel on the axis that ends at its last reading; needs only NumPy.

    Parameters
    ----------
    panel : Panel
        Running units, on the forward time axis.
    bases : sequence of Basis, length C
        Bound to times to failure; they are evaluated at t − t_now ≤ 0.
    plan : ColumnPlan, optional
        The columns of whole designs, random ones first. Default: the functions of the bases.

    Raises
    ------
    PanelError
        The panel has another number of channels.
    """
    n_units, n_channels = panel.n_units, panel.n_channels
    if len(bases) != n_channels:
        raise PanelError(
            f"the panel has {n_channels} channels and there are {len(bases)} bases; one basis per channel was expected"
        )
    offsets = np.ascontiguousarray(panel.offsets, dtype=np.int64)
    values = np.ascontiguousarray(panel.values, dtype=np.float64)
    ages = np.array(panel.times[offsets[1:] - 1], dtype=np.float64)
    times = panel.times - np.repeat(ages, np.diff(offsets))
    different, of_channel = distinct_designs(designs_of(panel._replace(times=times), bases, plan))
    triangles, projections = [np.zeros(0)] * n_channels, [np.zeros(0)] * n_channels
    norms, counts = np.empty((n_units, n_channels)), np.empty((n_units, n_channels), dtype=np.int64)
    for place, design in enumerate(different):
        channels = [c for c, own in enumerate(of_channel) if own == place]
        p, shape = design.size, (n_units, len(channels))
        R, w, rss = np.empty((*shape, p, p)), np.empty((*shape, p)), np.empty(shape)
        n = np.empty(shape, dtype=np.int64)
        columns = np.array(channels, dtype=np.int32)
        size = (len(times), n_channels, n_units, len(channels), p)
        _householder.compress_units(design(slice(None)), values, offsets, columns, R, w, rss, n, size)
        norms[:, channels], counts[:, channels] = rss, n
        for i, c in enumerate(channels):
            triangles[c], projections[c] = R[:, i], w[:, i]
    return AnchoredStatistics(tuple(triangles), tuple(projections), norms, counts, ages, tuple(panel.units))
