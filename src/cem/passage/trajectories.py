"""Drawn curves: quasi-random normal draws, and the first time at which each curve reaches zero from below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.numerics.normal import normal_quantile

__all__ = ["first_crossings", "lattice_normals", "time_nodes"]

FloatArray = NDArray[np.float64]


def lattice_normals(n_shifts: int, n_points: int, dimension: int, seed: int) -> FloatArray:
    """Standard normal draws on an even lattice of the unit cube, shifted at random ``n_shifts`` times.

    Each shifted lattice is unbiased, and they are independent, so their scatter gives the error of their mean.

    Parameters
    ----------
    n_shifts, n_points, dimension : int
        R, S and p.
    seed : int
        Seed of the shifts.

    Returns
    -------
    ndarray of shape (R, S, p)

    References
    ----------
    Cranley, Patterson (1976), "Randomization of number theoretic methods for multiple integration", SIAM Journal on
    Numerical Analysis 13; the additive lattice of the powers of the root of x^(p+1) = x + 1, which for p = 1 is that
    of the golden ratio (Niederreiter 1992, "Random Number Generation and Quasi-Monte Carlo Methods", chapter 4).
    """
    root = 1.5
    for _ in range(60):  # a contraction to the root above 1
        root = (1.0 + root) ** (1.0 / (dimension + 1))
    steps = root ** -np.arange(1.0, dimension + 1)
    lattice = np.arange(1, n_points + 1)[:, None] * steps
    shifts = np.random.default_rng(seed).random((n_shifts, 1, dimension))
    # Away from 0 and 1, whose quantiles are infinite.
    return normal_quantile(np.clip((lattice + shifts) % 1.0, 1e-12, 1.0 - 1e-12))


def time_nodes(start: float, now: float, end: float, n_cells: int) -> FloatArray:
    """Ascending times from start to end that include ``now``, with at least a quarter of the cells on each side."""
    if now <= start:
        return np.linspace(now, end, n_cells + 1)
    share = min(max((now - start) / (end - start), 0.25), 0.75)
    n_past = max(1, round(share * n_cells))
    past = np.linspace(start, now, n_past + 1)
    return np.concatenate([past, np.linspace(now, end, max(1, n_cells - n_past) + 1)[1:]])


def first_crossings(nodes: FloatArray, values: FloatArray, slopes: FloatArray) -> FloatArray:
    """First time at which each curve is at or above zero; inf if it is not before the last node.

    Between nodes a curve is the cubic with these values and slopes at both ends, so excursions inside a cell count.

    Parameters
    ----------
    nodes : ndarray of shape (m,)
        Ascending times.
    values, slopes : ndarray of shape (S, m)
        Of each curve at the nodes.

    Returns
    -------
    ndarray of shape (S,)
    """
    n_curves, m = values.shape
    step = np.diff(nodes)
    # Bézier form of each cell: the curve lies below the largest of its four control points.
    first, second = values[:, :-1] + slopes[:, :-1] * step / 3.0, values[:, 1:] - slopes[:, 1:] * step / 3.0
    possible = (values[:, :-1] >= 0) | (values[:, 1:] >= 0) | (first >= 0) | (second >= 0)
    result = np.full(n_curves, np.inf)
    # Round by round: the first cell that may have a crossing, for every undecided curve; most need one round.
    open_curves, cursor = np.flatnonzero(possible.any(axis=1)), np.zeros(n_curves, dtype=np.int64)
    columns = np.arange(m - 1)
    while open_curves.size:
        ahead = possible[open_curves] & (columns >= cursor[open_curves, None])
        some = ahead.any(axis=1)
        open_curves, cell = open_curves[some], ahead[some].argmax(axis=1)
        left = np.stack([values[open_curves, cell], first[open_curves, cell]])
        right = np.stack([second[open_curves, cell], values[open_curves, cell + 1]])
        fraction = _first_root(left[0], left[1], right[0], right[1])
        found = np.isfinite(fraction)
        hit = open_curves[found]
        result[hit] = nodes[cell[found]] + fraction[found] * step[cell[found]]
        cursor[open_curves] = cell + 1
        open_curves = open_curves[~found]
    return result


def _first_root(b0: FloatArray, b1: FloatArray, b2: FloatArray, b3: FloatArray) -> FloatArray:
    """Smallest u in [0, 1] at which the cubic with these Bézier controls is ≥ 0, inf if there is none."""

    def curve(u: FloatArray) -> FloatArray:
        v = 1.0 - u
        return v * v * v * b0 + 3.0 * u * v * (v * b1 + u * b2) + u * u * u * b3

    # Turning points: roots of the derivative a u² + 2 b u + c (a third of it), by the form that does not cancel.
    c = b1 - b0
    b = b2 - 2.0 * b1 + b0
    a = b3 - 3.0 * (b2 - b1) - b0
    root = np.sqrt(np.maximum(b * b - a * c, 0.0))
    q = -(b + np.where(b >= 0, root, -root))
    with np.errstate(divide="ignore", invalid="ignore"):
        turns = np.sort(np.nan_to_num(np.stack([q / a, c / q]), nan=2.0, posinf=2.0, neginf=2.0), axis=0)
    # On [0, turn₁], [turn₁, turn₂], [turn₂, 1] the cubic is monotone: the first piece that ends at ≥ 0 has the root.
    ends = np.concatenate([np.clip(turns, 0.0, 1.0), np.ones((1, len(b0)))])
    low, high = np.zeros(len(b0)), np.full(len(b0), np.inf)
    for end in ends:
        reached = np.isinf(high) & (curve(end) >= 0)
        low = np.where(np.isinf(high) & ~reached, end, low)
        high = np.where(reached, end, high)
    high = np.where(b0 >= 0, 0.0, high)
    found = np.isfinite(high)
    low, high = np.where(b0 >= 0, 0.0, low), np.where(found, high, 1.0)
    for _ in range(54):
        middle = 0.5 * (low + high)
        above = curve(middle) >= 0
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(found, high, np.inf)
