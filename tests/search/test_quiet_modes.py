"""Default noise floors: quiet modes keep their noise, stuck sensors make up no mode."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from test_benchmarks import script

import cem
from cem.errors import FloorWarning
from cem.search import quiet_modes


@pytest.fixture(scope="module")
def benchmark(request):
    """The fleets of benchmarks/noise_floors.py, so that the figures it reports are those of these tests."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.syspath_prepend(str(request.config.rootpath / "benchmarks"))
    yield script("noise_floors")
    monkeypatch.undo()


@pytest.mark.parametrize("share", [0.5, 0.1])
@pytest.mark.parametrize("ratio", [10, 20, 25, 50, 100, 10_000])
def test_a_quiet_mode_keeps_its_noise(benchmark, ratio, share):
    """At 1 : 50 its noise variance was .0265 for .01, and ℓ 300 nats too low."""
    row = benchmark.ratio_row(ratio, share, (10, 30), 2, range(3))
    assert row["largest error"] < 0.05
    assert row["on a floor"] == 0


@pytest.mark.parametrize("ratio", [1, 50])
def test_a_sensor_stuck_on_a_few_units_makes_up_no_mode(benchmark, ratio):
    """8 of 200 units would be a mode of their own, and the failure modes lost."""
    assert benchmark.stuck_row(ratio, (10, 30), range(4))["least agreement"] >= 0.95


def stuck_fleet(n_stuck, jitter=0.0, n_units=60):
    """Two modes; the first channel hardly moves on some units."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(n_units, 12, 2)) + 1.5 * rng.normal(size=(n_units, 1, 2))
    values[: n_units // 2, :, 1] += 8.0
    values[:n_stuck, :, 0] = 5.0 + jitter * rng.normal(size=(n_stuck, 12))
    return cem.Panel.from_arrays(None, values)


@pytest.mark.parametrize(("n_stuck", "jitter"), [(20, 0.0), (4, 1e-4)])
def test_a_mode_of_stuck_units_stays_on_its_floor_and_is_told(n_stuck, jitter):
    """Were the floor to make way, ℓ would grow without bound; constant on a third, or nearly so on a few units."""
    panel = stuck_fleet(n_stuck, jitter)
    rho = np.zeros((60, 2))
    rho[np.arange(60), (np.arange(60) >= n_stuck).astype(int)] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.warns(FloorWarning, match="noise variance is at its floor in mode 0 of channel 'x1'"):
            em = cem.FailureModeEM(2, basis=cem.Polynomial(1)).fit(panel, init=rho)
    one = cem.FailureModeEM(1, basis=cem.Polynomial(1)).fit(stuck_fleet(0))
    assert em.noise_variances_[:, 0].min() > 0.04 * one.noise_variances_[0, 0]


def test_a_floor_that_the_user_gives_holds(benchmark):
    """A quiet mode must not talk a user out of it; the channel that is not named keeps the default."""
    panel, _ = benchmark.drawn(0, ratio=50, share=0.5, readings=(10, 30), n_channels=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, noise_floor={"x1": 0.04}).fit(panel)
        all_given = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, noise_floor=0.04).fit(panel)
    assert em.noise_variances_[:, 0].min() == pytest.approx(0.04)
    assert em.noise_variances_[:, 1].min() == pytest.approx(0.01, rel=0.15)
    assert all_given.noise_variances_.min() == pytest.approx(0.04)


def test_a_fit_that_meets_no_floor_is_left_alone(benchmark, monkeypatch):
    """Its numbers must not move by a bit."""
    panel, _ = benchmark.drawn(0, ratio=3, share=0.5, readings=(10, 30), n_channels=2)
    options = {"basis": cem.Polynomial(1), "random_state": 0}
    found = cem.FailureModeEM(2, **options).fit(panel)
    monkeypatch.setattr(quiet_modes, "floors_below_quiet_modes", lambda *_: None)
    alone = cem.FailureModeEM(2, **options).fit(panel)
    np.testing.assert_array_equal(found.log_likelihoods_, alone.log_likelihoods_)
    assert all(start["kind"] != "quiet" for start in found.starts_)


def test_what_the_fit_says_of_itself_is_of_the_quiet_run(benchmark):
    """ℓ, its history, the starts and the modes of units belong to the parameters returned; no objective falls."""
    panel, modes = benchmark.drawn(0, ratio=50, share=0.5, readings=(10, 30), n_channels=2)
    em = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0).fit(panel)
    assert em.starts_[-1]["kind"] == "quiet" and em.starts_[-1]["fate"] == "best" and em.converged_
    assert em.starts_[-1]["log_likelihood"] == em.log_likelihood_ == em.log_likelihoods_[-1]
    assert em.log_likelihood_ > max(start["log_likelihood"] for start in em.starts_[:-1]) + 100.0
    assert np.diff(em.objectives_).min() > -1e-9
    assert em.score_samples(panel).sum() == pytest.approx(em.log_likelihood_, rel=1e-12)
    assert benchmark.agreement(em, modes) == 1.0
    again = cem.FailureModeEM(2, basis=cem.Polynomial(1)).fit(panel, init=em.model_)
    assert again.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=1e-6)


def test_links_and_lives_start_from_the_quiet_run(benchmark):
    """The floors that made way must not come back where channels are linked, or lives are fitted."""
    panel, _ = benchmark.drawn(2, ratio=50, share=0.5, readings=(10, 30), n_channels=3, n_units=60)
    linked = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, linking_rank=1).fit(panel)
    np.testing.assert_allclose(linked.noise_variances_.min(axis=0), 0.01, rtol=0.2)
    again = cem.FailureModeEM(2, basis=cem.Polynomial(1), linking_rank=1).fit(panel, init=linked.model_)
    np.testing.assert_allclose(again.noise_variances_, linked.noise_variances_, rtol=1e-2)
    ends = panel.times[np.asarray(panel.offsets[1:]) - 1]
    failed = cem.Panel(panel.units, panel.offsets, panel.times + 2.0, panel.values, panel.channels)
    failed = failed.with_failure_times(ends + 3.0)
    lives = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0, time_axis="to_failure").fit(failed)
    np.testing.assert_allclose(lives.noise_variances_.min(axis=0), 0.01, rtol=0.2)


def test_an_interruption_keeps_the_fit_that_was_whole(benchmark, monkeypatch):
    """Ctrl-C while a quiet mode is fitted: the search is over, and its result must not be lost."""
    panel, _ = benchmark.drawn(0, ratio=50, share=0.5, readings=(10, 30), n_channels=1)

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(quiet_modes, "continue_em", stop)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        em = cem.FailureModeEM(2, basis=cem.Polynomial(1), random_state=0).fit(panel)
    assert em.interrupted_ and em.noise_variances_.min() > 0.02
