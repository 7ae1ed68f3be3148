"""What starts are made of: one pass over the units must give what an E step for each start would."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import constraints_of, random_problem, two_groups

from cem import _core
from cem.em.expectation import Expectation
from cem.mixture.parameters import Parameters
from cem.search import one_mode
from cem.search.fresh import one_mode_run, parameters_from_responsibilities
from cem.search.one_mode import OneModePosteriors, with_known_modes
from cem.statistics.sufficient import SufficientStatistics


@given(
    seed=st.integers(0, 10_000), n_modes=st.integers(1, 4), sizes=st.lists(st.integers(1, 10), min_size=1, max_size=4)
)
@settings(max_examples=40, deadline=None)
def test_the_product_with_the_rows_is_the_e_step_of_copies(seed, n_modes, sizes):
    """A start would not be the M step that its documentation says: missing channels, any size of basis, any ρ."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 1, tuple(sizes), n_units=12)
    statistics, one = problem.statistics, problem.parameters
    rows = np.full((12, 1 + 3 * len(sizes) + one.means.shape[1] + one.factors.shape[1]), np.nan)
    _core.unit_sums(
        statistics.bundle, one.bundle, np.arange(12), rows,
    )  # fmt: skip
    rho = rng.dirichlet(np.ones(n_modes), size=12)
    copies = Parameters(
        np.full(n_modes, 1.0 / n_modes),
        np.repeat(one.means, n_modes, axis=0),
        np.repeat(one.factors, n_modes, axis=0),
        np.repeat(one.noise_variances, n_modes, axis=0),
        one.sizes,
    )
    expected, _ = Expectation(statistics, kernel="lapack")(copies, responsibilities=rho)
    by_row = np.concatenate([expected._part(i) for i in range(6)], axis=1)
    np.testing.assert_allclose(rho.T @ rows, by_row, rtol=1e-11, atol=1e-11 * np.abs(by_row).max())


@pytest.mark.parametrize("n_units", [40, 5000])
def test_a_start_is_the_m_step_from_the_one_mode_posteriors(n_units):
    """Starts by the product and `fit(init=responsibilities)`, which takes an E step, must agree.

    The product takes the units of a large fleet in parts.
    """
    expectation = two_groups(n_units)
    constraints = constraints_of(expectation)
    one = one_mode_run(expectation, constraints).parameters
    rho = np.random.default_rng(3).dirichlet(np.ones(3), size=n_units)
    start = OneModePosteriors(expectation.statistics, one).start(rho, constraints).parameters
    other = parameters_from_responsibilities(expectation, rho, one, constraints)
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_allclose(getattr(start, name), getattr(other, name), rtol=1e-9, atol=1e-12)


def test_the_true_partition_has_the_highest_score():
    """The search would run the wrong starts."""
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    rng = np.random.default_rng(0)
    truth = posteriors.start(np.eye(2)[np.arange(40) % 2], constraints).score
    assert all(posteriors.start(np.eye(2)[rng.permutation(40) % 2], constraints).score < truth for _ in range(20))


def test_labelled_units_override_the_draw():
    rho = np.full((4, 2), 0.5)
    fixed = with_known_modes(rho, np.array([-1, 1, 0, -1], dtype=np.int32))
    np.testing.assert_array_equal(fixed, [[0.5, 0.5], [0, 1], [1, 0], [0.5, 0.5]])
    assert (rho == 0.5).all()


def test_a_large_fleet_is_sampled_and_its_labels_are_kept(monkeypatch):
    """Memory for millions of units must stay bounded, and three labels among them must not be lost."""
    monkeypatch.setattr(one_mode, "_MOST_UNITS", 10)
    expectation = two_groups()
    known = np.full(40, -1, dtype=np.int32)
    known[[3, 17, 20]] = [0, 1, 1]
    statistics = expectation.statistics.with_known_modes(known)
    one = one_mode_run(expectation, constraints_of(expectation)).parameters
    first, again = (OneModePosteriors(statistics, one) for _ in range(2))
    assert first.n_units == 13 and {3, 17, 20} <= set(first.units.tolist())
    assert np.array_equal(first.units, again.units) and (np.diff(first.units) > 0).all()
    assert first.known_modes.tolist() == known[first.units].tolist()


@pytest.mark.parametrize("wrong", ["rows", "columns", "unit", "modes"])
def test_wrong_shapes_are_refused(wrong):
    """A kernel that believes its caller writes out of bounds."""
    expectation = two_groups()
    statistics = expectation.statistics
    one = one_mode_run(expectation, constraints_of(expectation)).parameters
    n_columns = 1 + 3 * statistics.n_channels + one.means.shape[1] + one.factors.shape[1]
    units = np.array([0, 1, 40 if wrong == "unit" else 2])
    rows = np.empty((2 if wrong == "rows" else 3, n_columns - (wrong == "columns")))
    of_one = one.ordered([0, 0]) if wrong == "modes" else one
    with pytest.raises(ValueError, match="unit_sums"):
        _core.unit_sums(
            statistics.bundle, of_one.bundle, units, rows,
        )  # fmt: skip


@given(
    seed=st.integers(0, 10_000), n_modes=st.integers(1, 4), sizes=st.lists(st.integers(1, 10), min_size=1, max_size=4)
)
@settings(max_examples=40, deadline=None)
def test_the_score_is_the_bound_that_the_m_step_raised(seed, n_modes, sizes):
    """Bases of different sizes lie in one row each: a diagonal read in the wrong place would rank starts by nothing."""
    rng = np.random.default_rng(seed)
    problem = random_problem(rng, 2, tuple(sizes), n_units=30)
    expectation = Expectation(SufficientStatistics.from_panel(problem.panel, problem.bases))
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    rho = rng.dirichlet(np.ones(n_modes), size=30)
    start = posteriors.start(rho, constraints)
    sums, found = rho.T @ posteriors._rows, start.parameters
    score = (rho.sum(axis=0) * np.log(found.weights)).sum() - (rho * np.log(rho)).sum()
    for k in range(n_modes):
        for c in range(len(sizes)):
            score -= sums[k, 1 + c] * np.log(np.diagonal(found.factor(k, c))).sum()
            score -= 0.5 * sums[k, sums.shape[1] - len(sizes) + c] * np.log(found.noise_variances[k, c])
    assert start.score == pytest.approx(score, rel=1e-9, abs=1e-9)


@given(seed=st.integers(0, 10_000), n_modes=st.integers(1, 5))
@settings(max_examples=30, deadline=None)
def test_clusters_are_responsibilities_that_are_0_or_1(seed, n_modes):
    """The fast way for labels, also where one has no unit; and units of known mode stay in it."""
    rng = np.random.default_rng(seed)
    expectation = two_groups()
    constraints = constraints_of(expectation)
    one = one_mode_run(expectation, constraints).parameters
    known = np.where(rng.random(40) < 0.3, rng.integers(n_modes, size=40), -1).astype(np.int32)
    labels = rng.integers(max(1, n_modes - 1), size=40).astype(np.int32)
    for statistics in (expectation.statistics, expectation.statistics.with_known_modes(known)):
        posteriors = OneModePosteriors(statistics, one)
        fast = posteriors.start_of_clusters(labels, n_modes, constraints)
        plain = posteriors.start(np.eye(n_modes)[labels], constraints)
        assert fast.score == pytest.approx(plain.score, rel=1e-10)
        for name in ("weights", "means", "factors", "noise_variances"):
            np.testing.assert_allclose(
                getattr(fast.parameters, name), getattr(plain.parameters, name), rtol=1e-9, atol=1e-12
            )


def test_a_label_beyond_the_modes_is_refused():
    """It would be added to memory that is no mode's."""
    expectation = two_groups()
    constraints = constraints_of(expectation)
    posteriors = OneModePosteriors(expectation.statistics, one_mode_run(expectation, constraints).parameters)
    for wrong in (-1, 2):
        labels = np.zeros(40, dtype=np.int32)
        labels[7] = wrong
        with pytest.raises(ValueError, match=f"the label of unit 7 is {wrong}, but there are 2 modes"):
            posteriors.start_of_clusters(labels, 2, constraints)
