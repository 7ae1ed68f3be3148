"""The EM loop: expectation, maximisation, until the gain that remains is negligible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import Evaluation, Point, Problem, Sums
from cem.em.quasi_newton import QuasiNewton
from cem.numerics.threads import checkpoint

__all__ = ["EMRun", "continue_em", "remaining_gain", "start_em"]

FloatArray = NDArray[np.float64]

# Below this multiple of (observations + |ℓ|) a gain is rounding, not ascent.
_ROUNDING = 1e-13
# Times that: what rounding may do to ℓ at worst, where modes have next to no noise.
_COARSEST = 1e4
# Plain passes before the first quasi-Newton step, and those from which convergence is judged.
PLAIN_FIRST = 5
_PLAIN_TO_JUDGE = 4
# The first steps have no curvature to go by: not worth it for the last few passes.
_WORTH_ACCELERATING = 8.0
# Steps in a row whose gain, made and predicted, is below the tolerance.
_NEGLIGIBLE_STEPS = 2


@dataclass(frozen=True, eq=False)
class Pace(Generic[Point, Sums]):
    """How a run goes on: by plain passes or by quasi-Newton steps, and what these have learned of the curvature.

    Parameters
    ----------
    ascent : QuasiNewton or None
        None where all passes are plain.
    ascending : bool
        Whether a quasi-Newton step is next.
    negligible : int
        Steps in a row that had nothing to gain.
    patience : int
        How many of these end the ascent.
    plain_passes : int
        Plain passes in a row so far.
    plain_needed : int
        Convergence is judged from so many on.
    """

    ascent: QuasiNewton[Point, Sums] | None
    ascending: bool
    negligible: int
    patience: int
    plain_passes: int
    plain_needed: int


@dataclass(frozen=True, eq=False)
class EMRun(Generic[Point, Sums]):
    """Where a run of EM stands; `log_likelihoods[-1]` belongs to `parameters`.

    Parameters
    ----------
    parameters : Point
        The present parameters.
    expected : Sums
        Evaluated at them.
    responsibilities : ndarray of shape (L, K)
        ρ̂ at them.
    log_likelihoods : tuple of float
        ℓ before every M step and after the last, internal coordinates.
    objectives : tuple of float
        What never falls, where `log_likelihoods` has ℓ: with linked channels ℓ − ½ Σ λ_k ‖Γ_kc‖², with lives the
        penalty of their laws too, otherwise the same.
    converged : bool
        The remaining gain is below the tolerance.
    lost_mode : int or None
        A mode that lost its units, which ended the run.
    status : ndarray of shape (K, C), int32
        Of the last M step: see `cem.em.maximisation.maximisation`.
    pace : Pace or None
        Where acceleration stands, so that a run in several calls takes the passes of a run in one.
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
        """The E step where the run stands."""
        return Evaluation(
            self.parameters, self.expected, self.responsibilities, self.log_likelihoods[-1], self.objectives[-1]
        )

    @property
    def log_likelihood(self) -> float:
        return self.log_likelihoods[-1]

    @property
    def n_passes(self) -> int:
        return len(self.log_likelihoods) - 1

    @property
    def finished(self) -> bool:
        return self.converged or self.lost_mode is not None


def remaining_gain(objectives: Sequence[float]) -> float:
    """What an objective has still to gain, by Aitken's extrapolation of the last three; inf where it cannot tell.

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
    """The last n differences: a fit asks in every pass, and NumPy would take longer than the pass."""
    return [float(objectives[i] - objectives[i - 1]) for i in range(-n, 0)]


def _only_rounding_is_left(objectives: Sequence[float], rounding: float) -> bool:
    """Whether the last gain is no larger than what rounding has just done to the objective.

    In exact arithmetic a plain pass never lowers it: a fall within the last passes measures its rounding, which depends
    on the data. What it gains beside that is no ascent, and Aitken's extrapolation means nothing. A run that leaves a
    saddle has small gains too, but no falls.
    """
    gains = _last_gains(objectives, min(_PLAIN_TO_JUDGE, len(objectives) - 1))
    fall = -min(gains)
    return 0.0 < fall <= _COARSEST * rounding and gains[-1] <= max(2.0 * fall, 1e-3 * rounding)


def _rate_is_settled(objectives: Sequence[float], rounding: float) -> bool:
    """Whether the rate of convergence that Aitken's extrapolation rests on has settled.

    After accelerated passes the fast directions die out first: the rate then seems far better than it is in the slow
    ones, until only these are left.
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
    """How many plain passes until the remaining gain is below the tolerance, at the present rate of convergence."""
    before, last = _last_gains(objectives, 2)
    if last <= 0 or before <= 0 or last >= before:
        return 0.0 if last <= 0 else np.inf
    ratio = last / before
    return math.log(tolerance * (1 - ratio) / (last * ratio)) / math.log(ratio)


def start_em(problem: Problem[Point, Sums], point: Point) -> EMRun[Point, Sums]:
    """A run that has done no M step yet."""
    evaluation = problem.expect(point)
    return EMRun(
        point,
        evaluation.sums,
        evaluation.responsibilities,
        (evaluation.log_likelihood,),
        (evaluation.objective,),
    )


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
    """Up to `n_passes` further passes.

    Parameters
    ----------
    run : EMRun
        Where to go on.
    problem : Problem
        What is raised, and the steps that raise it.
    n_passes : int
        Limit on the passes (E steps) of this call.
    tolerance : float
        Converged when the remaining gain over plain passes, in nats, is below it.
    accelerate : bool
        Take quasi-Newton steps where they raise the objective.
    plain_first : int
        Passes without them before the first; counts where the run has taken none yet.
    relaxation : float
        Of those passes: see `cem.em.problem.Problem.passes`.

    Returns
    -------
    EMRun
        A new record; the one given is not changed.
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
        step = None
        if ascending and ascent is not None:
            step, tried = ascent.step(problem, evaluation, left)
            left -= tried
        if step is not None:
            evaluation = step.evaluation
            log_likelihoods.append(evaluation.log_likelihood)
            objectives.append(evaluation.objective)
        elif left > 0:
            # Until convergence is to be judged there is nothing to decide between them.
            wanted = 1 if ascending else min(left, max(1, plain_needed - plain_passes))
            first = not ascending and patience == 0 and plain_passes < plain_needed
            plain = problem.passes(evaluation, wanted, relaxation if first else 1.0)
            evaluation, status = plain.evaluation, plain.status
            log_likelihoods += plain.log_likelihoods
            objectives += plain.objectives
            left -= len(plain.objectives)
            plain_passes += len(plain.objectives)
        else:
            break
        counts = evaluation.sums.mode_counts.tolist()
        lost_mode = next((k for k, count in enumerate(counts) if count < 1.0), None)
        if ascending:
            gain = objectives[-1] - objectives[-2]
            done = step is not None and max(gain, step.predicted_gain) < tolerance
            negligible = negligible + 1 if done else 0
            if step is None or negligible == patience:
                ascending, plain_passes, plain_needed = False, 0, _PLAIN_TO_JUDGE
            continue
        if plain_passes >= plain_needed:
            still = _only_rounding_is_left(objectives, rounding)
            close = still or remaining_gain(objectives) < tolerance
            converged = still or (close and _rate_is_settled(objectives, rounding))
            ascending = ascent is not None and not close and _passes_left(objectives, tolerance) > _WORTH_ACCELERATING
            if ascending:
                # What looked negligible last time was not: learn more of the curvature before saying so again.
                negligible, patience = 0, max(_NEGLIGIBLE_STEPS, 4 * patience)
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
    """How to go on from a run; what was learned is copied, since a record is not changed.

    What was learned holds in its own coordinates, which are the problem's own.

    Aitken's extrapolation speaks of plain passes alone: convergence is judged after a few of them in a row.
    """
    if not accelerate:
        return Pace(None, False, 0, 0, run.n_passes, 2)
    coordinates, pace = problem.coordinates(run.parameters), run.pace
    if pace is not None and pace.ascent is not None and pace.ascent.coordinates is coordinates:
        return replace(pace, ascent=pace.ascent.copy())
    return Pace(QuasiNewton(coordinates), False, 0, 0, 0, plain_first)
