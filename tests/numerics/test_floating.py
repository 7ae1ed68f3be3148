"""Lengths of rows: those of NumPy to the bit, and finite where its squares are not."""

from __future__ import annotations

import numpy as np

from cem.numerics.floating import row_lengths, scaled_rows

ROWS = np.random.default_rng(0).standard_normal((3, 7, 5))


def test_lengths_are_those_of_plain_squares():
    """Every standard error goes through them: results of ordinary fits must not move."""
    np.testing.assert_allclose(row_lengths(ROWS), np.sqrt(np.square(ROWS).sum(axis=-1)), rtol=4e-16)
    assert row_lengths(np.zeros((2, 4))).tolist() == [0.0, 0.0] and row_lengths(np.zeros((2, 0))).tolist() == [0.0, 0.0]


def test_lengths_are_exact_where_squares_overflow_or_vanish():
    """Standard errors of variances of 1e300 were infinite, and those of 1e-300 were missing."""
    with np.errstate(all="raise"):
        for power in (1010, -1000):
            np.testing.assert_array_equal(row_lengths(np.ldexp(ROWS, power)), np.ldexp(row_lengths(ROWS), power))
        small, large = row_lengths(np.array([[3e-300, 4e-300], [3e300, 4e-300]]))
    np.testing.assert_allclose([small, large], [5e-300, 3e300])


def test_scaled_rows_are_the_rows_over_powers_of_two():
    rows, exponents = scaled_rows(ROWS * 1e200)
    np.testing.assert_array_equal(np.ldexp(rows, exponents[..., None]), ROWS * 1e200)
    largest = np.abs(rows).max(axis=-1)
    assert (largest >= 0.5).all() and (largest < 1.0).all()
