"""Refine the map of readings by regime with the modes that a fit has found; ℓ never falls (model.md §8)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.mixture.prediction import internal_posterior
from cem.statistics.columns import ColumnPlan, designs_of
from cem.statistics.coordinates import Coordinates
from cem.statistics.fixed import conditioned
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.fitting.conditioning import Conditioning
    from cem.mixture.parameters import Parameters

__all__ = ["Refined", "refined_run"]

FloatArray = NDArray[np.float64]

# Maps are close to their maximum from the start, since they are learned about each unit's own curve.
_REFINEMENTS = 2


@dataclass(frozen=True, eq=False)
class Refined:
    """A run with its map of readings."""

    run: MixtureRun
    problem: MixtureProblem
    conditioning: Conditioning


def refined_run(
    run: MixtureRun,
    problem: MixtureProblem,
    conditioning: Conditioning,
    plan: ColumnPlan | None,
    *,
    max_iter: int,
    tolerance: float,
    accelerate: bool,
    kernel: str,
    n_jobs: int,
) -> Refined:
    """Alternate the map by regime and EM, as long as the objective rises.

    Parameters
    ----------
    run : EMRun
        Of the mapped readings.
    problem : MixtureProblem
        That it solves.
    conditioning : Conditioning
        With the map that the run has seen.
    plan : ColumnPlan, optional
        The columns of the fit.
    max_iter, tolerance, accelerate
        As for `cem.em.continue_em`.
    kernel, n_jobs
        As for `Expectation`.

    Returns
    -------
    Refined
        The last step that raised the objective.
    """
    found = Refined(run, problem, conditioning)
    for _ in range(_REFINEMENTS):
        try:
            further = _refined_once(found, plan, max_iter, tolerance, accelerate, kernel, n_jobs)
        except (FitError, np.linalg.LinAlgError):
            break
        if further is None or further.run.lost_mode is not None:
            break
        gain = _objective(further) - _objective(found)
        if not gain > 0.0:  # undone
            break
        found = further
        if gain < tolerance:
            break
    return found


def _objective(found: Refined) -> float:
    """ℓ of the readings as they were read, less the penalties, with the prior of the map."""
    return found.run.objectives[-1] + _log_jacobian(found) + found.conditioning.log_prior()


def _log_jacobian(found: Refined) -> float:
    """What turns a log-likelihood of the run into one of the readings as they were read."""
    return found.problem.expectation.statistics.log_jacobian + found.conditioning.log_jacobian()


def _refined_once(
    found: Refined,
    plan: ColumnPlan | None,
    max_iter: int,
    tolerance: float,
    accelerate: bool,
    kernel: str,
    n_jobs: int,
) -> Refined | None:
    expectation = found.problem.expectation
    statistics, parameters = expectation.statistics, found.run.parameters
    panel = found.conditioning.mapped_panel()
    designs = designs_of(panel, statistics.bases, plan)
    unit_of_row = np.repeat(np.arange(panel.n_units), np.diff(panel.offsets))
    posteriors = _posteriors(statistics, parameters)
    wide = _wide(statistics)
    origins, units = np.array([_middle(panel.values[:, c]) for c in range(panel.n_channels)]), np.array(wide.scales)

    def curves(c: int) -> FloatArray:
        rows = designs[c](slice(None))
        whole = _whole_coefficients(statistics, parameters, posteriors, c)  # (L, K, p + q)
        at = np.stack([np.einsum("nj,nj->n", rows, whole[unit_of_row, k]) for k in range(parameters.n_modes)], axis=1)
        result: FloatArray = (at - origins[c]) / units[c]
        return result

    def weights(c: int) -> FloatArray:
        result: FloatArray = (found.run.responsibilities / parameters.noise_variances[:, c])[unit_of_row]
        return result

    conditioning, factors, shifts = found.conditioning.refined(curves, weights, origins, units)
    moved = _moved(statistics, factors, shifts)
    if moved is None:
        return None
    new = SufficientStatistics.from_panel(
        conditioning.mapped_panel(), statistics.bases, coordinates=moved, known_modes=statistics.known_modes, plan=plan
    )
    new = new.with_membership(statistics.membership_design, statistics.mode_priors)
    problem = replace_problem(found.problem, new, kernel, n_jobs)
    continued: MixtureRun = continue_em(
        start_em(problem, parameters), problem, n_passes=max_iter, tolerance=tolerance, accelerate=accelerate
    )
    return _with_history(found, Refined(continued, problem, conditioning))


def replace_problem(
    problem: MixtureProblem, statistics: SufficientStatistics, kernel: str, n_jobs: int
) -> MixtureProblem:
    """The same problem for other statistics in the same coordinates."""
    expectation = Expectation(statistics, kernel="lapack" if kernel == "lapack" else "auto", n_jobs=n_jobs)
    return MixtureProblem(expectation, problem.constraints)


def _with_history(before: Refined, after: Refined) -> Refined:
    """The later run with the passes of the earlier one, whose values are put in terms of the later readings.

    An objective of other readings differs by ln |dx'/dx|, and here by the prior of the map, too.
    """
    shift = _log_jacobian(before) - _log_jacobian(after)
    by_prior = before.conditioning.log_prior() - after.conditioning.log_prior()
    earlier = before.run
    run = replace(
        after.run,
        log_likelihoods=(*(value + shift for value in earlier.log_likelihoods[:-1]), *after.run.log_likelihoods),
        objectives=(*(value + shift + by_prior for value in earlier.objectives[:-1]), *after.run.objectives),
    )
    return replace(after, run=run)


def _middle(values: FloatArray) -> float:
    return float(np.nanmean(values))


def _wide(statistics: SufficientStatistics) -> Coordinates:
    return statistics.coordinates if statistics.fixed is None else statistics.fixed.wide


def _posteriors(statistics: SufficientStatistics, parameters: Parameters) -> FloatArray:
    """T̂ of the random columns by unit and mode, internal, (L, K, P)."""
    if parameters.fixed is None:
        return np.asarray(internal_posterior(statistics, parameters)[0], dtype=np.float64)
    by_mode = []
    for k in range(parameters.n_modes):
        own = replace(parameters.ordered([k]), weights=np.ones(1), fixed=None, membership=None)
        by_mode.append(internal_posterior(conditioned(statistics, parameters.fixed[k]), own)[0][:, 0])
    return np.stack(by_mode, axis=1)


def _whole_coefficients(
    statistics: SufficientStatistics, parameters: Parameters, posteriors: FloatArray, c: int
) -> FloatArray:
    """All coefficients of a channel by unit and mode, in the mapped readings' units, (L, K, p + q)."""
    own = statistics.layout.vector(posteriors, c)
    if statistics.fixed is None or parameters.fixed is None:
        return statistics.coordinates.coefficients(own, c)
    starts = statistics.fixed.starts
    beta = np.broadcast_to(
        parameters.fixed[:, starts[c] : starts[c + 1]],
        (len(own), parameters.n_modes, int(starts[c + 1] - starts[c])),
    )
    return statistics.fixed.coefficients(beta, own, c)


def _moved(statistics: SufficientStatistics, factors: FloatArray, shifts: FloatArray) -> Coordinates | None:
    """Coordinates in which the same internal parameters have the curves factor f + shift; None without a constant."""
    wide = _wide(statistics)
    centres = np.array(wide.centres)
    for c in range(statistics.n_channels):
        constant = _constant(statistics, c)
        if constant is None:
            if abs(shifts[c]) > 0.0:
                return None
            constant = np.zeros(wide.sizes[c])
        wide.layout.vector(centres, c)[:] = factors[c] * wide.centre(c) + shifts[c] * constant
    return replace(wide, centres=centres, scales=wide.scales * factors)


def _constant(statistics: SufficientStatistics, c: int) -> FloatArray | None:
    """Coefficients of whole columns whose curve is 1 everywhere; None if there are none."""
    basis = statistics.bases[c]
    times = np.linspace(*basis.domain, 4 * basis.size + 4)
    functions = basis(times)
    solution = np.asarray(np.linalg.lstsq(functions, np.ones(len(times)), rcond=1e-12)[0], dtype=np.float64)
    if np.abs(functions @ solution - 1.0).max() > 1e-9:
        return None
    return _in_columns(statistics, c, solution)


def _in_columns(statistics: SufficientStatistics, c: int, of_functions: FloatArray) -> FloatArray | None:
    """Coefficients of a channel's basis functions, as coefficients of its whole columns."""
    plan = None if statistics.fixed is None else statistics.fixed.plan
    if plan is None:
        return of_functions
    p = statistics.sizes[c]
    whole = np.zeros(p + len(plan.fixed[c]))
    placed = np.zeros(len(of_functions), dtype=bool)
    for i, function in enumerate(plan.random[c]):
        whole[i], placed[function] = of_functions[function], True
    for i, column in enumerate(plan.fixed[c]):
        if column.feature < 0:
            whole[p + i], placed[column.function] = of_functions[column.function], True
    return whole if placed.all() else None
