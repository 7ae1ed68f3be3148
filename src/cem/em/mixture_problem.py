"""EM of the mixture: the objective is ℓ, less the penalty ½ Σ λ_k ‖Γ_kc‖² with linked channels."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.expectation import Expectation
from cem.em.loop import EMRun
from cem.em.maximisation import maximisation, over_relaxed
from cem.em.membership_ascent import coordinates_of
from cem.em.passes import one_by_one
from cem.em.problem import Ascended, AscentCoordinates, AscentLimits, Evaluation, Passes
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.mixture.parameters import Parameters
from cem.statistics.sufficient import SufficientStatistics

__all__ = ["MixtureEvaluation", "MixtureProblem", "MixtureRun"]

FloatArray = NDArray[np.float64]
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
    _coordinates: dict[tuple[int, int, bool], AscentCoordinates[Parameters, ExpectedStatistics]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def n_terms(self) -> int:
        return self.expectation.statistics.n_observations

    def on(self, statistics: SufficientStatistics) -> MixtureProblem:
        """The same problem for other units, in one thread; coordinates are shared, unless covariates of units enter."""
        other = MixtureProblem(self.expectation.on(statistics), self.constraints)
        if other.expectation.membership is None and self.expectation.membership is None:
            object.__setattr__(other, "_coordinates", self._coordinates)
        return other

    def expect(self, parameters: Parameters) -> MixtureEvaluation:
        """(10)–(14). If π depends on covariates of units and the parameters have no γ, its first one is evaluated."""
        design = self.expectation.membership
        if design is not None:
            parameters = design.started(parameters)
        sums, responsibilities = self.expectation(parameters)
        objective = sums.log_likelihood - self.constraints.penalty(parameters)
        return Evaluation(parameters, sums, responsibilities, sums.log_likelihood, objective)

    def maximise(self, evaluation: MixtureEvaluation) -> tuple[Parameters, NDArray[np.int32]]:
        """(15), (15')."""
        return maximisation(evaluation.sums, evaluation.point, self.constraints)

    def passes(
        self, evaluation: MixtureEvaluation, n_passes: int, relaxation: float = 1.0
    ) -> Passes[Parameters, ExpectedStatistics]:
        """Passes in one call for a small fleet, else one by one; only plain models have over-relaxed steps."""
        parameters = evaluation.point
        together = self.expectation.passes(parameters, evaluation.sums, self.constraints, n_passes, relaxation)
        if together is not None:
            return together
        further = None
        tied = self.constraints.fixed is not None or self.constraints.pooled_noise
        if relaxation > 1.0 and not parameters.rank and not tied:
            further = self._further
        return one_by_one(self, evaluation, n_passes, further, relaxation)

    def ascended(
        self, evaluation: MixtureEvaluation, memory: FloatArray | None, limits: AscentLimits
    ) -> Ascended[Parameters, ExpectedStatistics] | None:
        """Quasi-Newton steps in one call, for a plain model of a small fleet; None where they are made one by one.

        Parameters
        ----------
        evaluation : Evaluation
            The starting point.
        memory : ndarray, optional
            What the last call has learned of the curvature, if it led there; it is changed.
        limits : AscentLimits
            When the steps end.
        """
        parameters = evaluation.point
        pack = None if parameters.rank else self.expectation.small_pack(parameters.n_modes, self.constraints)
        coordinates = self.coordinates(parameters)
        if pack is None or not isinstance(coordinates, UnconstrainedCoordinates):
            return None
        return coordinates.ascended(pack, evaluation, memory, limits)

    def first_passes(
        self, parameters: Parameters, n_passes: int, relaxation: float
    ) -> Passes[Parameters, ExpectedStatistics] | None:
        """The E step at new parameters and passes from there, in one call; None where that takes several."""
        return self.expectation.passes(parameters, None, self.constraints, n_passes, relaxation)

    def _further(self, before: Parameters, found: Parameters, relaxation: float) -> Parameters:
        point = over_relaxed(before, found, self.constraints, relaxation)
        design = self.expectation.membership
        if design is None or point.membership is None:
            return point
        return replace(point, weights=design.mean_weights(point.membership, point.weights))

    def coordinates(self, parameters: Parameters) -> AscentCoordinates[Parameters, ExpectedStatistics]:
        """Coordinates for parameters with this many modes and factors, made once because every short run needs them."""
        kind = parameters.n_modes, parameters.rank, parameters.membership is not None
        if kind not in self._coordinates:
            made = coordinates_of(self.constraints, parameters, self.expectation.membership)
            self._coordinates.setdefault(kind, made)  # starts that run side by side share one object
        return self._coordinates[kind]
