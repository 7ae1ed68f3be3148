"""A move changes one mode of the leader, and leaves the rest where it was."""

from __future__ import annotations

import numpy as np
from problems import constraints_of, two_groups

from cem.initialization import one_mode_run
from cem.moves import moved_responsibilities, moved_start
from cem.one_mode import OneModePosteriors


def test_one_mode_is_made_anew_and_rows_still_add_up_to_one():
    """A row that does not would weigh its unit twice, or not at all."""
    rng = np.random.default_rng(0)
    coefficients = rng.normal(size=(60, 4))
    for seed in range(30):
        rho = np.random.default_rng(seed).dirichlet(np.full(3, 0.2), size=60)
        before = rho.copy()
        moved = moved_responsibilities(rho, coefficients, np.random.default_rng(seed))
        np.testing.assert_allclose(moved.sum(axis=1), 1.0)
        assert (moved >= 0).all() and np.array_equal(rho, before)
        new = [k for k in range(3) if set(np.unique(moved[:, k])) <= {0.0, 1.0} and moved[:, k].any()]
        assert len(new) >= 1


def test_units_of_the_mode_that_is_given_up_go_to_the_nearest():
    """Hard responsibilities leave nothing to share by: without a rule these units would belong to no mode."""
    coefficients = np.repeat([[0.0], [10.0], [20.0]], 5, axis=0) + np.linspace(0, 1, 15)[:, None]
    rho = np.eye(3)[np.repeat([0, 1, 2], 5)]
    for seed in range(20):
        moved = moved_responsibilities(rho, coefficients, np.random.default_rng(seed))
        assert set(np.unique(moved)) == {0.0, 1.0} and (moved.sum(axis=1) == 1.0).all()


def test_a_move_is_a_function_of_its_seed():
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    rho = np.random.default_rng(1).dirichlet(np.ones(2), size=40)
    one, same, other = (moved_start(rho, posteriors, constraints, np.random.default_rng(s)) for s in (4, 4, 5))
    assert np.array_equal(one.parameters.means, same.parameters.means) and one.promise == same.promise
    assert not np.array_equal(one.parameters.means, other.parameters.means)
