"""An E step that counts: how many passes a method took, and what it had reached after each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation, Passes
from cem.em.kernels._lanes import LanePack
from cem.em.mixture_problem import MixtureEvaluation, MixtureProblem
from cem.em.problem import Ascended, AscentLimits
from cem.em.sums import ExpectedStatistics
from cem.errors import FitError
from cem.mixture.parameters import Parameters


class CountingExpectation:
    """An `Expectation` that keeps ℓ of every evaluation, also of those that a method then threw away.

    Parameters
    ----------
    expectation : Expectation
        What is evaluated.

    Attributes
    ----------
    log_likelihoods : list of float
        One an evaluation; -inf where it failed.
    """

    def __init__(self, expectation: Expectation) -> None:
        self._expectation = expectation
        self.statistics = expectation.statistics
        self.kernel = expectation.kernel
        self.membership = expectation.membership
        self.log_likelihoods: list[float] = []

    def n_chunks(self, n_modes: int) -> int:
        return self._expectation.n_chunks(n_modes)

    def makes_passes_in_one_call(self, n_modes: int, constraints: Constraints) -> bool:
        return self._expectation.makes_passes_in_one_call(n_modes, constraints)

    def small_pack(self, n_modes: int, constraints: Constraints) -> LanePack | None:
        return self._expectation.small_pack(n_modes, constraints)

    def __call__(
        self,
        parameters: Parameters,
        *,
        responsibilities: NDArray[np.float64] | None = None,
        inverse_temperature: float = 1.0,
    ) -> tuple[ExpectedStatistics, NDArray[np.float64]]:
        try:
            expected, rho = self._expectation(
                parameters, responsibilities=responsibilities, inverse_temperature=inverse_temperature
            )
        except FitError:
            self.log_likelihoods.append(-np.inf)
            raise
        self.log_likelihoods.append(expected.log_likelihood)
        return expected, rho

    def passes(
        self,
        parameters: Parameters,
        expected: ExpectedStatistics | None,
        constraints: Constraints,
        n_passes: int,
        relaxation: float = 1.0,
    ) -> Passes | None:
        try:
            passes = self._expectation.passes(parameters, expected, constraints, n_passes, relaxation)
        except FitError:
            self.log_likelihoods.append(-np.inf)
            raise
        if passes is not None:
            thrown_away = passes.n_evaluations - len(passes.log_likelihoods)
            self.log_likelihoods += [-np.inf] * thrown_away + passes.log_likelihoods
        return passes

    @property
    def n_passes(self) -> int:
        return len(self.log_likelihoods)

    def passes_until(self, log_likelihood: float) -> int | None:
        """E steps until ℓ was first at or above a value; None where it never was."""
        reached = np.flatnonzero(np.asarray(self.log_likelihoods) >= log_likelihood)
        return int(reached[0]) + 1 if len(reached) else None


class CountingProblem(MixtureProblem):
    """The problem of a `CountingExpectation`, which also counts the quasi-Newton steps that are made in one call."""

    def ascended(
        self, evaluation: MixtureEvaluation, memory: NDArray[np.float64] | None, limits: AscentLimits
    ) -> Ascended[Parameters, ExpectedStatistics] | None:
        found = super().ascended(evaluation, memory, limits)
        if found is not None:
            thrown_away = found.n_passes - len(found.log_likelihoods)
            self.expectation.log_likelihoods += [-np.inf] * thrown_away + found.log_likelihoods
        return found
