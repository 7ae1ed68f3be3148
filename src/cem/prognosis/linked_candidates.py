"""Linked channels at every candidate remaining life: what (18) asks of (17). NumPy alone.

Candidates lie side by side in SIMD registers (`cem.prognosis._rul`) where S(r) is triangular and bases and rank are not
too large; else a candidate is to the kernel of `cem.mixture._linked` one more mode, of coefficients S(r) T.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import KernelFailure
from cem.mixture import _linked
from cem.mixture.linked_prediction import not_finite
from cem.mixture.parameters import Parameters
from cem.prognosis import _rul
from cem.prognosis.distribution import SharedEvidence

if TYPE_CHECKING:
    from cem.prognosis.distribution import AnchoredStatistics

__all__ = ["LinkedCandidates"]

FloatArray = NDArray[np.float64]


class LinkedCandidates:
    """A linked model at every candidate remaining life.

    Parameters
    ----------
    shifts : sequence over channels of ndarray (G, p_c, p_c)
        S(r); channels of one basis may share the array.
    parameters : Parameters
        In the user's terms.
    directions : ndarray of shape (K, r), optional
        γ of lives that are linked to the channels.
    one_by_one : bool
        Take the kernel that knows no registers, whatever the shape of the problem.
    """

    def __init__(
        self,
        shifts: Sequence[FloatArray],
        parameters: Parameters,
        directions: FloatArray | None = None,
        *,
        one_by_one: bool = False,
    ) -> None:
        side_by_side = (
            max(parameters.sizes) <= _rul.LARGEST_SIZE
            and parameters.rank <= _rul.LARGEST_RANK
            and not any(np.tril(shift, -1).any() for shift in shifts)
        )
        self._kernel = (
            _SideBySide(shifts, parameters, directions)
            if side_by_side and not one_by_one
            else _OneByOne(shifts, parameters, directions)
        )

    def evidence(
        self, statistics: AnchoredStatistics, information: FloatArray
    ) -> tuple[FloatArray, SharedEvidence | None]:
        """What the readings of units say of every candidate and mode.

        Parameters
        ----------
        statistics : AnchoredStatistics
            Of L units.
        information : ndarray of shape (C,)
            κ_c; see `cem.prognosis.distribution.candidate_log_densities`.

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
        return self._kernel.evidence(statistics, information)


class _SideBySide:
    """Candidates in registers; padded with the last one to a whole number of them."""

    def __init__(self, shifts: Sequence[FloatArray], parameters: Parameters, directions: FloatArray | None) -> None:
        layout, self._sizes = parameters.layout, np.array(parameters.sizes, dtype=np.int32)
        self._n_grid, self._n_modes, self._rank = len(shifts[0]), parameters.n_modes, parameters.rank
        padded = self._n_grid + -self._n_grid % _rul.WIDTH
        last = np.minimum(np.arange(padded), self._n_grid - 1)
        blocks: dict[int, tuple[int, FloatArray]] = {}
        at = 0
        for shift in shifts:
            if id(shift) not in blocks:
                blocks[id(shift)] = (at, np.ascontiguousarray(np.moveaxis(shift[last], 0, -1)).ravel())
                at += blocks[id(shift)][1].size
        self._shifts = np.concatenate([block for _, block in blocks.values()])
        self._starts = np.array([blocks[id(shift)][0] for shift in shifts], dtype=np.int64)
        loadings = np.asarray(parameters.loadings)
        self._modes = np.concatenate(
            [
                _rul.mode_constants(
                    layout.vector(parameters.means, c),
                    layout.matrix(parameters.factors, c),
                    parameters.noise_variances[:, c],
                    loadings[:, layout.mean_offsets[c] : layout.mean_offsets[c + 1]],
                ).ravel()
                for c in range(layout.n_channels)
            ]
        )
        self._directions = np.zeros((0, self._rank)) if directions is None else np.ascontiguousarray(directions)
        self._mantissas = np.empty((self._n_modes, padded))
        self._exponents = np.empty(self._mantissas.shape, dtype=np.int64)

    def evidence(
        self, statistics: AnchoredStatistics, information: FloatArray
    ) -> tuple[FloatArray, SharedEvidence | None]:
        n_units, linked_lives = len(statistics.counts), len(self._directions) > 0
        roots = np.sqrt(information)
        shape = (n_units, *self._mantissas.shape)
        densities = np.empty(shape)
        shared = np.empty((2, *shape) if linked_lives else (2, 0, 0, 0))
        _rul.linked_candidate_log_densities(
            self._sizes,
            self._shifts,
            self._starts,
            np.concatenate([k * R.reshape(n_units, -1) for k, R in zip(roots, statistics.triangles, strict=True)], 1),
            np.concatenate([k * w for k, w in zip(roots, statistics.projections, strict=True)], axis=1),
            statistics.residual_norms * information,
            statistics.counts * information,
            self._modes,
            self._rank,
            self._directions,
            densities,
            shared,
            self._mantissas,
            self._exponents,
            _rul.level_number(),
        )

        def in_order(values: FloatArray) -> FloatArray:
            return np.ascontiguousarray(np.moveaxis(values[..., : self._n_grid], 1, 2))

        result = in_order(densities)
        wrong = ~np.isfinite(result).all(axis=(1, 2))
        if wrong.any():
            raise not_finite(statistics.units[int(wrong.argmax())])
        return result, SharedEvidence(in_order(shared[0]), in_order(shared[1])) if linked_lives else None


class _OneByOne:
    """R stays the unit's own, and S(r) μ and S(r) Λ are worked out once for all units; Γ are those of the mode."""

    def __init__(self, shifts: Sequence[FloatArray], parameters: Parameters, directions: FloatArray | None) -> None:
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
            raise not_finite(statistics.units[failure.unit]) from failure
        shape = (n_units, *self._shape)
        evidence = None if shared is None else SharedEvidence(*(shared[..., i].reshape(shape) for i in range(2)))
        return densities.reshape(shape), evidence
