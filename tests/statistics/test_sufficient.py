"""Sufficient statistics: a unit's likelihood must not depend on how, where or in what units its readings were taken."""

from __future__ import annotations

import numpy as np
import pytest
from model_cases import coordinates_for
from problems import LEVEL, random_problem, unit_factor

from cem.basis.custom import Custom
from cem.basis.families import BSpline, Constant, Fourier, Polynomial
from cem.em.expectation import Expectation
from cem.errors import PanelError
from cem.mixture.parameters import Parameters
from cem.model.model import FailureModeModel
from cem.panel.panel import Panel
from cem.statistics import _compression
from cem.statistics.coordinates import Layout, times_inverse
from cem.statistics.sufficient import SufficientStatistics

SIZES = (3, 3, 1, 3, 2)


def sensors(rng, n_units=30, *, level=LEVEL, spread=0.5, missing=0.25):
    """A fleet of five sensors around a high level, quadratic in time, some of the cells missing."""
    times, values = [], []
    for l in range(n_units):
        n = int(rng.integers(1, 40)) if l else 40
        t = np.sort(rng.uniform(0.0, 300.0, n))
        curves = rng.normal(size=(3, 5))
        x = np.vander(t / 300.0, 3, increasing=True) @ curves + 0.2 * rng.normal(size=(n, 5))
        x = level + spread * x
        x[rng.random(x.shape) < missing] = np.nan
        x[0] = level
        times.append(t)
        values.append(x)
    return Panel.from_arrays(times, values)


def bound(panel, sizes=SIZES):
    once = {p: Polynomial(p - 1).bind(panel.times) for p in set(sizes)}
    return tuple(once[p] for p in sizes)


def exact(panel, bases, coordinates, l, c):
    """R, w, rss, n by Cholesky of the cross-products in extended precision, in the same internal coordinates."""
    assert np.finfo(np.longdouble).eps < 1e-18
    rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
    x = panel.values[rows, c]
    seen = ~np.isnan(x)
    design = bases[c](panel.times[rows])[seen].astype(np.longdouble)
    x = x[seen].astype(np.longdouble)
    x = (x - design @ coordinates.centre(c).astype(np.longdouble)) / np.longdouble(coordinates.scales[c])
    S, p = coordinates.transform(c).astype(np.longdouble), design.shape[1]
    internal = np.zeros_like(design)
    for i in range(p):  # φ̃ᵀ S = φᵀ, forward in the columns
        internal[:, i] = (design[:, i] - internal[:, :i] @ S[:i, i]) / S[i, i]
    return internal, x


def longdouble_qr(design, x):
    """Householder QR written out, so that it runs in extended precision."""
    R, w = design.copy(), x.copy()
    n, p = R.shape
    for j in range(min(n, p)):
        v = R[j:, j].copy()
        v[0] += np.copysign(np.sqrt(v @ v), v[0])
        norm = v @ v
        if norm > 0:
            R[j:] -= np.outer(v, 2 * (v @ R[j:]) / norm)
            w[j:] -= v * (2 * (v @ w[j:]) / norm)
    rank = min(n, p)
    signs = np.where(np.diagonal(R[:rank]) < 0, -1, 1)
    return R[:rank] * signs[:, None], w[:rank] * signs, (w[rank:] ** 2).sum()


def check_against_exact(panel, bases, statistics, tolerance=1e-10):
    layout = statistics.layout
    for l in range(panel.n_units):
        for c in range(panel.n_channels):
            design, x = exact(panel, bases, statistics.coordinates, l, c)
            assert statistics.counts[l, c] == len(x)
            if not len(x):
                assert statistics.factor_offsets[l, c] == -1
                continue
            R, w, rss = longdouble_qr(design, x)
            rank = len(R)
            found, found_w = unit_factor(statistics, l, c), layout.vector(statistics.projections[l], c)
            assert not found[rank:].any() and not found_w[rank:].any()
            signs = np.where(np.diagonal(found[:rank]) < 0, -1, 1)
            size, scale = np.sqrt(x @ x), np.abs(R).max()
            assert np.abs(found[:rank] * signs[:, None] - R).max() <= tolerance * scale
            assert np.abs(found_w[:rank] * signs - w).max() <= tolerance * max(size, 1.0)
            assert abs(statistics.residual_norms[l, c] - rss) <= tolerance * max(size**2, 1.0)


@pytest.mark.parametrize("level", [0.0, LEVEL, 1e6, -1e6])
def test_sensors_at_a_high_level_keep_ten_digits(level):
    """9062 ± 0.5: a cross-product would leave four digits of the half, and mode probabilities would be noise."""
    panel = sensors(np.random.default_rng(0), level=level)
    bases = bound(panel)
    statistics = SufficientStatistics.from_panel(panel, bases)
    # An offset of 1e6 on a spread of 0.5 is 2e6: the readings themselves carry ten digits of the spread.
    check_against_exact(panel, bases, statistics, 1e-10 if abs(level) < 1e5 else 2e-9)
    assert statistics.counts.min() == 0 or (statistics.counts < SIZES[0]).any()


def test_patterns_that_differ_in_one_late_cell_are_not_mixed():
    """Patterns are compared 64 rows at a time: a gap in row 64 or 130 must not lend a channel another one's factor."""
    rng = np.random.default_rng(6)
    lengths = (63, 64, 65, 131, 200)
    times = [np.sort(rng.uniform(0.0, 300.0, n)) for n in lengths]
    values = [LEVEL + 0.5 * rng.normal(size=(n, 5)) for n in lengths]
    for x in values:
        x[-1, 1] = x[-1, 3] = np.nan
        x[:64, 4] = np.nan
    values[3][130, 2] = values[4][64, 2] = np.nan
    panel = Panel.from_arrays(times, values)
    bases = bound(panel, (3, 3, 3, 3, 3))
    statistics = SufficientStatistics.from_panel(panel, bases)
    check_against_exact(panel, bases, statistics)
    assert (statistics.factor_offsets[:, 1] == statistics.factor_offsets[:, 3]).all()
    assert (statistics.factor_offsets[4, 0] != statistics.factor_offsets[4, 2:3]).all()


def test_units_shorter_than_the_basis_have_zero_rows():
    rng = np.random.default_rng(1)
    times = [np.sort(rng.uniform(0, 10, n)) for n in (1, 2, 3, 4, 30)]
    values = [LEVEL + rng.normal(size=(len(t), 1)) for t in times]
    panel = Panel.from_arrays(times, values)
    bases = bound(panel, (4,))
    statistics = SufficientStatistics.from_panel(panel, bases)
    check_against_exact(panel, bases, statistics)
    for l, n in enumerate((1, 2, 3)):
        assert not unit_factor(statistics, l, 0)[n:].any()
        assert statistics.residual_norms[l, 0] == 0.0


def test_internal_coordinates_are_centred_scaled_and_orthonormal():
    """Variance 1 and an orthonormal basis: the covariance floor means the same in every channel."""
    panel = sensors(np.random.default_rng(2), missing=0.0)
    bases = bound(panel)
    coordinates = SufficientStatistics.from_panel(panel, bases).coordinates
    for c in range(panel.n_channels):
        design = np.linalg.solve(coordinates.transform(c).T, bases[c](panel.times).T).T
        x = (panel.values[:, c] - bases[c](panel.times) @ coordinates.centre(c)) / coordinates.scales[c]
        np.testing.assert_allclose(design.T @ design / len(x), np.eye(SIZES[c]), atol=1e-9)
        assert np.abs(design.T @ x / len(x)).max() < 1e-8
        assert abs(np.mean(x**2) - 1) < 1e-9


def test_channels_missing_alike_share_a_factor_and_others_do_not():
    """Shared blocks are what makes fifteen sensors cost one factorisation; a wrong share is a wrong model."""
    rng = np.random.default_rng(3)
    t = np.arange(12.0)
    x = rng.normal(size=(12, 5))
    x[3, [0, 2]] = np.nan
    x[[3, 5], 1] = np.nan
    x[:, 4] = np.nan
    panel = Panel.from_arrays([t, t], [x, rng.normal(size=(12, 5))])
    basis = Polynomial(2).bind(t)
    statistics = SufficientStatistics.from_panel(panel, (basis,) * 5)
    o = statistics.factor_offsets
    assert o[0, 0] == o[0, 2] and len({o[0, 0], o[0, 1], o[0, 3]}) == 3 and o[0, 4] == -1
    assert len(set(o[1])) == 1
    assert len(statistics.factors) == 4 * 9
    check_against_exact(panel, (basis,) * 5, statistics)


@pytest.mark.parametrize("cells", [0.0, 0.3, 0.9])
def test_every_pattern_of_missing_cells_is_right(cells):
    panel = sensors(np.random.default_rng(4), n_units=12, missing=cells)
    bases = (Polynomial(2).bind(panel.times),) * 5
    check_against_exact(panel, bases, SufficientStatistics.from_panel(panel, bases))


def log_likelihoods(panel, bases, parameters, coordinates):
    """ℓ in the panel's units of parameters given in the user's terms."""
    statistics = SufficientStatistics.from_panel(panel, bases, coordinates=coordinates)
    layout = statistics.layout
    means, factors = np.empty_like(parameters.means), np.empty_like(parameters.factors)
    for c in range(layout.n_channels):
        own = coordinates.internal_coefficients(layout.vector(parameters.means, c), c)
        layout.vector(means, c)[:] = own
        factor = coordinates.internal_covariance_factor(layout.matrix(parameters.factors, c), c)
        layout.matrix(factors, c)[:] = factor
    noise = parameters.noise_variances / coordinates.scales**2
    internal = Parameters(parameters.weights, means, factors, noise, statistics.sizes)
    return Expectation(statistics)(internal)[0].log_likelihood + statistics.log_jacobian


@pytest.mark.parametrize("scale", [1.0, 1e12, 1e-12, 1e150, 1e-150])
def test_the_log_jacobian_turns_internal_likelihoods_into_those_of_the_panel(scale):
    """log L in volts and in millivolts must differ by n log 1000 exactly, at any magnitude."""
    problem = random_problem(np.random.default_rng(5), 2, (3, 2, 3), log_noise=(-1.0, 0.0))
    panel, bases = problem.panel, problem.bases
    plain = SufficientStatistics.from_panel(panel, bases, coordinates=problem.coordinates)
    assert plain.log_jacobian == 0.0
    user = problem.parameters
    centred = np.array(user.means)
    centred[:, Layout(user.sizes).mean_offsets[:-1]] += problem.levels
    user = Parameters(user.weights, centred, user.factors, user.noise_variances, user.sizes)
    literal = Expectation(plain)(problem.parameters)[0].log_likelihood
    scaled_panel = Panel.from_arrays(
        np.split(panel.times, panel.offsets[1:-1]), np.split(panel.values * scale, panel.offsets[1:-1])
    )
    scaled = Parameters(
        user.weights, user.means * scale, user.factors * scale, user.noise_variances * scale**2, user.sizes
    )
    learned = SufficientStatistics.from_panel(scaled_panel, bases).coordinates
    n = plain.n_observations
    found = log_likelihoods(scaled_panel, bases, scaled, learned)
    assert abs(found - (literal - n * np.log(scale))) < 1e-8 * n


@pytest.mark.parametrize("magnitude", [1e12, 1e-12, 1e150, 1e-150])
def test_readings_of_any_magnitude_give_the_same_internal_statistics(magnitude):
    """A pressure in pascal or in gigapascal is one fleet."""
    panel = sensors(np.random.default_rng(6), n_units=10)
    scaled = Panel.from_arrays(
        np.split(panel.times, panel.offsets[1:-1]), np.split(panel.values * magnitude, panel.offsets[1:-1])
    )
    bases = bound(panel)
    one, other = SufficientStatistics.from_panel(panel, bases), SufficientStatistics.from_panel(scaled, bases)
    np.testing.assert_allclose(other.coordinates.scales / magnitude, one.coordinates.scales, rtol=1e-8)
    np.testing.assert_allclose(other.projections, one.projections, atol=1e-8)
    np.testing.assert_allclose(other.residual_norms, one.residual_norms, atol=1e-8)


@pytest.mark.parametrize("family", ["polynomial", "mixed"])
def test_the_plain_kernel_gives_what_lapack_gives(family):
    """Scoring needs no SciPy: it must see the same unit that the fit saw."""
    panel = sensors(np.random.default_rng(7), n_units=15)
    if family == "polynomial":
        bases = bound(panel)
    else:
        spline, wave = BSpline(n_knots=2).bind(panel.times), Fourier(1).bind(panel.times)
        bases = (spline, wave, Constant().bind(panel.times), wave, spline)
    lapack = SufficientStatistics.from_panel(panel, bases)
    plain = SufficientStatistics.from_panel(panel, bases, coordinates=lapack.coordinates, kernel="plain")
    again = SufficientStatistics.from_panel(panel, bases, coordinates=lapack.coordinates)
    assert np.array_equal(plain.counts, lapack.counts)
    layout = lapack.layout
    for statistics in (plain, again):
        for l, c in np.argwhere(lapack.counts > 0):
            wanted, found = unit_factor(lapack, l, c), unit_factor(statistics, l, c)
            np.testing.assert_allclose(found.T @ found, wanted.T @ wanted, atol=1e-9)
            w, wanted_w = (layout.vector(s.projections[l], c) for s in (statistics, lapack))
            np.testing.assert_allclose(found.T @ w, wanted.T @ wanted_w, atol=1e-9)
            # Of a rank-deficient design the two may divide ‖x‖² differently between w and rss; the sum is the data's.
            norms = [v @ v + s.residual_norms[l, c] for v, s in ((w, statistics), (wanted_w, lapack))]
            assert abs(norms[0] - norms[1]) < 1e-9 * (1 + norms[1])


def test_plain_kernel_asks_for_coordinates():
    panel = sensors(np.random.default_rng(7), n_units=3)
    with pytest.raises(ValueError, match="given coordinates"):
        SufficientStatistics.from_panel(panel, bound(panel), kernel="plain")


def test_compression_in_chunks_and_in_parts_is_compression_whole():
    """A fleet that does not fit the cache, or comes in several files, is the same fleet."""
    rng = np.random.default_rng(8)
    n_units = 450  # 18,000 rows: two chunks
    times = [np.arange(40.0)] * n_units
    values = [LEVEL + rng.normal(size=(40, 2)) for _ in range(n_units)]
    panel = Panel.from_arrays(times, values)
    bases = (Polynomial(2).bind(panel.times),) * 2
    whole = SufficientStatistics.from_panel(panel, bases)
    parts = [
        SufficientStatistics.from_panel(panel[part], bases, coordinates=whole.coordinates)
        for part in (slice(0, 100), slice(100, 101), slice(101, None))
    ]
    joined = SufficientStatistics.concatenate(parts)
    assert joined.units == list(range(n_units)) and joined.n_observations == whole.n_observations
    np.testing.assert_allclose(joined.projections, whole.projections, atol=1e-10)
    np.testing.assert_allclose(joined.residual_norms, whole.residual_norms, atol=1e-10)
    for l in (0, 99, 100, 101, 449):
        np.testing.assert_allclose(unit_factor(joined, l, 1), unit_factor(whole, l, 1), atol=1e-10)


def test_subsets_share_the_factors_and_keep_their_order():
    panel = sensors(np.random.default_rng(9), n_units=8)
    whole = SufficientStatistics.from_panel(panel, bound(panel), known_modes=np.arange(8, dtype=np.int32))
    part = whole.subset(np.array([5, 2]))
    assert part.units == [5, 2] and part.known_modes.tolist() == [5, 2]
    assert part.factors is whole.factors
    assert np.array_equal(part.projections, whole.projections[[5, 2]])
    assert part.n_observations == whole.counts[[5, 2]].sum()


def test_parts_in_other_coordinates_are_refused():
    """Adding statistics in different coordinates would be a silent wrong fit."""
    panel = sensors(np.random.default_rng(10), n_units=8)
    one = SufficientStatistics.from_panel(panel[:4], bound(panel))
    other = SufficientStatistics.from_panel(panel[4:], bound(panel))
    with pytest.raises(PanelError, match=r"coordinates=parts\[0\]\.coordinates"):
        SufficientStatistics.concatenate([one, other])
    with pytest.raises(PanelError, match="no statistics"):
        SufficientStatistics.concatenate([])


def test_all_readings_at_one_time_still_compress():
    """Fewer distinct times than coefficients: the design has rank one, the coordinates must stay invertible."""
    rng = np.random.default_rng(11)
    panel = Panel.from_arrays([np.full(5, 3.0)] * 4, [rng.normal(size=(5, 1)) for _ in range(4)])
    statistics = SufficientStatistics.from_panel(panel, (Polynomial(2).bind(panel.times),))
    assert np.isfinite(statistics.projections).all() and np.isfinite(statistics.factors).all()
    assert np.isfinite(statistics.coordinates.transforms).all()


@pytest.mark.parametrize("argument", range(10))
def test_the_driver_refuses_arrays_that_do_not_fit(argument):
    """A wrong shape in a kernel would write memory that is not ours."""
    arrays = [
        np.ones((6, 2)),
        np.ones((6, 3)),
        np.array([0, 2, 6], dtype=np.int64),
        np.array([0, 2], dtype=np.int32),
        np.zeros((2, 2)),
        np.empty(2 * 2 * 4),
        np.empty((2, 2), dtype=np.int64),
        np.empty((2, 2, 2)),
        np.empty((2, 2)),
        np.empty((2, 2), dtype=np.int32),
    ]
    assert _compression.compress_units(*arrays) == 8
    # An array that is an index is broken by its contents, the others by their length.
    if argument == 2:
        arrays[2] = np.array([0, 2, 7], dtype=np.int64)
    elif argument == 3:
        arrays[3] = np.array([0, 3], dtype=np.int32)
    else:
        arrays[argument] = np.ascontiguousarray(arrays[argument][:-1])
    with pytest.raises(ValueError, match="compress_units"):
        _compression.compress_units(*arrays)


def test_rows_that_fall_are_refused():
    with pytest.raises(ValueError, match="must not fall"):
        _compression.compress_units(
            np.ones((6, 2)),
            np.ones((6, 3)),
            np.array([0, 4, 2], dtype=np.int64),
            np.array([0], dtype=np.int32),
            np.zeros((2, 1)),
            np.empty(16),
            np.empty((2, 1), dtype=np.int64),
            np.empty((2, 1, 2)),
            np.empty((2, 1)),
            np.empty((2, 1), dtype=np.int32),
        )


def test_noise_that_nothing_tells_is_known_as_such():
    """Read once a unit by a constant, noise and unit are one variance; at different times by a slope they are two."""
    rng = np.random.default_rng(0)
    times = np.arange(1.0, 6.0)
    values = np.full((4, 5, 4), np.nan)
    values[:, -1, 0] = rng.normal(size=4)  # the last reading alone, by a constant
    values[:, 2, 1] = rng.normal(size=4)  # once, by a line
    values[[0, 1, 2, 3], [0, 1, 2, 3], 2] = rng.normal(size=4)  # once, by a parabola, at times of their own
    values[..., 3] = rng.normal(size=(4, 5))  # five times
    panel = Panel.from_arrays(times, values)
    constant = Constant().bind(panel.times)
    bases = (constant, Polynomial(1).bind(panel.times), Polynomial(2).bind(panel.times), constant)
    statistics = SufficientStatistics.from_panel(panel, bases)
    assert statistics.noise_is_untold.tolist() == [True, False, False, False]


def test_channels_of_one_basis_and_different_transforms_are_scored_in_batch_as_reading_by_reading():
    """A model put together by hand may have an S of its own for each channel; a fit gives one to all of a basis."""
    rng = np.random.default_rng(5)
    basis = Polynomial(1).bind([0.0, 10.0])
    coordinates = coordinates_for((basis, basis, basis), rng)
    assert not np.array_equal(coordinates.transform(0), coordinates.transform(1))
    factors = np.tile([0.5, 0.0, 0.1, 0.4], (2, 3))
    model = FailureModeModel(
        parameters=Parameters([0.6, 0.4], rng.normal(size=(2, 6)), factors, np.full((2, 3), 0.2), coordinates.sizes),
        coordinates=coordinates,
        bases=(basis,) * 3,
        channels=("a", "b", "c"),
    )
    panel = model.sample(4, [0.0, 2.0, 5.0, 9.0], random_state=0)
    unit = model.scorer().unit()
    for l, found in enumerate(model.score_samples(panel)):
        rows = slice(int(panel.offsets[l]), int(panel.offsets[l + 1]))
        unit.reset()
        unit.update_many(panel.times[rows], panel.values[rows])
        assert found == pytest.approx(unit.log_likelihood(), rel=1e-10)


def test_the_inverse_of_a_transform_is_applied_by_substitution():
    """A file may hold a transform whose columns are equal to all digits; LU with pivots calls it singular."""
    rng = np.random.default_rng(0)
    S = np.triu(rng.normal(size=(4, 4)))
    np.fill_diagonal(S, rng.uniform(0.5, 2.0, 4))
    rows = rng.normal(size=(7, 4))
    np.testing.assert_allclose(times_inverse(rows, S) @ S, rows, rtol=1e-12, atol=1e-12)
    S[1, 2] = 1e18
    S[1, 1] = 1e-12
    assert np.isfinite(times_inverse(rows, S)).all()


@pytest.mark.parametrize("p", [1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("missing", [0.01, 0.2, 0.8])
def test_gaps_leave_of_a_channel_what_its_rows_alone_would(p, missing):
    """Channels with gaps of their own are compressed side by side: none may see another's rows, or its own gaps."""
    rng = np.random.default_rng(p)
    lengths = (p, p + 1, p + 2, 40, 64, 65, 150)
    times = [np.sort(rng.uniform(0.0, 1.0, n)) for n in lengths]
    values = [LEVEL + rng.normal(size=(n, 7)) for n in lengths]
    for x in values:
        x[rng.random(x.shape) < missing] = np.nan
        x[:, 5] = x[:, 1]  # two that share their gaps, and their readings
        x[0, 6] = LEVEL
    panel = Panel.from_arrays(times, values)
    basis = Polynomial(p - 1).bind(panel.times)
    whole = SufficientStatistics.from_panel(panel, (basis,) * 7)
    for l, (t, x) in enumerate(zip(times, values, strict=True)):
        for c in range(7):
            seen = ~np.isnan(x[:, c])
            assert whole.counts[l, c] == seen.sum()
            if not seen.any():
                assert whole.factor_offsets[l, c] == -1
                continue
            one = Panel.from_arrays([t[seen]], [x[seen][:, [c]]])
            coordinates = whole.coordinates
            layout, rows = coordinates.layout, slice(*whole.layout.mean_offsets[c : c + 2])
            own = type(coordinates)(
                coordinates.centres[rows], coordinates.scales[[c]], coordinates.transform(c).ravel(), (p,)
            )
            alone = SufficientStatistics.from_panel(one, (basis,), coordinates=own)
            R, w = unit_factor(whole, l, c), layout.vector(whole.projections[l], c)
            wanted, wanted_w = unit_factor(alone, 0, 0), alone.projections[0]
            signs = np.where(np.diagonal(R) * np.diagonal(wanted) < 0, -1.0, 1.0)
            np.testing.assert_allclose(R * signs[:, None], wanted, atol=1e-12 * np.abs(wanted).max())
            condition = 1.0 if seen.sum() >= p + 2 else 1e6  # of a design without rows to spare
            np.testing.assert_allclose(w * signs, wanted_w, atol=1e-11 * condition * np.sqrt(seen.sum()))
            rss = float(alone.residual_norms[0, 0])
            assert whole.residual_norms[l, c] == pytest.approx(rss, rel=1e-11 * condition, abs=1e-10)
        assert whole.factor_offsets[l, 1] == whole.factor_offsets[l, 5]
        twins = [whole.layout.vector(whole.projections[l], c) for c in (1, 5)]
        np.testing.assert_allclose(*twins, rtol=1e-12, atol=1e-13)


def test_designs_whose_squares_overflow_are_compressed_all_the_same():
    """Their channels leave the kernel of sums of squares for LAPACK, which scales; the answer is that of small ones."""
    rng = np.random.default_rng(9)
    t = np.sort(rng.uniform(0.5, 1.0, 30))
    x = rng.normal(size=(30, 5))
    x[rng.random(x.shape) < 0.2] = np.nan

    def statistics(factor):
        panel = Panel.from_arrays([t], [x])
        basis = Custom(lambda times: factor * np.stack([np.ones_like(times), times], axis=1)).bind(panel.times)
        return SufficientStatistics.from_panel(panel, (basis,) * 5)

    for factor in (1e140, 1e-140):
        huge, plain = statistics(factor), statistics(1.0)
        np.testing.assert_allclose(huge.residual_norms, plain.residual_norms, rtol=1e-10)
        np.testing.assert_allclose(np.abs(huge.projections), np.abs(plain.projections), rtol=1e-9, atol=1e-11)
