"""Scoring with linked channels, model.md (17): log-densities, posteriors, and every candidate remaining life. NumPy
alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem import _linked
from cem.errors import KernelFailure, PredictionError
from cem.parameters import Parameters
from cem.remaining_life import SharedEvidence

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from cem.remaining_life import AnchoredStatistics
    from cem.statistics import SufficientStatistics

__all__ = ["LinkedCandidates", "linked_log_densities", "linked_posteriors"]

FloatArray = NDArray[np.float64]


def linked_log_densities(
    statistics: SufficientStatistics, parameters: Parameters, n_threads: int = 1
) -> tuple[FloatArray, FloatArray]:
    """ln P(x_l | k) in internal coordinates, and the quadratic form of each unit's readings; both (L, K).

    Raises
    ------
    PredictionError
        A log-density is not finite; names the unit.
    """
    shape = (statistics.n_units, parameters.n_modes)
    densities, misfits = np.empty(shape), np.empty(shape)
    arguments = _arguments(statistics, parameters)

    def part(first: int, last: int) -> None:
        _linked.log_densities(*arguments, first, last, densities, misfits)

    n_parts = max(1, min(n_threads, statistics.n_units))
    bounds = [statistics.n_units * i // n_parts for i in range(n_parts + 1)]
    try:
        if n_parts == 1:
            part(*bounds)
        else:
            with ThreadPoolExecutor(n_parts) as pool:
                list(pool.map(part, bounds[:-1], bounds[1:]))
    except KernelFailure as failure:
        raise _named(failure, statistics.units) from failure
    return densities, misfits


def linked_posteriors(statistics: SufficientStatistics, parameters: Parameters) -> tuple[FloatArray, FloatArray]:
    """T̂ and a square root of each channel's Σ̂ in internal coordinates: (L, K, P) and (L, K, Σ p_c²).

    A channel that a unit does not report has what its other channels say of it.

    Raises
    ------
    PredictionError
        A posterior could not be factored; names the unit.
    """
    means = np.empty((statistics.n_units, *parameters.means.shape))
    roots = np.empty((statistics.n_units, *parameters.factors.shape))
    try:
        _linked.posteriors(*_arguments(statistics, parameters), 0, statistics.n_units, means, roots)
    except KernelFailure as failure:
        raise _named(failure, statistics.units) from failure
    return means, roots


class LinkedCandidates:
    """A linked model at every candidate remaining life, for (18).

    A candidate is to the kernel one more mode, of coefficients S(r) T: R stays the unit's own, and S(r) μ and S(r) Λ
    are worked out once for all units; the loadings Γ are those of the mode.

    Parameters
    ----------
    shifts : sequence over channels of ndarray (G, p_c, p_c)
        S(r).
    parameters : Parameters
        In the user's terms.
    directions : ndarray of shape (K, r), optional
        γ of lives that are linked to the channels.
    """

    def __init__(
        self, shifts: Sequence[FloatArray], parameters: Parameters, directions: FloatArray | None = None
    ) -> None:
        assert parameters.loadings is not None
        self._layout, self._shape = parameters.layout, (len(shifts[0]), parameters.n_modes)
        n_grid, n = len(shifts[0]), len(shifts[0]) * parameters.n_modes
        self._means = np.empty((n, parameters.means.shape[1]))
        self._factors = np.empty((n, parameters.factors.shape[1]))
        for c, p in enumerate(self._layout.sizes):
            moved = np.einsum("gij,kj->gki", shifts[c], self._layout.vector(parameters.means, c))
            self._layout.vector(self._means, c)[:] = moved.reshape(n, p)
            turned = np.einsum("gij,kjm->gkim", shifts[c], self._layout.matrix(parameters.factors, c))
            self._layout.matrix(self._factors, c)[:] = turned.reshape(n, p, p)
        self._noise_variances = np.tile(parameters.noise_variances, (n_grid, 1))
        self._loadings = np.tile(parameters.loadings, (n_grid, 1, 1))
        self._directions = None if directions is None else np.tile(directions, (n_grid, 1))

    def evidence(
        self, statistics: AnchoredStatistics, information: FloatArray
    ) -> tuple[FloatArray, SharedEvidence | None]:
        """What the readings of units say of every candidate and mode.

        Parameters
        ----------
        statistics : AnchoredStatistics
            Of L units.
        information : ndarray of shape (C,)
            κ_c; see `cem.remaining_life.candidate_log_densities`.

        Returns
        -------
        log_densities : ndarray of shape (L, G, K)
            ln P(x | k, r).
        shared : SharedEvidence or None
            What they say of γᵀf, where γ is given.

        Raises
        ------
        PredictionError
            A log-density is not finite; names the unit.
        """
        n_units, n = len(statistics.counts), len(self._means)
        blocks, offsets, start = [], np.empty(statistics.counts.shape, dtype=np.int64), 0
        projections = np.empty((n_units, self._means.shape[1]))
        for c, p in enumerate(self._layout.sizes):
            root = np.sqrt(information[c])
            blocks.append((root * statistics.triangles[c]).ravel())
            self._layout.vector(projections, c)[:] = root * statistics.projections[c]
            offsets[:, c] = np.where(statistics.counts[:, c] > 0, start + np.arange(n_units) * p * p, -1)
            start += n_units * p * p
        densities, misfits = np.empty((n_units, n)), np.empty((n_units, n))
        shared = None if self._directions is None else np.empty((n_units, n, 2))
        try:
            _linked.log_densities(
                np.concatenate(blocks),
                offsets,
                projections,
                statistics.residual_norms * information,
                statistics.counts * information,
                np.asarray(self._layout.sizes, dtype=np.int32),
                self._means,
                self._factors,
                self._noise_variances,
                self._loadings,
                0,
                n_units,
                densities,
                misfits,
                self._directions,
                shared,
            )
        except KernelFailure as failure:
            raise _named(failure, statistics.units) from failure
        shape = (n_units, *self._shape)
        evidence = None if shared is None else SharedEvidence(*(shared[..., i].reshape(shape) for i in range(2)))
        return densities.reshape(shape), evidence


def _arguments(
    statistics: SufficientStatistics, parameters: Parameters
) -> tuple[
    FloatArray,
    NDArray[np.int64],
    FloatArray,
    FloatArray,
    FloatArray,
    NDArray[np.int32],
    FloatArray,
    FloatArray,
    FloatArray,
    FloatArray,
]:
    """What kernels take, in their order."""
    assert parameters.loadings is not None
    return (
        statistics.factors,
        statistics.factor_offsets,
        statistics.projections,
        statistics.residual_norms,
        statistics.counts.astype(np.float64),
        np.asarray(statistics.sizes, dtype=np.int32),
        parameters.means,
        parameters.factors,
        parameters.noise_variances,
        parameters.loadings,
    )


def _named(failure: KernelFailure, units: Sequence[Hashable]) -> PredictionError:
    return PredictionError(
        f"the log-density of unit {units[failure.unit]!r} is not finite; its values or times lie too far from those "
        "that the model was fitted to, or a parameter of the model is not finite"
    )
