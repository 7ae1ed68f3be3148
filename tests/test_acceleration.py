"""Extrapolation: every proposal satisfies the constraints, and the map to a vector and back loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import random_parameters

from cem.acceleration import Anderson, Coordinatisation, _clearly_above, feasible
from cem.maximisation import COVARIANCE_STRUCTURES, Constraints
from cem.parameters import Layout, Parameters

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


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), log_floor=st.floats(-8, 0.5), log_condition=st.floats(0, 6))
def test_the_bound_never_takes_for_feasible_what_is_not(seed, log_floor, log_condition):
    """It spares the factorisations; a covariance below its floor that slipped through would make ℓ fall."""
    rng = np.random.default_rng(seed)
    parameters = random_parameters(rng, 3, SIZES, log_condition=(0.0, log_condition))
    constraints = constraints_of(floor=10**log_floor, seed=seed)
    smallest = min(
        np.linalg.svd(parameters.factor(k, c), compute_uv=False).min() ** 2 for k in range(3) for c in range(len(SIZES))
    )
    if _clearly_above(parameters, constraints):
        assert smallest >= 10**log_floor * (1 - 1e-9)
    if smallest < 10**log_floor * (1 - 1e-9):
        assert not _clearly_above(parameters, constraints)


def test_the_bound_is_good_enough_to_spare_the_usual_factorisation():
    parameters = random_parameters(np.random.default_rng(0), 3, SIZES, log_condition=(0.0, 1.0))
    assert _clearly_above(parameters, constraints_of(floor=1e-6))


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_vector_and_back_is_the_same_mixture(covariance):
    """An extrapolation of length zero must not move anything."""
    constraints = constraints_of(covariance)
    parameters = feasible(random_parameters(np.random.default_rng(1), 3, SIZES, log_condition=(0, 2)), constraints)
    coordinates = Coordinatisation(constraints, SIZES)
    back = coordinates.parameters(coordinates.vector(parameters), parameters)
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_allclose(getattr(back, name), getattr(parameters, name), rtol=1e-9, atol=1e-12)


def test_a_noise_variance_on_its_floor_stays_there():
    """Its excess is zero: the logarithm of rounding would otherwise steer the extrapolation."""
    constraints = constraints_of()
    parameters = random_parameters(np.random.default_rng(2), 2, SIZES, log_condition=(0, 1))
    noise = np.array(parameters.noise_variances)
    noise[1, 2] = constraints.noise_floors[2]
    on_floor = Parameters(parameters.weights, parameters.means, parameters.factors, noise, SIZES)
    coordinates = Coordinatisation(constraints, SIZES)
    vector = coordinates.vector(on_floor)
    assert np.isfinite(vector).all()
    assert coordinates.parameters(vector + 5.0, on_floor).noise_variances[1, 2] == constraints.noise_floors[2]


def scalar(value):
    """One mode, one channel, one coefficient: a sequence of numbers as parameters."""
    return Parameters(np.ones(1), np.array([[value]]), np.ones((1, 1)), np.ones((1, 1)), (1,))


def test_a_linear_sequence_is_extrapolated_towards_its_limit():
    """x ← 0.9 x + 0.1 needs 220 passes to ten digits; two steps of it say where it leads."""
    constraints = Constraints(np.full(1, 1e-9), np.full(1, 1e-9), "full", np.ones(1))
    anderson = Anderson(Coordinatisation(constraints, (1,)))
    for _ in range(60):  # every step was good: full confidence
        anderson.accept()
    x = 0.0
    assert anderson.extrapolated(scalar(x), scalar(0.1)) is None  # one step tells nothing
    x = 0.1
    proposal = anderson.extrapolated(scalar(x), scalar(0.9 * x + 0.1))
    assert proposal is not None
    assert abs(proposal.means[0, 0] - 1.0) < 0.05 < 0.5 < abs(0.9 * x + 0.1 - 1.0)
    is_feasible(proposal, constraints)


def test_a_copy_has_a_history_of_its_own():
    """Rounds of many starts go on from records that must not change under them."""
    constraints = Constraints(np.full(1, 1e-9), np.full(1, 1e-9), "full", np.ones(1))
    anderson = Anderson(Coordinatisation(constraints, (1,)))
    anderson.extrapolated(scalar(0.0), scalar(0.1))
    copies = [anderson.copy(), anderson.copy()]
    first = copies[0].extrapolated(scalar(0.1), scalar(0.19))
    copies[0].reject()
    second = copies[1].extrapolated(scalar(0.1), scalar(0.19))
    assert first is not None and second is not None
    assert np.array_equal(first.means, second.means)


def test_confidence_lengthens_the_step_and_a_rejection_shortens_it():
    constraints = Constraints(np.full(1, 1e-9), np.full(1, 1e-9), "full", np.ones(1))

    def reach(accepted, rejected):
        anderson = Anderson(Coordinatisation(constraints, (1,)))
        for _ in range(accepted):
            anderson.accept()
        anderson.extrapolated(scalar(0.0), scalar(0.1))
        for _ in range(rejected):
            anderson.reject()
        return anderson.extrapolated(scalar(0.1), scalar(0.19)).means[0, 0]

    assert 0.19 <= reach(0, 0) < reach(20, 0) < reach(60, 0) <= 1.0 + 1e-6
    assert reach(10, 1) < reach(10, 0)
