"""Parameters as kernels take them: what does not fit must be said before a kernel reads out of bounds."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
from problems import parameters_bundle, random_parameters, random_problem

from cem.em.expectation import Expectation
from cem.mixture import _linked
from cem.mixture.parameters import Parameters


@pytest.fixture
def arrays():
    """Two modes, channels of two and three coefficients, one shared factor."""
    return {
        "weights": np.full(2, 0.5),
        "means": np.zeros((2, 5)),
        "factors": np.tile(np.concatenate([np.eye(2).ravel(), np.eye(3).ravel()]), (2, 1)),
        "noise_variances": np.ones((2, 2)),
        "sizes": (2, 3),
        "loadings": np.zeros((2, 5, 1)),
    }


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        ("means", "(2, 4)", "(2, 5)"),
        ("factors", "(2, 12)", "(2, 13)"),
        ("noise_variances", "(2, 1)", "(2, 2)"),
        ("loadings", "(2, 4, 1)", "(2, 5, 1)"),
    ],
)
@pytest.mark.parametrize("make", [parameters_bundle, Parameters, Parameters.adopting])
def test_an_array_that_is_short_is_named_with_both_shapes(arrays, name, found, expected, make):
    """However parameters are made: what a kernel has written is adopted without a copy, but not unseen."""
    arrays[name] = np.ascontiguousarray(arrays[name][:, :-1])
    with pytest.raises(ValueError) as caught:
        make(**arrays)
    assert str(caught.value) == f"parameters: {name} has shape {found}; {expected} was expected"


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (np.asfortranarray, "2 dimensions, type 'd', not C-contiguous"),
        (np.float32, "2 dimensions, type 'f'"),
        (lambda a: a[:, :, None], "3 dimensions, type 'd'"),
    ],
)
def test_an_array_of_another_kind_is_named(arrays, spoil, found):
    arrays["means"] = spoil(arrays["means"])
    with pytest.raises(ValueError) as caught:
        parameters_bundle(**arrays)
    expected = "a C-contiguous array of 2 dimensions and type float64 was expected"
    assert str(caught.value) == f"parameters: means has {found}; {expected}"


def test_no_mode_and_no_coefficient_are_refused(arrays):
    with pytest.raises(ValueError, match="there are no modes"):
        parameters_bundle(**{name: a if name == "sizes" else a[:0] for name, a in arrays.items()})
    with pytest.raises(ValueError, match=r"sizes\[1\] is 0"):
        parameters_bundle(**{**arrays, "sizes": (5, 0)})


def test_a_kernel_of_linked_channels_asks_for_loadings():
    """Channels without links would be read as if they had some."""
    problem = random_problem(np.random.default_rng(0), 2, (2, 3))
    out = np.empty((problem.panel.n_units, 2))
    with pytest.raises(ValueError, match="no loadings"):
        _linked.log_densities(problem.statistics.bundle, problem.parameters.bundle, 0, len(out), out, out.copy())


def test_parameters_that_kernels_have_seen_still_travel():
    """A fit's result is pickled with its model; the bundle is of one process."""
    problem = random_problem(np.random.default_rng(1), 2, (2, 3))
    expected = Expectation(problem.statistics)(problem.parameters)[0].sums
    for other in (pickle.loads(pickle.dumps(problem.parameters)), copy.deepcopy(problem.parameters)):
        assert "bundle" not in vars(other)
        assert (Expectation(problem.statistics)(other)[0].sums == expected).all()
    moved = replace(problem.parameters, means=problem.parameters.means + 1.0)
    assert (Expectation(problem.statistics)(moved)[0].sums != expected).any()
    with pytest.raises(TypeError, match="send the parameters"):
        pickle.dumps(problem.parameters.bundle)


def test_a_mode_without_weight_is_no_warning():
    """log 0 is −∞, which rules the mode out; NumPy's warning about it would fail a run with warnings as errors."""
    problem = random_problem(np.random.default_rng(2), 2, (2, 3))
    none = replace(random_parameters(np.random.default_rng(2), 2, (2, 3)), weights=np.array([1.0, 0.0]))
    with np.errstate(all="raise"):
        _, rho = Expectation(problem.statistics, kernel="lapack")(none)
    assert (rho == [1.0, 0.0]).all()
