"""The fleet with three loads is the recipe's, and it shows what it is there for: without its loads a fit goes wrong."""

from __future__ import annotations

import io
import warnings
from importlib import resources

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

import cem
from cem.datasets.compressor_fleet import (
    CHANNEL_UNITS,
    SETTINGS,
    SITES,
    load_compressor_fleet,
    simulate_compressor_fleet,
    write_compressor_fleet,
)
from cem.errors import CemWarning, CommonCauseWarning, NoSkillWarning
from cem.panel.panel import Panel


def test_recipe_gives_the_shipped_file_again():
    written = io.BytesIO()
    write_compressor_fleet(written)
    written.seek(0)
    shipped = resources.files("cem.datasets").joinpath("data/compressor_fleet.npz")
    assert len(shipped.read_bytes()) <= 100_000
    with np.load(written) as again, shipped.open("rb") as file, np.load(file) as kept:
        assert sorted(again.files) == sorted(kept.files)
        for name in kept.files:
            np.testing.assert_array_equal(again[name], kept[name], err_msg=name)


def test_loaded_fleet_is_the_one_simulated():
    loaded, drawn = load_compressor_fleet(modes=True), simulate_compressor_fleet()
    assert loaded.modes == drawn.modes and loaded.channels == drawn.channels == tuple(CHANNEL_UNITS)
    np.testing.assert_array_equal(loaded.values, drawn.values)
    np.testing.assert_array_equal(loaded.failure_times, drawn.failure_times)
    assert set(load_compressor_fleet().modes) == {None}


def test_settings_and_site_are_covariates_and_no_channels():
    """As channels they would make up modes of their own."""
    panel = load_compressor_fleet()
    assert panel.covariates == tuple(SETTINGS) and panel.unit_covariates == ("site",)
    assert set(panel.covariate("site")) == set(SITES)
    speed = panel.covariate("speed")
    nearest = np.abs(speed[:, None] - SETTINGS["speed"]).argmin(axis=1)
    assert np.abs(speed - np.array(SETTINGS["speed"])[nearest]).max() < 50
    assert np.bincount(nearest).min() > 0.2 * len(nearest)


def by_load(panel: Panel) -> Panel:
    """The same fleet with every sensor standardised by load, outside the package."""
    load = np.abs(panel.covariate("speed")[:, None] - SETTINGS["speed"]).argmin(axis=1)
    values = np.array(panel.values)
    for g in range(3):
        rows = load == g
        values[rows] = (values[rows] - np.nanmean(values[rows], axis=0)) / np.nanstd(values[rows], axis=0)
    return Panel(
        panel.units, panel.offsets, panel.times, values, panel.channels, failure_times=panel.failure_times,
        time_unit=panel.time_unit,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [7, 1])
def test_a_fit_needs_the_loads(seed):
    """With sensors as they are: modes of the load, lives as without sensors, and a warning. By load: both right."""
    fleet = simulate_compressor_fleet(seed)
    raw = fleet.with_modes(None)

    def fitted(panel):
        em = cem.FailureModeEM(
            3, basis=cem.Exponential([40.0, 110.0]), time_axis="to_failure", covariance="pooled", random_state=0
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CemWarning)
            em.fit(panel)
        return em, {one.category: str(one.message) for one in caught}

    em, caught = fitted(raw)
    assert "'speed', 'valve'" in caught[CommonCauseWarning]
    assert adjusted_rand_score(fleet.modes, em.predict(raw)) < 0.2
    with pytest.warns(NoSkillWarning):
        cem.RemainingLife(em.model_).calibrated(raw, em, ages=3, n_folds=3, correct=False)
    mended = by_load(raw)
    em, caught = fitted(mended)
    assert CommonCauseWarning not in caught
    assert adjusted_rand_score(fleet.modes, em.predict(mended)) > 0.9
    report = cem.RemainingLife(em.model_).calibrated(mended, em, ages=3, n_folds=3).calibration
    assert report.skill > 0.2
