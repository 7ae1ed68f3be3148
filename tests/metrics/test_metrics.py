"""Every metric against a case worked by hand, its invariants, and scoringrules where that package has the score."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cem import metrics
from cem.errors import OptionError, PanelError
from cem.panel.panel import Panel

ORACLE = "scoringrules is not installed: its scores are a second oracle; the hand-worked cases ran"


# ---- points ----------------------------------------------------------------------------------------------------


def test_rmse_and_mae_by_hand_with_the_cap_on_both_sides() -> None:
    """Errors 3, −4 and, beyond the cap, 0: the cap applies to truth and prediction alike."""
    truth, predicted = [10.0, 20.0, 130.0], [13.0, 16.0, 200.0]
    assert metrics.rmse(truth, predicted, cap=125) == pytest.approx(math.sqrt(25 / 3))
    assert metrics.mae(truth, predicted, cap=125) == pytest.approx(7 / 3)
    assert metrics.mae(truth, predicted) == pytest.approx(77 / 3)


def test_nasa_score_punishes_late_more_than_early() -> None:
    """13 cycles early and 10 late cost e − 1 each; swapping truth and prediction must change the sum."""
    assert metrics.nasa_score([50.0, 50.0], [37.0, 60.0]) == pytest.approx(2 * (math.e - 1))
    assert metrics.nasa_score([37.0], [50.0]) == pytest.approx(math.exp(1.3) - 1)
    assert metrics.nasa_score([0.0], [1e5]) == math.inf


def test_relative_accuracy_and_its_mean() -> None:
    """RA = 1 − |20 − 15|/20 = .75 and 1 − |10 − 12|/10 = .8; weights count by ratio."""
    np.testing.assert_allclose(metrics.relative_accuracy([20.0, 10.0], [15.0, 12.0]), [0.75, 0.8])
    assert metrics.cumulative_relative_accuracy([20.0, 10.0], [15.0, 12.0]) == pytest.approx(0.775)
    weighted = metrics.cumulative_relative_accuracy([20.0, 10.0], [15.0, 12.0], weights=[1.0, 3.0])
    assert weighted == pytest.approx((0.75 + 3 * 0.8) / 4)
    assert metrics.cumulative_relative_accuracy([20.0, 10.0], [20.0, 10.0], weights=[5.0, 9.0]) == pytest.approx(1.0)
    with pytest.raises(OptionError, match=r"at index \(1,\)"):
        metrics.relative_accuracy([3.0, 0.0], [3.0, 0.0])


def test_alpha_lambda_cone_narrows_with_the_truth() -> None:
    """An error of 2 is inside 20 % of 10 and outside 20 % of 9."""
    np.testing.assert_array_equal(metrics.alpha_lambda_accuracy([10.0, 9.0], [12.0, 11.0]), [True, False])
    grid, pmf = np.array([5.0, 8.0, 10.0, 12.0, 13.0]), np.array([[0.1, 0.2, 0.3, 0.15, 0.25]])
    assert metrics.alpha_lambda_probability([10.0], grid, pmf, alpha=0.2)[0] == pytest.approx(0.65)


def test_prognostic_horizon_by_hand() -> None:
    """Life 100, band ± 10: predictions at 20 (inside), 40 (outside), 60 and 80 (inside)."""
    times, predicted = [20.0, 40.0, 60.0, 80.0], [85.0, 75.0, 48.0, 22.0]
    assert metrics.prognostic_horizon(times, predicted, 100.0, alpha=0.1) == 80.0
    assert metrics.prognostic_horizon(times, predicted, 100.0, alpha=0.1, lasting=True) == 40.0
    assert metrics.prognostic_horizon(times, [0.0, 0.0, 0.0, 0.0], 100.0, alpha=0.1) == 0.0
    with pytest.raises(OptionError, match="before failure_time"):
        metrics.prognostic_horizon([90.0, 110.0], [10.0, 5.0], 100.0)


# ---- laws ------------------------------------------------------------------------------------------------------


def test_crps_by_hand() -> None:
    """Atoms 1 and 3, halves; outcome 2: F − 1 is ½ on both sides, so the integral is ¼ + ¼."""
    assert metrics.crps_pmf([2.0], [1.0, 3.0], [[0.5, 0.5]])[0] == pytest.approx(0.5)
    assert metrics.crps_sample([2.0], [[3.0, 1.0]])[0] == pytest.approx(0.5)
    assert metrics.crps_pmf([7.0], [1.0, 3.0], [[0.5, 0.5]])[0] == pytest.approx(4 + 0.25 * 2)
    assert metrics.crps_sample(5.0, [2.0]) == pytest.approx(3.0)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(seed=st.integers(0, 2**31), n_points=st.integers(2, 12), outcome=st.floats(-5.0, 15.0))
def test_crps_is_the_integral_of_its_definition(seed: int, n_points: int, outcome: float) -> None:
    """∫ (F − 1{x ≥ y})² over the steps of F, and of the outcome, added up one by one."""
    rng = np.random.default_rng(seed)
    grid = np.sort(rng.uniform(0, 10, n_points)) + np.arange(n_points) * 1e-3
    pmf = rng.dirichlet(np.ones(n_points))
    edges = np.sort(np.append(grid, outcome))
    total = 0.0
    for left, right in itertools.pairwise(edges):
        middle = (left + right) / 2
        total += (right - left) * (pmf[grid <= middle].sum() - (middle >= outcome)) ** 2
    assert metrics.crps_pmf([outcome], grid, [pmf])[0] == pytest.approx(total, abs=1e-12)
    draws, order = np.append(grid, 0.0), rng.permutation(n_points + 1)
    weights = np.append(3.0 * pmf, 0.0)
    weighted = metrics.crps_sample(outcome, draws[order], weights=weights[order])
    assert weighted == pytest.approx(total, abs=1e-12)


def test_pinball_is_minimised_by_the_quantile() -> None:
    """.9 · 2 above and .1 · 3 below; over a sample its mean is least at the sample's quantile."""
    np.testing.assert_allclose(metrics.pinball_loss([12.0, 7.0], [10.0, 10.0], level=0.9), [1.8, 0.3])
    truth = np.arange(1.0, 102.0)
    losses = [metrics.pinball_loss(truth, np.full(101, q), level=0.3).mean() for q in truth]
    assert truth[int(np.argmin(losses))] == 31.0


def test_interval_score_coverage_and_width() -> None:
    """90 % interval [10, 20]: outcomes 15 (inside), 8 (2 below) and 21 (1 above) score 10, 50 and 30."""
    truth, low, high = [15.0, 8.0, 21.0], [10.0] * 3, [20.0] * 3
    np.testing.assert_allclose(metrics.interval_score(truth, low, high, level=0.9), [10.0, 50.0, 30.0])
    assert metrics.interval_coverage(truth, low, high) == pytest.approx(1 / 3)
    assert metrics.interval_coverage([10.0, 20.0, 9.9], low, high) == pytest.approx(2 / 3)
    assert metrics.interval_width(low, high) == 10.0
    with pytest.raises(OptionError, match="nowhere above upper"):
        metrics.interval_coverage([1.0], [3.0], [2.0])


def test_scores_agree_with_scoringrules() -> None:
    """An independent package gives the same CRPS, interval, quantile, Brier and log scores."""
    oracle = pytest.importorskip("scoringrules", reason=ORACLE)
    rng = np.random.default_rng(5)
    truth, sample = rng.gamma(3.0, 20.0, 40), rng.gamma(3.0, 20.0, (40, 25))
    np.testing.assert_allclose(
        metrics.crps_sample(truth, sample), oracle.crps_ensemble(truth, sample, estimator="nrg"), rtol=1e-10
    )
    low, high = np.quantile(sample, [0.1, 0.9], axis=1)
    np.testing.assert_allclose(
        metrics.interval_score(truth, low, high, level=0.8), oracle.interval_score(truth, low, high, 0.2), rtol=1e-12
    )
    np.testing.assert_allclose(
        metrics.pinball_loss(truth, high, level=0.9), oracle.quantile_score(truth, high, 0.9), rtol=1e-12
    )
    chance, event = rng.uniform(0.01, 0.99, 40), rng.integers(0, 2, 40)
    both = np.column_stack([1 - chance, chance])
    np.testing.assert_allclose(metrics.brier_score(event, both), 2 * oracle.brier_score(event, chance), rtol=1e-12)
    np.testing.assert_allclose(metrics.log_score(event, both), oracle.log_score(event, chance), rtol=1e-12)


# ---- uncertainty of the metrics themselves ---------------------------------------------------------------------


def test_binomial_interval_by_hand() -> None:
    """Wilson at 90 of 100: (.8256, .9448), which is not symmetric; the ends stay inside [0, 1]."""
    low, high = metrics.binomial_interval(90, 100)
    assert (low, high) == (pytest.approx(0.82563, abs=1e-5), pytest.approx(0.94477, abs=1e-5))
    assert metrics.binomial_interval(0, 5)[0] == 0.0
    assert metrics.binomial_interval(5, 5)[1] == 1.0


def test_cluster_standard_error_sees_that_cutoffs_of_a_unit_hang_together() -> None:
    """Ten equal figures a unit are worth one: the error is that of 50 units, not of 500 predictions."""
    rng = np.random.default_rng(2)
    by_unit = rng.normal(size=50)
    together = metrics.cluster_standard_error(np.repeat(by_unit, 10), np.repeat(np.arange(50), 10))
    assert together == pytest.approx(by_unit.std() / math.sqrt(50), rel=0.06)
    apart = metrics.cluster_standard_error(np.repeat(by_unit, 10), np.arange(500))
    assert apart < 0.45 * together
    with pytest.raises(OptionError, match="single unit"):
        metrics.cluster_standard_error([1.0, 2.0], ["a", "a"])


# ---- modes -----------------------------------------------------------------------------------------------------


def test_brier_and_log_score_by_hand() -> None:
    """(.7, .2, .1): Brier .09 + .04 + .01 if mode 0 is true; a mode that was ruled out scores infinitely badly."""
    law = [0.7, 0.2, 0.1]
    np.testing.assert_allclose(metrics.brier_score([0, 2], [law, law]), [0.14, 0.49 + 0.04 + 0.81])
    np.testing.assert_allclose(metrics.log_score([0, 2], [law, law]), [-math.log(0.7), -math.log(0.1)])
    assert metrics.log_score(1, [1.0, 0.0]) == math.inf
    with pytest.raises(OptionError, match="mode numbers 0 to 2"):
        metrics.brier_score([3], [law])
    with pytest.raises(OptionError, match="sum to 1"):
        metrics.brier_score([0], [[0.7, 0.7]])


def test_time_to_right_mode_waits_until_it_stays() -> None:
    """Right at 1, wrong at 2, right from 3 on; a tie is not right; never is infinity."""
    times = [1.0, 2.0, 3.0, 4.0]
    chances = [[0.6, 0.4], [0.5, 0.5], [0.7, 0.3], [0.95, 0.05]]
    assert metrics.time_to_right_mode(times, chances, 0) == 3.0
    assert metrics.time_to_right_mode(times, chances, 0, lasting=False) == 1.0
    assert metrics.time_to_right_mode(times, chances, 0, threshold=0.9) == 4.0
    assert metrics.time_to_right_mode(times, chances, 1) == math.inf
    assert metrics.time_to_right_mode([1.0], [[1.0]], 0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.rmse([1.0, np.nan], [1.0, 2.0]), r"truth is nan at index \(1,\)"),
        (lambda: metrics.rmse([1.0, 2.0], [1.0]), r"shape \(2,\) and predicted \(1,\)"),
        (lambda: metrics.mae([], []), "empty"),
        (lambda: metrics.mae([1.0], [1.0], cap=-1), "positive"),
        (lambda: metrics.pinball_loss([1.0], [1.0], level=1.0), "between 0 and 1"),
        (lambda: metrics.crps_pmf([1.0], [1.0, 2.0], [[0.5, 0.6]]), "sum to 1"),
        (lambda: metrics.crps_pmf([1.0], [2.0, 1.0], [[0.5, 0.5]]), "ascending"),
        (lambda: metrics.crps_sample([1.0, 2.0], [1.0, 2.0]), "one more axis"),
        (lambda: metrics.cumulative_relative_accuracy([1.0], [1.0], weights=[0.0]), "weights"),
    ],
)
def test_what_is_wrong_is_said(call, message: str) -> None:  # type: ignore[no-untyped-def]
    """A NaN prediction must not become a NaN score that nobody notices."""
    with pytest.raises(OptionError, match=message):
        call()


# ---- channels --------------------------------------------------------------------------------------------------


def fleet(*units: list[list[float]], failed: bool = True) -> Panel:
    """Units given as rows of channels, one reading a cycle, failed right after their last."""
    return Panel.from_arrays(
        [np.arange(len(rows), dtype=float) for rows in units],
        [np.array(rows, dtype=float) for rows in units],
        channels=[f"s{c}" for c in range(len(units[0][0]))],
        failure_times=[float(len(rows)) if failed else np.nan for rows in units],
    )


def test_monotonicity_by_hand() -> None:
    """s0 rises always: 1; s1 rises, rises, falls: |2 − 1|/3 on one unit and 1 on the other; NaN cells are skipped."""
    panel = fleet([[1, 1], [2, 2], [3, 3], [4, 0]], [[1, 5], [2, 4], [3, np.nan], [4, 2]])
    np.testing.assert_allclose(metrics.monotonicity(panel), [1.0, (1 / 3 + 1) / 2])


def test_smoothing_reveals_a_trend_under_noise() -> None:
    """Single steps of a noisy ramp go both ways; means over 20 readings do not."""
    rng = np.random.default_rng(0)
    panel = fleet([[0.05 * t + rng.normal()] for t in range(400)])
    assert metrics.monotonicity(panel)[0] < 0.1
    assert metrics.monotonicity(panel, window=20)[0] > 0.3


def test_trendability_compares_shapes_whatever_the_length() -> None:
    """Ramps of 3 and 7 cycles are one shape (also if one falls); a ramp and a symmetric hump are not alike."""
    ramps = fleet([[0], [1], [2]], [[-float(t)] for t in range(7)])
    assert metrics.trendability(ramps)[0] == pytest.approx(1.0)
    hump = fleet([[0], [1], [2]], [[0], [1], [0]])
    assert metrics.trendability(hump)[0] == pytest.approx(0.0, abs=1e-12)
    stuck = fleet([[0], [1], [2]], [[9062.0], [9062.0], [9062.0]])
    assert metrics.trendability(stuck)[0] == 0.0


def test_prognosability_by_hand() -> None:
    """Ends 10 and 12 (sd √2), travels 10 and 10: exp(−√2/10). A shared end level scores 1."""
    panel = fleet([[0, 3], [10, 8]], [[2, 1], [12, 8]])
    np.testing.assert_allclose(metrics.prognosability(panel), [math.exp(-math.sqrt(2) / 10), 1.0])


def test_prognosability_needs_failures() -> None:
    """Running units' last readings are not failures: refused, unless the user says that they are."""
    panel = fleet([[0], [10]], [[2], [12]], failed=False)
    with pytest.raises(PanelError, match=r"'s0'.*run_to_failure=True"):
        metrics.prognosability(panel)
    assert 0 < metrics.prognosability(panel, run_to_failure=True)[0] < 1


def test_a_channel_nobody_reads_is_named() -> None:
    """A channel without readings has no indicator, and the message says which."""
    with pytest.raises(PanelError, match="'s1'"):
        metrics.monotonicity(fleet([[0, np.nan], [10, np.nan]]))
