"""Fits of units that wander: against dense maximum likelihood, with known ratios, and refused where it is not known."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from reference_process import dense_covariance
from scipy.optimize import minimize
from wandering_fleets import DenseUnit, wandering_fleet

import cem
from cem.errors import CemError, OptionError
from cem.process.channel_process import ChannelProcess
from cem.scoring.scorer import Scorer

TRUTHS = (
    ChannelProcess("wiener", 0.5),
    ChannelProcess("integrated", 0.02),
    ChannelProcess("ou", 4.0, 0.5),
)


def fitted(panel, kind, n_modes=1, **options):
    return cem.FailureModeEM(n_modes, basis=cem.Polynomial(1), process=kind, random_state=0, **options).fit(panel)


@pytest.fixture(scope="module")
def fits():
    panels = {truth.kind: wandering_fleet(truth) for truth in TRUTHS}
    return {truth.kind: (truth, panels[truth.kind], fitted(panels[truth.kind], truth.kind)) for truth in TRUTHS}


@pytest.mark.parametrize("kind", [truth.kind for truth in TRUTHS])
def test_the_likelihood_is_that_of_the_dense_law(fits, kind):
    """Reported by the fit, by the score of the panel, and by readings with their covariance written out."""
    _, panel, em = fits[kind]
    dense = sum(DenseUnit(em.model_, panel, l).log_density(0) for l in range(panel.n_units))
    assert em.log_likelihood_ == pytest.approx(dense, rel=1e-10)
    assert em.score_samples(panel).sum() == pytest.approx(dense, rel=1e-10)


@pytest.mark.parametrize("truth", TRUTHS, ids=str)
def test_one_mode_is_dense_maximum_likelihood(truth):
    """At the ratio of the fit no other mean, covariance or noise is more likely, by an optimiser that knows no EM."""
    panel = wandering_fleet(truth, n_units=8)
    em = fitted(panel, truth.kind)
    process, units = em.process_["x1"], []
    for l in range(panel.n_units):
        rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        t = panel.times[rows]
        units.append(
            (np.column_stack([np.ones(len(t)), t / 50.0]), panel.values[rows, 0], dense_covariance(process, t))
        )

    def negative(theta):
        root = np.array([[np.exp(theta[2]), 0.0], [theta[3], np.exp(theta[4])]])
        total = 0.0
        for Phi, x, U in units:
            L = np.linalg.cholesky(Phi @ root @ root.T @ Phi.T + np.exp(theta[5]) * U)
            e = np.linalg.solve(L, x - Phi @ theta[:2])
            total += 0.5 * e @ e + np.log(np.diag(L)).sum() + 0.5 * len(x) * np.log(2 * np.pi)
        return total

    start = np.array([2.0, 5.0, 0.0, 0.0, 0.5, np.log(0.09)])
    best = minimize(negative, start, method="BFGS", options={"gtol": 1e-4})
    assert em.log_likelihood_ == pytest.approx(-best.fun, abs=2e-4)


@pytest.mark.parametrize("kind", [truth.kind for truth in TRUTHS])
def test_the_ratio_is_found(fits, kind):
    """Within what the grid resolves and sixty units tell."""
    truth, _, em = fits[kind]
    found = em.process_["x1"]
    assert found.kind == kind
    assert 0.5 < found.ratio / truth.ratio < 2.0
    if truth.rate is not None:
        assert 0.5 < found.rate / truth.rate < 2.0
    assert em.noise_variances_[0, 0] == pytest.approx(0.09, rel=0.15)


@pytest.mark.parametrize("kind", [truth.kind for truth in TRUTHS])
def test_the_right_process_gains(fits, kind):
    _, panel, em = fits[kind]
    assert em.log_likelihood_ > fitted(panel, None).log_likelihood_ + 50.0


def test_white_noise_gets_no_wander():
    """A ratio of 0, or one that adds next to nothing: a process that is asked for must not invent a wander."""
    panel = wandering_fleet(None)
    em, plain = fitted(panel, "wiener"), fitted(panel, None)
    assert em.process_["x1"].ratio * 50.0 < 0.1
    assert abs(em.log_likelihood_ - plain.log_likelihood_) < 3.0
    assert em.n_parameters_ == plain.n_parameters_ + 1


def test_a_wander_without_noise_is_found_beyond_the_grid():
    """Readings of a record without noise: the ratio has no bound, and what counts, ϱ σ², is right all the same."""
    panel = wandering_fleet(ChannelProcess("wiener", 1e6), noise=1e-3, n_units=30)
    em = fitted(panel, "wiener")
    assert em.process_["x1"].ratio * em.noise_variances_[0, 0] == pytest.approx(1.0, rel=0.15)


def test_modes_are_found_under_a_wander():
    """Two modes whose slopes differ, under a strong wander; the ratio, chosen with all units in one mode, is right."""
    panel = wandering_fleet(ChannelProcess("wiener", 2.0), modes=2, seed=4)
    em = fitted(panel, "wiener", 2)
    by_parity = em.labels_[::2].mean(), em.labels_[1::2].mean()
    assert abs(by_parity[0] - by_parity[1]) > 0.95
    assert 1.0 < em.process_["x1"].ratio < 4.0
    joint = np.array([DenseUnit(em.model_, panel, l).log_joint() for l in range(panel.n_units)])
    assert em.log_likelihood_ == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=1e-10)


def test_intervals_hold_only_with_the_process():
    """The reason for all of it: 90 % intervals of later readings hold, and are not the wider for it."""
    panel = wandering_fleet(ChannelProcess("wiener", 1.0), n_units=150, seed=7)
    cut = [(panel.times[a:b], panel.values[a:b]) for a, b in zip(panel.offsets, panel.offsets[1:], strict=False)]
    early = cem.Panel.from_arrays([t[:-5] for t, _ in cut], [x[:-5] for _, x in cut])
    later = np.stack([t[-5:] for t, _ in cut])
    truth = np.stack([x[-5:, 0] for _, x in cut])
    model = fitted(panel, "wiener").model_
    forecast = model.forecast(early, later, "x1")
    low, high = forecast.interval(0.9)
    assert 0.86 < ((low <= truth) & (truth <= high)).mean() < 0.94
    plain = fitted(panel, None).model_.forecast(early, later, "x1")
    assert np.abs(forecast.mean - truth).mean() < 0.8 * np.abs(plain.mean - truth).mean()


def test_processes_are_by_channel():
    """A channel without one has none; a mapping names channels, and None stands for the others."""
    one, other = wandering_fleet(ChannelProcess("wiener", 1.0)), wandering_fleet(None, seed=0)
    times = [one.times[a:b] for a, b in zip(one.offsets, one.offsets[1:], strict=False)]
    values = np.column_stack([one.values, other.values])
    both = [values[a:b] for a, b in zip(one.offsets, one.offsets[1:], strict=False)]
    panel = cem.Panel.from_arrays(times, both, channels=["a", "b"])
    em = fitted(panel, {"a": "wiener"})
    assert list(em.process_) == ["a"] and em.model_.processes[1] is None
    assert list(fitted(panel, {"b": None, None: "ou"}).process_) == ["a"]
    with pytest.raises(OptionError, match="process names channel 'z'"):
        fitted(panel, {"z": "wiener"})
    apart = [fitted(panel.select_channels([name]), {"a": "wiener"}[name] if name == "a" else None) for name in "ab"]
    assert em.log_likelihood_ == pytest.approx(sum(fit.log_likelihood_ for fit in apart), rel=1e-7)


def test_a_warm_start_keeps_the_process(fits):
    _, panel, em = fits["wiener"]
    again = cem.FailureModeEM(1, basis=cem.Polynomial(1)).fit(panel, init=em.model_)
    assert again.process_ == em.process_
    assert again.log_likelihood_ == pytest.approx(em.log_likelihood_, rel=1e-9)
    with pytest.raises(OptionError, match="the model has the processes 'wiener'"):
        cem.FailureModeEM(1, basis=cem.Polynomial(1), process="ou").fit(panel, init=em.model_)


def test_common_columns_are_whitened_too(fits):
    """A slope that all units share: the design has a fixed column, whose white rows the fit needs as well."""
    _, panel, _ = fits["wiener"]
    em = fitted(panel, "wiener", random_columns=[0])
    dense = sum(DenseUnit(em.model_, panel, l).log_density(0) for l in range(panel.n_units))
    assert em.log_likelihood_ == pytest.approx(dense, rel=1e-9)


def test_standard_errors_are_those_of_the_same_problem(fits):
    """The panel is compressed again for them; without the process the fit would be no maximum, and be refused."""
    _, panel, em = fits["wiener"]
    found = em.uncertainty(panel)
    assert np.isfinite(found.standard_errors).all()


def test_residuals_are_white(fits):
    """Readings that wander have residuals that go together; white ones of the right process do not."""
    for kind, (_, panel, em) in fits.items():
        found = cem.diagnostics.time_correlation(em.model_, panel)
        assert abs(found.autocorrelations[0, 0]) < 4.0 * found.standard_errors[0, 0], kind
        assert not found.needed[0]
        plain = cem.diagnostics.time_correlation(fitted(panel, None).model_, panel)
        assert plain.autocorrelations[0, 0] > 0.1
        scores = em.model_.residuals(panel, kind="quantile").standardised
        assert abs(np.nanstd(scores) - 1.0) < 0.05
        subject = em.model_.residuals(panel, kind="subject").standardised
        assert abs(np.nanstd(subject) - 1.0) < 0.1


def test_the_uncertainty_of_the_parameters_goes_along(fits, tmp_path):
    """Few units: intervals of forecasts and crossings are wider, from a file too."""
    panel = wandering_fleet(ChannelProcess("wiener", 1.0), n_units=15)
    em = fitted(panel, "wiener")
    model = em.model_.with_uncertainty(em.uncertainty(panel))
    plain, wide = (each.forecast(panel, [60.0], "x1").variance for each in (em.model_, model))
    assert (wide > plain).mean() > 0.8
    lives = [each.remaining_life(panel, 8.0, channel="x1").interval(0.5) for each in (em.model_, model)]
    assert np.isfinite(lives[1]).any() and not np.array_equal(*lives)
    model.save(tmp_path / "fleet.cem")
    back = cem.load(tmp_path / "fleet.cem")
    assert back.process_ == model.process_
    np.testing.assert_array_equal(back.forecast(panel, [60.0], "x1").variance, wide)
    np.testing.assert_array_equal(back.score_samples(panel), model.score_samples(panel))


def test_a_report_has_a_fleet_that_wanders(fits):
    _, panel, em = fits["ou"]
    page = em.model_.report(panel, threshold=40.0, channel="x1")
    assert "ou" in page


def test_membership_weighs_modes_under_a_wander():
    """Covariates of units say nothing of readings, so they go with a process."""
    panel = wandering_fleet(ChannelProcess("wiener", 1.0), modes=2, n_units=40)
    panel = panel.with_covariates(unit_covariates={"site": np.arange(40) % 2})
    em = fitted(panel, "wiener", 2, membership=["site"])
    model = em.model_
    weights = model._mode_weights(panel)
    units = [DenseUnit(model, panel, l) for l in range(40)]
    joint = [[np.log(weights[l, k]) + units[l].log_density(k) for k in range(2)] for l in range(40)]
    assert em.score_samples(panel).sum() == pytest.approx(np.logaddexp.reduce(joint, axis=1).sum(), rel=1e-10)


def test_predictions_need_no_scipy(fits):
    """As those of plain models: whitening is in the module that has no BLAS."""
    _, panel, em = fits["ou"]
    code = (
        "import pickle, sys; sys.modules['scipy'] = None; model, panel = pickle.load(sys.stdin.buffer); "
        "print(model.score(panel), model.forecast(panel, [60.0], 'x1').mean[0, 0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps((em.model_, panel)), capture_output=True, check=True
    )
    score, forecast = map(float, done.stdout.split())
    assert score == pytest.approx(em.score(panel), rel=1e-12)
    assert forecast == pytest.approx(em.model_.forecast(panel, [60.0], "x1").mean[0, 0], rel=1e-12)


def test_a_pickle_keeps_the_process(fits):
    _, panel, em = fits["ou"]
    back = pickle.loads(pickle.dumps(em))
    assert back.process_ == em.process_ and back.process == "ou"
    np.testing.assert_array_equal(back.model_.score_samples(panel), em.model_.score_samples(panel))


@pytest.mark.parametrize(
    "options",
    [
        {"time_axis": "to_failure"},
        {"linking_rank": 1},
        {"covariates": ["load"]},
        {"regimes": cem.Regimes(["load"])},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_do_not_know_of_it_are_refused_by_name(options):
    panel = wandering_fleet(None, n_units=5)
    with pytest.raises(OptionError, match=f"process='wiener' with {next(iter(options))}="):
        fitted(panel, "wiener", **options)


REFUSALS = {
    "forgetting": lambda model, panel: Scorer(model, forgetting=0.99),
    "C header": lambda model, panel: model.export_c(),
    "lives": lambda model, panel: cem.RemainingLife(model),
    "information": lambda model, panel: cem.RemainingLife(model, information=0.5),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_what_does_not_know_of_it_refuses_by_name(fits, what):
    """To ignore that units wander would be to be sure of wrong answers."""
    _, panel, em = fits["wiener"]
    with pytest.raises(CemError, match=r"would ignore that units of this model wander .*process='wiener'"):
        REFUSALS[what](em.model_, panel)


def test_processes_that_are_all_none_are_no_process() -> None:
    """Options written by a program, one entry for each channel, were refused beside covariates."""
    rng = np.random.default_rng(0)
    times = np.arange(8.0)
    panel = cem.Panel.from_arrays(times, (0.5 * times + rng.normal(size=(12, 8)))[:, :, None], channels=["a"])
    panel = panel.with_covariates({"load": rng.normal(size=96)})
    plain = cem.FailureModeEM(1, basis=cem.Polynomial(1), covariates=["load"], random_state=0).fit(panel)
    for process in ({}, {"a": None}, {None: None}):
        same = cem.FailureModeEM(1, basis=cem.Polynomial(1), covariates=["load"], process=process, random_state=0)
        assert same.fit(panel).log_likelihood_ == plain.log_likelihood_ and same.process_ == {}
    with pytest.raises(cem.errors.OptionError, match="names channel 'b'"):
        cem.FailureModeEM(1, process={"b": None}, random_state=0).fit(panel)
