"""Parameters with γ of π_k(u) as an unconstrained vector: γ follows the numbers of the mixture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.fixed_coordinates import FixedCoordinates
from cem.em.membership import MembershipDesign
from cem.em.problem import AscentMetric
from cem.em.sums import ExpectedStatistics
from cem.em.unconstrained import UnconstrainedCoordinates
from cem.mixture.membership import centred
from cem.mixture.parameters import Parameters

__all__ = ["MembershipCoordinates", "MembershipMetric", "coordinates_of"]

FloatArray = NDArray[np.float64]
MixtureCoordinates: TypeAlias = UnconstrainedCoordinates | FixedCoordinates


@dataclass(frozen=True, eq=False)
class MembershipMetric:
    """The metric of the mixture's numbers, and the curvature by γ of the M step's objective."""

    mixture: AscentMetric
    curvature: FloatArray  # (n, n), n = K (1 + F) or 0

    def scaled(self, vector: FloatArray) -> FloatArray:
        """The metric's inverse times a vector."""
        n = len(vector) - len(self.curvature)
        return np.concatenate([self.mixture.scaled(vector[:n]), np.linalg.solve(self.curvature, vector[n:])])


class MembershipCoordinates:
    """Coordinates of a mixture whose units have probabilities of their modes of their own.

    With γ, the mixture's weights follow from it, so the numbers of ln π in the vector do not move.

    Parameters
    ----------
    mixture : UnconstrainedCoordinates or FixedCoordinates
        Of the other parameters.
    design : MembershipDesign
        Of the units.
    ridge : float
        λ of the slopes of γ.
    with_membership : bool
        Whether the parameters have γ; else only the gradient of ln π differs, because some units have a prior.
    """

    def __init__(
        self, mixture: MixtureCoordinates, design: MembershipDesign, ridge: float, with_membership: bool
    ) -> None:
        self._mixture, self._design, self._ridge = mixture, design, ridge
        self._has_membership = with_membership

    def vector(self, parameters: Parameters) -> FloatArray:
        """Convert parameters that satisfy the constraints to a vector."""
        numbers = self._mixture.vector(parameters)
        return numbers if parameters.membership is None else np.append(numbers, parameters.membership.ravel())

    def parameters(self, vector: FloatArray) -> Parameters:
        """Convert any vector to parameters that satisfy the constraints; LinAlgError if it is too far out."""
        if not self._has_membership:
            return self._mixture.parameters(vector)
        n_modes = self._mixture.n_modes
        n = n_modes * self._design.n_columns
        gamma = centred(vector[-n:].reshape(n_modes, -1))
        found = self._mixture.parameters(vector[:-n])
        weights = self._design.mean_weights(gamma, found.weights)
        if not np.isfinite(weights).all():
            raise np.linalg.LinAlgError("the coefficients of the covariates of units are not finite")
        return replace(found, weights=weights, membership=gamma)

    def gradient(
        self, vector: FloatArray, parameters: Parameters, expected: ExpectedStatistics
    ) -> tuple[FloatArray, MembershipMetric]:
        """Gradient of the objective, and a metric; see `UnconstrainedCoordinates.gradient`."""
        gamma, K = parameters.membership, parameters.n_modes
        n = 0 if gamma is None else gamma.size
        gradient, metric = self._mixture.gradient(vector[: len(vector) - n], parameters, expected)
        found = expected.membership
        assert found is not None
        if gamma is None:
            gradient[:K] = found.sums[:, 0] - self._design.n_units * parameters.weights
            return gradient, MembershipMetric(metric, np.empty((0, 0)))
        gradient[:K] = 0.0
        by_gamma, curvature = self._design.derivatives(gamma, found.sums, self._ridge)
        return np.append(gradient, by_gamma.ravel()), MembershipMetric(metric, curvature)


def coordinates_of(
    constraints: Constraints, parameters: Parameters, design: MembershipDesign | None
) -> MixtureCoordinates | MembershipCoordinates:
    """Coordinates for parameters like these, of units with this design."""
    mixture: MixtureCoordinates
    mixture = UnconstrainedCoordinates(constraints, parameters.sizes, parameters.n_modes, parameters.rank)
    if constraints.fixed is not None or constraints.pooled_noise:
        mixture = FixedCoordinates(mixture, constraints, parameters.n_modes, parameters.sizes)
    if design is None:
        return mixture
    with_membership = parameters.membership is not None
    return MembershipCoordinates(mixture, design, constraints.membership_ridge, with_membership)
