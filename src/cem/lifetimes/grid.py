"""Grids of candidate remaining lives: finest near 0, and as long as the laws of lifetimes require."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import OptionError

if TYPE_CHECKING:
    from cem.lifetimes.lifetimes import Lifetimes

__all__ = ["cell_edges", "check_grid", "remaining_life_grid", "remaining_life_grids"]

FloatArray = NDArray[np.float64]


def cell_edges(grid: FloatArray) -> FloatArray:
    """(..., G + 1) edges of the cells around grid points: halfway between neighbours, never below 0."""
    middles = 0.5 * (grid[..., 1:] + grid[..., :-1])
    first = np.maximum(0.0, 1.5 * grid[..., :1] - 0.5 * grid[..., 1:2])
    last = 1.5 * grid[..., -1:] - 0.5 * grid[..., -2:-1]
    return np.concatenate([first, middles, last], axis=-1)


def check_grid(grid: FloatArray) -> None:
    """OptionError if points are not a grid of remaining lives."""
    if (
        grid.ndim not in (1, 2)
        or grid.shape[-1] < 2
        or not np.isfinite(grid).all()
        or np.any(np.diff(grid, axis=-1) <= 0)
        or np.any(grid[..., 0] < 0)
    ):
        raise OptionError("grid must be at least two finite remaining lives, strictly ascending, none negative")


def remaining_life_grid(
    lifetimes: Lifetimes, ages: ArrayLike, n_points: int = 300, *, probability: float = 0.999, widening: float = 2.0
) -> FloatArray:
    """Return candidate remaining lives for units of these ages: finest near 0, up to the laws' upper quantile.

    Parameters
    ----------
    lifetimes : Lifetimes
        f_k.
    ages : array_like of shape (L,)
        t_now of the units.
    n_points : int
        G.
    probability : float
        The grid reaches the largest quantile of this level, over modes and units, of the remaining life at that age.
        The quantile exists even for a unit older than every training unit.
    widening : float
        Logarithm of the ratio of the last cell's width to the first's; 0 for an even grid.

    Returns
    -------
    ndarray of shape (G,)
    """
    if n_points < 2 or widening < 0:
        raise OptionError(f"n_points is {n_points} and widening {widening}; at least 2 and 0 were expected")
    reach = float(np.max(lifetimes.residual_quantile(np.unique(np.asarray(ages, dtype=np.float64)), probability)))
    return reach * _shares(n_points, widening)


def remaining_life_grids(
    lifetimes: Lifetimes, ages: ArrayLike, n_points: int = 300, *, probability: float = 0.999, widening: float = 2.0
) -> FloatArray:
    """Return one grid per unit, shape (L, G): `remaining_life_grid` of its own age."""
    if n_points < 2 or widening < 0:
        raise OptionError(f"n_points is {n_points} and widening {widening}; at least 2 and 0 were expected")
    different, unit = np.unique(np.asarray(ages, dtype=np.float64), return_inverse=True)
    reach = lifetimes.residual_quantile(different, probability).max(axis=-1)
    grids: FloatArray = reach[unit.reshape(-1), None] * _shares(n_points, widening)
    return grids


def _shares(n_points: int, widening: float) -> FloatArray:
    """Candidates as shares of the grid's reach, shape (G,)."""
    share = (np.arange(n_points) + 0.5) / n_points
    return np.asarray(np.expm1(widening * share) / np.expm1(widening) if widening > 0 else share)
