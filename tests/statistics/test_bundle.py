"""Statistics as kernels take them: what is wrong with them must be said before a kernel reads out of bounds."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from problems import parameters_bundle, random_problem

from cem import _core
from cem.em.expectation import Expectation
from cem.mixture import _prediction
from cem.statistics._bundle import StatisticsBundle


@pytest.fixture
def arrays():
    """Two units, channels of two and three coefficients, the second missing on the first unit."""
    return {
        "factors": np.ones(2 * 4 + 9),
        "factor_offsets": np.array([[0, -1], [4, 8]]),
        "projections": np.zeros((2, 5)),
        "residual_norms": np.zeros((2, 2)),
        "counts": np.array([[3, 0], [3, 4]], dtype=np.int32),
        "sizes": np.array([2, 3], dtype=np.int32),
        "known_modes": np.array([-1, 1], dtype=np.int32),
    }


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("projections", "(3, 5)", "(2, 5)"),
        ("residual_norms", "(3, 2)", "(2, 2)"),
        ("counts", "(3, 2)", "(2, 2)"),
        ("known_modes", "(3,)", "(2,)"),
    ],
)
def test_an_array_of_another_length_is_named_with_both_shapes(arrays, name, found, expected):
    arrays[name] = np.concatenate([arrays[name], arrays[name][:1]])
    with pytest.raises(ValueError) as caught:
        StatisticsBundle(**arrays)
    assert str(caught.value) == f"statistics: {name} has shape {found}; {expected} was expected"


@pytest.mark.parametrize(("offset", "place"), [(9, (1, 1)), (-2, (0, 0)), (14, (1, 0)), (-1, (1, 1))])
def test_an_r_outside_the_factors_is_named(arrays, offset, place):
    """-1 says that there are no readings: where some are counted, R must be there."""
    arrays["factor_offsets"][place] = offset
    with pytest.raises(ValueError, match=rf"factor_offsets\[{place[0]}, {place[1]}\] is {offset}; .* outside factors"):
        StatisticsBundle(**arrays)


def test_a_basis_without_coefficients_is_refused(arrays):
    arrays["sizes"] = np.array([0, 3], dtype=np.int32)
    with pytest.raises(ValueError, match=r"sizes\[0\] is 0"):
        StatisticsBundle(**arrays)


def test_counts_of_fractions_are_for_kernels_that_take_them(arrays):
    """A forgetting unit has fractions of readings: read as integers they would be nonsense."""
    bundle = StatisticsBundle(**{**arrays, "counts": arrays["counts"] * 0.5})
    factors = np.concatenate([np.eye(2).ravel(), np.eye(3).ravel()])[None]
    parameters = parameters_bundle(np.ones(1), np.zeros((1, 5)), factors, np.ones((1, 2)), arrays["sizes"])
    with pytest.raises(ValueError, match="counts has type float64; int32 was expected"):
        _core.posterior_coefficients(bundle, parameters, 0, np.empty((2, 5)))
    with pytest.raises(ValueError, match="counts has type float64; int32 was expected"):
        _prediction.log_densities(bundle, parameters, np.empty((2, 1)), np.empty((2, 1)))


def test_what_leads_kernels_cannot_be_altered_behind_the_check():
    """An offset changed after the check would crash the interpreter at the next E step."""
    statistics = random_problem(np.random.default_rng(0), 2, (2, 3)).statistics
    Expectation(statistics, kernel="lapack")
    for name in ("factor_offsets", "counts", "known_modes"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(statistics, name)[0] = 10**6


def test_statistics_that_kernels_have_seen_still_travel():
    """Process pools and caches pickle them; the bundle is of one process."""
    problem = random_problem(np.random.default_rng(1), 2, (2, 3))
    expected = Expectation(problem.statistics)(problem.parameters)[0].sums
    for other in (pickle.loads(pickle.dumps(problem.statistics)), copy.deepcopy(problem.statistics)):
        assert "bundle" not in vars(other)
        assert (Expectation(other)(problem.parameters)[0].sums == expected).all()
    moved = replace(problem.statistics, residual_norms=problem.statistics.residual_norms + 1.0)
    assert (Expectation(moved)(problem.parameters)[0].sums != expected).any()
    with pytest.raises(TypeError, match="send the statistics"):
        pickle.dumps(problem.statistics.bundle)
