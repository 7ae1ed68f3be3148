"""Quasi-Newton steps in one call: the same steps as one by one, on every plain model of a small fleet."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from constraint_cases import is_feasible
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from problems import random_problem

from cem.em.constraints import COVARIANCE_STRUCTURES, Constraints
from cem.em.expectation import Expectation
from cem.em.kernels import _unconstrained
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.em.problem import AscentLimits
from cem.em.quasi_newton import QuasiNewton
from cem.search.fresh import one_mode_run, parameters_from_responsibilities
from cem.statistics.sufficient import SufficientStatistics

ENDLESS = 1_000_000


class OneByOne(MixtureProblem):
    """The same problem, whose steps are made in Python."""

    def ascended(self, evaluation, memory, limits):
        return None


def case(covariance, n_modes, sizes, seed, *, n_units=40, known=False, on_the_floor=False, sure=1.0):
    """A problem with missing channels and short units, the same with steps one by one, and a start."""
    rng = np.random.default_rng(seed)
    fleet = random_problem(rng, n_modes, sizes, n_units=n_units, log_condition=(0, 2), log_noise=(-1, 0))
    modes = np.where(rng.random(n_units) < 0.2, rng.integers(0, n_modes, n_units), -1) if known else None
    statistics = SufficientStatistics.from_panel(
        fleet.panel, fleet.bases, known_modes=None if modes is None else modes.astype(np.int32)
    )
    noise, floor = (0.05, 0.3) if on_the_floor else (1e-4, 1e-5)
    C = len(sizes)
    constraints = Constraints(
        np.full(C, noise), np.full(C, floor), covariance, statistics.coordinates.transforms,
        shrinkage=7.0 if covariance == "shrunk" else 0.0,
    )  # fmt: skip
    problem = MixtureProblem(Expectation(statistics), constraints)
    weak = Constraints(np.full(C, noise), np.full(C, floor), "full", statistics.coordinates.transforms)
    one_mode = one_mode_run(problem.expectation, weak).parameters
    rho = rng.dirichlet(np.ones(n_modes), size=n_units)
    rho += sure * np.eye(n_modes)[fleet.modes]
    start = parameters_from_responsibilities(problem.expectation, rho / (1.0 + sure), one_mode, constraints)
    return problem, OneByOne(problem.expectation, constraints), start


def settled(problem, start, n_passes=6):
    """The start after some plain passes."""
    return problem.passes(problem.expect(start), n_passes).evaluation


def both(problem, slow, evaluation, limits):
    """Steps in one call and one by one, from the same point."""
    fast = QuasiNewton(problem.coordinates(evaluation.point)).ascended(problem, evaluation, limits)
    plain = QuasiNewton(slow.coordinates(evaluation.point)).ascended(slow, evaluation, limits)
    return fast, plain


def alike(fast, plain, *, rtol=1e-9):
    assert (fast.n_passes, fast.negligible, fast.blocked) == (plain.n_passes, plain.negligible, plain.blocked)
    np.testing.assert_allclose(fast.log_likelihoods, plain.log_likelihoods, rtol=rtol)
    np.testing.assert_allclose(fast.objectives, plain.objectives, rtol=rtol)
    for name in ("weights", "means", "factors", "noise_variances"):
        np.testing.assert_allclose(
            getattr(fast.evaluation.point, name), getattr(plain.evaluation.point, name), rtol=1e-5, atol=1e-6
        )
    np.testing.assert_allclose(fast.evaluation.responsibilities, plain.evaluation.responsibilities, atol=1e-5)
    sums = plain.evaluation.sums.sums
    np.testing.assert_allclose(fast.evaluation.sums.sums, sums, rtol=1e-4, atol=1e-5 * np.abs(sums).max())


@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    covariance=st.sampled_from(COVARIANCE_STRUCTURES),
    n_modes=st.integers(1, 4),
    sizes=st.sampled_from([(2,), (3, 1), (2, 4, 1), (3, 3, 2, 1)]),
    known=st.booleans(),
    on_the_floor=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_steps_are_those_of_the_loop_in_python(covariance, n_modes, sizes, known, on_the_floor, seed):
    """A small fleet must get the fit that a large one gets."""
    problem, slow, start = case(covariance, n_modes, sizes, seed, known=known, on_the_floor=on_the_floor)
    evaluation = settled(problem, start)
    assume(evaluation.sums.mode_counts.min() >= 1.0)
    fast, plain = both(problem, slow, evaluation, AscentLimits(8, 0.0, 0, ENDLESS))
    alike(fast, plain)
    assert fast.memory is not None and plain.memory is None
    heights = [evaluation.objective, *fast.objectives]
    assert (np.diff(heights) >= 0.0).all()
    if fast.objectives:
        is_feasible(fast.evaluation.point, problem.constraints)
        again = problem.expect(fast.evaluation.point)
        assert again.objective == pytest.approx(fast.objectives[-1], rel=1e-12)
        np.testing.assert_allclose(again.sums.sums, fast.evaluation.sums.sums, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(again.responsibilities, fast.evaluation.responsibilities, atol=1e-12)


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
@pytest.mark.parametrize("n_modes", [1, 2, 3])
def test_a_run_ends_where_the_loop_in_python_ends(covariance, n_modes):
    """From the first plain pass to convergence."""
    problem, slow, start = case(covariance, n_modes, (3, 2, 1), 5, n_units=90)
    arguments = {"n_passes": 400, "tolerance": 1e-6, "accelerate": True}
    fast = continue_em(start_em(problem, start), problem, **arguments)
    plain = continue_em(start_em(slow, start), slow, **arguments)
    assert fast.converged and plain.converged
    assert fast.objective == pytest.approx(plain.objective, abs=1e-5)
    assert abs(fast.n_passes - plain.n_passes) <= 0.2 * plain.n_passes
    assert (np.diff(fast.objectives) >= -1e-12 * abs(fast.objective)).all()
    assert fast.pace.ascent is not None and fast.status.shape == plain.status.shape


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_a_run_in_several_calls_makes_the_same_steps(covariance):
    """The search gives a start a few passes at a time; what it has learned of the curvature must not be lost."""
    problem, _, start = case(covariance, 2, (3, 2, 1), 6, n_units=60)
    begun = start_em(problem, start)
    arguments = {"tolerance": 0.0, "accelerate": True}
    at_once = continue_em(begun, problem, n_passes=30, **arguments)
    in_parts = begun
    while in_parts.n_passes < at_once.n_passes:
        before = in_parts
        in_parts = continue_em(in_parts, problem, n_passes=1, **arguments)
        again = continue_em(before, problem, n_passes=1, **arguments)  # the record has not changed
        assert again.objectives == in_parts.objectives
        if in_parts.n_passes == before.n_passes:  # a step that was too long had one pass and no other try
            return
    assert in_parts.objectives == at_once.objectives


def test_weights_of_units_count_as_copies():
    """Fleets of compressed copies are fitted by the same call."""
    problem, slow, start = case("full", 2, (3, 2), 3)
    statistics = problem.expectation.statistics
    copies = np.random.default_rng(0).integers(1, 4, statistics.n_units)
    weighted = Expectation(statistics.subset(np.repeat(np.arange(statistics.n_units), copies)))
    fast, plain = (replace(one, expectation=weighted) for one in (problem, slow))
    alike(*both(fast, plain, settled(fast, start), AscentLimits(8, 0.0, 0, ENDLESS)))


def test_a_mode_that_loses_its_units_ends_the_steps():
    """Its parameters mean nothing any more, and the caller starts elsewhere."""
    problem, slow, start = case("full", 3, (3, 2), 41, n_units=25, sure=0.3)
    evaluation = settled(problem, start, 3)
    fast, plain = both(problem, slow, evaluation, AscentLimits(60, 0.0, 0, ENDLESS))
    assert fast.evaluation.sums.mode_counts.min() < 1.0 and 0 < fast.n_passes < 60
    alike(fast, plain)
    run = continue_em(start_em(problem, start), problem, n_passes=60, tolerance=0.0, accelerate=True, plain_first=3)
    assert run.lost_mode is not None and run.finished


def stretched(problem, slow, evaluation, factor):
    """Steps from a place whose gradient is made longer, so the next step goes too far, in one call and one by one."""
    few = AscentLimits(60, np.inf, 0, 3)  # three steps, however little they gain
    fast, plain = (QuasiNewton(one.coordinates(evaluation.point)) for one in (problem, slow))
    here, there = fast.ascended(problem, evaluation, few), plain.ascended(slow, evaluation, few)
    n = len(plain._place.vector)
    here.memory[2 + n : 2 + 2 * n] *= factor
    plain._place = replace(plain._place, gradient=factor * plain._place.gradient)
    limits = AscentLimits(8, 0.0, 0, ENDLESS)
    return fast.ascended(problem, here.evaluation, limits), plain.ascended(slow, there.evaluation, limits)


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_a_step_that_goes_too_far_is_shortened(covariance):
    problem, slow, start = case(covariance, 2, (3, 2), 9)
    fast, plain = stretched(problem, slow, settled(problem, start), 20.0)
    assert not fast.blocked and fast.n_passes > len(fast.objectives) > 0
    alike(fast, plain)


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
def test_where_no_step_helps_a_plain_pass_does(covariance):
    """Far out no covariance has a Cholesky factor; that must cost a few passes, not the fit."""
    problem, slow, start = case(covariance, 2, (3, 2), 9)
    fast, plain = stretched(problem, slow, settled(problem, start), 1e120)
    assert fast.blocked and plain.blocked and fast.n_passes == plain.n_passes == 6 and not fast.objectives
    assert fast.memory[1] == 0.0  # so the next step learns anew
    further = QuasiNewton(problem.coordinates(start))
    further._memory, further._reached = fast.memory, fast.evaluation.point
    anew = further.ascended(problem, fast.evaluation, AscentLimits(5, 0.0, 0, ENDLESS))
    alike(anew, both(problem, slow, fast.evaluation, AscentLimits(5, 0.0, 0, ENDLESS))[1])


def test_steps_that_gain_next_to_nothing_end_the_ascent():
    """Convergence is judged by plain passes, so the ascent must stop where it has become idle."""
    problem, slow, start = case("shrunk", 2, (3, 2), 10)
    fast, plain = both(problem, slow, settled(problem, start), AscentLimits(200, 1e-3, 1, 3))
    assert fast.negligible == 3 and fast.n_passes < 200
    alike(fast, plain, rtol=1e-8)


def test_passes_are_limited():
    """The user's max_iter counts E steps, also those of steps that were too long."""
    problem, slow, start = case("full", 2, (3, 2), 8)
    evaluation = settled(problem, start)
    for n_passes in (1, 2, 5):
        fast, plain = both(problem, slow, evaluation, AscentLimits(n_passes, 0.0, 0, ENDLESS))
        assert fast.n_passes == n_passes
        alike(fast, plain)


def arguments(problem, evaluation):
    """What the two kernels of this file are called with."""
    point, constraints, sizes = evaluation.point, problem.constraints, evaluation.point.layout.kernel_sizes
    inverses, lowest = np.ones_like(constraints.transforms), np.ones(int(sizes.sum()))
    n = len(problem.coordinates(point).vector(point))
    limits = [constraints.noise_floors, constraints.covariance_floors, constraints.transforms, inverses, lowest]
    memory = np.zeros(_unconstrained.memory_size(sizes, point.n_modes, 0))
    outputs = [point.weights, point.means, point.factors, point.noise_variances, evaluation.responsibilities]
    pack = problem.expectation.small_pack(point.n_modes, constraints)
    return {
        "vector": [point.bundle, 0, *limits, np.empty(n)],
        "ascended": [
            pack, point.bundle, evaluation.sums.sums, evaluation.objective, 0, 0.0, *limits, 3, 0.0, 0, 9, memory,
            np.array(evaluation.sums.sums), *map(np.array, outputs), np.empty(3), np.empty(3),
        ],
    }  # fmt: skip


@pytest.mark.parametrize("kernel", ["vector", "ascended"])
def test_shapes_are_checked(kernel):
    """An array one short would be read past its end."""
    problem, _, start = case("full", 2, (3, 2), 0)
    function, good = getattr(_unconstrained, kernel), arguments(problem, settled(problem, start))[kernel]
    function(*good)
    log_likelihoods = len(good) - 2
    for i, array in enumerate(good):
        if not isinstance(array, np.ndarray) or (kernel == "ascended" and i == log_likelihoods):
            continue
        for axis in range(array.ndim):
            short = np.ascontiguousarray(np.delete(array, -1, axis=axis))
            with pytest.raises(ValueError, match="has shape"):
                function(*good[:i], short, *good[i + 1 :])
    structure = 1 if kernel == "vector" else 4
    with pytest.raises(ValueError, match="structure"):
        function(*good[:structure], 4, *good[structure + 1 :])


def test_parameters_of_another_fleet_are_refused():
    problem, _, start = case("full", 3, (3, 2), 0, known=True)
    good = arguments(problem, settled(problem, start))["ascended"]
    fewer = arguments(*(lambda other: (other[0], settled(other[0], other[2])))(case("full", 2, (3, 2), 0)))["ascended"]
    with pytest.raises(ValueError, match="unit's mode"):
        _unconstrained.ascended(good[0], *fewer[1:])
    other = arguments(*(lambda other: (other[0], settled(other[0], other[2])))(case("full", 3, (2, 3), 0)))["ascended"]
    with pytest.raises(ValueError, match="coefficients"):
        _unconstrained.ascended(good[0], *other[1:])
