"""Where EM starts from: the one-mode fit, starting responsibilities of four kinds, and the parameters they give."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.em import EMRun, continue_em, start_em
from cem.expectation import Expectation
from cem.maximisation import Constraints, maximisation
from cem.parameters import Parameters

__all__ = [
    "MIXED_KINDS",
    "START_KINDS",
    "StartKind",
    "one_mode_run",
    "parameters_from_responsibilities",
    "starting_parameters",
    "with_known_modes",
]

FloatArray = NDArray[np.float64]
StartKind = Literal["kmeans", "prototypes", "random", "tempered"]
START_KINDS: tuple[StartKind, ...] = ("kmeans", "prototypes", "random", "tempered")
# What init="mixed" takes in turn. Prototypes lead to the best optimum less often than the others where that is easy,
# and more often where it is hard, since no two such starts are alike. A tempered start costs as many passes as several
# short runs: one of ten, for the fleets on which it alone finds the best.
MIXED_KINDS: tuple[StartKind, ...] = (*("kmeans", "prototypes", "random") * 3, "tempered")

ONE_MODE_PASSES = 20
_TEMPERED_PASSES = 25
_HIGHEST_TEMPERATURE = 200.0
# In units of the coefficients' own spread: what keeps modes apart, while it is hot, that would merge to the last bit.
_SHAKEN = 0.1
_UNITS_FOR_CLUSTERING = 20_000
_CLUSTERING_ROUNDS = 20


def one_mode_run(expectation: Expectation, constraints: Constraints, n_passes: int = ONE_MODE_PASSES) -> EMRun:
    """EM of the one-mode model, from coefficients and noise of about the right size.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    constraints : Constraints
        Of the M step; the start satisfies them.
    n_passes : int
        How many passes to do.

    Returns
    -------
    EMRun
        Its parameters describe the whole fleet as one mode.
    """
    expectation = expectation.unlabelled()
    statistics = expectation.statistics
    layout = statistics.layout
    spare = np.maximum(statistics.counts - np.asarray(layout.sizes), 0).sum(axis=0)
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
    )
    return continue_em(start_em(expectation, parameters), expectation, constraints, n_passes=n_passes, tolerance=0.0)


def with_known_modes(responsibilities: FloatArray, known_modes: NDArray[np.int32]) -> FloatArray:
    """Responsibilities that are 0 or 1 on units of known mode."""
    labelled = np.flatnonzero(known_modes >= 0)
    fixed = np.array(responsibilities, dtype=np.float64)
    fixed[labelled] = 0.0
    fixed[labelled, known_modes[labelled]] = 1.0
    return fixed


def parameters_from_responsibilities(
    expectation: Expectation, responsibilities: FloatArray, one_mode: Parameters, constraints: Constraints
) -> Parameters:
    """One M step with given responsibilities, from the posteriors of the one-mode model.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    responsibilities : ndarray of shape (L, K)
        Units of known mode are held at it.
    one_mode : Parameters
        What `one_mode_run` ended at.
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
    )
    rho = with_known_modes(responsibilities, expectation.statistics.known_modes)
    expected, _ = expectation(copies, responsibilities=rho)
    parameters, _ = maximisation(expected, copies, constraints)
    return parameters


def starting_parameters(
    kind: StartKind,
    expectation: Expectation,
    one_mode: Parameters,
    constraints: Constraints,
    n_modes: int,
    rng: np.random.Generator,
) -> Parameters:
    """Starting parameters of one kind.

    "kmeans" clusters the shrunken coefficients of the units; "prototypes" draws K units at random and gives every unit
    to the one whose coefficients are nearest; "random" draws responsibilities evenly from the simplex; "tempered" goes
    on from there by 25 passes with ρ̂ ∝ (πP)^β, β from 1/200 to 1 (Ueda & Nakano 1998), and moves the means a little at
    random after all but the last: while it is hot the modes are all but one, and which way they part must not be left
    to rounding.

    Parameters
    ----------
    kind : {"kmeans", "prototypes", "random", "tempered"}
        The kind of start.
    expectation, one_mode, constraints
        As for `parameters_from_responsibilities`.
    n_modes : int
        K.
    rng : numpy.random.Generator
        The start is a deterministic function of its state.
    """
    n_units = expectation.statistics.n_units
    if kind in ("kmeans", "prototypes"):
        responsibilities = _clustered(expectation, one_mode, n_modes, rng, refine=kind == "kmeans")
    else:
        responsibilities = rng.dirichlet(np.ones(n_modes), size=n_units)
    parameters = parameters_from_responsibilities(expectation, responsibilities, one_mode, constraints)
    if kind == "tempered":
        for beta in np.geomspace(1.0 / _HIGHEST_TEMPERATURE, 1.0, _TEMPERED_PASSES):
            expected, _ = expectation(parameters, inverse_temperature=float(beta))
            parameters, _ = maximisation(expected, parameters, constraints)
            if beta < 1.0:
                parameters = _shaken(parameters, rng)
    return parameters


def _shaken(parameters: Parameters, rng: np.random.Generator) -> Parameters:
    """The same mixture, its means moved by draws from a tenth of the coefficients' spread."""
    layout, means = parameters.layout, np.array(parameters.means)
    for c, p in enumerate(layout.sizes):
        draws = rng.normal(scale=_SHAKEN, size=(parameters.n_modes, p, 1))
        layout.vector(means, c)[:] += (layout.matrix(parameters.factors, c) @ draws)[..., 0]
    return replace(parameters, means=means)


def _clustered(
    expectation: Expectation, one_mode: Parameters, n_modes: int, rng: np.random.Generator, *, refine: bool
) -> FloatArray:
    """Responsibilities 0 or 1 by the nearest of K points among the whitened posterior coefficients E d.

    Shrinkage by the one-mode model makes a coefficient that the data says little about count little, and a missing
    channel not at all. The points are units drawn at random or, refined, centres of clusters.
    """
    statistics = expectation.statistics
    coefficients = np.empty((statistics.n_units, one_mode.means.shape[1]))
    _core.posterior_coefficients(
        statistics.factors,
        statistics.factor_offsets,
        statistics.projections,
        statistics.counts,
        statistics.layout.kernel_sizes,
        one_mode.means,
        one_mode.factors,
        one_mode.noise_variances,
        0,
        coefficients,
    )
    sample = coefficients
    if statistics.n_units > _UNITS_FOR_CLUSTERING:
        sample = coefficients[rng.choice(statistics.n_units, _UNITS_FOR_CLUSTERING, replace=False)]
    distinct = np.unique(sample, axis=0)
    if len(distinct) < n_modes:  # fewer different units than modes: nothing to cluster
        return rng.dirichlet(np.ones(n_modes), size=statistics.n_units)
    if refine:
        centres = _lloyd(sample, _spread(sample, n_modes, rng))
    else:
        centres = distinct[rng.choice(len(distinct), n_modes, replace=False)]
    return np.eye(n_modes)[_nearest(coefficients, centres)]


def _nearest(points: FloatArray, centres: FloatArray) -> NDArray[np.int64]:
    """The index of each point's nearest centre."""
    nearest: NDArray[np.int64] = (points @ (-2.0 * centres.T) + np.square(centres).sum(axis=1)).argmin(axis=1)
    return nearest


def _lloyd(points: FloatArray, centres: FloatArray) -> FloatArray:
    """k-means from given centres; a cluster that loses its points keeps its centre."""
    nearest = None
    for _ in range(_CLUSTERING_ROUNDS):
        before, nearest = nearest, _nearest(points, centres)
        if before is not None and np.array_equal(before, nearest):
            break
        members = np.eye(len(centres))[nearest]
        counts = members.sum(axis=0)
        centres = np.where(counts[:, None] > 0, members.T @ points / np.maximum(counts, 1.0)[:, None], centres)
    return centres


def _spread(points: FloatArray, n_clusters: int, rng: np.random.Generator) -> FloatArray:
    """k-means++ centres (Arthur & Vassilvitskii 2007)."""
    centres = [points[rng.integers(len(points))]]
    nearest = np.square(points - centres[0]).sum(axis=1)
    for _ in range(1, n_clusters):
        total = nearest.sum()
        chosen = rng.choice(len(points), p=nearest / total) if total > 0 else rng.integers(len(points))
        centres.append(points[chosen])
        nearest = np.minimum(nearest, np.square(points - points[chosen]).sum(axis=1))
    return np.stack(centres)
