"""Scores of units: the gradient of each unit's log-likelihood, in the unconstrained coordinates of the fit.

By Fisher's identity it needs no more than the E step has: sums (14) and (23) of one unit in place of all.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem import _core
from cem.em.constraints import Constraints
from cem.em.kernels.choice import LapackKernel, LinkedKernel, Pass
from cem.em.membership_ascent import coordinates_of
from cem.em.sums import ExpectedStatistics
from cem.mixture import _linked
from cem.mixture.membership import UnitModes
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["mixture_scores", "score_rows", "with_weights"]

FloatArray = NDArray[np.float64]

# Gradients are linear in the sums, and those of a channel with less than one unit are 0. So a unit counts this often.
_COPIES = 1e9


def score_rows(
    statistics: SufficientStatistics,
    constraints: Constraints,
    parameters: Parameters,
    responsibilities: FloatArray,
    bounds: NDArray[np.int64],
    vector: FloatArray,
) -> FloatArray:
    """Gradients of the mixture's numbers but π and γ, for groups of rows with given responsibilities.

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the rows.
    constraints : Constraints
        Of the fit; its penalties do not count.
    parameters : Parameters
    responsibilities : ndarray of shape (n, K)
        Of each row: those of a unit sum to 1, or those of its candidates together do.
    bounds : ndarray of shape (L + 1,)
        Rows of unit l are ``bounds[l]:bounds[l + 1]``.
    vector : ndarray of shape (n',)
        Of the mixture without γ.

    Returns
    -------
    ndarray of shape (L, n')
        Those of ln π are Σ ρ̂ − π.
    """
    K, sizes = parameters.n_modes, parameters.sizes
    bare = replace(parameters, membership=None)
    alone = replace(constraints, linking_penalties=None, membership_ridge=0.0, shrinkage=0.0)
    if constraints.covariance == "shrunk":
        alone = replace(alone, covariance="full")
    coordinates = coordinates_of(alone, bare, None)
    kernel: LinkedKernel | LapackKernel
    if parameters.rank:
        kernel, n_sums = LinkedKernel(statistics), _linked.n_sums(K, np.asarray(sizes, dtype=np.int32), parameters.rank)
    else:
        kernel, n_sums = LapackKernel(statistics), _core.n_sums(K, np.asarray(sizes, dtype=np.int32))
    n_units = len(bounds) - 1
    sums = np.empty((n_units, n_sums))
    fixed_sums = None
    if statistics.fixed is not None:
        fixed_sums = np.empty((n_units, _core.n_fixed_sums(K, statistics.fixed.kernel_sizes)))
    rho = np.ascontiguousarray(responsibilities)
    task = Pass(bare.bundle, 1.0, True, np.asarray(bounds, dtype=np.int64), rho, sums, None, fixed_sums)
    kernel.work(task, np.zeros(1, dtype=np.int64))
    scores = np.empty((n_units, len(vector)))
    for l in range(n_units):
        of_fixed = None if fixed_sums is None else _COPIES * fixed_sums[l]
        expected = ExpectedStatistics(_COPIES * sums[l], K, sizes, int(_COPIES), parameters.rank, None, of_fixed)
        scores[l] = coordinates.gradient(vector, bare, expected)[0]
    return scores / _COPIES


def mixture_scores(
    statistics: SufficientStatistics,
    constraints: Constraints,
    parameters: Parameters,
    responsibilities: FloatArray,
    vector: FloatArray,
) -> FloatArray:
    """Scores of the units of a mixture, (L, n).

    Parameters
    ----------
    statistics : SufficientStatistics
        Of the units, with what besides readings informs their modes.
    constraints : Constraints
        Of the fit.
    parameters : Parameters
    responsibilities : ndarray of shape (L, K)
        ρ̂ at them.
    vector : ndarray of shape (n,)
        Of the parameters.

    Returns
    -------
    ndarray of shape (L, n)
        They sum to the gradient of ℓ, without its penalties.
    """
    n_units = statistics.n_units
    n_gamma = 0 if parameters.membership is None else parameters.membership.size
    plain = vector[: len(vector) - n_gamma]
    scores = score_rows(
        statistics, constraints, parameters, responsibilities, np.arange(n_units + 1, dtype=np.int64), plain
    )
    unit_modes = UnitModes(statistics.membership_design, statistics.mode_priors)
    return with_weights(scores, unit_modes, parameters, responsibilities)


def with_weights(
    scores: FloatArray, unit_modes: UnitModes, parameters: Parameters, responsibilities: FloatArray
) -> FloatArray:
    """The scores with those of π or γ, which units with prior probabilities of their own do not inform.

    Parameters
    ----------
    scores : ndarray of shape (L, n')
        Of the other numbers.
    unit_modes : UnitModes
        What besides readings informs the units' modes.
    parameters, responsibilities
        As for `mixture_scores`.
    """
    K, priors = parameters.n_modes, unit_modes.priors
    free = np.ones((len(scores), 1), dtype=bool) if priors is None else ~unit_modes.has_prior[:, None]
    if parameters.membership is None:
        scores[:, :K] = np.where(free, responsibilities - parameters.weights, 0.0)
        return scores
    logs, design = unit_modes.log_weights(parameters), unit_modes.design
    assert logs is not None and design is not None
    away = np.where(free, responsibilities - np.exp(logs), 0.0)
    scores[:, :K] = 0.0
    return np.concatenate([scores, (away[:, :, None] * design[:, None, :]).reshape(len(scores), -1)], axis=1)
