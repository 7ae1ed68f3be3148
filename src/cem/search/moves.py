"""A start next to the best one so far: two of its modes share their units anew, around two units drawn at random.

Local search among optima: the best of them mostly differ in how two neighbouring modes part, so such starts find a
better one more often than fresh ones do, and more often than where one mode begins anew anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.search import _moves
from cem.search.one_mode import OneModePosteriors, StartingPoint

__all__ = ["moved_responsibilities", "moved_start"]

FloatArray = NDArray[np.float64]

# A unit that two modes share belongs to them if they have more than this of it.
_SHARED = 0.1


def moved_responsibilities(
    responsibilities: FloatArray, coefficients: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Two modes made anew from what they have together.

    Parameters
    ----------
    responsibilities : ndarray of shape (n, K)
        Of two modes or more.
    coefficients : ndarray of shape (n, P)
        In which units are near.
    rng : numpy.random.Generator
        Draws the first mode; the second, likelier the nearer it is; and the two units.

    Returns
    -------
    ndarray of shape (n, K)
        What the two modes have of a unit goes to the one whose drawn unit is nearer; the other modes keep theirs.
    """
    moved = np.empty_like(responsibilities)
    _moves.moved_responsibilities(responsibilities, coefficients, rng.random(4), _SHARED, moved)
    return moved


def moved_start(
    responsibilities: FloatArray, posteriors: OneModePosteriors, constraints: Constraints, rng: np.random.Generator
) -> StartingPoint:
    """A start from an optimum with two modes made anew.

    Parameters
    ----------
    responsibilities : ndarray of shape (L, K)
        At the optimum, of all units of the panel.
    posteriors : OneModePosteriors
        Of the panel's units.
    constraints : Constraints
        Of the M step.
    rng : numpy.random.Generator
        The start is a deterministic function of its state.

    Returns
    -------
    StartingPoint
    """
    of_units = responsibilities if posteriors.has_all_units else responsibilities[posteriors.units]
    return posteriors.start(moved_responsibilities(of_units, posteriors.coefficients, rng), constraints)
