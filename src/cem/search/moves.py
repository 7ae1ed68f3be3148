"""A start next to the best one so far: two of its modes divide their units anew, or one of them begins again.

This is local search among optima. Many good optima differ in how two neighbouring modes divide their units. Others
differ in a mode of a few units, whose coefficients are almost dependent: it is another few units, often far from the
former ones. An optimum that is hard to leave by one kind of move is often easy to leave by the other. Moves find a
better optimum more often than fresh starts do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.search import _moves
from cem.search.one_mode import OneModePosteriors, StartingPoint

__all__ = ["moved_responsibilities", "moved_start", "regrown_responsibilities", "regrown_start"]

FloatArray = NDArray[np.float64]

# A unit takes part if the two modes together have more than this share of it.
_SHARED = 0.1
# Units that a mode begins with again, log-uniformly between these.
_FEWEST, _MOST = 4, 20
# They lie near each other, within this many units of the fleet or more, up to all.
_NARROWEST = 12


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


def regrown_responsibilities(
    responsibilities: FloatArray, coefficients: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Let one mode begin again from a few units.

    Parameters
    ----------
    responsibilities : ndarray of shape (n, K)
        Of two modes or more.
    coefficients : ndarray of shape (n, P)
        Distances between units are measured in these.
    rng : numpy.random.Generator
        Draws the mode, a centre, and the units: each is the nearest to the centre of as many drawn at random, from one
        (so that they may lie anywhere) to a share of the fleet (so that they lie close together).

    Returns
    -------
    ndarray of shape (n, K)
        The mode has these units alone; the others share what it had as they share each unit, or in proportion to their
        sizes where they had nothing of it.
    """
    n_units, n_modes = responsibilities.shape
    mode, centre, size, width = rng.random(4).tolist()
    n_drawn = round(_FEWEST * (_MOST / _FEWEST) ** size)
    n_each = round(max(1.0, n_units / _NARROWEST) ** width)
    drawn = rng.integers(n_units, size=(n_drawn, n_each))
    regrown = np.empty_like(responsibilities)
    _moves.regrown_responsibilities(
        responsibilities, coefficients, drawn, int(centre * n_units), int(mode * n_modes), regrown
    )
    return regrown


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


def regrown_start(
    responsibilities: FloatArray, posteriors: OneModePosteriors, constraints: Constraints, rng: np.random.Generator
) -> StartingPoint:
    """Make a start from an optimum by letting one mode begin again; parameters and distances as for `moved_start`."""
    of_units = responsibilities if posteriors.has_all_units else responsibilities[posteriors.units]
    points = posteriors.coefficients if rng.random() < 0.5 else posteriors.unwhitened
    return posteriors.start(regrown_responsibilities(of_units, points, rng), constraints)
