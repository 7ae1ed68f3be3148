"""The optima near that of a fit: EM from many starts, each to its end, in the problem that the fit solved.

A search drops most starts on the way (`cem.search.starts`), so it knows one optimum well and little of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.linking import linked_start
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import FitError
from cem.fitting.lives_ascent import LivesPoint
from cem.fitting.lives_problem import LivesProblem
from cem.fitting.result import reordered
from cem.metrics.agreement import disagreement
from cem.mixture.mode_match import match_modes
from cem.numerics.threads import in_order
from cem.search.fresh import MIXED_KINDS, one_mode_run, starting_point
from cem.search.moves import moved_start
from cem.search.one_mode import OneModePosteriors, StartingPoint

if TYPE_CHECKING:
    from cem.fitting.fitted_problem import FittedProblem
    from cem.fitting.options import FitOptions

__all__ = ["Ending", "near_optima"]

FloatArray = NDArray[np.float64]

_FEWEST_PASSES = 1000
_TOLERANCE = 1e-3  # nats that a run may still gain, if the fit allowed no less: one that creeps seems an optimum
# Ends that give the units the same modes are one optimum, also if one of them has not quite got there.
_SAME_HEIGHT = 1.0  # nats, and
_SAME_MODES = 0.01  # mean probability that differs
# Links and lives can change the order of optima, so more of them are carried over.
_CARRIED_OVER = 3.0
_MOST_CARRIED = 8


@dataclass(frozen=True, eq=False)
class Ending:
    """An optimum that runs ended in.

    Parameters
    ----------
    objective, log_likelihood : float
        In internal coordinates.
    responsibilities : ndarray of shape (L, K)
        In the order of the panel and of the fit's modes.
    n_met : int
        Fresh starts that ended there.
    is_own : bool
        Whether the fit is there.
    """

    objective: float
    log_likelihood: float
    responsibilities: FloatArray
    n_met: int
    is_own: bool = False


def near_optima(
    fitted: FittedProblem, options: FitOptions, *, n_starts: int, within: float, seed: np.random.SeedSequence
) -> tuple[Ending, list[Ending]]:
    """The optimum of a fit, and the others that are at most `within` nats below the best of all.

    Parameters
    ----------
    fitted : FittedProblem
    options : FitOptions
        Of the fit.
    n_starts : int
        Fresh starts; half as many more begin next to the fit.
    within : float
        Nats.
    seed : SeedSequence
        Of the starts.

    Returns
    -------
    own : Ending
        Of the fit.
    others : list of Ending
        By falling objective.
    """
    evaluation = fitted.evaluation
    own = Ending(evaluation.objective, evaluation.log_likelihood, evaluation.responsibilities, 0, is_own=True)
    n_modes = evaluation.responsibilities.shape[1]
    if n_modes == 1:
        return replace(own, n_met=n_starts), []
    # Of the units whose place on the time axis is known, with their labels, and without links.
    constraints = replace(fitted.form.constraints, linking_penalties=None)
    expectation = Expectation(fitted.setting.statistics, kernel=options.kernel, n_jobs=options.n_jobs)
    plain = MixtureProblem(expectation, constraints)
    of_plain = own.responsibilities
    if isinstance(fitted.problem, LivesProblem):
        of_plain = of_plain[fitted.problem.has_failed]
    runs = _runs(plain, of_plain, options, n_starts, seed)
    endings = [_ending(run, is_fresh) for run, is_fresh in runs]
    if isinstance(fitted.problem, LivesProblem) or fitted.parameters.rank:
        endings = _carried_over(endings, runs, of_plain, fitted, options, _CARRIED_OVER * within)
    found = _distinct([own, *endings])
    best = max(one.objective for one in found)
    mine = next(one for one in found if one.is_own)
    near = [one for one in found if one is not mine and one.objective >= best - within]
    places = [match_modes(own.responsibilities, one.responsibilities) for one in near]
    return mine, [
        replace(one, responsibilities=place.in_order(one.responsibilities))
        for one, place in zip(near, places, strict=True)
    ]


def _runs(
    problem: MixtureProblem,
    responsibilities: FloatArray,
    options: FitOptions,
    n_starts: int,
    seed: np.random.SeedSequence,
) -> list[tuple[MixtureRun, int]]:
    """Runs of the plain mixture to their ends, and whether each one began afresh (1) or next to the fit (0)."""
    expectation, constraints = problem.expectation, problem.constraints
    one_mode = one_mode_run(expectation, constraints).parameters
    posteriors = OneModePosteriors(expectation.statistics, one_mode)
    rng, moves = map(np.random.default_rng, seed.spawn(2))
    n_modes = responsibilities.shape[1]

    def points() -> Iterator[tuple[Callable[[], StartingPoint], int]]:
        for kind in islice(cycle(MIXED_KINDS), n_starts):
            yield partial(starting_point, kind, expectation, posteriors, constraints, n_modes, rng), 1
        for _ in range(n_starts // 2):
            yield partial(moved_start, responsibilities, posteriors, constraints, moves), 0

    begun: list[tuple[Any, int]] = []
    for make, is_fresh in points():  # one after the other: they draw from one generator
        try:
            begun.append((make().parameters, is_fresh))
        except (FitError, np.linalg.LinAlgError):
            continue
    width = 1 if expectation.n_chunks(n_modes) >= 4 * options.n_jobs else options.n_jobs
    ends = in_order(lambda one: _ended(problem, one[0], options), begun, width)
    return [(run, is_fresh) for run, (_, is_fresh) in zip(ends, begun, strict=True) if run is not None]


def _ended(problem: Any, point: Any, options: FitOptions) -> Any:
    """A run to its end; None if it failed or lost a mode."""
    is_plain = isinstance(problem, MixtureProblem)
    n_observations = problem.expectation.statistics.n_observations if is_plain else problem.n_observations
    try:
        run = continue_em(
            start_em(problem, point),
            problem,
            n_passes=max(options.max_iter, _FEWEST_PASSES),
            tolerance=min(_TOLERANCE, options.tol * n_observations),
            accelerate=options.accelerate == "auto" and getattr(problem, "family", None) != "empirical",
        )
    except (FitError, np.linalg.LinAlgError):
        return None
    return None if run.lost_mode is not None else run


def _ending(run: Any, n_met: int) -> Ending:
    return Ending(run.objectives[-1], run.log_likelihood, run.responsibilities, n_met)


def _carried_over(
    endings: list[Ending],
    runs: list[tuple[MixtureRun, int]],
    of_fit: FloatArray,
    fitted: FittedProblem,
    options: FitOptions,
    within: float,
) -> list[Ending]:
    """The optima of the fit's own problem, with links and lives, that the best of the plain mixture lead to."""
    found = []
    distinct = _distinct(endings)
    for one in distinct[:_MOST_CARRIED]:
        if one.objective < distinct[0].objective - within:
            break
        run = next(run for run, _ in runs if run.responsibilities is one.responsibilities)
        # Penalties of the loadings belong to the fit's modes.
        run = reordered(run, match_modes(of_fit, run.responsibilities).places)
        ended: Any = run
        if fitted.parameters.rank:
            expectation = Expectation(fitted.setting.statistics, kernel=options.kernel, n_jobs=options.n_jobs)
            linked = MixtureProblem(expectation, fitted.form.constraints)
            try:
                point = linked_start(run, expectation, fitted.parameters.rank, fitted.form.constraints)
            except np.linalg.LinAlgError:
                continue
            ended = _ended(linked, point, options)
        if ended is not None and isinstance(fitted.problem, LivesProblem):
            problem, rho = fitted.problem, ended.responsibilities
            unknown = np.zeros((len(problem.lives) - len(rho), rho.shape[1]))
            laws = problem.laws(np.concatenate([rho, unknown]))
            ended = _ended(problem, LivesPoint(ended.parameters, laws), options)
        if ended is not None:
            found.append(_ending(ended, one.n_met))
    return found


def _distinct(endings: list[Ending]) -> list[Ending]:
    """Different optima by falling objective; those of a group are counted, and its first one is kept."""
    kept: list[Ending] = []
    for one in sorted(endings, key=lambda one: -one.objective):
        for i, other in enumerate(kept):
            if abs(other.objective - one.objective) < _SAME_HEIGHT and (
                disagreement(other.responsibilities, one.responsibilities) < _SAME_MODES
            ):
                first = one if one.is_own else other
                kept[i] = replace(first, n_met=other.n_met + one.n_met)
                break
        else:
            kept.append(one)
    return kept
