"""The stages of a fit, in order: from a panel and options to a fitted model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.basis.families import Basis
from cem.em.constraints import Constraints, FixedColumns
from cem.em.expectation import Expectation
from cem.em.feasibility import allowing, feasible
from cem.em.floors import with_floors
from cem.em.linking import linked_run, linking_of, linking_penalties, rotated
from cem.em.loop import start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import ConvergenceWarning, FitError, OptionError, PanelError
from cem.errors.names import counted, listed
from cem.errors.options import shortened
from cem.errors.warning import warn
from cem.fitting.bases import specified_bases, warn_of_lower_degrees
from cem.fitting.columns import check_collinear, column_plan
from cem.fitting.conditioning import Conditioning, fixed_columns, learned_for
from cem.fitting.covariates_left import warn_of_what_covariates_leave
from cem.fitting.fit_warnings import warn_of_fit
from cem.fitting.given_parameters import check_structure, given_parameters
from cem.fitting.life_channel import LIFE
from cem.fitting.misfit import warn_of_misfit
from cem.fitting.near_ties import past_near_tie, warn_of_near_tie
from cem.fitting.options import FitOptions, Given, Progress
from cem.fitting.process_auto import Trial
from cem.fitting.regime_refinement import refined_run
from cem.fitting.result import FitResult, final_order, reordered
from cem.fitting.screening import decimal_step, varying_channels, warn_of_short_units, warn_of_stuck_channels
from cem.fitting.shrinkage import ChosenShrinkage, chosen_shrinkage, first_shrinkage, not_chosen, with_weight_of
from cem.fitting.warm_start import check_same_conditions, matched_modes, numbered
from cem.mixture.parameters import Parameters
from cem.panel.mode_priors import all_mode_labels, log_mode_priors
from cem.process.channel_process import ChannelProcess
from cem.search.fresh import (
    one_mode_run,
)
from cem.search.makers import makers
from cem.search.one_mode import StartingPoint
from cem.search.quiet_modes import FLOOR_FRACTION, SMALLEST_NOISE, past_quiet_modes
from cem.search.starts import Crossing, Fresh, Move, Start, best_of_starts
from cem.statistics.columns import ColumnPlan
from cem.statistics.exact_channels import learnable_channels, rounding_noise
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.covariates.conditions import Conditions
    from cem.panel.panel import Panel

__all__ = ["fit_mixture"]

FloatArray = NDArray[np.float64]

_COVARIANCE_FLOOR = 1e-6
# The plain fit before linked EM need not converge to the last digit.
_TOLERANCE_BEFORE_LINKING = 1e3


def fit_mixture(
    panel: Panel,
    options: FitOptions,
    *,
    init: Given = None,
    progress: Progress | None = None,
    membership_design: FloatArray | None = None,
    conditions: Conditions | None = None,
) -> FitResult:
    """Fit the mixture to a panel.

    Parameters
    ----------
    panel : Panel
        On the time axis of the fit.
    options : FitOptions
        Checked options.
    init : ndarray of shape (L, K), Parameters or FailureModeModel, optional
        A single warm start: responsibilities; parameters in the panel's units; or a fitted model. Its modes keep their
        order, and those of a model keep their labels.
    progress : callable, optional
        Called with (stage, starts done, starts in the stage, best log-likelihood so far).
    membership_design : ndarray of shape (L, 1 + F), optional
        (1, f(u)) of each unit, by which π_k(u) depends on its covariates; features are centred and of about unit scale.
    conditions : Conditions, optional
        What is known of covariates already, of the panel's channels or more; by default it is learned from the panel.

    Returns
    -------
    FitResult

    Raises
    ------
    PanelError
        The panel cannot be fitted; the message names what is at fault.
    FitError
        No start could be completed; the message lists why.
    """
    options = with_weight_of(init, options)
    prepared = _prepare(panel, options, init, membership_design, conditions)
    found = _search(prepared, options, init, progress)
    plain = prepared.plan is None and prepared.conditioning is None
    if options.linking_rank and plain and init is None and not found.interrupted:
        warn_of_misfit(panel, found.problem.expectation.statistics, found.run)
    linked = _refine(_link(found, options), prepared, options)
    return _finish(linked, prepared, options, keeps_order=init is not None)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """The inputs of a search.

    Parameters
    ----------
    problem : MixtureProblem
        Has the channels that vary, under the noise floors of the search.
    one_mode : Parameters
        The whole fleet as one mode.
    lowest_floors : ndarray of shape (C,)
        Lowest noise floors that the fit may use.
    mode_labels : tuple of K labels
        Labels of the modes.
    unlabelled : tuple of int
        Modes without a label, numbered by the fit.
    left_out : tuple of str
        Channels that cannot be fitted.
    plan : ColumnPlan, optional
        Of the columns; None if all of them are random.
    conditioning : Conditioning, optional
        The panel's covariates, and the map of its readings.
    processes : tuple over channels of ChannelProcess or None, optional
        How units wander about their curves; None: they do not.
    trials : list of Trial
        What was tried for channels of process "auto".
    """

    problem: MixtureProblem
    one_mode: Parameters
    lowest_floors: FloatArray
    mode_labels: tuple[Hashable, ...]
    unlabelled: tuple[int, ...]
    left_out: tuple[str, ...]
    plan: ColumnPlan | None
    conditioning: Conditioning | None
    processes: tuple[ChannelProcess | None, ...] | None = None
    trials: list[Trial] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Found:
    """The best run so far, the problem that it solves, and the starts of the search."""

    run: MixtureRun
    problem: MixtureProblem
    starts: list[Start]
    best: int
    interrupted: bool
    conditioning: Conditioning | None = None
    shrinkage: ChosenShrinkage | None = None


def _prepare(
    panel: Panel,
    options: FitOptions,
    init: Given,
    membership_design: FloatArray | None,
    conditions: Conditions | None,
) -> _Prepared:
    """Prepare channels, bases, statistics, and the floors of the M step."""
    if panel.n_units < options.n_modes:
        raise PanelError(
            f"{counted(panel.n_units, 'unit')} cannot be divided into n_modes={options.n_modes} modes; "
            "give more units or fewer modes"
        )
    _check_heard(panel)
    given_channels = panel.channels
    kept = varying_channels(panel)
    if len(kept) < len(given_channels):
        panel = panel.select_channels(kept)
    mode_labels, known_modes, unlabelled = _modes(panel, options.n_modes, init)
    learnable = learnable_channels(
        panel,
        lambda kept: _bound_bases(kept, options.basis, init),
        known_modes,
        besides=(LIFE,),
        prepare=partial(_prepare_columns, options=options, init=init, conditions=conditions),
        check=_check_columns,
    )
    panel, statistics = learnable.panel, learnable.statistics
    plan, conditioning = learnable.prepared
    steps = np.array([decimal_step(panel.values[:, c]) for c in range(panel.n_channels)])
    if conditioning is not None and conditioning.maps is not None:
        steps = steps / conditioning.maps.scales.max(axis=0)
    steps = np.maximum(steps, np.sqrt(12.0) * rounding_noise(statistics))
    processes: tuple[ChannelProcess | None, ...] | None = None
    trials: list[Trial] = []
    if options.process is not None or getattr(init, "processes", None) is not None:
        processes, trials = _processes(panel, learnable.bases, given_channels, steps, plan, options, init)
        statistics = SufficientStatistics.from_panel(
            panel, learnable.bases, known_modes=known_modes, plan=plan, processes=processes
        )
    mode_priors = log_mode_priors(panel, mode_labels)
    if membership_design is not None or mode_priors is not None:
        statistics = statistics.with_membership(membership_design, mode_priors)
    warn_of_lower_degrees(panel, learnable.bases, options.basis)
    warn_of_stuck_channels(panel)
    warn_of_short_units(panel, learnable.bases)
    warn_of_what_covariates_leave(panel, learnable.bases, plan, conditioning)
    expectation = Expectation(statistics, kernel=options.kernel, n_jobs=options.n_jobs)
    varying = statistics.sizes if plan is None else tuple(map(len, plan.random))
    if options.covariance == "shrunk" and (not any(varying) or not (options.max_iter or options.shrinkage)):
        # No coefficient varies, or ν is not known and nothing is to be fitted: the objective is ℓ alone.
        options = replace(options, covariance="full")
    linking_of(options.linking_rank, varying, panel.channels)
    one_mode, constraints, lowest_floors = _constraints(expectation, panel.channels, steps, options)
    return _Prepared(
        MixtureProblem(expectation, constraints),
        one_mode.parameters,
        lowest_floors,
        mode_labels,
        unlabelled,
        tuple(name for name in given_channels if name not in panel.channels),
        plan,
        conditioning,
        processes,
        trials,
    )


def _processes(
    panel: Panel,
    bases: tuple[Basis, ...],
    given_channels: Sequence[str],
    steps: FloatArray,
    plan: ColumnPlan | None,
    options: FitOptions,
    init: Given,
) -> tuple[tuple[ChannelProcess | None, ...] | None, list[Trial]]:
    """How units wander about their curves, by channel: as in the model of a warm start, or chosen for the panel."""
    from cem.fitting.process_choice import chosen_processes
    from cem.model.model import FailureModeModel
    from cem.process.channel_process import process_kinds

    every = process_kinds(options.process, tuple(given_channels))
    kinds = tuple(every[given_channels.index(name)] for name in panel.channels)
    if not isinstance(init, FailureModeModel):
        return chosen_processes(panel, bases, kinds, steps, plan) if any(kinds) else (None, [])
    own = init.processes or (None,) * len(init.channels)
    kept = tuple(own[init.channels.index(name)] for name in panel.channels)
    found = tuple(None if process is None else process.kind for process in kept)
    if any(kind not in (own, "auto") for kind, own in zip(kinds, found, strict=True) if options.process is not None):
        raise OptionError(
            f"init: the model has the processes {listed(found, 20)}, and process={shortened(options.process)} means "
            f"{listed(kinds, 20)}; a warm start keeps those of the model: leave process out, or start from the "
            "responsibilities, init=model.predict_proba(panel)"
        )
    return (kept if any(found) else None), []


def _prepare_columns(
    panel: Panel, bases: tuple[Basis, ...], *, options: FitOptions, init: Given, conditions: Conditions | None
) -> tuple[Panel, ColumnPlan | None, tuple[ColumnPlan | None, Conditioning | None]]:
    """The readings mapped by regime, and the columns of every channel."""
    from cem.model.model import FailureModeModel

    keeps_maps = False
    if isinstance(init, FailureModeModel):
        check_same_conditions(init, options)
        if init.conditions is not None:
            conditions, keeps_maps = init.conditions, True
    if conditions is None:
        conditions = learned_for(panel, options, bases)
    conditioning = None
    if conditions is not None:
        conditions = conditions.of_channels(panel.channels)
        conditioning = Conditioning.of(panel, conditions, bases, keeps_maps=keeps_maps)
    specified = specified_bases(panel, options.basis)
    if isinstance(init, FailureModeModel):  # whose bases the fit keeps
        specified = tuple(
            own if own.size == bound.size and own.random_functions is not None else bound
            for own, bound in zip(specified, bases, strict=True)
        )
    plan = column_plan(
        panel.channels,
        specified,
        options.random_columns,
        options.common_columns,
        fixed_columns(conditions),
        np.zeros((len(panel.times), 0)) if conditioning is None else conditioning.features(),
    )
    readings = panel if conditioning is None else conditioning.mapped_panel()
    return readings, plan, (plan, conditioning)


def _check_columns(statistics: SufficientStatistics, prepared: tuple[ColumnPlan | None, Conditioning | None]) -> None:
    """Refuse columns of covariates that other columns reproduce."""
    plan, conditioning = prepared
    if plan is not None and conditioning is not None:
        check_collinear(statistics, plan, conditioning.conditions.feature_names, conditioning.panel)


def _refine(found: _Found, prepared: _Prepared, options: FitOptions) -> _Found:
    """Refine the map of readings by regime with the modes that were found, if there is one."""
    conditioning = prepared.conditioning
    nothing_to_refine = conditioning is None or conditioning.maps is None or not options.max_iter
    if nothing_to_refine or conditioning is None or found.interrupted or found.run.lost_mode is not None:
        return replace(found, conditioning=conditioning)
    refined = refined_run(
        found.run,
        found.problem,
        conditioning,
        prepared.plan,
        max_iter=options.max_iter,
        tolerance=options.tol * found.problem.n_terms,
        accelerate=options.accelerate == "auto",
        kernel=options.kernel,
        n_jobs=options.n_jobs,
    )
    run = replace(refined.run, parameters=rotated(refined.run.parameters))
    return replace(found, run=run, problem=refined.problem, conditioning=refined.conditioning)


def _search(prepared: _Prepared, options: FitOptions, init: Given, progress: Progress | None) -> _Found:
    """Return the best of all starts, refitted if a noise floor holds a quiet mode."""
    if not options.max_iter:
        return _evaluated(prepared, options, init)
    problem = prepared.problem
    tolerance = options.tol * problem.expectation.statistics.n_observations
    records, interrupted = _searched(problem, prepared, options, init, progress)
    best, run = _best(records, tolerance)
    shrinkage = tie = None
    is_open = problem.constraints.shrinkage > 0 and options.shrinkage is None
    if is_open and interrupted:
        shrinkage = not_chosen(run.parameters, problem)
    elif is_open:
        try:
            shrinkage = chosen_shrinkage(run.parameters, problem)
            shrunk = replace(problem, constraints=replace(problem.constraints, shrinkage=shrinkage.weight))
            told = _second_search(progress, shrinkage.weight)
            again, interrupted = _searched(shrunk, prepared, options, init, told, known=shrinkage.parameters)
        except KeyboardInterrupt:
            shrinkage, interrupted = not_chosen(run.parameters, problem), True
        else:
            problem, records = shrunk, again
            best, run = _best(records, tolerance)
    if not interrupted:
        best, run, tie, interrupted = past_near_tie(records, best, problem, options, tolerance)
    if not interrupted:
        quieter, problem, interrupted = past_quiet_modes(
            run,
            problem,
            prepared.one_mode,
            prepared.lowest_floors,
            max_iter=options.max_iter,
            tolerance=tolerance,
            accelerate=options.accelerate == "auto",
        )
        if quieter is not run:
            run, best = quieter, len(records)
            records.append(Start("quiet", run, "converged" if run.converged else "limit of passes"))
        elif tie is not None:
            warn_of_near_tie(tie, problem, options)
    return _Found(run, problem, records, best, interrupted, shrinkage=shrinkage)


def _second_search(progress: Progress | None, weight: float) -> Progress | None:
    """Progress whose stages say that ν has been chosen."""
    if progress is None:
        return None
    return lambda stage, done, total, best: progress(f"shrinkage {weight:.4g}, {stage}", done, total, best)


def _searched(
    problem: MixtureProblem,
    prepared: _Prepared,
    options: FitOptions,
    init: Given,
    progress: Progress | None,
    known: Parameters | None = None,
) -> tuple[list[Start], bool]:
    """All starts, each with its fate, and whether the search was interrupted.

    `known` is the result of an earlier search under other constraints: one more start, or, where the start was given,
    the only one.
    """
    statistics = problem.expectation.statistics
    tolerance = options.tol * statistics.n_observations
    starts, move, cross, given = _starts(problem.expectation, prepared.one_mode, problem.constraints, options, init)
    if given is not None and given.rank:
        return [Start("given", start_em(problem, given))], False
    if known is not None:
        start = feasible(known, problem.constraints)
        last: Fresh = ("given" if given is not None else "known", lambda: StartingPoint(start, np.inf))
        starts = [*(() if given is not None else starts), last]
    return best_of_starts(
        starts,
        problem,
        n_modes=options.n_modes,
        move=move,
        cross=cross,
        max_iter=options.max_iter,
        tolerance=_TOLERANCE_BEFORE_LINKING * tolerance if options.linking_rank else tolerance,
        accelerate=options.accelerate == "auto",
        n_jobs=options.n_jobs,
        progress=_in_panel_units(progress, statistics.log_jacobian),
    )


def _evaluated(prepared: _Prepared, options: FitOptions, init: Given) -> _Found:
    """The given parameters as they are, without any step: floors give way to them."""
    problem, n_modes = prepared.problem, options.n_modes
    given = given_parameters(problem.expectation, prepared.one_mode, None, n_modes, init)
    constraints = allowing(problem.constraints, given)
    check_structure(given, feasible(given, constraints), options)
    problem = replace(problem, constraints=constraints)
    run = start_em(problem, given)
    run = replace(run, status=np.zeros((n_modes, given.n_channels), dtype=np.int32))
    return _Found(run, problem, [Start("given", run, "evaluated")], 0, False)


def _link(found: _Found, options: FitOptions) -> _Found:
    """Run EM of the linked model from the result of the search, if channels are to be linked."""
    rank, run, problem, interrupted = options.linking_rank, found.run, found.problem, found.interrupted
    if rank and not interrupted:
        statistics = problem.expectation.statistics
        penalties = linking_penalties(run.parameters, statistics.n_units, options.linking_penalty)
        problem = replace(problem, constraints=replace(problem.constraints, linking_penalties=penalties))
        run, interrupted = linked_run(
            run,
            problem,
            rank=rank,
            max_iter=options.max_iter,
            tolerance=options.tol * statistics.n_observations,
            accelerate=options.accelerate == "auto",
        )
        if not options.max_iter:
            run = replace(run, status=found.run.status)
        if run.lost_mode is not None:
            raise FitError(
                f"mode {run.lost_mode} lost its units once its channels were linked (linking_rank={rank}); take fewer "
                "modes, a higher linking_penalty, or linking_rank=0"
            )
    if run.parameters.rank != rank:
        warn(
            "the search was interrupted before channels were linked: those of this model are independent; continue "
            "with fit(panel, init=model)",
            ConvergenceWarning,
        )
    return replace(found, run=run, problem=problem, interrupted=interrupted)


def _finish(found: _Found, prepared: _Prepared, options: FitOptions, *, keeps_order: bool) -> FitResult:
    """Put the modes into their final order, and warn of anything the user should know."""
    expectation, constraints = found.problem.expectation, found.problem.constraints
    if keeps_order:
        order = np.arange(options.n_modes)
    else:
        order = final_order(found.run.parameters.weights, prepared.unlabelled)
    run = reordered(found.run, order)
    if options.max_iter:
        run = replace(run, status=with_floors(run.status, run.parameters, constraints))
    if constraints.linking_penalties is not None:
        constraints = replace(constraints, linking_penalties=constraints.linking_penalties[order])
    warn_of_fit(found.starts, run, expectation.statistics, prepared.mode_labels, found.interrupted, options)
    return FitResult(
        expectation.statistics,
        constraints,
        run,
        found.starts,
        found.best,
        found.interrupted,
        "linked" if run.parameters.rank else expectation.kernel,
        prepared.mode_labels,
        prepared.left_out,
        prepared.unlabelled,
        keeps_order,
        prepared.plan,
        found.conditioning,
        shrinkage=found.shrinkage,
        processes=prepared.processes,
        trials=prepared.trials,
    )


def _check_heard(panel: Panel) -> None:
    """Refuse units without any observation; only a panel to be scored may have them."""
    silent = np.flatnonzero(panel._silent())
    if silent.size:
        raise PanelError(
            f"{'unit' if silent.size == 1 else 'units'} {listed([panel.units[l] for l in silent.tolist()])} "
            f"{'has' if silent.size == 1 else 'have'} no observation: all values are missing; a fit needs some of each "
            "unit, so leave such units out"
        )


def _in_panel_units(progress: Progress | None, log_jacobian: float) -> Progress | None:
    """Progress that reports the log-likelihood in the units of `log_likelihood_`."""
    if progress is None:
        return None
    return lambda stage, done, total, best: progress(stage, done, total, best + log_jacobian)


def _modes(panel: Panel, n_modes: int, init: Given) -> tuple[tuple[Hashable, ...], NDArray[np.int32], tuple[int, ...]]:
    """Labels of the modes, the units' known modes, and the modes without a label."""
    from cem.model.model import FailureModeModel

    if isinstance(init, FailureModeModel):
        return matched_modes(panel, init, n_modes)
    labels = all_mode_labels(panel)
    if len(labels) > n_modes:
        raise PanelError(
            f"the panel's units carry {len(labels)} labels ({', '.join(map(repr, labels[:5]))}"
            f"{', …' if len(labels) > 5 else ''}), more than n_modes={n_modes}; raise n_modes or merge labels"
        )
    names = labels + (None,) * (n_modes - len(labels))
    position = np.array([labels.index(label) for label in panel.mode_labels] + [-1], dtype=np.int32)
    known_modes = np.ascontiguousarray(position[panel.mode_codes])
    return numbered(names), known_modes, tuple(range(len(labels), n_modes))


def _bound_bases(panel: Panel, basis: Basis | Mapping[str | None, Basis], init: Given) -> tuple[Basis, ...]:
    """Each channel's basis, bound to the panel's times; a refitted model keeps its bases."""
    from cem.model.model import FailureModeModel

    if isinstance(init, FailureModeModel):
        missing = [name for name in panel.channels if name not in init.channels]
        if missing or len(init.channels) != panel.n_channels:
            raise OptionError(
                f"init: the model has the channels {listed(init.channels, 20)}; the panel has "
                f"{listed(panel.channels, 20)} that vary. A warm start needs the same ones"
            )
        return tuple(init.bases[init.channels.index(name)] for name in panel.channels)
    bound: dict[Basis, Basis] = {}
    specified = specified_bases(panel, basis)
    for specification in specified:
        if specification not in bound:
            bound[specification] = specification.all_random().bind(panel.times)
    return tuple(bound[specification] for specification in specified)


def _by_channel(
    option: str, value: float | Mapping[str | None, float], channels: Sequence[str], default: FloatArray
) -> FloatArray:
    """A floor, given as one number or by channel (None: all others), as an array."""
    floors = default.copy()
    given: dict[str | None, float] = dict(value) if isinstance(value, Mapping) else {None: value}
    others = given.pop(None, None)
    if others is not None:
        given = {**dict.fromkeys(channels, others), **given}
    for name, floor in given.items():
        if name not in channels:
            raise OptionError(f"{option} names channel {name!r}; the channels fitted are {listed(channels, 20)}")
        if not (np.isfinite(floor) and floor > 0):
            raise OptionError(f"{option} for channel {name!r} is {floor!r}; a positive number was expected")
        floors[channels.index(name)] = floor
    return floors


def _constraints(
    expectation: Expectation, channels: tuple[str, ...], steps: FloatArray, options: FitOptions
) -> tuple[MixtureRun, Constraints, FloatArray]:
    """The one-mode fit, the floors derived from it (model.md §3), and the lowest allowed noise floors."""
    coordinates = expectation.statistics.coordinates
    squared_scales = np.square(coordinates.scales)
    covariance_floors = np.full(len(channels), _COVARIANCE_FLOOR)
    if options.covariance_floor is not None:
        covariance_floors = _by_channel("covariance_floor", options.covariance_floor, channels, covariance_floors)
    rounding = np.maximum(steps / coordinates.scales * (steps / coordinates.scales) / 12.0, SMALLEST_NOISE)
    fixed = expectation.statistics.fixed
    columns = None if fixed is None else FixedColumns(fixed.kernel_sizes, fixed.by_mode)
    shrunk = options.covariance == "shrunk"
    loose = Constraints(
        rounding, covariance_floors, "full" if shrunk else options.covariance, coordinates.transforms,
        fixed=columns, pooled_noise=options.noise == "pooled",
    )  # fmt: skip
    one_mode = one_mode_run(expectation, loose)
    floors = lowest = rounding
    if options.n_modes > 1:
        floors = np.maximum(rounding, FLOOR_FRACTION * one_mode.parameters.noise_variances[0])
    if options.noise_floor is not None:
        floors = _by_channel("noise_floor", options.noise_floor, channels, floors * squared_scales) / squared_scales
        given = options.noise_floor if isinstance(options.noise_floor, Mapping) else {None: options.noise_floor}
        lowest = np.where([None in given or name in given for name in channels], floors, lowest)
        one_mode = one_mode_run(expectation, replace(loose, noise_floors=floors))
    constraints = replace(loose, noise_floors=floors)
    if shrunk:
        weight = options.shrinkage or first_shrinkage(expectation.statistics.sizes)
        constraints = replace(constraints, covariance="shrunk", shrinkage=weight)
    return one_mode, constraints, lowest


def _starts(
    expectation: Expectation,
    one_mode: Parameters,
    constraints: Constraints,
    options: FitOptions,
    init: Given,
) -> tuple[list[Fresh], Move | None, Crossing | None, Parameters | None]:
    """Functions that make the fresh starts, by kind; the function that makes a move; and the given parameters."""
    if init is not None:
        given = given_parameters(expectation, one_mode, constraints, options.n_modes, init)
        if given.rank != options.linking_rank:
            given = feasible(given.marginal(), constraints)
        return [("given", lambda: StartingPoint(given, 0.0))], None, None, given
    if options.n_modes == 1:
        return [("one mode", lambda: StartingPoint(one_mode, 0.0))], None, None, None
    made = makers(
        expectation,
        one_mode,
        constraints,
        n_modes=options.n_modes,
        n_starts=options.n_init,
        kind=None if options.init == "mixed" else options.init,
        seed=options.seed,
    )
    return made.fresh, made.move, made.cross, None


def _best(records: list[Start], tolerance: float) -> tuple[int, MixtureRun]:
    """The start of highest objective and its run; a converged start wins if it is lower by less than the tolerance.

    Rounding can lift a start that stopped early, because it was the same as another, above the one that continued.
    """
    runs = ((i, record.run) for i, record in enumerate(records))
    usable = {i: run for i, run in runs if run is not None and run.lost_mode is None}
    if not usable:
        fates = "; ".join(f"start {i} ({record.kind}): {record.fate}" for i, record in enumerate(records[:5]))
        raise FitError(
            f"no start could be completed ({fates}{'; …' if len(records) > 5 else ''}); try fewer modes, more starts "
            "(n_init), or a smaller basis"
        )
    highest = max(run.objective for run in usable.values())
    near = [i for i, run in usable.items() if run.objective >= highest - tolerance]
    best = max(near, key=lambda i: (usable[i].converged, usable[i].objective, -i))
    return best, usable[best]
