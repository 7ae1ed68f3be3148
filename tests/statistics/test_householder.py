"""Compression without LAPACK: what predictions are made from must hold every inner product of the readings."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.statistics._householder import compress_units


@settings(max_examples=40, derandomize=True, deadline=None)
@given(seed=st.integers(0, 10_000), p=st.integers(1, 6), n_channels=st.integers(1, 9))
def test_compression_keeps_every_inner_product(seed, p, n_channels):
    """R'R, R'w and |w|^2 + rss are those of the observed rows, for units of 0 to 3p rows with missing cells."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, 3 * p + 1, 4)
    row_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    design = rng.normal(size=(row_offsets[-1], p))
    design[rng.random(design.shape) < 0.1] = 0.0
    values = rng.normal(size=(row_offsets[-1], n_channels))
    values[rng.random(values.shape) < 0.25] = np.nan
    R, w = np.full((4, n_channels, p, p), np.nan), np.full((4, n_channels, p), np.nan)
    rss, n = np.full((4, n_channels), np.nan), np.full((4, n_channels), -1)
    columns = np.arange(n_channels, dtype=np.int32)
    shape = (len(design), n_channels, 4, n_channels, p)
    compress_units(design, values, row_offsets, columns, R, w, rss, n, shape)
    for unit in range(4):
        rows = slice(row_offsets[unit], row_offsets[unit + 1])
        for c in range(n_channels):
            x = values[rows, c]
            seen = ~np.isnan(x)
            phi, x = design[rows][seen], x[seen]
            assert n[unit, c] == seen.sum()
            assert np.all(np.tril(R[unit, c], -1) == 0)
            np.testing.assert_allclose(R[unit, c].T @ R[unit, c], phi.T @ phi, atol=1e-12)
            np.testing.assert_allclose(R[unit, c].T @ w[unit, c], phi.T @ x, atol=1e-12)
            np.testing.assert_allclose(w[unit, c] @ w[unit, c] + rss[unit, c], x @ x, atol=1e-12)


def test_compression_of_a_big_unit_loses_no_digits():
    """Two hundred thousand rows: the residual sum of squares to 5e-14, where plain summation drifts."""
    rng = np.random.default_rng(1)
    n = 200_000
    u = np.linspace(-1, 1, n)
    design = np.stack([np.ones(n), u, 1.5 * u**2 - 0.5], axis=1)
    values = design @ rng.normal(size=(3, 2)) + 0.1 * rng.normal(size=(n, 2))
    R, w = np.zeros((1, 2, 3, 3)), np.zeros((1, 2, 3))
    rss, count = np.zeros((1, 2)), np.zeros((1, 2), dtype=np.int64)
    columns = np.arange(2, dtype=np.int32)
    compress_units(design, values, np.array([0, n]), columns, R, w, rss, count, (n, 2, 1, 2, 3))
    coefficients = np.linalg.lstsq(design, values, rcond=None)[0]
    expected = np.sum(((values - design @ coefficients).astype(np.longdouble)) ** 2, axis=0)
    np.testing.assert_allclose(rss[0], expected.astype(float), rtol=5e-14)
    np.testing.assert_allclose(np.linalg.solve(R[0, 0], w[0, 0]), coefficients[:, 0], rtol=1e-12)
