"""Simulated fleets with known effects of covariates: they come back within sampling error.

"Within sampling error" is four standard errors of generalised least squares that knew every unit's mode and every
variance.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import cem
from cem.covariates import Linear, Power
from cem.errors import CemWarning

WEIGHTS = np.array([0.6, 0.37, 0.03])  # the last mode has 3 % of the units, and effects of its own
LINES = np.array([[[0.0, 1.0], [2.0, -1.0]], [[3.0, -2.0], [0.0, 1.0]], [[-3.0, 3.0], [4.0, 3.0]]])  # (K, C, 2)
ROOTS = np.array([[0.5, 0.0], [0.2, 0.4]])
NOISE = np.array([[0.3, 0.4], [0.2, 0.5], [0.3, 0.3]])  # (K, C)
BY_MODE = np.array([0.8, -0.4, 2.0])  # of the load, on channel 0
COMMON = np.array([0.5, -0.25])  # of the load and its square, on channel 1
BOUND = 4.0


def simulate(seed: int, n_units: int, *, random: bool) -> tuple[cem.Panel, np.ndarray]:
    """Two channels of lines in time, a load that varies within units and between them, a fifth of the cells missing."""
    rng = np.random.default_rng(seed)
    counts = np.round(WEIGHTS * n_units).astype(int)
    counts[0] += n_units - counts.sum()
    modes = rng.permutation(np.repeat(np.arange(3), counts))
    times, values, loads = [], [], []
    for k in modes:
        t = np.sort(rng.uniform(0.0, 1.0, int(rng.integers(3, 12))))
        w = 50.0 + 10.0 * (0.5 * rng.normal() + rng.normal(size=len(t)))
        lines = LINES[k] + (ROOTS @ rng.normal(size=(2, 2))).T * random
        x = np.vander(t, 2, increasing=True) @ lines.T + NOISE[k] * rng.normal(size=(len(t), 2))
        z = (w - 50.0) / 10.0
        x[:, 0] += BY_MODE[k] * z
        x[:, 1] += COMMON[0] * z + COMMON[1] * z**2
        missing = rng.random(x.shape) < 0.2
        missing[missing.all(axis=1), 0] = False
        x[missing] = np.nan
        times.append(t)
        values.append(x)
        loads.append(w)
    return cem.Panel.from_arrays(times, values, covariates={"load": loads}), modes


def fitted(panel: cem.Panel, **options: object) -> cem.FailureModeEM:
    covariates = {"x1": [Linear("load", by_mode=True)], "x2": [Power("load", 2)]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return cem.FailureModeEM(
            3, basis=cem.Polynomial(1), covariates=covariates, random_state=0, n_init=20, **options
        ).fit(panel)


def curves(em: cem.FailureModeEM, z: np.ndarray) -> np.ndarray:
    """Mean readings at t = 0 and 1 and at loads 50 + 10 z, by mode, (K, 2, n, 2); modes in the order of the truth."""
    model, w = em.model_, 50.0 + 10.0 * z[:, None]
    theta, conditions, features = model.user_parameters(), model.conditions, model.conditions.features_at(w)
    found = np.empty((3, 2, len(z), 2))
    for c in range(2):
        at_ends = model.bases[c](np.array([0.0, 1.0]))
        for k in range(3):
            of_load = np.zeros(len(z))
            for (f, _), beta in zip(conditions.by_mode[c], theta.mean(k, c)[at_ends.shape[1] :], strict=True):
                of_load += beta * features[:, f]
            for (f, _), beta in zip(conditions.common[c], conditions.coefficients[c], strict=True):
                of_load += beta * features[:, f]
            found[k, :, :, c] = (at_ends @ theta.mean(k, c)[: at_ends.shape[1]])[:, None] + of_load
    levels = found[:, 0, np.flatnonzero(z == 0.0)[0]]  # at t = 0 and the usual load
    return found[[int(np.abs(levels - line[:, 0]).sum(axis=1).argmin()) for line in LINES]]


def normal_matrix(panel: cem.Panel, modes: np.ndarray, k: int, c: int, random: bool) -> np.ndarray:
    """Σ Xᵀ V⁻¹ X of a channel's readings in a mode; columns 1, t, z, z²."""
    total = np.zeros((4, 4))
    for l in np.flatnonzero(modes == k):
        rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        t = panel.times[rows]
        z = (panel.covariate("load")[rows] - 50.0) / 10.0
        seen = np.isfinite(panel.values[rows, c])
        X = np.column_stack([np.ones_like(t), t, z, z**2])[seen]
        V = NOISE[k, c] ** 2 * np.eye(len(X)) + random * X[:, :2] @ ROOTS @ ROOTS.T @ X[:, :2].T
        total += X.T @ np.linalg.solve(V, X)
    return total


@pytest.mark.parametrize(("random_columns", "n_units"), [("all", 800), ("none", 400)])
@pytest.mark.parametrize("seed", [0, 1])
def test_effects_come_back_within_sampling_error(seed, random_columns, n_units):
    """Lines that vary from unit to unit, or group-based trajectories; effects by mode and common ones."""
    random = random_columns == "all"
    panel, modes = simulate(seed, n_units, random=random)
    em = fitted(panel, random_columns=random_columns)
    z = np.array([-1.0, 0.0, 1.0])
    low, usual, high = np.moveaxis(curves(em, z)[:, 0], 1, 0)  # (K, 2) each
    slopes, bends = (high - low) / 2.0, (high + low) / 2.0 - usual
    normals = [[normal_matrix(panel, modes, k, c, random) for c in range(2)] for k in range(3)]
    for k in range(3):
        errors = np.sqrt(np.diagonal(np.linalg.inv(normals[k][0][:3, :3])))
        lines = curves(em, z)[k, :, 1, 0]
        assert abs(slopes[k, 0] - BY_MODE[k]) < BOUND * errors[2]
        assert abs(lines[0] - LINES[k, 0, 0]) < BOUND * errors[0]
        assert abs(lines[1] - lines[0] - LINES[k, 0, 1]) < BOUND * errors[1]
        assert errors[2] < 0.5 * abs(BY_MODE[k] - BY_MODE[k - 1])  # the test can tell a mode's effect from another's
    together = np.zeros((8, 8))  # a line for each mode, effects for all
    for k in range(3):
        own = [2 * k, 2 * k + 1, 6, 7]
        together[np.ix_(own, own)] += normals[k][1]
    of_load, of_square = np.sqrt(np.diagonal(np.linalg.inv(together)))[6:]
    np.testing.assert_allclose(slopes[:, 1], slopes[0, 1], rtol=1e-9)
    assert abs(slopes[0, 1] - COMMON[0]) < BOUND * of_load
    assert abs(bends[0, 1] - COMMON[1]) < BOUND * of_square
    assert (em.model_.covariances_ == 0.0).all() == (not random)
