"""A start next to the best one so far: two of its modes divide their units anew, around two units drawn at random.

This is local search among optima. The good optima mostly differ in how two neighbouring modes divide their units. Such
moves find a better optimum more often than fresh starts, and more often than restarting one mode anywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.search import _moves
from cem.search.one_mode import OneModePosteriors, StartingPoint

__all__ = ["moved_responsibilities", "moved_start"]

FloatArray = NDArray[np.float64]

# A unit takes part if the two modes together have more than this share of it.
_SHARED = 0.1


def moved_responsibilities(
    responsibilities: FloatArray, coefficients: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Divide the units of two modes anew.

    Parameters
    ----------
    responsibilities : ndarray of shape (n, K)
        Of two modes or more.
    coefficients : ndarray of shape (n, P)
        Distances between units are measured in these.
    rng : numpy.random.Generator
        Draws the first mode, then the second (nearer modes are likelier), then the two units.

    Returns
    -------
    ndarray of shape (n, K)
        The two modes' shares of each unit go to the mode whose drawn unit is nearer; the other modes keep theirs.
    """
    moved = np.empty_like(responsibilities)
    _moves.moved_responsibilities(responsibilities, coefficients, rng.random(4), _SHARED, moved)
    return moved


def moved_start(
    responsibilities: FloatArray, posteriors: OneModePosteriors, constraints: Constraints, rng: np.random.Generator
) -> StartingPoint:
    """Make a start from an optimum by dividing the units of two modes anew.

    Distances are those of the whitened coefficients or of the plain ones, with equal probability: in the first each
    coefficient counts alike, in the second those that vary most count most, and optima differ in both ways.

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
    points = posteriors.coefficients if rng.random() < 0.5 else posteriors.unwhitened
    return posteriors.start(moved_responsibilities(of_units, points, rng), constraints)
