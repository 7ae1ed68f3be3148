"""The E step of linked channels in SIMD lanes: what it says must not depend on the machine that a fit runs on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problems, random_problem

from cem.em.expectation import Expectation
from cem.em.kernels import _lanes, _linked_lanes
from cem.em.kernels.choice import LinkedKernel, LinkedLanesKernel
from cem.errors import FitError
from cem.mixture.parameters import Parameters

LEVELS = _lanes.available_levels()
GENTLE = {"log_condition": (0.0, 2.0), "log_noise": (-1.0, 0.0)}


def linked(parameters: Parameters, rank: int, seed: int = 0) -> Parameters:
    """The same with random loadings."""
    loadings = np.random.default_rng(seed).normal(scale=0.8, size=(*parameters.means.shape, rank))
    return Parameters(
        parameters.weights, parameters.means, parameters.factors, parameters.noise_variances, parameters.sizes, loadings
    )


def by_unit(statistics, **options) -> Expectation:
    """The E step that goes unit by unit."""
    expectation = Expectation(statistics, **options)
    expectation._linked = LinkedKernel(statistics)
    return expectation


def at_level(statistics, level, **options) -> Expectation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(_lanes.LEVEL_VARIABLE, level)
        expectation = Expectation(statistics, **options)
        expectation._linked = LinkedLanesKernel(statistics)
    assert expectation._linked.name == f"linked lanes:{level}"
    return expectation


def close(found, wanted, tolerance):
    np.testing.assert_array_less(np.abs(found - wanted), tolerance * (1.0 + np.abs(wanted).max()))


@pytest.mark.parametrize("level", LEVELS)
@settings(derandomize=True, deadline=None, max_examples=25)
@given(problem=problems(n_units=21, **GENTLE), rank=st.integers(1, 9), temperature=st.sampled_from([1.0, 0.3]))
def test_lanes_say_what_the_kernel_says_that_goes_unit_by_unit(level, problem, rank, temperature):
    """Sums, responsibilities and densities; n < p, channels that a unit lacks, units that fill no register, labels."""
    if max(problem.sizes) > _linked_lanes.LARGEST_SIZE:
        return
    parameters = linked(problem.parameters, rank)
    known = np.full(21, -1, dtype=np.int32)
    known[[2, 9]] = 0
    statistics = problem.statistics.with_known_modes(known)
    lanes, plain = at_level(statistics, level), by_unit(statistics)
    ours, rho = lanes(parameters, inverse_temperature=temperature)
    theirs, wanted = plain(parameters, inverse_temperature=temperature)
    np.testing.assert_allclose(rho, wanted, atol=1e-9)
    for name in ("mode_counts", "channel_counts", "first_moments", "second_moments", "noise_moments",
                 "observation_counts", "cross_moments", "factor_sums", "factor_moments"):  # fmt: skip
        close(getattr(ours, name), getattr(theirs, name), 1e-9)
    assert ours.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-11)
    free = problem.statistics
    np.testing.assert_allclose(
        at_level(free, level).log_densities(parameters), by_unit(free).log_densities(parameters), rtol=1e-10, atol=1e-9
    )


@pytest.mark.parametrize("level", LEVELS)
def test_shares_that_are_given_are_summed_as_they_are(level):
    """Candidates of a running unit have shares of their own; those without any are not looked at."""
    problem = random_problem(np.random.default_rng(1), 2, (3, 1, 4), n_units=70, **GENTLE)
    parameters, rng = linked(problem.parameters, 3), np.random.default_rng(2)
    rho = rng.random((70, 2)) * (rng.random((70, 2)) < 0.5)
    rho[16:40] = 0.0
    ours, back = at_level(problem.statistics, level)(parameters, responsibilities=rho)
    theirs, _ = by_unit(problem.statistics)(parameters, responsibilities=rho)
    np.testing.assert_array_equal(back, rho)
    close(ours.sums[1:], theirs.sums[1:], 1e-11)
    assert ours.log_likelihood == 0.0


def test_the_number_of_threads_changes_no_bit():
    problem = random_problem(np.random.default_rng(3), 2, (3, 2), n_units=517, **GENTLE)
    parameters = linked(problem.parameters, 2)
    one, rho = Expectation(problem.statistics, n_jobs=1)(parameters)
    four, rho_of_four = Expectation(problem.statistics, n_jobs=4)(parameters)
    np.testing.assert_array_equal(one.sums, four.sums)
    np.testing.assert_array_equal(rho, rho_of_four)


@pytest.mark.parametrize("level", LEVELS)
def test_a_unit_that_has_no_finite_density_is_named(level):
    """Not its neighbour in the register: the user is to look at its readings."""
    problem = random_problem(np.random.default_rng(4), 2, (3, 2), n_units=20, **GENTLE)
    projections = problem.statistics.projections.copy()
    projections[13] = 1e200
    statistics = type(problem.statistics)(**{**vars(problem.statistics), "projections": projections})
    expectation = at_level(statistics, level)
    parameters = linked(problem.parameters, 2)
    for ask in (expectation, expectation.log_densities):
        with pytest.raises(FitError, match=f"unit {statistics.units[13]!r}"):
            ask(parameters)


def test_large_bases_and_the_lapack_option_go_unit_by_unit():
    """Lanes hold bases of a few coefficients; a fit with larger ones must not be refused."""
    size = _linked_lanes.LARGEST_SIZE + 1
    problem = random_problem(np.random.default_rng(5), 1, (size, 2), **GENTLE)
    expectation = Expectation(problem.statistics)
    expectation(linked(problem.parameters, 1))
    assert expectation._linked_kernel().name == "linked"
    small = random_problem(np.random.default_rng(5), 1, (2, 2), **GENTLE)
    assert Expectation(small.statistics, kernel="lapack")._linked_kernel().name == "linked"
    assert Expectation(small.statistics)._linked_kernel().name.startswith("linked lanes:")


@pytest.mark.parametrize(
    "wrong", ["means", "loadings", "weights", "responsibilities", "sums", "bounds", "sizes", "modes"]
)
def test_arrays_that_do_not_fit_are_refused_before_they_are_read(wrong):
    problem = random_problem(np.random.default_rng(6), 2, (3, 2), n_units=20, **GENTLE)
    s, parameters = problem.statistics, linked(problem.parameters, 2)
    if wrong == "sizes":
        with pytest.raises(ValueError, match="pack: a basis has 6 coefficients"):
            _linked_lanes.pack(random_problem(np.random.default_rng(6), 2, (6, 2), **GENTLE).statistics.bundle)
        return
    known = np.full(20, 2 if wrong == "modes" else -1, dtype=np.int32)
    packed, expectation = _linked_lanes.pack(s.with_known_modes(known).bundle), Expectation(s)
    n_sums = len(expectation(parameters)[0].sums)
    if wrong == "means":
        parameters = linked(random_problem(np.random.default_rng(6), 2, (2, 3), **GENTLE).parameters, 2)
    elif wrong == "loadings":
        parameters = problem.parameters
    with pytest.raises(ValueError, match=r"has shape|bound|mode|coefficients; \[3, 2\] were|no loadings"):
        _linked_lanes.expectation_chunks(
            packed,
            parameters.bundle,
            1.0,
            False,
            np.array([0, 3, 20] if wrong == "bounds" else [0, 16, 20], dtype=np.int64),
            np.zeros(1, dtype=np.int64),
            np.zeros((19 if wrong == "responsibilities" else 20, 2)),
            np.zeros((2, n_sums - 1 if wrong == "sums" else n_sums)),
            np.zeros((1 if wrong == "weights" else 20, 2)),
        )
