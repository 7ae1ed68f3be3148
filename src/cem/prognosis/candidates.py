"""ln P(x | k, r) of model.md (18): the density of units at every candidate remaining life. It needs only NumPy.

If S(r) is triangular, and bases and rank are small, candidates are evaluated side by side in SIMD registers
(`cem.prognosis._rul`). Otherwise the kernel of `cem.mixture._linked` treats each candidate as one more mode, with
coefficients S(r) T.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.errors import BasisError, KernelFailure, OptionError
from cem.mixture import _linked
from cem.mixture._bundle import ParametersBundle
from cem.mixture.linked_prediction import not_finite
from cem.mixture.parameters import Parameters
from cem.prognosis import _rul
from cem.prognosis.rul_constants import mode_constants
from cem.prognosis.singular_constants import linked_constants, without_variance
from cem.statistics._bundle import StatisticsBundle
from cem.statistics.anchored import AnchoredStatistics, distinct
from cem.statistics.coordinates import Layout

if TYPE_CHECKING:
    from cem.basis.family import Basis

__all__ = ["Candidates", "SharedEvidence", "Shifts", "candidate_log_densities", "shift_matrices"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SharedEvidence:
    """Posterior of γᵀf, the part of the log life that the shared factors explain (`cem.fitting.linked_lives`).

    Parameters
    ----------
    means, variances : ndarray of shape (L, G, K)
        Of γᵀf given each candidate and mode, (17). For a unit without readings it is N(0, ‖γ‖²).
    """

    means: FloatArray
    variances: FloatArray

    @classmethod
    def concatenate(cls, parts: Sequence[SharedEvidence | None]) -> SharedEvidence | None:
        """Join the units of all parts; None if lives are not linked."""
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return cls(np.concatenate([part.means for part in known]), np.concatenate([part.variances for part in known]))


@dataclass(frozen=True, eq=False)
class Shifts:
    """S(r) at candidates in the form of `_rul.candidate_log_densities`, padded to whole registers.

    Parameters
    ----------
    rows : ndarray of shape (1 or L, n, G padded)
        The entries that may differ from 0, of the distinct bases; common to all units, or each unit's own.
    places : ndarray of shape (n,), int32
        Their positions in the matrix.
    n_rows : int
        Number of these entries.
    starts : ndarray of shape (C,), int32
        First row of each channel's basis.
    n_grid : int
        G.
    """

    rows: FloatArray
    places: NDArray[np.int32]
    n_rows: int
    starts: NDArray[np.int32]
    n_grid: int

    @classmethod
    def of_bases(cls, bases: Sequence[Basis], grid: FloatArray) -> Shifts | None:
        """Shifts of channels' bases at candidates of shape (G,) or (L, G); None if one does not fit the kernel.

        Raises
        ------
        BasisError
            A basis is not shift-invariant.
        """
        different, of_channel = distinct(bases)
        if max(basis.size for basis in different) > _rul.LARGEST_SIZE:
            return None
        points = np.atleast_2d(grid)
        lacking = -points.shape[1] % _rul.WIDTH
        if lacking:  # pad with the last candidate
            points = np.concatenate([points, np.repeat(points[:, -1:], lacking, axis=1)], axis=1)
        laid = []
        for basis in different:
            try:
                rows = basis.shift_rows(points)
            except BasisError as error:
                raise BasisError(f"predicting remaining lives shifts the basis: {error}") from None
            if rows is None:
                return None
            laid.append(rows)
        return cls._together(laid, [basis.size for basis in different], of_channel, grid.shape[-1])

    @classmethod
    def of_matrices(cls, shifts: Sequence[FloatArray]) -> Shifts | None:
        """Shifts from matrices (G, p_c, p_c), or (L, G, p_c, p_c), per channel; None if they do not fit the kernel."""
        different = {id(shift): shift for shift in shifts}
        order = {key: position for position, key in enumerate(different)}
        n_grid = shifts[0].shape[-3]
        last = np.minimum(np.arange(n_grid + -n_grid % _rul.WIDTH), n_grid - 1)
        laid = []
        for shift in different.values():
            p = shift.shape[-1]
            if p > _rul.LARGEST_SIZE or np.tril(shift, -1).any():
                return None
            i, j = np.triu_indices(p)
            padded = shift.reshape(-1, n_grid, p, p)[:, last]
            laid.append(((i * p + j).astype(np.int32), np.ascontiguousarray(np.moveaxis(padded[..., i, j], -1, 1))))
        sizes = [shift.shape[-1] for shift in different.values()]
        return cls._together(laid, sizes, [order[id(shift)] for shift in shifts], n_grid)

    @classmethod
    def _together(
        cls,
        laid: Sequence[tuple[NDArray[np.int32], FloatArray]],
        sizes: Sequence[int],
        of_channel: Sequence[int],
        n_grid: int,
    ) -> Shifts:
        starts = np.concatenate([[0], np.cumsum(np.square(sizes))]).astype(np.int32)
        places = [places + start for (places, _), start in zip(laid, starts, strict=False)]
        rows = laid[0][1] if len(laid) == 1 else np.concatenate([rows for _, rows in laid], axis=1)
        return cls(rows, np.concatenate(places), int(starts[-1]), starts[list(of_channel)], n_grid)


def shift_matrices(bases: Sequence[Basis], grid: FloatArray) -> list[FloatArray]:
    """S(r) of each channel's basis: the grid's shape with (p_c, p_c) appended; equal bases share the array."""
    different, of_channel = distinct(bases)
    try:
        found = [basis.shift_matrix(grid) for basis in different]
    except BasisError as error:
        raise BasisError(f"remaining lives are weighed by shifting the basis: {error}") from None
    return [found[i] for i in of_channel]


class Candidates:
    """A model in the form for evaluation at candidate remaining lives.

    Parameters
    ----------
    parameters : Parameters
        In the panel's units; its channels may be linked.
    directions : ndarray of shape (K, r), optional
        γ of lives that are linked to the channels.
    information : ndarray of shape (C,), optional
        κ_c in (0, 1]: each reading of the channel counts as κ_c independent ones (R and w times √κ, rss and n times κ),
        which accounts for noise correlated in time. Default 1.
    """

    def __init__(
        self, parameters: Parameters, directions: FloatArray | None = None, information: FloatArray | None = None
    ) -> None:
        n_modes, rank = parameters.n_modes, parameters.rank
        self.parameters = parameters
        self.directions = directions
        self.information = np.ones(len(parameters.sizes)) if information is None else information
        self.fits_registers = max(parameters.sizes) <= _rul.LARGEST_SIZE and rank <= _rul.LARGEST_RANK
        self.sizes = np.array(parameters.sizes, dtype=np.int32)
        self.constants = _constants(parameters) if self.fits_registers else np.zeros(0)
        self.kernel_directions = np.zeros((0, rank)) if directions is None else np.ascontiguousarray(directions)
        self._shape = (n_modes, rank)

    def evidence(
        self, statistics: AnchoredStatistics, bases: Sequence[Basis], grid: FloatArray
    ) -> tuple[FloatArray, SharedEvidence | None]:
        """The terms of (18) that depend on the readings.

        Parameters
        ----------
        statistics : AnchoredStatistics
            Of L units.
        bases : sequence of Basis, length C
        grid : ndarray of shape (G,), or (L, G) for candidates of each unit's own

        Returns
        -------
        log_densities : ndarray of shape (L, G, K)
            ln P(x | k, r).
        shared : SharedEvidence or None
            Posterior of γᵀf, if γ is given.

        Raises
        ------
        BasisError
            A basis is not shift-invariant.
        PredictionError
            Channels are linked and a log-density is not finite; the message names the unit.
        """
        shifts = Shifts.of_bases(bases, grid) if self.fits_registers else None
        if shifts is None:
            return self.one_by_one(statistics, shift_matrices(bases, grid))[::2]
        return self.side_by_side(statistics, shifts)

    def evidence_of_matrices(
        self, statistics: AnchoredStatistics, matrices: Sequence[FloatArray]
    ) -> tuple[FloatArray, SharedEvidence | None]:
        """`evidence` from S(r) of each channel, (G, p_c, p_c) or (L, G, p_c, p_c)."""
        shifts = Shifts.of_matrices(matrices) if self.fits_registers else None
        return self.one_by_one(statistics, matrices)[::2] if shifts is None else self.side_by_side(statistics, shifts)

    def side_by_side(self, statistics: AnchoredStatistics, shifts: Shifts) -> tuple[FloatArray, SharedEvidence | None]:
        """`evidence`, with candidates side by side in registers."""
        densities, shared = self.in_kernel(*statistics.packed(self.information), shifts)

        def in_order(values: FloatArray) -> FloatArray:
            return np.moveaxis(values[..., : shifts.n_grid], 1, 2)

        found = in_order(densities)
        if self.parameters.rank:
            wrong = ~np.isfinite(found).all(axis=(1, 2))
            if wrong.any():
                raise not_finite(statistics.units[int(wrong.argmax())])
        return found, None if shared is None else SharedEvidence(in_order(shared[0]), in_order(shared[1]))

    def in_kernel(
        self,
        triangles: FloatArray,
        projections: FloatArray,
        norms: FloatArray,
        counts: FloatArray,
        shifts: Shifts,
        level: int | None = None,
    ) -> tuple[FloatArray, FloatArray | None]:
        """ln P(x | k, r), (L, K, G padded), and mean and variance of γᵀf, (2, L, K, G padded)."""
        (n_modes, rank), padded = self._shape, shifts.rows.shape[-1]
        densities = np.empty((len(counts), n_modes, padded))
        linked_lives = len(self.kernel_directions) > 0
        shared = np.empty((2, *densities.shape) if linked_lives else (2, 0, 0, 0))
        _rul.candidate_log_densities(
            self.sizes, shifts.rows, shifts.places, shifts.n_rows, shifts.starts, triangles, projections, norms, counts,
            self.constants, rank, self.kernel_directions, densities, shared,
            _rul.level_number() if level is None else level,
        )  # fmt: skip
        return densities, shared if linked_lives else None

    def by_channel(
        self,
        triangles: FloatArray,
        projections: FloatArray,
        norms: FloatArray,
        counts: FloatArray,
        shifts: Shifts,
        level: int | None = None,
    ) -> tuple[FloatArray, FloatArray]:
        """ln P(x_c | k, r) of each channel that is not linked, (L, C, K, G padded), and the quadratic form in it.

        Statistics are those with κ = 1; κ counts in the densities alone.
        """
        shape = (*counts.shape, self._shape[0], shifts.rows.shape[-1])
        densities, misfits = np.empty(shape), np.empty(shape)
        _rul.channel_log_densities(
            self.sizes, shifts.rows, shifts.places, shifts.n_rows, shifts.starts, triangles, projections, norms, counts,
            self.information, self.constants, densities, misfits, _rul.level_number() if level is None else level,
        )  # fmt: skip
        return densities, misfits

    def one_by_one(
        self, statistics: AnchoredStatistics, matrices: Sequence[FloatArray]
    ) -> tuple[FloatArray, FloatArray, SharedEvidence | None]:
        """`evidence` by the kernel without registers, for problems of any shape, and its quadratic forms, (L, G, K)."""
        if matrices[0].ndim == 3:
            return _one_by_one(self, statistics, matrices)
        different = {id(matrix): matrix for matrix in matrices}
        parts = []
        for unit in range(len(statistics.counts)):
            own = {key: matrix[unit] for key, matrix in different.items()}
            parts.append(_one_by_one(self, statistics.of(unit), [own[id(matrix)] for matrix in matrices]))
        densities, misfits = (np.concatenate([part[i] for part in parts]) for i in range(2))
        return densities, misfits, SharedEvidence.concatenate([part[2] for part in parts])


def _constants(parameters: Parameters) -> FloatArray:
    """`mode_constants` of all channels, end to end; channels of one size are computed together."""
    layout, n_modes = parameters.layout, parameters.n_modes
    blocks: list[FloatArray] = [np.zeros(0)] * layout.n_channels
    for p in set(layout.sizes):
        channels = [c for c, size in enumerate(layout.sizes) if size == p]
        rows = [
            np.concatenate(parts)
            for parts in zip(
                *(
                    (
                        layout.vector(parameters.means, c),
                        layout.matrix(parameters.factors, c),
                        parameters.noise_variances[:, c],
                        *(() if parameters.loadings is None else (layout.rows(parameters.loadings, c),)),
                    )
                    for c in channels
                ),
                strict=True,
            )
        ]
        constants = mode_constants(*rows)
        if parameters.loadings is not None:
            singular = without_variance(rows[1])
            for i in np.flatnonzero(singular.any(axis=1)).tolist():
                constants[i] = linked_constants(*(row[i] for row in rows))
        for i, c in enumerate(channels):
            blocks[c] = constants[i * n_modes : (i + 1) * n_modes].ravel()
    return np.concatenate(blocks)


def _one_by_one(
    candidates: Candidates, statistics: AnchoredStatistics, shifts: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray, SharedEvidence | None]:
    """R stays the unit's own, S(r) μ and S(r) Λ are computed once for all units, and Γ are those of the mode."""
    parameters, directions, layout = candidates.parameters, candidates.directions, candidates.parameters.layout
    n_grid, n_modes, n_units = len(shifts[0]), parameters.n_modes, len(statistics.counts)
    n = n_grid * n_modes
    means, factors = np.empty((n, parameters.means.shape[1])), np.empty((n, parameters.factors.shape[1]))
    for c, p in enumerate(layout.sizes):
        moved = np.einsum("gij,kj->gki", shifts[c], layout.vector(parameters.means, c))
        layout.vector(means, c)[:] = moved.reshape(n, p)
        turned = np.einsum("gij,kjm->gkim", shifts[c], layout.matrix(parameters.factors, c))
        layout.matrix(factors, c)[:] = turned.reshape(n, p, p)
    # Unlinked channels get one factor without loadings.
    loadings = np.zeros((n_modes, means.shape[1], 1)) if parameters.loadings is None else parameters.loadings
    blocks, offsets, start = [], np.empty(statistics.counts.shape, dtype=np.int64), 0
    _, projections, norms, counts = statistics.packed(candidates.information)
    for c, p in enumerate(layout.sizes):
        blocks.append((np.sqrt(candidates.information[c]) * statistics.triangles[c]).ravel())
        offsets[:, c] = np.where(statistics.counts[:, c] > 0, start + np.arange(n_units) * p * p, -1)
        start += n_units * p * p
    densities, misfits = np.empty((n_units, n)), np.empty((n_units, n))
    shared = None if directions is None else np.empty((n_units, n, 2))
    try:
        _linked.log_densities(
            StatisticsBundle(np.concatenate(blocks), offsets, projections, norms, counts, layout.kernel_sizes),
            ParametersBundle(
                np.tile(parameters.weights, n_grid),
                means,
                factors,
                np.tile(parameters.noise_variances, (n_grid, 1)),
                layout.kernel_sizes,
                np.tile(loadings, (n_grid, 1, 1)),
            ),
            0,
            n_units,
            densities,
            misfits,
            None if directions is None else np.tile(directions, (n_grid, 1)),
            shared,
        )
    except KernelFailure as failure:
        raise not_finite(statistics.units[failure.unit]) from failure
    shape = (n_units, n_grid, n_modes)
    evidence = None if shared is None else SharedEvidence(*(shared[..., i].reshape(shape) for i in range(2)))
    return densities.reshape(shape), misfits.reshape(shape), evidence


def candidate_log_densities(
    statistics: AnchoredStatistics,
    shifts: Sequence[FloatArray],
    means: Sequence[FloatArray],
    factors: Sequence[FloatArray],
    noise_variances: FloatArray,
    *,
    information: ArrayLike | None = None,
) -> FloatArray:
    """ln P(x | k, r) of every unit, candidate and mode: (10) and (11) with R S(r) in place of R.

    Parameters
    ----------
    statistics : AnchoredStatistics
        Of L units.
    shifts : sequence over channels of ndarray (G, p_c, p_c), or (L, G, p_c, p_c)
        S(r), from `Basis.shift_matrix` of the channel's basis at the grid, or at each unit's own.
    means : sequence over channels of ndarray (K, p_c)
        μ_kc, in the panel's units.
    factors : sequence over channels of ndarray (K, p_c, p_c)
        Λ_kc, any square root of Σ_kc, in the panel's units.
    noise_variances : ndarray of shape (K, C)
        σ²_kc, in the channel's squared units.
    information : array_like of shape (C,), optional
        κ_c, above 0 and at most 1, as in `Candidates`.

    Returns
    -------
    ndarray of shape (L, G, K)

    Raises
    ------
    OptionError
        The information is not C numbers above 0 and at most 1.
    """
    n_modes, n_channels = noise_variances.shape
    worth = np.ones(n_channels) if information is None else np.asarray(information, dtype=np.float64)
    if worth.shape != (n_channels,) or not np.all((worth > 0) & (worth <= 1)):
        raise OptionError(f"information is {information!r}; {n_channels} numbers above 0 and at most 1 were expected")
    layout = Layout(tuple(mean.shape[1] for mean in means))
    parameters = Parameters(
        np.full(n_modes, 1.0 / n_modes),
        np.concatenate(means, axis=1),
        np.concatenate([np.reshape(factor, (n_modes, -1)) for factor in factors], axis=1),
        noise_variances,
        layout.sizes,
    )
    return Candidates(parameters, None, worth).evidence_of_matrices(statistics, shifts)[0]
