"""EM with lives, model.md (19): failed units contribute their age at failure, running units every age they may reach.

It starts from the fit of the failed units, and raises the objective of `cem.fitting.lives_problem`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.linking import rotated
from cem.em.loop import EMRun, continue_em, start_em
from cem.em.mixture_problem import MixtureRun
from cem.errors import ConvergenceWarning, LostModeWarning, OptionError, PanelError
from cem.errors.warning import warn
from cem.fitting.fit import fit_mixture
from cem.fitting.linked_lives import apart, init_with_lives, options_with_lives, panel_with_lives
from cem.fitting.lives_ascent import LivesPoint, LivesSums
from cem.fitting.lives_problem import LINKED, MINIMUM_SPREAD, LivesProblem
from cem.fitting.options import FitOptions, Given, Progress
from cem.fitting.result import FitResult, in_final_order
from cem.lifetimes.laws import FAMILIES
from cem.lifetimes.lifetimes import Lifetimes, Lognormal
from cem.panel.life_checks import check_lives
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.panel.panel import Panel

__all__ = ["LivesFit", "fit_with_lives", "of_all_units", "problem_of", "solved"]

FloatArray = NDArray[np.float64]

_PRIOR_WEIGHT = 1.0
_TOLERANCE_BEFORE_LIVES = 1000.0


@dataclass(frozen=True, eq=False)
class LivesFit:
    """The result of EM with lives.

    Parameters
    ----------
    result : FitResult
        Of all units of the panel, in its order: statistics (running units at r = 0), run and labels. The run's
        log-likelihoods are (19), in internal coordinates.
    lifetimes : Lifetimes
        f_k.
    objectives : tuple of float
        (19) plus the penalty of the laws, before every M step and after the last. It never falls.
    """

    result: FitResult
    lifetimes: Lifetimes
    objectives: tuple[float, ...]
    whole: FitResult  # `result` as the fit has it: where lives are linked, ln life is the last channel
    family: str
    prior_weight: float


def fit_with_lives(
    panel: Panel,
    options: FitOptions,
    *,
    family: str = "auto",
    prior_weight: float = _PRIOR_WEIGHT,
    init: Given = None,
    progress: Progress | None = None,
    membership_design: FloatArray | None = None,
) -> LivesFit:
    """Fit on the time to failure: first the failed units, then all units by (19).

    Parameters
    ----------
    panel : Panel
        On the forward clock, with ages counted from when a unit was new; NaN failure times are units still running.
    options : FitOptions
        Options of the mixture.
    family : {"auto", "lognormal", "weibull", "empirical", "linked"}
        Family of the laws of lifetimes. With "empirical" the objective may fall in some passes. "linked" is lognormal,
        and depends on the factors that channels share. "auto" is "linked" if channels share any, else "lognormal".
    prior_weight : float
        ν of `LifetimeLaw.fit`, in units.
    init, progress, membership_design
        As for `cem.fitting.fit.fit_mixture`; responsibilities and the design have a row for each unit of the panel.

    Raises
    ------
    PanelError
        No unit has failed, one failed at an age that is not above 0, or no failed unit has the known mode of a running
        one. Or times are clock times rather than ages, or a failure time is a code for *not yet*.
    BasisError
        Units are running and a basis is not shift-invariant.
    OptionError
        The family is unknown, or it is "linked" and channels share no factors.
    """
    families = ("auto", *FAMILIES, LINKED)
    if family not in families:
        raise OptionError(f"lifetimes={family!r}: one of {', '.join(map(repr, families))} was expected")
    if family == LINKED and not options.linking_rank:
        raise OptionError(
            "lifetimes='linked' with linking_rank=0: a life is linked to the factors that channels share; give "
            "linking_rank=1 or more, or lifetimes='lognormal'"
        )
    if family == "auto":
        family = _family_of(init, options) or (LINKED if options.linking_rank else Lognormal.family)
    check_lives(panel)
    has_failed = ~np.isnan(panel.failure_times)
    if not has_failed.any():
        raise PanelError(
            f"time_axis='to_failure' needs units that failed; none of the {panel.n_units} has a failure time. Give "
            "failure_times, or fit with time_axis='forward'"
        )
    young = np.flatnonzero(panel.failure_times <= 0)
    if young.size:
        raise PanelError(
            f"unit {panel.units[young[0]]!r} failed at {panel.failure_times[young[0]]:g}; ages count from the time "
            "axis' zero and must be above it: choose origin= so that time 0 is when the unit was new"
        )
    if init is not None and isinstance(init, np.ndarray) and len(init) == panel.n_units:
        init = init[has_failed]
    failed = panel[has_failed]
    if family == LINKED:
        lives = failed.failure_times
        if np.ptp(np.log(lives)) > 0:
            return _fit_with_linked_lives(panel, has_failed, options, init, progress, membership_design)
        family = Lognormal.family  # all lives are equal, so factors cannot explain any difference
    first = options
    if options.linking_rank and not (options.n_modes == 1 and has_failed.all()):
        # Linked passes are expensive, and EM with lives continues from this fit; only its own end must have converged.
        first = replace(options, tol=_TOLERANCE_BEFORE_LIVES * options.tol)
    design = None if membership_design is None else membership_design[has_failed]
    result = fit_mixture(failed.aligned_at_failure(), first, init=init, progress=progress, membership_design=design)
    problem = problem_of(panel, has_failed, result, options, family, prior_weight, membership_design)
    result, lifetimes = of_all_units(problem, result, options, _given_laws(init, family, options))
    assert lifetimes is not None
    result = _with_running(result, panel, has_failed)
    return LivesFit(result, lifetimes, result.run.objectives, result, family, prior_weight)


def _family_of(init: Given, options: FitOptions) -> str | None:
    """The family of the laws of a model that is only evaluated."""
    from cem.model.model import FailureModeModel

    if options.max_iter or not isinstance(init, FailureModeModel) or "lifetimes" not in init.training:
        return None
    return Lifetimes.from_dict(init.training["lifetimes"]).laws[0].family


def _given_laws(init: Given, family: str, options: FitOptions) -> Lifetimes | None:
    """The laws of a model that is only evaluated (`max_iter=0`); None: they are fitted to the responsibilities."""
    from cem.model.model import FailureModeModel

    if options.max_iter or not isinstance(init, FailureModeModel) or "lifetimes" not in init.training:
        return None
    laws = Lifetimes.from_dict(init.training["lifetimes"])
    if laws.laws[0].family != family:
        raise OptionError(
            f"max_iter=0 evaluates init as it is: its lifetimes are {laws.laws[0].family!r}, and the option is "
            f"lifetimes={family!r}; give that of init, or let the fit make passes"
        )
    return laws


def _with_running(result: FitResult, panel: Panel, has_failed: NDArray[np.bool_]) -> FitResult:
    """The result with what the map of readings by regime adds to the log-densities of running units."""
    if result.conditioning is None or result.conditioning.maps is None or has_failed.all():
        return result
    running = panel[~has_failed].select_channels(result.conditioning.conditions.channels)
    return replace(result, running_jacobian=result.conditioning.log_jacobian_of(running))


def _fit_with_linked_lives(
    panel: Panel,
    has_failed: NDArray[np.bool_],
    options: FitOptions,
    init: Given,
    progress: Progress | None,
    membership_design: FloatArray | None,
) -> LivesFit:
    """The fit with ln life as a channel; if all units failed, it is the fit of the linked model."""
    failed, none_running = panel[has_failed], bool(has_failed.all())
    lives = failed.failure_times
    options = options_with_lives(options, MINIMUM_SPREAD)
    init = init_with_lives(init, lives, MINIMUM_SPREAD, exactly=not options.max_iter)
    first = options if none_running else replace(options, tol=_TOLERANCE_BEFORE_LIVES * options.tol)
    design = None if membership_design is None else membership_design[has_failed]
    result = fit_mixture(
        panel_with_lives(failed.aligned_at_failure(), lives),
        first,
        init=init,
        progress=progress,
        membership_design=design,
    )
    # (19) has densities of lives, the channel densities of their logarithms.
    by_logarithm = -float(np.log(lives).sum())
    whole = result
    if none_running:
        result, lifetimes = apart(result, by_logarithm, by_logarithm)
    else:
        of_all = panel_with_lives(panel, np.ones(panel.n_units))
        problem = problem_of(of_all, has_failed, result, options, LINKED, 0.0, membership_design)
        whole, _ = of_all_units(problem, result, options)
        result, lifetimes = apart(whole, by_logarithm, 0.0)
        result = _with_running(result, panel, has_failed)
    return LivesFit(result, lifetimes, result.run.objectives, whole, LINKED, 0.0)


def problem_of(
    panel: Panel,
    has_failed: NDArray[np.bool_],
    result: FitResult,
    options: FitOptions,
    family: str,
    prior_weight: float,
    membership_design: FloatArray | None = None,
) -> LivesProblem:
    """The problem (19) of the panel, in the coordinates and under the constraints of the fit to its failed units."""
    return LivesProblem.of(
        panel,
        has_failed,
        result.statistics,
        result.mode_labels,
        result.constraints,
        family=family,
        prior_weight=prior_weight,
        kernel=options.kernel,
        n_jobs=options.n_jobs,
        membership_design=membership_design,
        conditioning=result.conditioning,
    )


def solved(
    problem: LivesProblem, result: FitResult, options: FitOptions
) -> tuple[MixtureRun, SufficientStatistics, Lifetimes | None]:
    """Run, statistics and laws of `of_all_units`."""
    found, laws = of_all_units(problem, result, options)
    return found.run, found.statistics, laws


def of_all_units(
    problem: LivesProblem, result: FitResult, options: FitOptions, laws: Lifetimes | None = None
) -> tuple[FitResult, Lifetimes | None]:
    """Run EM from a fit of the failed units to convergence, by the same rules as without lives.

    Parameters
    ----------
    problem : LivesProblem
    result : FitResult
        Of the failed units.
    options : FitOptions
    laws : Lifetimes, optional
        The first laws; by default they are fitted to the responsibilities of the failed units.

    Returns
    -------
    result : FitResult
        Of all units, in the panel's order, modes in their final order; running units at r = 0.
    lifetimes : Lifetimes or None
        The laws; None if lives are a channel.
    """
    start = result.run.responsibilities
    lifetimes = laws
    if lifetimes is None:
        lifetimes = problem.laws(
            start
            if problem.running is None
            else np.concatenate([start, np.zeros((len(problem.lives) - len(start), start.shape[1]))])
        )
    run = start_em(problem, LivesPoint(result.run.parameters, lifetimes))
    # One mode and every life known: nothing is latent, and the two parts of (19) have been fitted separately.
    if lifetimes is not None and problem.running is None and result.run.parameters.n_modes == 1:
        of_lives = run.log_likelihood - result.run.log_likelihood
        penalty = problem.penalty(lifetimes)
        run = replace(
            run,
            log_likelihoods=tuple(value + of_lives for value in result.run.log_likelihoods),
            objectives=tuple(value + of_lives + penalty for value in result.run.objectives),
            status=result.run.status,
            converged=result.run.converged,
        )
    else:
        tolerance = options.tol * problem.n_observations
        run = continue_em(
            run,
            problem,
            n_passes=options.max_iter,
            tolerance=tolerance,
            # The M step of an empirical law does not maximise the objective, so a quasi-Newton ascent has no meaning.
            accelerate=options.accelerate == "auto" and problem.family != "empirical",
        )
        _warn(run, result, options)
        if problem.family == "empirical":
            _warn_of_falls(run.objectives, tolerance)
    statistics = result.statistics
    if problem.at_last is not None:
        has_failed, n_failed = problem.has_failed, problem.n_failed
        order = np.empty(len(has_failed), dtype=np.int64)
        order[has_failed] = np.arange(n_failed)
        order[~has_failed] = n_failed + np.arange(problem.at_last.n_units)
        statistics = SufficientStatistics.concatenate([statistics.with_membership(), problem.at_last]).subset(order)
        statistics = statistics.with_membership(problem.unit_modes.design, problem.unit_modes.priors)
    point = run.parameters
    mixture, modes = in_final_order(
        EMRun(
            rotated(point.mixture),
            run.expected.mixture,
            run.responsibilities,
            run.log_likelihoods,
            run.objectives,
            run.converged,
            run.lost_mode,
            run.status,
        ),
        result,
    )
    constraints = result.constraints
    if constraints.linking_penalties is not None:
        constraints = replace(constraints, linking_penalties=constraints.linking_penalties[modes])
    found = replace(result, statistics=statistics, run=mixture, constraints=constraints)
    return found, None if point.lifetimes is None else point.lifetimes.ordered(modes)


def _warn(run: EMRun[LivesPoint, LivesSums], result: FitResult, options: FitOptions) -> None:
    """Warn of anything the user should know about the end of EM with lives."""
    if run.lost_mode is not None:
        warn(
            f"mode {result.mode_labels[run.lost_mode]!r} has less than one unit left once running units and lives take "
            f"part; n_modes={options.n_modes} is too many for these data",
            LostModeWarning,
        )
    elif not run.converged and options.max_iter:
        warn(
            f"not converged: {options.max_iter} E steps with lives were not enough; raise max_iter",
            ConvergenceWarning,
        )


def _warn_of_falls(objectives: tuple[float, ...], tolerance: float) -> None:
    """Warn if the objective fell: empirical laws are smoothed, not maximum likelihood."""
    gains = np.diff(objectives)
    n_falls = int((gains < -tolerance).sum())
    if n_falls:
        warn(
            f"lifetimes='empirical': the log-likelihood fell in {n_falls} of {len(gains)} passes, by "
            f"{-gains.min():.3g} nats at most; its laws are smoothed lives, not maximum likelihood, so EM may fall "
            "and end below an earlier pass. Take lifetimes='lognormal' or 'weibull' if that matters",
            ConvergenceWarning,
        )
