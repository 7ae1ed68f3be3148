"""Replicates of a fit: what an interval by the bootstrap is made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import cem
from cem.em.expectation import Expectation
from cem.em.mixture_problem import MixtureProblem
from cem.errors import OptionError
from cem.fitting.fit import fit_mixture
from cem.uncertainty.matching import places_of_modes
from cem.uncertainty.replicates import Refit, bootstrap, in_their_places, refitted
from cem.uncertainty.resampling import ParametricDraws


def fleet(n_units: int = 40, *, gap: float = 2.0, labels: bool = False, seed: int = 5) -> cem.Panel:
    rng = np.random.default_rng(seed)
    times, values, modes = [], [], []
    for unit in range(n_units):
        k = int(rng.random() < 0.4)
        t = np.sort(rng.uniform(-1, 1, rng.integers(3, 12)))
        b = np.array([gap * k, 1.0 - k]) + rng.normal(size=2) * [0.5, 0.3]
        x = np.column_stack([b[0] + b[1] * t, b[0] - t]) + 0.3 * rng.normal(size=(len(t), 2))
        times.append(t)
        values.append(x)
        modes.append("ab"[k] if labels and unit % 5 == 0 else None)
    panel = cem.Panel.from_arrays(times, values)
    return panel.with_modes(modes) if labels else panel


def problem_of(panel: cem.Panel, n_modes: int = 2, **options):
    em = cem.FailureModeEM(n_modes, basis=cem.Polynomial(1), random_state=0, **options)
    result = fit_mixture(panel, em._options())
    return MixtureProblem(Expectation(result.statistics), result.constraints), result.run.parameters


CASES = {
    "plain": (fleet(), {}),
    "labelled": (fleet(labels=True), {}),
    "linked": (fleet(60), {"linking_rank": 1, "linking_penalty": 20.0}),
    "pooled": (fleet(), {"covariance": "pooled", "noise": "pooled"}),
    "fixed": (fleet(), {"random_columns": [0]}),
}


@pytest.mark.parametrize("kind", ["units", "parametric"])
@pytest.mark.parametrize("case", CASES)
def test_two_threads_make_the_same_bits_as_one(case, kind):
    problem, fit = problem_of(CASES[case][0], **CASES[case][1])
    one = bootstrap(problem, fit, n=8, kind=kind, seed=3)
    two = bootstrap(problem, fit, n=8, kind=kind, seed=3, n_jobs=2)
    assert one.fates == two.fates
    assert np.array_equal(one.log_likelihoods, two.log_likelihoods)
    for first, second in zip(one.usable, two.usable, strict=True):
        assert np.array_equal(first.means, second.means)
        assert np.array_equal(first.factors, second.factors)
        assert (first.fixed is None) == (fit.fixed is None)
        assert first.rank == fit.rank
    assert len(one.usable) >= 6
    assert len({refit.log_likelihood for refit in one.refits}) == 8


def test_the_seed_of_the_caller_is_not_used_up():
    """A second call with the same SeedSequence draws the same replicates."""
    problem, fit = problem_of(fleet())
    seed = np.random.SeedSequence(4)
    first, second = (bootstrap(problem, fit, n=3, seed=seed) for _ in range(2))
    assert np.array_equal(first.log_likelihoods, second.log_likelihoods)


@pytest.mark.parametrize("case", CASES)
def test_no_refit_ends_below_its_start(case):
    problem, fit = problem_of(CASES[case][0], **CASES[case][1])
    draws = ParametricDraws(problem.expectation.statistics, fit)
    for seed in range(5):
        other = problem.on(draws.draw(np.random.default_rng(seed)))
        start = other.expect(fit)
        refit = refitted(other, fit)
        if refit.parameters is not None:
            reached = other.expect(refit.parameters)
            assert reached.objective >= start.objective
            assert reached.log_likelihood == pytest.approx(refit.log_likelihood, abs=1e-8)


def test_replicates_scatter_as_estimates_do():
    """One mode, one channel: the mean of the intercepts has a known standard error."""
    rng = np.random.default_rng(0)
    n, T = 200, rng.normal(size=200)
    t = np.linspace(-1, 1, 9)
    values = [x + 0.3 * rng.normal(size=9) for x in T]
    panel = cem.Panel.from_arrays([t] * n, values)
    em = cem.FailureModeEM(1, basis=cem.Polynomial(0), random_state=0)
    result = fit_mixture(panel, em._options())
    problem = MixtureProblem(Expectation(result.statistics), result.constraints)
    scale = float(result.statistics.coordinates.scales[0])
    expected = np.std([x.mean() for x in values]) / np.sqrt(n)
    for kind in ("units", "parametric"):
        replicates = bootstrap(problem, result.run.parameters, n=300, kind=kind)
        transform = float(result.statistics.coordinates.transforms[0])
        means = np.array([one.means[0, 0] for one in replicates.usable]) * scale / transform
        assert means.std() == pytest.approx(expected, rel=0.15)


@pytest.mark.filterwarnings("ignore::cem.errors.CemWarning")
def test_a_lost_mode_is_counted_and_named():
    """Modes that are no modes: some replicates lose one, and none of these enters the usable ones."""
    problem, fit = problem_of(fleet(16, gap=0.3, seed=1), 4)
    replicates = bootstrap(problem, fit, n=30, kind="units")
    assert 0 < replicates.n_lost < 30
    assert len(replicates.usable) == 30 - replicates.n_lost
    assert any(fate.startswith("lost mode") for fate in replicates.fates)
    assert "lost mode" in repr(replicates)


def test_modes_that_changed_places_are_put_back_and_counted():
    problem, fit = problem_of(fleet())
    turned = Refit(fit.ordered([1, 0]), -1.0, "converged")
    back = in_their_places(turned, fit, problem.expectation.statistics)
    assert back.fate == "swapped"
    assert np.array_equal(back.parameters.means, fit.means)


def test_a_label_is_stronger_than_the_curves():
    _, fit = problem_of(fleet())
    assert places_of_modes(fit, fit.ordered([1, 0])).tolist() == [1, 0]
    assert places_of_modes(fit, fit.ordered([1, 0]), (0,)).tolist() == [0, 1]


def test_modes_of_one_mean_are_told_apart_by_their_noise():
    _, fit = problem_of(fleet())
    same = replace(
        fit, means=fit.means[[0, 0]], factors=fit.factors[[0, 0]], noise_variances=np.array([[1.0] * 2, [4.0] * 2])
    )
    assert places_of_modes(same, same.ordered([1, 0])).tolist() == [1, 0]


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 2, "kind": "jackknife"}])
def test_impossible_options_are_refused(options):
    problem, fit = problem_of(fleet())
    with pytest.raises(OptionError):
        bootstrap(problem, fit, **options)
