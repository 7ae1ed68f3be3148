"""A start between two runs: one mode of a good run makes way for a mode of another run.

Runs of one search find good modes in different places, above all small ones, and seldom all of them at once. A mode
that another run has already fitted needs no passes to take shape, so a few passes show whether it fits in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.mixture_problem import MixtureRun
from cem.mixture.parameters import Parameters
from cem.search.one_mode import StartingPoint

__all__ = ["crossed_parameters", "crossed_start"]

FloatArray = NDArray[np.float64]

# Two modes are the same if they share this part of the units that either of them has,
_SAME = 0.9
# judged on this many units.
_UNITS_TO_COMPARE = 2000
# Draws of two runs and two modes before a crossing is no longer looked for.
_MOST_DRAWS = 12
# Runs that take part; the better of them are likelier to be the first one.
_FIRST, _SECOND = 5, 20


def crossed_start(
    runs: Sequence[MixtureRun], constraints: Constraints, labelled: NDArray[np.bool_], rng: np.random.Generator
) -> StartingPoint | None:
    """Make a start from two runs.

    Parameters
    ----------
    runs : sequence of EMRun
        Different from each other, the best one first.
    constraints : Constraints
        Of the M step.
    labelled : ndarray of shape (K,), bool
        Modes that units are known to have: those keep their place.
    rng : numpy.random.Generator
        The start is a deterministic function of its state.

    Returns
    -------
    StartingPoint or None
        None if the draws found no mode that the better run lacks. The score is 0.
    """
    if len(runs) < 2:
        return None
    draws = rng.random((_MOST_DRAWS, 4))
    n_first, n_second = min(len(runs), _FIRST), min(len(runs), _SECOND)
    for one, two, three, four in draws.tolist():
        a = int(one * n_first)
        b = int(two * (n_second - 1))
        b += b >= a
        first, second = runs[a], runs[b]
        joining = _small_modes(second.parameters.weights)
        j = int(joining[int(three * len(joining))])
        leaving = np.array([j]) if labelled[j] else np.flatnonzero(~labelled)
        i = int(leaving[int(four * len(leaving))])
        if _is_new(second.responsibilities[:, j], first.responsibilities):
            return StartingPoint(crossed_parameters(first.parameters, second.parameters, i, j, constraints), 0.0)
    return None


def crossed_parameters(first: Parameters, second: Parameters, i: int, j: int, constraints: Constraints) -> Parameters:
    """The first mixture with mode i replaced by mode j of the second one.

    Parameters
    ----------
    first, second : Parameters
        Of K modes, which satisfy the constraints.
    i, j : int
        A mode of each.
    constraints : Constraints
        What all modes share stays that of the first mixture.

    Returns
    -------
    Parameters
        They satisfy the constraints. π is that of the modes where they come from, scaled to add up to 1; coefficients
        of π by covariates start again from it.
    """

    def of_both(own: FloatArray, other: FloatArray) -> FloatArray:
        crossed = np.array(own)
        crossed[i] = other[j]
        return crossed

    weights = of_both(first.weights, second.weights)
    weights /= weights.sum()
    own_covariances, own_noise = constraints.covariance != "pooled", not constraints.pooled_noise
    fixed = None
    if constraints.fixed is not None and first.fixed is not None and second.fixed is not None:
        fixed = np.array(first.fixed)
        fixed[i] = np.where(constraints.fixed.by_mode, second.fixed[j], first.fixed[i])
    return Parameters.adopting(
        weights,
        of_both(first.means, second.means),
        of_both(first.factors, second.factors) if own_covariances else np.array(first.factors),
        of_both(first.noise_variances, second.noise_variances) if own_noise else np.array(first.noise_variances),
        first.sizes,
        fixed=fixed,
    )


def _small_modes(weights: FloatArray) -> NDArray[np.int64]:
    """All modes but the largest, of which the other run has one much the same; all of two."""
    if len(weights) < 3:
        return np.arange(len(weights))
    return np.flatnonzero(np.arange(len(weights)) != np.argmax(weights))


def _is_new(mode: FloatArray, others: FloatArray) -> bool:
    """Whether a mode is none of the others, by its responsibilities (L,) and theirs (L, K)."""
    step = -(-len(mode) // _UNITS_TO_COMPARE)
    mode, others = mode[::step, None], others[::step]
    shared = np.minimum(mode, others).sum(axis=0)
    return bool((shared < _SAME * (mode.sum() + others.sum(axis=0) - shared)).all())
