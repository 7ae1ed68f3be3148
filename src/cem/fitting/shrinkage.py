"""The weight ν of shrunk covariances (25), by the likelihood of units that were held out.

Folds of units are held out in turn. For each ν of a short menu the fit to the other units starts from the fit to all of
them, so modes keep their places and it takes a few passes. ν is a number of units: the common covariance counts as much
as ν of them in every mode.

With few units the likelihood of held-out ones is noisy, and the best value of the menu jumps from end to end. So ν is
the mean of the menu on the log scale, weighted by that likelihood. Where units cannot tell, it lies in the middle, and
that is never far worse than either end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.mixture_problem import MixtureProblem
from cem.em.problem import AscentLimits
from cem.em.quasi_newton import QuasiNewton
from cem.errors import FitError
from cem.mixture.membership import with_log_weights
from cem.mixture.parameters import Parameters
from cem.search.starts import RELAXATION
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.fitting.options import FitOptions

__all__ = ["ChosenShrinkage", "chosen_shrinkage", "first_shrinkage", "menu_of", "not_chosen", "with_weight_of"]

FloatArray = NDArray[np.float64]

# The density of (25) as a prior of Σ_k has a finite integral from 2 p on. Factors of about three lie closer together
# than held-out likelihood can tell, and the largest is as good as one covariance for all modes of a small fleet.
_FACTORS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
_FIRST = 2  # the search for modes begins with this entry: strong enough to forbid spurious modes of a few units
_FOLDS = 10
# ν is a property of the modes, not of the number of units: a part of a large fleet tells it well enough.
_MOST_UNITS = 2000
# Quasi-Newton steps go on until one gains less than this, in nats; differences that matter are a hundred times larger.
_TOLERANCE = 0.01
_HOPELESS = 4.0  # nats behind the best, and two standard errors more, after some folds: not tried in further ones
_MOST_PASSES = 40
# Passes where no step raises the objective, and how far they go.
_PASSES = 6


@dataclass(frozen=True, eq=False)
class ChosenShrinkage:
    """ν, and the held-out log-likelihoods that chose it.

    Parameters
    ----------
    weight : float
        ν.
    parameters : Parameters
        The fit to all units at the value of the menu that is nearest to ν.
    menu : tuple of float
        The values tried; none if the choice was interrupted.
    differences : ndarray of shape (len(menu),)
        Held-out log-likelihood less that of the best value; of fewer units where a value was hopeless.
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


def with_weight_of(init: object, options: FitOptions) -> FitOptions:
    """The options with the ν of a model that the fit continues: the objective goes on as it was."""
    from cem.model.model import FailureModeModel

    if not isinstance(init, FailureModeModel) or options.covariance != "shrunk" or options.shrinkage is not None:
        return options
    weight, tried = init._training.get("shrinkage"), init._training.get("held_out")
    interrupted = tried is not None and not len(tried)  # before ν was chosen, so it still has to be
    return options if weight is None or interrupted else replace(options, shrinkage=float(weight))


def not_chosen(parameters: Parameters, problem: MixtureProblem) -> ChosenShrinkage:
    """What is left of a choice that was interrupted: the ν of the search, and no value tried."""
    return ChosenShrinkage(problem.constraints.shrinkage, parameters, (), np.zeros(0), np.zeros(0))


def chosen_shrinkage(parameters: Parameters, problem: MixtureProblem) -> ChosenShrinkage:
    """Choose ν for the modes that a search has found.

    Parameters
    ----------
    parameters : Parameters
        Of the best start at the problem's ν.
    problem : MixtureProblem
        Of all units.
    """
    statistics = problem.expectation.statistics
    menu = menu_of(statistics.sizes)
    at_each = [replace(problem, constraints=replace(problem.constraints, shrinkage=weight)) for weight in menu]
    path = _along(parameters, at_each, int(np.abs(np.log(np.asarray(menu) / problem.constraints.shrinkage)).argmin()))
    units, folds = _folds(parameters, statistics)
    if not folds.any():  # copies of one unit
        return ChosenShrinkage(menu[-1], path[-1], menu, np.zeros(len(menu)), np.zeros(len(menu)))
    held_out = np.full((len(menu), len(units)), np.nan)
    in_race = np.ones(len(menu), dtype=bool)
    for fold in range(int(folds.max()) + 1):
        inside, outside = folds != fold, folds == fold
        expectation = problem.expectation.of_units(units[inside])
        unseen = _Unseen.of(statistics.subset(units[outside]))
        for row in np.flatnonzero(in_race):
            found = _fitted(path[row], at_each[row].by(expectation))
            held_out[row, outside] = unseen.log_likelihoods(found)
        differences, errors = _behind(held_out[:, folds <= fold], in_race)
        in_race &= differences > -_HOPELESS - 2.0 * errors
    logs, shares = np.log(menu), np.where(in_race, np.exp(differences), 0.0)
    chosen = float(shares @ logs / shares.sum())
    nearest = int(np.abs(logs - chosen).argmin())
    # Three digits say all that units know of ν, and do not depend on rounding.
    return ChosenShrinkage(float(f"{np.exp(chosen):.3g}"), path[nearest], menu, differences, errors)


def _behind(held_out: FloatArray, in_race: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Held-out log-likelihood of each value less that of the best one, over the units of both; standard errors.

    The only unit of a known mode has probability 0 where it is held out, and says nothing of ν.
    """
    held_out = held_out[:, np.isfinite(held_out[in_race]).all(axis=0)]
    best = np.where(in_race, held_out.sum(axis=1), -np.inf).argmax()
    gains = held_out - held_out[best]
    n_units = np.count_nonzero(~np.isnan(gains), axis=1)
    return np.nansum(gains, axis=1), np.nanstd(gains, axis=1) * np.sqrt(n_units)


def _along(parameters: Parameters, at_each: Sequence[MixtureProblem], first: int) -> list[Parameters]:
    """The fit to all units at each ν, each from its neighbour on the side of the first, where the search was."""
    path = [parameters] * len(at_each)
    for steps in (range(first, len(at_each)), range(first - 1, -1, -1)):
        point = path[first]
        for i in steps:
            point = path[i] = _fitted(point, at_each[i])
    return path


def _fitted(start: Parameters, problem: MixtureProblem) -> Parameters:
    """The maximiser near a start; where EM fails or loses a mode, as far as it came."""
    try:
        evaluation = problem.expect(start)
    except (FitError, np.linalg.LinAlgError):
        return start
    ascent = QuasiNewton(problem.coordinates(start))
    steps = ascent.ascended(problem, evaluation, AscentLimits(_MOST_PASSES, _TOLERANCE, 0, 1))
    if not steps.blocked:
        return steps.evaluation.point
    try:
        return problem.passes(steps.evaluation, _PASSES, RELAXATION).evaluation.point
    except (FitError, np.linalg.LinAlgError):
        return steps.evaluation.point


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


def _folds(parameters: Parameters, statistics: SufficientStatistics) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Units that take part, and the fold of each: units in order of mode and likelihood go to the folds in turn.

    So every fold has its share of every mode, and of its usual and unusual units. Folds depend neither on the order of
    the units nor on a seed, and copies of a unit share one.
    """
    unseen = _Unseen.of(statistics)
    joint = with_log_weights(unseen.expectation.log_densities(parameters), unseen.statistics, parameters)
    modes, heights = joint.argmax(axis=1), np.logaddexp.reduce(joint, axis=1)
    heights = np.round(heights, 6)  # rounding of sums must not part copies
    _, place = np.unique(np.stack([modes, heights], axis=1), axis=0, return_inverse=True)
    place = place.reshape(-1)
    step = -(-(int(place.max()) + 1) // _MOST_UNITS)
    units = np.flatnonzero(place % step == 0)
    folds = place[units] // step
    return units, folds % min(_FOLDS, int(folds.max()) + 1)
