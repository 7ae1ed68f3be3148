"""Bases: right against independent formulas, at any scale; equal and saved by value; every misuse named."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.interpolate
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import legendre

from cem.basis import _basis
from cem.basis.families import (
    BSpline,
    Constant,
    Custom,
    Exponential,
    Fourier,
    Polynomial,
    basis_from_dict,
    resolve_bases,
)
from cem.errors import BasisError, OptionError

TIMES = np.sort(np.random.default_rng(0).uniform(3.0, 250.0, 400))
OUTSIDE = np.array([-300.0, 0.0, 2.9, 251.0, 600.0])


def waves(times):
    """An importable function for Custom."""
    return np.column_stack([np.ones_like(times), times / 100.0, np.cos(times / 50.0)])


def cumulative(times):
    """Not a basis: its rows depend on the other times."""
    return np.column_stack([np.ones_like(times), times - times.mean()])


BUILT_IN = [
    Polynomial(0),
    Polynomial(1),
    Polynomial(2),
    Polynomial(6),
    BSpline(n_basis=7),
    BSpline(n_knots=0, degree=1),
    BSpline(knots=[20.0, 100.0, 101.0], degree=2),
    BSpline(n_basis=1, degree=0),
    BSpline(n_basis=4, degree=0),
    BSpline(n_knots=4, degree=5),
    Fourier(0),
    Fourier(3),
    Fourier(2, period=24.0),
    Exponential([12.0, 35.0, 100.0]),
    Exponential([-40.0], reference=10.0),
    Constant(),
]
FAMILIES = [*BUILT_IN, Custom(waves), Custom(waves, size=3)]
SHIFT_INVARIANT = [basis for basis in BUILT_IN if not isinstance(basis, BSpline)]


def named(basis):
    """A test's id, which is the same in every process: without the address of a function."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(basis))


def splines_of_scipy(basis):
    low, high = basis.domain
    knots = [low] * (basis.degree + 1) + list(basis.interior_knots) + [high] * (basis.degree + 1)
    return scipy.interpolate.BSpline(knots, np.eye(basis.size), basis.degree)


# ------------------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("degree", range(9))
def test_polynomials_are_legendre_on_the_domain(degree):
    bound = Polynomial(degree).bind(TIMES)
    low, high = bound.domain
    times = np.concatenate([TIMES, OUTSIDE])
    expected = legendre.legvander((2 * times - low - high) / (high - low), degree)
    np.testing.assert_allclose(bound(times), expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("offset", [0.0, 1e6, -1e6])
def test_polynomials_are_well_conditioned_whatever_the_time_unit_and_origin(degree, scale, offset):
    times = (offset + np.linspace(0.0, 500.0, 200)) * scale
    assert np.linalg.cond(Polynomial(degree).bind(times)(times)) < 10.0


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
@pytest.mark.parametrize("time", [0.0, 7.0, -1e6, 1e-12, 1e12])
def test_a_domain_of_one_single_time_works(basis, time):
    """A fleet read once, all at the same age, is a fit with K = 1, not a crash."""
    if isinstance(basis, BSpline) and basis.knots is not None:
        basis = BSpline(n_basis=basis.size, degree=basis.degree)
    if isinstance(basis, Exponential) and basis.reference is not None:
        basis = Exponential(basis.time_constants)
    bound = basis.bind([time, time])
    assert bound.domain == (time, time)
    rows = bound([time, time + 0.5])
    assert np.isfinite(rows).all()
    assert (np.abs(rows[0]) > 0).any()


@pytest.mark.parametrize("degree", range(6))
@pytest.mark.parametrize("n_knots", [0, 1, 2, 9])
def test_splines_are_those_of_scipy_inside_the_domain(degree, n_knots):
    bound = BSpline(n_knots=n_knots, degree=degree).bind(TIMES)
    times = np.concatenate([TIMES, bound.interior_knots, np.linspace(*bound.domain, 101)])
    reference = splines_of_scipy(bound)
    np.testing.assert_allclose(bound(times), reference(times), rtol=1e-12, atol=1e-14)
    if degree > 0:
        slopes = reference(times, nu=1)
        np.testing.assert_allclose(bound.derivative(times), slopes, atol=1e-12 * np.abs(slopes).max())


@pytest.mark.parametrize("degree", range(1, 6))
@pytest.mark.parametrize("n_knots", [0, 1, 5])
def test_splines_continue_along_their_tangents(degree, n_knots):
    """A unit that outlives the fleet is extrapolated linearly, with value and slope of the boundary knot."""
    bound = BSpline(n_knots=n_knots, degree=degree).bind(TIMES)
    reference = splines_of_scipy(bound)
    for end, sign in zip(bound.domain, (-1.0, 1.0), strict=True):
        distance = sign * np.array([1e-9, 1.0, 40.0, 1e4])
        slope = reference(end, nu=1)
        expected = reference(end) + distance[:, None] * slope
        np.testing.assert_allclose(bound(end + distance), expected, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(bound.derivative(end + distance), np.tile(slope, (4, 1)), rtol=1e-10, atol=1e-15)
        across = (bound(end + 1e-6) - bound(end - 1e-6)) / 2e-6
        np.testing.assert_allclose(across, slope, atol=1e-5 * np.abs(slope).max())


@given(
    data=st.data(),
    degree=st.integers(0, 5),
    gaps=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
@settings(derandomize=True, deadline=None, max_examples=80)
def test_splines_on_uneven_knots_agree_with_scipy_and_sum_to_one(data, degree, gaps, scale):
    breaks = np.cumsum([0.0, *gaps]) * scale
    bound = BSpline(knots=breaks[1:-1].tolist(), degree=degree).bind(breaks)
    inside = np.array(data.draw(st.lists(st.floats(0, 1), min_size=1, max_size=8))) * breaks[-1]
    rows = bound(inside)
    np.testing.assert_allclose(rows, splines_of_scipy(bound)(inside), rtol=1e-10, atol=1e-12)
    assert (rows >= 0.0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, rtol=1e-12)
    outside = bound([-breaks[-1], 2 * breaks[-1]])
    np.testing.assert_allclose(outside.sum(axis=1), 1.0, atol=1e-12 * max(1.0, np.abs(outside).max()))


def test_knots_lie_where_the_readings_are():
    times = np.concatenate([np.linspace(0, 10, 900), np.linspace(10, 100, 100)])
    knots = BSpline(n_basis=6).bind(times[::-1]).interior_knots
    np.testing.assert_allclose(knots, np.quantile(times, [1 / 3, 2 / 3]))


def test_many_equal_times_do_not_make_equal_knots():
    """Fleets read at start-up have most readings at cycle 0; a function without support would be singular."""
    bound = BSpline(n_basis=7).bind([0.0] * 1000 + [1.0, 2.0, 3.0, 4.0, 5.0])
    assert (np.diff([0.0, *bound.interior_knots, 5.0]) > 0).all()
    assert np.linalg.matrix_rank(bound(np.linspace(0.0, 5.0, 50))) == 7


def test_fourier_values_and_learned_period():
    bound = Fourier(2).bind(TIMES)
    low, high = bound.domain
    x = 2 * np.pi * (TIMES - low) / (high - low)
    expected = np.column_stack([np.ones_like(x), np.cos(x), np.sin(x), np.cos(2 * x), np.sin(2 * x)])
    np.testing.assert_allclose(bound(TIMES), expected, atol=1e-12)


@pytest.mark.parametrize("start", [-1e9, -5.0, 0.0, 17.0, 1.7e9])
def test_phases_of_a_given_period_count_from_time_zero(start):
    """The coefficients of a daily load must not depend on when the first machine was switched on."""
    times = start + np.arange(0.0, 30.0)
    x = 2 * np.pi * np.fmod(times, 24.0) / 24.0
    expected = np.column_stack([np.ones_like(x), np.cos(x), np.sin(x)])
    np.testing.assert_allclose(Fourier(1, period=24.0).bind(times)(times), expected, atol=1e-12)


def test_exponentials_count_from_failure_on_the_aligned_axis():
    times = np.linspace(-300.0, 0.0, 50)
    bound = Exponential([12.0, 100.0]).bind(times)
    assert bound.references == (0.0, 0.0)
    expected = np.column_stack([np.ones(50), np.exp(times / 12), np.exp(times / 100)])
    np.testing.assert_allclose(bound(times), expected, rtol=1e-13)


@pytest.mark.parametrize("low", [0.0, 1e5, 1e9, -1e9])
def test_exponentials_do_not_overflow_where_times_are_long_beside_the_time_constant(low):
    """An hour meter at 1e5 h with c = 12 h is e^8333."""
    times = low + np.linspace(0.0, 9000.0, 200)
    rows = Exponential([12.0, -12.0, 2000.0]).bind(times)(times)
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows.max(axis=0), 1.0)


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_derivatives_agree_with_finite_differences_inside_and_outside(basis):
    bound = basis.bind(TIMES)
    times = np.concatenate([TIMES[1:-1:7], OUTSIDE])
    if isinstance(basis, BSpline):
        breaks = np.array([*bound.domain, *bound.interior_knots])
        times = times[np.abs(times[:, None] - breaks).min(axis=1) > 0.05]
    # Richardson: two central differences, so that the oracle's own error is far below the tolerance.
    coarse = (bound(times + 0.02) - bound(times - 0.02)) / 0.04
    fine = (bound(times + 0.01) - bound(times - 0.01)) / 0.02
    expected = (4 * fine - coarse) / 3
    derivative = bound.derivative(times)
    assert derivative.shape == (len(times), bound.size)
    scale = np.abs(bound(times)) + np.abs(expected)
    assert (np.abs(derivative - expected) <= 1e-8 * (scale + 0.01)).all()


def test_derivatives_of_polynomials_are_exact():
    bound = Polynomial(7).bind(TIMES)
    low, high = bound.domain
    u = (2 * TIMES - low - high) / (high - low)
    expected = np.column_stack([legendre.legval(u, legendre.legder(row)) for row in np.eye(8)]) * 2 / (high - low)
    np.testing.assert_allclose(bound.derivative(TIMES), expected, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_each_row_is_that_of_its_time_alone(basis):
    """A reading scored as it arrives gives the same bits as the same reading in a batch."""
    bound = basis.bind(TIMES)
    together = bound(TIMES)
    np.testing.assert_array_equal(together, np.array([bound([time])[0] for time in TIMES]))
    if isinstance(basis, Polynomial):  # p = 3 is unrolled; the loop over any p must not differ from it
        np.testing.assert_array_equal(together, Polynomial(basis.degree + 1).bind(TIMES)(TIMES)[:, : bound.size])


def test_shapes_follow_the_times():
    bound = Polynomial(2).bind(TIMES)
    assert bound(4.0).shape == (3,)
    assert bound([]).shape == (0, 3)
    assert bound(np.ones((2, 5), dtype=np.float32)).shape == (2, 5, 3)
    np.testing.assert_array_equal(bound(np.arange(10)[::-2]), bound(np.arange(10.0))[::-2])
    assert Custom(waves).bind(TIMES)([]).shape == (0, 3)
    assert Custom(waves).bind(TIMES)(4.0).shape == (3,)


# ---------------------------------------------------------------------------------------------- shifts, power series


@pytest.mark.parametrize("basis", SHIFT_INVARIANT, ids=named)
@pytest.mark.parametrize("shift", [0.0, 1.0, -0.37, 55.5, -200.0])
def test_shift_matrix_moves_the_functions_exactly(basis, shift):
    bound = basis.bind(TIMES)
    moved = bound(TIMES) @ bound.shift_matrix(shift)
    np.testing.assert_allclose(moved, bound(TIMES - shift), rtol=1e-10, atol=1e-12 * np.abs(moved).max())


@given(degree=st.integers(0, 8), first=st.floats(0, 1e4), second=st.floats(0, 1e4))
@settings(derandomize=True, deadline=None, max_examples=60)
def test_shifts_of_one_sign_add_up_entry_by_entry(degree, first, second):
    """S(a) S(b) = S(a + b), also where S is far from the identity: nothing cancels."""
    bound = Polynomial(degree).bind([0.0, 10.0])
    both = bound.shift_matrix(-first) @ bound.shift_matrix(-second)
    np.testing.assert_allclose(both, bound.shift_matrix(-(first + second)), rtol=1e-11)
    np.testing.assert_array_equal(np.diag(bound.shift_matrix(first)), 1.0)


@pytest.mark.parametrize("basis", SHIFT_INVARIANT, ids=named)
def test_a_grid_of_shifts_gives_a_stack_of_matrices(basis):
    bound = basis.bind(TIMES)
    stack = bound.shift_matrix([[0.0, 1.0, 2.0], [-4.0, 5.5, 60.0]])
    assert stack.shape == (2, 3, bound.size, bound.size)
    np.testing.assert_array_equal(stack[1, 2], bound.shift_matrix(60.0))


@pytest.mark.parametrize("basis", [BSpline(5), Custom(waves)], ids=named)
def test_bases_that_are_not_shift_invariant_say_so(basis):
    with pytest.raises(BasisError, match="not shift-invariant"):
        basis.bind(TIMES).shift_matrix(1.0)


def test_a_shift_that_overflows_is_named():
    with pytest.raises(BasisError, match=r"a shift of -1000000\.0 overflows"):
        Exponential([12.0]).bind(TIMES).shift_matrix(-1e6)


@pytest.mark.parametrize("degree", [0, 1, 2, 5])
@pytest.mark.parametrize("times", [TIMES, TIMES * 1e-9, np.array([5.0]), 1e4 + TIMES])
def test_the_power_series_is_the_same_curve(degree, times):
    bound = Polynomial(degree).bind(times)
    coefficients = np.random.default_rng(1).normal(size=(2, 4, degree + 1))
    series = bound.to_power_series(coefficients)
    assert series.shape == coefficients.shape
    powers = np.vander(times, degree + 1, increasing=True)
    size = np.abs(series) @ np.abs(powers).T  # what evaluation of a power series may lose is ε times this
    assert (np.abs(series @ powers.T - coefficients @ bound(times).T) <= 1e-14 * (degree + 1) * (size + 1)).all()


def test_the_power_series_of_a_known_curve():
    bound = Polynomial(2).bind([10.0, 30.0])
    coefficients = bound.from_power_series([3.0, -0.5, 0.25])
    np.testing.assert_allclose(bound([0.0, 2.0, 40.0]) @ coefficients, [3.0, 3.0, 383.0], rtol=1e-13)
    np.testing.assert_allclose(bound.to_power_series(coefficients), [3.0, -0.5, 0.25], rtol=1e-12)


@pytest.mark.parametrize("shape", [(4,), (3, 2), ()])
def test_the_power_series_refuses_coefficients_of_another_size(shape):
    with pytest.raises(BasisError, match=r"the last dimension must be p = 3"):
        Polynomial(2).bind(TIMES).to_power_series(np.ones(shape))


# ----------------------------------------------------------------------------------------- equality, copies, saving


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_binding_gives_a_copy_and_leaves_the_specification_alone(basis):
    before = repr(basis)
    bound = basis.bind(TIMES)
    assert not basis.is_bound
    assert repr(basis) == before
    assert bound.is_bound
    assert bound.domain == (TIMES[0], TIMES[-1])
    assert bound != basis
    assert bound.size == bound(TIMES).shape[1]
    assert repr(bound) == f"{before} on [{TIMES[0]:g}, {TIMES[-1]:g}]"
    assert bound.bind([15.0, 120.0]).domain == (15.0, 120.0)
    assert bound.domain == (TIMES[0], TIMES[-1])


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
@pytest.mark.parametrize("bind", [False, True])
def test_copies_of_every_kind_are_equal_and_evaluate_to_the_same_bits(basis, bind):
    from sklearn.base import clone

    basis = basis.bind(TIMES) if bind else basis
    saved = json.loads(json.dumps(basis.to_dict(), allow_nan=False))
    for twin in (
        copy.copy(basis),
        copy.deepcopy(basis),
        pickle.loads(pickle.dumps(basis)),
        clone(basis, safe=False),
        basis_from_dict(saved),
    ):
        assert twin == basis
        assert hash(twin) == hash(basis)
        assert repr(twin) == repr(basis)
        if bind:
            np.testing.assert_array_equal(twin.numbers, basis.numbers)
            np.testing.assert_array_equal(twin(TIMES), basis(TIMES))
            assert not twin.numbers.flags.writeable


def test_equality_is_by_value():
    assert Polynomial(2) == Polynomial(np.int64(2))
    assert Polynomial(2) != Polynomial(3)
    assert Polynomial(0) != Constant()
    assert Polynomial(2).bind([0, 1]) != Polynomial(2).bind([0, 2])
    assert BSpline(5).bind([0, 1, 2, 3]) != BSpline(5).bind([0, 2.5, 2.6, 3])
    assert len({Exponential([1, 2]), Exponential((1.0, 2.0)), Exponential([2, 1])}) == 2
    assert Exponential(12) == Exponential([12.0])
    assert Polynomial(2) != 2


@pytest.mark.parametrize("basis", BUILT_IN, ids=named)
def test_the_repr_makes_the_basis_again(basis):
    names = {family.__name__: family for family in (Polynomial, BSpline, Fourier, Exponential, Constant)}
    assert eval(repr(basis), names) == basis


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_bases_cannot_be_changed(basis):
    """A basis is shared between channels and models: a change to one would silently change all."""
    bound = basis.bind(TIMES)
    with pytest.raises(AttributeError, match="immutable"):
        basis.degree = 5
    with pytest.raises(AttributeError, match="immutable"):
        del bound._domain
    with pytest.raises(ValueError, match="read-only"):
        bound.numbers[:] = 0.0


def test_evaluation_needs_no_scipy():
    """Scoring starts cold on small devices; SciPy would cost 200 ms and 28 MB there."""
    code = "import sys, cem.basis as b; b.BSpline(5).bind([1, 2, 3.0])([2.0]); sys.exit('scipy' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0


# --------------------------------------------------------------------------------------------------- Custom functions


def test_a_lambda_can_be_used_but_not_saved():
    bound = Custom(lambda t: np.column_stack([np.ones_like(t), np.sqrt(np.abs(t))])).bind(TIMES)
    assert bound(TIMES).shape == (400, bound.size) == (400, 2)
    with pytest.raises(BasisError, match=r"cannot be saved.*define it with def at the top level"):
        bound.to_dict()


def test_a_function_that_its_name_does_not_find_cannot_be_saved(monkeypatch):
    original = waves
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[__name__], "waves", cumulative)
        with pytest.raises(BasisError, match="no module has it under a name"):
            Custom(original).to_dict()
    with monkeypatch.context() as patch:
        patch.setattr(original, "__module__", "__main__")
        with pytest.raises(BasisError, match="no module has it under a name"):
            Custom(original).to_dict()


def test_a_function_is_saved_by_its_name():
    assert Custom(waves).to_dict()["options"] == {"function": f"{__name__}:waves", "size": None}


@pytest.mark.parametrize("path", ["no_such_module:f", "math:no_such", "math", "a b:c", "math:pi", "os:system", "", ":"])
def test_a_function_that_was_not_given_is_named_and_not_imported(path):
    saved = {"type": "Custom", "options": {"function": path, "size": None}, "domain": None, "learned": []}
    with pytest.raises(BasisError, match=rf"the function '{path}', and cem imports nothing that a file names"):
        basis_from_dict(saved)


def test_a_function_that_is_no_name_is_refused():
    saved = {"type": "Custom", "options": {"function": 3, "size": None}, "domain": None, "learned": []}
    with pytest.raises(BasisError, match="function 3; a name was expected"):
        basis_from_dict(saved)


def raises(times):
    raise KeyError("sensor")


def logarithm(times):
    with np.errstate(divide="ignore"):
        return np.log(times - times[0])[:, None]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: np.ones(len(t)), r"returned shape \(2,\) for 2 times"),
        (lambda t: np.ones((len(t) + 1, 2)), r"returned shape \(3, 2\) for 2 times"),
        (lambda t: np.ones((len(t), 0)), "returns 0 columns"),
        (logarithm, "value of function 0 at time 3.* is -inf"),
        (lambda t: [["a"]] * len(t), "raised ValueError"),
        (raises, "raised KeyError: 'sensor'"),
        (cumulative, "must depend only on its own time"),
    ],
)
def test_functions_that_do_not_give_a_design_are_refused(function, message):
    with pytest.raises(BasisError, match=message):
        Custom(function).bind(TIMES)


def test_a_function_is_held_to_its_size():
    with pytest.raises(BasisError, match=r"returned shape \(2, 3\) for 2 times; \(2, 4\) was expected"):
        Custom(waves, size=4).bind(TIMES)
    assert Custom(waves, size=3).size == 3
    with pytest.raises(BasisError, match="not bound"):
        _ = Custom(waves).size
    changing = Custom(lambda t: np.ones((len(t), 2 if t.max() <= 250 else 3))).bind(TIMES)
    with pytest.raises(BasisError, match=r"returned shape \(1, 3\) for 1 times; \(1, 2\) was expected"):
        changing([400.0])


def test_a_function_cannot_change_the_times():
    def greedy(times):
        times *= 2.0
        return times[:, None]

    times = TIMES.copy()
    Custom(greedy).bind(times)(times)
    np.testing.assert_array_equal(times, TIMES)


# ------------------------------------------------------------------------------------------------------------ misuse


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Polynomial(-1), "degree is -1; an integer from 0"),
        (lambda: Polynomial(1.5), "degree is 1.5"),
        (lambda: Polynomial(True), "degree is True"),
        (lambda: Polynomial("2"), "degree is '2'"),
        (lambda: Polynomial(10**9), "degree is 1000000000; an integer from 0 to 999"),
        (lambda: BSpline(), "give exactly one of n_basis, n_knots and knots; found none"),
        (lambda: BSpline(5, n_knots=2), "found n_basis and n_knots"),
        (lambda: BSpline(8, degree=6), "degree is 6; an integer from 0 to 5"),
        (lambda: BSpline(3), "n_basis is 3; an integer from 4"),
        (lambda: BSpline(n_knots=-1), "n_knots is -1"),
        (lambda: BSpline(knots=[3.0, 2.0]), "strictly increasing"),
        (lambda: BSpline(knots=[3.0, 3.0]), "strictly increasing"),
        (lambda: BSpline(knots=[3.0, np.nan]), r"knots\[1\] is nan; a finite number"),
        (lambda: BSpline(knots="abc"), "knots is 'abc'; a sequence"),
        (lambda: BSpline(knots=3.0), "knots is 3.0; a sequence"),
        (lambda: Fourier(-1), "n_harmonics is -1"),
        (lambda: Fourier(2, period=0.0), "period is 0.0; a positive number"),
        (lambda: Fourier(2, period="day"), "period is 'day'; a positive number"),
        (lambda: Fourier(2, period=np.inf), "period is inf"),
        (lambda: Exponential([]), "the number of time_constants is 0"),
        (lambda: Exponential([12, 0]), r"time_constants\[1\] is 0.0; a number other than 0"),
        (lambda: Exponential([12, 12.0]), "numbers that all differ"),
        (lambda: Exponential("12"), "time_constants is '12'"),
        (lambda: Exponential(None), "time_constants is None"),
        (lambda: Exponential([12], reference=np.nan), "reference is nan"),
        (lambda: Custom(3), "function is 3"),
        (lambda: Custom(waves, size=0), "size is 0"),
    ],
)
def test_options_that_cannot_be_are_named(make, message):
    with pytest.raises(OptionError, match=message):
        make()


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_an_unbound_basis_says_how_to_bind_it(basis):
    uses = [
        lambda: basis(TIMES),
        lambda: basis.derivative(TIMES),
        lambda: basis.domain,
        lambda: basis.numbers,
    ]
    if basis in SHIFT_INVARIANT:
        uses.append(lambda: basis.shift_matrix(1.0))
    for use in uses:
        with pytest.raises(BasisError, match=rf"not bound.*{type(basis).__name__}\.bind\(times\)"):
            use()


@pytest.mark.parametrize("basis", [Polynomial(2), BSpline(5), Constant(), Custom(waves)], ids=named)
@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([1.0, np.nan], "time 1 is nan"),
        ([np.inf], "time 0 is inf"),
        (["1"], "not numbers"),
        ([None, 2.0], "time 0 is nan"),
        (np.array(["2024-01-01"], dtype="datetime64[D]"), "not numbers"),
        ([1 + 2j], "not numbers"),
        ([[1.0], [1.0, 2.0]], "not numbers"),
        ([{}], "not numbers"),
    ],
)
def test_times_that_are_not_times_are_named(basis, times, message):
    for use in (basis.bind, basis.bind(TIMES), basis.bind(TIMES).derivative):
        with pytest.raises(BasisError, match=message):
            use(times)


@pytest.mark.parametrize("basis", FAMILIES, ids=named)
def test_no_times_to_bind_to(basis):
    with pytest.raises(BasisError, match="no times to bind to"):
        basis.bind([])


@pytest.mark.parametrize("knots", [[0.0], [3000.0], [100.0, 250.0], [TIMES[0]]])
def test_knots_outside_the_data_are_refused(knots):
    """A function without a single reading under it has no coefficient."""
    with pytest.raises(BasisError, match="do not increase strictly within the times"):
        BSpline(knots=knots).bind(TIMES)


def test_a_reference_that_overflows_within_the_data_is_refused():
    with pytest.raises(BasisError, match=r"e\^\(\(t - 0\)/0.1\) overflows at time 24"):
        Exponential([0.1], reference=0.0).bind(TIMES)


def test_what_overflows_names_the_time():
    with pytest.raises(BasisError, match=r"value of function 1 at time 5000 is inf; its domain is \[0, 10\]"):
        Exponential([1.0]).bind([0.0, 10.0])([1.0, 5000.0])
    with pytest.raises(BasisError, match=r"function 2 at time 1e\+200 is inf"):
        Polynomial(3).bind([0.0, 10.0])([1e200])
    with pytest.raises(BasisError, match="span more than float64 holds"):
        Polynomial(3).bind([-1e308, 1.5e308])
    with pytest.raises(BasisError, match="choose another time unit"):
        Fourier(3, period=1e-308).bind([0.0, 1.0])


@pytest.mark.parametrize("basis", BUILT_IN, ids=named)
def test_no_time_makes_a_kernel_write_beside_its_row(basis):
    """A stream may bring any bits as a time."""
    bound = basis.bind(TIMES)
    times = np.array([np.nan, np.inf, -np.inf, 1e308, -1e308, TIMES[0], TIMES[-1]])
    for kernel in (_basis.evaluate, _basis.differentiate):
        guarded = np.full((9, bound.size), 77.0)
        kernel(bound.kind, bound.size, bound.numbers, times, guarded[1:8])
        np.testing.assert_array_equal(guarded[[0, 8]], 77.0)
        assert np.isfinite(guarded[6:8]).all()


def test_the_kernel_leaves_infinity_to_its_caller():
    bound = Exponential([1.0]).bind([0.0, 10.0])
    row = np.empty((1, 2))
    _basis.evaluate(bound.kind, bound.size, bound.numbers, np.array([5000.0]), row)
    np.testing.assert_array_equal(row, [[1.0, np.inf]])


@pytest.mark.parametrize(
    ("kind", "size", "numbers"),
    [
        (_basis.POLYNOMIAL, 4, [0.0, 1.0]),
        (_basis.POLYNOMIAL, 0, [0.0, 1.0]),
        (_basis.POLYNOMIAL, -5, [0.0, 1.0]),
        (_basis.BSPLINE, 4, [3.0, 0.0, 0.0]),
        (_basis.BSPLINE, 8, [6.0] + [0.0] * 17),
        (_basis.BSPLINE, 4, [-1.0] + [0.0] * 6),
        (_basis.BSPLINE, 4, [np.nan] + [0.0] * 10),
        (_basis.BSPLINE, 4, [1e300] + [0.0] * 10),
        (_basis.BSPLINE, 4, [2.5] + [0.0] * 9),
        (_basis.BSPLINE, 2, [3.0] + [0.0] * 8),
        (_basis.FOURIER, 4, [0.0, 1.0]),
        (_basis.EXPONENTIAL, 3, [0.0, 1.0]),
        (_basis.CONSTANT, 2, [1.0]),
        (_basis.CONSTANT, 1, []),
        (_basis.CUSTOM, 1, [1.0]),
        (99, 1, [1.0]),
    ],
)
def test_the_driver_refuses_numbers_that_do_not_fit(kind, size, numbers):
    """Numbers come from files: whatever they hold, the interpreter lives."""
    for driver in (_basis.evaluate, _basis.differentiate):
        with pytest.raises(BasisError, match="do not describe a basis"):
            driver(kind, size, np.array(numbers, dtype=float), np.zeros(1), np.zeros((1, max(size, 0))))


@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (0, 3), (4, 3)])
def test_the_driver_refuses_an_output_that_does_not_fit(shape):
    bound = Polynomial(2).bind(TIMES)
    with pytest.raises(BasisError, match=r"\(3, 3\) was expected"):
        _basis.evaluate(bound.kind, bound.size, bound.numbers, np.zeros(3), np.zeros(shape))


SAVED = BSpline(6).bind(TIMES).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"type": "Wavelet"},
        {"type": ["Polynomial"]},
        {"options": None},
        {"options": {}},
        {"options": {**SAVED["options"], "extra": 1}},
        {"options": {**SAVED["options"], "degree": 2.5}},
        {"options": {**SAVED["options"], "n_basis": 7}},
        {"domain": [1.0]},
        {"domain": [5.0, 1.0]},
        {"domain": [1.0, float("nan")]},
        {"domain": 3},
        {"learned": []},
        {"learned": [9.0, 8.0]},
        {"learned": [9.0, 1e9]},
        {"learned": "knots"},
        {"learned": None},
    ],
)
def test_a_saved_basis_that_was_altered_is_refused(change):
    assert basis_from_dict(SAVED) == BSpline(6).bind(TIMES)
    with pytest.raises((BasisError, OptionError)):
        basis_from_dict({**SAVED, **change})


@pytest.mark.parametrize("basis", [Polynomial(1), Constant(), Fourier(1), Exponential([3.0]), Custom(waves)], ids=named)
def test_a_saved_basis_with_too_many_numbers_is_refused(basis):
    saved = basis.bind(TIMES).to_dict()
    with pytest.raises(BasisError, match="learned"):
        basis_from_dict({**saved, "learned": [*saved["learned"], 2.0]})


@pytest.mark.parametrize("basis", [BSpline(knots=[30.0]), Exponential([3.0], reference=240.0)], ids=named)
def test_a_saved_basis_whose_parts_disagree_is_refused(basis):
    with pytest.raises(BasisError, match="the file was altered"):
        basis_from_dict({**basis.bind(TIMES).to_dict(), "learned": [235.0]})


@pytest.mark.parametrize("saved", [None, [], {}, {"type": "Polynomial"}, "Polynomial(2)"])
def test_what_is_not_a_saved_basis_is_refused(saved):
    with pytest.raises(BasisError, match="is not a saved basis"):
        basis_from_dict(saved)


# ---------------------------------------------------------------------------------------------------- bases by channel


def test_one_basis_for_all_or_each_its_own():
    line, step = Polynomial(1), Constant()
    assert resolve_bases(line, ["s2", "s3"]) == (line, line)
    assert resolve_bases({"s3": step, "s2": line}, ["s2", "s3"]) == (line, step)
    assert resolve_bases({None: line, "s3": step}, ["s2", "s3", "s4"]) == (line, step, line)


@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ({"s2": Constant()}, "has no entry for channel 's3'"),
        ({"s9": Constant(), None: Constant()}, "names channel 's9'.*'s2', 's3'"),
        ({"s2": 2, "s3": Constant()}, "basis for channel 's2' is 2; a basis such as"),
        ({None: Polynomial}, "basis for all other channels is .*Polynomial"),
        (2, "basis is 2; a basis such as"),
        (Polynomial, "basis is .*Polynomial"),
        ("quadratic", "basis is 'quadratic'"),
        (None, "basis is None"),
    ],
)
def test_channels_without_a_basis_are_named(basis, message):
    with pytest.raises(OptionError, match=message):
        resolve_bases(basis, ["s2", "s3"])
