"""EM with lives, model.md (19): it never falls, it is the literal sum, and running units teach what they should."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from life_cases import fitted, fleet, partly_running
from scipy import stats

from cem.basis.families import BSpline, Constant, Exponential, Fourier, Polynomial
from cem.errors import BasisError, CemWarning, FitError, OptionError, PanelError
from cem.fitting.estimator import FailureModeEM
from cem.fitting.fit import fit_mixture
from cem.fitting.lives import LivesFit, fit_with_lives
from cem.fitting.lives_ascent import LivesPoint
from cem.fitting.lives_problem import LivesProblem, pseudo_units
from cem.panel.panel import Panel
from cem.statistics.anchored import anchored_statistics
from cem.statistics.sufficient import SufficientStatistics


def lives_fit(panel: Panel, n_modes: int, basis, *, max_iter: int = 40, prior_weight: float = 1.0,
              family: str = "lognormal", covariance: str = "auto") -> LivesFit:  # fmt: skip
    options = FailureModeEM(
        n_modes, basis=basis, n_init=2, max_iter=max_iter, random_state=1, time_axis="to_failure", covariance=covariance
    )._options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return fit_with_lives(panel, options, family=family, prior_weight=prior_weight)


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=12)
@given(
    seed=st.integers(0, 10_000),
    n_modes=st.integers(1, 3),
    basis=st.sampled_from([Exponential([40.0]), Polynomial(1), Exponential([15.0, 60.0]), Fourier(1, 500.0)]),
    family=st.sampled_from(["lognormal", "weibull"]),
    prior_weight=st.sampled_from([0.0, 1.0]),
)
def test_the_objective_never_falls(seed, n_modes, basis, family, prior_weight) -> None:
    """(19) with the laws' penalty, pass by pass; without a penalty (19) itself. A fall would be a wrong M step."""
    panel = partly_running(24, seed)
    panel = panel if n_modes > 1 and seed % 2 else panel.with_modes(None)
    covariance = "full" if prior_weight == 0.0 else "auto"
    try:
        fit = lives_fit(
            panel, n_modes, basis, max_iter=20, family=family, prior_weight=prior_weight, covariance=covariance
        )
    except FitError:  # of the fit to the failed units alone: too few of them for so many modes
        reject()
    objectives = np.array(fit.objectives)
    assert len(objectives) > 1
    slack = 1e-10 * np.abs(objectives).max()
    assert np.diff(objectives).min() > -slack
    if prior_weight == 0.0:
        np.testing.assert_allclose(objectives, fit.result.run.log_likelihoods)


def test_log_likelihood_is_the_literal_sum() -> None:
    """(19) by loops over units, modes and candidates, with dense normals, at the parameters returned."""
    panel = partly_running(10, 3)
    failed = ~np.isnan(panel.failure_times)
    options = FailureModeEM(2, basis=Exponential([40.0]), n_init=1, max_iter=3, random_state=0)._options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        start = fit_mixture(panel[failed].with_modes(None).aligned_at_failure(), options)
        problem = LivesProblem.of(
            panel.with_modes(None), failed, start.statistics, start.mode_labels, start.constraints,
            family="lognormal", prior_weight=1.0,
        )  # fmt: skip
    n_grid, n_failed = len(problem.log_widths), int(failed.sum())
    laws = problem.laws(np.vstack([start.run.responsibilities, np.zeros((len(problem.lives) - n_failed, 2))]))
    evaluation = problem.expect(LivesPoint(start.run.parameters, laws))
    value, rho = evaluation.log_likelihood, evaluation.responsibilities
    expected, weights = evaluation.sums.mixture, evaluation.sums.weights
    parameters, coordinates = start.run.parameters, start.statistics.coordinates
    lives = problem.lives[n_failed:].reshape(-1, n_grid)

    def log_density(unit: int, failure: float, k: int) -> float:
        rows, total = slice(panel.offsets[unit], panel.offsets[unit + 1]), 0.0
        for c, basis in enumerate(start.statistics.bases):
            design = basis(panel.times[rows] - failure)
            mean = coordinates.coefficients(parameters.mean(k, c), c)
            factor = coordinates.covariance_factor(parameters.factor(k, c), c)
            noise = parameters.noise_variances[k, c] * coordinates.scales[c] ** 2
            dense = design @ factor @ factor.T @ design.T + noise * np.eye(len(design))
            total += stats.multivariate_normal(design @ mean, dense).logpdf(panel.values[rows, c])
        return total

    total, row = 0.0, 0
    for unit in range(panel.n_units):
        if failed[unit]:
            life = panel.failure_times[unit]
            terms = [
                np.log(parameters.weights[k]) + laws.log_density(life)[k] + log_density(unit, life, k) for k in range(2)
            ]
        else:
            terms = [
                np.log(parameters.weights[k])
                + laws.log_density(life)[k]
                + problem.log_widths[g]
                + log_density(unit, life, k)
                for g, life in enumerate(lives[row])
                for k in range(2)
            ]
            row += 1
        joint = np.array(terms)
        total += np.logaddexp.reduce(joint)
        own = np.exp(joint - np.logaddexp.reduce(joint)).reshape(-1, 2).sum(axis=0)
        np.testing.assert_allclose(rho[unit], own, rtol=1e-6, atol=1e-9)
    jacobian = -float(panel.counts.sum(axis=0) @ np.log(coordinates.scales))
    assert value + jacobian == pytest.approx(total, rel=1e-8)
    assert expected.n_units == panel.n_units and weights.sum() == pytest.approx(panel.n_units)
    assert expected.mode_counts.sum() == pytest.approx(panel.n_units)


@pytest.mark.parametrize("basis", [Exponential([40.0, 90.0]), Polynomial(3), Fourier(2, 400.0), Constant()])
def test_pseudo_units_are_the_units_evaluated_there(basis) -> None:
    """Shifting compressed statistics is compressing shifted readings: same Gram, same projections, same misfit."""
    panel = partly_running(8, 1)[[0, 1, 2]].with_failure_times(None)
    bound = basis.bind(np.linspace(-400.0, 0.0, 50))
    ages = panel.times[panel.offsets[1:] - 1]
    like = SufficientStatistics.from_panel(panel.with_failure_times(ages).aligned_at_failure(), (bound, bound))
    grid = np.array([0.0, 13.0, 70.0])
    pseudo = pseudo_units(anchored_statistics(panel, (bound, bound)), like, grid)
    for g, r in enumerate(grid):
        direct = SufficientStatistics.from_panel(
            panel.with_failure_times(ages + r).aligned_at_failure(), (bound, bound), coordinates=like.coordinates
        )
        p = bound.size
        for unit in range(3):
            for c in range(2):
                at = pseudo.factor_offsets[unit * len(grid) + g, c]
                own = pseudo.factors[at : at + p * p].reshape(p, p)
                at = direct.factor_offsets[unit, c]
                theirs = direct.factors[at : at + p * p].reshape(p, p)
                assert np.array_equal(own, np.triu(own))
                np.testing.assert_allclose(own.T @ own, theirs.T @ theirs, rtol=1e-6, atol=1e-7)
                mine = own.T @ pseudo.projections[unit * len(grid) + g, c * p : (c + 1) * p]
                np.testing.assert_allclose(
                    mine, theirs.T @ direct.projections[unit, c * p : (c + 1) * p], rtol=1e-5, atol=1e-5
                )
        np.testing.assert_allclose(pseudo.residual_norms[g :: len(grid)], direct.residual_norms, rtol=1e-6, atol=1e-8)


def test_running_units_correct_the_laws_of_lifetimes() -> None:
    """A fleet observed until 170 h: the failed units suggest that all die young; the running ones contradict that."""
    panel = fleet(80, 9, every=6.0).with_modes(None)
    cut = panel.until(170.0)
    running = np.isnan(cut.failure_times)
    assert 25 < running.sum() < 55
    all_units, failed_only = fitted(cut, 1), fitted(cut[~running], 1)
    truth = np.log(panel.failure_times).mean()
    censored = float(np.log(all_units.lifetimes_.laws[0].median()))
    naive = float(np.log(failed_only.lifetimes_.laws[0].median()))
    assert naive < truth - 0.1
    assert abs(censored - truth) < 0.6 * abs(naive - truth)


def test_the_estimator_takes_running_units() -> None:
    """fit(panel) with NaN failure times: responsibilities of all units in their order, a history, a record."""
    panel = partly_running(40, 2)
    em = fitted(panel, 2)
    assert em.responsibilities_.shape == (40, 2)
    np.testing.assert_allclose(em.responsibilities_.sum(axis=1), 1.0)
    known = [em.mode_labels_.index(mode) for mode in panel.modes]
    np.testing.assert_allclose(em.responsibilities_[np.arange(40), known], 1.0, rtol=1e-12)
    assert em.converged_ and em.model_.training["n_units"] == 40
    assert em.model_.training["n_failed"] == int((~np.isnan(panel.failure_times)).sum())
    assert em.log_likelihood_ == pytest.approx(em.log_likelihoods_[-1])
    assert em.model_.training["n_observations"] == int(panel.counts.sum())


def test_one_mode_of_failed_units_is_the_plain_fit_with_a_law() -> None:
    """Nothing hidden: the parameters of the mixture, and ℓ is that of readings plus that of lives."""
    panel = fleet(30, 7).with_modes(None)
    em = fitted(panel, 1)
    lives = em.lifetimes_.log_density(panel.failure_times).sum()
    assert em.log_likelihood_ == pytest.approx(em.score_samples(panel).sum() + lives, rel=1e-9)


def test_what_cannot_be_fitted_is_said() -> None:
    """No failure, a label that no failed unit has, a basis that cannot be shifted, an unknown family."""
    panel = partly_running(16, 5).with_modes(None)
    with pytest.raises(PanelError, match="none of the 16"):
        fitted(panel.with_failure_times(None), 1)
    first = int(np.flatnonzero(np.isnan(panel.failure_times))[0])
    labels = [None] * 16
    labels[first] = "crack"
    with pytest.raises(PanelError, match="labelled 'crack'"):
        fitted(panel.with_modes(labels), 1)
    with pytest.raises(BasisError, match="still running"):
        fitted(panel, 1, basis=BSpline(5))
    with pytest.raises(OptionError, match="lifetimes='gamma'"):
        fitted(panel, 1, lifetimes="gamma")
