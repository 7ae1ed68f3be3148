"""The fleet that ships inside is the recipe's, and what its documentation says of it is so."""

import io
from importlib import resources

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from cem.datasets.demo_fleet import MEANS, STEPS, load_demo_fleet, simulate_demo_fleet, write_demo_fleet


def test_recipe_gives_the_shipped_file_again():
    written = io.BytesIO()
    write_demo_fleet(written)
    written.seek(0)
    shipped = resources.files("cem.datasets").joinpath("data/demo_fleet.npz")
    with np.load(written) as again, shipped.open("rb") as file, np.load(file) as kept:
        assert sorted(again.files) == sorted(kept.files)
        for name in kept.files:
            np.testing.assert_allclose(again[name], kept[name], rtol=1e-12, err_msg=name)


def test_loaded_fleet_is_the_one_simulated():
    loaded, drawn = load_demo_fleet(modes=True), simulate_demo_fleet()
    assert loaded.modes == drawn.modes and loaded.channels == drawn.channels and loaded.response == "wear"
    np.testing.assert_allclose(loaded.values, drawn.values, rtol=1e-12)
    np.testing.assert_array_equal(loaded.times, drawn.times)
    # Where a curve crosses the threshold comes from BLAS, whose last bit differs from processor to processor.
    np.testing.assert_allclose(loaded.failure_times, drawn.failure_times, rtol=1e-12)


def test_modes_are_hidden_unless_asked_for():
    assert set(load_demo_fleet().modes) == {None}


def test_fleet_is_as_small_and_as_awkward_as_it_says():
    panel = load_demo_fleet(modes=True)
    assert len(resources.files("cem.datasets").joinpath("data/demo_fleet.npz").read_bytes()) <= 300_000
    assert panel.n_units == 160 and panel.n_channels == 8
    assert {mode: panel.modes.count(mode) for mode in MEANS} == {"bearing": 88, "seal": 64, "cavitation": 8}
    assert np.isfinite(panel.failure_times).all()
    lengths = np.diff(panel.offsets)
    assert lengths.max() > 2 * lengths.min()
    missing = np.isnan(panel.values).mean(axis=0)
    assert (missing > 0.02).all() and missing[panel.channel_index("wear")] > 0.5
    assert 5 <= (panel.counts[:, panel.channel_index("flow")] == 0).sum() <= 30
    debris = panel.values[:, panel.channel_index("debris")]
    assert np.all(debris[~np.isnan(debris)] % STEPS["debris"] == 0)
    assert panel.values[:, panel.channel_index("wear")][~np.isnan(panel.values[:, -1])].max() < 1.1


@pytest.mark.parametrize("seed", [20, 1])
def test_modes_are_not_to_be_had_by_clustering_readings(seed):
    """Were they, a demonstration on this fleet would show nothing."""
    panel = simulate_demo_fleet(seed)
    last = np.full((panel.n_units, panel.n_channels), np.nan)
    for l in range(panel.n_units):
        rows = panel.values[panel.offsets[l] : panel.offsets[l + 1]]
        for c in range(panel.n_channels):
            seen = rows[~np.isnan(rows[:, c]), c]
            last[l, c] = seen[-3:].mean() if len(seen) else np.nan
    last = (last - np.nanmean(last, axis=0)) / np.nanstd(last, axis=0)
    found = KMeans(3, n_init=10, random_state=0).fit_predict(np.nan_to_num(last))
    assert adjusted_rand_score(panel.modes, found) < 0.9
