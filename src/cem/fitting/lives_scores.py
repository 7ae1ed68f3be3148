"""Scores of units with lives (19): a running unit's is the sum over its candidates, each with its weight q(r, k)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import Evaluation
from cem.fitting.lives_ascent import LivesPoint, LivesSums
from cem.fitting.lives_problem import LivesProblem
from cem.lifetimes.laws import GUMBEL_SPREAD, Weibull
from cem.uncertainty.scores import score_rows, with_weights

__all__ = ["lives_scores"]

FloatArray = NDArray[np.float64]


def lives_scores(
    problem: LivesProblem, evaluation: Evaluation[LivesPoint, LivesSums], vector: FloatArray
) -> FloatArray:
    """Scores of all units, (L, n), in the panel's order.

    Parameters
    ----------
    problem : LivesProblem
    evaluation : Evaluation
        At the fitted parameters.
    vector : ndarray of shape (n,)
        Of them: the mixture, γ, and two numbers for each law.
    """
    mixture, laws = evaluation.point.mixture, evaluation.point.lifetimes
    weights, n_failed, has_failed = evaluation.sums.weights, problem.n_failed, problem.has_failed
    n_laws = 0 if laws is None else 2 * len(laws.laws)
    n_gamma = 0 if mixture.membership is None else mixture.membership.size
    plain = vector[: len(vector) - n_laws - n_gamma]
    constraints = problem.mixture.constraints
    n_grid = len(problem.log_widths)
    scores = np.empty((len(has_failed), len(plain)))
    bounds = np.arange(n_failed + 1, dtype=np.int64)
    scores[has_failed] = score_rows(problem.failed.statistics, constraints, mixture, weights[:n_failed], bounds, plain)
    if problem.running is not None:
        bounds = np.arange(0, len(weights) - n_failed + 1, n_grid, dtype=np.int64)
        scores[~has_failed] = score_rows(
            problem.running.statistics, constraints, mixture, weights[n_failed:], bounds, plain
        )
    scores = with_weights(scores, problem.unit_modes, mixture, evaluation.responsibilities)
    if laws is None:
        return scores
    of_rows = _of_laws(problem, weights, vector[len(vector) - n_laws :], isinstance(laws.laws[0], Weibull))
    of_units = np.empty((len(has_failed), n_laws))
    of_units[has_failed] = of_rows[:n_failed]
    if problem.running is not None:
        of_units[~has_failed] = of_rows[n_failed:].reshape(-1, n_grid, n_laws).sum(axis=1)
    return np.concatenate([scores, of_units], axis=1)


def _of_laws(problem: LivesProblem, weights: FloatArray, numbers: FloatArray, weibull: bool) -> FloatArray:
    """Gradients of each row by the numbers of the laws; see `cem.fitting.lives_ascent.LivesCoordinates`."""
    from cem.fitting.lives_problem import MINIMUM_SPREAD

    locations, v = numbers[::2], numbers[1::2]
    spreads = np.hypot(MINIMUM_SPREAD, v)
    z = (np.log(problem.lives)[:, None] - locations) / spreads
    if weibull:
        hazard = np.exp(GUMBEL_SPREAD * z)
        by_location = GUMBEL_SPREAD * (hazard - 1.0) / spreads
        by_spread = (GUMBEL_SPREAD * z * (hazard - 1.0) - 1.0) / spreads
    else:
        by_location, by_spread = z / spreads, (z * z - 1.0) / spreads
    found = np.stack([weights * by_location, weights * by_spread * (v / spreads)], axis=2)
    return found.reshape(len(found), -1)
