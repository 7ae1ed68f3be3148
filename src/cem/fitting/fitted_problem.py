"""The problem that a fit solved, and its E step at the fitted parameters, from the estimator and the training panel.

Nothing is learned again: coordinates, columns, maps by regime, floors and penalties are those of the fit. So standard
errors, replicates and stability all look at the objective that the fit maximised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from cem.em.expectation import Expectation
from cem.em.mixture_problem import MixtureProblem
from cem.em.problem import Evaluation
from cem.em.sums import ExpectedStatistics
from cem.errors import NotFittedError, PanelError
from cem.fitting.conditioning import Conditioning, membership_design
from cem.fitting.fitted_form import FittedForm
from cem.fitting.lives_ascent import LivesPoint
from cem.fitting.unit_weights import with_copies
from cem.mixture.parameters import Parameters
from cem.panel.mode_priors import log_mode_priors
from cem.statistics.exact_channels import ROUNDINGS, rounding_noise
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.fitting.estimator import FailureModeEM
    from cem.fitting.lives_problem import LivesProblem
    from cem.panel.panel import Panel

__all__ = ["FittedProblem", "Setting", "fitted_problem", "problem_on"]

FloatArray = NDArray[np.float64]

# Of the number of observations and of |objective|. Statistics compressed again differ by rounding only.
_SAME = 1e-9


class Setting(NamedTuple):
    """A problem in the form of a fit, for some panel.

    Parameters
    ----------
    problem : MixtureProblem or LivesProblem
    point : Parameters or LivesPoint
        The fitted parameters, as the problem takes them.
    statistics : SufficientStatistics
        Of the units on the forward axis; else of the failed units.
    plan : ColumnPlan or None
        With the features of the panel's readings.
    conditioning : Conditioning or None
        The panel's covariates, with the map that the fit left.
    """

    problem: MixtureProblem | LivesProblem
    point: Parameters | LivesPoint
    statistics: SufficientStatistics
    plan: Any
    conditioning: Conditioning | None


@dataclass(frozen=True, eq=False)
class FittedProblem:
    """The objective of a fit and its E step at the fitted parameters.

    Parameters
    ----------
    form : FittedForm
        What the estimator keeps.
    setting : Setting
        The problem and its parts, for the training panel with its copies of units.
    evaluation : Evaluation
        At the fitted parameters.
    panel : Panel
        The training panel, each unit as often as it counted.
    counts : ndarray of shape (L,), int64, or None
        How often each unit of the given panel counted; None if each one counted once.
    """

    form: FittedForm
    setting: Setting
    evaluation: Evaluation[Any, Any]
    panel: Panel
    counts: NDArray[np.int64] | None

    @property
    def problem(self) -> MixtureProblem | LivesProblem:
        return self.setting.problem

    @property
    def mixture(self) -> MixtureProblem:
        """The mixture's part of the problem: on the time to failure, of the failed units only."""
        problem = self.setting.problem
        return problem if isinstance(problem, MixtureProblem) else problem.mixture

    @property
    def parameters(self) -> Parameters:
        """The mixture's parameters, internal."""
        return self.form.parameters

    @property
    def mixture_sums(self) -> ExpectedStatistics:
        """(14) at the fitted parameters, over all units."""
        sums = self.evaluation.sums
        found: ExpectedStatistics = sums if isinstance(sums, ExpectedStatistics) else sums.mixture
        return found

    @property
    def n_units(self) -> int:
        """Number of distinct units that counted."""
        return self.panel.n_units if self.counts is None else int(np.count_nonzero(self.counts))


def fitted_problem(em: FailureModeEM, panel: Panel) -> FittedProblem:
    """Set up the problem that an estimator solved.

    Parameters
    ----------
    em : FailureModeEM
        Fitted.
    panel : Panel
        That it was fitted to, each unit once, with the same labels and covariates.

    Returns
    -------
    FittedProblem
        Its objective equals ``em.objectives_[-1]`` to rounding.

    Raises
    ------
    NotFittedError
        The estimator has not been fitted, or it is a pickle of a release before 0.8.
    PanelError
        The panel is not the training panel: the objective at the fitted parameters is another.
    """
    form: FittedForm | None = em.__dict__.get("_form")
    if form is None:
        em._model()  # NotFittedError without a fit
        raise NotFittedError(
            "this estimator was fitted by a release before 0.8, which did not keep the form of its fit; fit again, "
            "with init=em.model_ to start from there"
        )
    if em.__dict__.get("left_out_readings_"):
        panel = em.left_out_readings_.removed_from(panel)
    counts = em.__dict__.get("_counts")
    if counts is not None:
        if len(counts) != panel.n_units:
            raise PanelError(
                f"the panel has {panel.n_units} units; the fit had sample_weight for {len(counts)}. Give the panel of "
                "the fit"
            )
        panel = with_copies(counts, panel)
    setting = problem_on(em, form, panel)
    evaluation: Evaluation[Any, Any] = setting.problem.expect(setting.point)  # type: ignore[arg-type]
    scale = setting.problem.n_terms + abs(form.objective)
    if not abs(evaluation.objective - form.objective) <= _SAME * scale + _rounding(setting, form.parameters):
        raise PanelError(
            f"the objective of the fit is {evaluation.objective - form.objective:+.6g} nats away on this panel of "
            f"{panel.n_units} units, so it is not the panel of the fit; give that panel, with its labels "
            "(panel.with_modes(labels) if the fit got modes=labels), covariates and failure times"
        )
    return FittedProblem(form, setting, evaluation, panel, counts)


def _rounding(setting: Setting, parameters: Parameters) -> float:
    """Nats that rounding of the readings may move the objective by: of each, an error in standard deviations of noise.

    Parameters
    ----------
    setting : Setting
    parameters : Parameters
        Of the fit, internal.
    """
    deviations = setting.statistics.coordinates.scales * np.sqrt(parameters.noise_variances.min(axis=0))
    errors = rounding_noise(setting.statistics) / ROUNDINGS / deviations
    return float(setting.problem.n_terms * errors.mean())


def problem_on(em: FailureModeEM, form: FittedForm, panel: Panel) -> Setting:
    """The problem of a panel in the form of a fit, whether or not it is the training panel.

    Parameters
    ----------
    em : FailureModeEM
        Its model and options.
    form : FittedForm
        Of the fit.
    panel : Panel
        Has the channels of the fit.

    Raises
    ------
    PanelError
        The panel lacks a channel or a covariate, or names a mode that the fit does not know.
    """
    options = em._options()
    design = membership_design(em.model_.of_units, panel)
    aligned, of_aligned = panel, design
    if form.family is not None:
        from cem.fitting.linked_lives import panel_with_lives
        from cem.fitting.lives_problem import LINKED, LivesProblem

        has_failed = ~np.isnan(panel.failure_times)
        if not has_failed.any():
            raise PanelError("no unit has a failure time; give the panel of the fit, with its failure times")
        failed = panel[has_failed]
        aligned, of_aligned = failed.aligned_at_failure(), None if design is None else design[has_failed]
        if form.family == LINKED:
            aligned = panel_with_lives(aligned, failed.failure_times)
            panel = panel_with_lives(panel, np.ones(panel.n_units))
    statistics, plan, conditioning = _compressed(form, aligned, of_aligned)
    # With ln life as a channel, and no life to be guessed, nothing but the mixture is left of (19).
    if form.family is None or (form.family == LINKED and has_failed.all()):
        expectation = Expectation(statistics, kernel=options.kernel, n_jobs=options.n_jobs)
        problem = MixtureProblem(expectation, form.constraints)
        return Setting(problem, form.parameters, statistics, plan, conditioning)
    of_lives = LivesProblem.of(
        panel,
        has_failed,
        statistics,
        form.mode_labels,
        form.constraints,
        family=form.family,
        prior_weight=form.prior_weight,
        kernel=options.kernel,
        n_jobs=options.n_jobs,
        membership_design=design,
        conditioning=conditioning,
    )
    return Setting(of_lives, LivesPoint(form.parameters, form.lifetimes), statistics, plan, conditioning)


def _compressed(
    form: FittedForm, panel: Panel, design: FloatArray | None
) -> tuple[SufficientStatistics, Any, Conditioning | None]:
    """The statistics of a panel on the axis of the fit, in its coordinates; the plan of columns; and the covariates."""
    if panel.channels != form.channels:
        panel = panel.select_channels(form.channels)
    position = {label: k for k, label in enumerate(form.mode_labels)}
    foreign = [label for label in panel.mode_labels if label not in position]
    if foreign:
        raise PanelError(
            f"the panel's units carry the label {foreign[0]!r}, and the modes of the fit are "
            f"{', '.join(map(repr, form.mode_labels))}; give the panel of the fit, with its labels"
        )
    codes = np.array([position[label] for label in panel.mode_labels] + [-1], dtype=np.int32)
    known = np.ascontiguousarray(codes[np.asarray(panel.mode_codes)])
    conditioning, readings, plan = None, panel, form.plan
    if form.conditions is not None:
        conditioning = Conditioning.of(panel, form.conditions, form.bases, keeps_maps=True)
        readings = conditioning.mapped_panel()
    if plan is not None:
        features = np.zeros((len(panel.times), 0)) if conditioning is None else conditioning.features()
        plan = replace(plan, features=features)
    statistics = SufficientStatistics.from_panel(
        readings,
        form.bases,
        coordinates=form.coordinates,
        known_modes=known,
        plan=plan,
        processes=form.processes,
    )
    priors = log_mode_priors(panel, form.mode_labels)
    if design is not None or priors is not None:
        statistics = statistics.with_membership(design, priors)
    return statistics, plan, conditioning
