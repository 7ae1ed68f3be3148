"""The EM loop: expectation, maximisation, until the gain that remains is negligible."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation, Passes
from cem.em.maximisation import maximisation, over_relaxed
from cem.em.quasi_newton import AscentCoordinates, QuasiNewton
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.errors import FitError
from cem.mixture.parameters import Parameters
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
# Steps in a row whose gain, made and promised, is below the tolerance.
_NEGLIGIBLE_STEPS = 2


@dataclass(frozen=True, eq=False)
class Pace:
    """How a run goes on: by plain passes or by quasi-Newton steps, and what these have learned of the curvature.

    Parameters
    ----------
    ascent : QuasiNewton or None
        None where all passes are plain.
    constraints : Constraints
        Those of `ascent`, which goes on under its own only.
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

    ascent: QuasiNewton | None
    constraints: Constraints
    ascending: bool
    negligible: int
    patience: int
    plain_passes: int
    plain_needed: int


@dataclass(frozen=True, eq=False)
class EMRun:
    """Where a run of EM stands; `log_likelihoods[-1]` belongs to `parameters`.

    Parameters
    ----------
    parameters : Parameters
        The present parameters.
    expected : ExpectedStatistics
        Evaluated at them.
    responsibilities : ndarray of shape (L, K)
        ρ̂ at them.
    log_likelihoods : tuple of float
        ℓ before every M step and after the last, internal coordinates.
    converged : bool
        The remaining gain is below the tolerance.
    lost_mode : int or None
        A mode that lost its units, which ended the run.
    status : ndarray of shape (K, C), int32
        Of the last M step: see `cem.em.maximisation.maximisation`.
    pace : Pace or None
        Where acceleration stands, so that a run in several calls takes the passes of a run in one.
    objectives : tuple of float
        What never falls, where `log_likelihoods` has ℓ: with linked channels ℓ − ½ Σ λ_k ‖Γ_kc‖², with lives the
        penalty of their laws too, otherwise the same.
    """

    parameters: Parameters
    expected: ExpectedStatistics
    responsibilities: FloatArray
    log_likelihoods: tuple[float, ...]
    converged: bool = False
    lost_mode: int | None = None
    status: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    pace: Pace | None = None
    objectives: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.objectives:
            object.__setattr__(self, "objectives", self.log_likelihoods)

    @property
    def log_likelihood(self) -> float:
        return self.log_likelihoods[-1]

    @property
    def n_passes(self) -> int:
        return len(self.log_likelihoods) - 1

    @property
    def finished(self) -> bool:
        return self.converged or self.lost_mode is not None


def remaining_gain(log_likelihoods: Sequence[float]) -> float:
    """What ℓ has still to gain, by Aitken's extrapolation of its last three values; inf where it cannot tell.

    Böhning et al. (1994), Ann. Inst. Statist. Math. 46, 373–388.
    """
    if len(log_likelihoods) < 3:
        return np.inf
    before, last = _last_gains(log_likelihoods, 2)
    if last <= 0:
        return 0.0
    ratio = last / before if before > 0 else np.inf
    return last * ratio / (1 - ratio) if ratio < 1 else np.inf


def _last_gains(log_likelihoods: Sequence[float], n: int) -> list[float]:
    """The last n differences: a fit asks in every pass, and NumPy would take longer than the pass."""
    return [float(log_likelihoods[i] - log_likelihoods[i - 1]) for i in range(-n, 0)]


def _only_rounding_is_left(log_likelihoods: Sequence[float], rounding: float) -> bool:
    """Whether the last gain is no larger than what rounding has just done to ℓ.

    In exact arithmetic a plain pass never lowers ℓ: a fall within the last passes measures the rounding of ℓ, which
    depends on the data. What ℓ gains beside it is no ascent, and Aitken's extrapolation of it means nothing. A run that
    leaves a saddle has small gains too, but no falls.
    """
    gains = _last_gains(log_likelihoods, min(_PLAIN_TO_JUDGE, len(log_likelihoods) - 1))
    fall = -min(gains)
    return 0.0 < fall <= _COARSEST * rounding and gains[-1] <= max(2.0 * fall, 1e-3 * rounding)


def _rate_is_settled(log_likelihoods: Sequence[float], rounding: float) -> bool:
    """Whether the rate of convergence that Aitken's extrapolation rests on has settled.

    After accelerated passes the fast directions die out first: the rate then seems far better than it is in the slow
    ones, until only these are left.
    """
    if len(log_likelihoods) < 4:
        return False
    first, second, third = _last_gains(log_likelihoods, 3)
    if third <= rounding:
        return True
    if first <= 0 or second <= 0:
        return False
    rate = third / second
    return abs(rate - second / first) <= 0.1 * max(1.0 - rate, 1e-6)


def _passes_left(log_likelihoods: Sequence[float], tolerance: float) -> float:
    """How many plain passes until the remaining gain is below the tolerance, at the present rate of convergence."""
    before, last = _last_gains(log_likelihoods, 2)
    if last <= 0 or before <= 0 or last >= before:
        return 0.0 if last <= 0 else np.inf
    ratio = last / before
    return math.log(tolerance * (1 - ratio) / (last * ratio)) / math.log(ratio)


def start_em(expectation: Expectation, parameters: Parameters) -> EMRun:
    """A run that has done no M step yet."""
    expected, responsibilities = expectation(parameters)
    return EMRun(parameters, expected, responsibilities, (expected.log_likelihood,))


def continue_em(
    run: EMRun,
    expectation: Expectation,
    constraints: Constraints,
    *,
    n_passes: int,
    tolerance: float,
    accelerate: bool = False,
    plain_first: int = PLAIN_FIRST,
    relaxation: float = 1.0,
    maximise: Callable[..., tuple[Any, NDArray[np.int32]]] = maximisation,
    coordinates: AscentCoordinates | None = None,
) -> EMRun:
    """Up to `n_passes` further passes.

    Parameters
    ----------
    run : EMRun
        Where to go on.
    expectation : Expectation
        The E step of the panel.
    constraints : Constraints
        Of the M step.
    n_passes : int
        Limit on the passes (E steps) of this call.
    tolerance : float
        Converged when the remaining gain of ℓ over plain passes, in nats, is below it.
    accelerate : bool
        Take quasi-Newton steps where they raise ℓ.
    plain_first : int
        Passes without them before the first; counts where the run has taken none yet.
    relaxation : float
        Of those passes: each goes so many times as far as the M step, where that does not lower ℓ (`over_relaxed`).
    maximise : callable
        The M step; another model's, where parameters and sums are not those of the mixture alone (`lives_ascent`).
    coordinates : AscentCoordinates, optional
        In which such a model's parameters are free.

    Returns
    -------
    EMRun
        A new record; the one given is not changed.
    """
    parameters, expected, responsibilities = run.parameters, run.expected, run.responsibilities
    log_likelihoods, converged, status = list(run.log_likelihoods), run.converged, run.status
    lost_mode = run.lost_mode
    rounding = _ROUNDING * (expectation.statistics.n_observations + abs(run.log_likelihood))
    tolerance = max(tolerance, rounding)
    pace = _pace(run, constraints, coordinates, accelerate, plain_first)
    ascent, ascending, negligible, patience = pace.ascent, pace.ascending, pace.negligible, pace.patience
    plain_passes, plain_needed = pace.plain_passes, pace.plain_needed
    left = n_passes
    while left > 0 and not converged and lost_mode is None:
        checkpoint()
        step = None
        if ascending and ascent is not None:
            step, tried = ascent.step(expectation, parameters, expected, left)
            left -= tried
        if step is not None:
            parameters, expected, responsibilities = step.parameters, step.expected, step.responsibilities
            log_likelihoods.append(expected.log_likelihood)
        elif left > 0:
            # Until convergence is to be judged there is nothing to decide between them.
            wanted = 1 if ascending else min(left, max(1, plain_needed - plain_passes))
            first = not ascending and patience == 0 and plain_passes < plain_needed
            plain = _plain_passes(
                parameters, expected, expectation, constraints, maximise, wanted, relaxation if first else 1.0
            )
            parameters, expected, responsibilities = plain.parameters, plain.expected, plain.responsibilities
            status = plain.status
            log_likelihoods += plain.log_likelihoods
            left -= len(plain.log_likelihoods)
            plain_passes += len(plain.log_likelihoods)
        else:
            break
        lost_mode = next((k for k, count in enumerate(expected.mode_counts.tolist()) if count < 1.0), None)
        if ascending:
            gain = log_likelihoods[-1] - log_likelihoods[-2]
            done = step is not None and max(gain, step.predicted_gain) < tolerance
            negligible = negligible + 1 if done else 0
            if step is None or negligible == patience:
                ascending, plain_passes, plain_needed = False, 0, _PLAIN_TO_JUDGE
            continue
        if plain_passes >= plain_needed:
            still = _only_rounding_is_left(log_likelihoods, rounding)
            close = still or remaining_gain(log_likelihoods) < tolerance
            converged = still or (close and _rate_is_settled(log_likelihoods, rounding))
            ascending = (
                ascent is not None and not close and _passes_left(log_likelihoods, tolerance) > _WORTH_ACCELERATING
            )
            if ascending:
                # What looked negligible last time was not: learn more of the curvature before saying so again.
                negligible, patience = 0, max(_NEGLIGIBLE_STEPS, 4 * patience)
    pace = Pace(ascent, constraints, ascending, negligible, patience, plain_passes, plain_needed)
    return EMRun(parameters, expected, responsibilities, tuple(log_likelihoods), converged, lost_mode, status, pace)


def _plain_passes(
    parameters: Parameters,
    expected: ExpectedStatistics,
    expectation: Expectation,
    constraints: Constraints,
    maximise: Callable[..., tuple[Any, NDArray[np.int32]]],
    n_passes: int,
    relaxation: float,
) -> Passes:
    """So many passes without curvature, or fewer where a mode loses its units."""
    if maximise is maximisation:
        together = expectation.passes(parameters, expected, constraints, n_passes, relaxation)
        if together is not None:
            return together
    log_likelihoods: list[float] = []
    n_evaluations = 0
    while len(log_likelihoods) < n_passes and (not log_likelihoods or expected.mode_counts.min() >= 1.0):
        before = parameters, expected.log_likelihood
        parameters, status = maximise(expected, parameters, constraints)  # (15), (15')
        further = None
        if relaxation > 1.0:
            n_evaluations += 1
            further = _gone_further(*before, parameters, expectation, constraints, relaxation)
        if further is not None:
            parameters, expected, responsibilities = further
        else:
            expected, responsibilities = expectation(parameters)  # (10)-(14)
            n_evaluations += 1
        log_likelihoods.append(expected.log_likelihood)
    return Passes(parameters, expected, responsibilities, status, log_likelihoods, n_evaluations)


def _gone_further(
    before: Parameters,
    log_likelihood: float,
    found: Parameters,
    expectation: Expectation,
    constraints: Constraints,
    relaxation: float,
) -> tuple[Parameters, ExpectedStatistics, FloatArray] | None:
    """Further than the M step went, the same way; None where that does not raise ℓ."""
    further = over_relaxed(before, found, constraints, relaxation)
    try:
        expected, responsibilities = expectation(further)
    except FitError:
        return None
    return (further, expected, responsibilities) if expected.log_likelihood >= log_likelihood else None


def _pace(
    run: EMRun, constraints: Constraints, coordinates: AscentCoordinates | None, accelerate: bool, plain_first: int
) -> Pace:
    """How to go on from a run; what was learned is copied, since a record is not changed.

    Aitken's extrapolation speaks of plain passes alone: convergence is judged after a few of them in a row.
    """
    if not accelerate:
        return Pace(None, constraints, False, 0, 0, run.n_passes, 2)
    pace = run.pace
    if pace is not None and pace.ascent is not None and pace.constraints is constraints:
        return replace(pace, ascent=pace.ascent.copy())
    if coordinates is None:
        parameters = run.parameters
        coordinates = UnconstrainedCoordinates(constraints, parameters.sizes, parameters.n_modes)
    return Pace(QuasiNewton(coordinates), constraints, False, 0, 0, 0, plain_first)
