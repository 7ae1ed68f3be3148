"""Remaining-life laws: by hand, against dense normals and literal sums of model.md (18), and on simulated fleets."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
from candidate_cases import problem
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cem.basis.families import Basis, Exponential
from cem.errors import OptionError, PanelError, PredictionError
from cem.lifetimes.grid import remaining_life_grid, remaining_life_grids
from cem.lifetimes.lifetimes import Lifetimes, Lognormal, Weibull
from cem.panel.panel import Panel
from cem.prognosis.candidates import candidate_log_densities
from cem.prognosis.distribution import RemainingLifeDistribution, remaining_life_posterior
from cem.statistics.anchored import anchored_statistics

# ---- the distribution ------------------------------------------------------------------------------------------

GRID = [5.0, 15.0, 25.0]  # cells [0, 10], [10, 20], [20, 30]
PMF = [[[0.1, 0.1], [0.3, 0.2], [0.1, 0.2]], [[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]]


def law() -> RemainingLifeDistribution:
    return RemainingLifeDistribution(GRID, PMF, units=["a", "b"], mode_labels=["fan", "hpc"], time_unit="cycles")


def test_cdf_quantiles_and_means_by_hand() -> None:
    """Masses .2, .5, .3 over three cells of 10: P(≤ 12) = .2 + .5 · .2, median 16, mean 16, E[min(r, 12)] by parts."""
    rul = law()
    np.testing.assert_allclose(rul.cdf([-1.0, 5.0, 12.0, 30.0, 99.0])[0], [0.0, 0.1, 0.3, 1.0, 1.0])
    np.testing.assert_allclose(rul.quantile([0.1, 0.3, 0.85])[0], [5.0, 12.0, 25.0])
    np.testing.assert_allclose(rul.median(), [16.0, 15.0])
    np.testing.assert_allclose(rul.mean(), [16.0, 15.0])
    np.testing.assert_allclose(rul.mean(cap=12.0)[0], 0.2 * 5 + 0.5 * (0.2 * 11 + 0.8 * 12) + 0.3 * 12)
    np.testing.assert_allclose(rul.interval(0.8), [[5.0, 11.0], [30 - 10 / 3, 19.0]])
    np.testing.assert_allclose(rul.mode_probabilities, [[0.5, 0.5], [1.0, 0.0]])
    np.testing.assert_allclose(rul.pit([12.0, 15.0]), [0.3, 0.5])
    np.testing.assert_allclose(rul.standard_deviation()[1], 10 / np.sqrt(12))


def test_cdf_takes_times_of_each_units_own() -> None:
    """(L, m) times: row l belongs to unit l."""
    np.testing.assert_allclose(law().cdf([[5.0, 12.0], [15.0, 20.0]]), [[0.1, 0.3], [0.5, 1.0]])


@settings(derandomize=True, deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**31), empty=st.integers(0, 6))
def test_the_law_is_coherent_on_any_grid(seed: int, empty: int) -> None:
    """Quantiles invert the cdf, capped means are areas under the survival: also with cells of no mass, uneven grids."""
    rng = np.random.default_rng(seed)
    grid = np.cumsum(rng.exponential(size=9)) + 0.01
    pmf = rng.dirichlet(np.ones(18), 3).reshape(3, 9, 2)
    pmf[:, rng.permutation(9)[:empty]] = 0.0
    rul = RemainingLifeDistribution(grid, pmf / pmf.sum(axis=(1, 2), keepdims=True))
    q = np.array([0.01, 0.37, 0.5, 0.99])
    np.testing.assert_allclose(rul.cdf(rul.quantile(q)), np.broadcast_to(q, (3, 4)), atol=1e-12)
    times = np.linspace(0, 1.5 * grid[-1], 20_001)
    survival = 1 - rul.cdf(times)
    area = np.cumsum(0.5 * (survival[:, 1:] + survival[:, :-1]) * times[1], axis=1)
    np.testing.assert_allclose(rul.mean(), area[:, -1], rtol=1e-3)
    np.testing.assert_allclose(rul.mean(cap=times[7001]), area[:, 7000], rtol=1e-3)


def test_draws_follow_the_law() -> None:
    """Kolmogorov–Smirnov against the cdf; the same seed draws the same lives."""
    rul = law()
    draws = rul.sample(4000, random_state=0)
    assert draws.shape == (2, 4000)
    assert stats.kstest(draws[0], lambda t: rul.cdf(t)[0]).pvalue > 1e-3
    np.testing.assert_array_equal(draws, rul.sample(4000, random_state=0))


def test_units_are_chosen_by_position_mask_and_name() -> None:
    """A planner asks for one machine, a slice, or those that matter."""
    rul = law()
    assert len(rul) == 2 and rul[1].units == ("b",) and rul[-1].units == ("b",)
    assert rul[[True, False]].units == ("a",) and rul[:1].units == ("a",)
    np.testing.assert_array_equal(rul.unit("b").pmf, rul.pmf[1:])
    assert rul[1].mode_labels == ("fan", "hpc") and rul[1].time_unit == "cycles"
    with pytest.raises(PredictionError, match="no unit 'c'"):
        rul.unit("c")
    with pytest.raises(OptionError, match=r"unit\(name\)"):
        rul[7]


def test_what_it_prints() -> None:
    """One unit: what is left and which mode; many: how many."""
    assert repr(law()) == "RemainingLifeDistribution(2 units, 2 modes, 3 lives up to 30 cycles)"
    assert repr(law()[1]) == (
        "RemainingLifeDistribution(unit 'b': median 15 cycles, 90 % in [10.5, 19.5], mode 'fan' with probability 1.000)"
    )


def test_it_cannot_be_changed_and_survives_a_pickle() -> None:
    """A shared result must not be altered by one of its readers; another process gets the same one."""
    rul = law()
    with pytest.raises(AttributeError, match="immutable"):
        rul.grid = np.ones(3)  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        rul.pmf[0, 0, 0] = 1.0
    for again in (pickle.loads(pickle.dumps(rul)), copy.deepcopy(rul)):
        np.testing.assert_array_equal(again.pmf, rul.pmf)
        assert again.units == rul.units and repr(again) == repr(rul)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RemainingLifeDistribution([1.0], [[[1.0]]]), OptionError, "at least two"),
        (lambda: RemainingLifeDistribution([2.0, 1.0], [[[0.5], [0.5]]]), OptionError, "ascending"),
        (lambda: RemainingLifeDistribution([-1.0, 1.0], [[[0.5], [0.5]]]), OptionError, "none negative"),
        (lambda: RemainingLifeDistribution([1.0, 2.0], [[0.5, 0.5]]), OptionError, r"\(n_units, 2, n_modes\)"),
        (lambda: RemainingLifeDistribution(GRID, PMF, units=["a"]), OptionError, "units has 1"),
        (lambda: RemainingLifeDistribution([1.0, 2.0], [[[0.5], [0.6]]], units=["x"]), PredictionError, "unit 'x'"),
        (lambda: RemainingLifeDistribution([1.0, 2.0], [[[np.nan], [0.6]]]), PredictionError, "unit 0"),
        (lambda: law().quantile(0.0), OptionError, "between 0 and 1"),
        (lambda: law().interval(1.0), OptionError, "between 0 and 1"),
        (lambda: law().mean(cap=0), OptionError, "above 0"),
        (lambda: law().cdf([np.nan]), OptionError, "NaN"),
        (lambda: law().pit([1.0]), OptionError, r"\(2,\) was expected"),
        (lambda: law().sample(0), OptionError, "n is 0"),
    ],
)
def test_what_is_wrong_is_said(call, error, message: str) -> None:  # type: ignore[no-untyped-def]
    """Half a distribution is not one."""
    with pytest.raises(error, match=message):
        call()


# ---- the posterior (18) ----------------------------------------------------------------------------------------


def test_candidates_agree_with_dense_normals() -> None:
    """Shifting the compressed unit is evaluating its readings at t − (t_now + r): model.md (2), written out."""
    panel, bases, means, factors, noise, _ = problem()
    grid = np.array([0.5, 7.0, 60.0])
    got = candidate_log_densities(
        anchored_statistics(panel, bases), [b.shift_matrix(grid) for b in bases], means, factors, noise
    )
    for unit in range(panel.n_units):
        rows = slice(panel.offsets[unit], panel.offsets[unit + 1])
        t = panel.times[rows]
        for g, r in enumerate(grid):
            for k in range(2):
                total = 0.0
                for c, basis in enumerate(bases):
                    there = ~np.isnan(panel.values[rows, c])
                    design = basis(t[there] - (t[-1] + r))
                    root = design @ factors[c][k]
                    dense = root @ root.T + noise[k, c] * np.eye(len(design))
                    if len(design):
                        total += stats.multivariate_normal(design @ means[c][k], dense).logpdf(
                            panel.values[rows, c][there]
                        )
                assert got[unit, g, k] == pytest.approx(total, rel=1e-8, abs=1e-7)


def test_information_makes_readings_count_for_less() -> None:
    """κ: every reading repeated twice at κ = ½ is the readings once."""
    panel, bases, means, factors, noise, _ = problem()
    shifts = [b.shift_matrix(np.array([1.0, 20.0])) for b in bases]
    once = candidate_log_densities(anchored_statistics(panel, bases), shifts, means, factors, noise)
    rows = [slice(panel.offsets[u], panel.offsets[u + 1]) for u in range(panel.n_units)]
    doubled = Panel.from_arrays(
        [np.repeat(panel.times[s], 2) for s in rows],
        [np.repeat(panel.values[s], 2, axis=0) for s in rows],
        duplicates="keep",
    )
    half = candidate_log_densities(
        anchored_statistics(doubled, bases), shifts, means, factors, noise, information=[0.5, 0.5]
    )
    np.testing.assert_allclose(half, once, rtol=1e-9, atol=1e-7)
    with pytest.raises(OptionError, match="at most 1"):
        candidate_log_densities(anchored_statistics(panel, bases), shifts, means, factors, noise, information=[1, 2])


def test_posterior_is_the_literal_sum() -> None:
    """(18) by loops: π_k, the law's mass in each cell, P(x | k, r), normalised once over all (r, k)."""
    panel, bases, means, factors, noise, lifetimes = problem()
    statistics = anchored_statistics(panel, bases)
    grid = np.arange(40) * 5.0 + 2.5
    log_density = candidate_log_densities(statistics, [b.shift_matrix(grid) for b in bases], means, factors, noise)
    rul, evidence = remaining_life_posterior(
        log_density, [0.3, 0.7], lifetimes, statistics.ages, grid, units=statistics.units
    )
    for unit, age in enumerate(statistics.ages):
        joint = np.zeros((40, 2))
        for g in range(40):
            for k, law_k in enumerate(lifetimes.laws):
                later = float(law_k.survival(age + grid[g] + 2.5)) if g < 39 else 0.0
                mass = float(law_k.survival(age + grid[g] - 2.5)) - later
                joint[g, k] = (0.3, 0.7)[k] * mass * np.exp(log_density[unit, g, k] - log_density[unit].max())
        np.testing.assert_allclose(rul.pmf[unit], joint / joint.sum(), rtol=1e-8, atol=1e-13)
        assert evidence[unit] == pytest.approx(np.log(joint.sum()) + log_density[unit].max(), rel=1e-9)
    assert rul.units == tuple("abcde")


def test_being_alive_is_evidence_on_the_mode() -> None:
    """Median lives 150 and 300, silent sensors, alive at 220: the long-lived mode has .971, not one half."""
    lifetimes = Lifetimes((Lognormal(np.log(150.0), 0.2), Lognormal(np.log(300.0), 0.2)))
    for n_points in (12, 300):  # on a coarse grid as on a fine one
        grid = remaining_life_grid(lifetimes, [220.0], n_points)
        rul, evidence = remaining_life_posterior(np.zeros((1, n_points, 2)), [0.5, 0.5], lifetimes, [220.0], grid)
        survival = np.exp(lifetimes.log_survival(220.0))
        assert rul.mode_probabilities[0, 1] == pytest.approx(0.971, abs=5e-4)
        np.testing.assert_allclose(rul.mode_probabilities[0], survival / survival.sum(), rtol=1e-10)
        assert evidence[0] == pytest.approx(np.log(survival.mean()))
    # The mean remaining life is the law's own mean residual life.
    left = rul.mode_probabilities[0] @ lifetimes.mean_residual_life(220.0)
    assert rul.mean()[0] == pytest.approx(left, rel=0.01)


def test_a_unit_older_than_every_other_still_has_a_law() -> None:
    """Three times the longest life: survival underflows, the remaining life stays a law and the grid reaches it."""
    lifetimes = Lifetimes((Lognormal(5.0, 0.1), Weibull(8.0, 170.0)))
    grid = remaining_life_grid(lifetimes, [900.0])
    rul, _ = remaining_life_posterior(np.zeros((1, len(grid), 2)), [0.5, 0.5], lifetimes, [900.0], grid)
    assert 0 < rul.median()[0] < 200
    assert np.isfinite(rul.mean()[0]) and rul.mode_probabilities.sum() == pytest.approx(1.0)


def test_grid_reaches_and_widens() -> None:
    """99.9 % of what is left to the unit with most before it; cells grow away from now."""
    lifetimes = Lifetimes((Lognormal(5.0, 0.3),))
    grid = remaining_life_grid(lifetimes, [10.0, 200.0], 200)
    reach = float(lifetimes.laws[0].residual_quantile(10.0, 0.999))
    assert 0.97 * reach < grid[-1] < reach
    steps = np.diff(grid)
    assert np.all(np.diff(steps) > 0) and steps[-1] / steps[0] == pytest.approx(np.exp(2), rel=0.03)
    np.testing.assert_allclose(np.diff(remaining_life_grid(lifetimes, [10.0], 50, widening=0.0)), reach / 50)


def test_simulated_fleet_is_predicted_and_calibrated() -> None:
    """Units drawn from the model itself: 80 % intervals hold about 80 %, the mode is found, sensors beat no sensors."""
    rng = np.random.default_rng(11)
    lifetimes = Lifetimes((Lognormal(np.log(150.0), 0.25), Lognormal(np.log(220.0), 0.25)))
    far = np.linspace(-300.0, 0.0, 50)
    bases: list[Basis] = [Exponential([40.0]).bind(far), Exponential([40.0]).bind(far)]
    noise = np.full((2, 2), 0.25)
    curves = [np.array([[0.0, 6.0], [0.0, 5.0]]), np.array([[1.0, 4.0], [1.0, -4.0]])]
    # Means of curves that end near 6, and near 4 or −4: coefficients by least squares from values at three times.
    means = []
    for basis, ends in zip(bases, curves, strict=True):
        design = np.column_stack([np.ones(50), np.exp(far / 40.0)])
        means.append(np.array([np.linalg.lstsq(basis(far), design @ end, rcond=None)[0] for end in ends]))
    factors = [np.tile(0.4 * np.eye(2), (2, 1, 1)) for _ in bases]
    times, values, left, modes = [], [], [], []
    while len(times) < 120:
        mode = int(rng.integers(2))
        life = float(lifetimes.laws[mode].sample(1, rng)[0])
        age = rng.uniform(0.5, 0.98) * life
        t = np.arange(1.0, age)
        curve = [
            b(t - life) @ (m[mode] + f[mode] @ rng.normal(size=2))
            for b, m, f in zip(bases, means, factors, strict=True)
        ]
        times.append(t)
        values.append(np.column_stack(curve) + 0.5 * rng.normal(size=(len(t), 2)))
        left.append(life - t[-1])
        modes.append(mode)
    statistics = anchored_statistics(Panel.from_arrays(times, values), bases)
    grid = remaining_life_grid(lifetimes, statistics.ages, 150)
    log_density = candidate_log_densities(statistics, [b.shift_matrix(grid) for b in bases], means, factors, noise)
    rul, _ = remaining_life_posterior(log_density, [0.5, 0.5], lifetimes, statistics.ages, grid)
    low, high = rul.interval(0.8)
    truth = np.array(left)
    assert 0.68 < np.mean((low <= truth) & (truth <= high)) < 0.92
    assert np.mean(rul.mode_probabilities.argmax(axis=1) == modes) > 0.9
    blind, _ = remaining_life_posterior(np.zeros_like(log_density), [0.5, 0.5], lifetimes, statistics.ages, grid)
    assert np.abs(rul.median() - truth).mean() < 0.5 * np.abs(blind.median() - truth).mean()
    assert stats.kstest(rul.pit(truth), "uniform").pvalue > 1e-3


def test_wrong_questions_to_the_posterior() -> None:
    """Shapes, impossible units and missing bases are named."""
    panel, bases, *_, lifetimes = problem()
    grid = [1.0, 2.0]
    with pytest.raises(PredictionError, match=r"unit 'x', at age 50: no candidate"):
        remaining_life_posterior(np.full((1, 2, 2), -np.inf), [0.5, 0.5], lifetimes, [50.0], grid, units=["x"])
    with pytest.raises(OptionError, match=r"\(1, 2, 2\)"):
        remaining_life_posterior(np.zeros((1, 3, 2)), [0.5, 0.5], lifetimes, [50.0], grid)
    with pytest.raises(PanelError, match="2 channels and there are 1 bases"):
        anchored_statistics(panel, bases[:1])
    with pytest.raises(OptionError, match="n_points is 1"):
        remaining_life_grid(lifetimes, [1.0], 1)


def test_prognosis_runs_without_scipy() -> None:
    """A deployed scorer must not pay for SciPy's import."""
    code = (
        "import sys, cem.prognosis.distribution, cem.passage.first_passage, cem.lifetimes, cem.metrics;"
        "sys.exit(any(name.split('.')[0] == 'scipy' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_units_with_candidates_of_their_own() -> None:
    """Each unit's result is that on its own grid; equal rows become one grid, and pickles keep both forms."""
    grids = np.array([[5.0, 10.0, 15.0], [1.0, 3.0, 5.0]])
    masses = np.random.default_rng(0).dirichlet(np.ones(6), size=2).reshape(2, 3, 2)
    both = RemainingLifeDistribution(grids, masses, units=["a", "b"], time_unit="h")
    assert both.grid.shape == (2, 3) and both.edges.shape == (2, 4)
    assert "2 units" in repr(both) and "lives up to 17.5 h" in repr(both)
    for i, name in enumerate("ab"):
        alone = RemainingLifeDistribution(grids[i], masses[i : i + 1], units=[name], time_unit="h")
        for one in (both[i], both.unit(name), pickle.loads(pickle.dumps(both))[i]):
            np.testing.assert_array_equal(one.grid, alone.grid)
            np.testing.assert_array_equal(one.edges, alone.edges)
        for ask in (
            lambda law: law.median(),
            lambda law: law.quantile([0.1, 0.9]),
            lambda law: law.mean(),
            lambda law: law.mean(4.0),
            lambda law: law.standard_deviation(),
            lambda law: law.cdf([2.0, 6.0, 40.0]),
            lambda law: law.pit(np.full(law.n_units, 4.0)),
        ):
            np.testing.assert_allclose(ask(both)[i], ask(alone)[0], rtol=1e-14)
    assert both.sample(5, 0).shape == (2, 5)
    assert RemainingLifeDistribution(grids[[0, 0]], masses).grid.shape == (3,)
    assert len(both[[]]) == 0
    with pytest.raises(OptionError, match="grid has 2 rows; one for each of the 1 units"):
        RemainingLifeDistribution(grids, masses[:1])
    with pytest.raises(OptionError, match="strictly ascending"):
        RemainingLifeDistribution(grids[:, ::-1], masses)


def test_grids_of_units_are_those_of_each_age() -> None:
    """A unit's candidates must not depend on the other units."""
    lifetimes = Lifetimes((Lognormal(5.0, 0.3), Lognormal(5.5, 0.2)))
    ages = np.array([200.0, 10.0, 200.0, 900.0])
    grids = remaining_life_grids(lifetimes, ages, 40)
    for age, grid in zip(ages, grids, strict=True):
        np.testing.assert_allclose(grid, remaining_life_grid(lifetimes, [age], 40), rtol=1e-14)
    with pytest.raises(OptionError, match="n_points is 1"):
        remaining_life_grids(lifetimes, ages, 1)
