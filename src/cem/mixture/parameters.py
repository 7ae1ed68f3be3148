"""Parameters of the mixture, packed as in `cem.statistics.coordinates`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cem.mixture._bundle import ParametersBundle
from cem.statistics.coordinates import Layout, frozen, layout_of

__all__ = ["Parameters", "whitened"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Parameters:
    """Parameters of the mixture of model.md §2, in internal coordinates; arrays are read-only copies.

    Parameters
    ----------
    weights : ndarray of shape (K,)
        π, the mode probabilities.
    means : ndarray of shape (K, P)
        μ_kc, packed.
    factors : ndarray of shape (K, Σ p_c²)
        Λ_kc, lower triangular Cholesky factors of Σ_kc, packed row-major with zeros above the diagonal.
    noise_variances : ndarray of shape (K, C)
        σ²_kc.
    sizes : sequence of int
        p_c.
    loadings : ndarray of shape (K, P, r), optional
        Γ_kc, packed: the whitened loadings of r factors that the channels share, model.md (16). Λ is then the factor
        of Ψ_kc = Cov(T | f). Without loadings r is 0, and Λ is the factor of Σ_kc.
    fixed : ndarray of shape (K, Q), optional
        β_kc, packed: coefficients of the columns that do not vary from unit to unit, model.md (21). Those of common
        columns are the same in every row.
    membership : ndarray of shape (K, 1 + F), optional
        γ of π_k(u) = softmax(γ_kᵀ (1, f(u))), by F features of a unit's covariates (`cem.mixture.membership`). Its rows
        sum to zero, so that no mode is a reference. π is then the mean of π_k(u) over the training units, and stands
        for π_k(u) where a unit's covariates are not known.
    """

    weights: FloatArray
    means: FloatArray
    factors: FloatArray
    noise_variances: FloatArray
    sizes: tuple[int, ...]
    loadings: FloatArray | None = None
    fixed: FloatArray | None = None
    membership: FloatArray | None = None

    def __repr__(self) -> str:
        from cem.errors.short import shape_repr

        return shape_repr(self, "weights", "means", "factors", "noise_variances")

    def __post_init__(self) -> None:
        if self.loadings is not None and self.loadings.shape[-1] == 0:
            object.__setattr__(self, "loadings", None)
        optional = (("loadings",) if self.rank else ()) + (() if self.fixed is None else ("fixed",))
        optional += () if self.membership is None else ("membership",)
        for name in ("weights", "means", "factors", "noise_variances", *optional):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        object.__setattr__(self, "sizes", tuple(int(p) for p in self.sizes))
        n_modes, layout = len(self.weights), self.layout
        expected: dict[str, tuple[int, ...]] = {
            "means": (n_modes, int(layout.mean_offsets[-1])),
            "factors": (n_modes, int(layout.factor_offsets[-1])),
            "noise_variances": (n_modes, layout.n_channels),
        }
        if self.rank:
            expected["loadings"] = (*expected["means"], self.rank)
        if self.membership is not None:
            expected["membership"] = (n_modes, *self.membership.shape[1:2])
        for name, shape in expected.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"parameters: {name} has shape {found}; {shape} was expected")

    @classmethod
    def adopting(
        cls,
        weights: FloatArray,
        means: FloatArray,
        factors: FloatArray,
        noise_variances: FloatArray,
        sizes: tuple[int, ...],
        loadings: FloatArray | None = None,
        fixed: FloatArray | None = None,
        membership: FloatArray | None = None,
    ) -> Parameters:
        """Make parameters from arrays that nobody else holds: without a copy, and with only the bundle's checks.

        An EM pass over a small fleet takes less time than copying and checking what a kernel has just written.
        """
        adopted = object.__new__(cls)
        for array in (weights, means, factors, noise_variances):
            array.setflags(write=False)
        if loadings is not None:
            loadings.setflags(write=False)
        if fixed is not None:
            fixed.setflags(write=False)
        if membership is not None:
            membership.setflags(write=False)
        adopted.__dict__.update(
            weights=weights,
            means=means,
            factors=factors,
            noise_variances=noise_variances,
            sizes=sizes,
            loadings=loadings,
            fixed=fixed,
            membership=membership,
            # Made at once: the next E step needs it, and `cached_property` takes longer than making it.
            bundle=ParametersBundle(
                weights, means, factors, noise_variances, layout_of(sizes).kernel_sizes, loadings, fixed
            ),
        )
        return adopted

    @cached_property
    def bundle(self) -> ParametersBundle:
        """The parameters in the form that kernels take, checked."""
        return ParametersBundle(
            self.weights, self.means, self.factors, self.noise_variances, self.layout.kernel_sizes, self.loadings,
            self.fixed,
        )  # fmt: skip

    def __getstate__(self) -> dict[str, object]:
        """Without the bundle, which another process makes itself."""
        return {name: value for name, value in self.__dict__.items() if name != "bundle"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update({"membership": None, **state})  # pickles of earlier releases do not have it

    @property
    def layout(self) -> Layout:
        return layout_of(self.sizes)

    @property
    def n_modes(self) -> int:
        return len(self.weights)

    @property
    def n_channels(self) -> int:
        return len(self.sizes)

    @property
    def rank(self) -> int:
        """r, the number of factors that the channels of a mode share."""
        return 0 if self.loadings is None else self.loadings.shape[-1]

    def loading(self, mode: int, channel: int) -> FloatArray:
        """Γ_kc, shape (p_c, r)."""
        start = int(self.layout.mean_offsets[channel])
        if self.loadings is None:
            return np.zeros((self.sizes[channel], 0))
        return self.loadings[mode, start : start + self.sizes[channel]]

    def marginal(self) -> Parameters:
        """The mixture with unlinked channels and the same covariances Σ_kc = Λ (I + Γ Γᵀ) Λᵀ."""
        if self.loadings is None:
            return self
        factors = np.empty_like(self.factors)
        for k in range(self.n_modes):
            for c in range(self.n_channels):
                gamma = self.loading(k, c)
                self.layout.matrix(factors[k], c)[:] = self.factor(k, c) @ _root_of_1_plus(gamma)
        return replace(self, factors=factors, loadings=None)

    def mean(self, mode: int, channel: int) -> FloatArray:
        """μ_kc, shape (p_c,)."""
        return self.layout.vector(self.means[mode], channel)

    def factor(self, mode: int, channel: int) -> FloatArray:
        """Λ_kc, shape (p_c, p_c)."""
        return self.layout.matrix(self.factors[mode], channel)

    def ordered(self, order: Sequence[int] | NDArray[np.int64]) -> Parameters:
        """The same mixture with its modes renumbered: new mode i is old mode ``order[i]``."""
        chosen = np.asarray(order, dtype=np.int64)
        return Parameters(
            self.weights[chosen],
            self.means[chosen],
            self.factors[chosen],
            self.noise_variances[chosen],
            self.sizes,
            None if self.loadings is None else self.loadings[chosen],
            None if self.fixed is None else self.fixed[chosen],
            None if self.membership is None else self.membership[chosen],
        )

    def of_channels(self, order: Sequence[int]) -> Parameters:
        """The mixture of these channels, in this order; without fixed columns."""
        layout = self.layout
        vectors = np.concatenate([np.arange(*layout.mean_offsets[c : c + 2]) for c in order])
        matrices = np.concatenate([np.arange(*layout.factor_offsets[c : c + 2]) for c in order])
        return replace(
            self,
            means=self.means[:, vectors],
            factors=self.factors[:, matrices],
            noise_variances=self.noise_variances[:, list(order)],
            sizes=tuple(self.sizes[c] for c in order),
            loadings=None if self.loadings is None else self.loadings[:, vectors],
        )

    def without_last_channel(self) -> Parameters:
        """The mixture of the other channels; given the mode (and f) they do not depend on the last one.

        The last channel has no fixed columns.
        """
        p = self.sizes[-1]
        return Parameters(
            self.weights,
            self.means[:, :-p],
            self.factors[:, : -p * p],
            self.noise_variances[:, :-1],
            self.sizes[:-1],
            None if self.loadings is None else self.loadings[:, :-p],
            self.fixed,
            self.membership,
        )


def _root_of_1_plus(gamma: FloatArray) -> FloatArray:
    """Lower triangular factor of I + Γ Γᵀ, (p, p), for Γ (p, r) of any size."""
    try:
        return np.asarray(np.linalg.cholesky(np.eye(len(gamma)) + gamma @ gamma.T), dtype=np.float64)
    except np.linalg.LinAlgError:  # rounding loses the 1 beside Γ Γᵀ
        upper = np.asarray(np.linalg.qr(np.concatenate([np.eye(len(gamma)), gamma.T]), mode="r"), dtype=np.float64)
        return (upper * np.where(np.diagonal(upper) < 0, -1.0, 1.0)[:, None]).T


def whitened(factors: FloatArray, loadings: FloatArray) -> FloatArray:
    """Γ with Λ Γ = W, (K, p, r), for Λ (K, p, p); a coefficient of zero variance has Γ = 0.

    Raises
    ------
    numpy.linalg.LinAlgError
        Λ is singular though no variance is zero.
    """
    varies = (factors != 0.0).any(axis=(0, 2))
    found = np.zeros(loadings.shape)
    if varies.all():
        return np.asarray(np.linalg.solve(factors, loadings), dtype=np.float64)
    if varies.any():
        # Rows that vary have the rank of their number, in columns that need not be the same ones.
        for k, own in enumerate(factors):
            found[k] = np.linalg.lstsq(own[varies], loadings[k][varies], rcond=1e-14)[0]
    return found
