"""The lanes kernel against its twin in NumPy, on every instruction level that it was compiled for."""

from __future__ import annotations

import math
import pickle
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import reference as _reference
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import parameters_bundle, statistics_bundle

from cem.em.kernels import _lanes
from cem.errors import FitError, KernelFailure, OptionError
from cem.mixture.parameters import Parameters

EPSILON = np.finfo(float).eps


def levels_of_this_machine() -> list[str]:
    """Levels by what the kernel of the operating system says, not by what the code under test says."""
    levels = ["baseline"]
    if platform.machine() == "x86_64":
        words = set(re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE).group(1).split())
        if {"avx2", "fma"} <= words:
            levels.append("avx2")
        if {"avx2", "fma", "avx512f"} <= words:
            levels.append("avx512")
    return levels


LEVELS = levels_of_this_machine()
every_level = pytest.mark.parametrize("level", LEVELS)


class Fleet:
    """Random statistics (9) and parameters: ragged, channels missing, n < p, shared and own designs."""

    def __init__(self, seed, n_units, sizes, n_modes, *, missing=0.1, known=0.2, noise=1.0, largest_count=30):
        rng = np.random.default_rng(seed)
        self.sizes = np.array(sizes, dtype=np.int32)
        n_channels, total = len(sizes), int(self.sizes.sum())
        self.factor_offsets = np.full((n_units, n_channels), -1, dtype=np.int64)
        self.projections = np.zeros((n_units, total))
        self.residual_norms = np.zeros((n_units, n_channels))
        self.counts = np.zeros((n_units, n_channels), dtype=np.int32)
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        blocks, used = [], 0
        for l in range(n_units):
            shared = {}
            n_shared = int(rng.integers(1, largest_count))
            for c, p in enumerate(sizes):
                if rng.random() < missing:
                    continue
                own = rng.random() < 0.3
                n = int(rng.integers(1, largest_count)) if own else n_shared
                if own or p not in shared:
                    R, *_ = _reference.compress(rng.normal(size=(n, p)), np.zeros(n))
                    blocks.append(R.ravel())
                    self.factor_offsets[l, c] = used
                    used += p * p
                    if not own:
                        shared[p] = self.factor_offsets[l, c]
                else:
                    self.factor_offsets[l, c] = shared[p]
                self.counts[l, c] = n
                self.projections[l, starts[c] : starts[c] + min(n, p)] = 3 * rng.normal(size=min(n, p))
                self.residual_norms[l, c] = rng.chisquare(n - p) if n > p else 0.0
        self.factors = np.concatenate([*blocks, np.zeros(0)])
        self.known_modes = np.where(rng.random(n_units) < known, rng.integers(0, n_modes, n_units), -1).astype(np.int32)
        factors = []
        for _ in range(n_modes):
            row = []
            for p in sizes:
                row.append((np.tril(rng.normal(size=(p, p)), -1) + np.diag(rng.uniform(0.2, 2.0, p))).ravel())
            factors.append(np.concatenate(row))
        self.parameters = Parameters(
            rng.dirichlet(np.ones(n_modes)),
            rng.normal(size=(n_modes, total)),
            np.array(factors),
            noise * rng.uniform(0.5, 2.0, (n_modes, n_channels)),
            tuple(sizes),
        )

    @property
    def statistics(self):
        return (
            self.factors, self.factor_offsets, self.projections, self.residual_norms, self.counts, self.known_modes,
        )  # fmt: skip

    def pack(self, level):
        return _lanes.pack(statistics_bundle(self.statistics, self.sizes), level)

    def reference(self, **options):
        return _reference.expectation(*self.statistics, self.parameters, **options)


def assert_same(fleet, level, *, tolerance=1e-11, **options):
    """ℓ to 1e-12 of the sum of the units' parts, ρ̂ and the sums to `tolerance` of what they are made of."""
    expected_rho, expected = fleet.reference(
        inverse_temperature=options.get("inverse_temperature", 1.0),
        responsibilities=options["responsibilities"].copy() if "responsibilities" in options else None,
    )
    parts = np.empty(len(fleet.counts))
    rho, sums = _lanes.expectation(
        fleet.pack(level), fleet.parameters.bundle, responsibilities_given="responsibilities" in options,
        log_likelihoods_out=parts, **options,
    )  # fmt: skip
    assert abs(sums[0] - expected[0]) <= 1e-12 * np.abs(parts).sum()
    assert abs(parts.sum() - sums[0]) <= 1e-13 * np.abs(parts).sum()
    np.testing.assert_allclose(rho, expected_rho, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(sums, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected[1:]).max()))


def test_every_level_of_this_processor_is_offered():
    """A level that is silently not dispatched would cost users a factor of two or more."""
    assert list(_lanes.available_levels()) == LEVELS


@every_level
@pytest.mark.parametrize("p", range(1, 9))
def test_sums_agree_with_the_reference_for_every_size(level, p):
    """A wrong coefficient in one compiled instance would spoil every fit with a basis of that size."""
    assert_same(Fleet(p, 45, [p, p, p], 3), level)


@every_level
def test_channels_with_bases_of_different_size(level):
    """Mixed bases move the offsets of every later channel."""
    assert_same(Fleet(11, 60, [3, 1, 8, 2, 5, 3, 4, 7, 6], 4), level)


@every_level
@pytest.mark.parametrize("n_units", [1, 2, 3, 7, 8, 9, 15, 16, 17, 33])
def test_last_tile_is_not_counted_twice(level, n_units):
    """Lanes without a unit must add nothing, whatever the number of units."""
    assert_same(Fleet(n_units, n_units, [2, 3], 2), level)


@every_level
def test_many_missing_channels_and_units_without_any_reading(level):
    """A unit with nothing observed has its prior as responsibilities; missing channels add to no sum."""
    fleet = Fleet(5, 70, [3, 2, 4], 3, missing=0.7, known=0.0)
    assert (fleet.counts == 0).all(axis=1).any()
    assert_same(fleet, level)
    rho, _ = _lanes.expectation(fleet.pack(level), fleet.parameters.bundle)
    empty = (fleet.counts == 0).all(axis=1)
    np.testing.assert_allclose(rho[empty], np.tile(fleet.parameters.weights, (empty.sum(), 1)), rtol=1e-14)


@every_level
def test_channel_missing_on_the_whole_fleet(level):
    """No reading of a channel at all: its sums are zero, not the prior's."""
    fleet = Fleet(6, 40, [3, 2], 2)
    fleet.counts[:, 1] = 0
    fleet.factor_offsets[:, 1] = -1
    fleet.projections[:, 3:] = 0.0
    fleet.residual_norms[:, 1] = 0.0
    assert_same(fleet, level)


@every_level
def test_all_modes_known(level):
    """Units of known mode have ρ̂ of exactly 0 or 1 and their own mode's likelihood."""
    fleet = Fleet(7, 50, [3, 3], 3, known=1.0)
    assert_same(fleet, level)
    rho, _ = _lanes.expectation(fleet.pack(level), fleet.parameters.bundle)
    np.testing.assert_array_equal(rho, np.eye(3)[fleet.known_modes])


@every_level
def test_one_mode_and_a_rare_mode(level):
    """K = 1 is the start of every fit; a mode of weight 3e-9 must not vanish in the log-sum-exp."""
    assert_same(Fleet(8, 30, [3], 1, known=0.0), level)
    fleet = Fleet(9, 30, [3], 3, known=0.0)
    weights = np.array([0.7, 0.3 - 3e-9, 3e-9])
    p = fleet.parameters
    fleet.parameters = Parameters(weights, p.means, p.factors, p.noise_variances, p.sizes)
    assert_same(fleet, level)


@every_level
def test_mode_of_weight_zero_takes_no_unit(level):
    """π_k = 0 gives ρ̂ = 0 exactly, not NaN."""
    fleet = Fleet(10, 20, [3], 2, known=0.0)
    impossible = replace(fleet.parameters, weights=np.array([1.0, 0.0])).bundle
    rho, sums = _lanes.expectation(fleet.pack(level), impossible)
    np.testing.assert_array_equal(rho, np.tile([1.0, 0.0], (20, 1)))
    assert np.isfinite(sums).all()


@every_level
def test_given_responsibilities_weight_the_sums(level):
    """init=array: the sums use the responsibilities given, known modes too; ℓ stays that of the mixture."""
    fleet = Fleet(12, 40, [3, 2], 3)
    rho = np.random.default_rng(0).dirichlet(np.ones(3), 40)
    rho[:5] = np.eye(3)[[0, 1, 2, 0, 1]]
    before = rho.copy()
    assert_same(fleet, level, responsibilities=rho)
    np.testing.assert_array_equal(rho, before)


@every_level
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.5])
def test_tempered_responsibilities(level, temperature):
    """Annealed starts flatten ρ̂ of the units of unknown mode, and do not change ℓ."""
    assert_same(Fleet(13, 40, [3, 2], 3), level, inverse_temperature=temperature)


def whitened(level, R, w, rss, n, mean, factor, noise_variance):
    """E d, A⁻¹, ℓ and (13) of one unit, channel and mode, by the kernel."""
    p = len(w)
    arrays = R.ravel(), np.zeros((1, 1), np.int64), w[None], np.array([[rss]]), np.array([[n]], np.int32)
    pack = _lanes.pack(statistics_bundle(arrays, [p]), level)
    parameters = parameters_bundle(np.ones(1), mean[None], factor.ravel()[None], np.array([[noise_variance]]), [p])
    _, sums = _lanes.expectation(pack, parameters)
    d, second = sums[3 : 3 + p], sums[3 + p : 3 + p + p * p].reshape(p, p)
    return d, second - np.outer(d, d), sums[0], sums[3 + p + p * p]


@pytest.mark.slow
@every_level
@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(1, 8), st.floats(-3, 6), st.integers(0, 2**31))
def test_posterior_is_as_accurate_as_its_conditioning_allows(level, p, magnitude, seed):
    """E d and A⁻¹ to 10 ε (1 + ‖B‖²): n from 1 to 10¹², noise far above and far below the coefficients."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3 * p))
    R, w, rss, _ = _reference.compress(10.0 ** (magnitude / 2) * rng.normal(size=(n, p)), rng.normal(size=n))
    mean, factor = rng.normal(size=p), np.tril(rng.normal(size=(p, p)))
    posterior = _reference.whitened_posterior(R, w, rss, n, mean, factor, 0.8)
    B = R @ factor / np.sqrt(0.8)
    allowed = 10 * EPSILON * (1 + np.linalg.norm(B, 2) ** 2)
    d, covariance, log_density, noise_moment = whitened(level, R, w, rss, n, mean, factor, 0.8)
    scale = 1 + np.linalg.norm(posterior.mean) ** 2  # A⁻¹ is read off A⁻¹ + E d E d'
    assert np.abs(d - posterior.mean).max() <= allowed * (1 + np.linalg.norm(posterior.mean))
    assert np.abs(covariance - posterior.covariance).max() <= allowed * scale
    np.testing.assert_array_equal(covariance, covariance.T)
    assert abs(log_density - posterior.log_density) <= max(1e-12, allowed) * (1 + posterior.quadratic + n)
    assert abs(noise_moment - posterior.noise_moment) <= allowed * (1 + posterior.quadratic)


@every_level
def test_log_odds_after_a_hundred_million_readings(level):
    """‖e‖² − ‖u‖² in (11) would lose ‖B‖² ε, and the log-odds of two modes nine digits."""
    p, n = 3, 10**8
    R = np.triu(np.random.default_rng(3).normal(size=(p, p)) + 2 * np.eye(p)) * np.sqrt(n)
    truth, means = np.array([0.3, -0.2, 0.1]), (np.zeros(p), np.array([0.1, 0.2, -0.1]))
    inverse = np.linalg.inv(R)
    # e'(I + RR')⁻¹e with e = R(t - μ) is (t - μ)'(I + (R'R)⁻¹)⁻¹(t - μ): no cancellation
    exact = [(truth - m) @ np.linalg.solve(np.eye(p) + inverse @ inverse.T, truth - m) for m in means]
    found = [whitened(level, R, R @ truth, 0.0, p, m, np.eye(p), 1.0)[2] for m in means]
    assert found[0] - found[1] == pytest.approx(0.5 * (exact[1] - exact[0]), rel=1e-11)


@every_level
def test_determinants_that_overflow_together(level):
    """60 channels of determinant near 1e70 each: their product is far beyond the largest double."""
    n_channels, p = 60, 8
    R = np.eye(p) * 1e34
    arrays = (
        R.ravel(), np.zeros((1, n_channels), np.int64), np.zeros((1, n_channels * p)), np.zeros((1, n_channels)),
        np.full((1, n_channels), p, np.int32),
    )  # fmt: skip
    pack = _lanes.pack(statistics_bundle(arrays, [p] * n_channels), level)
    factors = np.tile(np.eye(p).ravel(), n_channels)[None]
    noise = np.ones((1, n_channels))
    _, sums = _lanes.expectation(
        pack, parameters_bundle(np.ones(1), np.zeros((1, n_channels * p)), factors, noise, [p] * n_channels)
    )
    expected = -0.5 * n_channels * p * (math.log(2 * math.pi) + math.log(1e68))
    assert sums[0] == pytest.approx(expected, rel=1e-14)


def ulps(found, expected):
    """Distance in units in the last place."""
    return np.max(np.abs(found - expected) / np.spacing(np.abs(expected)))


@every_level
def test_exponential_within_one_ulp(level):
    """Responsibilities are ratios of these; what underflows must be exactly 0."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.uniform(-700, 700, 20001), rng.uniform(-1, 1, 20001), -np.logspace(-18, 0, 501), [0.0]])
    assert ulps(_lanes.elementary("exp", x, level), np.array([math.exp(v) for v in x])) <= 1
    np.testing.assert_array_equal(
        _lanes.elementary("exp", np.array([-709.0, -1e300, -np.inf, 0.0]), level), [0, 0, 0, 1]
    )
    assert np.isnan(_lanes.elementary("exp", np.array([np.nan]), level)).all()


@every_level
def test_logarithm_within_one_ulp(level):
    """One logarithm stands for the determinants of all channels of a unit."""
    rng = np.random.default_rng(2)
    x = np.concatenate(
        [np.exp(rng.uniform(-700, 700, 20001)), rng.uniform(0.5, 2, 20001), 1 + np.logspace(-15, -1, 501)]
    )
    assert ulps(_lanes.elementary("log", x, level), np.array([math.log(v) for v in x])) <= 1
    assert _lanes.elementary("log", np.ones(3), level).tolist() == [0.0, 0.0, 0.0]


@every_level
def test_same_bits_for_any_number_of_threads(level):
    """A fit must not depend on how many cores it was given."""
    fleet = Fleet(14, 300, [3, 2], 3)
    pack = fleet.pack(level)
    expected = fleet.reference()[1]
    n_sums = len(expected)
    bounds = np.array([*range(0, pack.n_tiles, 3), pack.n_tiles])

    def run(n_threads):
        rho, claimed = np.empty((300, 3)), np.zeros(1, np.int64)
        sums = np.empty((len(bounds) - 1, n_sums))

        def work():
            _lanes.expectation_chunks(pack, fleet.parameters.bundle, 1.0, False, bounds, claimed, rho, sums)

        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(work) for _ in range(n_threads)]:
                done.result()
        return rho, sums.sum(axis=0)

    rho, total = run(1)
    for n_threads in (2, 3, 8):
        again, total_again = run(n_threads)
        np.testing.assert_array_equal(again, rho)
        np.testing.assert_array_equal(total_again, total)
    np.testing.assert_allclose(total, expected, rtol=1e-11, atol=1e-9)


@every_level
def test_chunks_cover_the_fleet_once(level):
    """A tile left out, or counted twice, would change every parameter a little."""
    for n_units, n_modes in ((1, 1), (9, 2), (50_000, 4)):
        counts = np.ones((n_units, 1), np.int32)
        rows = np.zeros((n_units, 1))
        pack = _lanes.pack(statistics_bundle((np.ones(1), rows.astype(np.int64), rows, rows, counts), [1]), level)
        bounds = pack.chunks(n_modes)
        assert bounds[0] == 0 and bounds[-1] == pack.n_tiles and all(a < b for a, b in pairwise(bounds))
    assert len(bounds) > 2


@every_level
def test_units_keep_their_rows(level):
    """Packing sorts units; responsibilities and log-likelihoods must come back in the order of the panel."""
    fleet = Fleet(15, 90, [2, 3], 3, missing=0.4)
    pack = fleet.pack(level)
    assert sorted(pack.order) == list(range(90)) and list(pack.order) != list(range(90))
    whole = np.empty(90)
    rho, _ = _lanes.expectation(pack, fleet.parameters.bundle, log_likelihoods_out=whole)
    for l in (0, 13, 89):
        one = tuple(a if i == 0 else np.ascontiguousarray(a[l : l + 1]) for i, a in enumerate(fleet.statistics))
        single = np.empty(1)
        rho_single, _ = _lanes.expectation(
            _lanes.pack(statistics_bundle(one, fleet.sizes), level), fleet.parameters.bundle, log_likelihoods_out=single
        )
        np.testing.assert_array_equal(rho_single[0], rho[l])
        assert single[0] == whole[l]


@every_level
def test_broken_unit_is_named(level):
    """NaN must not spread into the parameters of a whole fleet: the error says which unit, mode and channel."""
    fleet = Fleet(16, 40, [3, 2, 3], 2, missing=0.0, known=0.0)
    fleet.residual_norms[23, 2] = np.nan
    with pytest.raises(KernelFailure, match="unit at position 23, mode 0, channel at position 2"):
        _lanes.expectation(fleet.pack(level), fleet.parameters.bundle)
    fleet = Fleet(16, 40, [3, 2, 3], 2, missing=0.0, known=0.0)
    noise = fleet.parameters.noise_variances.copy()
    noise[1, 1] = -1.0
    with pytest.raises(FitError, match="mode 1, channel at position 1"):
        _lanes.expectation(fleet.pack(level), replace(fleet.parameters, noise_variances=noise).bundle)


@every_level
def test_pivot_that_is_not_positive_is_an_error(level):
    """Noise so low that I + B'B is numerically singular would give covariances that are none."""
    p = 2
    R = np.array([[1.0, 1.0], [0.0, 0.0]]) * 1e12
    R[1, 1] = 1.0
    for scale in np.linspace(1.0, 2.0, 40):  # rounding decides which of these fail; some must
        arrays = (
            (R * scale).ravel(), np.zeros((1, 1), np.int64), np.zeros((1, p)), np.zeros((1, 1)),
            np.full((1, 1), 9, np.int32),
        )  # fmt: skip
        pack = _lanes.pack(statistics_bundle(arrays, [p]), level)
        factor = np.array([[1.0, 0.0], [1 / 3, 1.1]]).ravel()[None]
        try:
            _, sums = _lanes.expectation(
                pack, parameters_bundle(np.ones(1), np.zeros((1, p)), factor, np.array([[1e-8]]), [p])
            )
        except KernelFailure as failure:
            assert (failure.unit, failure.mode, failure.channel) == (0, 0, 0)
            break
        assert np.isfinite(sums).all()
    else:
        pytest.fail("no case was found to be indefinite")


def test_known_mode_of_weight_zero_is_an_error():
    """A unit of a known mode that the parameters hold to be impossible has log-likelihood −∞."""
    fleet = Fleet(17, 12, [2], 2, known=0.0)
    fleet.known_modes[4] = 1
    impossible = replace(fleet.parameters, weights=np.array([1.0, 0.0])).bundle
    with pytest.raises(KernelFailure, match="unit at position 4"):
        _lanes.expectation(fleet.pack("baseline"), impossible)


def test_wrong_shapes_are_refused():
    """A kernel that reads past an array would crash the interpreter."""
    fleet = Fleet(18, 10, [3, 2], 2)
    pack = fleet.pack("baseline")
    parameters = fleet.parameters.bundle
    with pytest.raises(ValueError, match=r"parameters have \[2, 3\] coefficients; \[3, 2\] were expected"):
        _lanes.expectation(pack, Fleet(18, 10, [2, 3], 2).parameters.bundle)
    with pytest.raises(ValueError, match=r"parameters have \[3\] coefficients; \[3, 2\] were expected"):
        _lanes.expectation(pack, Fleet(18, 10, [3], 2).parameters.bundle)
    with pytest.raises(ValueError, match=r"responsibilities has shape \(9, 2\); \(10, 2\)"):
        _lanes.expectation(pack, parameters, responsibilities=np.empty((9, 2)))
    with pytest.raises(ValueError, match=r"sums_out has shape \(1, 46\)"):
        _lanes.expectation_chunks(
            pack, parameters, 1.0, False, np.array([0, pack.n_tiles]), np.zeros(1, np.int64),
            np.empty((10, 2)), np.empty((1, 46)),
        )  # fmt: skip
    with pytest.raises(ValueError, match="chunk 1 lies outside"):
        _lanes.expectation_chunks(
            pack, parameters, 1.0, False, np.array([0, 1, pack.n_tiles + 1]),
            np.zeros(1, np.int64), np.empty((10, 2)), np.empty((2, 51)),
        )  # fmt: skip
    with pytest.raises(ValueError, match=r"claimed has shape \(2,\); \(1,\)"):
        _lanes.claim(np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="inverse temperature"):
        _lanes.expectation(pack, parameters, inverse_temperature=0.0)
    with pytest.raises(ValueError, match="said to be given"):
        _lanes.expectation(pack, parameters, responsibilities_given=True)
    fleet.known_modes[0] = 2
    with pytest.raises(ValueError, match="mode is 2"):
        _lanes.expectation(fleet.pack("baseline"), parameters)
    with pytest.raises(ValueError, match="9 coefficients"):
        Fleet(18, 10, [9, 2], 2).pack("baseline")
    fleet.factor_offsets[fleet.counts > 0] = 10**6
    with pytest.raises(ValueError, match="outside"):
        fleet.pack("baseline")


def test_pack_is_not_made_or_pickled_by_hand():
    """An empty pack, or one from another process, holds no memory: using it would crash the interpreter."""
    with pytest.raises(TypeError, match="pack"):
        _lanes.LanePack()
    with pytest.raises(TypeError, match="pack"):
        _lanes.LanePack.__new__(_lanes.LanePack)
    with pytest.raises(TypeError, match="pack them again"):
        pickle.dumps(Fleet(1, 5, [2], 1).pack("baseline"))


def test_environment_variable_forces_the_level(monkeypatch):
    """Users force a level to get the same bits on unlike machines."""
    monkeypatch.delenv(_lanes.LEVEL_VARIABLE, raising=False)
    assert _lanes.instruction_level() == LEVELS[-1]
    for level in LEVELS:
        monkeypatch.setenv(_lanes.LEVEL_VARIABLE, level)
        assert _lanes.instruction_level() == level
        assert Fleet(1, 5, [2], 1).pack(None).level == level
    monkeypatch.setenv(_lanes.LEVEL_VARIABLE, "sse9")
    with pytest.raises(OptionError, match="CEM_INSTRUCTION_LEVEL is 'sse9'; one of 'baseline'"):
        _lanes.instruction_level()
    for level in {"avx2", "avx512"} - set(LEVELS):
        monkeypatch.setenv(_lanes.LEVEL_VARIABLE, level)
        with pytest.raises(OptionError, match="lacks"):
            _lanes.instruction_level()


def test_levels_agree_with_each_other():
    """Another machine may give other bits, not other results."""
    fleet = Fleet(19, 200, [3, 4, 6], 3)
    rho, sums = _lanes.expectation(fleet.pack("baseline"), fleet.parameters.bundle)
    for level in LEVELS[1:]:
        again, sums_again = _lanes.expectation(fleet.pack(level), fleet.parameters.bundle)
        np.testing.assert_allclose(again, rho, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(sums_again, sums, rtol=1e-11, atol=1e-10)
