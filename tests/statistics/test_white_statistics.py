"""Statistics of white rows: the compression of a unit that wanders, in both kernels, against rows whitened in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from reference_process import dense_covariance, ragged_times, whitened_by_numpy

from cem.basis.families import Polynomial
from cem.errors import PanelError
from cem.panel.panel import Panel
from cem.process.channel_process import ChannelProcess
from cem.statistics import channel_groups
from cem.statistics.sufficient import SufficientStatistics

WANDERS = (ChannelProcess("wiener", 2.0), None, ChannelProcess("ou", 3.0, 0.7), ChannelProcess("integrated", 0.1))


def fleet(seed=0, n_units=25):
    """Four channels at a level of 50, each with its own gaps, and a unit that a channel never read."""
    rng = np.random.default_rng(seed)
    times = [ragged_times(rng, int(rng.integers(1, 30))) for _ in range(n_units)]
    values = [50.0 + rng.normal(size=(len(t), 4)) for t in times]
    for x in values:
        x[rng.random(x.shape) < 0.3] = np.nan
        x[0, 1] = 50.0
    values[3][:, 0] = np.nan
    return Panel.from_arrays(times, values)


def compressed(panel, **options):
    basis = Polynomial(2).bind(panel.times)
    return SufficientStatistics.from_panel(panel, (basis,) * 4, **options)


def block(statistics, l, c):
    start = statistics.factor_offsets[l, c]
    return statistics.factors[start : start + 9].reshape(3, 3)


@pytest.mark.parametrize("kernel", ["lapack", "plain"])
def test_products_are_those_of_rows_whitened_in_numpy(kernel, monkeypatch):
    """In chunks of a few units, too, and with coordinates that were learned from white rows."""
    monkeypatch.setattr(channel_groups, "_ROWS_PER_CHUNK", 60)
    panel = fleet()
    learned = compressed(panel, processes=WANDERS)
    coordinates = learned.coordinates
    found = learned if kernel == "lapack" else compressed(
        panel, processes=WANDERS, kernel="plain", coordinates=coordinates
    )  # fmt: skip
    basis = found.bases[0]
    for l in range(panel.n_units):
        rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        for c, process in enumerate(WANDERS):
            x = panel.values[rows, c]
            seen = ~np.isnan(x)
            assert found.counts[l, c] == seen.sum()
            if not seen.any():
                assert found.factor_offsets[l, c] == -1
                assert found.log_determinants[l, c] == 0
                continue
            t, white, total = panel.times[rows][seen], np.column_stack([basis(panel.times[rows][seen]), x[seen]]), 0.0
            if process is not None:
                white, total, _, _ = whitened_by_numpy(process, t, white)
            design = np.linalg.solve(coordinates.transform(c).T, white[:, :3].T).T
            e = (white[:, 3] - white[:, :3] @ coordinates.centre(c)) / coordinates.scales[c]
            R, w = block(found, l, c), found.layout.vector(found.projections, c)[l]
            np.testing.assert_allclose(R.T @ R, design.T @ design, atol=1e-9)
            np.testing.assert_allclose(R.T @ w, design.T @ e, atol=1e-9)
            np.testing.assert_allclose(w @ w + found.residual_norms[l, c], e @ e, rtol=1e-9)
            np.testing.assert_allclose(found.log_determinants[l, c], total, atol=1e-11)


def test_without_a_process_nothing_changes():
    """To the bit: plain fleets keep their path, and their designs stay shared."""
    panel = fleet()
    plain, found = compressed(panel), compressed(panel, processes=(None,) * 4)
    np.testing.assert_array_equal(found.projections, plain.projections)
    np.testing.assert_array_equal(found.factors, plain.factors)
    assert found.log_determinants is None and found.log_jacobian == plain.log_jacobian


def test_determinants_follow_units():
    panel = fleet()
    whole = compressed(panel, processes=WANDERS)
    chosen = np.array([4, 2, 7])
    assert whole.log_jacobian == pytest.approx(whole.log_jacobians.sum(), rel=1e-13)
    np.testing.assert_array_equal(whole.subset(chosen).log_jacobians, whole.log_jacobians[chosen])
    parts = [whole.subset(np.arange(10)), whole.subset(np.arange(10, panel.n_units))]
    np.testing.assert_array_equal(SufficientStatistics.concatenate(parts).log_jacobians, whole.log_jacobians)
    assert whole.without_last_channel().log_determinants.shape == (panel.n_units, 3)
    with pytest.raises(PanelError, match="some without"):
        SufficientStatistics.concatenate([whole, compressed(panel, coordinates=whole.coordinates)])


def test_the_jacobian_is_that_of_the_dense_covariance():
    """Without −½ Σ ln F every choice of a ratio is wrong."""
    panel = fleet(1, 5)
    found = compressed(panel, processes=WANDERS)
    for l in range(5):
        rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        expected = 0.0
        for c, process in enumerate(WANDERS):
            seen = ~np.isnan(panel.values[rows, c])
            expected -= seen.sum() * np.log(found.coordinates.scales[c])
            if process is not None and seen.any():
                expected -= 0.5 * np.linalg.slogdet(dense_covariance(process, panel.times[rows][seen]))[1]
        assert found.log_jacobians[l] == pytest.approx(expected, rel=1e-12)
