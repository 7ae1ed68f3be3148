"""Whitening: if it were wrong, a unit that wanders would get a wrong likelihood, and every ratio a wrong comparison."""

from __future__ import annotations

import numpy as np
import pytest
from reference_process import PROCESSES, dense_covariance, ragged_times, whitened_by_numpy

from cem.basis.families import Polynomial
from cem.process.channel_process import ChannelProcess
from cem.statistics._householder import whiten_units
from cem.statistics.whitening import whitened

LENGTHS = (1, 2, 9, 40)


def white_unit(process, times, design, x):
    return whitened(process, times, design, x, np.array([0, len(times)]))


@pytest.mark.parametrize("process", PROCESSES, ids=str)
@pytest.mark.parametrize("n", LENGTHS)
def test_white_rows_have_the_products_and_the_determinant_of_the_dense_covariance(process, n):
    """Quadratic forms of all columns, with one reading, with repeated times and with long gaps."""
    rng = np.random.default_rng(n)
    times = ragged_times(rng, n)
    rows = np.column_stack([np.ones(n), times, np.square(times), rng.normal(size=n)])
    white = white_unit(process, times, rows[:, :3], rows[:, 3])
    own = np.column_stack([white.design, white.values])
    V = dense_covariance(process, times)
    L = np.linalg.cholesky(V)
    along = np.linalg.solve(L, rows)
    scale = np.sqrt(np.outer((along**2).sum(0), (along**2).sum(0)))
    np.testing.assert_allclose(own.T @ own / scale, along.T @ along / scale, atol=1e-10)
    np.testing.assert_allclose(white.log_determinants, 2 * np.log(np.diag(L)).sum(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_the_kernel_is_the_filter_written_out(process):
    """Several units, cells that are missing at the start, in the middle and at the end, and a unit without readings."""
    rng = np.random.default_rng(3)
    lengths = [7, 0, 1, 25, 4]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([ragged_times(rng, n) for n in lengths])
    design = Polynomial(2).bind(times)(times)
    x = rng.normal(size=len(times))
    x[rng.random(len(x)) < 0.3] = np.nan
    x[offsets[-2] :] = np.nan
    white = whitened(process, times, design, x, offsets)
    for l in range(len(lengths)):
        rows = np.arange(offsets[l], offsets[l + 1])
        seen = rows[~np.isnan(x[rows])]
        expected, total, means, variances = whitened_by_numpy(
            process, times[seen], np.column_stack([design[seen], x[seen]])
        )
        np.testing.assert_allclose(white.design[seen], expected[:, :-1], atol=1e-12)
        np.testing.assert_allclose(white.values[seen, 0], expected[:, -1], atol=1e-12)
        np.testing.assert_allclose(white.log_determinants[l], total, atol=1e-12)
        np.testing.assert_allclose(white.means[l], means, atol=1e-12)
        np.testing.assert_allclose(white.variances[l], variances[[0, 0, 1], [0, 1, 1]], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(np.isnan(white.values[:, 0]), np.isnan(x))


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_whitening_commutes_with_a_shift_of_the_clock(process):
    """Lives at failure move units along the time axis after they are compressed."""
    rng = np.random.default_rng(8)
    times = ragged_times(rng, 30)
    basis = Polynomial(3).bind(np.array([-40.0, 40.0]))
    shift = 5.3
    S = basis.shift_matrix(np.array([shift]))[0]
    here = white_unit(process, times, basis(times), np.zeros(30))
    there = white_unit(process, times - shift, basis(times - shift), np.zeros(30))
    np.testing.assert_allclose(there.design, here.design @ S, atol=1e-12)


@pytest.mark.parametrize("process", PROCESSES, ids=str)
def test_a_filter_goes_on_where_earlier_readings_left_it(process):
    """Streaming whitens reading by reading, and must have the bits of all at once; missing readings move nothing."""
    rng = np.random.default_rng(9)
    lengths = np.array([6, 0, 3])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    times = np.concatenate([ragged_times(rng, n) for n in lengths])
    design, x = Polynomial(2).bind(times)(times), rng.normal(size=len(times))
    x[[0, 3]] = np.nan
    whole = whitened(process, times, design, x, offsets)
    filters, rows = None, [[], [], []]
    for i in range(6):
        here = [np.arange(a + i, a + i + 1) if i < n else [] for a, n in zip(offsets[:-1], lengths, strict=True)]
        own = np.concatenate(here).astype(int)
        filters = whitened(process, times[own], design[own], x[own], np.cumsum([0, *map(len, here)]), filters)
        rows[0].extend(own)
        rows[1].extend(filters.design)
        rows[2].extend(filters.values[:, 0])
    order = np.argsort(rows[0])
    np.testing.assert_array_equal(np.array(rows[1])[order], whole.design)
    np.testing.assert_array_equal(np.array(rows[2])[order], whole.values[:, 0])
    for name in ("log_determinants", "means", "variances", "last"):
        np.testing.assert_array_equal(getattr(filters, name), getattr(whole, name))


def test_without_a_ratio_rows_stay_as_they_are():
    times, design = np.arange(5.0), np.ones((5, 1))
    white = white_unit(ChannelProcess("integrated", 0.0), times, design, times)
    np.testing.assert_array_equal(white.values[:, 0], times)
    np.testing.assert_array_equal(white.design, design)
    assert white.log_determinants[0] == 0.0


def test_the_kernel_refuses_arrays_that_do_not_fit():
    """It reads them unchecked."""
    arrays = [
        np.zeros((3, 2)),
        np.zeros((3, 5)),
        np.array([0, 3]),
        0.0,
        np.zeros(1, dtype=np.int64),
        np.empty(1),
        np.empty((1, 2, 2)),
        np.empty((1, 3)),
    ]
    whiten_units(*arrays, (3, 2, 1))
    for at, wrong in ((0, np.zeros((2, 2))), (1, np.zeros((3, 4))), (2, np.array([0, 4])), (6, np.empty((1, 2, 1)))):
        with pytest.raises(ValueError):
            whiten_units(*[wrong if i == at else array for i, array in enumerate(arrays)], (3, 2, 1))
