"""Residuals: quantiles of the true model are uniform and independent, and a wrong model is seen."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace

import numpy as np
import pytest
from conditioned_fleets import EVERYTHING, conditioned_fleet, fitted
from model_cases import example_model, ragged_panel
from scipy.special import logsumexp
from scipy.stats import kstest

import cem
from cem.basis.families import Polynomial
from cem.mixture.conditioned import adjusted_panel
from cem.mixture.prediction import log_densities
from cem.model.innovations import Cells, predicted_cells
from cem.model.residuals import _internal, _of_components, _steps

KINDS = ("subject", "marginal", "quantile")
MODELS = {
    "plain": {},
    "linked": {"linking_rank": 1},
    "everything": EVERYTHING,
}


@pytest.fixture(scope="module", params=[(kind, failing) for kind in MODELS for failing in (False, True)])
def case(request):
    kind, failing = request.param
    panel = conditioned_fleet(3, n_units=20, failing=failing)
    axis = {"time_axis": "to_failure"} if failing else {}
    degree = 2 if kind == "everything" else 1
    return fitted(panel, basis=Polynomial(degree), max_iter=20, **MODELS[kind], **axis).model_, panel


def log_density_by_cells(model, panel):
    read = model._aligned(panel)
    own = adjusted_panel(model, read)
    designs, values = _internal(model, read, own)
    cells = Cells.of(values, np.asarray(own.offsets, dtype=np.int64))
    innovations, variances = predicted_cells(cells, designs, values, model.internal_parameters)
    logs = -0.5 * (np.log(2 * np.pi * variances) + innovations**2 / variances)
    found = np.array([logs[a:b].sum(axis=0) for a, b in zip(cells.first[:-1], cells.first[1:], strict=True)])
    return found, log_densities(model.compressed(read), model.internal_parameters)


def test_predictions_of_cells_multiply_to_the_density_of_the_unit(case):
    """Otherwise quantile residuals would be of another model than the one that scores: linked, under conditions."""
    found, expected = log_density_by_cells(*case)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8)


def test_missing_cells_and_channels_of_other_sizes_multiply_to_the_density_too():
    model = example_model()
    found, expected = log_density_by_cells(model, ragged_panel(model))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_has_residuals_of_unit_spread(case, kind):
    """A residual over its standard deviation has the spread 1, whatever the model has beside curves."""
    model, panel = case
    found = model.residuals(panel, kind)
    assert found.values.shape == (panel.n_readings, model.n_channels)
    assert found.standardised.std() == pytest.approx(1.0, abs=0.1)
    assert abs(found.standardised.mean()) < 0.1


@pytest.fixture(scope="module")
def model():
    return example_model()


@pytest.fixture(scope="module")
def drawn(model):
    times = [np.sort(np.random.default_rng(l).uniform(0, 10, 1 + l % 9)) for l in range(1500)]
    panel = model.sample(1500, times, random_state=4)
    values = panel.values.copy()
    values[np.random.default_rng(0).uniform(size=values.shape) < 0.2] = np.nan
    return panel._replace(values=values)


def test_quantile_residuals_of_the_true_model_are_uniform_and_independent(model, drawn):
    """Three modes that overlap, cells missing, one to nine readings a unit."""
    found = model.residuals(drawn, "quantile")
    seen = np.isfinite(found.standardised)
    assert kstest(found.uniform[seen], "uniform").pvalue > 1e-3
    assert kstest(found.unit_tails, "uniform").pvalue > 1e-3
    for c in range(model.n_channels):
        assert kstest(found.uniform[seen[:, c], c], "uniform").pvalue > 1e-3
    both = seen[:, 0] & seen[:, 2]
    assert abs(np.corrcoef(found.standardised[both][:, [0, 2]].T)[0, 1]) < 4 / np.sqrt(both.sum())
    follows = np.diff(found.offsets).repeat(np.diff(found.offsets)) > 1
    z = found.standardised[follows, 0]
    pairs = np.isfinite(z[1:]) & np.isfinite(z[:-1])
    assert abs(np.corrcoef(z[1:][pairs], z[:-1][pairs])[0, 1]) < 4 / np.sqrt(pairs.sum())


def test_quantile_residuals_see_a_noise_that_is_wrong(model, drawn):
    """Twice the noise in the readings: residuals are too wide, and units have small tails."""
    parameters = model.internal_parameters
    quiet = cem.FailureModeModel(
        **{**model._arguments(), "parameters": replace(parameters, noise_variances=parameters.noise_variances / 4)}
    )
    found = quiet.residuals(drawn, "quantile")
    assert np.nanstd(found.standardised) > 1.15
    assert np.mean(found.unit_tails < 0.01) > 0.05


def test_a_gross_error_has_a_finite_residual(model, drawn):
    """A spike of a million sd is beyond the smallest probability of a float, and must not end as infinity."""
    values = drawn.values.copy()
    row = int(np.flatnonzero(np.isfinite(values[:, 0]))[5])
    values[row, 0] += 1e6
    found = model.residuals(drawn._replace(values=values), "quantile").standardised
    assert 1e3 < found[row, 0] < np.inf and np.isfinite(found[np.isfinite(values)]).all()


@pytest.mark.parametrize("value", [1e160, -1e200, 1e307, 1.7e308])
@pytest.mark.parametrize("mode", [None, 7])
def test_a_reading_whose_square_overflows_is_refused_by_name(model, drawn, value, mode):
    """Its residual and the later ones of its unit were left out, and the unit with the wildest reading looked usual."""
    row = int(np.flatnonzero(np.isfinite(drawn.values[:, 1]))[50])
    unit = np.searchsorted(drawn.offsets, row, side="right") - 1
    values = drawn.values.copy()
    values[row, 1] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        wild = drawn._replace(values=values)
    message = (
        f"residuals of unit {drawn.units[unit]!r} overflow: its reading {value:g} of channel {model.channels[1]!r}"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(cem.PredictionError, match=re.escape(message)):
            model.residuals(wild, "quantile", mode=mode)


def test_residuals_under_a_mode_are_refused_where_they_are_not_finite(model, drawn):
    """Under one mode nobody asks for probabilities, which are refused: all residuals of the unit were NaN, unsaid."""
    row = int(np.flatnonzero(np.isfinite(drawn.values[:, 0]))[5])
    values = drawn.values.copy()
    values[row, 0] = 1.7e308
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        wild = drawn._replace(values=values)
    with pytest.raises(cem.PredictionError, match=r"its reading 1\.7e\+308 of channel 'a'"):
        model.residuals(wild, "subject", mode=7)


def test_a_reading_whose_square_is_just_a_number_has_a_tail_of_0_and_a_short_line(model, drawn):
    """No bare warning of NumPy reaches the user, and the mean is not a number of 150 digits."""
    row = int(np.flatnonzero(np.isfinite(drawn.values[:, 0]))[5])
    unit = np.searchsorted(drawn.offsets, row, side="right") - 1
    values = drawn.values.copy()
    values[row, 0] = 1e150
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = model.residuals(drawn._replace(values=values), "quantile")
        assert found.unit_tails[unit] == 0.0 and np.isfinite(found.standardised[np.isfinite(values)]).all()
        assert re.search(r"; mean \d\.\d{1,3}e\+14\d, sd \d\.\d{1,3}e\+14\d, ", repr(found))
        alone = model.residuals(drawn._replace(values=np.where(values == 1e150, 1e300, values)), "marginal", mode=7)
        assert alone.unit_tails[unit] == 0.0 and "sd inf" not in repr(alone)


def test_residuals_are_what_they_say(model, drawn):
    """Under one mode: readings less φᵀμ, and less φᵀT̂ of `posterior`."""
    k, c = 1, 0
    found = model.residuals(drawn, "marginal", mode=7)
    curve = model.bases[c](drawn.times) @ model.parameters(7, c).mean
    np.testing.assert_allclose(found.values[:, c], drawn.values[:, c] - curve, atol=1e-8)
    posterior = model.posterior(drawn)
    rows = np.repeat(np.arange(drawn.n_units), np.diff(drawn.offsets))
    own = np.einsum("np,np->n", model.bases[c](drawn.times), posterior.means[rows, k, c, : model.bases[c].size])
    found = model.residuals(drawn, "subject", mode=7)
    np.testing.assert_allclose(found.values[:, c], drawn.values[:, c] - own, atol=1e-8)
    assert found.mode == 7 and "mode 7" in repr(found)


def test_residuals_of_the_modes_that_a_unit_may_have_are_averaged(model, drawn):
    """Between two modes a unit's curve is their average by probability, and not that of the likelier one."""
    weights = model.predict_proba(drawn)
    rows = np.repeat(np.arange(drawn.n_units), np.diff(drawn.offsets))
    parts = [model.residuals(drawn, "marginal", mode=label).values for label in model.mode_labels]
    expected = sum(weights[rows, k, None] * part for k, part in enumerate(parts))
    np.testing.assert_allclose(model.residuals(drawn, "marginal").values, expected, atol=1e-8)


def test_labels_do_not_change_residuals(model, drawn):
    """Predictions ignore labels, and residuals are checks of predictions."""
    labelled = drawn.with_modes(["wear"] * drawn.n_units)
    for kind in KINDS:
        np.testing.assert_array_equal(
            model.residuals(labelled, kind).standardised, model.residuals(drawn, kind).standardised
        )


def test_a_running_unit_is_refused_by_name():
    """Its place on the time to failure is not known."""
    panel = conditioned_fleet(3, n_units=20, failing=True)
    model = fitted(panel, basis=Polynomial(1), max_iter=20, time_axis="to_failure").model_
    failures = np.array(panel.failure_times)
    failures[2] = np.nan
    with pytest.raises(cem.PredictionError, match=f"unit {panel.units[2]!r} is still running"):
        model.residuals(panel._replace(failure_times=failures), "quantile")


def test_unknown_kinds_and_modes_are_refused(model, drawn):
    with pytest.raises(cem.OptionError, match="kind is 'pearson'; 'subject', 'marginal' or 'quantile' was expected"):
        model.residuals(drawn, "pearson")
    with pytest.raises(cem.OptionError, match="no mode 'rust'"):
        model.residuals(drawn, mode="rust")


def test_the_frame_has_a_row_for_each_observed_cell(model, drawn):
    pytest.importorskip("pandas")
    found = model.residuals(drawn, "quantile")
    frame = found.to_frame("pandas")
    assert len(frame) == np.isfinite(drawn.values).sum()
    row = frame.iloc[-1]
    assert row["unit"] == drawn.units[-1] and row["channel"] in model.channels
    assert "unit" in found._repr_html_()


def test_rounded_readings_are_placed_within_their_step():
    """A sensor that reads whole numbers of one noise deviation has steps, which are no fault of the model."""
    rng = np.random.default_rng(1)
    times = np.arange(12.0)
    values = 20.0 + 3.0 * rng.normal(size=(150, 1, 1)) + rng.normal(size=(150, 12, 1))
    panel = cem.Panel.from_arrays(times, np.rint(values))
    model = cem.FailureModeEM(1, basis=cem.Constant(), random_state=0).fit(panel).model_
    found = model.residuals(panel, "quantile")
    assert kstest(found.uniform[:, 0], "uniform").pvalue > 0.01
    unrounded = model.residuals(
        cem.Panel.from_arrays(times, np.rint(values) + 1e-7 * rng.normal(size=values.shape)), "quantile"
    )
    assert kstest(unrounded.uniform[:, 0], "uniform").pvalue < kstest(found.uniform[:, 0], "uniform").pvalue
    same, other = (model.residuals(panel, "quantile", random_state=seed) for seed in (0, 1))
    np.testing.assert_array_equal(same.values, found.values)
    assert (other.values != found.values).any()
    with pytest.raises(cem.OptionError, match="random_state is -1"):
        model.residuals(panel, "quantile", random_state=-1)


def test_steps_are_those_that_regimes_leave():
    """A reading over its regime's scale has a smaller step than as it was read."""
    rng = np.random.default_rng(0)
    load = rng.integers(0, 2, (60, 12)) * 10.0
    values = np.rint(50 + load + np.where(load > 5, 8.0, 2.0) * rng.normal(size=load.shape) + rng.normal(0, 2, (60, 1)))
    panel = cem.Panel.from_arrays(np.tile(np.arange(12.0), (60, 1)), values, covariates={"load": load})
    regimes = cem.Regimes("load", cuts=[5])
    model = cem.FailureModeEM(1, basis=cem.Constant(), regimes=regimes, random_state=0).fit(panel).model_
    read = model._aligned(panel)
    steps = _steps(model, read, adjusted_panel(model, read))[:, 0] * model.coordinates.scales[0]
    scales = model.regimes_.scales[(load.ravel() > 5).astype(int), 0]
    np.testing.assert_allclose(steps, 1.0 / scales, rtol=1e-9)


def test_a_model_with_uncertainty_is_checked_with_it(model, drawn):
    """Residuals of the plug-in model would be of another law than the one that scores."""
    rng = np.random.default_rng(0)
    p = model.internal_parameters
    draws = [replace(p, means=p.means + 0.3 * rng.normal(size=p.means.shape)) for _ in range(30)]
    uncertain = model.with_uncertainty(draws)
    read = uncertain._aligned(drawn)
    designs, values = _internal(uncertain, read, read)
    cells = Cells.of(values, np.asarray(read.offsets, dtype=np.int64))
    parameters, weights = _of_components(uncertain, read, None)
    innovations, variances = predicted_cells(cells, designs, values, parameters)
    joint = -0.5 * (np.log(2 * np.pi * variances) + innovations**2 / variances)
    joint -= np.log(model.coordinates.scales)[cells.channels, None]
    of_units = np.array([joint[a:b].sum(axis=0) for a, b in zip(cells.first[:-1], cells.first[1:], strict=True)])
    np.testing.assert_allclose(logsumexp(of_units, axis=1, b=weights), uncertain.score_samples(drawn), atol=1e-9)
    found = uncertain.residuals(drawn, "quantile")
    assert np.nanmax(np.abs(found.standardised - model.residuals(drawn, "quantile").standardised)) > 0.01
    for kind in KINDS:
        seen = uncertain.residuals(drawn, kind, mode="wear").standardised
        assert np.isfinite(seen[np.isfinite(drawn.values)]).all()
    assert uncertain.classification(drawn).n_units == drawn.n_units


def test_what_is_printed_names_the_channels_that_were_read(model, drawn):
    """With the other channels in it, a user looks for the faults of sensors that are not there."""
    found = model.residuals(drawn[:1].select_channels(["b"]), "quantile")
    assert "1 reading of 1 unit, channel 'b'" in repr(found)


def test_residuals_cannot_be_changed(model, drawn):
    found = model.residuals(drawn)
    with pytest.raises(ValueError, match="read-only"):
        found.values[0, 0] = 0.0
