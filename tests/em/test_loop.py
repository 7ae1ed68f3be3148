"""The EM loop: ℓ never falls, whatever the fleet, the structure, the floors or the acceleration."""

from __future__ import annotations

import numpy as np
import pytest
from problems import random_parameters, random_problem

from cem.basis.families import Polynomial
from cem.em.constraints import COVARIANCE_STRUCTURES, Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.kernels import _em, _maximisation
from cem.em.loop import continue_em, remaining_gain, run_of_passes, start_em
from cem.em.maximisation import maximisation, over_relaxed
from cem.em.mixture_problem import MixtureProblem
from cem.errors import FitError, OptionError
from cem.panel.panel import Panel
from cem.search.fresh import one_mode_run, parameters_from_responsibilities
from cem.statistics.sufficient import SufficientStatistics

N_PROBLEMS = 2100
N_PASSES = 8


def fleet(seed, n_units=40, n_channels=3, **options):
    """A random problem in the coordinates that a fit would learn, and constraints as a fit would set them."""
    problem = random_problem(np.random.default_rng(seed), 2, (3,) * n_channels, n_units=n_units, **options)
    expectation = Expectation(SufficientStatistics.from_panel(problem.panel, problem.bases))
    return expectation, constraints_of(expectation, "full")


def overlapping_fleet(covariance="full", distance=2.5):
    """Two modes that overlap, so that EM is slow, in units long enough for the optimum to lie inside the floors."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 1, 2)) + rng.normal(size=(80, 1, 2)) * np.linspace(-1, 1, 10)[:, None]
    values += 0.3 * rng.normal(size=(80, 10, 2)) + distance * (np.arange(80) % 2)[:, None, None]
    values[rng.random(values.shape) < 0.2] = np.nan
    panel = Panel.from_arrays(None, values)
    expectation = Expectation(SufficientStatistics.from_panel(panel, (Polynomial(1).bind(panel.times),) * 2))
    return expectation, constraints_of(expectation, covariance)


def constraints_of(expectation, covariance, fraction=0.1, covariance_floor=1e-6):
    C, transforms = expectation.statistics.n_channels, expectation.statistics.coordinates.transforms
    loose = Constraints(np.full(C, 1e-12), np.full(C, covariance_floor), covariance, transforms)
    noise = one_mode_run(expectation, loose, 5).parameters.noise_variances[0]
    return Constraints(np.maximum(1e-12, fraction * noise), np.full(C, covariance_floor), covariance, transforms)


def start(expectation, constraints, n_modes, seed=0):
    rng = np.random.default_rng(seed)
    rho = rng.dirichlet(np.ones(n_modes), size=expectation.statistics.n_units)
    one_mode = one_mode_run(expectation, constraints).parameters
    return parameters_from_responsibilities(expectation, rho, one_mode, constraints)


@pytest.mark.slow
def test_the_likelihood_never_falls():
    """2,100 random fleets, with and without acceleration, all three structures, floors that bind in some of them.

    A fall means that E step, M step and floors do not belong to one likelihood: a fit would stop at the wrong place.
    """
    bound = {"noise": 0, "covariance": 0, "kept": 0, "rare": 0, "short": 0}
    for number in range(N_PROBLEMS):
        rng = np.random.default_rng(number)
        K, C = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        sizes = tuple(rng.integers(1, 7, size=C).tolist())
        problem = random_problem(rng, K, sizes, n_units=int(rng.integers(4, 13)), quantised=bool(number % 3))
        statistics = SufficientStatistics.from_panel(problem.panel, problem.bases)
        expectation = Expectation(statistics)
        structure, accelerate = COVARIANCE_STRUCTURES[number % 3], number // 3 % 3 == 0
        transforms = statistics.coordinates.transforms
        noise_floors = 10.0 ** rng.uniform(-10.0, -0.5, size=C)
        covariance_floors = 10.0 ** rng.uniform(-8.0, -1.0, size=C)
        constraints = Constraints(noise_floors, covariance_floors, structure, transforms)
        if number % 2:
            parameters = feasible(random_parameters(rng, K, sizes, separation=1.0), constraints)
        else:
            one_mode = one_mode_run(expectation, constraints, 3).parameters
            rho = rng.dirichlet(np.ones(K), size=statistics.n_units)
            parameters = parameters_from_responsibilities(expectation, rho, one_mode, constraints)
        problem = MixtureProblem(expectation, constraints)
        run = continue_em(
            start_em(problem, parameters),
            problem,
            n_passes=N_PASSES + 6 * accelerate,
            tolerance=0.0,
            accelerate=accelerate,
        )
        history = np.array(run.log_likelihoods)
        assert np.isfinite(history).all()
        allowed = 1e-12 * (statistics.n_observations + np.abs(history[1:]))
        falls = history[:-1] - history[1:] - allowed
        assert (falls <= 0).all(), (
            f"problem {number} ({structure}, accelerate={accelerate}): ℓ fell by "
            f"{(history[:-1] - history[1:]).max():.3g} in pass {falls.argmax() + 1} of {history}"
        )
        assert (run.parameters.noise_variances >= noise_floors).all()
        bound["noise"] += bool((run.status & _maximisation.NOISE_FLOOR).any())
        bound["covariance"] += bool((run.status & _maximisation.COVARIANCE_FLOOR).any())
        bound["kept"] += bool((run.status & _maximisation.KEPT).any())
        bound["rare"] += K > 1
        bound["short"] += bool((statistics.counts < np.array(sizes)).any())
    assert min(bound.values()) > N_PROBLEMS // 20, bound


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("structure", COVARIANCE_STRUCTURES)
def test_a_run_converges_to_a_stationary_point(structure, accelerate):
    """Converged must mean that the next pass has nothing to gain and moves nothing."""
    expectation, constraints = overlapping_fleet(structure)
    problem = MixtureProblem(expectation, constraints)
    run = continue_em(
        start_em(problem, start(expectation, constraints, 2)),
        problem,
        n_passes=10_000,
        tolerance=1e-8 * expectation.statistics.n_observations,
        accelerate=accelerate,
    )
    assert run.converged and run.finished and run.n_passes < 10_000
    again, _ = maximisation(run.expected, run.parameters, constraints)
    gain = Expectation(expectation.statistics)(again)[0].log_likelihood - run.log_likelihood
    assert -1e-9 <= gain < 1e-5
    assert np.abs(again.weights - run.parameters.weights).max() < 1e-4


def test_the_log_likelihood_belongs_to_the_parameters_returned():
    """Not to those of the pass before: model comparison and warm starts rest on it."""
    expectation, constraints = fleet(1)
    problem = MixtureProblem(expectation, constraints)
    run = continue_em(start_em(problem, start(expectation, constraints, 2)), problem, n_passes=7, tolerance=0.0)
    expected, rho = expectation(run.parameters)
    assert expected.log_likelihood == run.log_likelihood == run.log_likelihoods[-1]
    assert np.array_equal(rho, run.responsibilities) and np.array_equal(expected.sums, run.expected.sums)
    assert run.n_passes == 7 and not run.converged


def test_acceleration_ends_at_the_same_optimum_in_fewer_passes():
    expectation, constraints = overlapping_fleet(distance=1.6)
    parameters = start(expectation, constraints, 2, seed=3)
    problem = MixtureProblem(expectation, constraints)
    runs = [
        continue_em(
            start_em(problem, parameters),
            problem,
            n_passes=10_000,
            tolerance=1e-8 * expectation.statistics.n_observations,
            accelerate=accelerate,
        )
        for accelerate in (False, True)
    ]
    assert all(run.converged for run in runs)
    assert abs(runs[0].log_likelihood - runs[1].log_likelihood) < 1e-4
    assert runs[1].n_passes < runs[0].n_passes


def test_a_run_in_several_calls_remembers_where_it_was():
    """Short rounds of many starts must not lose what the extrapolation has learnt, nor change the record they got."""
    expectation, constraints = overlapping_fleet(distance=1.6)
    options = {"tolerance": 1e-8 * expectation.statistics.n_observations, "accelerate": True}
    problem = MixtureProblem(expectation, constraints)
    first = start_em(problem, start(expectation, constraints, 2, seed=3))
    whole = continue_em(first, problem, n_passes=2000, **options)
    run, kept = first, None
    while not run.converged:
        run = continue_em(run, problem, n_passes=15, **options)
        if run.n_passes > 30 and kept is None:
            kept = run
    assert whole.converged and abs(run.log_likelihood - whole.log_likelihood) < 1e-4
    assert run.n_passes < 1.5 * whole.n_passes
    again = [continue_em(kept, problem, n_passes=15, **options) for _ in range(2)]
    assert again[0].log_likelihoods == again[1].log_likelihoods


def test_sums_of_parts_are_the_sums_of_the_whole():
    """Additivity is what threads, chunks of a file and machines combine by."""
    expectation, constraints = fleet(3, n_units=31)
    parameters = start(expectation, constraints, 3)
    whole, rho = expectation(parameters)
    cuts = ([0, 10], [10, 11], [11, 31])
    parts = [Expectation(expectation.statistics.subset(np.arange(*cut)))(parameters) for cut in cuts]
    total = parts[0][0] + parts[1][0] + parts[2][0]
    assert total.n_units == 31
    np.testing.assert_allclose(total.sums, whole.sums, rtol=1e-12, atol=1e-12 * np.abs(whole.sums).max())
    assert np.array_equal(np.concatenate([part[1] for part in parts]), rho)
    one, _ = maximisation(whole, parameters, constraints)
    other, _ = maximisation(total, parameters, constraints)
    np.testing.assert_allclose(one.means, other.means, atol=1e-11)
    with pytest.raises(ValueError, match="different models"):
        total + expectation(start(expectation, constraints, 2))[0]


def test_any_number_of_threads_gives_the_same_bits():
    """A fit that depends on the machine's cores cannot be reproduced."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(40000, 4, 2)) + 3.0 * rng.integers(0, 2, size=(40000, 1, 1))
    values[rng.random(values.shape) < 0.2] = np.nan
    values[:, 0] = rng.normal(size=(40000, 2))
    panel = Panel.from_arrays(None, values)
    statistics = SufficientStatistics.from_panel(panel, (Polynomial(1).bind(panel.times),) * 2)
    single = Expectation(statistics)
    constraints = constraints_of(single, "full")
    parameters = start(single, constraints, 3)
    assert single.n_chunks(3) >= 4
    wanted, rho = single(parameters)
    for n_jobs in (2, 3, 8):
        found, found_rho = Expectation(statistics, n_jobs=n_jobs)(parameters)
        assert np.array_equal(found.sums, wanted.sums), n_jobs
        assert np.array_equal(found_rho, rho), n_jobs


def test_units_of_known_mode_stay_there_and_count_as_theirs():
    """A labelled unit contributes log π_k + log P(x | k) of its mode only (model.md §3)."""
    expectation, constraints = fleet(5, n_units=30)
    known = np.full(30, -1, dtype=np.int32)
    known[:6] = [0, 1, 0, 1, 0, 1]
    labelled = Expectation(expectation.statistics.with_known_modes(known))
    parameters = start(labelled, constraints, 2)
    problem = MixtureProblem(labelled, constraints)
    run = continue_em(start_em(problem, parameters), problem, n_passes=30, tolerance=0.0)
    assert np.array_equal(run.responsibilities[:6], np.eye(2)[known[:6]])
    assert (np.diff(run.log_likelihoods) > -1e-9).all()
    by_hand = 0.0
    for l in range(30):
        one = expectation.statistics.subset(np.array([l]))
        joint = []
        for k in range(2):  # log π_k P(x | k), as the ℓ of a unit held at mode k
            held = one.with_known_modes(np.array([k], dtype=np.int32))
            joint.append(Expectation(held)(run.parameters)[0].log_likelihood)
        by_hand += joint[known[l]] if known[l] >= 0 else np.logaddexp(*joint)
    assert abs(by_hand - run.log_likelihood) < 1e-10 * abs(by_hand)


def test_tempering_flattens_and_keeps_the_order():
    expectation, constraints = fleet(6)
    parameters = start(expectation, constraints, 3)
    plain = expectation(parameters)[1]
    cool, hot = (expectation(parameters, inverse_temperature=beta)[1] for beta in (0.5, 0.01))
    assert np.allclose(cool.sum(axis=1), 1) and np.allclose(hot.sum(axis=1), 1)
    assert hot.max() <= cool.max() <= plain.max()
    powered = plain**0.5
    np.testing.assert_allclose(cool, powered / powered.sum(axis=1, keepdims=True), atol=1e-9)


def test_a_mode_that_loses_its_units_ends_the_run():
    """Going on would divide by nothing."""
    expectation, constraints = fleet(7)
    parameters = start(expectation, constraints, 2)
    rho = np.zeros((40, 2))
    rho[:, 0] = 1.0
    rho[0] = [0.4, 0.6]
    expected, _ = expectation(parameters, responsibilities=rho)
    emptied, status = maximisation(expected, parameters, constraints)
    assert (status[1] == _maximisation.KEPT).all()
    far = emptied.means.copy()
    far[1] += 50.0
    lonely = type(emptied)(np.array([1 - 1e-9, 1e-9]), far, emptied.factors, emptied.noise_variances, emptied.sizes)
    problem = MixtureProblem(expectation, constraints)
    run = continue_em(start_em(problem, lonely), problem, n_passes=50, tolerance=0.0)
    assert run.lost_mode == 1 and run.finished and not run.converged


@pytest.mark.parametrize(
    ("history", "gain"),
    [
        ([0.0, 1.0], np.inf),
        ([0.0, 1.0, 2.0], np.inf),  # gains that do not shrink: no end in sight
        ([0.0, 1.0, 1.5], 0.5),  # 1/2, 1/4, … remain: the sum is what is left
        ([0.0, 1.0, 1.0], 0.0),
        ([0.0, 0.0, 1.0], np.inf),
        ([5.0, 5.9, 5.99], 0.01),
    ],
)
def test_the_remaining_gain_is_aitkens(history, gain):
    """A stopping rule on the last gain would stop slow runs early; this one sums the geometric tail."""
    assert remaining_gain(history) == pytest.approx(gain)


def test_an_unknown_kernel_is_refused():
    expectation, _ = fleet(8)
    with pytest.raises(OptionError, match="kernel='fast'"):
        Expectation(expectation.statistics, kernel="fast")


@pytest.mark.parametrize("kernel", ["auto", "lapack"])
def test_every_kernel_gives_the_same_sums(kernel):
    """kernel= is a matter of speed; the numbers agree to rounding."""
    expectation, constraints = fleet(9, n_units=50)
    parameters = start(expectation, constraints, 3)
    wanted, rho = Expectation(expectation.statistics, kernel="lapack")(parameters)
    found, found_rho = Expectation(expectation.statistics, kernel=kernel)(parameters)
    np.testing.assert_allclose(found.sums, wanted.sums, rtol=1e-10, atol=1e-10 * np.abs(wanted.sums).max())
    np.testing.assert_allclose(found_rho, rho, atol=1e-10)


# ------------------------------------------------------------------------------------------- passes in one call


@pytest.mark.parametrize("relaxation", [1.0, 1.6])
@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
@pytest.mark.parametrize("seed", range(8))
def test_passes_in_one_call_are_passes_one_by_one(covariance, seed, relaxation):
    """To the last bit but the logarithm of π: small fleets take this way, and results must not depend on the size."""
    expectation, _ = fleet(seed, n_units=12 + 5 * seed)
    constraints = constraints_of(expectation, covariance)
    if seed % 3 == 1:
        known = np.where(np.arange(expectation.statistics.n_units) % 4 == 0, 1, -1).astype(np.int32)
        expectation = Expectation(expectation.statistics.with_known_modes(known))
    parameters = start(expectation, constraints, 3, seed)
    expected, _ = expectation(parameters)
    before = expected.sums.copy()
    together = expectation.passes(parameters, expected, constraints, 9, relaxation)
    np.testing.assert_array_equal(expected.sums, before)
    n_passes = len(together.log_likelihoods)
    alone = MixtureProblem(OneByOne(expectation), constraints)
    alone = alone.passes(alone.expect(parameters), n_passes, relaxation)
    np.testing.assert_allclose(together.log_likelihoods, alone.log_likelihoods, rtol=1e-11)
    assert together.objectives == together.log_likelihoods and alone.objectives == alone.log_likelihoods
    last, other_last = together.evaluation, alone.evaluation
    np.testing.assert_allclose(last.responsibilities, other_last.responsibilities, atol=1e-8)
    np.testing.assert_allclose(last.sums.sums, other_last.sums.sums, rtol=1e-6, atol=1e-6)
    for name in ("weights", "means", "factors", "noise_variances"):
        found, other = (getattr(evaluation.point, name) for evaluation in (last, other_last))
        np.testing.assert_allclose(found, other, rtol=1e-6, atol=1e-8)
    np.testing.assert_array_equal(together.status, alone.status)
    assert together.n_evaluations == alone.n_evaluations >= n_passes
    heights = np.array([before[0], *together.log_likelihoods])
    assert (np.diff(heights) >= -1e-12 * np.abs(heights[1:])).all()


@pytest.mark.parametrize("accelerate", [False, True])
def test_a_run_whose_first_passes_were_one_call_is_the_same_run(accelerate):
    """A search begins every start this way; its passes, and how it goes on, must not depend on it."""
    expectation, _ = fleet(3)
    problem = MixtureProblem(expectation, constraints_of(expectation, "full"))
    parameters = start(expectation, problem.constraints, 3, 3)
    options = {"problem": problem, "tolerance": 1e-9, "accelerate": accelerate, "relaxation": 1.6}
    usual = continue_em(start_em(problem, parameters), n_passes=7, plain_first=12, **options)
    first = problem.first_passes(parameters, 7, 1.6 if accelerate else 1.0)
    run = run_of_passes(first, problem, accelerate=accelerate, plain_first=12)
    if not accelerate:  # only the first passes of a run that will be accelerated are longer
        usual = continue_em(start_em(problem, parameters), n_passes=7, **options | {"relaxation": 1.0})
    np.testing.assert_allclose(run.log_likelihoods, usual.log_likelihoods, rtol=1e-13)
    assert run.n_passes == 7 and run.lost_mode is None and len(run.objectives) == 8
    further, other = (continue_em(one, n_passes=40, **options) for one in (run, usual))
    assert further.n_passes == other.n_passes
    assert further.log_likelihood == pytest.approx(other.log_likelihood, abs=1e-5)


class OneByOne:
    """An E step that leaves passes to the caller."""

    membership = None

    def __init__(self, expectation):
        self._expectation = expectation

    def __call__(self, parameters):
        return self._expectation(parameters)

    def passes(self, *arguments):
        return None


@pytest.mark.parametrize("covariance", COVARIANCE_STRUCTURES)
@pytest.mark.parametrize("seed", range(20))
def test_over_relaxed_parameters_go_further_and_satisfy_the_constraints(covariance, seed):
    """Below a floor ℓ would seem higher than it may be; in another structure the fit would not be what was asked."""
    expectation, _ = fleet(seed)
    constraints = constraints_of(expectation, covariance, fraction=0.8, covariance_floor=10.0 ** -(1 + seed % 5))
    before = start(expectation, constraints, 3, seed)
    found, _ = maximisation(expectation(before)[0], before, constraints)
    further = over_relaxed(before, found, constraints, 1.6)
    np.testing.assert_allclose(further.means, before.means + 1.6 * (found.means - before.means), rtol=1e-12, atol=1e-12)
    weights = before.weights * (found.weights / before.weights) ** 1.6
    np.testing.assert_allclose(further.weights, weights / weights.sum(), rtol=1e-12)
    noise = before.noise_variances * (found.noise_variances / before.noise_variances) ** 1.6
    np.testing.assert_allclose(further.noise_variances, np.maximum(noise, constraints.noise_floors), rtol=1e-12)
    moved = feasible(further, constraints)
    np.testing.assert_allclose(moved.factors, further.factors, atol=1e-7)
    n_further = 0
    for k in range(3):
        for c in range(3):
            whole = before.factor(k, c) + 1.6 * (found.factor(k, c) - before.factor(k, c))
            diagonals = before.factor(k, c).diagonal(), found.factor(k, c).diagonal()
            np.fill_diagonal(whole, diagonals[0] * (diagonals[1] / diagonals[0]) ** 1.6)
            taken = np.allclose(further.factor(k, c), whole, rtol=1e-12, atol=1e-15)
            assert taken or np.array_equal(further.factor(k, c), found.factor(k, c))
            n_further += taken
    assert covariance != "full" or n_further > 0


def test_an_over_relaxed_step_that_lowers_the_likelihood_is_not_taken():
    """Five times as far as the M step is too far: passes must then be plain ones, and ℓ not fall."""
    expectation, constraints = overlapping_fleet()
    parameters = start(expectation, constraints, 2)
    expected, _ = expectation(parameters)
    passes = expectation.passes(parameters, expected, constraints, 30, 5.0)
    assert passes.n_evaluations > 30
    assert (np.diff([expected.log_likelihood, *passes.log_likelihoods]) >= -1e-10).all()


def test_passes_in_one_call_end_where_a_mode_loses_its_units():
    """Otherwise the M step would go on with a mode of no units, and the run not say that it lost one."""
    expectation, constraints = fleet(3, n_units=30)
    parameters = start(expectation, constraints, 2)
    means = parameters.means + 50.0 * np.arange(2)[:, None]  # the second mode where no unit is
    far = type(parameters)(parameters.weights, means, parameters.factors, parameters.noise_variances, parameters.sizes)
    expected, _ = expectation(far)
    lost = expectation.passes(far, expected, constraints, 50)
    assert len(lost.log_likelihoods) < 50 and lost.evaluation.sums.mode_counts.min() < 1.0
    problem = MixtureProblem(expectation, constraints)
    run = continue_em(start_em(problem, far), problem, n_passes=50, tolerance=0.0)
    assert run.lost_mode == 1


def test_passes_in_one_call_fail_as_single_ones_do():
    """A crash or a NaN would come of a kernel's failure that nobody asks about."""
    expectation, constraints = fleet(5, n_units=20)
    parameters = start(expectation, constraints, 2)
    expected, _ = expectation(parameters)
    for wrong in (np.nan, -1e9):
        sums = expected.sums.copy()
        C, P = 3, 9
        sums[1 + 2 + 2 * C + 2 * P :][: 2 * 27] = wrong
        with pytest.raises(FitError, match="scatter of mode 0, channel at position 0, is not positive definite"):
            expectation.passes(parameters, type(expected)(sums, 2, parameters.sizes, 20), constraints, 3)


def test_large_fleets_and_other_kernels_take_single_passes():
    """Their threads share the chunks of a pass, which one call would not."""
    expectation, constraints = fleet(1, n_units=3000, n_channels=1)
    parameters = start(expectation, constraints, 3)
    expected, _ = expectation(parameters)
    assert expectation.passes(parameters, expected, constraints, 2) is None
    small, constraints = fleet(1)
    parameters = start(small, constraints, 3)
    lapack = Expectation(small.statistics, kernel="lapack")
    assert lapack.passes(parameters, lapack(parameters)[0], constraints, 2) is None
    runs = [
        continue_em(start_em(way, parameters), way, n_passes=60, tolerance=1e-8, accelerate=True)
        for way in (MixtureProblem(small, constraints), MixtureProblem(lapack, constraints))
    ]
    np.testing.assert_allclose(runs[0].log_likelihoods[:5], runs[1].log_likelihoods[:5], rtol=1e-10)
    assert runs[0].log_likelihood == pytest.approx(runs[1].log_likelihood, abs=1e-6)


def test_wrong_shapes_are_refused():
    """The kernel does not check its input."""
    expectation, constraints = fleet(1)
    parameters = start(expectation, constraints, 2)
    expected, _ = expectation(parameters)
    sums = type(expected)(expected.sums[:-1].copy(), 2, parameters.sizes, 40)
    with pytest.raises(ValueError, match=r"passes: sums has shape"):
        expectation.passes(parameters, sums, constraints, 2)
    with pytest.raises(ValueError, match="passes: there are no passes"):
        expectation.passes(parameters, expected, constraints, 0)
    arrays = [parameters.weights, parameters.means, parameters.factors, parameters.noise_variances]
    floors = [constraints.noise_floors, constraints.covariance_floors]
    for i in range(4):
        wrong = [np.empty_like(array[:1] if i == j else array) for j, array in enumerate(arrays)]
        with pytest.raises(ValueError, match=r"over_relaxed: \w+_out has shape \(1"):
            _em.over_relaxed(parameters.bundle, parameters.bundle, 0, 1.6, *floors, *wrong)
    fewer = parameters.ordered([0])
    with pytest.raises(ValueError, match="there are 2 modes before the M step and 1 after it"):
        _em.over_relaxed(parameters.bundle, fewer.bundle, 0, 1.6, *floors, *(np.empty_like(array) for array in arrays))


@pytest.mark.parametrize("plain_first", [3, 20, 1000])
def test_plain_passes_before_the_first_step(plain_first):
    """Short runs ask for more of them; the optimum must be the same, and a run in several calls the run in one."""
    expectation, constraints = overlapping_fleet()
    problem = MixtureProblem(expectation, constraints)
    first = start_em(problem, start(expectation, constraints, 2))
    options = {"tolerance": 1e-8, "accelerate": True, "plain_first": plain_first}
    whole = continue_em(first, problem, n_passes=3000, **options)
    usual = continue_em(first, problem, n_passes=3000, tolerance=1e-8, accelerate=True)
    assert whole.converged and whole.log_likelihood == pytest.approx(usual.log_likelihood, abs=1e-5)
    run = first
    while not run.finished:
        run = continue_em(run, problem, n_passes=7, **options)
    assert run.log_likelihood == pytest.approx(whole.log_likelihood, abs=1e-7)
