"""Offsets and scales by regime: exact updates, a penalised objective that never falls, and wear that is no offset."""

from __future__ import annotations

import numpy as np
import pytest

import cem
from cem.covariates.maps import RegimeMaps, initial_maps, map_sums, mapped, refined_maps


def identified(offsets, scales, counts):
    scales = scales / np.exp(counts @ np.log(scales) / counts.sum())
    return offsets - (counts @ offsets) / (counts @ scales) * scales, scales


def random_problem(rng):
    """Readings of one channel, maps at hand, and what K modes expect; some regimes have few readings or none."""
    n_regimes, n_modes = rng.integers(2, 6), rng.integers(1, 4)
    counts = rng.choice([0, 1, 3, 15, 200], size=n_regimes)
    counts[rng.integers(n_regimes)] += 5
    regimes = np.repeat(np.arange(n_regimes), counts)
    level = rng.choice([0.0, 3.0, 50.0])
    curves = level + rng.normal(0, rng.choice([0.1, 3.0]), (len(regimes), 1)) + rng.normal(0, 0.3, (1, n_modes))
    responsibilities = rng.dirichlet(np.ones(n_modes), len(regimes))
    weights = responsibilities / rng.uniform(0.2, 3.0, n_modes)
    offsets, scales = rng.normal(0, 4, n_regimes), np.exp(rng.normal(0, 0.7, n_regimes))
    x = offsets[regimes] + scales[regimes] * (curves[:, 0] + rng.normal(0, 1, len(regimes)))
    now = identified(offsets + rng.normal(0, 1, n_regimes), scales * np.exp(rng.normal(0, 0.3, n_regimes)), counts)
    maps = RegimeMaps(
        now[0][:, None], now[1][:, None], counts[:, None], rng.normal(0, 4, (n_regimes, 1)),
        np.array([rng.choice([1e-4, 0.1, 20.0])]),
    )  # fmt: skip
    return x, regimes, curves, weights, maps


def expected_log_likelihood(x, regimes, curves, weights, maps, factor=1.0, shift=0.0):
    """Of the readings given the curves, written down reading by reading."""
    z = factor * curves + shift
    y = (x - maps.offsets[regimes, 0]) / maps.scales[regimes, 0]
    squares = 0.5 * (weights / factor**2 * (y[:, None] - z) ** 2).sum()
    return -np.log(maps.scales[regimes, 0]).sum() - len(x) * np.log(factor) - squares + maps.log_prior[0]


@pytest.mark.parametrize("seed", range(200))
def test_the_penalised_objective_never_falls_and_the_maps_stay_identified(seed):
    """A fit could undo what it had learned, or two maps of the same model could drift apart."""
    rng = np.random.default_rng(seed)
    x, regimes, curves, weights, maps = random_problem(rng)
    origin, unit = rng.normal(0, 30), np.exp(rng.normal())
    before = expected_log_likelihood(x, regimes, curves, weights, maps)
    y = mapped(x[:, None], regimes, maps.offsets, maps.scales)[:, 0]
    n = len(maps.offsets)
    sums = map_sums((y - origin) / unit, regimes, (curves - origin) / unit, weights * unit**2, n)
    new, factors, shifts = refined_maps(maps, sums[None], np.array([origin]), np.array([unit]))
    after = expected_log_likelihood(x, regimes, curves, weights, new, factors[0], shifts[0])
    assert after >= before - 1e-9 * abs(before)
    counts = maps.counts[:, 0]
    assert counts @ np.log(new.scales[:, 0]) == pytest.approx(0.0, abs=1e-9 * counts.sum())
    assert counts @ new.offsets[:, 0] == pytest.approx(0.0, abs=1e-8 * (counts @ np.abs(new.offsets[:, 0]) + 1))
    # Sums of two parts of the readings, and without origins: the same maps.
    half = rng.uniform(size=len(x)) < 0.5
    parts = sum(map_sums(y[part], regimes[part], curves[part], weights[part], n) for part in (half, ~half))
    again, c, d = refined_maps(maps, parts[None])
    assert again.offsets == pytest.approx(new.offsets, rel=1e-6, abs=1e-6)
    assert again.scales == pytest.approx(new.scales, rel=1e-7)
    assert c == pytest.approx(factors, rel=1e-7) and d == pytest.approx(shifts, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_no_other_offset_or_scale_of_a_regime_is_better(seed):
    """The update is the maximum, not a step towards it: steps to all sides lower the objective."""
    rng = np.random.default_rng(1000 + seed)
    x, regimes, curves, weights, maps = random_problem(rng)
    for _ in range(500):  # the prior's gauge moves with the maps; at the end it stands
        y = mapped(x[:, None], regimes, maps.offsets, maps.scales)[:, 0]
        new, c, d = refined_maps(maps, map_sums(y, regimes, curves, weights, len(maps.offsets))[None])
        curves, weights = c[0] * curves + d[0], weights / c[0] ** 2
        done = max(np.abs(new.offsets - maps.offsets).max(), np.abs(new.scales - maps.scales).max()) < 1e-12
        maps = new
        if done:
            break
    best = expected_log_likelihood(x, regimes, curves, weights, maps)
    for g in range(len(maps.offsets)):
        for a, s in ((1e-3, 1.0), (-1e-3, 1.0), (0.0, 1.001), (0.0, 0.999)):
            offsets, scales = maps.offsets.copy(), maps.scales.copy()
            offsets[g] += a
            scales[g] *= s
            other = RegimeMaps(offsets, scales, maps.counts, maps.prior_levels, maps.prior_precisions)
            assert expected_log_likelihood(x, regimes, curves, weights, other) <= best + 1e-7 * abs(best)


def fleet(rng, n_regimes=4, n_units=80, noise=0.05, rare=None):
    """Units that run in all regimes at all ages and wear; their readings, and the true maps."""
    offsets, scales = rng.normal(0, 5, n_regimes), np.exp(rng.normal(0, 0.5, n_regimes))
    values, regimes, times, starts = [], [], [], [0]
    for _ in range(n_units):
        m = int(rng.integers(30, 60))
        t = np.sort(rng.uniform(0, 1, m))
        level, slope, bend = rng.normal([10, 1, 2], [0.3, 0.3, 0.5])
        g = rng.integers(0, n_regimes - (rare is not None), m)
        curve = level + slope * t + bend * t**2 + noise * rng.normal(size=m)
        values.append(offsets[g] + scales[g] * curve)
        regimes.append(g)
        times.append(t)
        starts.append(starts[-1] + m)
    x, g, t = map(np.concatenate, (values, regimes, times))
    if rare:  # some readings of the first regime are of one more, rare regime instead
        chosen = rng.choice(len(x), rare, replace=False)
        curve = (x[chosen] - offsets[g[chosen]]) / scales[g[chosen]]
        g[chosen] = n_regimes - 1
        x[chosen] = offsets[-1] + scales[-1] * curve
    counts = np.bincount(g, minlength=n_regimes)
    return x, g, np.array(starts), cem.Polynomial(2).bind(t)(t), *identified(offsets, scales, counts)


@pytest.mark.parametrize("seed", range(4))
def test_true_offsets_and_scales_are_recovered_about_wearing_units(seed):
    """Wear of a unit must not become an offset of the regime that it happens to be in."""
    x, g, starts, rows, offsets, scales = fleet(np.random.default_rng(seed))
    maps = initial_maps(x[:, None], g, (1 - np.eye(4)) / 3, starts, [rows], max_iter=100)
    assert maps.scales[:, 0] == pytest.approx(scales, rel=0.01)
    assert maps.offsets[:, 0] + maps.scales[:, 0] * 11 == pytest.approx(offsets + scales * 11, abs=0.03)


def test_readings_that_miss_a_channel_change_nothing_of_it():
    """Gaps are left out; the maps of other channels do not depend on them."""
    x, g, starts, rows, _, _ = fleet(np.random.default_rng(5))
    both = np.stack([x, x], axis=1)
    both[::3, 1] = np.nan
    maps = initial_maps(both, g, (1 - np.eye(4)) / 3, starts, [rows, rows])
    alone = initial_maps(x[:, None], g, (1 - np.eye(4)) / 3, starts, [rows])
    assert np.array_equal(maps.offsets[:, 0], alone.offsets[:, 0])
    assert maps.counts[:, 1].sum() == np.isfinite(both[:, 1]).sum()
    assert maps.scales[:, 1] == pytest.approx(alone.scales[:, 0], rel=0.02)


def test_a_scale_that_few_readings_show_stays_near_that_of_the_others():
    """Four readings of a regime by chance alike would give it a tiny scale, and later readings there huge weight."""
    far = []
    for seed in range(6):
        x, g, starts, rows, _, _ = fleet(np.random.default_rng(seed), noise=1.0, rare=4)
        maps = initial_maps(x[:, None], g, (1 - np.eye(4)) / 3, starts, [rows])
        far.append(abs(np.log(maps.scales[3, 0] / np.median(maps.scales[:3, 0]))))
        assert np.isfinite(maps.offsets).all()
    assert max(far) < 1.0


def test_a_regime_without_readings_of_a_channel_has_finite_maps():
    """A channel that is not read in one regime must not spoil the others."""
    x, g, starts, rows, _, _ = fleet(np.random.default_rng(3))
    values = np.where(g == 2, np.nan, x)[:, None]
    maps = initial_maps(values, g, (1 - np.eye(4)) / 3, starts, [rows])
    assert maps.counts[2, 0] == 0
    assert np.isfinite(maps.offsets).all() and (maps.scales > 0).all()


def test_a_channel_that_is_constant_within_regimes_gets_offsets_alone():
    """Many sensors of turbofans depend on the regime and on nothing else; 0 is no scale."""
    g = np.tile([0, 1, 2], 20)
    values = np.array([518.67, 445.0, 489.05])[g][:, None]
    maps = initial_maps(values, g, (1 - np.eye(3)) / 2, np.array([0, 30, 60]), [np.ones((60, 1))])
    assert np.array_equal(maps.scales, np.ones((3, 1)))
    assert np.ptp(mapped(values, g, maps.offsets, maps.scales)) < 1e-9
