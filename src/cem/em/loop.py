"""The EM loop: expectation and maximisation until the remaining gain is negligible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import AscentLimits, Evaluation, ModeSums, Passes, Point, Problem, Sums
from cem.em.quasi_newton import QuasiNewton
from cem.numerics.threads import checkpoint

__all__ = ["EMRun", "continue_em", "remaining_gain", "run_of_passes", "start_em"]

FloatArray = NDArray[np.float64]

# A gain below this multiple of (observations + |ℓ|) is rounding.
_ROUNDING = 1e-13
# Times that: the largest rounding error of ℓ, with modes that have almost no noise.
_COARSEST = 1e4
# Plain passes before the first quasi-Newton step, and plain passes before convergence is judged.
PLAIN_FIRST = 5
_PLAIN_TO_JUDGE = 4
# The first steps know no curvature, so they are not worthwhile for the last few passes.
_WORTH_ACCELERATING = 8.0
# Consecutive steps whose actual and predicted gain are below the tolerance.
_NEGLIGIBLE_STEPS = 2
# Their number grows with every false end; runs whose steps are blocked again and again have many.
_MOST_PATIENCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Pace(Generic[Point, Sums]):
    """How a run continues, by plain passes or by quasi-Newton steps, and the curvature learned so far.

    Parameters
    ----------
    ascent : QuasiNewton or None
        None if all passes are plain.
    ascending : bool
        Whether the next step is a quasi-Newton step.
    negligible : int
        Consecutive steps with a negligible gain.
    patience : int
        How many of these end the ascent.
    plain_passes : int
        Consecutive plain passes so far.
    plain_needed : int
        Convergence is judged after this many.
    """

    ascent: QuasiNewton[Point, Sums] | None
    ascending: bool
    negligible: int
    patience: int
    plain_passes: int
    plain_needed: int


@dataclass(frozen=True, eq=False)
class EMRun(Generic[Point, Sums]):
    """The state of an EM run; `log_likelihoods[-1]` belongs to `parameters`.

    Parameters
    ----------
    parameters : Point
        The current parameters.
    expected : Sums
        Evaluated at them.
    responsibilities : ndarray of shape (L, K)
        ρ̂ at them.
    log_likelihoods : tuple of float
        ℓ before every M step and after the last, internal coordinates.
    objectives : tuple of float
        The objective at the same points, which never falls: ℓ − ½ Σ λ_k ‖Γ_kc‖² with linked channels, less the
        penalty of the laws with lives, otherwise ℓ.
    converged : bool
        Whether the remaining gain is below the tolerance.
    lost_mode : int or None
        A mode that lost its units, which ended the run.
    status : ndarray of shape (K, C), int32
        Of the last M step: see `cem.em.maximisation.maximisation`.
    pace : Pace or None
        State of the acceleration, so that a run in several calls makes the same passes as in one call.
    """

    parameters: Point
    expected: Sums
    responsibilities: FloatArray
    log_likelihoods: tuple[float, ...]
    objectives: tuple[float, ...]
    converged: bool = False
    lost_mode: int | None = None
    status: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    pace: Pace[Point, Sums] | None = None

    @property
    def evaluation(self) -> Evaluation[Point, Sums]:
        """The E step at the current parameters."""
        return Evaluation(
            self.parameters, self.expected, self.responsibilities, self.log_likelihoods[-1], self.objectives[-1]
        )

    @property
    def log_likelihood(self) -> float:
        return self.log_likelihoods[-1]

    @property
    def objective(self) -> float:
        return self.objectives[-1]

    @property
    def n_passes(self) -> int:
        return len(self.log_likelihoods) - 1

    @property
    def finished(self) -> bool:
        return self.converged or self.lost_mode is not None


def remaining_gain(objectives: Sequence[float]) -> float:
    """The remaining gain of an objective, by Aitken's extrapolation of its last three values; inf if it is undefined.

    Böhning et al. (1994), Ann. Inst. Statist. Math. 46, 373–388.
    """
    if len(objectives) < 3:
        return np.inf
    before, last = _last_gains(objectives, 2)
    if last <= 0:
        return 0.0
    ratio = last / before if before > 0 else np.inf
    return last * ratio / (1 - ratio) if ratio < 1 else np.inf


def _last_gains(objectives: Sequence[float], n: int) -> list[float]:
    """The last n differences, without NumPy: every pass needs them, and NumPy would take longer than the pass."""
    return [float(objectives[i] - objectives[i - 1]) for i in range(-n, 0)]


def _only_rounding_is_left(objectives: Sequence[float], rounding: float) -> bool:
    """Whether the last gain is no larger than the recent rounding error of the objective.

    In exact arithmetic a plain pass never lowers the objective. So a fall within the last passes measures its
    rounding, which depends on the data. A gain of that size is not an ascent, and Aitken's extrapolation of it is
    meaningless. A run that leaves a saddle also has small gains, but no falls.
    """
    gains = _last_gains(objectives, min(_PLAIN_TO_JUDGE, len(objectives) - 1))
    fall = -min(gains)
    return 0.0 < fall <= _COARSEST * rounding and gains[-1] <= max(2.0 * fall, 1e-3 * rounding)


def _rate_is_settled(objectives: Sequence[float], rounding: float) -> bool:
    """Whether the rate of convergence has settled, as Aitken's extrapolation assumes.

    After accelerated passes the fast directions die out first. The rate then seems far better than that of the slow
    directions, until only these are left.
    """
    if len(objectives) < 4:
        return False
    first, second, third = _last_gains(objectives, 3)
    if third <= rounding:
        return True
    if first <= 0 or second <= 0:
        return False
    rate = third / second
    return abs(rate - second / first) <= 0.1 * max(1.0 - rate, 1e-6)


def _passes_left(objectives: Sequence[float], tolerance: float) -> float:
    """Number of plain passes until the remaining gain is below the tolerance, at the current rate of convergence."""
    before, last = _last_gains(objectives, 2)
    if last <= 0 or before <= 0 or last >= before:
        return 0.0 if last <= 0 else np.inf
    ratio = last / before
    return math.log(tolerance * (1 - ratio) / (last * ratio)) / math.log(ratio)


def start_em(problem: Problem[Point, Sums], point: Point) -> EMRun[Point, Sums]:
    """A run before its first M step."""
    evaluation = problem.expect(point)
    return EMRun(
        evaluation.point,
        evaluation.sums,
        evaluation.responsibilities,
        (evaluation.log_likelihood,),
        (evaluation.objective,),
    )


def run_of_passes(
    passes: Passes[Point, Sums], problem: Problem[Point, Sums], *, accelerate: bool, plain_first: int
) -> EMRun[Point, Sums]:
    """A run that has made its first passes, all plain, in one call.

    Parameters
    ----------
    passes : Passes
        Its lists begin with the values before the first M step.
    problem : Problem
        The objective.
    accelerate, plain_first
        See `continue_em`; there are fewer passes than `plain_first`.

    Returns
    -------
    EMRun
    """
    evaluation, n_passes = passes.evaluation, len(passes.objectives) - 1
    if accelerate:
        pace = Pace(QuasiNewton(problem.coordinates(evaluation.point)), False, 0, 0, n_passes, plain_first)
    else:
        pace = Pace(None, False, 0, 0, n_passes, 2)
    return EMRun(
        evaluation.point,
        evaluation.sums,
        evaluation.responsibilities,
        tuple(passes.log_likelihoods),
        tuple(passes.objectives),
        lost_mode=_lost_mode(evaluation.sums),
        status=passes.status,
        pace=pace,
    )


def _lost_mode(sums: ModeSums) -> int | None:
    """The first mode that has less than one unit."""
    return next((k for k, count in enumerate(sums.mode_counts.tolist()) if count < 1.0), None)


def continue_em(
    run: EMRun[Point, Sums],
    problem: Problem[Point, Sums],
    *,
    n_passes: int,
    tolerance: float,
    accelerate: bool = False,
    plain_first: int = PLAIN_FIRST,
    relaxation: float = 1.0,
) -> EMRun[Point, Sums]:
    """Make up to `n_passes` further passes.

    Parameters
    ----------
    run : EMRun
        The run to continue.
    problem : Problem
        The objective, and the steps that raise it.
    n_passes : int
        Limit on the passes (E steps) of this call.
    tolerance : float
        The run has converged if the remaining gain over plain passes, in nats, is below it.
    accelerate : bool
        Take quasi-Newton steps if they raise the objective.
    plain_first : int
        Plain passes before the first quasi-Newton step, in a run without passes so far.
    relaxation : float
        Of these passes: see `cem.em.problem.Problem.passes`.

    Returns
    -------
    EMRun
        A new record; the given one does not change.
    """
    evaluation = run.evaluation
    log_likelihoods, objectives = list(run.log_likelihoods), list(run.objectives)
    converged, status, lost_mode = run.converged, run.status, run.lost_mode
    rounding = _ROUNDING * (problem.n_terms + abs(evaluation.objective))
    tolerance = max(tolerance, rounding)
    pace = _pace(run, problem, accelerate, plain_first)
    ascent, ascending, negligible, patience = pace.ascent, pace.ascending, pace.negligible, pace.patience
    plain_passes, plain_needed = pace.plain_passes, pace.plain_needed
    left = n_passes
    while left > 0 and not converged and lost_mode is None:
        checkpoint()
        if ascending and ascent is not None:
            steps = ascent.ascended(problem, evaluation, AscentLimits(left, tolerance, negligible, patience))
            evaluation, negligible = steps.evaluation, steps.negligible
            log_likelihoods += steps.log_likelihoods
            objectives += steps.objectives
            left -= steps.n_passes
            if not steps.blocked:
                lost_mode = _lost_mode(evaluation.sums)
                if negligible == patience:
                    ascending, plain_passes, plain_needed = False, 0, _PLAIN_TO_JUDGE
                continue
            if left <= 0:
                break
        # Until convergence is judged, nothing needs to be decided between these passes.
        wanted = 1 if ascending else min(left, max(1, plain_needed - plain_passes))
        first = not ascending and patience == 0 and plain_passes < plain_needed
        plain = problem.passes(evaluation, wanted, relaxation if first else 1.0)
        evaluation, status = plain.evaluation, plain.status
        log_likelihoods += plain.log_likelihoods
        objectives += plain.objectives
        left -= len(plain.objectives)
        lost_mode = _lost_mode(evaluation.sums)
        if ascending:  # no step helped, and a plain pass did
            ascending, negligible, plain_passes, plain_needed = False, 0, 0, _PLAIN_TO_JUDGE
            continue
        plain_passes += len(plain.objectives)
        if plain_passes >= plain_needed:
            still = _only_rounding_is_left(objectives, rounding)
            close = still or remaining_gain(objectives) < tolerance
            converged = still or (close and _rate_is_settled(objectives, rounding))
            ascending = ascent is not None and not close and _passes_left(objectives, tolerance) > _WORTH_ACCELERATING
            if ascending:
                # The gain looked negligible and was not: learn more of the curvature before the next such decision.
                negligible, patience = 0, min(max(_NEGLIGIBLE_STEPS, 4 * patience), _MOST_PATIENCE)
    return EMRun(
        evaluation.point,
        evaluation.sums,
        evaluation.responsibilities,
        tuple(log_likelihoods),
        tuple(objectives),
        converged,
        lost_mode,
        status,
        Pace(ascent, ascending, negligible, patience, plain_passes, plain_needed),
    )


def _pace(
    run: EMRun[Point, Sums], problem: Problem[Point, Sums], accelerate: bool, plain_first: int
) -> Pace[Point, Sums]:
    """How to continue a run; the learned curvature is copied, because a record does not change.

    The curvature holds in the coordinates of the problem. Aitken's extrapolation holds only for plain passes, so
    convergence is judged after a few of them in a row.
    """
    if not accelerate:
        return Pace(None, False, 0, 0, run.n_passes, 2)
    coordinates, pace = problem.coordinates(run.parameters), run.pace
    if pace is not None and pace.ascent is not None and pace.ascent.coordinates is coordinates:
        return replace(pace, ascent=pace.ascent.copy())
    return Pace(QuasiNewton(coordinates), False, 0, 0, 0, plain_first)
