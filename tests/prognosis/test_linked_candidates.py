"""Linked channels at every candidate life: registers and the plain kernel must tell the same, on every level."""

from __future__ import annotations

import numpy as np
import pytest
from candidate_cases import linked_problem
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.errors import OptionError, PredictionError
from cem.prognosis import _rul
from cem.prognosis.candidates import Candidates


@pytest.mark.parametrize("level", _rul.LEVELS)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=5),
    rank=st.integers(1, 16),
    n_modes=st.integers(1, 3),
    n_grid=st.integers(2, 19),
    spread=st.floats(0.0, 4.0),
)
def test_registers_tell_what_the_plain_kernel_tells(level, seed, sizes, rank, n_modes, n_grid, spread):
    """p = 1 … 8, more factors than coefficients, n < p, channels not read, grids that fill no register."""
    statistics, parameters, shifts, worth, directions = linked_problem(
        seed, tuple(sizes), rank, n_modes, n_grid, spread=spread
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CEM_INSTRUCTION_LEVEL", level)
        found, shared = Candidates(parameters, directions, worth).evidence_of_matrices(statistics, shifts)
    wanted, _, other = Candidates(parameters, directions, worth).one_by_one(statistics, shifts)
    np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-7)
    np.testing.assert_allclose(shared.means, other.means, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(shared.variances, other.variances, rtol=1e-6, atol=1e-9)
    alone, nothing = Candidates(parameters, None, worth).evidence_of_matrices(statistics, shifts)
    np.testing.assert_allclose(alone, wanted, rtol=1e-8, atol=1e-7)
    assert nothing is None


def test_large_bases_and_shifts_that_mix_take_the_plain_kernel():
    """Nine coefficients, or sine–cosine pairs, fit no register: they must still be weighed."""
    statistics, parameters, shifts, worth, _ = linked_problem(1, (9, 2), 2, 2, 5)
    densities, _ = Candidates(parameters, None, worth).evidence_of_matrices(statistics, shifts)
    assert np.isfinite(densities).all()
    statistics, parameters, shifts, worth, _ = linked_problem(2, (2, 3), 2, 2, 5)
    shifts[0][:, 1, 0] = 0.5
    densities, _ = Candidates(parameters, None, worth).evidence_of_matrices(statistics, shifts)
    wanted = Candidates(parameters, None, worth).one_by_one(statistics, shifts)[0]
    np.testing.assert_array_equal(densities, wanted)


def test_a_unit_that_is_not_finite_is_named():
    statistics, parameters, shifts, worth, _ = linked_problem(3, (2, 3), 2, 2, 8)
    statistics.projections[0][1] = np.inf
    statistics.counts[1, 0] = 3
    with pytest.raises(PredictionError, match="unit 'b'"):
        Candidates(parameters, None, worth).evidence_of_matrices(statistics, shifts)


def test_the_kernel_refuses_arrays_that_do_not_fit():
    """It reads them without looking: a wrong shape must end in a message, not in memory that is not its own."""
    sizes = np.array([2], dtype=np.int32)

    def call(**changed):
        arguments = {
            "sizes": sizes,
            "shifts": np.zeros((1, 3, 8)),
            "places": np.array([0, 1, 3], dtype=np.int32),
            "n_rows": 4,
            "shift_starts": np.zeros(1, dtype=np.int32),
            "triangles": np.zeros((1, 4)),
            "projections": np.zeros((1, 2)),
            "residual_norms": np.zeros((1, 1)),
            "counts": np.ones((1, 1)),
            "modes": np.ones(3 + 4 + 4 + 4),
            "rank": 1,
            "directions": np.zeros((0, 1)),
            "log_densities_out": np.zeros((1, 1, 8)),
            "shared_out": np.zeros((2, 0, 0, 0)),
            "level": 0,
        }
        _rul.candidate_log_densities(**{**arguments, **changed})

    call()
    for name, wrong, message in (
        ("level", 9, "level is 9"),
        ("log_densities_out", np.zeros((1, 1, 7)), "7 candidates"),
        ("rank", 17, "rank is 17"),
        ("sizes", np.array([9], dtype=np.int32), "channel 0 has 9"),
        ("shift_starts", np.array([1], dtype=np.int32), "lie outside"),
        ("shifts", np.zeros((2, 3, 8)), "shifts has the shape"),
        ("places", np.array([0, 1, 4], dtype=np.int32), "places"),
        ("triangles", np.zeros((1, 3)), "triangles has the shape"),
        ("projections", np.zeros((2, 2)), "projections has the shape"),
        ("residual_norms", np.zeros((1, 2)), "residual_norms has the shape"),
        ("modes", np.ones(14), "modes has the shape"),
        ("directions", np.zeros((2, 1)), "directions has the shape"),
        ("directions", np.zeros((1, 1)), "shared_out does not hold"),
    ):
        with pytest.raises(OptionError, match=message):
            call(**{name: wrong})
