"""EM of the mixture: the objective is ℓ, less the penalty ½ Σ λ_k ‖Γ_kc‖² with linked channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.fixed_coordinates import FixedCoordinates
from cem.em.loop import EMRun
from cem.em.maximisation import maximisation, over_relaxed
from cem.em.passes import one_by_one
from cem.em.problem import Evaluation, Passes
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.mixture.parameters import Parameters

__all__ = ["MixtureEvaluation", "MixtureProblem", "MixtureRun"]

MixtureEvaluation: TypeAlias = Evaluation[Parameters, ExpectedStatistics]
MixtureRun: TypeAlias = EMRun[Parameters, ExpectedStatistics]


@dataclass(frozen=True, eq=False)
class MixtureProblem:
    """The `cem.em.problem.Problem` of a mixture; its parameters determine whether channels are linked.

    Parameters
    ----------
    expectation : Expectation
        The E step of the panel.
    constraints : Constraints
        Of the M step, with the penalties of the loadings.
    """

    expectation: Expectation
    constraints: Constraints
    _coordinates: dict[tuple[int, int], UnconstrainedCoordinates | FixedCoordinates] = field(default_factory=dict, init=False, repr=False)

    @property
    def n_terms(self) -> int:
        return self.expectation.statistics.n_observations

    def expect(self, parameters: Parameters) -> MixtureEvaluation:
        """(10)–(14)."""
        sums, responsibilities = self.expectation(parameters)
        objective = sums.log_likelihood - self.constraints.penalty(parameters)
        return Evaluation(parameters, sums, responsibilities, sums.log_likelihood, objective)

    def maximise(self, evaluation: MixtureEvaluation) -> tuple[Parameters, NDArray[np.int32]]:
        """(15), (15')."""
        return maximisation(evaluation.sums, evaluation.point, self.constraints)

    def passes(
        self, evaluation: MixtureEvaluation, n_passes: int, relaxation: float = 1.0
    ) -> Passes[Parameters, ExpectedStatistics]:
        """Passes in one call for a small fleet, else one by one; no over-relaxed steps for linked channels or fixed columns."""
        parameters = evaluation.point
        together = self.expectation.passes(parameters, evaluation.sums, self.constraints, n_passes, relaxation)
        if together is not None:
            return together
        further = None
        tied = self.constraints.fixed is not None or self.constraints.pooled_noise
        if relaxation > 1.0 and not parameters.rank and not tied:
            further = partial(over_relaxed, constraints=self.constraints, relaxation=relaxation)
        return one_by_one(self, evaluation, n_passes, further)

    def coordinates(self, parameters: Parameters) -> UnconstrainedCoordinates | FixedCoordinates:
        """Coordinates for parameters with this many modes and factors, made once because every short run needs them."""
        kind = parameters.n_modes, parameters.rank
        if kind not in self._coordinates:
            made: UnconstrainedCoordinates | FixedCoordinates
            made = UnconstrainedCoordinates(self.constraints, parameters.sizes, *kind)
            if self.constraints.fixed is not None or self.constraints.pooled_noise:
                made = FixedCoordinates(made, self.constraints, parameters.n_modes, parameters.sizes)
            self._coordinates.setdefault(kind, made)  # starts that run side by side share one object
        return self._coordinates[kind]
