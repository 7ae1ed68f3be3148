"""The simulation of arXiv 2506.17036 as a generator: two failure modes, two sensors, lives that depend on the curves.

    Y_j(t) = Z_kj(t)' B_j + noise,  B_j ~ N(mu_kj, S_kj),  log hazard = b_k + rho_k t + sum_j weight_kj Z_kj(t)' B_j

with the failure time on [1, 200]. A unit is read at 1, 2, ... and at its failure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import cem

FloatArray = NDArray[np.float64]

CHANNELS = ("sensor 1", "sensor 2")
LAST_LIFE, FIRST_LIFE = 200.0, 1.0
STEP = 0.05  # of the grid on which hazards are added up; the fastest wave has a period of 6.3


def waves_of_mode_1(t: FloatArray) -> FloatArray:
    """Z_1 of mode 1."""
    return np.stack([np.ones_like(t), 0.3 * t**0.6 * np.sin(t), t**2], axis=1)


def waves_of_mode_2(t: FloatArray) -> FloatArray:
    """Z_1 of mode 2."""
    return np.stack([np.ones_like(t), t**0.8 * np.cos(t), t**2 + t], axis=1)


def wear(t: FloatArray) -> FloatArray:
    """Z_2 of either mode."""
    return np.stack([np.ones_like(t), t**1.5, t**2], axis=1)


def waves_of_both(t: FloatArray) -> FloatArray:
    """What the curves of sensor 1 are made of in either mode: the union of Z_1 of both."""
    return np.stack([np.ones_like(t), 0.3 * t**0.6 * np.sin(t), t**0.8 * np.cos(t), t, t**2], axis=1)


@dataclass(frozen=True, eq=False)
class Mode:
    """What a failure mode is drawn from."""

    designs: tuple  # Z_1, Z_2
    means: FloatArray  # (2, 3)  mu, sensor by sensor
    intercept_variances: tuple[float, float]
    noise: FloatArray  # (2,)  standard deviations
    hazard: tuple[float, float]  # b, rho
    weights: FloatArray  # (2,)  Cox weights of the noise-free signals

    def covariance(self, sensor: int) -> FloatArray:
        """S of a sensor, (3, 3)."""
        return np.array(
            [
                [self.intercept_variances[sensor], 3e-5, 4e-5],
                [3e-5, 1.2e-5, 1e-7],
                [4e-5, 1e-7, 1.8e-6],
            ]
        ) + 1.5e-6 * np.eye(3)

    def cumulative_hazard(self, coefficients: FloatArray, grid: FloatArray) -> FloatArray:
        """H at the times of an even grid that begins at 0, (L, G), from coefficients (L, 2, 3)."""
        log_hazard = self.hazard[0] + self.hazard[1] * grid
        for j in range(2):
            log_hazard = log_hazard + self.weights[j] * (coefficients[:, j] @ self.designs[j](grid).T)
        hazard = np.exp(log_hazard)
        steps = 0.5 * (hazard[:, 1:] + hazard[:, :-1]) * np.diff(grid)
        return np.concatenate([np.zeros((len(coefficients), 1)), np.cumsum(steps, axis=1)], axis=1)


MODES = (
    Mode(
        (waves_of_mode_1, wear),
        np.array([[2.2, 0.1, 0.01], [1.7, 0.115, 0.013]]),
        (0.48, 0.06),
        np.array([0.7, 0.8]),
        (-7.0, 0.015),
        np.array([0.02, 0.015]),
    ),
    Mode(
        (waves_of_mode_2, wear),
        np.array([[2.3, 0.12, 0.015], [1.6, 0.1, 0.01]]),
        (0.42, 0.06),
        np.array([0.8, 0.7]),
        (-10.0, 0.0095),
        np.array([0.018, 0.01]),
    ),
)


@dataclass(frozen=True, eq=False)
class Fleet:
    """Units drawn, and what is known of them that no sensor shows."""

    panel: cem.Panel  # with failure times, without modes
    modes: NDArray[np.int64]  # (L,)  0 or 1
    coefficients: FloatArray  # (L, 2, 3)

    def __getitem__(self, which: NDArray) -> Fleet:
        return Fleet(self.panel[which], self.modes[which], self.coefficients[which])

    @property
    def lives(self) -> FloatArray:
        return self.panel.failure_times


def lives_drawn(mode: Mode, coefficients: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Failure times on [1, 200] of the density hazard x survival, by inversion; the law that rejection gives."""
    grid = np.arange(0.0, LAST_LIFE + STEP / 2, STEP)
    H = mode.cumulative_hazard(coefficients, grid)
    first = H[:, round(FIRST_LIFE / STEP)]
    reached = np.exp(-first) - rng.random(len(H)) * (np.exp(-first) - np.exp(-H[:, -1]))  # survival at the failure
    return np.array([np.interp(-np.log(s), h, grid) for s, h in zip(reached, H, strict=True)])


def mean_residual_lives(fleet: Fleet, age: float) -> FloatArray:
    """E[life - age | life > age] at each unit's own coefficients, (L,)."""
    grid = np.arange(0.0, LAST_LIFE + STEP / 2, STEP)
    result = np.empty(len(fleet.modes))
    for k, mode in enumerate(MODES):
        own = fleet.modes == k
        survival = np.exp(-mode.cumulative_hazard(fleet.coefficients[own], grid))
        left = survival[:, round(age / STEP) :] - survival[:, -1:]  # lives end at 200: the law is cut off there
        result[own] = STEP * (left.sum(axis=1) - 0.5 * left[:, 0]) / left[:, 0]
    return result


def drawn(n_by_mode: tuple[int, int], random_state: int) -> Fleet:
    """A fleet with so many units of either mode, those of mode 1 first."""
    rng = np.random.default_rng(random_state)
    modes = np.repeat([0, 1], n_by_mode)
    coefficients = np.empty((len(modes), 2, 3))
    lives = np.empty(len(modes))
    for k, mode in enumerate(MODES):
        own = modes == k
        for j in range(2):
            coefficients[own, j] = rng.multivariate_normal(mode.means[j], mode.covariance(j), size=int(own.sum()))
        lives[own] = lives_drawn(mode, coefficients[own], rng)
    times, values = [], []
    for unit, life in enumerate(lives):
        mode = MODES[modes[unit]]
        t = np.append(np.arange(1.0, np.ceil(life)), life)
        curves = np.stack([mode.designs[j](t) @ coefficients[unit, j] for j in range(2)], axis=1)
        times.append(t)
        values.append(curves + mode.noise * rng.standard_normal(curves.shape))
    panel = cem.Panel.from_arrays(times, values, channels=list(CHANNELS), failure_times=lives)
    return Fleet(panel, modes, coefficients)


def log_densities(fleet: Fleet, age: float) -> FloatArray:
    """ln P(readings up to an age | mode) of every unit with all parameters known, (L, 2)."""
    result = np.zeros((len(fleet.modes), 2))
    for unit in range(len(fleet.modes)):
        own = slice(fleet.panel.offsets[unit], fleet.panel.offsets[unit + 1])
        seen = fleet.panel.times[own] <= age
        t, x = fleet.panel.times[own][seen], fleet.panel.values[own][seen]
        for k, mode in enumerate(MODES):
            for j in range(2):
                Z = mode.designs[j](t)
                root = np.linalg.cholesky(Z @ mode.covariance(j) @ Z.T + mode.noise[j] ** 2 * np.eye(len(t)))
                z = np.linalg.solve(root, x[:, j] - Z @ mode.means[j])
                result[unit, k] -= 0.5 * z @ z + np.log(np.diag(root)).sum() + 0.5 * len(t) * np.log(2 * np.pi)
    return result
