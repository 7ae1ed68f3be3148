"""The weight ν of shrunk covariances (25), by the likelihood of units that were held out.

Folds of units are held out in turn. For each ν of a short menu the fit to the other units starts from the fit to all of
them, so modes keep their places and it takes a few passes. ν is a number of units: the common covariance counts as much
as ν of them in every mode.

With few units the likelihood of held-out ones is noisy, and too small a ν costs much more than too large a one: small
modes overfit. So the largest ν wins that is not clearly worse than the best.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError
from cem.mixture.membership import with_log_weights
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["ChosenShrinkage", "chosen_shrinkage", "first_shrinkage", "menu_of"]

FloatArray = NDArray[np.float64]

# The density of (25) as a prior of Σ_k has a finite integral from 2 p on. Factors of about three lie closer together
# than held-out likelihood can tell; a thousand times the smallest is as good as one covariance for all modes.
_FACTORS = (1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
_FIRST = 2  # the search for modes begins with this entry: strong enough to forbid spurious modes of a few units
_FOLDS = 5
# Standard errors of the difference to the best that count as "not clearly worse".
_CLEARLY = 0.4
# ν is a property of the modes, not of the number of units: a part of a large fleet tells it well enough.
_MOST_UNITS = 2000
# Rounds of passes go on until one gains less than this, in nats; differences that matter are a hundred times larger.
_TOLERANCE = 0.01
_PASSES = 6
_MOST_ROUNDS = 16
_RELAXATION = 1.6


@dataclass(frozen=True, eq=False)
class ChosenShrinkage:
    """ν, and the held-out log-likelihoods that chose it.

    Parameters
    ----------
    weight : float
        ν.
    parameters : Parameters
        The fit to all units at ν, or near it.
    menu : tuple of float
        The values tried.
    differences : ndarray of shape (len(menu),)
        Held-out log-likelihood of all units less that of the best value.
    errors : ndarray of shape (len(menu),)
        Their standard errors.
    """

    weight: float
    parameters: Parameters
    menu: tuple[float, ...]
    differences: FloatArray
    errors: FloatArray


def menu_of(sizes: Sequence[int]) -> tuple[float, ...]:
    """The values of ν that are tried for bases of these sizes."""
    smallest = 2.0 * max(sizes) + 1.0
    return tuple(smallest * factor for factor in _FACTORS)


def first_shrinkage(sizes: Sequence[int]) -> float:
    """The ν under which modes are searched before it is chosen."""
    return menu_of(sizes)[_FIRST]


def chosen_shrinkage(
    parameters: Parameters, responsibilities: FloatArray, problem: MixtureProblem, seed: np.random.SeedSequence
) -> ChosenShrinkage:
    """Choose ν for the modes that a search has found.

    Parameters
    ----------
    parameters : Parameters
        Of the best start at the problem's ν.
    responsibilities : ndarray of shape (L, K)
        Of that start.
    problem : MixtureProblem
        Of all units.
    seed : SeedSequence
        Of the folds.
    """
    statistics = problem.expectation.statistics
    menu = menu_of(statistics.sizes)
    path = _along(parameters, problem, menu)
    rng = np.random.default_rng(seed)
    units = _some(statistics.n_units, rng)
    folds = _folds(responsibilities[units].argmax(axis=1), rng)
    held_out = np.zeros((len(menu), len(units)))
    for fold in range(int(folds.max()) + 1):
        inside, outside = folds != fold, folds == fold
        fitted = replace(problem, expectation=problem.expectation.of_units(units[inside]))
        unseen = _Unseen.of(statistics.subset(units[outside]))
        for row, (weight, start) in enumerate(zip(menu, path, strict=True)):
            found = _fitted(start, fitted, weight)
            held_out[row, outside] = unseen.log_likelihoods(found)
    totals = held_out.sum(axis=1)
    best = int(totals.argmax())
    lost = held_out[best] - held_out
    errors = lost.std(axis=1) * np.sqrt(lost.shape[1])
    chosen = int(np.flatnonzero(lost.sum(axis=1) <= _CLEARLY * errors)[-1])
    return ChosenShrinkage(menu[chosen], path[chosen], menu, -lost.sum(axis=1), errors)


def _along(parameters: Parameters, problem: MixtureProblem, menu: Sequence[float]) -> list[Parameters]:
    """The fit to all units at each ν, each from its neighbour on the side where the search was."""
    first = int(np.abs(np.log(np.asarray(menu) / problem.constraints.shrinkage)).argmin())
    path = [parameters] * len(menu)
    for steps in (range(first, len(menu)), range(first - 1, -1, -1)):
        point = path[first]
        for i in steps:
            point = path[i] = _fitted(point, problem, menu[i])
    return path


def _fitted(start: Parameters, problem: MixtureProblem, weight: float) -> Parameters:
    """Parameters at ν, from a start; where EM fails or loses a mode, as far as it came."""
    problem = replace(problem, constraints=replace(problem.constraints, shrinkage=weight))
    try:
        evaluation = problem.expect(start)
        for _ in range(_MOST_ROUNDS):
            before = evaluation.objective
            evaluation = problem.passes(evaluation, _PASSES, _RELAXATION).evaluation
            if evaluation.objective - before < _TOLERANCE:
                break
        return evaluation.point
    except (FitError, np.linalg.LinAlgError):
        return start


@dataclass(frozen=True, eq=False)
class _Unseen:
    """Units that were held out, and the modes that are known of them."""

    statistics: SufficientStatistics
    known_modes: NDArray[np.int32]
    expectation: Expectation

    @classmethod
    def of(cls, statistics: SufficientStatistics) -> _Unseen:
        known = statistics.known_modes
        unknown = statistics.with_known_modes(np.full_like(known, -1))
        return cls(unknown, known, Expectation(unknown))

    def log_likelihoods(self, parameters: Parameters) -> FloatArray:
        """ln P(x_l), (L,); of a unit of known mode with that mode."""
        joint = with_log_weights(self.expectation.log_densities(parameters), self.statistics, parameters)
        total = np.logaddexp.reduce(joint, axis=1)
        known = self.known_modes
        return np.where(known >= 0, joint[np.arange(len(known)), np.maximum(known, 0)], total)


def _some(n_units: int, rng: np.random.Generator) -> NDArray[np.int64]:
    if n_units <= _MOST_UNITS:
        return np.arange(n_units)
    return np.sort(rng.choice(n_units, _MOST_UNITS, replace=False))


def _folds(modes: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each unit; every fold has about the same share of each mode."""
    order = rng.permutation(len(modes))
    order = order[np.argsort(modes[order], kind="stable")]
    folds = np.empty(len(modes), dtype=np.int64)
    folds[order] = np.arange(len(modes)) % min(_FOLDS, len(modes))
    return folds
