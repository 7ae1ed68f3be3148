"""Linked channels, model.md (16), (17): kernels against their twin and the dense covariance of all channels, EM, and
what a fitted model does with it.

Were the links wrong, intervals of remaining life would be wrong in width, and a forecast of a channel that is not
reported would lean on channels that say nothing of it.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference_linked as _reference_linked
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import problems, random_problem

import cem
from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.feasibility import feasible
from cem.em.linking import linked_run, linked_start, rotated
from cem.em.loop import continue_em, start_em
from cem.em.maximisation import maximisation
from cem.em.mixture_problem import MixtureProblem
from cem.em.sums import ExpectedStatistics
from cem.errors import OptionError
from cem.mixture.linked_prediction import linked_log_densities, linked_posteriors
from cem.mixture.parameters import Parameters

PARTS = (
    "mode_counts", "channel_counts", "first_moments", "second_moments", "noise_moments", "observation_counts",
    "cross_moments", "factor_sums", "factor_moments",
)  # fmt: skip
GENTLE = {"log_condition": (0.0, 2.0), "log_noise": (-1.0, 0.0)}


def linked(parameters: Parameters, rank: int, seed: int = 0, scale: float = 0.8) -> Parameters:
    """The same with random loadings."""
    rng = np.random.default_rng(seed)
    loadings = rng.normal(scale=scale, size=(*parameters.means.shape, rank))
    return Parameters(
        parameters.weights, parameters.means, parameters.factors, parameters.noise_variances, parameters.sizes, loadings
    )


def constraints_for(problem, noise=1e-8, floor=1e-8, penalty=1.0):
    C = len(problem.sizes)
    identity = np.concatenate([np.eye(p).ravel() for p in problem.sizes])
    penalties = penalty * (1.0 + np.arange(problem.parameters.n_modes))  # one of its own for each mode
    return Constraints(np.full(C, noise), np.full(C, floor), "full", identity, penalties)


# ------------------------------------------------------------------------------------------------------------ E step


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=40)
@given(problem=problems(n_units=8), rank=st.integers(1, 5))
def test_expectation_is_its_twin(problem, rank):
    """ℓ and every sum, with missing channels, n < p, and noise a thousandth of the signal."""
    parameters = linked(problem.parameters, rank)
    expected, rho = Expectation(problem.statistics)(parameters)
    rho_twin, twin = _reference_linked.expectation(problem.statistics, parameters)
    n_obs = problem.statistics.n_observations
    # B is as large as 2e4 here: A⁻¹ and what is made of it carry ε ‖B‖², in the twin as in the kernel.
    assert abs(expected.log_likelihood - twin.log_likelihood) <= 1e-7 * max(abs(twin.log_likelihood), n_obs)
    np.testing.assert_allclose(rho, rho_twin, atol=1e-6)
    for name in PARTS:
        found, wanted = getattr(expected, name), getattr(twin, name)
        assert np.abs(found - wanted).max() <= 1e-5 * max(1.0, np.abs(wanted).max()), name


@settings(derandomize=True, deadline=None, max_examples=40)
@given(problem=problems(n_units=6, **GENTLE), rank=st.integers(1, 4))
def test_gentle_problems_agree_to_rounding(problem, rank):
    """The tolerance above would hide a wrong term of small size."""
    parameters = linked(problem.parameters, rank)
    expected, _ = Expectation(problem.statistics)(parameters)
    _, twin = _reference_linked.expectation(problem.statistics, parameters)
    scale = max(abs(twin.log_likelihood), problem.statistics.n_observations)
    assert abs(expected.log_likelihood - twin.log_likelihood) <= 1e-11 * scale
    for name in PARTS:
        found, wanted = getattr(expected, name), getattr(twin, name)
        assert np.abs(found - wanted).max() <= 1e-9 * max(1.0, np.abs(wanted).max()), name


@settings(derandomize=True, deadline=None, max_examples=30)
@given(problem=problems(n_units=6, **GENTLE), rank=st.integers(1, 4))
def test_log_density_and_posterior_are_those_of_the_joint_covariance(problem, rank):
    """All readings of all channels in one dense normal law, (16) written out; missing channels have a posterior too."""
    parameters = linked(problem.parameters, rank)
    densities, misfits = linked_log_densities(problem.statistics, parameters)
    means, roots = linked_posteriors(problem.statistics, parameters)
    layout = parameters.layout
    for l in range(problem.panel.n_units):
        x = np.concatenate(problem.readings[l])
        for k in range(parameters.n_modes):
            mean, V, cross, prior = _reference_linked.dense_law(problem.designs[l], parameters, k)
            solved = np.linalg.solve(V, x - mean)
            quadratic = (x - mean) @ solved
            density = -0.5 * (len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + quadratic)
            assert densities[l, k] == pytest.approx(density, rel=1e-8, abs=1e-7)
            assert misfits[l, k] == pytest.approx(quadratic, rel=1e-7, abs=1e-7)
            T = parameters.means[k] + cross @ solved
            np.testing.assert_allclose(means[l, k], T, rtol=1e-7, atol=1e-7 * max(1.0, np.abs(T).max()))
            covariance = prior - cross @ np.linalg.solve(V, cross.T)
            for c in range(len(layout.sizes)):
                rows = slice(*layout.mean_offsets[c : c + 2])
                root = layout.matrix(roots[l, k], c)
                own = covariance[rows, rows]
                np.testing.assert_allclose(root @ root.T, own, atol=1e-7 * max(1.0, np.abs(prior).max()))


def test_no_loadings_are_the_plain_model():
    """(17) at Γ = 0 must be (11): the two kernels are written apart."""
    problem = random_problem(np.random.default_rng(3), 3, (3, 1, 4))
    plain, _ = Expectation(problem.statistics, kernel="lapack")(problem.parameters)
    none, _ = Expectation(problem.statistics)(linked(problem.parameters, 2, scale=0.0))
    assert none.log_likelihood == pytest.approx(plain.log_likelihood, rel=1e-12)
    for name in PARTS[:6]:
        np.testing.assert_allclose(getattr(none, name), getattr(plain, name), rtol=1e-7, atol=1e-9)


def test_sums_add_up_over_any_split_and_number_of_threads():
    problem = random_problem(np.random.default_rng(5), 2, (3, 2), n_units=300)
    parameters = linked(problem.parameters, 2)
    whole, rho = Expectation(problem.statistics, n_jobs=1)(parameters)
    threads, rho_threads = Expectation(problem.statistics, n_jobs=3)(parameters)
    assert np.array_equal(whole.sums, threads.sums) and np.array_equal(rho, rho_threads)
    parts = [Expectation(problem.statistics.subset(np.arange(*ends)))(parameters)[0] for ends in ((0, 100), (100, 300))]
    np.testing.assert_allclose((parts[0] + parts[1]).sums, whole.sums, rtol=1e-10, atol=1e-9)
    with pytest.raises(ValueError, match="do not add up"):
        whole + ExpectedStatistics(whole.sums, 2, (3, 2), 300)


def test_a_unit_of_known_mode_counts_in_that_mode_alone():
    problem = random_problem(np.random.default_rng(6), 2, (2, 3), **GENTLE)
    statistics = problem.statistics.with_known_modes(np.array([1, 0] + [-1] * 10, dtype=np.int32))
    parameters = linked(problem.parameters, 1)
    expected, rho = Expectation(statistics)(parameters)
    rho_twin, twin = _reference_linked.expectation(statistics, parameters)
    assert rho[0].tolist() == [0.0, 1.0] and rho[1].tolist() == [1.0, 0.0]
    assert expected.log_likelihood == pytest.approx(twin.log_likelihood, rel=1e-11)
    np.testing.assert_allclose(rho, rho_twin, atol=1e-10)


def test_what_else_is_known_of_a_unit_s_mode_counts_beside_its_readings():
    """Lives do, in EM with lives (19): a row of ln π for each unit, −inf where its label rules a mode out."""
    rng = np.random.default_rng(7)
    problem = random_problem(rng, 3, (2, 3), n_units=30, **GENTLE)
    parameters = linked(problem.parameters, 2)
    log_weights = rng.normal(scale=3.0, size=(30, 3))
    log_weights[0, :2] = log_weights[1, 2] = -np.inf
    expectation = Expectation(problem.statistics)
    expected, rho = expectation(parameters, log_weights=log_weights)
    joint = linked_log_densities(problem.statistics, parameters)[0] + log_weights
    logs = np.logaddexp.reduce(joint, axis=1)
    np.testing.assert_allclose(rho, np.exp(joint - logs[:, None]), atol=1e-10)
    assert expected.log_likelihood == pytest.approx(logs.sum(), rel=1e-11)
    given, _ = expectation(parameters, responsibilities=rho)
    np.testing.assert_allclose(expected.sums[1:], given.sums[1:], rtol=1e-12)
    for wrong in (log_weights[:-1], log_weights[:, :-1].copy()):
        with pytest.raises(ValueError, match="shape"):
            expectation(parameters, log_weights=wrong)


def test_a_share_that_rounding_would_swallow_adds_nothing():
    """Between modes far apart most shares are 1e-40 or less: their moments are not worth the time."""
    problem = random_problem(np.random.default_rng(8), 2, (2, 3), **GENTLE)
    expectation, parameters = Expectation(problem.statistics), linked(problem.parameters, 1)
    rho = np.tile([0.0, 1.0], (problem.panel.n_units, 1))
    none, _ = expectation(parameters, responsibilities=rho)
    hardly, _ = expectation(parameters, responsibilities=np.maximum(rho, 1e-31))
    np.testing.assert_array_equal(hardly.sums, none.sums)


# ------------------------------------------------------------------------------------------------------------ M step


@settings(derandomize=True, deadline=None, max_examples=40)
@given(
    problem=problems(n_units=15, **GENTLE),
    rank=st.integers(1, 4),
    penalty=st.sampled_from([0.0, 1.0, 20.0]),
    floor=st.sampled_from([1e-8, 0.1]),
)
def test_maximisation_is_its_twin(problem, rank, penalty, floor):
    """Floors that bind and floors that do not."""
    parameters = linked(problem.parameters, rank)
    expected, _ = Expectation(problem.statistics)(parameters)
    found, status = maximisation(expected, parameters, constraints_for(problem, 1e-3, floor, penalty))
    for k, c in np.ndindex(*status.shape):
        if expected.channel_counts[k, c] < 1.0:
            assert status[k, c] == 1
            np.testing.assert_array_equal(found.loading(k, c), parameters.loading(k, c))
            continue
        mean, factor, loadings, noise = _reference_linked.maximisation(
            expected, parameters, k, c, penalty * (1 + k), 1e-3, floor
        )
        np.testing.assert_allclose(found.mean(k, c), mean, rtol=1e-7, atol=1e-8)
        np.testing.assert_allclose(found.factor(k, c), factor, rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found.loading(k, c), loadings, rtol=1e-5, atol=1e-6)
        assert found.noise_variances[k, c] == pytest.approx(noise, rel=1e-8)


def test_the_m_step_maximises_the_penalised_objective():
    """No parameters nearby have a higher expected complete-data objective: tried along 40 random directions."""
    rng = np.random.default_rng(8)
    problem = random_problem(rng, 1, (2, 3), n_units=25, **GENTLE)
    parameters, penalty = linked(problem.parameters, 2), 3.0
    expected, _ = Expectation(problem.statistics)(parameters)
    best, _ = maximisation(expected, parameters, constraints_for(problem, penalty=penalty))

    def objective(mean, factor, loadings, c):
        # −2 Q of one channel, in terms of the old whitening, plus λ ‖Γ‖²
        layout, old = parameters.layout, parameters.factor(0, c)
        rows = slice(*layout.mean_offsets[c : c + 2])
        N = expected.channel_counts[0, c]
        f = expected.factor_sums[0, c]
        S_gg = np.block([[np.full((1, 1), N), f[None]], [f[:, None], expected.factor_moments[0, c]]])
        S_tg = np.column_stack([layout.vector(expected.first_moments[0], c), expected.cross_moments[0, rows]])
        M = np.column_stack(
            [np.linalg.solve(old, mean - parameters.mean(0, c)), np.linalg.solve(old, factor @ loadings)]
        )
        S_tt = layout.matrix(expected.second_moments[0], c)
        scatter = old @ (S_tt - M @ S_tg.T - S_tg @ M.T + M @ S_gg @ M.T) @ old.T
        psi = factor @ factor.T
        return (
            N * np.linalg.slogdet(psi)[1]
            + np.trace(np.linalg.solve(psi, scatter))
            + penalty * np.square(loadings).sum()
        )

    for c in range(2):
        at = best.mean(0, c), best.factor(0, c), best.loading(0, c)
        least = objective(*at, c)
        for _ in range(40):
            away = [part + 1e-3 * rng.normal(size=part.shape) for part in at]
            away[1] = np.tril(away[1])
            assert objective(*away, c) > least


@pytest.mark.slow
@settings(derandomize=True, deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n_modes=st.integers(1, 3),
    sizes=st.lists(st.integers(1, 5), min_size=2, max_size=6),
    rank=st.integers(1, 4),
    penalty=st.sampled_from([0.0, 0.5, 10.0]),
    floors=st.sampled_from([(1e-8, 1e-8), (0.05, 0.05)]),
    accelerate=st.booleans(),
)
def test_em_never_falls(seed, n_modes, sizes, rank, penalty, floors, accelerate):
    """ℓ less its penalty, plain or quasi-Newton: missing channels, n < p, a mode of 3 %, floors that bind."""
    problem = random_problem(np.random.default_rng(seed), n_modes, tuple(sizes), n_units=20)
    constraints = constraints_for(problem, *floors, penalty=penalty)
    expectation = Expectation(problem.statistics)
    start = linked(problem.parameters, rank, seed % 1000)
    floored = np.maximum(start.noise_variances, floors[0])
    start = Parameters(start.weights, start.means, start.factors, floored, start.sizes, start.loadings)
    ascent, start = MixtureProblem(expectation, constraints), feasible(start, constraints)
    run = continue_em(start_em(ascent, start), ascent, n_passes=40, tolerance=0.0, accelerate=accelerate)
    objectives = np.array(run.objectives)
    rounding = 1e-9 * (problem.statistics.n_observations + np.abs(objectives).max())
    assert np.diff(objectives).min(initial=0.0) >= -rounding
    penalties = objectives - np.array(run.log_likelihoods)
    assert (penalties <= 0).all() and (penalty == 0 or penalties[0] < 0)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(problem=problems(n_units=12, **GENTLE), rank=st.integers(1, 3), penalty=st.sampled_from([0.0, 4.0]))
def test_gradient_is_that_of_finite_differences(problem, rank, penalty):
    """Of ℓ less the penalty, in the free coordinates: what quasi-Newton steps go by."""
    constraints, parameters = constraints_for(problem, 1e-3, 1e-3, penalty), linked(problem.parameters, rank)
    parameters = feasible(parameters, constraints)
    ascent = MixtureProblem(Expectation(problem.statistics), constraints)
    coordinates = ascent.coordinates(parameters)
    vector = coordinates.vector(parameters)
    here = coordinates.parameters(vector)
    expected = ascent.expect(here).sums
    gradient, metric = coordinates.gradient(vector, here, expected)
    assert metric.scaled(gradient) @ gradient >= 0.0
    thin = (expected.channel_counts < 1.0).any() or (expected.observation_counts <= 0.0).any()
    rng = np.random.default_rng(0)
    for _ in range(6):
        direction = rng.normal(size=vector.shape) / np.sqrt(len(vector))
        ends = [ascent.expect(coordinates.parameters(vector + h * direction)).objective for h in (1e-5, -1e-5)]
        slope = (ends[0] - ends[1]) / 2e-5
        if not thin:  # the M step leaves such a channel where it is, and so does the gradient
            assert slope == pytest.approx(float(gradient @ direction), rel=1e-4, abs=1e-3 * (1 + abs(slope)))


# ---------------------------------------------------------------------------------------------------- start, rotation


def fleet(n_units=80, seed=0, rank=2, scale=1.0, n_channels=5, missing=0.2, level=0.0):
    """Units of two modes whose channels share factors; the panel, and the truth it was drawn from."""
    from cem.model.model import FailureModeModel
    from cem.statistics.coordinates import Coordinates

    rng = np.random.default_rng(seed)
    basis = cem.Polynomial(1).bind(np.array([0.0, 10.0]))
    sizes = (2,) * n_channels
    means = np.zeros((2, 2 * n_channels))
    means[1, ::2] = 4.0
    loadings = rng.normal(scale=scale, size=(2, 2 * n_channels, rank))
    loadings[:, ::2] += level  # what moves all channels up and down together
    parameters = Parameters(
        np.array([0.6, 0.4]),
        means,
        np.tile(np.array([0.5, 0.0, 0.1, 0.4] * n_channels), (2, 1)),
        np.full((2, n_channels), 0.02),
        sizes,
        loadings,
    )
    identity = np.concatenate([np.eye(2).ravel()] * n_channels)
    model = FailureModeModel(
        parameters=parameters,
        coordinates=Coordinates(np.zeros(2 * n_channels), np.ones(n_channels), identity, sizes),
        bases=(basis,) * n_channels,
        channels=[f"x{c}" for c in range(n_channels)],
        response=f"x{n_channels - 1}",
    )
    panel = model.sample(n_units, np.linspace(0.0, 10.0, 9), random_state=seed)
    values = panel.values.copy()
    values[rng.random(values.shape) < missing] = np.nan
    values[panel.offsets[:-1]] = panel.values[panel.offsets[:-1]]
    return panel._replace(values=values).with_modes(panel.true_modes), model


def quick(n_modes=2, **options):
    return cem.FailureModeEM(
        n_modes, **{"basis": cem.Polynomial(1), "n_init": 3, "random_state": 0, "linking_rank": 2, **options}
    )


@pytest.fixture(scope="module")
def panel():
    return fleet()[0].with_modes(None)


@pytest.fixture(scope="module")
def em(panel):
    return quick().fit(panel)


def test_the_start_keeps_every_channel_s_covariance(panel):
    """Only the links are new: ℓ of the channels one by one is that of the plain fit."""
    from cem.fitting.fit import fit_mixture

    em = quick(linking_rank=0)
    result = fit_mixture(panel, em._options())
    expectation = Expectation(result.statistics)
    start = linked_start(result.run, expectation, 2, result.constraints)
    plain, marginal = result.run.parameters, start.marginal()
    assert np.abs(start.loadings).max() > 0.1
    for k, c in np.ndindex(2, 5):
        wanted, found = plain.factor(k, c) @ plain.factor(k, c).T, marginal.factor(k, c) @ marginal.factor(k, c).T
        np.testing.assert_allclose(found, wanted, atol=1e-9)
    run, interrupted = linked_run(
        result.run,
        MixtureProblem(expectation, result.constraints),
        rank=2,
        max_iter=500,
        tolerance=1e-4,
        accelerate=True,
    )
    assert not interrupted
    assert run.objectives[-1] > run.objectives[0]
    assert run.objectives[-1] > result.run.log_likelihood + 50


def test_rotation_changes_no_law():
    problem = random_problem(np.random.default_rng(4), 2, (3, 2), **GENTLE)
    parameters = linked(problem.parameters, 3)
    turned = rotated(parameters)
    before, _ = linked_log_densities(problem.statistics, parameters)
    after, _ = linked_log_densities(problem.statistics, turned)
    np.testing.assert_allclose(after, before, rtol=1e-10)
    for gamma in turned.loadings:
        gram = gamma.T @ gamma
        np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)
        assert (np.diff(np.diag(gram)) <= 0).all()
        assert (gamma[np.abs(gamma).argmax(axis=0), np.arange(3)] > 0).all()


# -------------------------------------------------------------------------------------------------------------- fits


def test_a_linked_fit_finds_the_links(em, panel):
    """On units not seen it predicts better than independent channels do; the truth is linked."""
    _, truth = fleet()
    new = truth.sample(300, np.linspace(0.0, 10.0, 9), random_state=7)
    plain = quick(linking_rank=0).fit(panel)
    assert em.kernel_ == "linked" and em.converged_
    gained = em.model_.score_samples(new) - plain.model_.score_samples(new)
    possible = truth.score_samples(new) - plain.model_.score_samples(new)
    assert gained.mean() > 0.4 * possible.mean() > 0.4
    assert em.log_likelihood_ > plain.log_likelihood_
    assert em.n_parameters_ == plain.n_parameters_ + 2 * (2 * 10 - 1)
    # Covariances between channels of one mode, in the user's terms.
    label = em.predict(panel)
    assert len(set(label)) == 2
    order = np.argsort(em.means_[:, 0, 0])
    W, V = em.model_.loadings_[order], truth.loadings_
    found = np.einsum("kcpr,kgqr->kcgpq", W, W)
    wanted = np.einsum("kcpr,kgqr->kcgpq", V, V)
    off = ~np.eye(5, dtype=bool)
    assert np.corrcoef(found[:, off].ravel(), wanted[:, off].ravel())[0, 1] > 0.8


def test_rank_0_is_the_plain_model_to_the_bit(panel):
    plain = cem.FailureModeEM(2, basis=cem.Polynomial(1), n_init=3, random_state=0).fit(panel)
    none = quick(linking_rank=0, linking_penalty=3.0).fit(panel)
    assert none.log_likelihood_ == plain.log_likelihood_
    np.testing.assert_array_equal(none.covariances_, plain.covariances_)
    assert none.model_.linking_rank == 0 and none.model_.loadings_.shape == (2, 5, 2, 0)
    assert "linking_rank" not in none.model_.training


def test_the_same_fit_for_any_number_of_threads(em, panel):
    other = quick(n_jobs=3).fit(panel)
    assert other.log_likelihood_ == em.log_likelihood_
    np.testing.assert_array_equal(other.model_.loadings_, em.model_.loadings_)


def test_labels_and_a_channel_missing_on_some_units(panel):
    modes = fleet()[0].modes
    some = [mode if l % 3 else None for l, mode in enumerate(modes)]
    values = panel.values.copy()
    for l in range(0, 80, 5):
        values[panel.offsets[l] : panel.offsets[l + 1], 2] = np.nan
    em = quick().fit(panel._replace(values=values).with_modes(some))
    labelled = [l for l, mode in enumerate(some) if mode is not None]
    assert np.isin(em.responsibilities_[labelled], (0.0, 1.0)).all()
    assert em.converged_


def test_a_warm_start_goes_on_from_a_linked_model(em, panel):
    again = quick().fit(panel, init=em.model_)
    assert again.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.5)
    assert again.n_iter_ < 60
    plain = quick(linking_rank=0).fit(panel, init=em.model_)  # its links are dropped
    assert plain.model_.linking_rank == 0
    user = quick().fit(panel, init=em.model_.user_parameters())
    assert user.log_likelihood_ == pytest.approx(em.log_likelihood_, abs=0.5)


def test_ctrl_c_before_the_links_leaves_independent_channels_and_says_so(panel, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("cem.em.linking.continue_em", interrupted)
    with pytest.warns(cem.ConvergenceWarning, match="interrupted before channels were linked"):
        em = quick().fit(panel)
    assert em.interrupted_ and em.model_.linking_rank == 0 and "linking_rank" not in em.model_.training
    plain = quick(linking_rank=0).fit(panel)
    assert em.n_parameters_ == plain.n_parameters_


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"linking_rank": -1}, "linking_rank=-1"),
        ({"linking_rank": 1.5}, "linking_rank=1.5"),
        ({"linking_rank": True}, "linking_rank=True"),
        ({"linking_penalty": -1.0}, "linking_penalty=-1.0"),
        ({"linking_penalty": np.inf}, "linking_penalty=inf"),
        ({"covariance": "pooled"}, "covariance='full'"),
        ({"linking_rank": 9}, "share 8 factors at most"),
    ],
)
def test_options_that_cannot_be(panel, options, message):
    with pytest.raises(OptionError, match=message):
        quick(**options).fit(panel)


# ------------------------------------------------------------------------------------------------------------- model


def test_user_terms_agree_with_one_another(em):
    model = em.model_
    user = model.user_parameters()
    for k, c in np.ndindex(2, 5):
        W = model.loadings_[k, c]
        psi = user.factor(k, c) @ user.factor(k, c).T
        np.testing.assert_allclose(psi + W @ W.T, model.covariances_[k, c], atol=1e-10)
        np.testing.assert_allclose(model.parameters(k, c).covariance, model.covariances_[k, c], atol=1e-10)


def test_scores_and_forecasts_are_those_of_the_joint_law(em, panel):
    """In the user's terms, from raw readings: scaling, centring and compression included."""
    model, user = em.model_, em.model_.user_parameters()
    times = np.array([2.5, 12.0])
    forecast = model.forecast(panel, times, channel="x4", noise=False)
    scores, probabilities = model.score_samples(panel), model.predict_proba(panel)
    for l in (0, 7, 30):
        rows = slice(panel.offsets[l], panel.offsets[l + 1])
        seen = [~np.isnan(panel.values[rows, c]) for c in range(5)]
        designs = [model.bases[c](panel.times[rows][seen[c]]) for c in range(5)]
        x = np.concatenate([panel.values[rows, c][seen[c]] for c in range(5)])
        logs = np.empty(2)
        for k in range(2):
            mean, V, cross, prior = _reference_linked.dense_law(designs, user, k)
            solved = np.linalg.solve(V, x - mean)
            logs[k] = np.log(user.weights[k]) - 0.5 * (
                len(x) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + (x - mean) @ solved
            )
            phi, own = model.bases[4](times), slice(8, 10)
            T = user.means[k, own] + cross[own] @ solved
            covariance = (prior - cross @ np.linalg.solve(V, cross.T))[own, own]
            np.testing.assert_allclose(forecast.mode_means[l, k], phi @ T, rtol=1e-7, atol=1e-8)
            np.testing.assert_allclose(
                forecast.mode_variances[l, k], np.einsum("mi,ij,mj->m", phi, covariance, phi), rtol=1e-6, atol=1e-9
            )
        assert scores[l] == pytest.approx(np.logaddexp(*logs), rel=1e-9)
        np.testing.assert_allclose(probabilities[l], np.exp(logs - np.logaddexp(*logs)), atol=1e-9)


def test_a_channel_that_is_not_reported_is_forecast_from_those_that_are():
    """The use of it: the response is not measured in the field. Independent channels can only give the mode's mean."""
    training, truth = fleet(n_units=150, rank=1, scale=0.2, level=2.0)
    training = training.with_modes(None)
    em, independent = (quick(linking_rank=rank, covariance="full").fit(training) for rank in (1, 0))
    assert em.bic(training) < independent.bic(training)
    whole = truth.sample(400, np.linspace(0.0, 10.0, 9), random_state=11)
    sensors = whole.select_channels(["x0", "x1", "x2", "x3"])
    actual = whole.values[whole.offsets[1:] - 1, 4]
    forecast = em.model_.forecast(sensors, 10.0, channel="x4")
    plain = independent.model_.forecast(sensors, 10.0, channel="x4")
    error, plain_error = forecast.mean[:, 0] - actual, plain.mean[:, 0] - actual
    assert np.square(error).mean() < 0.6 * np.square(plain_error).mean()
    low, high = forecast.interval(0.9)
    assert 0.82 < ((low[:, 0] <= actual) & (actual <= high[:, 0])).mean() < 0.96


def test_draws_have_the_model_s_covariance_between_channels(em):
    drawn = em.model_.sample(4_000, np.array([0.0, 10.0]), modes=[0] * 4_000, random_state=3)
    values = drawn.values.reshape(4_000, -1)
    mean, V, _, _ = _reference_linked.dense_law(
        [em.model_.bases[0](np.array([0.0, 10.0]))] * 5, em.model_.user_parameters(), 0
    )
    order = np.arange(10).reshape(2, 5).T.ravel()  # by channel, as the dense law has it
    spread = np.sqrt(np.diag(V))
    found = np.cov(values[:, order].T) / np.outer(spread, spread)
    np.testing.assert_allclose(found, V / np.outer(spread, spread), atol=0.08)
    np.testing.assert_allclose(values[:, order].mean(axis=0), mean, atol=0.08 * spread.max())


def test_novelty_is_uniform_on_units_like_those_of_the_training():
    _, truth = fleet(n_channels=4)
    tail = truth.novelty(truth.sample(1_500, np.linspace(0.0, 10.0, 6), random_state=5))
    assert abs(np.mean(tail) - 0.5) < 0.03 and abs(np.mean(tail < 0.1) - 0.1) < 0.03


def test_saved_and_loaded(em, panel, tmp_path):
    """A file with links has a version of its own, which a reader that does not know them refuses."""
    path = tmp_path / "linked.cem"
    em.model_.save(path)
    loaded = cem.load(path)
    np.testing.assert_array_equal(loaded.loadings_, em.model_.loadings_)
    np.testing.assert_array_equal(loaded.predict_proba(panel), em.model_.predict_proba(panel))
    assert path.read_bytes()[8] == 2
    plain = tmp_path / "plain.cem"
    quick(linking_rank=0).fit(panel).model_.save(plain)
    assert plain.read_bytes()[8] == 1
    import pickle

    again = pickle.loads(pickle.dumps(em.model_))
    np.testing.assert_array_equal(again.loadings_, em.model_.loadings_)


def test_a_version_that_does_not_fit_its_arrays_is_refused(em, tmp_path):
    import hashlib

    from cem.errors import ModelFileError
    from cem.model.file import encode
    from cem.model.loading import decode

    body = bytearray(encode(em.model_)[:-32])
    body[8] = 1
    with pytest.raises(ModelFileError, match="version 1 has no array 'loadings'"):
        decode(bytes(body) + hashlib.sha256(body).digest())


def test_what_is_not_there_says_so(em, panel):
    """Silence would score with channels taken as independent."""
    with pytest.raises(cem.errors.PredictionError, match=r"linked .linking_rank=2.*linking_rank=0"):
        em.model_.export_c()


def test_summary_names_the_shared_factors(em):
    assert em.model_.summary().facts["shared factors"] == 2
    assert "shared factors" not in quick(linking_rank=0).fit(fleet()[0].with_modes(None)).model_.summary().facts


def test_first_passage_uses_the_linked_posterior(em, panel):
    sensors = panel.select_channels(["x0", "x1", "x2", "x3"])
    law = em.model_.remaining_life(sensors, 6.0, channel="x4", direction="upper")
    assert np.isfinite(law.cdf(5.0)).all()


def test_marginal_covariances_of_loadings_however_large():
    """Beside loadings of 1e12 the 1 of I + Γ Γᵀ is lost, and Cholesky finds nothing positive definite."""
    loadings = np.array([[[1e12], [3e12], [-2e12]]])
    factors = np.eye(3).reshape(1, 9)
    parameters = Parameters([1.0], np.zeros((1, 3)), factors, [[1.0]], (3,), loadings)
    root = parameters.marginal().factor(0, 0)
    assert np.array_equal(root, np.tril(root)) and (np.diagonal(root) >= 0).all()
    np.testing.assert_allclose(root @ root.T, np.eye(3) + loadings[0] @ loadings[0].T, rtol=1e-12)
