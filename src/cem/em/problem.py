"""What the EM loop asks of a model: a typed protocol, and what its steps give.

`cem.em.loop` knows no model. The mixture, with or without linked channels (`cem.em.mixture_problem`), and the mixture
with lives (`cem.fitting.lives_problem`) are problems; each has its own points and its own sums.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["AscentCoordinates", "AscentMetric", "Evaluation", "ModeSums", "Passes", "Point", "Problem", "Sums"]

FloatArray = NDArray[np.float64]


class ModeSums(Protocol):
    """Additive sums of an E step, whatever else they hold."""

    @property
    def mode_counts(self) -> FloatArray:
        """N_k = Σ ρ̂, shape (K,)."""


Point = TypeVar("Point")
Sums = TypeVar("Sums", bound=ModeSums)
_SumsIn = TypeVar("_SumsIn", bound=ModeSums, contravariant=True)


class Evaluation(NamedTuple, Generic[Point, Sums]):
    """An E step at a point; a tuple, for one is made in every pass.

    Parameters
    ----------
    point : Point
        The parameters.
    sums : Sums
        What the M step and the gradient need.
    responsibilities : ndarray of shape (L, K)
        ρ̂.
    log_likelihood : float
        ℓ, internal coordinates.
    objective : float
        What EM raises: ℓ less the penalties.
    """

    point: Point
    sums: Sums
    responsibilities: FloatArray
    log_likelihood: float
    objective: float


class Passes(NamedTuple, Generic[Point, Sums]):
    """Where plain passes of EM led.

    Parameters
    ----------
    evaluation : Evaluation
        At the last point.
    status : ndarray of shape (K, C), int32
        Of the last M step: see `cem.em.maximisation.maximisation`.
    log_likelihoods, objectives : list of float
        After every pass.
    n_evaluations : int
        E steps: more than passes where over-relaxed ones did not raise the objective.
    """

    evaluation: Evaluation[Point, Sums]
    status: NDArray[np.int32]
    log_likelihoods: list[float]
    objectives: list[float]
    n_evaluations: int


class AscentMetric(Protocol):
    """A positive definite matrix near the curvature of minus the objective."""

    def scaled(self, vector: FloatArray) -> FloatArray:
        """Its inverse times a vector, (n,)."""


class AscentCoordinates(Protocol[Point, _SumsIn]):
    """What quasi-Newton steps need: points as free vectors, and the gradient of the objective there."""

    def vector(self, point: Point, /) -> FloatArray:
        """Point to vector, (n,)."""

    def parameters(self, vector: FloatArray, /) -> Point:
        """Vector to point; LinAlgError where that cannot be."""

    def gradient(self, vector: FloatArray, point: Point, sums: _SumsIn, /) -> tuple[FloatArray, AscentMetric]:
        """Gradient (n,) from an E step at the point, and a metric there; LinAlgError where that cannot be."""


class Problem(Protocol[Point, Sums]):
    """A likelihood that EM can raise."""

    @property
    def n_terms(self) -> int:
        """How many terms ℓ adds up: its rounding grows with them."""

    def expect(self, point: Point, /) -> Evaluation[Point, Sums]:
        """The E step; FitError where a quantity is not finite."""

    def maximise(self, evaluation: Evaluation[Point, Sums], /) -> tuple[Point, NDArray[np.int32]]:
        """The M step, and its status (K, C); FitError where it has no maximum."""

    def passes(self, evaluation: Evaluation[Point, Sums], n_passes: int, relaxation: float, /) -> Passes[Point, Sums]:
        """So many plain passes, one at least, or fewer where a mode loses its units.

        Where `relaxation` is above 1 and the model has such steps, a pass goes so many times as far as the M step if
        that does not lower the objective.
        """

    def coordinates(self, point: Point, /) -> AscentCoordinates[Point, Sums]:
        """Free coordinates of points like this one; the same object every time."""
