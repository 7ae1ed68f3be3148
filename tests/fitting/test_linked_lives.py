"""Remaining life with linked channels: (18) and (19) on the joint law of all channels."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import reference_linked as _reference_linked
from scipy import stats

import cem
from cem.errors import FitError, OptionError, PanelError, ScorerError
from cem.fitting.life_channel import LIFE
from cem.fitting.lives import of_all_units
from cem.fitting.lives_ascent import LivesPoint
from cem.lifetimes.lifetimes import LinkedLognormal
from cem.prognosis.candidates import Candidates, SharedEvidence, candidate_log_densities
from cem.prognosis.distribution import remaining_life_posterior
from cem.statistics.anchored import anchored_statistics

CONSTANTS = [8.0, 30.0]


def fleet_of(drawn, n_failed, n_running, seed, channels):
    """Units on a clock that ends at failure, the last ones cut off half-way; `drawn` gives a life and its readings."""
    rng = np.random.default_rng(seed)
    times, values, failures = [], [], []
    for l in range(n_failed + n_running):
        life, curves = drawn(rng)
        t = np.arange(1.0, life, 3.0)
        x = np.stack([curves(t - life) for _ in channels], axis=1)
        x += 0.1 * rng.normal(size=x.shape)
        if l >= n_failed:
            keep = len(t) // 2
            t, x, life = t[:keep], x[:keep], np.nan
        times.append(t)
        values.append(x)
        failures.append(life)
    return cem.Panel.from_arrays(times, values, channels=channels, failure_times=failures)


def running_fleet(n_failed=50, n_running=0, seed=0, channels=("a", "b", "c")):
    """Units of one mode whose channels share a factor that is unrelated to their lives."""

    def drawn(rng):
        life, shared = rng.lognormal(np.log(80.0), 0.2), rng.normal()

        def curve(tau):
            size = np.exp(0.1 * rng.normal() + 0.4 * shared)
            return size * (np.exp(tau / 8.0) + 0.5 * np.exp(tau / 30.0)) + 0.1 * rng.normal()

        return life, curve

    return fleet_of(drawn, n_failed, n_running, seed, channels)


def fitted(panel, rank=1, n_modes=1, **options):
    return cem.FailureModeEM(
        n_modes,
        basis=cem.Exponential(CONSTANTS),
        time_axis="to_failure",
        n_init=2,
        random_state=0,
        linking_rank=rank,
        linking_penalty=50.0,
        **options,
    ).fit(panel)


@pytest.fixture(scope="module")
def panel():
    return running_fleet()


@pytest.fixture(scope="module")
def prognosis(panel):
    return cem.RemainingLife(fitted(panel).model_)


def test_candidates_are_weighed_by_the_joint_law(prognosis, panel):
    """ln P(x | k, r) with all readings of all channels in one dense covariance, channels missing here and there."""
    part = panel[:3].until(np.array([40.0, 55.0, 30.0]))
    values = part.values.copy()
    values[::4, 1] = np.nan
    values[: part.offsets[1], 2] = np.nan
    part = part._replace(values=values)
    grid = np.array([2.0, 10.0, 40.0, 90.0])
    found = prognosis.log_densities(part, grid)
    user, bases = prognosis.model.user_parameters(), prognosis.model.bases
    for l in range(3):
        rows = slice(part.offsets[l], part.offsets[l + 1])
        seen = ~np.isnan(part.values[rows])
        x = np.concatenate([part.values[rows, c][seen[:, c]] for c in range(3)])
        for g, left in enumerate(grid):
            tau = part.times[rows] - part.times[rows][-1] - left
            designs = [bases[c](tau[seen[:, c]]) for c in range(3)]
            mean, V, _, _ = _reference_linked.dense_law(designs, user, 0)
            density = -0.5 * (
                len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + (x - mean) @ np.linalg.solve(V, x - mean)
            )
            assert found[l, g, 0] == pytest.approx(density, rel=1e-7, abs=1e-6)


def test_no_loadings_weigh_candidates_as_independent_channels_do(prognosis, panel):
    """With readings that count for less than one too: the two ways share no code."""
    model = prognosis.model
    user = model.user_parameters()
    none = replace(user, loadings=np.zeros_like(user.loadings))
    anchored = anchored_statistics(panel[:4].until(np.full(4, 40.0)), model.bases)
    shifts = [basis.shift_matrix(np.array([1.0, 20.0, 60.0])) for basis in model.bases]
    worth = np.array([0.4, 1.0, 0.7])
    found, _ = Candidates(none, None, worth).evidence_of_matrices(anchored, shifts)
    wanted = candidate_log_densities(
        anchored,
        shifts,
        [user.layout.vector(user.means, c) for c in range(3)],
        [user.layout.matrix(user.factors, c) for c in range(3)],
        user.noise_variances,
        information=worth,
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-8)


def test_linked_laws_are_wider_than_independent_ones_and_hold_better():
    """Ten channels that move together are not ten witnesses."""
    channels = tuple("abcdefghij")
    panel, new = running_fleet(channels=channels), running_fleet(n_failed=150, seed=5, channels=channels)
    rng = np.random.default_rng(1)
    cut = new.until(new.failure_times * rng.uniform(0.4, 0.9, new.n_units))
    truth = new.failure_times - cut.times[cut.offsets[1:] - 1]
    held = {}
    for rank in (0, 1):
        law = cem.RemainingLife(fitted(panel, rank).model_).predict(cut)
        low, high = law.interval(0.9)
        held[rank] = (
            ((low <= truth) & (truth <= high)).mean(),
            cem.metrics.crps_pmf(truth, law.grid, law.pmf.sum(axis=2)).mean(),
        )
    assert held[1][0] > held[0][0] + 0.1
    assert held[1][1] < held[0][1]


def test_running_units_take_part_and_the_objective_never_falls():
    em = fitted(running_fleet(n_failed=30, n_running=12, seed=3), n_modes=2, max_iter=60)
    assert em.model_.linking_rank == 1
    assert np.diff(em.objectives_).min() >= -1e-6
    assert (em.objectives_ != em.log_likelihoods_).all()
    law = cem.RemainingLife(em.model_).predict(running_fleet(4, seed=9).until(np.full(4, 30.0)))
    assert np.isfinite(law.median()).all()


@pytest.mark.parametrize("lifetimes", ["lognormal", "linked"])
def test_lives_and_readings_in_one_pass_are_those_in_two(lifetimes):
    """Densities first and moments with the shares after: what independent channels do, and running units must."""
    panel = running_fleet(n_failed=24, n_running=6)
    modes = np.full(30, None, dtype=object)
    modes[:4] = ["a", "b", "a", "b"]
    panel = panel.with_modes(modes)
    kept = []

    def keeping(problem, result, *options):
        kept.append((problem, of_all_units(problem, result, *options)))
        return kept[-1][1]

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", cem.CemWarning)
        patch.setattr("cem.fitting.lives.of_all_units", keeping)
        fitted(panel, n_modes=2, max_iter=5, lifetimes=lifetimes)
    problem, (whole, laws) = kept[0]
    run = whole.run
    evaluation = problem.expect(LivesPoint(run.parameters, laws))
    total, expected, weights = evaluation.log_likelihood, evaluation.sums.mixture, evaluation.sums.weights
    n_failed = problem.n_failed
    lives = problem.lives[:n_failed]
    log_lives = -np.log(lives)[:, None] if lifetimes == "linked" else laws.log_density(lives)
    joint = problem.failed.log_densities(run.parameters) + log_lives + np.log(run.parameters.weights)
    known = problem.known_modes[problem.has_failed]
    joint[(known >= 0)[:, None] & (known[:, None] != np.arange(2))] = -np.inf
    logs = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(weights[:n_failed], np.exp(joint - logs[:, None]), atol=1e-9)
    of_failed, _ = problem.failed(run.parameters, responsibilities=weights[:n_failed])
    of_running, _ = problem.running(run.parameters, responsibilities=weights[n_failed:])
    np.testing.assert_allclose(expected.sums[1:], (of_failed + of_running).sums[1:], rtol=1e-9, atol=1e-9)
    assert weights[0, 0] in (0.0, 1.0) and np.isfinite(total)


def test_calibration_goes_on_from_the_linked_model(prognosis, panel):
    """Each fold's fit must be linked too, or the correction would be of other laws."""
    refitted = prognosis.recipe()(panel[:40])
    assert refitted.model.linking_rank == 1
    assert refitted.model.training["linking_penalty"] == 50.0
    calibrated = prognosis.calibrated(panel, ages=2, n_folds=3)
    assert 0.7 < calibrated.calibration.after.coverage[0.9] <= 1.0


@pytest.mark.slow
@pytest.mark.parametrize("lifetimes", ["linked", "lognormal"])
def test_streaming_gives_the_law_of_the_batch(lifetimes):
    """Reading by reading, channels missing here and there, readings worth less than one, calibrated: one law."""
    panel = wearing_fleet(n_failed=40)
    prognosis = cem.RemainingLife(fitted(panel, lifetimes=lifetimes).model_, information=[0.5, 1.0, 0.8], n_points=296)
    prognosis = prognosis.calibrated(panel, ages=2, n_folds=2)
    engine = wearing_fleet(n_failed=1, seed=77)
    values = engine.values.copy()
    values[::4, 1] = np.nan
    values[:6, 2] = np.nan
    engine = engine._replace(values=values)
    unit = prognosis.unit()
    for age, x in zip(engine.times[:20], engine.values, strict=False):
        unit.update(float(age), x)
        found = unit.distribution()
        wanted = prognosis.predict(engine.until(np.array([age])), grid=found.grid)
        np.testing.assert_allclose(found.pmf, wanted.pmf, rtol=1e-6, atol=1e-10)
    assert found.interval(0.9)[0] < found.median() < found.interval(0.9)[1]


def test_streaming_refuses_what_no_life_explains(prognosis):
    """A reading in other units raises an error where the gate is off, and is left out and counted where it is on."""
    unit = prognosis.replaced(gate=None).unit()
    unit.update(10.0, np.full(3, 1e200))
    with pytest.raises(ScorerError):
        unit.pmf()
    unit = prognosis.unit()
    unit.update(10.0, np.full(3, 1e200))
    law = unit.distribution()
    assert np.isfinite(law.median()).all() and law.readings_left_out.tolist() == [[1, 1, 1]]


@pytest.mark.slow
def test_predicts_without_scipy(prognosis, panel, tmp_path):
    """Where only NumPy is installed a linked model loads, scores and predicts what is left."""
    path = tmp_path / "linked.cem"
    prognosis.save(path)
    code = f"""
import sys
import warnings
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "scipy":
            raise ImportError("no scipy here")
sys.meta_path.insert(0, Block())
import numpy as np
import cem
prognosis = cem.RemainingLife.load({str(path)!r})
t = np.arange(1.0, 40.0, 3.0)
panel = cem.Panel.from_arrays([t], [np.column_stack([np.zeros(len(t))] * 3)], channels=["a", "b", "c"])
print(float(prognosis.predict(panel).median()[0]))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    t = np.arange(1.0, 40.0, 3.0)
    same = cem.Panel.from_arrays([t], [np.column_stack([np.zeros(len(t))] * 3)], channels=["a", "b", "c"])
    assert float(out.stdout) == pytest.approx(float(prognosis.predict(same).median()[0]), rel=1e-12)


# -- lives linked to the channels


def wearing_fleet(n_failed=80, n_running=0, seed=0, channels=("a", "b", "c")):
    """As `running_fleet`, but what the channels share tells ln life too: correlation .8."""

    def drawn(rng):
        shared = rng.normal()
        life = np.exp(np.log(80.0) + 0.2 * shared + 0.15 * rng.normal())

        def curve(tau):
            slow, fast = 1.0 + 0.4 * shared + 0.1 * rng.normal(), 1.0 + 0.1 * rng.normal()
            return slow * np.exp(tau / 30.0) + fast * np.exp(tau / 8.0)

        return life, curve

    return fleet_of(drawn, n_failed, n_running, seed, channels)


@pytest.fixture(scope="module")
def wearing():
    return wearing_fleet()


@pytest.fixture(scope="module")
def told(wearing):
    return cem.RemainingLife(fitted(wearing).model_)


def dense_life(model, lifetimes, panel, l, left):
    """Mean and covariance of (readings, ln life) of unit l if it lasts so much longer, and what was read."""
    user, rows = model.user_parameters(), slice(panel.offsets[l], panel.offsets[l + 1])
    seen = ~np.isnan(panel.values[rows])
    x = np.concatenate([panel.values[rows, c][seen[:, c]] for c in range(model.n_channels)])
    tau = panel.times[rows] - panel.times[rows][-1] - left
    designs = [basis(tau[seen[:, c]]) for c, basis in enumerate(model.bases)]
    mean, V, _, _ = _reference_linked.dense_law(designs, user, 0)
    law = lifetimes.laws[0]
    loadings = [Phi @ user.layout.matrix(user.factors, c)[0] @ user.loading(0, c) for c, Phi in enumerate(designs)]
    together = np.concatenate(loadings) @ np.array(law.loadings)
    return x, mean, V, together, law


def test_readings_tell_the_life_as_the_dense_joint_law_has_it(told, wearing):
    """ln life given all readings of all channels, by regression on their dense covariance, for every candidate."""
    part = wearing[:3].until(np.array([40.0, 55.0, 30.0]))
    values = part.values.copy()
    values[::4, 1] = np.nan
    values[: part.offsets[1], 2] = np.nan
    part = part._replace(values=values)
    grid = np.array([2.0, 10.0, 40.0, 90.0])
    densities, shared = told.evidence(part, grid)
    wanted = np.empty((3, 4))
    edges = np.array([0.0, 6.0, 25.0, 65.0, np.inf])
    for l in range(3):
        for g, left in enumerate(grid):
            x, mean, V, together, law = dense_life(told.model, told.lifetimes, part, l, left)
            weights = np.linalg.solve(V, together)
            assert shared.means[l, g, 0] == pytest.approx(weights @ (x - mean), rel=1e-6, abs=1e-7)
            variance = np.square(law.loadings).sum() - weights @ together
            assert shared.variances[l, g, 0] == pytest.approx(variance, rel=1e-5)
            lives = stats.norm(
                law.location + weights @ (x - mean), np.sqrt(law.scale**2 - np.square(law.loadings).sum() + variance)
            )
            age = part.times[part.offsets[l + 1] - 1]
            inside = lives.cdf(np.log(age + edges[g + 1])) - lives.cdf(np.log(age + edges[g]))
            wanted[l, g] = np.log(inside) + densities[l, g, 0]
    wanted = np.exp(wanted - wanted.max(axis=1, keepdims=True))
    found = told.predict(part, grid=grid).pmf[..., 0]
    np.testing.assert_allclose(found, wanted / wanted.sum(axis=1, keepdims=True), rtol=1e-5, atol=1e-12)


@pytest.mark.slow
def test_log_likelihood_is_that_of_readings_and_lives(told, wearing):
    """(19) of the dense joint law, per unit of life: a channel of logarithms must not change what is reported."""
    em = fitted(wearing)
    total = 0.0
    for l in range(wearing.n_units):
        life = wearing.failure_times[l]
        left = life - wearing.times[wearing.offsets[l + 1] - 1]
        x, mean, V, together, law = dense_life(em.model_, em.lifetimes_, wearing, l, left)
        whole = np.block([[V, together[:, None]], [together[None], np.array([[law.scale**2]])]])
        gap = np.append(x - mean, np.log(life) - law.location)
        total += stats.multivariate_normal(np.zeros(len(gap)), whole, allow_singular=False).logpdf(gap) - np.log(life)
    assert em.log_likelihood_ == pytest.approx(total, rel=1e-9)
    assert em.starts_[0]["log_likelihood"] < em.log_likelihood_


def test_what_wears_fast_fails_young_and_is_seen_to(told, wearing):
    """Linked lives find the correlation that the fleet was made with, and predict new units better for it."""
    law = told.lifetimes.laws[0]
    assert law.family == "linked"
    assert np.sqrt(law.own_variance) == pytest.approx(0.15, rel=0.25)
    new = wearing_fleet(n_failed=150, seed=5)
    rng = np.random.default_rng(1)
    cut = new.until(new.failure_times * rng.uniform(0.4, 0.9, new.n_units))
    truth = new.failure_times - cut.times[cut.offsets[1:] - 1]
    apart = cem.RemainingLife(fitted(wearing, lifetimes="lognormal").model_)
    crps = {}
    for name, prognosis in (("linked", told), ("apart", apart)):
        prediction = prognosis.predict(cut)
        crps[name] = cem.metrics.crps_pmf(truth, prediction.grid, prediction.pmf.sum(axis=2)).mean()
    assert crps["linked"] < 0.9 * crps["apart"]


def test_one_sensor_can_tell_the_life():
    """A single channel has nothing to share with another, but it has with the life."""
    em = fitted(wearing_fleet(channels=("a",)))
    law = em.lifetimes_.laws[0]
    assert 1.0 - law.own_variance / law.scale**2 > 0.3


def test_readings_that_say_nothing_leave_the_law_of_lives(told):
    """γᵀf at its prior is the lognormal law itself, cell by cell, also for a unit older than any."""
    gamma = np.square(told.lifetimes.loadings).sum(axis=1)
    grid = np.linspace(1.0, 150.0, 60)
    nothing = np.zeros((2, 60, 1))
    known, _ = remaining_life_posterior(
        nothing, [1.0], told.lifetimes, [20.0, 200.0], grid, shared=SharedEvidence(nothing, nothing + gamma)
    )
    blind, _ = remaining_life_posterior(nothing, [1.0], told.lifetimes, [20.0, 200.0], grid)
    np.testing.assert_allclose(known.pmf, blind.pmf, rtol=1e-9, atol=1e-14)


def test_running_units_tell_linked_lives_too():
    """(19) never falls, running units' part of it is over the law that their readings are linked to."""
    em = fitted(wearing_fleet(n_failed=40, n_running=15, seed=3), n_modes=2, max_iter=60)
    assert em.lifetimes_.laws[0].family == em.lifetimes_.laws[1].family == "linked"
    assert np.diff(em.objectives_).min() >= -1e-6
    assert em.responsibilities_.shape == (55, 2)
    np.testing.assert_allclose(em.responsibilities_.sum(axis=1), 1.0)
    assert em.channels_ == ("a", "b", "c")


@pytest.mark.slow
def test_a_running_unit_adds_its_evidence(told):
    """(19) of a panel with running units is that of the failed ones and ln Σ π f P of each running one."""
    panel = wearing_fleet(n_failed=40, n_running=6, seed=3)
    em = fitted(panel)
    failed, running = panel[:40], panel[40:]
    total = 0.0
    for l in range(40):
        left = failed.failure_times[l] - failed.times[failed.offsets[l + 1] - 1]
        x, mean, V, together, law = dense_life(em.model_, em.lifetimes_, failed, l, left)
        whole = np.block([[V, together[:, None]], [together[None], np.array([[law.scale**2]])]])
        gap = np.append(x - mean, np.log(failed.failure_times[l]) - law.location)
        total += stats.multivariate_normal(np.zeros(len(gap)), whole).logpdf(gap) - np.log(failed.failure_times[l])
    prognosis = cem.RemainingLife(em.model_)
    ages = running.times[running.offsets[1:] - 1]
    grid = np.linspace(0.25, 400.0, 1600)
    densities, shared = prognosis.evidence(running, grid)
    _, evidence = remaining_life_posterior(densities, [1.0], em.lifetimes_, ages, grid, shared=shared)
    # The fit's sixty candidates are a coarser sum than sixteen hundred.
    assert em.log_likelihood_ == pytest.approx(total + evidence.sum(), abs=0.5)


def test_linked_laws_are_saved(told, wearing, tmp_path):
    told.save(tmp_path / "linked.cem")
    again = cem.RemainingLife.load(tmp_path / "linked.cem")
    assert again.lifetimes == told.lifetimes
    part = wearing[:5].until(np.full(5, 30.0))
    np.testing.assert_array_equal(again.predict(part).pmf, told.predict(part).pmf)


def test_a_fit_goes_on_from_a_linked_model(wearing):
    """Its laws are where the lives start, to the digit: the first pass must not lose what was learned."""
    em = fitted(wearing)
    again = fitted(wearing, max_iter=5)
    again.fit(wearing, init=em.model_)
    assert again.objectives_[0] == pytest.approx(em.objectives_[-1], abs=1e-4)
    user = em.model_.user_parameters()
    from_parameters = fitted(wearing, max_iter=200).fit(wearing, init=user)
    assert from_parameters.objectives_[-1] == pytest.approx(em.objectives_[-1], abs=0.05)
    blind = fitted(wearing, lifetimes="lognormal").model_  # laws that the channels did not tell
    assert fitted(wearing).fit(wearing, init=blind).objectives_[-1] == pytest.approx(em.objectives_[-1], abs=0.05)


def test_floors_of_channels_are_not_those_of_lives(wearing):
    """A noise floor in the channels' units would say that all lives are alike to within e^10."""
    em = fitted(wearing, noise_floor=0.04, max_iter=60)
    assert em.noise_variances_.min() >= 0.04
    assert em.lifetimes_.laws[0].scale < 0.5
    named = fitted(wearing, noise_floor={"b": 0.09}, max_iter=60)
    assert named.noise_variances_[0, 1] >= 0.09 > named.noise_variances_[0, 0]


def test_one_life_for_all_is_nothing_to_be_told():
    """Units replaced on schedule: a constant channel of lives must not end the fit."""
    values = [np.random.default_rng(l).normal(size=(20, 3)) for l in range(12)]
    same = cem.Panel.from_arrays([np.arange(20.0)] * 12, values, channels=list("abc"), failure_times=[20.0] * 12)
    em = fitted(same, max_iter=30)
    assert em.lifetimes_.laws[0].family == "lognormal"


def test_interrupted_before_the_links_the_laws_stand_alone(wearing, monkeypatch):
    """Ctrl-C while channels are being linked keeps the plain fit; its lives are then lognormal."""

    def interrupted(run, *args, **options):
        return run, True

    monkeypatch.setattr("cem.fitting.fit.linked_run", interrupted)
    with pytest.warns(cem.errors.ConvergenceWarning, match="before channels were linked"):
        em = fitted(wearing)
    assert em.lifetimes_.laws[0].family == "lognormal"
    assert cem.RemainingLife(em.model_).predict(wearing[:2].until(np.full(2, 30.0))).median().shape == (2,)


def test_what_cannot_be_linked_is_refused(told, wearing):
    with pytest.raises(OptionError, match=r"lifetimes='linked' with linking_rank=0.*lifetimes='lognormal'"):
        fitted(wearing, 0, lifetimes="linked")
    with pytest.raises(OptionError, match=r"lifetimes='gamma': one of 'auto', 'lognormal'"):
        fitted(wearing, lifetimes="gamma")
    with pytest.raises(PanelError, match=r"channel is named 'ln life'.*lifetimes='lognormal'"):
        fitted(wearing._replace(channels=("a", "b", LIFE)))
    two = fitted(wearing, 2, max_iter=30).lifetimes_
    with pytest.raises(OptionError, match=r"lifetimes are linked to 2 factors.*share 1"):
        told.replaced(lifetimes=two)
    with pytest.raises(OptionError, match=r"sum of squares below scale"):
        LinkedLognormal(4.0, 0.2, (0.2, 0.1))
    with pytest.raises(FitError, match=r"fitted with the channels"):
        LinkedLognormal.fit([1.0, 2.0])
