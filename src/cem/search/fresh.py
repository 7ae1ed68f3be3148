"""Fresh starting points of EM: the one-mode fit, four kinds of starting responsibilities, and their parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import continue_em, start_em
from cem.em.maximisation import maximisation
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.mixture.parameters import Parameters
from cem.search.clusters import clusters, nearest
from cem.search.one_mode import OneModePosteriors, StartingPoint, with_known_modes

__all__ = [
    "MIXED_KINDS",
    "START_KINDS",
    "StartKind",
    "coefficient_starts",
    "one_mode_run",
    "parameters_from_responsibilities",
    "starting_point",
]

FloatArray = NDArray[np.float64]
StartKind = Literal["kmeans", "prototypes", "random", "tempered"]
START_KINDS: tuple[StartKind, ...] = ("kmeans", "prototypes", "random", "tempered")
# The kinds that init="mixed" cycles through. Clusters are much the same every time; units drawn at random never are.
# Random starts, and tempered ones (which cost half a full fit more), did not find the best optimum more often.
MIXED_KINDS: tuple[StartKind, ...] = ("kmeans", *("prototypes",) * 7)

ONE_MODE_PASSES = 20
# Coefficients that are looked at, those that the data determine best.
_MOST_COEFFICIENTS = 12
_TEMPERED_PASSES = 25
_HIGHEST_TEMPERATURE = 200.0
# In units of the coefficients' own spread. It keeps modes apart that would merge to the last bit at small β.
_SHAKEN = 0.1


def one_mode_run(expectation: Expectation, constraints: Constraints, n_passes: int = ONE_MODE_PASSES) -> MixtureRun:
    """Run EM of the one-mode model, from coefficients and noise of about the right size.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    constraints : Constraints
        Of the M step; the start satisfies them.
    n_passes : int
        Number of passes.

    Returns
    -------
    EMRun
        Its parameters describe the whole fleet as one mode.
    """
    expectation = expectation.unlabelled()
    statistics = expectation.statistics
    layout = statistics.layout
    fixed = None if constraints.fixed is None else np.zeros((1, len(constraints.fixed.by_mode)))
    spare = np.maximum(statistics.counts - np.asarray(statistics.whole_sizes), 0).sum(axis=0)
    within = statistics.residual_norms.sum(axis=0) / np.maximum(spare, 1)
    noise = np.where(spare > 0, np.clip(within, 1e-6, 1.0), 0.5)
    noise[statistics.noise_is_untold] = 0.0
    factors = np.zeros(int(layout.factor_offsets[-1]))
    for channel, p in enumerate(layout.sizes):
        floor = constraints.covariance_floors[channel]
        S = layout.matrix(constraints.transforms, channel)
        if constraints.covariance == "diagonal":
            inverse = np.linalg.solve(S, np.eye(p))
            root = S * np.sqrt(np.square(inverse).sum(axis=1) * max(1.0 / p, floor))
            factor = np.linalg.cholesky(root @ root.T)
        else:
            factor = np.eye(p) * np.sqrt(max(1.0 / p, floor))
        layout.matrix(factors, channel)[:] = factor
    parameters = Parameters(
        np.ones(1),
        np.zeros((1, int(layout.mean_offsets[-1]))),
        factors[None],
        np.maximum(noise, constraints.noise_floors)[None],
        layout.sizes,
        fixed=fixed,
    )
    problem = MixtureProblem(expectation, constraints)
    # Plain passes crawl where a covariate hardly varies within units, and every start begins with these coefficients.
    crawls = constraints.fixed is not None
    return continue_em(start_em(problem, parameters), problem, n_passes=n_passes, tolerance=0.0, accelerate=crawls)


def parameters_from_responsibilities(
    expectation: Expectation, responsibilities: FloatArray, one_mode: Parameters, constraints: Constraints
) -> Parameters:
    """One M step with given responsibilities, from the posteriors of the one-mode model.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    responsibilities : ndarray of shape (L, K)
        Units of known mode keep their mode.
    one_mode : Parameters
        The result of `one_mode_run`.
    constraints : Constraints
        Of the M step.

    Returns
    -------
    Parameters
        Of K modes; a deterministic function of the responsibilities.
    """
    n_modes = responsibilities.shape[1]
    copies = Parameters(
        np.full(n_modes, 1.0 / n_modes),
        np.repeat(one_mode.means, n_modes, axis=0),
        np.repeat(one_mode.factors, n_modes, axis=0),
        np.repeat(one_mode.noise_variances, n_modes, axis=0),
        one_mode.sizes,
        fixed=None if one_mode.fixed is None else np.repeat(one_mode.fixed, n_modes, axis=0),
    )
    rho = with_known_modes(responsibilities, expectation.statistics.known_modes)
    expected, _ = expectation(copies, responsibilities=rho)
    parameters, _ = maximisation(expected, copies, constraints)
    return parameters


def starting_point(
    kind: StartKind,
    expectation: Expectation,
    posteriors: OneModePosteriors,
    constraints: Constraints,
    n_modes: int,
    rng: np.random.Generator,
) -> StartingPoint:
    """Make a start of one kind.

    "kmeans" clusters the shrunken coefficients of the units. "prototypes" draws K units at random and assigns every
    unit to the one with the nearest coefficients, whitened ones or plain ones. "random" draws responsibilities evenly
    from the simplex. "tempered" continues from there with 25 passes of ρ̂ ∝ (πP)^β, β from 1/200 to 1 (Ueda & Nakano
    1998), and moves the means a little at random after each pass but the last. At small β the modes are almost equal,
    and rounding must not decide in which direction they separate.

    Parameters
    ----------
    kind : {"kmeans", "prototypes", "random", "tempered"}
        The kind of start.
    expectation : Expectation
        The E step of the panel; only a tempered start uses it.
    posteriors : OneModePosteriors
        Of the panel's units.
    constraints : Constraints
        Of the M step.
    n_modes : int
        K.
    rng : numpy.random.Generator
        The start is a deterministic function of its state.

    Returns
    -------
    StartingPoint
    """
    # Fewer distinct units than modes: nothing to cluster.
    if kind in ("kmeans", "prototypes") and len(posteriors.distinct) >= n_modes:
        if kind == "kmeans":
            labels = clusters(posteriors.coefficients, n_modes, rng)
        else:
            points = posteriors.coefficients if rng.random() < 0.5 else posteriors.unwhitened
            labels = nearest(points, points[rng.choice(posteriors.distinct, n_modes, replace=False)])
        return posteriors.start_of_clusters(labels, n_modes, constraints)
    start = posteriors.start(rng.dirichlet(np.ones(n_modes), size=posteriors.n_units), constraints)
    return _cooled(start.parameters, expectation, constraints, rng) if kind == "tempered" else start


def coefficient_starts(
    posteriors: OneModePosteriors, n_modes: int, most: int, rng: np.random.Generator
) -> list[NDArray[np.int32]]:
    """Clusters of the units by one coefficient each, of those coefficients that part them most clearly.

    Modes that differ in one coefficient are often hidden by the spread of the others.

    Parameters
    ----------
    posteriors : OneModePosteriors
        Of the panel's units.
    n_modes : int
        K.
    most : int
        Largest number of starts.
    rng : numpy.random.Generator
        The clusters are a deterministic function of its state.

    Returns
    -------
    list of ndarray of shape (n,), int32
        The modes of the units, the clearest first.
    """
    if len(posteriors.distinct) < n_modes or most < 1:
        return []
    told = posteriors.coefficients.var(axis=0)  # of a coefficient that the data determine about 1, of others less
    found = []
    for at in np.argsort(-told, kind="stable")[:_MOST_COEFFICIENTS].tolist():
        column = np.ascontiguousarray(posteriors.unwhitened[:, at : at + 1])
        labels = clusters(column, n_modes, rng)
        sizes = np.bincount(labels, minlength=n_modes)
        if not (sizes > 0).all():
            continue
        between = np.square(np.bincount(labels, column[:, 0] - column.mean(), n_modes)) / sizes
        found.append((float(between.sum()) / float(column.var() * len(column)), labels))
    found.sort(key=lambda one: -one[0])
    return [labels for _, labels in found[:most]]


def _cooled(
    parameters: Parameters, expectation: Expectation, constraints: Constraints, rng: np.random.Generator
) -> StartingPoint:
    """Parameters after the tempered passes; the score is ℓ before the last of them."""
    expected = None
    for beta in np.geomspace(1.0 / _HIGHEST_TEMPERATURE, 1.0, _TEMPERED_PASSES):
        expected, _ = expectation(parameters, inverse_temperature=float(beta))
        parameters, _ = maximisation(expected, parameters, constraints)
        if beta < 1.0:
            parameters = _shaken(parameters, rng)
    assert expected is not None
    return StartingPoint(parameters, expected.log_likelihood)


def _shaken(parameters: Parameters, rng: np.random.Generator) -> Parameters:
    """The same mixture with its means moved at random, by a tenth of the coefficients' spread."""
    layout, means = parameters.layout, np.array(parameters.means)
    for c, p in enumerate(layout.sizes):
        draws = rng.normal(scale=_SHAKEN, size=(parameters.n_modes, p, 1))
        layout.vector(means, c)[:] += (layout.matrix(parameters.factors, c) @ draws)[..., 0]
    return replace(parameters, means=means)
