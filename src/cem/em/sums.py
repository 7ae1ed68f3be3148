"""The additive sums (14) of model.md, from which the M step computes everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.statistics.coordinates import layout_of

if TYPE_CHECKING:
    from cem.em.membership import MembershipSums

__all__ = ["ExpectedStatistics"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ExpectedStatistics:
    """The sums (14) over some units; those of disjoint sets of units add up.

    Parameters
    ----------
    sums : ndarray
        ℓ, N_k, N_kc, D_kc, Q_kc, E_kc, n̄_kc, one after the other.
    n_modes : int
        K.
    sizes : tuple of int
        p_c.
    n_units : int
        Number of units in the sums.
    rank : int
        r. With linked channels E d is E t, and Σ ρ̂ E[t fᵀ], Σ ρ̂ E f and Σ ρ̂ E[f fᵀ] of every channel follow.
    membership : MembershipSums, optional
        What the M step of π needs, if units have probabilities of their modes of their own.
    fixed_sums : ndarray, optional
        g_kc, H_kc of (23), one after the other; H by the rows of its lower triangle. None without fixed columns.
    """

    sums: FloatArray
    n_modes: int
    sizes: tuple[int, ...]
    n_units: int
    rank: int = 0
    membership: MembershipSums | None = None
    fixed_sums: FloatArray | None = None

    def __add__(self, other: ExpectedStatistics) -> ExpectedStatistics:
        if (self.n_modes, self.sizes, self.rank) != (other.n_modes, other.sizes, other.rank):
            raise ValueError("expected statistics of different models do not add up")
        if self.membership is not None or other.membership is not None:
            raise ValueError("expected statistics of units with covariates do not add up")
        n_units = self.n_units + other.n_units
        fixed = self.fixed_sums
        if fixed is not None and other.fixed_sums is not None:
            fixed = fixed + other.fixed_sums
        return ExpectedStatistics(self.sums + other.sums, self.n_modes, self.sizes, n_units, self.rank, None, fixed)

    def _part(self, index: int) -> FloatArray:
        """Part `index` of the sums, one row per mode."""
        layout, K = layout_of(self.sizes), self.n_modes
        C, P, r = layout.n_channels, int(layout.mean_offsets[-1]), self.rank
        widths = [1, C, P, int(layout.factor_offsets[-1]), C, C, P * r, C * r, C * r * r]
        start = 1 + K * sum(widths[:index])
        return self.sums[start : start + K * widths[index]].reshape(K, widths[index])

    @property
    def log_likelihood(self) -> float:
        """ℓ in internal coordinates."""
        return float(self.sums[0])

    @property
    def mode_counts(self) -> FloatArray:
        """N_k = Σ ρ̂, shape (K,)."""
        return self.sums[1 : 1 + self.n_modes]  # the first part, without its arithmetic: every pass needs them

    @property
    def channel_counts(self) -> FloatArray:
        """N_kc, shape (K, C)."""
        return self._part(1)

    @property
    def first_moments(self) -> FloatArray:
        """D_kc = Σ ρ̂ E d, packed, shape (K, P)."""
        return self._part(2)

    @property
    def second_moments(self) -> FloatArray:
        """Q_kc = Σ ρ̂ (A⁻¹ + E d E dᵀ), packed, shape (K, Σ p_c²)."""
        return self._part(3)

    @property
    def noise_moments(self) -> FloatArray:
        """E_kc = Σ ρ̂ E‖x − ΦT‖² / σ², shape (K, C)."""
        return self._part(4)

    def with_noise_moments(self, moments: FloatArray) -> ExpectedStatistics:
        """The same sums with other E_kc, shape (K, C)."""
        changed = replace(self, sums=np.array(self.sums))
        changed.noise_moments[:] = moments
        return changed

    @property
    def observation_counts(self) -> FloatArray:
        """n̄_kc = Σ ρ̂ n_lc, shape (K, C)."""
        return self._part(5)

    @property
    def cross_moments(self) -> FloatArray:
        """Σ ρ̂ E[t fᵀ], packed, shape (K, P, r)."""
        return self._part(6).reshape(self.n_modes, -1, self.rank)

    @property
    def factor_sums(self) -> FloatArray:
        """Σ ρ̂ E f over the units that have the channel, shape (K, C, r)."""
        return self._part(7).reshape(self.n_modes, -1, self.rank)

    @property
    def factor_moments(self) -> FloatArray:
        """Σ ρ̂ E[f fᵀ] over the units that have the channel, shape (K, C, r, r)."""
        return self._part(8).reshape(self.n_modes, -1, self.rank, self.rank)
