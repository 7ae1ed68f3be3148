"""First passage of a unit that wanders about its curve: paths drawn from its present level, model.md (37).

Between two times of a drawn path a Wiener process is a Brownian bridge, of which the probability to touch the threshold
and the law of when it does so are known. So a path is exact at any number of cells if the curve is straight in each.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.passage.simulated import N_SHIFTS, SimulatedPassage, only_rise
from cem.passage.trajectories import first_crossings, lattice_normals

if TYPE_CHECKING:
    from cem.basis.family import Basis
    from cem.process.channel_process import ChannelProcess

__all__ = ["Wander", "WanderingPassage"]

_GROWTH = 0.03
"""By how much each cell beyond the length of the training times ends later than the one before, as a share."""

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Wander:
    """Where units are beside their curves at t_now, and how they go on.

    Parameters
    ----------
    process : ChannelProcess
    noise : ndarray of shape (K,)
        σ², in squared units of the channel.
    states : ndarray of shape (L, 2, p + 1)
        Rows [m_φ | m_x] of u and v: given T, their means are m_x − m_φᵀ T.
    variances : ndarray of shape (L, 3)
        p_uu, p_uv, p_vv, in units of σ².
    """

    process: ChannelProcess
    noise: FloatArray
    states: FloatArray
    variances: FloatArray

    def mirrored(self, sign: float) -> Wander:
        """The same of readings times 1 or −1."""
        states = self.states.copy()
        states[..., -1] *= sign
        return replace(self, states=states)


class WanderingPassage(SimulatedPassage):
    """Crossings of curve and wander together, counted from the present level.

    A unit counts as having crossed if its level is beyond the threshold at t_now. Whether it was beyond it before, and
    came back, is not asked.
    """

    def __init__(
        self,
        basis: Basis,
        wander: Wander,
        rho: FloatArray,
        mean: FloatArray,
        covariance: FloatArray,
        now: FloatArray,
        level: FloatArray,
        names: Sequence[Hashable],
        horizon: float,
        n_draws: int,
        n_cells: int,
        random_state: int,
        monotone: bool = False,
    ) -> None:
        """Draw the paths.

        Parameters
        ----------
        basis : Basis
        wander : Wander
        rho, mean, covariance
            The modes' probabilities (L, K), and the law of the coefficients (L, K, p), (L, K, p, p).
        now : ndarray of shape (L,)
        level : ndarray of shape (L, K)
            Crossed at or above.
        names, horizon, n_draws, n_cells, random_state
            As for `SimulatedPassage`.
        monotone : bool
            Curves only rise, from t_now on; the wander may fall.
        """
        n_units, n_modes, p = mean.shape
        process, noise, states, variances = wander.process, wander.noise, wander.states, wander.variances
        self.horizon = float(horizon)
        per_shift = -(-n_draws // N_SHIFTS)
        draws = lattice_normals(N_SHIFTS, per_shift, p + 2, random_state).reshape(-1, p + 2)
        eigenvalues, vectors = np.linalg.eigh(0.5 * (covariance + np.swapaxes(covariance, -1, -2)))
        roots = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))[..., None, :]
        lives = np.empty((n_units, n_modes, N_SHIFTS, per_shift))
        rises = np.ones(lives.shape, dtype=np.bool_) if monotone else None
        ages = _cells(horizon, float(np.ptp(basis.domain)), n_cells)
        steps = process.steps(np.diff(ages))
        for unit in range(n_units):
            values, slopes = basis(now[unit] + ages), basis.derivative(now[unit] + ages)
            # The same numbers for every unit and mode: a unit's law does not depend on who else is asked about.
            rng = np.random.default_rng((random_state, 1))
            for mode in range(n_modes):
                if rho[unit, mode] <= 0:
                    lives[unit, mode] = np.inf
                    continue
                coefficients = mean[unit, mode] + draws[:, :p] @ roots[unit, mode].T
                sigma = float(np.sqrt(noise[mode]))
                u, v = _present(states[unit], variances[unit], coefficients, sigma, draws[:, p:])
                path, rates = _path(steps, u, v, sigma, rng)
                gap = level[unit, mode] - coefficients @ values.T - path
                if process.kind == "integrated":  # smooth: a cubic in every cell
                    crossing = first_crossings(ages, -gap, coefficients @ slopes.T + rates)
                else:
                    crossing = _touched(ages, gap, process.ratio * noise[mode], rng)
                lives[unit, mode] = np.where(gap[:, 0] <= 0, -1.0, crossing).reshape(N_SHIFTS, per_shift)
                if rises is not None:
                    found = only_rise(basis, coefficients, now[unit], now[unit] + horizon)
                    rises[unit, mode] = found.reshape(N_SHIFTS, per_shift)
        self._count(lives, names, rho, rises)


def _cells(horizon: float, known: float, n_cells: int) -> FloatArray:
    """Ends of the cells, from 0 to the horizon: even over the length of the training times, and longer beyond.

    Over a long horizon even cells are so long that a curve is nowhere near straight in them.
    """
    if not 0 < known < horizon:
        return np.linspace(0.0, horizon, n_cells + 1)
    n_more = int(np.ceil(np.log(horizon / known) / np.log1p(_GROWTH)))
    return np.concatenate([np.linspace(0.0, known, n_cells + 1), np.geomspace(known, horizon, n_more + 1)[1:]])


def _present(
    states: FloatArray, variances: FloatArray, coefficients: FloatArray, sigma: float, draws: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """u and v at t_now for every draw of the coefficients, (S,) each: normal given T and the readings."""
    means = states[:, -1] - coefficients @ states[:, :-1].T
    uu, uv, vv = variances
    root = np.sqrt(uu)
    along = uv / root if root > 0 else 0.0
    left = np.sqrt(max(vv - along * along, 0.0))
    return (
        means[:, 0] + sigma * root * draws[:, 0],
        means[:, 1] + sigma * (along * draws[:, 0] + left * draws[:, 1]),
    )


def _path(
    steps: FloatArray, u: FloatArray, v: FloatArray, sigma: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """u and v along the cells, (S, m) each."""
    path, rates = np.empty((len(u), len(steps) + 1)), np.empty((len(u), len(steps) + 1))
    path[:, 0], rates[:, 0] = u, v
    for i, (a, d, uu, uv, vv) in enumerate(steps):
        z = rng.standard_normal((len(u), 2 if vv > 0 else 1))
        root = np.sqrt(uu)
        path[:, i + 1] = a * path[:, i] + d * rates[:, i] + sigma * root * z[:, 0]
        rates[:, i + 1] = rates[:, i]
        if vv > 0:
            along = uv / root
            rates[:, i + 1] += sigma * (along * z[:, 0] + np.sqrt(max(vv - along * along, 0.0)) * z[:, 1])
    return path, rates


def _touched(ages: FloatArray, gap: FloatArray, variance: float, rng: np.random.Generator) -> FloatArray:
    """When each path first touches the threshold, inf if it does not: bridges between its points.

    A bridge over Δ whose ends lie a and b below the threshold touches it with probability exp(−2ab / τ²Δ). If it does,
    or if b ≤ 0, then s = t / (Δ − t) of its first touch t is inverse Gaussian with mean a / |b| and shape a² / τ²Δ.

    Parameters
    ----------
    ages : ndarray of shape (m,)
    gap : ndarray of shape (S, m)
        Threshold less path.
    variance : float
        τ², per unit of time, in squared units of the channel.
    """
    widths = np.diff(ages)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        chance = np.exp(-2.0 * np.maximum(gap[:, :-1], 0.0) * np.maximum(gap[:, 1:], 0.0) / (variance * widths))
    hit = rng.random(chance.shape) < np.where(gap[:, 1:] <= 0, 1.0, np.where(variance > 0, chance, 0.0))
    some = hit.any(axis=1)
    cell = hit.argmax(axis=1)
    rows = np.arange(len(gap))
    a, b, width = gap[rows, cell], gap[rows, cell + 1], widths[cell]
    tiny = np.finfo(np.float64).tiny
    if variance > 0:
        mean = np.maximum(a, tiny) / np.maximum(np.abs(b), 1e-12 * np.abs(a) + tiny)
        s = rng.wald(mean, np.maximum(np.square(a) / (variance * width), tiny))
        share = s / (1.0 + s)
    else:
        above, below = np.maximum(a, 0.0), np.maximum(-b, tiny)
        share = above / (above + below)
    return np.where(some, ages[cell] + width * share, np.inf)
