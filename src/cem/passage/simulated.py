"""First passage of any curve: count the crossings of seeded draws, with a standard error."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cem.numerics.floating import underflow_is_zero
from cem.numerics.normal import normal_density
from cem.passage.law import FirstPassage, given_monotone
from cem.passage.trajectories import first_crossings, lattice_normals, time_nodes

if TYPE_CHECKING:
    from cem.basis.family import Basis

__all__ = ["N_SHIFTS", "SimulatedPassage"]

FloatArray = NDArray[np.float64]

N_SHIFTS = 8
"""Independent shifts of the lattice of draws; their scatter is the Monte Carlo error."""


LEAST_DRAWS = 50
"""Draws of a unit that must rise for monotone=True: with fewer the law is too coarse."""

_TIMES_OF_SLOPES = 65


def only_rise(basis: Basis, coefficients: FloatArray, start: float, end: float) -> NDArray[np.bool_]:
    """Whether each drawn curve rises or stays at every one of a grid of times, (S,).

    Parameters
    ----------
    basis : Basis
    coefficients : ndarray of shape (S, p)
    start, end : float
        First and last time.
    """
    slopes = coefficients @ basis.derivative(np.linspace(start, end, _TIMES_OF_SLOPES)).T
    return np.asarray((slopes >= 0).all(axis=1))


class SimulatedPassage(FirstPassage):
    """Crossings of curves drawn from the posterior of each mode, on lattices with independent random shifts."""

    exact = False
    _OF_UNITS: ClassVar[tuple[str, ...]] = (*FirstPassage._OF_UNITS, "_lives", "_rho", "_sorted", "_cumulated")

    def __init__(
        self,
        basis: Basis,
        rho: FloatArray,
        mean: FloatArray,
        covariance: FloatArray,
        start: FloatArray,
        now: FloatArray,
        level: FloatArray,
        names: Sequence[Hashable],
        horizon: float,
        n_draws: int,
        n_cells: int,
        random_state: int,
        monotone: bool = False,
    ) -> None:
        n_units, n_modes, p = mean.shape
        self.horizon = float(horizon)
        per_shift = -(-n_draws // N_SHIFTS)
        draws = lattice_normals(N_SHIFTS, per_shift, p, random_state)  # (R, S, p), shared by units and modes
        # Square roots of covariances that may be singular.
        eigenvalues, vectors = np.linalg.eigh(0.5 * (covariance + np.swapaxes(covariance, -1, -2)))
        roots = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[..., None, :]
        flat = draws.reshape(-1, p)
        # Remaining life of each draw: below 0 if it had crossed already, inf if it does not within the horizon.
        drawn = np.empty((n_units, n_modes, N_SHIFTS, per_shift))
        rises = np.ones(drawn.shape, dtype=np.bool_) if monotone else None
        for unit in range(n_units):
            nodes = time_nodes(start[unit], now[unit], now[unit] + horizon, n_cells)
            values, slopes = basis(nodes), basis.derivative(nodes)
            for mode in range(n_modes):
                if rho[unit, mode] <= 0:
                    drawn[unit, mode] = np.inf
                    continue
                coefficients = mean[unit, mode] + flat @ roots[unit, mode].T
                crossing = first_crossings(nodes, coefficients @ values.T - level[unit, mode], coefficients @ slopes.T)
                left = np.where(crossing <= now[unit], -1.0, crossing - now[unit])
                drawn[unit, mode] = left.reshape(N_SHIFTS, per_shift)
                if rises is not None:
                    rises[unit, mode] = only_rise(basis, coefficients, start[unit], now[unit] + horizon).reshape(
                        N_SHIFTS, per_shift
                    )
        self._count(drawn, names, rho, rises)

    def _count(
        self,
        drawn: FloatArray,
        names: Sequence[Hashable],
        rho: FloatArray,
        rises: NDArray[np.bool_] | None = None,
    ) -> None:
        """Finish from the remaining life of each draw, (L, K, R, S), and which draws count; all by default."""
        if rises is not None:
            least = LEAST_DRAWS / (drawn.shape[2] * drawn.shape[3])
            remedy = "raise n_draws, take a shorter horizon, or a basis of fewer coefficients"
            share = rises.mean(axis=(2, 3))
            rho = given_monotone(names, rho, share, least, remedy)
            drawn = np.where(rises, drawn, -1.0)  # as those that have crossed: neither is part of the law
        self._lives, self._rho = drawn, rho
        n_units, n_drawn = len(drawn), drawn.shape[2] * drawn.shape[3]
        alive = (self._lives >= 0).mean(axis=(2, 3))
        self._conclude(names, rho, alive, np.isinf(self._lives).mean(axis=(2, 3)))
        if rises is not None:
            self.mode_probabilities = np.where(self._ended[:, None], rho * share, self.mode_probabilities)
        # The pooled draws in ascending order, each with its mass; all probabilities come from these.
        masses = np.where(self._lives >= 0, self._weights[:, :, None, None], 0.0) / n_drawn
        lives, masses = self._lives.reshape(n_units, -1), masses.reshape(n_units, -1)
        order = np.argsort(lives, axis=1, kind="stable")
        self._sorted = np.take_along_axis(lives, order, axis=1)
        self._cumulated = np.cumsum(np.take_along_axis(masses, order, axis=1), axis=1)

    def _survival(self, lives: FloatArray) -> FloatArray:
        result = np.empty(lives.shape)
        for unit in range(self.n_units):
            position = np.searchsorted(self._sorted[unit], lives[unit], side="right")
            done = np.concatenate([[0.0], self._cumulated[unit]])[position]
            result[unit] = 1.0 - done
        return result

    def _finite(self, unit: int) -> tuple[FloatArray, FloatArray]:
        """Remaining lives of a unit's draws that cross within the horizon, and their masses."""
        masses = np.diff(self._cumulated[unit], prepend=0.0)
        used = (masses > 0) & np.isfinite(self._sorted[unit])
        return self._sorted[unit][used], masses[used]

    def _density(self, lives: FloatArray) -> FloatArray:
        result = np.zeros(lives.shape)
        for unit in range(self.n_units):
            points, masses = self._finite(unit)
            total = masses.sum()
            if total <= 0:
                continue
            # Smoothed in u = ln(1 + r / median): remaining lives have a long tail, too long for one bandwidth in r.
            shares = (np.cumsum(masses) - 0.5 * masses) / total
            scale = max(float(np.interp(0.5, shares, points)), 1e-6 * self.horizon)
            u, end = np.log1p(points / scale), np.log1p(self.horizon / scale)
            spread = np.sqrt(masses @ np.square(u - masses @ u / total) / total)
            quarters = np.interp([0.25, 0.75], shares, u)
            effective = total**2 / np.sum(np.square(masses))
            narrow = min(spread, (quarters[1] - quarters[0]) / 1.34) or spread or 1e-3 * end
            width = 0.9 * narrow * effective**-0.2  # Silverman's rule
            # Mass of the kernel before 0 or beyond the horizon is reflected.
            asked = np.log1p(lives[unit] / scale)[:, None]
            for mirrored in (u, -u, 2.0 * end - u):
                result[unit] += normal_density((asked - mirrored) / width) @ masses / width
            result[unit] /= scale + lives[unit]
        return result

    def _quantile(self, levels: FloatArray) -> FloatArray:
        result = np.empty(levels.shape)
        for unit in range(self.n_units):
            position = np.searchsorted(self._cumulated[unit], levels[unit] * (1.0 - 1e-12), side="left")
            lives = np.append(self._sorted[unit], np.inf)
            result[unit] = 0.0 if self._ended[unit] else lives[position]
        return result

    def _mean(self, cap: float | None) -> FloatArray:
        result = np.zeros(self.n_units)
        for unit in range(self.n_units):
            if self._ended[unit]:
                continue
            points, masses = self._finite(unit)
            never = self.probability_never[unit]
            if cap is not None:
                result[unit] = masses @ np.minimum(points, cap) + cap * never
            elif never > 0:
                result[unit] = masses @ points / masses.sum() if len(points) else np.inf
            else:
                result[unit] = masses @ points
        return result

    @underflow_is_zero
    def standard_error(self, times: ArrayLike) -> FloatArray:
        """As in `FirstPassage`: from the scatter of the estimates of independently shifted lattices."""
        lives = self._by_unit(times)
        result = np.zeros(lives.shape)
        for unit in range(self.n_units):
            weights = self._rho[unit][:, None]
            alive = self._lives[unit] >= 0  # (K, R, S)
            total = (weights * alive.mean(axis=2)).sum(axis=0)  # (R,)
            if self._ended[unit] or not np.all(total > 0):
                continue
            for column, r in enumerate(lives[unit]):
                done = (weights * (alive & (self._lives[unit] <= min(r, self.horizon))).mean(axis=2)).sum(axis=0)
                # Delta method for the ratio of the two means over shifts.
                ratio = done.mean() / total.mean()
                result[unit, column] = np.std(done - ratio * total, ddof=1) / total.mean() / np.sqrt(N_SHIFTS)
        return result
