"""Internal coordinates of a channel's readings and coefficients, and the position of each channel in a packed row.

Kernels see packed arrays: the coefficients of channel c in a row of length P = Σ p_c start at ``mean_offsets[c]``,
and its p_c × p_c matrix in a row of length Σ p_c² at ``factor_offsets[c]``. There is no padding, so bases of
different sizes cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Coordinates", "Layout", "frozen", "layout_of", "times_inverse"]

FloatArray = NDArray[np.float64]


def frozen(array: FloatArray) -> FloatArray:
    """A C-contiguous, read-only float64 copy."""
    frozen = np.array(array, dtype=np.float64, order="C")
    frozen.setflags(write=False)
    return frozen


def times_inverse(rows: FloatArray, S: FloatArray) -> FloatArray:
    """Rows S⁻¹, shape (n, p), of an upper triangular S with a positive diagonal, by substitution.

    With its axes reversed, S is upper triangular for LAPACK too. Then there is nothing to pivot, and no pivot can
    vanish.
    """
    turned = np.linalg.solve(S.T[::-1, ::-1], rows.T[::-1])
    return np.ascontiguousarray(turned[::-1].T)


@dataclass(frozen=True)
class Layout:
    """The position of each channel's block in a packed row.

    Parameters
    ----------
    sizes : tuple of int
        p_c, the number of coefficients of each channel.
    """

    sizes: tuple[int, ...]

    @property
    def n_channels(self) -> int:
        return len(self.sizes)

    @cached_property
    def kernel_sizes(self) -> NDArray[np.int32]:
        """p_c as the kernels take them: read-only, because kernels use them unchecked."""
        sizes = np.array(self.sizes, dtype=np.int32)
        sizes.setflags(write=False)
        return sizes

    @cached_property
    def mean_offsets(self) -> NDArray[np.int64]:
        """Start of each channel's p_c coefficients; shape (C + 1,), the last entry is P."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.int64)

    @cached_property
    def factor_offsets(self) -> NDArray[np.int64]:
        """Start of each channel's p_c × p_c matrix; shape (C + 1,), the last entry is Σ p_c²."""
        return np.concatenate([[0], np.cumsum(np.square(self.sizes))]).astype(np.int64)

    def vector(self, packed: FloatArray, channel: int) -> FloatArray:
        """The channel's part, shape (..., p_c), of packed vectors of shape (..., P): a view."""
        start = int(self.mean_offsets[channel])
        return packed[..., start : start + self.sizes[channel]]

    def rows(self, packed: FloatArray, channel: int) -> FloatArray:
        """The channel's part, shape (K, p_c, r), of packed loadings of shape (K, P, r): a view."""
        start = int(self.mean_offsets[channel])
        return packed[:, start : start + self.sizes[channel]]

    def matrix(self, packed: FloatArray, channel: int) -> FloatArray:
        """The channel's part, shape (..., p_c, p_c), of packed matrices of shape (..., Σ p_c²): a view."""
        p = self.sizes[channel]
        start = int(self.factor_offsets[channel])
        return packed[..., start : start + p * p].reshape(*packed.shape[:-1], p, p)


@lru_cache(maxsize=64)
def layout_of(sizes: tuple[int, ...]) -> Layout:
    """One shared layout for all parameters of the same sizes; a fit requests it thousands of times."""
    return Layout(sizes)


def _lower_factor(root: FloatArray) -> FloatArray:
    """Lower triangular G with a non-negative diagonal, G Gᵀ = root rootᵀ; (..., p, p)."""
    upper = np.linalg.qr(np.swapaxes(root, -1, -2), mode="r")
    signs = np.where(np.diagonal(upper, axis1=-2, axis2=-1) < 0, -1.0, 1.0)
    return np.swapaxes(upper * signs[..., :, None], -1, -2)


@dataclass(frozen=True, eq=False)
class Coordinates:
    """The map between a panel's own units and the internal coordinates of the fit (model.md §4).

    With φ the channel's basis at a time and x its reading,

        x = φᵀ b_c + s_c φ̃ᵀ T̃ + s_c ε̃,    φ̃ = S_c⁻ᵀ φ,    T = b_c + s_c S_c⁻¹ T̃.

    b_c centres (pooled least squares), s_c scales, and the upper triangular S_c makes the basis orthonormal over
    the pooled times, so that a sensor that reads 9062 ± 0.5 loses no digits.

    Parameters
    ----------
    centres : ndarray of shape (P,)
        b_c, in coefficients of the channel's basis.
    scales : ndarray of shape (C,)
        s_c > 0, in units of the channel.
    transforms : ndarray of shape (Σ p_c²,)
        S_c, packed row-major, upper triangular with a positive diagonal.
    sizes : sequence of int
        p_c.
    """

    centres: FloatArray
    scales: FloatArray
    transforms: FloatArray
    sizes: tuple[int, ...]

    def __repr__(self) -> str:
        from cem.errors.short import shape_repr

        return shape_repr(self, "centres", "scales", "transforms")

    def __post_init__(self) -> None:
        for name in ("centres", "scales", "transforms"):
            object.__setattr__(self, name, frozen(getattr(self, name)))
        object.__setattr__(self, "sizes", tuple(int(p) for p in self.sizes))

    @property
    def layout(self) -> Layout:
        return layout_of(self.sizes)

    def without_last_channel(self) -> Coordinates:
        """The coordinates of the other channels."""
        p = self.sizes[-1]
        return Coordinates(self.centres[:-p], self.scales[:-1], self.transforms[: -p * p], self.sizes[:-1])

    def transform(self, channel: int) -> FloatArray:
        """S_c, shape (p_c, p_c), upper triangular."""
        return self.layout.matrix(self.transforms, channel)

    def centre(self, channel: int) -> FloatArray:
        """b_c, shape (p_c,)."""
        return self.layout.vector(self.centres, channel)

    def coefficients(self, internal: FloatArray, channel: int) -> FloatArray:
        """Coefficients T, shape (..., p_c), in the panel's units from internal ones T̃ of the same shape."""
        moved = np.linalg.solve(self.transform(channel), np.moveaxis(internal, -1, 0).reshape(internal.shape[-1], -1))
        result: FloatArray = self.centre(channel) + self.scales[channel] * moved.T.reshape(internal.shape)
        return result

    def in_user_terms(self, means: FloatArray, factors: FloatArray) -> tuple[FloatArray, FloatArray]:
        """`coefficients` and `covariance_factor` of all channels, packed: (K, P) and (K, Σ p²) in and out.

        Channels of one size are solved together, each by the same steps as on its own.
        """
        layout, n_modes = self.layout, len(means)
        means_out, factors_out = np.empty_like(means), np.empty_like(factors)
        for p in set(self.sizes):
            channels = np.flatnonzero(np.asarray(self.sizes) == p)
            vectors = layout.mean_offsets[channels][:, None] + np.arange(p)
            matrices = layout.factor_offsets[channels][:, None] + np.arange(p * p)
            transforms = self.transforms[matrices].reshape(-1, p, p)
            scales = self.scales[channels]
            moved = np.linalg.solve(transforms, np.moveaxis(means[:, vectors], 0, -1))  # (C, p, K)
            means_out[:, vectors] = self.centres[vectors] + scales[:, None] * np.moveaxis(moved, -1, 0)
            own = np.swapaxes(factors[:, matrices], 0, 1).reshape(-1, n_modes, p, p)
            lower = _lower_factor(scales[:, None, None, None] * np.linalg.solve(transforms[:, None], own))
            factors_out[:, matrices] = np.swapaxes(lower.reshape(len(channels), n_modes, p * p), 0, 1)
        return means_out, factors_out

    def internal_coefficients(self, coefficients: FloatArray, channel: int) -> FloatArray:
        """The inverse of `coefficients`: T̃ = S_c (T − b_c) / s_c."""
        result: FloatArray = (coefficients - self.centre(channel)) @ self.transform(channel).T / self.scales[channel]
        return result

    def covariance_factor(self, internal: FloatArray, channel: int) -> FloatArray:
        """Lower triangular factor of s² S⁻¹ Λ̃ Λ̃ᵀ S⁻ᵀ, shape (..., p, p), from an internal one Λ̃ (any square root)."""
        return _lower_factor(self.scales[channel] * np.linalg.solve(self.transform(channel), internal))

    def internal_covariance_factor(self, factor: FloatArray, channel: int) -> FloatArray:
        """The inverse of `covariance_factor`: lower triangular factor of S Σ Sᵀ / s²."""
        return _lower_factor(self.transform(channel) @ factor / self.scales[channel])
