"""The parts of BIC, AIC and ICL: the maximised log-likelihood and the number of free parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.errors import PanelError
from cem.errors.names import listed
from cem.lifetimes.laws import Empirical, LinkedLognormal
from cem.lifetimes.lifetimes import Lifetimes
from cem.mixture.conditioned import adjusted_panel, map_jacobian, plan_of
from cem.mixture.shifted_form import shifted_form
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.em.constraints import CovarianceStructure
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel
    from cem.process.channel_process import ChannelProcess
    from cem.statistics.columns import ColumnPlan

__all__ = ["n_free_parameters", "n_loadings", "panel_likelihood"]

FloatArray = NDArray[np.float64]

# With more entries of the covariance between channels than this, the rank of its derivative is not computed.
_MOST_ENTRIES = 4_000


def n_free_parameters(
    n_modes: int,
    sizes: Sequence[int],
    covariance: CovarianceStructure,
    rank: int = 0,
    *,
    lifetimes: Lifetimes | None = None,
    n_untold: int = 0,
    plan: ColumnPlan | None = None,
    pooled_noise: bool = False,
    regimes: int = 0,
    n_membership: int = 1,
    processes: Sequence[ChannelProcess | None] | None = None,
) -> int:
    """Count the free parameters of a mixture.

    Parameters
    ----------
    n_modes : int
        K: K − 1 weights, or as many rows of γ.
    sizes : sequence of int
        p_c: means, covariances and noise variances by mode and channel.
    covariance : {"full", "diagonal", "pooled"}
        Structure of the covariances.
    rank : int
        r, the number of factors that channels share.
    lifetimes : Lifetimes, optional
        Two numbers for the law of each mode, and the links of lives to the factors. An empirical law counts the degrees
        of freedom of its kernels, Σ wᵢ κ(0) / f(xᵢ), rounded (Loader 1999, "Local Regression and Likelihood", section
        5.4).
    n_untold : int
        Channels whose noise cannot be separated from the differences between units
        (`SufficientStatistics.noise_is_untold`).
    plan : ColumnPlan, optional
        The columns, if not all basis functions are random: their coefficients belong to the modes or to the fleet.
    pooled_noise : bool
        One noise variance for each channel.
    regimes : int
        Free offsets and scales by regime.
    n_membership : int
        1 + F, columns of γ; 1 if π does not depend on the covariates of units.
    processes : sequence over channels of ChannelProcess or None, optional
        A ratio of each channel whose units wander, and a rate where it is an OU process.
    """
    fixed = 0
    if plan is not None:
        sizes = [len(functions) for functions in plan.random]
        by_mode = int(np.count_nonzero(plan.by_mode))
        fixed = n_modes * by_mode + len(plan.by_mode) - by_mode
    triangles = sum(p * (p + 1) // 2 for p in sizes)
    covariances = {
        "full": n_modes * triangles,
        "diagonal": n_modes * sum(sizes),
        "pooled": triangles,
        "shrunk": n_modes * triangles,
    }[covariance]
    laws = () if lifetimes is None else lifetimes.laws
    linked_lives = bool(rank) and any(isinstance(law, LinkedLognormal) for law in laws)
    of_laws = sum(_kernels(law) if isinstance(law, Empirical) else 2 for law in laws)
    loadings = n_modes * n_loadings((*sizes, 1) if linked_lives else tuple(sizes), rank)
    noises = (1 if pooled_noise else n_modes) * (len(sizes) - n_untold)
    means = n_modes * sum(sizes) + fixed + regimes
    wander = sum(1 + (own.rate is not None) for own in processes or () if own is not None)
    return (n_modes - 1) * n_membership + means + noises + covariances + loadings + of_laws + wander


@lru_cache(maxsize=64)  # refits and candidates ask for the same ones: a fifth of the time of a small linked fit
def n_loadings(sizes: tuple[int, ...], rank: int) -> int:
    """Dimensions that the loadings of r factors add to a mode's covariances.

    Only W Wᵀ between channels identifies the loadings, because within a channel Ψ absorbs them. With many channels
    these are r P − r (r − 1) / 2 dimensions; with few channels there are fewer (two channels: r P − r²).
    """
    P = sum(sizes)
    if not rank:
        return 0
    channel = np.repeat(np.arange(len(sizes)), sizes)
    rows, columns = np.nonzero(channel[:, None] < channel)
    if not len(rows):  # one channel, or one with random columns
        return 0
    if len(rows) > _MOST_ENTRIES:
        return rank * P - rank * (rank - 1) // 2
    W = np.random.default_rng(0).normal(size=(P, rank))
    derivative = np.zeros((len(rows), P, rank))
    entry = np.arange(len(rows))
    derivative[entry, rows] += W[columns]
    derivative[entry, columns] += W[rows]
    return int(np.linalg.matrix_rank(derivative.reshape(len(rows), -1)))


def _kernels(law: Empirical) -> int:
    """Degrees of freedom of an empirical law: 1 if all kernels coincide, their number if they are far apart."""
    logs = np.log(law.lives)
    kernels = np.exp(-0.5 * np.square((logs[:, None] - logs) / law.bandwidth))
    return max(1, round(float((law.weights / (kernels @ law.weights)).sum())))


def panel_likelihood(model: FailureModeModel, panel: Panel) -> tuple[float, FloatArray]:
    """Log-likelihood of a panel at a model's parameters, as a fit to that panel would report it, and responsibilities.

    A unit of known mode counts with ln π_k + ln P(x | k) of that mode only. On the time to failure it is (19), with the
    lives of failed and of running units. Penalties of loadings or laws are not part of it.

    Parameters
    ----------
    model : FailureModeModel
        The model to evaluate.
    panel : Panel
        Channels are matched by name; absent channels count as missing.

    Returns
    -------
    log_likelihood : float
        Total, natural logarithm, in the panel's own units.
    responsibilities : ndarray of shape (L, K)

    Raises
    ------
    PanelError
        A unit has a label that the model does not know; or, on the time to failure, no unit has failed.
    """
    foreign = [label for label in panel.mode_labels if label not in model.mode_labels]
    if foreign:
        unit = next(unit for unit, mode in zip(panel.units, panel.modes, strict=True) if mode == foreign[0])
        raise PanelError(
            f"unit {unit!r} is labelled {foreign[0]!r}, which is none of the model's modes "
            f"({listed(model.mode_labels, 10)}); remove the labels with panel.with_modes(None)"
        )
    if model.time_axis == "to_failure":
        return _with_lives(model, panel)
    codes = np.array([model.mode_labels.index(label) for label in panel.mode_labels] + [-1], dtype=np.int32)
    panel = model.with_own_channels(panel)
    statistics = model.compressed(panel).with_known_modes(np.ascontiguousarray(codes[np.asarray(panel.mode_codes)]))
    expected, responsibilities = Expectation(statistics)(model.internal_parameters)
    by_map = float(map_jacobian(model, panel).sum())
    return expected.log_likelihood + statistics.log_jacobian + by_map, responsibilities


def _with_lives(model: FailureModeModel, panel: Panel) -> tuple[float, FloatArray]:
    """(19) for the panel, set up as in `cem.fitting.lives`."""
    from cem.fitting.linked_lives import model_with_lives, panel_with_lives
    from cem.fitting.lives_ascent import LivesPoint
    from cem.fitting.lives_problem import LINKED, MINIMUM_SPREAD, LivesProblem

    panel = model.with_own_channels(panel)
    by_map = float(map_jacobian(model, panel).sum())
    model = shifted_form(model)
    has_failed = ~np.isnan(panel.failure_times)
    if not has_failed.any():
        raise PanelError(
            f"none of the {panel.n_units} units has a failure time; on the time to failure the likelihood of a panel "
            "needs at least one unit that failed"
        )
    failed = panel[has_failed]
    aligned, lives = failed.aligned_at_failure(), failed.failure_times
    laws: Lifetimes | None = Lifetimes.from_dict(model.training["lifetimes"])
    assert laws is not None
    family, membership_design = laws.laws[0].family, model._membership_design(panel)
    if laws.loadings is not None:
        model, laws, family = model_with_lives(model, laws, MINIMUM_SPREAD), None, LINKED
        aligned, panel = panel_with_lives(aligned, lives), panel_with_lives(panel, np.ones(panel.n_units))
    statistics = SufficientStatistics.from_panel(
        adjusted_panel(model, aligned),
        model.bases,
        coordinates=model.coordinates,
        plan=plan_of(model, aligned),
        whole=True,
    )
    none = np.zeros(statistics.n_channels)  # constraints belong to the M step, and only an E step runs here
    problem = LivesProblem.of(
        panel,
        has_failed,
        statistics,
        model.mode_labels,
        Constraints(none, none, "full", statistics.coordinates.transforms),
        family=family,
        prior_weight=0.0,
        membership_design=membership_design,
        prepare=lambda running: (adjusted_panel(model, running), plan_of(model, running)),
    )
    evaluation = problem.expect(LivesPoint(model.internal_parameters, laws))
    running = 0.0 if problem.at_last is None else problem.at_last.log_jacobian
    return evaluation.log_likelihood + statistics.log_jacobian + running + by_map, evaluation.responsibilities
