"""The interface between the EM loop and a model: a typed protocol, and the results of its steps.

`cem.em.loop` does not depend on any model. The mixture, with or without linked channels (`cem.em.mixture_problem`), and
the mixture with lives (`cem.fitting.lives_problem`) are problems; each has its own points and sums.
"""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Ascended",
    "AscentCoordinates",
    "AscentLimits",
    "AscentMetric",
    "Evaluation",
    "ModeSums",
    "Passes",
    "Point",
    "Problem",
    "Sums",
]

FloatArray = NDArray[np.float64]


class ModeSums(Protocol):
    """Additive sums of an E step, of any kind."""

    @property
    def mode_counts(self) -> FloatArray:
        """N_k = Σ ρ̂, shape (K,)."""


Point = TypeVar("Point")
Sums = TypeVar("Sums", bound=ModeSums)
_SumsIn = TypeVar("_SumsIn", bound=ModeSums, contravariant=True)


class Evaluation(NamedTuple, Generic[Point, Sums]):
    """An E step at a point; a named tuple, because every pass makes one.

    Parameters
    ----------
    point : Point
        The parameters.
    sums : Sums
        Needed by the M step and the gradient.
    responsibilities : ndarray of shape (L, K)
        ρ̂.
    log_likelihood : float
        ℓ, internal coordinates.
    objective : float
        ℓ less the penalties, which EM raises.
    """

    point: Point
    sums: Sums
    responsibilities: FloatArray
    log_likelihood: float
    objective: float


class Passes(NamedTuple, Generic[Point, Sums]):
    """The result of plain EM passes.

    Parameters
    ----------
    evaluation : Evaluation
        At the last point.
    status : ndarray of shape (K, C), int32
        Of the last M step: see `cem.em.maximisation.maximisation`.
    log_likelihoods, objectives : list of float
        After every pass.
    n_evaluations : int
        E steps; more than passes if over-relaxed ones did not raise the objective.
    """

    evaluation: Evaluation[Point, Sums]
    status: NDArray[np.int32]
    log_likelihoods: list[float]
    objectives: list[float]
    n_evaluations: int


class AscentLimits(NamedTuple):
    """When quasi-Newton steps end, besides a mode that loses its units.

    Parameters
    ----------
    n_passes : int
        Limit on the E steps.
    tolerance : float
        A step gains next to nothing if it gains less than this, and the quadratic model of the step less than this.
    negligible : int
        Such steps in a row so far.
    patience : int
        How many of these end the ascent.
    """

    n_passes: int
    tolerance: float
    negligible: int
    patience: int


class Ascended(NamedTuple, Generic[Point, Sums]):
    """The result of quasi-Newton steps.

    Parameters
    ----------
    evaluation : Evaluation
        At the last point.
    log_likelihoods, objectives : list of float
        After every step.
    n_passes : int
        E steps made; more than steps if some were too long.
    negligible : int
        Steps in a row that gained next to nothing.
    blocked : bool
        Whether no length of the last step raised the objective.
    memory : ndarray, optional
        What a problem that makes its steps in one call has learned of the curvature.
    """

    evaluation: Evaluation[Point, Sums]
    log_likelihoods: list[float]
    objectives: list[float]
    n_passes: int
    negligible: int
    blocked: bool
    memory: FloatArray | None = None


class AscentMetric(Protocol):
    """A positive definite matrix that approximates the curvature of minus the objective."""

    def scaled(self, vector: FloatArray) -> FloatArray:
        """The inverse of the matrix times a vector, (n,)."""


class AscentCoordinates(Protocol[Point, _SumsIn]):
    """The coordinates of quasi-Newton steps: points as unconstrained vectors, and the gradient of the objective."""

    def vector(self, point: Point, /) -> FloatArray:
        """Convert a point to a vector, (n,)."""

    def parameters(self, vector: FloatArray, /) -> Point:
        """Convert a vector to a point; LinAlgError if that is impossible."""

    def gradient(self, vector: FloatArray, point: Point, sums: _SumsIn, /) -> tuple[FloatArray, AscentMetric]:
        """Gradient (n,) from an E step at the point, and a metric there; LinAlgError if that is impossible."""


class Problem(Protocol[Point, Sums]):
    """A likelihood that EM can maximise.

    One that can make several quasi-Newton steps in one call also has ``ascended(evaluation, memory, limits)``. It
    returns `Ascended`, or None where steps must be made one by one; see
    `cem.em.mixture_problem.MixtureProblem.ascended`.
    """

    @property
    def n_terms(self) -> int:
        """Number of terms in ℓ; its rounding grows with them."""

    def expect(self, point: Point, /) -> Evaluation[Point, Sums]:
        """The E step; FitError if a quantity is not finite."""

    def maximise(self, evaluation: Evaluation[Point, Sums], /) -> tuple[Point, NDArray[np.int32]]:
        """The M step, and its status (K, C); FitError if it has no maximum."""

    def passes(self, evaluation: Evaluation[Point, Sums], n_passes: int, relaxation: float, /) -> Passes[Point, Sums]:
        """Make this many plain passes, at least one, or fewer if a mode loses its units.

        If `relaxation` is above 1 and the model has such steps, a pass multiplies the M step by it, unless that lowers
        the objective.
        """

    def coordinates(self, point: Point, /) -> AscentCoordinates[Point, Sums]:
        """Unconstrained coordinates of points like this one; the same object every time."""
