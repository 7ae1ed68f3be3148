"""Kernels that turn log densities into laws, against their twins in NumPy: far tails and excluded candidates too."""

from __future__ import annotations

import numpy as np
import pytest
import reference_lives
from hypothesis import given, settings
from hypothesis import strategies as st

from cem.errors import OptionError, PredictionError
from cem.lifetimes.lifetimes import Lifetimes, LinkedLognormal, Lognormal, Weibull
from cem.prognosis import _rul
from cem.prognosis.calibration import Calibration, _table, normal_scores
from cem.prognosis.candidates import SharedEvidence
from cem.prognosis.distribution import RemainingLifeDistribution, remaining_life_posterior


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["lognormal", "weibull", "linked"]),
    n_modes=st.integers(1, 3),
    n_grid=st.integers(2, 40),
    spread=st.sampled_from([1.0, 50.0, 3000.0]),
    old=st.sampled_from([0.0, 30.0, 5000.0]),
    temper=st.sampled_from([1.0, 0.3]),
    own=st.booleans(),
)
def test_the_posterior_is_its_twin(seed, kind, n_modes, n_grid, spread, old, temper, own) -> None:
    """Units older than any life, densities thousands of nats apart, candidates in common or of each unit's own."""
    rng = np.random.default_rng(seed)
    laws = {
        "lognormal": lambda: Lognormal(rng.uniform(3, 6), rng.uniform(0.05, 0.6)),
        "weibull": lambda: Weibull(rng.uniform(1, 6), rng.uniform(50, 300)),
        "linked": lambda: LinkedLognormal(rng.uniform(3, 6), 0.5, tuple(rng.uniform(-0.2, 0.2, 2))),
    }
    lifetimes = Lifetimes(tuple(laws[kind]() for _ in range(n_modes)))
    ages = old + rng.uniform(0, 80, 4)
    grid = np.sort(rng.uniform(0.1, 200, (4, n_grid) if own else n_grid), axis=-1)
    densities = spread * rng.normal(size=(4, n_grid, n_modes))
    shared = None
    if kind == "linked":
        means = 0.3 * rng.normal(size=densities.shape)
        shared = SharedEvidence(means, rng.uniform(0.001, 0.05, densities.shape))
    weights = rng.dirichlet(np.ones(n_modes))
    law, evidence = remaining_life_posterior(densities, weights, lifetimes, ages, grid, shared=shared, temper=temper)
    masses, wanted = reference_lives.posterior(temper * densities, weights, lifetimes, ages, grid, shared)
    np.testing.assert_allclose(law.pmf, masses, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(evidence, wanted, rtol=1e-10, atol=1e-10)


def test_densities_at_candidates_that_the_laws_exclude() -> None:
    """All of the density is where no unit has ever lived to: the law is of what little is possible, not 0 / 0."""
    lifetimes = Lifetimes((Lognormal(3.0, 0.05),))
    grid = np.linspace(1.0, 400.0, 60)
    densities = np.where(grid > 300, 0.0, -1e4)[None, :, None]
    law, evidence = remaining_life_posterior(densities, [1.0], lifetimes, [10.0], grid)
    masses, wanted = reference_lives.posterior(densities, np.ones(1), lifetimes, np.array([10.0]), grid)
    np.testing.assert_allclose(law.pmf, masses, atol=1e-12)
    np.testing.assert_allclose(evidence, wanted, rtol=1e-12)


@pytest.mark.parametrize("law", [Lognormal(4.0, 0.3), Weibull(3.0, 60.0)])
@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf])
def test_a_unit_that_no_candidate_explains_is_named(law, value) -> None:
    densities = np.zeros((2, 5, 1))
    densities[1] = value
    with pytest.raises(PredictionError, match="unit 'b', at age 7"):
        remaining_life_posterior(densities, [1.0], Lifetimes((law,)), [5.0, 7.0], np.arange(1.0, 6.0), units=["a", "b"])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_grid=st.integers(2, 200),
    width=st.floats(0.01, 30.0),
    n_knots=st.integers(2, 13),
    steep=st.floats(0.05, 8.0),
)
def test_recalibration_is_its_twin(seed, n_grid, width, n_knots, steep) -> None:
    """Laws a hundredth of the grid wide or wider than it, cells without mass, maps that stretch and that squeeze."""
    rng = np.random.default_rng(seed)
    points = np.arange(n_grid) + 0.5
    with np.errstate(under="ignore"):
        logs = -0.5 * np.square((points - rng.uniform(0, n_grid, (5, 1))) / width)
        masses = np.exp(logs - logs.max(axis=1, keepdims=True))
        masses /= masses.sum(axis=1, keepdims=True)
    knots = np.sort(rng.normal(size=n_knots)) + 0.01 * np.arange(n_knots)
    images = knots[0] + np.concatenate([[0.0], np.cumsum(np.diff(knots) * steep * rng.uniform(0.5, 1.5, n_knots - 1))])
    found = Calibration(1.0, tuple(knots), tuple(images)).corrected_masses(masses)
    np.testing.assert_allclose(found, reference_lives.recalibrated(masses, knots, images), atol=1e-12)
    edges = np.arange(n_grid + 1.0)
    # Of each law's own knots where the correction depends on its median.
    scale = {"medians": (0.2 * n_grid, 0.7 * n_grid), "centres": (0.3, -0.2), "spreads": (0.7, 1.8)}
    by_life = Calibration(1.0, tuple(knots), tuple(images), **scale)
    for one, own in zip(masses, by_life.corrected_masses(masses, edges), strict=True):
        median = np.interp(0.5, np.concatenate([[0.0], np.cumsum(one)]), edges)
        share = np.clip(np.log(median / (0.2 * n_grid)) / np.log(3.5), 0.0, 1.0)
        moved = 0.3 - 0.5 * share + knots * 0.7 * (1.8 / 0.7) ** share
        np.testing.assert_allclose(own, reference_lives.recalibrated(one[None], moved, images)[0], atol=1e-9)
    outcomes = rng.uniform(-1.0, n_grid + 1.0, 5)
    law = RemainingLifeDistribution(points, masses[:, :, None])
    wanted = reference_lives.scores_at(edges, masses, outcomes)
    np.testing.assert_allclose(normal_scores(law, outcomes), wanted, rtol=1e-9, atol=1e-9)


def test_modes_keep_their_shares_at_each_life() -> None:
    """Recalibration moves mass between lives, and never from one mode to another at one life."""
    rng = np.random.default_rng(0)
    pmf = rng.random((3, 30, 2))
    pmf[:, 10:12] = 0.0
    law = RemainingLifeDistribution(np.arange(30) + 0.5, pmf / pmf.sum(axis=(1, 2), keepdims=True))
    after = Calibration(1.0, (-2.0, 0.0, 2.0), (-1.0, 0.1, 1.1)).corrected(law)
    there = law.pmf.sum(axis=2) > 0
    share = law.pmf[..., 0][there] / law.pmf.sum(axis=2)[there]
    np.testing.assert_allclose(after.pmf[..., 0][there] / after.pmf.sum(axis=2)[there], share, rtol=1e-12)
    np.testing.assert_allclose(after.pmf.sum(axis=(1, 2)), 1.0, rtol=1e-12)


def test_the_kernels_refuse_arrays_that_do_not_fit() -> None:
    one, row, block = np.ones(1), np.ones((1, 4)), np.ones((1, 1, 4))
    nothing = np.empty((0, 0, 0))
    good = [block, 1.0, one, row, one, one, nothing, nothing, np.empty((1, 4, 1)), np.empty(1)]
    assert _rul.lognormal_laws(*good) == -1
    for place, wrong in ((2, np.ones(2)), (3, np.ones((1, 5))), (6, np.ones((1, 1, 3))), (8, np.empty((1, 4, 2)))):
        with pytest.raises(OptionError):
            _rul.lognormal_laws(*good[:place], wrong, *good[place + 1 :])
    two, none = np.array([0.0, 1.0]), np.empty((0, 0))
    without, scaled = np.empty((3, 0)), np.ones((3, 2))
    with pytest.raises(OptionError, match="knots"):
        _rul.recalibrate(_table(), one, one, without, none, row, np.empty((1, 4)))
    with pytest.raises(OptionError, match="masses_out has 5"):
        _rul.recalibrate(_table(), two, two, without, none, row, np.empty((1, 5)))
    with pytest.raises(OptionError, match="edges has 4"):
        _rul.recalibrate(_table(), two, two, scaled, row, row, np.empty((1, 4)))
    with pytest.raises(OptionError, match="scale has"):
        _rul.recalibrate(_table(), two, two, np.ones((3, 1)), np.ones((1, 5)), row, np.empty((1, 4)))
    with pytest.raises(OptionError, match="edges has 4"):
        _rul.scores_at(_table(), row, row, one, np.empty(1))
    with pytest.raises(OptionError, match=r"by less than 0\.1"):
        _rul.NormalTable(0.0, 1.0, np.array([-1.0, 0.0]), 0.0, 1.0, two)
