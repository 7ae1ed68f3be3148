"""What BIC, AIC and ICL are made of: the log-likelihood that a fit maximises, and how many parameters it is free in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.errors import PanelError
from cem.errors.names import listed
from cem.lifetimes.laws import Empirical, LinkedLognormal
from cem.lifetimes.lifetimes import Lifetimes
from cem.statistics.sufficient import SufficientStatistics

if TYPE_CHECKING:
    from cem.em.constraints import CovarianceStructure
    from cem.model.model import FailureModeModel
    from cem.panel.panel import Panel

__all__ = ["n_free_parameters", "n_loadings", "panel_likelihood"]

FloatArray = NDArray[np.float64]

# Beyond so many entries of the covariance between channels the rank of its derivative is not worked out.
_MOST_ENTRIES = 4_000


def n_free_parameters(
    n_modes: int,
    sizes: Sequence[int],
    covariance: CovarianceStructure,
    rank: int = 0,
    *,
    lifetimes: Lifetimes | None = None,
    n_untold: int = 0,
) -> int:
    """How many parameters of a mixture are free.

    Parameters
    ----------
    n_modes : int
        K: K − 1 weights.
    sizes : sequence of int
        p_c: means, covariances and noise variances by mode and channel.
    covariance : {"full", "diagonal", "pooled"}
        Structure of the covariances.
    rank : int
        r, the number of factors that channels share.
    lifetimes : Lifetimes, optional
        Two numbers for the law of each mode; where lives are linked to the factors, what links them too; for an
        empirical law the degrees of freedom of its kernels, Σ wᵢ κ(0) / f(xᵢ), rounded (Loader 1999, "Local Regression
        and Likelihood", section 5.4).
    n_untold : int
        Channels where nothing tells noise from what units differ by (`SufficientStatistics.noise_is_untold`).
    """
    triangles = sum(p * (p + 1) // 2 for p in sizes)
    covariances = {"full": n_modes * triangles, "diagonal": n_modes * sum(sizes), "pooled": triangles}[covariance]
    laws = () if lifetimes is None else lifetimes.laws
    linked_lives = bool(rank) and any(isinstance(law, LinkedLognormal) for law in laws)
    of_laws = sum(_kernels(law) if isinstance(law, Empirical) else 2 for law in laws)
    loadings = n_modes * n_loadings((*sizes, 1) if linked_lives else tuple(sizes), rank)
    noises = n_modes * (len(sizes) - n_untold)
    return n_modes - 1 + n_modes * sum(sizes) + noises + covariances + loadings + of_laws


def n_loadings(sizes: Sequence[int], rank: int) -> int:
    """Dimensions that the loadings of r factors add to a mode's covariances.

    W Wᵀ between channels is all that tells them, for within a channel Ψ makes up for any of it: r P − r (r − 1) / 2
    where there are many channels, and less where there are few (two channels: r P − r²).
    """
    P = sum(sizes)
    if not rank:
        return 0
    channel = np.repeat(np.arange(len(sizes)), sizes)
    rows, columns = np.nonzero(channel[:, None] < channel)
    if len(rows) > _MOST_ENTRIES:
        return rank * P - rank * (rank - 1) // 2
    W = np.random.default_rng(0).normal(size=(P, rank))
    derivative = np.zeros((len(rows), P, rank))
    entry = np.arange(len(rows))
    derivative[entry, rows] += W[columns]
    derivative[entry, columns] += W[rows]
    return int(np.linalg.matrix_rank(derivative.reshape(len(rows), -1)))


def _kernels(law: Empirical) -> int:
    """Degrees of freedom of an empirical law: 1 where its kernels are one, their number where they are far apart."""
    logs = np.log(law.lives)
    kernels = np.exp(-0.5 * np.square((logs[:, None] - logs) / law.bandwidth))
    return max(1, round(float((law.weights / (kernels @ law.weights)).sum())))


def panel_likelihood(model: FailureModeModel, panel: Panel) -> tuple[float, FloatArray]:
    """The log-likelihood that a fit to the panel would have at a model's parameters, and the responsibilities there.

    Units of known mode count with ln π_k + ln P(x | k) of that mode alone; over the time to failure it is (19), with
    the lives of failed and of running units. No penalty of loadings or laws is part of it.

    Parameters
    ----------
    model : FailureModeModel
    panel : Panel
        Channels by name; those that are absent count as missing.

    Returns
    -------
    log_likelihood : float
        Total, natural logarithm, in the panel's own units.
    responsibilities : ndarray of shape (L, K)

    Raises
    ------
    PanelError
        A unit has a label that is none of the model's modes; or, over the time to failure, no unit has failed.
    """
    foreign = [label for label in panel.mode_labels if label not in model.mode_labels]
    if foreign:
        unit = next(unit for unit, mode in zip(panel.units, panel.modes, strict=True) if mode == foreign[0])
        raise PanelError(
            f"unit {unit!r} is labelled {foreign[0]!r}, which is none of the model's modes "
            f"({listed(model.mode_labels, 10)}); take labels off with panel.with_modes(None)"
        )
    if model.time_axis == "to_failure":
        return _with_lives(model, panel)
    codes = np.array([model.mode_labels.index(label) for label in panel.mode_labels] + [-1], dtype=np.int32)
    statistics = model.statistics(panel).with_known_modes(np.ascontiguousarray(codes[np.asarray(panel.mode_codes)]))
    expected, responsibilities = Expectation(statistics)(model.internal_parameters)
    return expected.log_likelihood + statistics.log_jacobian, responsibilities


def _with_lives(model: FailureModeModel, panel: Panel) -> tuple[float, FloatArray]:
    """(19) as `cem.fitting.lives` sets it up for the panel."""
    from cem.fitting.linked_lives import model_with_lives, panel_with_lives
    from cem.fitting.lives_ascent import LivesPoint
    from cem.fitting.lives_problem import LINKED, MINIMUM_SPREAD, LivesProblem

    panel = model.with_own_channels(panel)
    has_failed = ~np.isnan(panel.failure_times)
    if not has_failed.any():
        raise PanelError(
            f"none of the {panel.n_units} units has a failure time; over the time to failure the likelihood of a panel "
            "is that of its units that failed, and of how long the others have lived"
        )
    failed = panel[has_failed]
    aligned, lives = failed.aligned_at_failure(), failed.failure_times
    laws: Lifetimes | None = Lifetimes.from_dict(model.training["lifetimes"])
    assert laws is not None
    family = laws.laws[0].family
    if laws.loadings is not None:
        model, laws, family = model_with_lives(model, laws, MINIMUM_SPREAD), None, LINKED
        aligned, panel = panel_with_lives(aligned, lives), panel_with_lives(panel, np.ones(panel.n_units))
    statistics = SufficientStatistics.from_panel(aligned, model.bases, coordinates=model.coordinates)
    none = np.zeros(statistics.n_channels)  # constraints are the M step's, and here is an E step alone
    problem = LivesProblem.of(
        panel,
        has_failed,
        statistics,
        model.mode_labels,
        Constraints(none, none, "full", statistics.coordinates.transforms),
        family=family,
        prior_weight=0.0,
    )
    evaluation = problem.expect(LivesPoint(model.internal_parameters, laws))
    running = 0.0 if problem.at_last is None else problem.at_last.log_jacobian
    return evaluation.log_likelihood + statistics.log_jacobian + running, evaluation.responsibilities
