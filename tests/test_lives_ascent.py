"""EM with lives, extrapolated: the same optimum in fewer passes, points as vectors and back, an end that is told."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from test_censored import partly_running

from cem.basis import Exponential
from cem.censored import LivesFit, fit_with_lives
from cem.errors import CemWarning, ConvergenceWarning, FitError
from cem.estimator import FailureModeEM
from cem.expectation import Expectation
from cem.lifetimes import Empirical, LifetimeLaw, Lifetimes, Lognormal, Weibull
from cem.lives_ascent import LivesCoordinates, LivesPoint
from cem.panel import Panel
from cem.prediction import log_joint


def fit(panel: Panel, accelerate: str, family: str, max_iter: int) -> LivesFit:
    options = FailureModeEM(
        2, basis=Exponential([40.0]), n_init=2, max_iter=max_iter, random_state=1, time_axis="to_failure",
        accelerate=accelerate,
    )._options()  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        return fit_with_lives(panel, options, family=family)


def numbers(law: LifetimeLaw) -> dict[str, float]:
    return {name: value for name, value in law.to_dict().items() if name != "family"}


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


def test_points_are_vectors_and_back() -> None:
    """Mixture and laws survive the round trip; a law outside its bounds is brought back to them."""
    problem = fit(partly_running(24, 1), "none", "lognormal", 5)
    constraints, run = problem.result.constraints, problem.result.run
    laws = Lifetimes((Lognormal(5.0, 0.3), Weibull(4.0, 200.0)))
    point = LivesPoint(run.parameters, laws)
    coordinates = LivesCoordinates(constraints, point.sizes, 0.05)
    vector = coordinates.vector(point)
    back = coordinates.parameters(vector, point)
    np.testing.assert_allclose(back.mixture.means, point.mixture.means, rtol=1e-12)
    np.testing.assert_allclose(back.mixture.factors, point.mixture.factors, rtol=1e-9, atol=1e-12)
    for old, new in zip(laws.laws, back.lifetimes.laws, strict=True):
        assert type(new) is type(old) and numbers(new) == pytest.approx(numbers(old), rel=1e-12)
    vector[-3:] = [-20.0, 9.0, 30.0]  # ln spread, ln scale, ln shape
    held = coordinates.parameters(vector, point).lifetimes.laws
    assert held[0].scale == 0.05 and held[1].shape == pytest.approx(np.pi / np.sqrt(6.0) / 0.05)
    fixed = LivesPoint(run.parameters, Lifetimes((Empirical.fit([1.0, 2.0, 3.0]), laws.laws[1])))
    assert len(coordinates.vector(fixed)) == len(vector) - 2
    kept = coordinates.parameters(coordinates.vector(fixed), fixed).lifetimes.laws
    assert kept[0] is fixed.lifetimes.laws[0] and numbers(kept[1]) == pytest.approx(numbers(laws.laws[1]))


def test_an_ascent_that_is_cut_short_is_told() -> None:
    """Three passes with lives do not suffice: the user hears of it, and `converged` is false."""
    panel = partly_running(40, 5)
    failed = panel[~np.isnan(panel.failure_times)]
    options = FailureModeEM(2, basis=Exponential([40.0]), n_init=2, random_state=1, time_axis="to_failure")._options()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CemWarning)
        start = fit_with_lives(failed, options).result
    with pytest.warns(ConvergenceWarning, match=r"passes with lives did not suffice; raise max_iter \(now 3\)"):
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
