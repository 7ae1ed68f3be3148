"""First passage against brute force: plain random draws on a fine grid of times, no cleverness."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cem.basis.families import Basis, BSpline, Constant, Exponential, Fourier, Polynomial
from cem.errors import OptionError, PredictionError
from cem.passage.first_passage import FirstPassage, first_passage
from cem.passage.trajectories import first_crossings, lattice_normals

LINE = Polynomial(1).bind([0.0, 100.0])
QUADRATIC = Polynomial(2).bind([0.0, 100.0])


def fleet(basis: Basis, n_units: int, n_modes: int, seed: int, spread: float = 1.0) -> tuple[np.ndarray, ...]:
    """Mode probabilities, means and covariances of units whose curves rise from about 4 towards 8."""
    rng = np.random.default_rng(seed)
    roots = spread * rng.normal(size=(n_units, n_modes, basis.size, basis.size)) / np.sqrt(basis.size)
    rho = rng.dirichlet(np.full(n_modes, 2.0), n_units)
    target = np.linspace(4.0, 8.0, 50)
    times = np.linspace(*basis.domain, 50)
    mean = np.linalg.lstsq(basis(times), target, rcond=None)[0] + 0.5 * rng.normal(size=(n_units, n_modes, basis.size))
    return rho, mean, roots @ np.swapaxes(roots, -1, -2)


def brute_force(
    basis: Basis,
    rho: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
    start: float,
    now: float,
    level: np.ndarray,
    horizon: float,
    n: int = 20_000,
    n_times: int = 400,
) -> tuple[np.ndarray, float, np.ndarray]:
    """One unit: remaining lives of the draws that had not crossed, P(crossed), and their modes' shares."""
    rng = np.random.default_rng(99)
    modes = rng.choice(len(rho), size=n, p=rho / rho.sum())
    draws = np.array([rng.multivariate_normal(mean[k], covariance[k], n) for k in range(len(rho))])
    coefficients = draws[modes, np.arange(n)]
    past = np.linspace(start, now, n_times // 2)
    future = np.linspace(now, now + horizon, n_times)
    clean = ~np.any(coefficients @ basis(past).T >= level[modes][:, None], axis=1)
    beyond = coefficients[clean] @ basis(future).T >= level[modes][clean, None]
    lives = np.where(beyond.any(axis=1), future[beyond.argmax(axis=1)] - now, np.inf)
    return lives, 1.0 - clean.mean(), np.bincount(modes[clean], minlength=len(rho)) / clean.sum()


def agrees_with_brute_force(law: FirstPassage, basis: Basis, problem: tuple, horizon: float) -> None:
    """cdf, P(crossed), P(never) and modes within 5 standard errors of 20,000 draws and the law's own error."""
    rho, mean, covariance, start, now, level = problem
    r = horizon * np.array([0.05, 0.2, 0.5, 0.999])
    cdf, error = law.cdf(r), law.standard_error(r)
    for unit in range(len(rho)):
        lives, crossed, shares = brute_force(
            basis, rho[unit], mean[unit], covariance[unit], start[unit], now[unit], level[unit], horizon
        )
        noise = 5 * (0.5 / np.sqrt(len(lives)) + error[unit]) + 0.002
        assert law.probability_crossed[unit] == pytest.approx(crossed, abs=0.02)
        np.testing.assert_array_less(np.abs(cdf[unit] - (lives[:, None] <= r).mean(axis=0)), noise)
        np.testing.assert_allclose(law.mode_probabilities[unit], shares, atol=0.03)
        cap = 0.4 * horizon
        assert law.mean(cap=cap)[unit] == pytest.approx(np.minimum(lives, cap).mean(), rel=0.03, abs=0.01 * horizon)


# ---- straight lines: exact -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("direction", ["upper", "lower"])
def test_straight_lines_agree_with_brute_force(direction: str) -> None:
    """Thresholds by mode, a unit with a single reading, both directions: no simulation in the answer."""
    rho, mean, covariance = fleet(LINE, 3, 2, seed=0, spread=1.5)
    start, now, level = np.zeros(3), np.array([40.0, 60.0, 0.0]), np.tile([8.0, 7.0], (3, 1))
    sign = 1.0 if direction == "upper" else -1.0
    law = first_passage(
        LINE, rho, sign * mean, covariance, start, now, sign * np.array([8.0, 7.0]), direction=direction
    )
    assert law.exact and law.horizon == np.inf
    np.testing.assert_array_equal(law.standard_error([1.0, 2.0]), 0.0)
    agrees_with_brute_force(law, LINE, (rho, mean, covariance, start, now, level), horizon=300.0)
    lives, *_ = brute_force(LINE, rho[0], mean[0], covariance[0], 0.0, 40.0, level[0], 1e7, n_times=400)
    assert law.probability_never[0] == pytest.approx(np.isinf(lives).mean(), abs=0.02)


def test_straight_lines_are_bivariate_normal_probabilities() -> None:
    """Against SciPy's, for a falling line that was perhaps beyond at its first reading: that reading's time counts."""
    mean, covariance, level, start, now = np.array([6.5, -1.2]), np.array([[1.0, 0.3], [0.3, 1.5]]), 8.0, 10.0, 60.0
    law = first_passage(LINE, [[1.0]], mean[None, None], covariance[None, None], start, now, level)

    def below(first: np.ndarray, second: np.ndarray, limit: float = level) -> float:
        design = np.array([first, second])
        pair = stats.multivariate_normal(design @ mean, design @ covariance @ design.T)
        return float(pair.cdf([level, limit]))

    total = below(LINE(start), LINE(now))
    assert law.probability_crossed[0] == pytest.approx(1 - total, abs=1e-6)
    assert 1 - total > 0.2
    for r in (5.0, 80.0):
        assert law.cdf([r])[0, 0] == pytest.approx(1 - below(LINE(start), LINE(now + r)) / total, abs=1e-6)
    never = below(LINE(start), LINE(now + 1) - LINE(now), 0.0)  # the slope is at most 0
    assert law.probability_never[0] == pytest.approx(never / total, abs=1e-6)


def test_density_quantiles_and_cdf_are_one_law() -> None:
    """The density is the slope of the cdf, quantiles invert it, and beyond P(ever) a quantile is infinite."""
    rho, mean, covariance = fleet(LINE, 4, 3, seed=1)
    law = first_passage(LINE, rho, mean, covariance, 0.0, 50.0, 9.0)
    r, h = np.array([2.0, 10.0, 40.0, 150.0]), 1e-3
    np.testing.assert_allclose(law.pdf(r), (law.cdf(r + h) - law.cdf(r - h)) / (2 * h), rtol=1e-5, atol=1e-10)
    q = np.array([0.05, 0.2, 0.99])
    times = law.quantile(q)
    ever = 1.0 - law.probability_never
    reached = q < ever[:, None]
    np.testing.assert_allclose(law.cdf(times)[reached], np.broadcast_to(q, times.shape)[reached], rtol=1e-9)
    assert np.all(np.isinf(times[~reached])) and np.any(~reached) and np.any(reached)
    np.testing.assert_allclose(law.cdf([np.inf])[:, 0], ever, atol=1e-12)
    np.testing.assert_allclose(law.quantile(0.2), times[:, 1], rtol=1e-10)
    np.testing.assert_allclose(law.interval(0.6)[0], law.quantile(0.2), rtol=1e-10)


def test_capped_mean_is_the_area_under_the_survival() -> None:
    """E[min(r, 100)] = ∫ survival, for a unit that will cross in a moment as for one that takes its time."""
    rho, mean, covariance = fleet(LINE, 2, 2, seed=2, spread=0.2)
    law = first_passage(LINE, rho, mean, covariance, 0.0, np.array([90.0, 99.5]), 8.0)
    times = np.linspace(0, 100, 10_001)
    survival = 1 - law.cdf(times)
    area = (survival[:, 1:] + survival[:, :-1]).sum(axis=1) * 0.005
    np.testing.assert_allclose(law.mean(cap=100.0), area, rtol=2e-4)
    assert np.all(np.isinf(law.mean())), "an uncertain slope may be 0: the mean does not exist"


def test_certain_slope_by_hand() -> None:
    """Slope .1 for certain, value at t = 50 N(5, .5²), threshold 8: life N(30, 5²), cut where already crossed."""
    rows = np.linalg.inv(np.stack([LINE(50.0), LINE(50.0) - LINE(49.0)]))
    mean = rows @ [5.0, 0.1]
    covariance = rows @ np.diag([0.25, 0.0]) @ rows.T
    law = first_passage(LINE, [[1.0]], mean[None, None], covariance[None, None], 0.0, 50.0, 8.0)
    np.testing.assert_allclose(law.quantile([0.025, 0.5, 0.975])[0], [20.2002, 30.0, 39.7998], rtol=1e-4)
    assert law.mean(cap=1000.0)[0] == pytest.approx(30.0, rel=1e-3)
    np.testing.assert_allclose(law.pdf([30.0])[0], 1 / (5 * np.sqrt(2 * np.pi)), rtol=1e-5)
    assert law.probability_never[0] == pytest.approx(0.0, abs=1e-6)
    # With no uncertainty at all it is arithmetic.
    sure = first_passage(LINE, [[1.0]], mean[None, None], np.zeros((1, 1, 2, 2)), 0.0, 50.0, 8.0)
    assert sure.quantile(0.5)[0] == pytest.approx(30.0) and sure.mean()[0] == pytest.approx(30.0)
    np.testing.assert_array_equal(sure.cdf([29.9, 30.1])[0], [0.0, 1.0])


def test_a_constant_never_crosses() -> None:
    """A level without slope stays below the threshold, or is beyond it already."""
    basis = Constant().bind([0.0, 100.0])
    law = first_passage(basis, np.ones((2, 1)), [[[5.0]], [[9.0]]], np.full((2, 1, 1, 1), 1e-4), 0.0, 50.0, 8.0)
    np.testing.assert_allclose(law.probability_crossed, [0.0, 1.0], atol=1e-12)
    np.testing.assert_allclose(law.probability_never, [1.0, 0.0])
    np.testing.assert_array_equal(law.quantile(0.5), [np.inf, 0.0])


# ---- other bases: simulated ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "basis",
    [
        QUADRATIC,
        Polynomial(4).bind([0.0, 100.0]),
        BSpline(n_knots=3).bind(np.linspace(0, 100, 50)),
        Exponential([30.0]).bind([0.0, 100.0]),
        Fourier(2, period=60.0).bind([0.0, 100.0]),
    ],
    ids=lambda basis: type(basis).__name__,
)
def test_curves_agree_with_brute_force(basis: Basis) -> None:
    """Splines, waves and growth alike, thresholds by mode, two units one of which has a single reading."""
    rho, mean, covariance = fleet(basis, 2, 2, seed=3, spread=0.8)
    start, now, level = np.zeros(2), np.array([45.0, 0.0]), np.tile([8.5, 9.5], (2, 1))
    law = first_passage(basis, rho, mean, covariance, start, now, level, horizon=50.0)
    assert not law.exact
    agrees_with_brute_force(law, basis, (rho, mean, covariance, start, now, level), horizon=50.0)


@pytest.mark.slow
def test_not_having_crossed_is_evidence() -> None:
    """A quadratic that may have humped before now: ignoring that it did not doubles the risk ahead.

    P(path beyond the threshold somewhere on the next 20 cycles) without the condition counts trajectories that had
    crossed already, and so cannot be this unit's.
    """
    times = np.array([0.0, 60.0, 100.0])
    at = np.linalg.inv(QUADRATIC(times))  # coefficients from values at three times
    mean, covariance = at @ [0.0, 0.35, 0.4], at @ np.diag([0.01, 0.7, 0.25]) @ at.T
    law = first_passage(
        QUADRATIC, [[1.0]], mean[None, None], covariance[None, None], 0.0, 80.0, 1.0, horizon=20.0, n_draws=32768
    )
    risk = float(law.cdf([20.0])[0, 0])
    lives, crossed, _ = brute_force(
        QUADRATIC, np.ones(1), mean[None], covariance[None], 0.0, 80.0, np.ones(1), 20.0, n=100_000, n_times=200
    )
    assert risk == pytest.approx(np.isfinite(lives).mean(), abs=0.004)
    assert law.probability_crossed[0] == pytest.approx(crossed, abs=0.004)
    rng = np.random.default_rng(1)
    draws = rng.multivariate_normal(mean, covariance, 100_000)
    unconditional = np.any(draws @ QUADRATIC(np.linspace(80.0, 100.0, 100)).T >= 1.0, axis=1).mean()
    assert risk < 0.6 * unconditional


@pytest.mark.slow
def test_simulation_meets_the_exact_law_within_its_stated_error() -> None:
    """A quadratic without curvature is a line: the simulated law must lie within 5 stated errors of the exact one."""
    rho, mean, covariance = fleet(LINE, 3, 2, seed=5)
    exact = first_passage(LINE, rho, mean, covariance, 0.0, 50.0, 9.0)
    padded = np.zeros((3, 2, 3, 3))
    padded[..., :2, :2] = covariance
    law = first_passage(QUADRATIC, rho, np.pad(mean, ((0, 0), (0, 0), (0, 1))), padded, 0.0, 50.0, 9.0, horizon=200.0)
    r = np.array([5.0, 30.0, 100.0])
    error = law.standard_error(r)
    assert np.all(error[:, 1:] > 0) and np.all(error < 0.01)
    assert np.all(np.abs(law.cdf(r) - exact.cdf(r)) < 5 * error + 1e-3)
    few = first_passage(
        QUADRATIC, rho, np.pad(mean, ((0, 0), (0, 0), (0, 1))), padded, 0.0, 50.0, 9.0, horizon=200.0, n_draws=64
    )
    assert few.standard_error(r).mean() > 3 * error.mean()
    # The smoothed density is near the exact one, and carries the mass that crosses within the horizon.
    at = [5.0, 30.0, 100.0, 199.9]
    np.testing.assert_allclose(law.pdf(at)[1:], exact.pdf(at)[1:], rtol=0.3, atol=1e-4)
    times = np.linspace(0, 200, 2001)
    np.testing.assert_allclose(law.pdf(times).sum(axis=1) * 0.1, 1 - law.probability_never, rtol=0.02)


def test_same_seed_same_answer_and_units_do_not_disturb_each_other() -> None:
    """A unit's law must not depend on which other units are asked about."""
    rho, mean, covariance = fleet(QUADRATIC, 4, 2, seed=6)
    both = first_passage(QUADRATIC, rho, mean, covariance, 0.0, 40.0, 8.0)
    alone = first_passage(QUADRATIC, rho[2:3], mean[2:3], covariance[2:3], 0.0, 40.0, 8.0)
    np.testing.assert_array_equal(alone.cdf([5.0, 20.0])[0], both.cdf([5.0, 20.0])[2])
    other = first_passage(QUADRATIC, rho, mean, covariance, 0.0, 40.0, 8.0, random_state=1)
    assert np.any(other.cdf([20.0]) != both.cdf([20.0]))


@settings(derandomize=True, deadline=None, max_examples=80)
@given(seed=st.integers(0, 2**31))
def test_cubics_cross_where_their_roots_say(seed: int) -> None:
    """Crossings of random cubics, on whatever nodes, are the smallest root that numpy.roots finds."""
    rng = np.random.default_rng(seed)
    power = np.polynomial.Polynomial(rng.normal(size=4) - [1.0, 0, 0, 0])
    nodes = np.sort(np.r_[-2.0, 2.0, rng.uniform(-2, 2, 3)])
    found = first_crossings(nodes, power(nodes)[None], power.deriv()(nodes)[None])[0]
    if power(-2.0) >= 0:
        assert found == -2.0
        return
    roots = [r.real for r in power.roots() if abs(r.imag) < 1e-9 and -2 <= r.real <= 2]
    assert found == pytest.approx(min(roots), abs=1e-7) if roots else np.isinf(found)


def test_an_excursion_between_two_nodes_is_seen() -> None:
    """Below at both nodes, beyond between them: checking only nodes would miss the failure."""
    # 1.1 − (t − 1)² − 1 at t = 0, 2: −.9, .1 at the top
    found = first_crossings(np.array([0.0, 2.0]), np.array([[-0.9, -0.9]]), np.array([[2.0, -2.0]]))
    assert found[0] == pytest.approx(1 - np.sqrt(0.1), abs=1e-12)


def test_lattice_draws_are_normal_and_even() -> None:
    """Means and covariances of the draws are right to far better than chance would have them."""
    draws = lattice_normals(8, 512, 3, seed=0).reshape(-1, 3)
    assert np.all(np.abs(draws.mean(axis=0)) < 0.01)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(3), atol=0.02)


# ---- hard and bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("basis", [LINE, QUADRATIC], ids=["exact", "simulated"])
def test_a_threshold_already_crossed_or_out_of_reach(basis: Basis) -> None:
    """Long past the threshold: crossed for sure, nothing left. Out of reach: never, and no quantile."""
    p = basis.size
    mean = np.linalg.lstsq(basis(np.linspace(0, 100, 9)), np.linspace(4, 8, 9), rcond=None)[0]
    arguments = (np.ones((1, 1)), mean[None, None], 1e-4 * np.eye(p)[None, None], 0.0, 90.0)
    gone = first_passage(basis, *arguments, 5.0)
    assert gone.probability_crossed[0] == pytest.approx(1.0)
    assert gone.quantile(0.5)[0] == 0.0 and gone.mean()[0] == 0.0 and gone.mean(cap=50)[0] == 0.0
    np.testing.assert_array_equal(gone.cdf([0.0, 10.0])[0], 1.0)
    np.testing.assert_array_equal(gone.pdf([10.0])[0], 0.0)
    assert gone.mode_probabilities.sum() == pytest.approx(1.0)
    safe = first_passage(basis, *arguments, -5.0, direction="lower", horizon=50.0)
    assert safe.probability_crossed[0] == pytest.approx(0.0, abs=1e-12)
    assert safe.probability_never[0] == pytest.approx(1.0)
    assert safe.quantile(0.9)[0] == np.inf and safe.mean()[0] == np.inf and safe.mean(cap=50.0)[0] == pytest.approx(50)
    np.testing.assert_allclose(safe.cdf([-1.0, 0.0, 10.0]), 0.0, atol=1e-12)
    row = safe.summary()[0]
    assert row["unit"] == 0 and row["median"] == np.inf
    assert "1 units" in repr(safe) and len(safe) == 1


def bad(**changes: object) -> object:
    arguments: dict[str, object] = {
        "mode_probabilities": [[0.5, 0.5], [1.0, 0.0]], "means": np.ones((2, 2, 2)),
        "covariances": np.tile(np.eye(2), (2, 2, 1, 1)), "t_first": 0.0, "t_now": 10.0, "threshold": 8.0,
        "units": ["a", "b"],
    }  # fmt: skip
    return first_passage(LINE, **(arguments | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"means": np.full((2, 2, 2), np.nan)}, PredictionError, "unit 'a': its means"),
        ({"t_now": [10.0, -1.0]}, PredictionError, "unit 'b': t_now = -1 lies before"),
        ({"mode_probabilities": [[0.5, 0.5], [0.7, 0.7]]}, PredictionError, "unit 'b': its mode probabilities"),
        ({"covariances": np.tile(-np.eye(2), (2, 2, 1, 1))}, PredictionError, "not positive semi-definite"),
        ({"threshold": np.inf}, PredictionError, "unit 'a': its threshold"),
        ({"threshold": [1.0, 2.0, 3.0]}, OptionError, "do not fit 2 units and 2 modes"),
        ({"means": np.ones((2, 2, 3))}, OptionError, r"\(2, 2, 2\)"),
        ({"direction": "up"}, OptionError, "'upper' or 'lower'"),
        ({"n_draws": 3}, OptionError, "n_draws is 3"),
        ({"units": ["a"]}, OptionError, "1 entries"),
        ({"mode_probabilities": [0.5, 0.5]}, OptionError, "n_units, n_modes"),
    ],
)
def test_what_is_wrong_is_said(changes: dict, error: type, message: str) -> None:
    """A NaN coefficient must not come out as a NaN remaining life."""
    with pytest.raises(error, match=message):
        bad(**changes)


def test_wrong_questions_are_refused() -> None:
    """Levels, caps, horizons and times that cannot be."""
    law = bad()
    assert isinstance(law, FirstPassage)
    for call, message in [
        (lambda: law.quantile(0.0), "between 0 and 1"),
        (lambda: law.interval(1.0), "between 0 and 1"),
        (lambda: law.mean(cap=0.0), "above 0"),
        (lambda: law.cdf([np.nan]), "NaN"),
        (lambda: law.cdf(np.ones((3, 1))), r"\(2, m\)"),
    ]:
        with pytest.raises(OptionError, match=message):
            call()
    with pytest.raises(OptionError, match="horizon is -1"):
        first_passage(QUADRATIC, [[1.0]], np.ones((1, 1, 3)), np.eye(3)[None, None], 0.0, 1.0, 8.0, horizon=-1)
