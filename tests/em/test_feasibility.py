"""Starts satisfy floors and structure, and parameters that satisfy them do not change."""

from __future__ import annotations

import numpy as np
from constraint_cases import SIZES, constraints_of, is_feasible
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_parameters

from cem.em.constraints import COVARIANCE_STRUCTURES
from cem.em.feasibility import feasible


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
