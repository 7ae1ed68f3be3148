"""The EM loop knows no model: whatever implements `cem.em.problem.Problem` is raised by the same rules."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from problems import constraints_of, two_groups

from cem.em.loop import continue_em, start_em
from cem.em.mixture_problem import MixtureProblem
from cem.em.passes import one_by_one
from cem.em.problem import Evaluation, Passes
from cem.search.fresh import one_mode_run, parameters_from_responsibilities


@dataclass(frozen=True)
class Total:
    """Expected lives added up over all units."""

    lives: float
    mode_counts: np.ndarray


@dataclass(frozen=True)
class Scale:
    by: float

    def scaled(self, vector):
        return vector / self.by


class ExponentialLives:
    """Lives of one exponential law, most of them censored, where plain EM is slow; log rates have a normal prior."""

    def __init__(self, times, failed, prior=0.0, n_left=None):
        self.times, self.failed, self.prior, self.n_left = np.asarray(times), np.asarray(failed), prior, n_left
        self.n_terms = len(times)

    def expect(self, rate):
        log_likelihood = self.failed.sum() * np.log(rate) - rate * self.times.sum()
        lives = self.times.sum() + (~self.failed).sum() / rate
        counts = np.array([float(self.n_terms) if self.n_left is None else next(self.n_left)])
        objective = log_likelihood - 0.5 * self.prior * np.log(rate) ** 2
        return Evaluation(rate, Total(lives, counts), np.ones((self.n_terms, 1)), log_likelihood, objective)

    def maximise(self, evaluation):
        # n ln λ − λ S − ½ ν (ln λ)², by Newton steps in ln λ; concave.
        u = np.log(evaluation.point)
        for _ in range(50):
            slope = self.n_terms - np.exp(u) * evaluation.sums.lives - self.prior * u
            u += slope / (np.exp(u) * evaluation.sums.lives + self.prior)
        return float(np.exp(u)), np.zeros((1, 1), dtype=np.int32)

    def passes(self, evaluation, n_passes, relaxation):
        return one_by_one(self, evaluation, n_passes)

    def coordinates(self, rate):
        return self

    def vector(self, rate):
        return np.array([np.log(rate)])

    def parameters(self, vector):
        return float(np.exp(vector[0]))

    def gradient(self, vector, rate, sums):
        return self.n_terms - rate * sums.lives - self.prior * vector, Scale(self.n_terms)


def lives(prior=0.0, n_left=None):
    rng = np.random.default_rng(0)
    drawn = rng.exponential(20.0, 200)
    return ExponentialLives(np.minimum(drawn, 1.0), drawn < 1.0, prior, n_left)


@pytest.mark.parametrize("accelerate", [False, True])
def test_a_problem_that_is_no_mixture_is_raised_to_its_maximum(accelerate) -> None:
    """A new likelihood needs these five members and no change of the loop."""
    problem = lives()
    run = continue_em(start_em(problem, 1.0), problem, n_passes=3000, tolerance=1e-9, accelerate=accelerate)
    assert run.converged and run.parameters == pytest.approx(problem.failed.sum() / problem.times.sum(), rel=1e-4)
    assert not accelerate or run.n_passes < 60
    assert np.diff(run.objectives).min() >= -1e-10
    assert run.objectives == run.log_likelihoods


@pytest.mark.parametrize("accelerate", [False, True])
def test_the_objective_rises_and_the_log_likelihood_is_kept_beside_it(accelerate) -> None:
    """What is reported as ℓ must be ℓ of the parameters, and what never falls is ℓ with its penalty."""
    problem = lives(prior=30.0)
    run = continue_em(start_em(problem, 0.001), problem, n_passes=200, tolerance=1e-9, accelerate=accelerate)
    assert np.diff(run.objectives).min() >= -1e-10 and np.diff(run.log_likelihoods).min() < -1.0
    assert run.evaluation == problem.expect(run.parameters)._replace(
        sums=run.expected, responsibilities=run.responsibilities
    )


class Level:
    """Every point has the same objective, and a log-likelihood of its own."""

    n_terms = 1

    def expect(self, point):
        return Evaluation(point, Total(0.0, np.ones(1)), np.ones((1, 1)), -float(point), 0.0)

    def maximise(self, evaluation):
        return evaluation.point + 1, np.zeros((1, 1), dtype=np.int32)

    def passes(self, evaluation, n_passes, relaxation):
        return one_by_one(self, evaluation, n_passes)


def test_passes_of_the_same_objective_keep_their_own_log_likelihoods() -> None:
    """ℓ was looked up by the objective: of two passes that agree in that, one was given the other's."""
    problem = Level()
    passes = problem.passes(problem.expect(0), 3, 1.0)
    assert passes == Passes(passes.evaluation, passes.status, [-1.0, -2.0, -3.0], [0.0] * 3, 3)
    run = continue_em(start_em(problem, 0), problem, n_passes=2, tolerance=1e-9)
    assert run.log_likelihoods == (0.0, -1.0, -2.0) and run.objectives == (0.0,) * 3


def test_passes_end_where_a_mode_loses_its_units() -> None:
    """Whatever the problem, the run must say which mode it lost, and not go on without units."""
    counts = [200.0, 3.0, 0.5]
    problem = lives(n_left=iter(counts))
    run = continue_em(start_em(problem, 1.0), problem, n_passes=50, tolerance=1e-9)
    assert run.lost_mode == 0 and run.n_passes == 2 and not run.converged


def test_curvature_learned_under_other_constraints_is_not_used() -> None:
    """A run that goes on under other floors must take the steps of one that has learned nothing yet."""
    expectation = two_groups(gap=1.0)
    constraints = constraints_of(expectation)
    one_mode = one_mode_run(expectation, constraints).parameters
    rho = np.random.default_rng(0).dirichlet(np.ones(2), expectation.statistics.n_units)
    problem = MixtureProblem(expectation, constraints)
    first = start_em(problem, parameters_from_responsibilities(expectation, rho, one_mode, constraints))
    run = continue_em(first, problem, n_passes=30, tolerance=1e-12, accelerate=True)
    assert run.pace.ascent is not None and run.pace.ascent.coordinates is problem.coordinates(run.parameters)
    lower = MixtureProblem(expectation, replace(constraints, noise_floors=0.5 * constraints.noise_floors))
    options = {"n_passes": 12, "tolerance": 1e-12, "accelerate": True}
    kept, fresh = (continue_em(run, under, **options) for under in (problem, lower))
    alone = continue_em(replace(run, pace=None), lower, **options)
    assert fresh.log_likelihoods == alone.log_likelihoods != kept.log_likelihoods
