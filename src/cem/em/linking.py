"""Linked channels, model.md (16), (17): from a plain fit to one whose channels share factors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem, MixtureRun
from cem.errors import OptionError
from cem.errors.names import listed
from cem.mixture.parameters import Parameters
from cem.statistics.fixed import conditioned

__all__ = ["linked_run", "linked_start", "linking_of", "linking_penalties", "rotated"]

FloatArray = NDArray[np.float64]

# Largest share of a coefficient's variance that the first loadings may explain; Ψ must stay well above 0.
_MOST_EXPLAINED = 0.8


def linking_of(rank: int, sizes: Sequence[int], channels: Sequence[str]) -> None:
    """OptionError if channels with so many random columns, p_c, cannot share this many factors.

    The covariance between one channel and all others has at most as many dimensions as the smaller side. So more
    factors than the coefficients of all channels but the largest are not identifiable.
    """
    most = sum(sizes) - max(sizes)
    if rank > most:
        raise OptionError(
            f"linking_rank={rank}: the {len(sizes)} channels fitted ({listed(channels, 5)}), with {tuple(sizes)} "
            f"random columns, can share {most} factors at most; take a lower rank, or more channels or random columns"
        )


def linking_penalties(parameters: Parameters, n_units: int, linking_penalty: float) -> FloatArray:
    """λ_k = linking_penalty / N_k, with the modes' sizes N_k at the start of linked EM; shape (K,).

    In a smaller mode, more of the apparent sharing between coefficients is chance. With one λ for all modes, the right
    value for modes of fifty units makes a mode of eleven predict far worse than no links do, and the right value for
    eleven takes away what the others gain (benchmarks/linking.py).
    """
    return linking_penalty / np.maximum(parameters.weights * n_units, 1.0)


def linked_start(run: MixtureRun, expectation: Expectation, rank: int, constraints: Constraints) -> Parameters:
    """Loadings from the principal components of E d of a plain fit; the covariance of each channel does not change.

    Γ = 0 is a stationary point of EM, so EM cannot start there.

    Parameters
    ----------
    run : EMRun
        Of the plain model.
    expectation : Expectation
        The E step of the panel.
    rank : int
        r.
    constraints : Constraints
        Of the M step; the start satisfies them.

    Returns
    -------
    Parameters
    """
    from cem import _core

    parameters, statistics = run.parameters, expectation.statistics
    layout = parameters.layout
    n_modes, P = parameters.means.shape
    factors, loadings = np.array(parameters.factors), np.zeros((n_modes, P, rank))
    whitened = np.empty((statistics.n_units, P))
    observed = np.repeat(statistics.counts > 0, layout.sizes, axis=1).astype(np.float64)
    for k in range(n_modes):
        own = statistics if parameters.fixed is None else conditioned(statistics, parameters.fixed[k])
        _core.posterior_coefficients(
            own.bundle,
            parameters.bundle,
            k,
            whitened,
        )
        rho = run.responsibilities[:, k, None]
        n_units = (rho * observed).sum(axis=0)
        # Over pairs of channels observed together, in units of the prior; a missing channel's E d is 0.
        second = (rho * whitened).T @ whitened / np.maximum(np.sqrt(np.outer(n_units, n_units)), 1.0)
        values, vectors = np.linalg.eigh(second)
        W = vectors[:, ::-1][:, :rank] * np.sqrt(np.maximum(values[::-1][:rank], 0.0))
        for c, p in enumerate(layout.sizes):
            rows = slice(*layout.mean_offsets[c : c + 2])
            explained = float(np.linalg.norm(W[rows], 2)) ** 2
            kept = W[rows] * np.sqrt(min(1.0, _MOST_EXPLAINED / max(explained, 1e-300)))
            left = np.linalg.cholesky(np.eye(p) - kept @ kept.T)  # Σ = Λ (I − W Wᵀ) Λᵀ + Λ W Wᵀ Λᵀ
            factor = layout.matrix(factors[k], c)
            factor[:] = factor @ left
            loadings[k, rows] = np.linalg.solve(left, kept)
    return feasible(replace(parameters, factors=factors, loadings=loadings), constraints)


def linked_run(
    run: MixtureRun,
    problem: MixtureProblem,
    *,
    rank: int,
    max_iter: int,
    tolerance: float,
    accelerate: bool,
) -> tuple[MixtureRun, bool]:
    """EM of the linked model, from the end of a plain run, or from a run that is linked already.

    Parameters
    ----------
    run : EMRun
        Of the plain model, or of a linked one of this rank.
    problem : MixtureProblem
        Of the panel, with the penalties of the loadings.
    rank : int
        r, at least 1.
    max_iter, tolerance, accelerate
        As for `cem.em.continue_em`.

    Returns
    -------
    run : EMRun
        With its factors turned to their principal axes.
    interrupted : bool
        Whether a KeyboardInterrupt ended the linked part; then nothing of it is kept, and the run is the given one.
    """
    try:
        parameters = run.parameters
        if parameters.rank != rank:
            parameters = linked_start(run, problem.expectation, rank, problem.constraints)
        linked = continue_em(
            start_em(problem, parameters), problem, n_passes=max_iter, tolerance=tolerance, accelerate=accelerate
        )
    except KeyboardInterrupt:
        return run, True
    return replace(linked, parameters=rotated(linked.parameters), pace=None), False


def rotated(parameters: Parameters) -> Parameters:
    """The same linked mixture with factors turned to principal axes: strongest first, largest loading positive.

    Any rotation of the factors gives the same distribution; this one does not depend on the start.
    """
    if parameters.loadings is None:
        return parameters
    loadings = np.empty_like(parameters.loadings)
    for k, gamma in enumerate(parameters.loadings):
        turned = gamma @ np.linalg.svd(gamma, full_matrices=False)[2].T
        largest = np.abs(turned).argmax(axis=0)
        loadings[k] = turned * np.where(turned[largest, np.arange(turned.shape[1])] < 0, -1.0, 1.0)
    return replace(parameters, loadings=loadings)
