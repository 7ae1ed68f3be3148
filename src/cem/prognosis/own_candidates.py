"""Candidate remaining lives of each unit's own: what is said of a unit does not depend on the others.

Unit by unit, all candidates side by side in SIMD registers (`cem.prognosis._rul`) as in streaming; where bases are too
large for that, or a shift is not triangular, by the ways that serve candidates in common.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cem.mixture.linked_prediction import not_finite
from cem.mixture.parameters import Parameters
from cem.prognosis import _rul
from cem.prognosis.distribution import AnchoredStatistics, SharedEvidence, candidate_log_densities
from cem.prognosis.linked_candidates import LinkedCandidates

__all__ = ["OwnCandidates"]

FloatArray = NDArray[np.float64]


class OwnCandidates:
    """A model at candidates that differ from unit to unit.

    Parameters
    ----------
    parameters : Parameters
        In the user's terms; its channels may be linked.
    directions : ndarray of shape (K, r) or None
        γ of lives that are linked to the channels.
    information : ndarray of shape (C,)
        κ_c; see `cem.prognosis.distribution.candidate_log_densities`.
    """

    def __init__(self, parameters: Parameters, directions: FloatArray | None, information: FloatArray) -> None:
        layout = parameters.layout
        channels = range(layout.n_channels)
        self._parameters, self._directions, self._information = parameters, directions, information
        self._means = [layout.vector(parameters.means, c) for c in channels]
        self._factors = [layout.matrix(parameters.factors, c) for c in channels]
        self._sizes = np.array(parameters.sizes, dtype=np.int32)
        self._fits = max(parameters.sizes) <= _rul.LARGEST_SIZE and parameters.rank <= _rul.LARGEST_RANK
        self._constants = np.zeros(0)
        if self._fits:
            loadings = parameters.loadings
            of_channels = [
                _rul.mode_constants(
                    self._means[c],
                    self._factors[c],
                    parameters.noise_variances[:, c],
                    None if loadings is None else layout.rows(loadings, c),
                )
                for c in channels
            ]
            self._constants = np.concatenate([constants.ravel() for constants in of_channels])

    def evidence(
        self, statistics: AnchoredStatistics, shifts: Sequence[FloatArray]
    ) -> tuple[FloatArray, SharedEvidence | None]:
        """Everything that (18) takes from the readings.

        Parameters
        ----------
        statistics : AnchoredStatistics
            Of L units.
        shifts : sequence over channels of ndarray (L, G, p_c, p_c)
            S(r) at each unit's own candidates; channels of one basis share the array.

        Returns
        -------
        log_densities : ndarray of shape (L, G, K)
            ln P(x | k, r).
        shared : SharedEvidence or None
            What they say of γᵀf, where γ is given.

        Raises
        ------
        PredictionError
            Channels are linked and a log-density is not finite; names the unit.
        """
        different = {id(shift): shift for shift in shifts}
        if self._fits and not any(np.tril(shift[0], -1).any() for shift in different.values()):
            return self._side_by_side(statistics, shifts, different)
        if self._parameters.rank:
            return self._one_by_one(statistics, shifts, different)
        densities = candidate_log_densities(
            statistics,
            shifts,
            self._means,
            self._factors,
            self._parameters.noise_variances,
            information=self._information,
        )
        return densities, None

    def _side_by_side(
        self, statistics: AnchoredStatistics, shifts: Sequence[FloatArray], different: dict[int, FloatArray]
    ) -> tuple[FloatArray, SharedEvidence | None]:
        n_units, n_grid = shifts[0].shape[:2]
        n_modes, rank = self._parameters.n_modes, self._parameters.rank
        padded = n_grid + -n_grid % _rul.WIDTH
        last = np.minimum(np.arange(padded), n_grid - 1)
        # Candidates last, as the kernel wants them; a row a unit.
        laid = [np.moveaxis(shift, 1, -1)[..., last].reshape(n_units, -1) for shift in different.values()]
        starts = dict(zip(different, np.cumsum([0, *(block.shape[1] for block in laid)]).tolist(), strict=False))
        start_of = np.array([starts[id(shift)] for shift in shifts], dtype=np.int64)
        all_shifts = np.ascontiguousarray(np.concatenate(laid, axis=1))
        roots = np.sqrt(self._information)
        triangles = np.concatenate(
            [k * R.reshape(n_units, -1) for k, R in zip(roots, statistics.triangles, strict=True)], axis=1
        )
        projections = np.concatenate([k * w for k, w in zip(roots, statistics.projections, strict=True)], axis=1)
        norms, counts = statistics.residual_norms * self._information, statistics.counts * self._information
        directions = np.zeros((0, rank)) if self._directions is None else np.ascontiguousarray(self._directions)
        densities = np.empty((n_units, n_modes, padded))
        of_lives = np.empty((n_units, 2, 1, n_modes, padded) if len(directions) else (n_units, 2, 0, 0, 0))
        mantissas, exponents = np.empty((n_modes, padded)), np.empty((n_modes, padded), dtype=np.int64)
        level = _rul.level_number()
        for unit in range(n_units):
            some = slice(unit, unit + 1)
            if rank:
                _rul.linked_candidate_log_densities(
                    self._sizes, all_shifts[unit], start_of, triangles[some], projections[some], norms[some],
                    counts[some], self._constants, rank, directions, densities[some], of_lives[unit], mantissas,
                    exponents, level,
                )  # fmt: skip
            else:
                _rul.candidate_log_densities(
                    self._sizes, all_shifts[unit], start_of, triangles[unit], projections[unit], norms[unit],
                    counts[unit], self._constants, densities[unit], mantissas, exponents, level,
                )  # fmt: skip

        def in_order(values: FloatArray) -> FloatArray:
            return np.ascontiguousarray(np.moveaxis(values[..., :n_grid], 1, 2))

        found = in_order(densities)
        if rank:
            wrong = ~np.isfinite(found).all(axis=(1, 2))
            if wrong.any():
                raise not_finite(statistics.units[int(wrong.argmax())])
        if not len(directions):
            return found, None
        return found, SharedEvidence(in_order(of_lives[:, 0, 0]), in_order(of_lives[:, 1, 0]))

    def _one_by_one(
        self, statistics: AnchoredStatistics, shifts: Sequence[FloatArray], different: dict[int, FloatArray]
    ) -> tuple[FloatArray, SharedEvidence | None]:
        parts = []
        for unit in range(len(statistics.counts)):
            own = {key: shift[unit] for key, shift in different.items()}
            candidates = LinkedCandidates([own[id(shift)] for shift in shifts], self._parameters, self._directions)
            parts.append(candidates.evidence(statistics.of(unit), self._information))
        return np.concatenate([part[0] for part in parts]), SharedEvidence.concatenate([part[1] for part in parts])
