"""What is done with a covariance: tests of hypotheses, bands of curves, draws of parameters."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
from scipy.stats import f as f_law
from scipy.stats import norm
from scipy.stats import t as t_law

import cem
from cem import FailureModeEM
from cem.basis.families import Polynomial
from cem.uncertainty.bands import simultaneous_quantile


@pytest.fixture(scope="module")
def known():
    """Two modes of a quadratic in two channels; the second channel is the response."""
    rng = np.random.default_rng(101)
    times, values = [], []
    for l in range(120):
        t = np.sort(rng.uniform(0.0, 2.0, 9))
        k = l % 2
        x = np.empty((9, 2))
        for c in range(2):
            x[:, c] = 2.0 * k + (1.0 - k) * t + 0.5 * rng.standard_normal() + 0.4 * rng.standard_normal() * t
        times.append(t)
        values.append(x + 0.3 * rng.standard_normal(x.shape))
    panel = cem.Panel.from_arrays(
        times, values, channels=("a", "b"), response="b", time_unit="h", channel_units={"b": "mm"}
    )
    em = FailureModeEM(2, basis=Polynomial(1), random_state=0).fit(panel)
    return em.uncertainty(panel)


def test_one_parameter_is_tested_as_its_interval_says(known):
    """A significance would be that of another parameter, or another than the interval tells."""
    name = "mean[1, a, 1]"
    i = known.names.index(name)
    test = known.wald(name, 0.25)
    z = (known.estimates[i] - 0.25) / known.standard_errors[i]
    assert test.statistic == pytest.approx(z**2, rel=1e-10) and test.dof == 1
    assert test.p_value == pytest.approx(2 * t_law.sf(abs(z), known.degrees_of_freedom[i]), rel=1e-8)
    assert test.units_dof == known.degrees_of_freedom[i] and str(test).startswith("F(1, ")
    assert known.wald(name, known.intervals(0.9)[i, 0]).p_value == pytest.approx(0.1, rel=1e-8)


def test_a_combination_that_is_constant_is_refused(known):
    """Rounding over rounding: the sum of all weights, which is 1, would differ from 1 with p = 0."""
    for value in (0.0, 1.0):
        with pytest.raises(cem.UncertaintyError, match="the same value whatever the data"):
            known.wald({"weight[0]": 1, "weight[1]": 1}, value)
    assert known.wald({"weight[0]": 1, "weight[1]": -1}).dof == 1


def test_several_combinations_are_tested_together(known):
    """Two slopes that are correlated would be tested as if they were not."""
    both = [{"mean[0, a, 1]": 1, "mean[1, a, 1]": -1}, {"mean[0, b, 1]": 1, "mean[1, b, 1]": -1}]
    test = known.wald(both)
    R = np.zeros((2, len(known.names)))
    for row, own in zip(R, both, strict=True):
        for name, factor in own.items():
            row[known.names.index(name)] = factor
    away, V = R @ known.estimates, R @ known.covariance @ R.T
    assert test.statistic == pytest.approx(away @ np.linalg.solve(V, away), rel=1e-9) and test.dof == 2
    least = known.degrees_of_freedom[R.any(axis=0)].min()
    assert test.p_value == pytest.approx(f_law.sf(test.statistic / 2, 2, least), rel=1e-8)
    assert known.wald(R) == test
    assert known.wald(R, R @ known.estimates).statistic == pytest.approx(0.0, abs=1e-18)


@pytest.mark.parametrize(
    ("hypothesis", "values", "message"),
    [
        ("mean[0, a, 7]", 0.0, "there is no parameter"),
        (["weight[0]", "weight[1]"], 0.5, "only 1 of its 2 combinations"),
        ({"mean[0, a, 1]": "x"}, 0.0, "a number was expected"),
        (np.ones((1, 3)), 0.0, "rows of"),
        ("mean[0, a, 1]", [0.0, 1.0], "values"),
        ("mean[0, a, 1]", np.nan, "finite"),
        ([], 0.0, "hypothesis"),
    ],
)
def test_hypotheses_that_cannot_be_tested_are_refused(known, hypothesis, values, message):
    """A statistic of nothing, or of a singular matrix."""
    with pytest.raises(cem.OptionError, match=message):
        known.wald(hypothesis, values)


def test_bands_are_the_curves_of_the_model_with_their_errors(known):
    """The picture would show a band around another curve."""
    times = np.array([0.1, 1.0, 1.9])
    bands = known.bands(times)
    assert bands.channel == "b" and bands.channel_unit == "mm" and bands.time_unit == "h"
    np.testing.assert_allclose(bands.curves, known.model.curves(times)[:, 1], rtol=1e-12)
    degrees = [known.degrees_of_freedom[known.names.index(f"mean[{k}, b, 0]")] for k in range(2)]
    widths = t_law.ppf(0.95, degrees)[:, None] * bands.standard_errors
    np.testing.assert_allclose(bands.upper - bands.curves, widths, rtol=1e-9)
    functions = known.model.bases[1](times)
    at = [known.names.index(f"mean[1, b, {j}]") for j in range(2)]
    variances = np.einsum("mi,ij,mj->m", functions, known.covariance[np.ix_(at, at)], functions)
    np.testing.assert_allclose(bands.standard_errors[1], np.sqrt(variances), rtol=1e-9)
    wider = known.bands(times, "b", simultaneous=True)
    assert (wider.upper > bands.upper).all() and wider.simultaneous
    frame = bands.to_frame("pandas")
    assert len(frame) == 6 and list(frame["mode"]) == [0, 0, 0, 1, 1, 1]


def test_simultaneous_bands_hold_a_whole_curve_as_often_as_they_say():
    """A line within a pointwise band at each time leaves it somewhere far more often."""
    rng = np.random.default_rng(5)
    t = np.linspace(-1, 1, 60)
    spread = np.stack([np.ones_like(t), t], axis=1) @ np.array([[0.5, 0.0], [0.2, 0.7]])
    errors = np.sqrt(np.square(spread).sum(axis=1))
    width = simultaneous_quantile(spread, 0.9, 20_000, 0)
    curves = rng.standard_normal((4000, 2)) @ spread.T
    held = (np.abs(curves) <= width * errors).all(axis=1).mean()
    assert 0.88 < held < 0.92
    # One direction only: the curve leaves the band everywhere or nowhere.
    assert simultaneous_quantile(spread[:, :1], 0.9, 50_000, 0) == pytest.approx(norm.ppf(0.95), abs=0.02)
    assert simultaneous_quantile(np.zeros((3, 2)), 0.9, 100, 0) == 0.0
    # Of a mode of six units the standard errors themselves are uncertain.
    assert simultaneous_quantile(spread[:, :1], 0.9, 50_000, 0, 5.0) == pytest.approx(t_law.ppf(0.95, 5), abs=0.04)


def test_bands_leave_the_times_that_they_are_given_as_they_are(known):
    """The caller's array would be read-only from then on."""
    times = np.array([0.5, 1.0])
    known.bands(times)
    times[0] = 0.25


def test_modes_whose_labels_have_the_same_text_are_kept_apart():
    """A test of mode 1 would be one of mode "1"."""
    rng = np.random.default_rng(3)
    labels = [1, "1", "x"] * 14
    levels = {1: 0.0, "1": 3.0, "x": 6.0}
    values = [levels[label] + 0.3 * rng.normal() + 0.2 * rng.normal(size=(6, 1)) for label in labels]
    panel = cem.Panel.from_arrays([np.arange(6.0)] * len(labels), values, modes=labels)
    known = FailureModeEM(3, basis=cem.Constant(), covariance="pooled", noise="pooled", random_state=0).fit(panel)
    known = known.uncertainty(panel)
    assert len(set(known.names)) == len(known.names)
    statistics = [known.wald(f"mean[{label!r}, x1, 0]").statistic for label in (1, "1")]
    assert statistics[1] > 10 * statistics[0]
    assert "mean[x, x1, 0]" in known.names


def test_channels_far_from_zero_have_the_standard_errors_of_those_at_zero():
    """A counter, or a channel of epochs: an error that is small beside the value would be called rounding."""
    rng = np.random.default_rng(4)
    values = [2.0 * (l % 2) + 0.4 * rng.normal() + 0.3 * rng.normal(size=(8, 1)) for l in range(40)]
    errors = []
    for offset in (0.0, 2.0**27):
        panel = cem.Panel.from_arrays([np.arange(8.0)] * 40, [rows + offset for rows in values])
        em = FailureModeEM(2, basis=cem.Constant(), covariance="pooled", random_state=0).fit(panel)
        errors.append(em.uncertainty(panel).standard_errors)
    np.testing.assert_allclose(errors[1], errors[0], rtol=1e-4)


def test_a_curve_that_no_unit_reports_has_no_band():
    """A band of width 0 would say that the curve is known exactly."""
    rng = np.random.default_rng(2)
    values = [np.column_stack([9.0 * (l % 2) + rng.standard_normal(6), rng.standard_normal(6)]) for l in range(60)]
    for l in range(1, 60, 2):
        values[l][:, 1] = np.nan
    panel = cem.Panel.from_arrays([np.arange(6.0)] * 60, values, channels=("a", "b"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = FailureModeEM(2, basis=cem.Constant(), covariance="full", random_state=0).fit(panel).uncertainty(panel)
    k = int(np.isnan(known.standard_errors[known.mean_rows[:, 1]]).argmax())
    for simultaneous in (False, True):
        bands = known.bands([0.0, 1.0], "b", simultaneous=simultaneous)
        assert np.isfinite(bands.curves).all()
        for found in (bands.standard_errors, bands.lower, bands.upper):
            assert np.isnan(found[k]).all() and np.isfinite(found[1 - k]).all()
    display = known.plot("b")
    assert [line.get_label() for line in display.lines_][k].endswith("(no band)")


@pytest.mark.parametrize("backend", ["pandas", "polars", "pyarrow"])
def test_parameters_of_all_modes_are_in_every_kind_of_data_frame(backend):
    """A number beside a text in one column was refused by two of three."""
    panel = cem.datasets.load_demo_fleet()[:60].select_channels(["vibration"])
    em = FailureModeEM(2, basis=Polynomial(1), covariance="pooled", noise="pooled", random_state=0).fit(panel)
    modes = em.uncertainty(panel).to_frame(backend)["mode"]
    listed = modes.to_pylist() if backend == "pyarrow" else modes.to_list()
    assert {None if str(mode) in ("None", "<NA>") else int(mode) for mode in listed} == {None, 0, 1}


def test_bands_need_a_channel_and_numbers(known):
    """An index error inside."""
    with pytest.raises(cem.PredictionError, match="no channel 'z'"):
        known.bands(channel="z")
    with pytest.raises(cem.OptionError, match="level"):
        known.bands(level=2)
    with pytest.raises(cem.OptionError, match="times"):
        known.bands([0.0, np.nan])


def test_draws_have_the_law_of_the_table(known):
    """Predictions would carry another uncertainty than the table states."""
    forms = known.law.forms(1500, seed=3)
    means = np.array(
        [form.coordinates.in_user_terms(form.parameters.means, form.parameters.factors)[0] for form in forms]
    )
    rows = known.mean_rows
    errors = known.standard_errors[rows]
    np.testing.assert_allclose(means.mean(axis=0), known.estimates[rows], atol=0.15 * errors.max())
    np.testing.assert_allclose(means.std(axis=0), errors, rtol=0.1)
    weights = np.array([form.parameters.weights for form in forms])
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    again = known.law.draws(3, seed=3)
    for one, other in zip(again, forms, strict=False):
        assert np.array_equal(one.means, other.parameters.means)
    with pytest.raises(cem.OptionError, match="0 draws"):
        known.law.draws(0)


def test_what_is_known_survives_a_pickle(known):
    """A job that fits overnight could not hand its standard errors on."""
    again = pickle.loads(pickle.dumps(known))
    assert again.names == known.names and np.array_equal(again.covariance, known.covariance)
    assert np.array_equal(again.law.draws(2)[1].means, known.law.draws(2)[1].means)


def test_the_bootstrap_has_the_covariance_of_the_information(known):
    """Refits of drawn fleets are what the information approximates; modes would be swapped otherwise."""
    rng = np.random.default_rng(7)
    modes = np.arange(150) % 2
    values = [3.0 * k + 0.6 * rng.standard_normal() + 0.4 * rng.standard_normal((6, 1)) for k in modes]
    panel = cem.Panel.from_arrays([np.arange(6.0)] * 150, values)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        em = FailureModeEM(2, basis=Polynomial(0), random_state=0).fit(panel)
    expected = em.uncertainty(panel)
    for kind in ("parametric", "units"):
        found = em.uncertainty(panel, "bootstrap", n_replicates=300, kind=kind)
        np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=0.25)
        assert "300 replicates" in found.facts[0]
    weights = found.law.draws(4)
    assert len(weights) == 4 and len(found.law.draws(400, seed=1)) == 400
