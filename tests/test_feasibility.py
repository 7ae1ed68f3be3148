"""Starts satisfy floors and structure, and what satisfies them is left alone."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_parameters

from cem.feasibility import feasible
from cem.maximisation import COVARIANCE_STRUCTURES, Constraints
from cem.parameters import Layout

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


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    covariance=st.sampled_from(COVARIANCE_STRUCTURES),
    seed=st.integers(0, 2**32 - 1),
    log_noise=st.floats(-6, 0),
    log_floor=st.floats(-8, 0.5),
)
def test_feasible_parameters_satisfy_floors_and_structure(covariance, seed, log_noise, log_floor):
    """A start below a floor would make ℓ fall in its first pass, and a warm start may be any."""
    constraints = constraints_of(covariance, 10**log_noise, 10**log_floor, seed)
    moved = feasible(random_parameters(np.random.default_rng(seed), 3, SIZES), constraints)
    is_feasible(moved, constraints)
    again = feasible(moved, constraints)
    np.testing.assert_allclose(again.factors, moved.factors, rtol=1e-6, atol=1e-8)


def test_feasible_leaves_alone_what_satisfies_the_constraints():
    parameters = random_parameters(np.random.default_rng(0), 2, SIZES, log_condition=(0.0, 1.0), log_noise=(-1, 0))
    moved = feasible(parameters, constraints_of())
    assert np.array_equal(moved.factors, parameters.factors)
    assert np.array_equal(moved.noise_variances, parameters.noise_variances)
