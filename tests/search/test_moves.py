"""A move parts two neighbouring modes anew, or lets one begin again, and leaves the rest where it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import constraints_of, two_groups

from cem.search import _moves
from cem.search.fresh import one_mode_run
from cem.search.moves import moved_responsibilities, moved_start, regrown_responsibilities, regrown_start
from cem.search.one_mode import OneModePosteriors

SHARED = 0.1


def moved_plainly(rho, coefficients, draws):
    """The kernel's twin."""
    n_modes = rho.shape[1]
    first = int(draws[0] * n_modes)
    centres = (rho.T @ coefficients) / np.maximum(rho.sum(axis=0), 1e-9)[:, None]
    squares = np.square(centres - centres[first]).sum(axis=1)
    closeness = 1.0 / np.maximum(squares, 1e-9 * squares.max() + 1e-300)
    closeness[first] = 0.0
    steps = np.cumsum(closeness)
    second = int(np.flatnonzero(steps > draws[1] * steps[-1])[0])
    together = rho[:, first] + rho[:, second]
    shared = np.flatnonzero(together > SHARED)
    if len(shared) < 2:
        shared = np.arange(len(rho))
    one, other = int(draws[2] * len(shared)), int(draws[3] * (len(shared) - 1))
    a, b = coefficients[shared[one]], coefficients[shared[other + (other >= one)]]
    nearer = np.square(coefficients - a).sum(axis=1) < np.square(coefficients - b).sum(axis=1)
    moved = rho.copy()
    moved[:, first], moved[:, second] = together * nearer, together * ~nearer
    return moved


def regrown_plainly(rho, coefficients, drawn, centre, mode):
    """The other kernel's twin."""
    squares = np.square(coefficients[drawn] - coefficients[centre]).sum(axis=2)
    units = drawn[np.arange(len(drawn)), squares.argmin(axis=1)]
    others = np.delete(np.arange(rho.shape[1]), mode)
    sizes = rho[:, others].sum(axis=0) + 1e-9
    left = 1.0 - rho[:, mode]
    regrown = np.zeros_like(rho)
    regrown[:, others] = np.where(
        left[:, None] < 1e-9, sizes / sizes.sum(), rho[:, others] / np.where(left < 1e-9, 1.0, left)[:, None]
    )
    regrown[units] = np.arange(rho.shape[1]) == mode
    return regrown


@given(seed=st.integers(0, 10_000), n_modes=st.integers(2, 6), n_units=st.integers(1, 40), size=st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_the_kernel_of_modes_that_begin_again_is_its_plain_twin(seed, n_modes, n_units, size):
    rng = np.random.default_rng(seed)
    rho = rng.dirichlet(np.full(n_modes, rng.choice([0.01, 0.3, 3.0])), size=n_units)
    coefficients, drawn = rng.normal(size=(n_units, size)), rng.integers(n_units, size=rng.integers(1, 6, size=2))
    centre, mode, regrown = int(rng.integers(n_units)), int(rng.integers(n_modes)), np.full_like(rho, np.nan)
    _moves.regrown_responsibilities(rho, coefficients, drawn, centre, mode, regrown)
    np.testing.assert_allclose(regrown, regrown_plainly(rho, coefficients, drawn, centre, mode), rtol=1e-7, atol=1e-12)


@given(seed=st.integers(0, 10_000), n_modes=st.integers(2, 6), n_units=st.integers(2, 40), size=st.integers(1, 9))
@settings(max_examples=80, deadline=None)
def test_the_kernel_is_its_plain_twin(seed, n_modes, n_units, size):
    """Any number of modes and coefficients, responsibilities that are 0 or 1 to the last bit among them."""
    rng = np.random.default_rng(seed)
    rho = rng.dirichlet(np.full(n_modes, rng.choice([0.01, 0.3, 3.0])), size=n_units)
    coefficients, draws = rng.normal(size=(n_units, size)), rng.random(4)
    moved = np.full_like(rho, np.nan)
    _moves.moved_responsibilities(rho, coefficients, draws, SHARED, moved)
    np.testing.assert_allclose(moved, moved_plainly(rho, coefficients, draws), rtol=1e-12, atol=1e-15)


def test_two_modes_share_anew_what_they_had_together():
    """A row that did not add up would weigh its unit twice, or not at all; other modes must keep what they have."""
    rng = np.random.default_rng(0)
    coefficients, rho = rng.normal(size=(60, 4)), rng.dirichlet(np.full(4, 0.2), size=60)
    before = rho.copy()
    for _ in range(30):
        moved = moved_responsibilities(rho, coefficients, rng)
        np.testing.assert_allclose(moved.sum(axis=1), 1.0)
        changed = [k for k in range(4) if not np.array_equal(moved[:, k], rho[:, k])]
        assert len(changed) == 2 and (moved[:, changed] == 0).any(axis=1).all()
        np.testing.assert_allclose(moved[:, changed].sum(axis=1), rho[:, changed].sum(axis=1))
    assert np.array_equal(rho, before)


def test_near_modes_are_parted_more_often():
    """Good optima mostly differ in how neighbours part: moves spread evenly found fewer of them."""
    centres = np.array([0.0, 1.0, 100.0])
    labels = np.repeat([0, 1, 2], 10)
    coefficients = centres[labels][:, None] + np.linspace(0, 0.1, 30)[:, None]
    rng = np.random.default_rng(0)
    pairs = {(0, 1): 0, (0, 2): 0, (1, 2): 0, (): 0}  # none: the units drawn part two modes as they were
    for _ in range(200):
        moved = moved_responsibilities(np.eye(3)[labels], coefficients, rng)
        pairs[tuple(k for k in range(3) if not np.array_equal(moved[:, k], np.eye(3)[labels][:, k]))] += 1
    assert pairs[0, 1] > 2 * max(pairs[0, 2], pairs[1, 2])


def test_modes_without_units_and_units_without_difference():
    """Empty modes and a fleet of identical units must not divide by zero."""
    rng = np.random.default_rng(0)
    for rho in (np.eye(3)[np.zeros(5, dtype=int)], np.full((5, 3), 1 / 3)):
        for _ in range(20):
            moved = moved_responsibilities(rho, np.ones((5, 2)), rng)
            assert np.isfinite(moved).all() and np.allclose(moved.sum(axis=1), 1.0)


def test_wrong_shapes_are_refused():
    rho, coefficients, draws = np.full((4, 2), 0.5), np.zeros((4, 3)), np.zeros(4)
    for arguments in (
        (rho[:, :1].copy(), coefficients, draws, SHARED, np.empty((4, 1))),
        (rho, coefficients[:3], draws, SHARED, np.empty((4, 2))),
        (rho, coefficients, draws[:3], SHARED, np.empty((4, 2))),
        (rho, coefficients, draws, SHARED, np.empty((4, 3))),
    ):
        with pytest.raises(ValueError, match=r"has shape .* was expected|1 modes"):
            _moves.moved_responsibilities(*arguments)
    drawn, out = np.zeros((2, 3), dtype=np.int64), np.empty((4, 2))
    for regrown in (
        (rho[:, :1].copy(), coefficients, drawn, 0, 0, np.empty((4, 1))),
        (rho, coefficients[:3], drawn, 0, 0, out),
        (rho, coefficients, drawn, 0, 0, np.empty((4, 3))),
        (rho, coefficients, drawn, 4, 0, out),
        (rho, coefficients, drawn, 0, 2, out),
        (rho, coefficients, drawn + 4, 0, 0, out),
        (rho, coefficients, drawn - 1, 0, 0, out),
    ):
        with pytest.raises(ValueError, match=r"has shape .* was expected|1 modes|mode . of 2|was drawn of 4"):
            _moves.regrown_responsibilities(*regrown)


def test_a_mode_begins_again_from_a_few_units():
    """A row that did not add up would weigh its unit twice; many units for the mode would be what it had before."""
    rng = np.random.default_rng(0)
    coefficients, rho = rng.normal(size=(60, 4)), rng.dirichlet(np.full(3, 0.2), size=60)
    before, chosen = rho.copy(), set()
    for _ in range(60):
        regrown = regrown_responsibilities(rho, coefficients, rng)
        np.testing.assert_allclose(regrown.sum(axis=1), 1.0)
        (k,) = (k for k in range(3) if set(np.unique(regrown[:, k])) <= {0.0, 1.0})
        units = regrown[:, k] == 1.0
        assert 1 <= units.sum() <= 20
        others = np.delete(rho, k, axis=1)[~units]
        np.testing.assert_allclose(
            np.delete(regrown, k, axis=1)[~units], others / others.sum(axis=1, keepdims=True), atol=1e-6
        )
        chosen.add(k)
    assert chosen == {0, 1, 2} and np.array_equal(rho, before)


def test_the_units_of_a_mode_that_begins_again_are_near_each_other_or_anywhere():
    """Small modes may be a clump or spread along a plane: either kind of draw alone finds only one of them."""
    rng = np.random.default_rng(0)
    line, rho = np.linspace(0.0, 1.0, 400)[:, None], np.eye(2)[np.repeat([0, 1], 200)]
    extents = []
    for _ in range(60):
        regrown = regrown_responsibilities(rho, line, rng)
        k = int(np.argmin(regrown.sum(axis=0)))
        extents.append(float(np.ptp(line[regrown[:, k] == 1.0])))
    assert np.percentile(extents, 10) < 0.2 and np.percentile(extents, 90) > 0.6


def test_a_mode_that_had_every_unit_leaves_them_to_the_others():
    """Empty modes and a fleet of identical units must not divide by zero."""
    rng = np.random.default_rng(0)
    for rho in (np.eye(3)[np.zeros(5, dtype=int)], np.full((5, 3), 1 / 3)):
        for _ in range(20):
            regrown = regrown_responsibilities(rho, np.ones((5, 2)), rng)
            assert np.isfinite(regrown).all() and np.allclose(regrown.sum(axis=1), 1.0)


@pytest.mark.parametrize("make", [moved_start, regrown_start])
def test_a_move_is_a_function_of_its_seed(make):
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    rho = np.random.default_rng(1).dirichlet(np.ones(2), size=40)
    one, same, other = (make(rho, posteriors, constraints, np.random.default_rng(s)) for s in (4, 4, 9))
    assert np.array_equal(one.parameters.means, same.parameters.means) and one.score == same.score
    assert not np.array_equal(one.parameters.means, other.parameters.means)
