"""EM with lives, accelerated: the same optimum in fewer passes, points as vectors and back, a warning if cut short."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from life_cases import partly_running

from cem.basis.families import Exponential
from cem.em.expectation import Expectation
from cem.errors import CemWarning, ConvergenceWarning, FitError
from cem.fitting.estimator import FailureModeEM
from cem.fitting.lives import LivesFit, fit_with_lives, of_all_units
from cem.fitting.lives_ascent import LivesCoordinates, LivesPoint
from cem.fitting.lives_problem import MINIMUM_SPREAD, LivesProblem
from cem.lifetimes.laws import GUMBEL_SPREAD
from cem.lifetimes.lifetimes import LifetimeLaw, Lognormal
from cem.mixture.prediction import log_joint
from cem.panel.panel import Panel


def fit(panel: Panel, accelerate: str, family: str, max_iter: int) -> LivesFit:
    options = FailureModeEM(
        2, basis=Exponential([40.0]), n_init=2, max_iter=max_iter, random_state=1, time_axis="to_failure",
        accelerate=accelerate, covariance="full",
    )._options()  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return fit_with_lives(panel, options, family=family)


def numbers(law: LifetimeLaw) -> dict[str, float]:
    return {name: value for name, value in law.to_dict().items() if name != "family"}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["lognormal", "weibull"])
def test_the_optimum_of_plain_passes_in_fewer(family) -> None:
    """Where two thousand plain passes are not there yet: no lower, converged, in a third of them; never falling."""
    panel = partly_running(40, 5)
    plain, fast = fit(panel, "none", family, 2000), fit(panel, "auto", family, 2000)
    assert fast.result.run.converged and fast.result.run.n_passes < plain.result.run.n_passes / 3
    assert fast.objectives[-1] > plain.objectives[-1] - 1e-6
    assert np.diff(fast.objectives).min() > -1e-10 * np.abs(fast.objectives).max()
    for one, other in zip(plain.lifetimes.laws, fast.lifetimes.laws, strict=True):
        assert one.median() == pytest.approx(other.median(), rel=1e-2)


@pytest.fixture(scope="module", params=["lognormal", "weibull"])
def ascent(request) -> tuple[LivesProblem, LivesCoordinates, LivesPoint]:
    """A problem, its coordinates and a point near the start of its ascent."""
    panel = partly_running(24, 1)
    options = FailureModeEM(2, basis=Exponential([40.0]), n_init=2, random_state=1, time_axis="to_failure")._options()
    problems = []

    def kept(problem, result, *options):
        problems.append(problem)
        return of_all_units(problem, result, *options)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        patch.setattr("cem.fitting.lives.of_all_units", kept)
        found = fit_with_lives(panel, replace(options, max_iter=5), family=request.param)
    point = LivesPoint(found.result.run.parameters, found.lifetimes)
    return problems[0], problems[0].coordinates(point), point


def test_points_are_vectors_and_back(ascent) -> None:
    """Mixture and laws survive the round trip; a law outside its bounds is brought back to them."""
    _, coordinates, point = ascent
    vector = coordinates.vector(point)
    back = coordinates.parameters(vector)
    np.testing.assert_allclose(back.mixture.means, point.mixture.means, rtol=1e-12)
    np.testing.assert_allclose(back.mixture.factors, point.mixture.factors, rtol=1e-6, atol=1e-9)
    for old, new in zip(point.lifetimes.laws, back.lifetimes.laws, strict=True):
        assert type(new) is type(old) and numbers(new) == pytest.approx(numbers(old), rel=1e-6)
    vector[-1] = 0.0
    held = coordinates.parameters(vector).lifetimes.laws[-1]
    spread = held.scale if isinstance(held, Lognormal) else GUMBEL_SPREAD / held.shape
    assert spread == pytest.approx(MINIMUM_SPREAD)
    vector[-1] = np.inf
    with pytest.raises(np.linalg.LinAlgError):
        coordinates.parameters(vector)


def test_the_gradient_is_that_of_the_penalised_objective(ascent) -> None:
    """Of the laws' numbers as of the mixture's; a wrong one would cost steps, or end them early."""
    problem, coordinates, point = ascent
    vector = coordinates.vector(point)
    vector += 0.03 * np.random.default_rng(0).normal(size=vector.shape)
    at = coordinates.parameters(vector)
    gradient, metric = coordinates.gradient(vector, at, problem.expect(at).sums)
    assert gradient @ metric.scaled(gradient) > 0.0
    last, h = len(vector) - 1, 1e-5
    for direction in [*np.random.default_rng(1).normal(size=(3, len(vector))), *np.eye(len(vector))[last - 3 :]]:
        up, down = (problem.expect(coordinates.parameters(vector + sign * h * direction)).objective for sign in (1, -1))
        size = np.abs(gradient) @ np.abs(direction)
        assert abs((up - down) / (2 * h) - gradient @ direction) <= 1e-6 * size + 1e-5


def test_an_ascent_that_is_cut_short_is_told() -> None:
    """Three passes with lives do not suffice: the user hears of it, and `converged` is false."""
    panel = partly_running(40, 5)
    failed = panel[~np.isnan(panel.failure_times)]
    options = FailureModeEM(2, basis=Exponential([40.0]), n_init=2, random_state=1, time_axis="to_failure")._options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        start = fit_with_lives(failed, options).result
    with pytest.warns(ConvergenceWarning, match="3 E steps with lives were not enough; raise max_iter"):
        short = fit_with_lives(panel, replace(options, max_iter=3), init=start.run.responsibilities)
    assert not short.result.run.converged


def test_densities_of_every_mode_by_either_kernel() -> None:
    """The lanes, mode by mode, say what the general way says, to rounding; a mode of no weight is no obstacle."""
    problem = fit(partly_running(24, 1), "none", "lognormal", 5).result
    statistics = problem.statistics.with_known_modes(np.full(problem.statistics.n_units, -1, dtype=np.int32))
    parameters = replace(problem.run.parameters, weights=np.array([1.0, 0.0]))
    lanes, general = Expectation(statistics), Expectation(statistics, kernel="lapack")
    assert lanes.kernel.startswith("lanes") and general.kernel == "lapack"
    found, expected = lanes.log_densities(parameters), general.log_densities(parameters)
    assert np.isfinite(expected).all() and found.shape == (24, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(found[:, 0], log_joint(statistics, parameters)[:, 0], rtol=1e-11, atol=1e-9)
    broken = replace(parameters, means=np.full_like(parameters.means, 1e200))
    with pytest.raises(FitError, match="is not finite"):
        lanes.log_densities(broken)
