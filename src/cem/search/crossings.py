"""A start between two runs: one mode of a good run makes way for a mode of another run.

Runs of one search find good modes in different places, above all small ones, and seldom all of them at once. A mode
that another run has already fitted needs no passes to take shape, so a few passes show whether it fits in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.mixture_problem import MixtureRun
from cem.mixture.parameters import Parameters
from cem.search.one_mode import StartingPoint

__all__ = ["Partner", "crossed_parameters", "crossed_start"]

FloatArray = NDArray[np.float64]

# Two modes are the same if they have about the same units: sums of their responsibilities, once plain and a few times
# with random signs, differ by less than this share of the units of the smaller one.
_SAME = 0.1
_N_SIGNS = 4
# Draws of two runs and two modes before a crossing is no longer looked for.
_MOST_DRAWS = 12
# The first run is one of the best few, the second any.
_FIRST = 5


@dataclass(frozen=True, eq=False)
class Partner:
    """A run that takes part in crossings.

    Parameters
    ----------
    run : EMRun
        The run.
    marks : list of K lists
        Sums of the modes' responsibilities, by which modes are compared.
    small : list of int
        All modes but the largest, of which other runs have one much the same; all of two.
    """

    run: MixtureRun
    marks: list[list[float]]
    small: list[int]

    @classmethod
    def of(cls, run: MixtureRun) -> Partner:
        """The partner of a run."""
        rho = run.responsibilities
        marks: list[list[float]] = (_signs(len(rho)) @ rho).T.tolist()
        modes = list(range(len(marks)))
        if len(modes) > 2:
            modes.remove(max(modes, key=lambda k: marks[k][0]))
        return cls(run, marks, modes)

    def has(self, mode: list[float]) -> bool:
        """Whether one of the modes has these marks, or nearly so."""
        for own in self.marks:
            near = _SAME * min(own[0], mode[0])
            if all(abs(one - other) <= near for one, other in zip(own, mode, strict=True)):
                return True
        return False


@lru_cache(maxsize=4)
def _signs(n_units: int) -> FloatArray:
    """Ones, and random signs, the same every time, (1 + n, L)."""
    signs: FloatArray = np.random.default_rng(0).choice([-1.0, 1.0], (1 + _N_SIGNS, n_units))
    signs[0] = 1.0
    return signs


def crossed_start(
    partners: Sequence[Partner], constraints: Constraints, labelled: NDArray[np.bool_], rng: np.random.Generator
) -> StartingPoint | None:
    """Make a start from two runs.

    Parameters
    ----------
    partners : sequence of Partner
        Runs that differ from each other, the highest one first.
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
    if len(partners) < 2:
        return None
    n_first, n_others = min(len(partners), _FIRST), len(partners) - 1
    free = np.flatnonzero(~labelled).tolist()
    for one, two, three, four in rng.random((_MOST_DRAWS, 4)).tolist():
        a, b = int(one * one * n_first), int(two * n_others)
        first, second = partners[a], partners[b + (b >= a)]
        j = second.small[int(three * len(second.small))]
        if not first.has(second.marks[j]):
            i = j if labelled[j] else free[int(four * len(free))]
            crossed = crossed_parameters(first.run.parameters, second.run.parameters, i, j, constraints)
            return StartingPoint(crossed, 0.0)
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
