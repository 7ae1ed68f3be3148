"""Constraints on parameters, and whether parameters satisfy them."""

from __future__ import annotations

import numpy as np

from cem.em.constraints import Constraints
from cem.statistics.coordinates import Layout

SIZES = (3, 1, 4)


def constraints_of(covariance="full", noise=1e-4, floor=1e-5, seed=0, sizes=SIZES):
    rng = np.random.default_rng(seed)
    transforms = [np.triu(rng.normal(size=(p, p)), 1) + np.diag(rng.uniform(0.5, 2, p)) for p in sizes]
    C = len(sizes)
    return Constraints(
        np.full(C, noise), np.full(C, floor), covariance, np.concatenate([S.ravel() for S in transforms])
    )


def is_feasible(parameters, constraints):
    layout = Layout(parameters.sizes)
    assert (parameters.noise_variances >= constraints.noise_floors).all()
    for c, p in enumerate(parameters.sizes):
        factors = layout.matrix(parameters.factors, c)
        covariances = factors @ np.swapaxes(factors, 1, 2)
        assert not np.triu(factors, 1).any()
        size = np.abs(covariances).max()
        if constraints.covariance == "diagonal":
            inverse = np.linalg.inv(layout.matrix(constraints.transforms, c))
            user = inverse @ covariances @ inverse.T
            off = user - np.einsum("kii->ki", user)[:, :, None] * np.eye(p)
            assert np.abs(off).max() <= 1e-9 * np.abs(user).max()
            lowest = constraints.covariance_floors[c] * np.square(inverse).sum(axis=1)
            assert (np.einsum("kii->ki", user) >= lowest * (1 - 1e-9)).all()
        else:
            assert np.linalg.eigvalsh(covariances).min() >= constraints.covariance_floors[c] - 1e-13 * size
        if constraints.covariance == "pooled":
            assert (factors == factors[0]).all()
