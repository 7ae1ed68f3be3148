"""Plain passes of EM, one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cem.em.kernels._em import LENGTHENED, LONGEST
from cem.em.problem import Evaluation, Passes, Point, Problem, Sums
from cem.errors import FitError

__all__ = ["one_by_one"]


def one_by_one(
    problem: Problem[Point, Sums],
    evaluation: Evaluation[Point, Sums],
    n_passes: int,
    further: Callable[[Point, Point, float], Point] | None = None,
    relaxation: float = 1.0,
) -> Passes[Point, Sums]:
    """Make this many passes, or fewer if a mode loses its units.

    Parameters
    ----------
    problem : Problem
        Provides the E and M step.
    evaluation : Evaluation
        The starting point.
    n_passes : int
        At least one.
    further : callable, optional
        Makes a point beyond the M step from the points before and after it and a factor on the step; that point is used
        if the objective does not fall.
    relaxation : float
        The factor of the first pass. It grows while the objective does not fall.

    Returns
    -------
    Passes

    Raises
    ------
    FitError
        A quantity is not finite, or a scatter matrix is not positive definite; the message names where.
    """
    log_likelihoods: list[float] = []
    objectives: list[float] = []
    status: NDArray[np.int32] = np.zeros((0, 0), dtype=np.int32)
    n_evaluations, length = 0, relaxation
    while len(objectives) < n_passes and (not objectives or evaluation.sums.mode_counts.min() >= 1.0):
        found, status = problem.maximise(evaluation)  # (15), (15')
        reached = None
        if further is not None:
            n_evaluations += 1
            reached = _no_lower(problem, further(evaluation.point, found, length), evaluation.objective)
            length = relaxation if reached is None else min(length * LENGTHENED, max(relaxation, LONGEST))
        if reached is None:
            n_evaluations += 1
            reached = problem.expect(found)  # (10)-(14)
        evaluation = reached
        log_likelihoods.append(evaluation.log_likelihood)
        objectives.append(evaluation.objective)
    return Passes(evaluation, status, log_likelihoods, objectives, n_evaluations)


def _no_lower(problem: Problem[Point, Sums], point: Point, objective: float) -> Evaluation[Point, Sums] | None:
    """The E step at a point; None if the objective is lower there, or not finite."""
    try:
        reached = problem.expect(point)
    except FitError:
        return None
    return reached if reached.objective >= objective else None
