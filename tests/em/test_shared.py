"""The kernel of shared designs against its twin and against the unit by unit reference, on every instruction level."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import reference as _reference
import reference_shared as _reference_shared
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import statistics_bundle

import cem
from cem import _core
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.kernels import _lanes, _shared
from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError, KernelFailure
from cem.mixture.parameters import Parameters
from cem.statistics.designs import shared_designs
from cem.statistics.sufficient import SufficientStatistics

EPSILON = np.finfo(float).eps
LEVELS = _lanes.available_levels()  # test_lanes.py holds these against what the operating system says
every_level = pytest.mark.parametrize("level", LEVELS)


class Fleet:
    """Random statistics (9) of few designs: channels missing, n < p, units of a design scattered over the fleet."""

    def __init__(self, seed, n_units, n_designs, sizes, n_modes, *, missing=0.15, known=0.2, largest_count=30):
        rng = np.random.default_rng(seed)
        self.sizes = np.array(sizes, dtype=np.int32)
        n_channels, total = len(sizes), int(self.sizes.sum())
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        self.designs = np.concatenate([np.arange(n_designs), rng.integers(0, n_designs, n_units - n_designs)])
        rng.shuffle(self.designs)
        blocks, used = [], 0
        offsets = np.full((n_designs, n_channels), -1, dtype=np.int64)
        counts = np.zeros((n_designs, n_channels), dtype=np.int32)
        for d in range(n_designs):
            for c, p in enumerate(sizes):
                if rng.random() < missing:
                    continue
                counts[d, c] = rng.integers(1, largest_count)
                R, *_ = _reference.compress(rng.normal(size=(counts[d, c], p)), np.zeros(counts[d, c]))
                blocks.append(R.ravel())
                offsets[d, c] = used
                used += p * p
        self.factors = np.concatenate([*blocks, np.zeros(1)])
        self.factor_offsets = offsets[self.designs]
        self.counts = counts[self.designs]
        self.projections = np.zeros((n_units, total))
        self.residual_norms = np.zeros((n_units, n_channels))
        for l, c in np.argwhere(self.counts > 0):
            n, p = self.counts[l, c], sizes[c]
            self.projections[l, starts[c] : starts[c] + min(n, p)] = 3 * rng.normal(size=min(n, p))
            self.residual_norms[l, c] = rng.chisquare(n - p) if n > p else 0.0
        self.known_modes = np.where(rng.random(n_units) < known, rng.integers(0, n_modes, n_units), -1).astype(np.int32)
        factors = [
            np.concatenate(
                [(np.tril(rng.normal(size=(p, p)), -1) + np.diag(rng.uniform(0.2, 2.0, p))).ravel() for p in sizes]
            )
            for _ in range(n_modes)
        ]
        self.parameters = Parameters(
            rng.dirichlet(np.ones(n_modes)),
            rng.normal(size=(n_modes, total)),
            np.array(factors),
            rng.uniform(0.5, 2.0, (n_modes, n_channels)),
            tuple(sizes),
        )

    @property
    def statistics(self):
        return (
            self.factors, self.factor_offsets, self.projections, self.residual_norms, self.counts, self.known_modes,
        )  # fmt: skip

    def pack(self, level):
        return _shared.pack(statistics_bundle(self.statistics, self.sizes), self.designs, level)


def evaluate(pack, parameters, *, temperature=1.0, responsibilities=None, parts=None, n_threads=1):
    """ρ̂ and the sums, by as many threads as asked."""
    sizes = np.asarray(parameters.sizes, dtype=np.int32)
    rho = np.full((pack.n_units, parameters.n_modes), np.nan) if responsibilities is None else responsibilities
    bounds, claimed = pack.chunks(), np.zeros(1, np.int64)
    sums = np.empty((len(bounds) - 1, _core.n_sums(parameters.n_modes, sizes)))

    def work():
        _shared.expectation_chunks(
            pack, parameters.bundle, temperature, responsibilities is not None, bounds, claimed, rho, sums, parts
        )

    if n_threads == 1:
        work()
    else:
        with ThreadPoolExecutor(n_threads) as pool:
            for done in [pool.submit(work) for _ in range(n_threads)]:
                done.result()
    return rho, sums.sum(axis=0)


def assert_same(fleet, level, *, tolerance=1e-11, temperature=1.0, responsibilities=None):
    """ℓ to 1e-12 of the sum of the units' parts, ρ̂ and the sums to `tolerance` of what they are made of."""
    given_rho = None if responsibilities is None else responsibilities.copy()
    parts = np.full(len(fleet.counts), np.nan)
    rho, sums = evaluate(
        fleet.pack(level), fleet.parameters, temperature=temperature, responsibilities=given_rho, parts=parts
    )
    options = {"inverse_temperature": temperature, "responsibilities": responsibilities}
    twins = (
        _reference.expectation(*fleet.statistics, fleet.parameters, **options),
        _reference_shared.expectation(*fleet.statistics, fleet.parameters, fleet.designs, **options),
    )
    for expected_rho, expected in twins:
        # At temperature 0 every part is log Σ π = 0, but for its rounding.
        assert abs(sums[0] - expected[0]) <= 1e-12 * np.abs(parts).sum() + np.spacing(float(len(parts)))
        np.testing.assert_allclose(rho, expected_rho, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(
            sums, expected, rtol=tolerance, atol=tolerance * max(1.0, np.abs(expected[1:]).max())
        )
    assert abs(parts.sum() - sums[0]) <= 1e-13 * np.abs(parts).sum()


@pytest.mark.slow
@every_level
@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    st.lists(st.integers(1, 10), min_size=1, max_size=5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 60),
    st.integers(0, 2**31),
)  # fmt: skip
def test_sums_agree_with_the_references(level, sizes, n_designs, n_modes, more, seed):
    """Whatever designs are shared, a fit must come out as if every unit had been factorised by itself."""
    assert_same(Fleet(seed, n_designs + more, n_designs, sizes, n_modes), level)


@every_level
@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.5])
def test_tempered_responsibilities(level, temperature):
    """Annealed starts flatten ρ̂ of the units of unknown mode, and do not change ℓ."""
    assert_same(Fleet(1, 60, 3, [3, 2], 3), level, temperature=temperature)


@every_level
def test_given_responsibilities_weight_the_sums(level):
    """init=array: the sums use the responsibilities given, known modes too; ℓ stays that of the mixture."""
    rho = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    rho[:5] = np.eye(3)[[0, 1, 2, 0, 1]]
    assert_same(Fleet(2, 50, 2, [3, 2], 3), level, responsibilities=rho)


@every_level
def test_units_without_any_reading_keep_the_prior(level):
    """Nothing observed is a design too."""
    fleet = Fleet(3, 40, 4, [3, 2], 3, missing=0.8, known=0.0)
    empty = (fleet.counts == 0).all(axis=1)
    assert empty.any() and not empty.all()
    assert_same(fleet, level)
    rho, _ = evaluate(fleet.pack(level), fleet.parameters)
    np.testing.assert_allclose(rho[empty], np.tile(fleet.parameters.weights, (empty.sum(), 1)), rtol=1e-14)


@every_level
def test_one_mode_and_a_mode_of_weight_zero(level):
    """K = 1 is the start of every fit; π_k = 0 gives ρ̂ = 0 exactly, not NaN."""
    assert_same(Fleet(4, 30, 2, [3], 1, known=0.0), level)
    fleet = Fleet(5, 20, 2, [3], 2, known=0.0)
    rho, sums = evaluate(fleet.pack(level), replace(fleet.parameters, weights=np.array([1.0, 0.0])))
    np.testing.assert_array_equal(rho, np.tile([1.0, 0.0], (20, 1)))
    assert np.isfinite(sums).all()


def one_unit(level, R, w, rss, n, mean, factor, noise_variance):
    """E d, A⁻¹, ℓ and (13) of one unit, channel and mode, by the kernel."""
    p = len(w)
    arrays = R.ravel(), np.zeros((1, 1), np.int64), w[None], np.array([[rss]]), np.array([[n]], np.int32)
    pack = _shared.pack(statistics_bundle(arrays, [p]), np.zeros(1, np.int64), level)
    parameters = Parameters(np.ones(1), mean[None], factor.reshape(1, -1), np.array([[noise_variance]]), (p,))
    _, sums = evaluate(pack, parameters)
    d, second = sums[3 : 3 + p], sums[3 + p : 3 + p + p * p].reshape(p, p)
    return d, second - np.outer(d, d), sums[0], sums[3 + p + p * p]


@pytest.mark.slow
@every_level
@settings(max_examples=150, derandomize=True, deadline=None)
@given(st.integers(1, 10), st.floats(-3, 6), st.integers(0, 2**31))
def test_posterior_is_as_accurate_as_its_conditioning_allows(level, p, magnitude, seed):
    """E d and A⁻¹ to 10 ε (1 + ‖B‖²): n from 1 to 10¹², noise far above and far below the coefficients."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 3 * p))
    R, w, rss, _ = _reference.compress(10.0 ** (magnitude / 2) * rng.normal(size=(n, p)), rng.normal(size=n))
    mean, factor = rng.normal(size=p), np.tril(rng.normal(size=(p, p)))
    posterior = _reference.whitened_posterior(R, w, rss, n, mean, factor, 0.8)
    B = R @ factor / np.sqrt(0.8)
    allowed = 10 * EPSILON * (1 + np.linalg.norm(B, 2) ** 2)
    d, covariance, log_density, noise_moment = one_unit(level, R, w, rss, n, mean, factor, 0.8)
    scale = 1 + np.linalg.norm(posterior.mean) ** 2  # A⁻¹ is read off A⁻¹ + E d E d'
    assert np.abs(d - posterior.mean).max() <= allowed * (1 + np.linalg.norm(posterior.mean))
    assert np.abs(covariance - posterior.covariance).max() <= allowed * scale
    assert abs(log_density - posterior.log_density) <= max(1e-12, allowed) * (1 + posterior.quadratic + n)
    assert abs(noise_moment - posterior.noise_moment) <= allowed * (1 + posterior.quadratic)


@every_level
def test_log_odds_after_a_hundred_million_readings(level):
    """Forms that cancel would lose ‖B‖² ε, and the log-odds of two modes nine digits."""
    p, n = 3, 10**8
    R = np.triu(np.random.default_rng(3).normal(size=(p, p)) + 2 * np.eye(p)) * np.sqrt(n)
    truth, means = np.array([0.3, -0.2, 0.1]), (np.zeros(p), np.array([0.1, 0.2, -0.1]))
    inverse = np.linalg.inv(R)
    exact = [(truth - m) @ np.linalg.solve(np.eye(p) + inverse @ inverse.T, truth - m) for m in means]
    found = [one_unit(level, R, R @ truth, 0.0, p, m, np.eye(p), 1.0)[2] for m in means]
    assert found[0] - found[1] == pytest.approx(0.5 * (exact[1] - exact[0]), rel=1e-11)


@every_level
@pytest.mark.parametrize("size", [1e3, 1e5, 1e6])
def test_direction_that_the_readings_hardly_see(level, size):
    """One Cholesky factor of I + BB' would lose ‖B‖² ε here: B is large, but for one direction across its axes."""
    R = np.array([[0.75, size], [0.0, size]])
    factor, e = np.array([[1.0, 0.0], [1.0, 0.5]]), np.array([size + 1.5, size])
    B = [[sum(Fraction(R[i, m]) * Fraction(factor[m, j]) for m in range(2)) for j in range(2)] for i in range(2)]
    H = [[(i == j) + sum(B[i][m] * B[j][m] for m in range(2)) for j in range(2)] for i in range(2)]
    determinant = H[0][0] * H[1][1] - H[0][1] ** 2
    e0, e1 = Fraction(e[0]), Fraction(e[1])
    exact = float((e0 * e0 * H[1][1] - 2 * e0 * e1 * H[0][1] + e1 * e1 * H[0][0]) / determinant)
    log_density = one_unit(level, R, e, 0.0, 2, np.zeros(2), factor, 1.0)[2]
    quadratic = -2 * log_density - 2 * np.log(2 * np.pi) - np.log(float(determinant))
    assert quadratic == pytest.approx(exact, abs=20 * EPSILON * size)


@every_level
def test_same_bits_for_any_number_of_threads(level):
    """A fit must not depend on how many cores it was given."""
    fleet = Fleet(6, 9000, 3, [3, 2], 3)
    pack = fleet.pack(level)
    assert len(pack.chunks()) > 4
    rho, sums = evaluate(pack, fleet.parameters)
    for n_threads in (2, 3, 8):
        again, sums_again = evaluate(pack, fleet.parameters, n_threads=n_threads)
        np.testing.assert_array_equal(again, rho)
        np.testing.assert_array_equal(sums_again, sums)


def test_levels_agree_with_each_other():
    """Another machine may give other bits, not other results."""
    fleet = Fleet(7, 500, 3, [3, 4, 6], 3)
    rho, sums = evaluate(fleet.pack("baseline"), fleet.parameters)
    for level in LEVELS[1:]:
        again, sums_again = evaluate(fleet.pack(level), fleet.parameters)
        np.testing.assert_allclose(again, rho, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(sums_again, sums, rtol=1e-11, atol=1e-10)


@every_level
def test_broken_unit_is_named(level):
    """NaN must not spread into the parameters of a whole fleet: the error says which unit, mode and channel."""
    fleet = Fleet(8, 40, 2, [3, 2, 3], 2, missing=0.0, known=0.0)
    fleet.residual_norms[23, 2] = np.nan
    with pytest.raises(KernelFailure, match="unit at position 23, mode 0, channel at position 2"):
        evaluate(fleet.pack(level), fleet.parameters)
    fleet = Fleet(8, 40, 2, [3, 2, 3], 2, missing=0.0, known=0.0)
    parameters = fleet.parameters
    broken = parameters.noise_variances.copy()
    broken[1, 1] = -1.0
    with pytest.raises(FitError, match="mode 1, channel at position 1"):
        evaluate(fleet.pack(level), replace(parameters, noise_variances=broken))
    broken = parameters.means.copy()
    broken[1, 4] = np.nan
    with pytest.raises(KernelFailure, match="mode 1, channel at position 1"):
        evaluate(fleet.pack(level), replace(parameters, means=broken))
    fleet.known_modes[4] = 1
    with pytest.raises(KernelFailure, match="unit at position 4, mode -1, channel at position -1"):
        evaluate(fleet.pack(level), replace(parameters, weights=np.array([1.0, 0.0])))


def test_wrong_shapes_are_refused():
    """A kernel that reads past an array would crash the interpreter."""
    fleet = Fleet(9, 10, 2, [3, 2], 2)
    pack = fleet.pack("baseline")
    with pytest.raises(ValueError, match=r"parameters have \[2, 3\] coefficients; \[3, 2\] were expected"):
        evaluate(pack, Fleet(9, 10, 2, [2, 3], 2).parameters)
    with pytest.raises(ValueError, match=r"responsibilities has shape \(9, 2\)"):
        evaluate(pack, fleet.parameters, responsibilities=np.empty((9, 2)))
    with pytest.raises(ValueError, match="inverse temperature"):
        evaluate(pack, fleet.parameters, temperature=0.0)
    with pytest.raises(ValueError, match="chunk 0 lies outside"):
        _shared.expectation_chunks(
            pack, fleet.parameters.bundle, 1.0, False, np.array([0, 99]), np.zeros(1, np.int64), np.empty((10, 2)),
            np.empty((1, 51)),
        )  # fmt: skip
    fleet.known_modes[0] = 2
    with pytest.raises(ValueError, match="mode is 2"):
        evaluate(fleet.pack("baseline"), fleet.parameters)
    offsets = fleet.factor_offsets
    fleet.factor_offsets = np.where(fleet.counts > 0, 10**6, -1)
    with pytest.raises(ValueError, match="outside"):
        fleet.pack("baseline")
    fleet.factor_offsets, fleet.designs = offsets, fleet.designs + 1
    with pytest.raises(ValueError, match="has no unit"):
        fleet.pack("baseline")
    fleet.designs = fleet.designs - 2
    with pytest.raises(ValueError, match="negative"):
        fleet.pack("baseline")


def test_pack_is_not_made_or_pickled_by_hand():
    """An empty pack, or one from another process, holds no memory: using it would crash the interpreter."""
    with pytest.raises(TypeError, match="pack"):
        _shared.SharedPack()
    with pytest.raises(TypeError, match="pack them again"):
        pickle.dumps(Fleet(1, 5, 1, [2], 1).pack("baseline"))


# --- which fleets it is chosen for -----------------------------------------------------------------------------------


def balanced(n_units, p=2, n_channels=2, seed=0):
    """A panel of two modes whose units were all read at the same eight times."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n_units, 8, n_channels)) + 4.0 * (np.arange(n_units) % 2)[:, None, None]
    values += rng.normal(size=(n_units, 1, n_channels))
    values += rng.normal(size=(n_units, 1, n_channels)) * np.linspace(-1.0, 1.0, 8)[:, None]
    return np.arange(8.0), values, cem.Polynomial(p - 1)


def compressed(times, values, basis, known_modes=None):
    panel = cem.Panel.from_arrays([times] * len(values), list(values))
    bound = basis.bind(panel.times)
    return SufficientStatistics.from_panel(panel, (bound,) * values.shape[2], known_modes=known_modes)


def test_designs_are_told_apart_by_times_missing_cells_and_counts():
    """Units put under a wrong design would be scored with another unit's observation times."""
    times, values, basis = balanced(40)
    values[5:20, 3] = np.nan  # a reading missing of both channels
    values[20:25, :, 1] = np.nan  # a channel missing
    designs = shared_designs(compressed(times, values, basis), 2)
    groups = [range(5, 20), range(20, 25), [*range(5), *range(25, 40)]]
    assert sorted(sorted(np.flatnonzero(designs == d).tolist()) for d in np.unique(designs)) == sorted(
        map(sorted, map(list, groups))
    )
    statistics = compressed(times, values, basis)
    statistics.counts[0] += 1
    assert len(np.unique(shared_designs(statistics, 2))) == 4


def test_designs_that_are_too_many_are_not_used():
    """Factorising once per design pays where designs are few."""
    times, values, basis = balanced(40)
    statistics = compressed(times, values, basis)
    assert shared_designs(statistics, 41) is None
    np.testing.assert_array_equal(shared_designs(statistics, 40), np.zeros(40))
    rng = np.random.default_rng(0)
    panel = cem.Panel.from_arrays(list(np.sort(rng.uniform(0, 7, (40, 8)), axis=1)), list(values))
    ragged = SufficientStatistics.from_panel(panel, (basis.bind(panel.times),) * 2)
    assert shared_designs(ragged, 2) is None
    assert len(np.unique(shared_designs(ragged, 1))) == 40


def test_balanced_panel_takes_shared_designs_and_fits_the_same():
    """The fast way must be found by itself, named, and lead to the same fit."""
    times, values, basis = balanced(600)
    em = cem.FailureModeEM(2, basis=basis, n_init=1, random_state=0).fit(values, times=times)
    assert em.kernel_ == f"shared:{_lanes.instruction_level()}"
    assert em.fit(values[:100], times=times).kernel_ == f"lanes:{_lanes.instruction_level()}"
    statistics = compressed(times, values, basis)
    start = Parameters(
        np.array([0.5, 0.5]), np.repeat([[-0.5], [0.5]], 4, axis=1), np.tile(np.eye(2).ravel(), (2, 2)),
        np.ones((2, 2)), (2, 2),
    )  # fmt: skip
    constraints = Constraints(np.full(2, 1e-6), np.full(2, 1e-6), "full", statistics.coordinates.transforms)
    runs = []
    for kernel in ("auto", "lapack"):
        expectation = Expectation(statistics, kernel=kernel)
        problem = MixtureProblem(expectation, constraints)
        runs.append(continue_em(start_em(problem, start), problem, n_passes=30, tolerance=0.0))
    assert len(runs[0].log_likelihoods) == len(runs[1].log_likelihoods) > 10
    np.testing.assert_allclose(runs[0].log_likelihoods, runs[1].log_likelihoods, rtol=1e-11)
    np.testing.assert_allclose(runs[0].responsibilities, runs[1].responsibilities, atol=1e-9)


def test_large_basis_takes_shared_designs_earlier():
    """Beyond the lanes LAPACK unit by unit is the alternative, and a hundred times slower."""
    times, values, _ = balanced(64)
    statistics = compressed(times, values, cem.BSpline(9))
    assert Expectation(statistics).kernel.startswith("shared:")
    assert Expectation(statistics, kernel="lapack").kernel == "lapack"


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["shared", "lanes", "lapack"])
def test_e_step_has_the_same_bits_for_any_number_of_threads(kernel):
    """1, 2, 3 and 8 threads through the facade, in every kernel, with enough units that all of them have work."""
    rng = np.random.default_rng(1)
    n_units = 30_000
    times, values, basis = balanced(n_units)
    if kernel == "lanes":
        panel = cem.Panel.from_arrays(list(np.sort(rng.uniform(0, 7, (n_units, 8)), axis=1)), list(values))
        statistics = SufficientStatistics.from_panel(panel, (basis.bind(panel.times),) * 2)
    else:
        statistics = compressed(times, values, basis)
    parameters = Parameters(
        np.array([0.5, 0.5]), rng.normal(size=(2, 4)), np.tile(np.eye(2).ravel(), (2, 2)), np.ones((2, 2)), (2, 2)
    )
    option = "lapack" if kernel == "lapack" else "auto"
    results = []
    for n_jobs in (1, 2, 3, 8):
        expectation = Expectation(statistics, kernel=option, n_jobs=n_jobs)
        assert expectation.kernel.startswith(kernel)
        assert expectation.n_chunks(2) > 1
        expected, rho = expectation(parameters)
        results.append((expected.sums, rho))
    for sums, rho in results[1:]:
        np.testing.assert_array_equal(sums, results[0][0])
        np.testing.assert_array_equal(rho, results[0][1])


def test_densities_of_modes_are_those_of_the_general_way():
    """Laws of lifetimes weigh a unit by its density under each mode, one mode after the other."""
    times, values, basis = balanced(600)
    statistics = compressed(times, values, basis)
    rng = np.random.default_rng(2)
    parameters = Parameters(
        np.array([0.7, 0.3]), rng.normal(size=(2, 4)), np.tile(np.eye(2).ravel(), (2, 2)), np.ones((2, 2)), (2, 2)
    )
    shared, lapack = (Expectation(statistics, kernel=kernel) for kernel in ("auto", "lapack"))
    assert shared.kernel.startswith("shared:") and lapack.kernel == "lapack"
    expected = lapack.log_densities(parameters)
    assert expected.shape == (600, 2)
    np.testing.assert_allclose(shared.log_densities(parameters), expected, rtol=1e-11, atol=1e-10)
