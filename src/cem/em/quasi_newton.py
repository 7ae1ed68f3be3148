"""Fewer passes: quasi-Newton ascent of ℓ on the gradient that the sums (14) hold already.

At the parameters of an E step the gradient of the observed-data log-likelihood is that of the expected complete-data
one (Fisher's identity): it costs nothing beyond the E step. Limited-memory BFGS (Nocedal & Wright 2006, ch. 7) makes of
successive gradients the curvature that plain EM lacks, after Jamshidian & Jennrich (1997), "Acceleration of the EM
algorithm by using quasi-Newton methods", J. R. Stat. Soc. B 59, 569–587. A step must not lower ℓ.

The coordinates (`cem.em.unconstrained`) have no constraints: a covariance on its floor is an ordinary maximum there,
where plain EM only crawls, for its steps shrink with the variance itself.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.errors import FitError

__all__ = ["AscentCoordinates", "QuasiNewton", "Step"]

FloatArray = NDArray[np.float64]

_MEMORY = 20
_SHORTER = 0.3
_MOST_TRIALS = 6
# Of the gain that the slope promises, what a step must bring (Armijo's condition).
_SUFFICIENT = 1e-4


class AscentCoordinates(Protocol):
    """What a model has to know for quasi-Newton steps: its parameters as a free vector, and the gradient there."""

    def vector(self, parameters: Any) -> FloatArray:
        """Parameters to vector, (n,)."""

    def parameters(self, vector: FloatArray) -> Any:
        """Vector to parameters; LinAlgError where that cannot be."""

    def gradient(self, vector: FloatArray, parameters: Any, expected: Any) -> tuple[FloatArray, Any]:
        """Gradient (n,) of ℓ from an E step there, and a metric near the curvature of −ℓ; LinAlgError likewise."""

    def scaled(self, vector: FloatArray, metric: Any) -> FloatArray:
        """The metric's inverse times a vector, (n,)."""


@dataclass(frozen=True, eq=False)
class Step:
    """Where a step led.

    Parameters
    ----------
    parameters : Parameters, or what the coordinates have in their place
    expected : ExpectedStatistics, likewise
        Evaluated at them.
    responsibilities : ndarray of shape (L, K)
    predicted_gain : float
        What ℓ had to gain by the quadratic model that the step came from.
    """

    parameters: Any
    expected: Any
    responsibilities: FloatArray
    predicted_gain: float


class QuasiNewton:
    """Steps that never lower ℓ.

    Parameters
    ----------
    coordinates : AscentCoordinates
        Of the parameters.
    """

    def __init__(self, coordinates: AscentCoordinates) -> None:
        self._coordinates = coordinates
        self._pairs = Pairs()
        self._parameters: Any = None

    def copy(self) -> QuasiNewton:
        """One that has learned the same and goes on by itself."""
        if self._parameters is None:
            return QuasiNewton(self._coordinates)
        twin = copy(self)
        twin._pairs = copy(self._pairs)
        return twin

    def step(
        self, expectation: Callable[[Any], tuple[Any, FloatArray]], parameters: Any, expected: Any, most_passes: int
    ) -> tuple[Step | None, int]:
        """One step from where an E step has been done.

        Parameters
        ----------
        expectation : callable
            The E step.
        parameters : Parameters, or what the coordinates have in their place
            Where it starts; what was learned of the curvature is kept if the last step led there.
        expected : ExpectedStatistics, likewise
            Evaluated there; its `log_likelihood` is what must not fall.
        most_passes : int
            Limit on the E steps.

        Returns
        -------
        step : Step or None
            None where no step along the direction found a higher ℓ; what was learned is then forgotten.
        n_passes : int
            E steps done.
        """
        if parameters is not self._parameters:
            self._pairs = Pairs()
            try:
                self._point = self._coordinates.vector(parameters)
                self._gradient, self._metric = self._coordinates.gradient(self._point, parameters, expected)
            except np.linalg.LinAlgError:
                return None, 0
        direction = self._pairs.direction(self._gradient, self._scaled)
        slope = float(direction @ self._gradient)
        if not slope > 0.0:
            self._pairs = Pairs()
            direction = self._scaled(self._gradient)
            slope = float(direction @ self._gradient)
        length, n_passes = 1.0, 0
        while n_passes < min(_MOST_TRIALS, most_passes):
            point = self._point + length * direction
            n_passes += 1
            try:
                reached = self._coordinates.parameters(point)
                sums, responsibilities = expectation(reached)
                if sums.log_likelihood >= expected.log_likelihood + _SUFFICIENT * length * slope:
                    self._learn(point, reached, sums)
                    return Step(reached, sums, responsibilities, 0.5 * slope), n_passes
            except (np.linalg.LinAlgError, FitError):  # too far out
                pass
            length *= _SHORTER
        self._parameters = None
        return None, n_passes

    def _scaled(self, vector: FloatArray) -> FloatArray:
        return self._coordinates.scaled(vector, self._metric)

    def _learn(self, point: FloatArray, parameters: Any, expected: Any) -> None:
        gradient, metric = self._coordinates.gradient(point, parameters, expected)
        self._pairs.append(point - self._point, self._gradient - gradient)
        self._point, self._parameters = point, parameters
        self._gradient, self._metric = gradient, metric


class Pairs:
    """The last steps s_i and what they changed in the gradient of −ℓ, y_i: an inverse Hessian H of limited memory.

    With the steps as rows of S and Y, R the upper triangle of S Yᵀ, D its diagonal and H₀ the metric's inverse,

        α = R⁻¹ S g,    z = H₀ (g − Yᵀα),    δ = R⁻ᵀ (D α − Y z),    H g = z + Sᵀδ:

    the two loops of Nocedal & Wright, algorithm 7.4, as matrix products (Byrd, Nocedal & Schnabel 1994,
    "Representations of quasi-Newton matrices", Math. Program. 63, 129–156). A new pair adds a column to R⁻¹, and one
    that is forgotten takes the first row and column with it.
    """

    def __init__(self) -> None:
        self._n = 0
        self._steps = self._changes = self._inverse = np.empty((0, 0))

    def __copy__(self) -> Pairs:
        twin = Pairs()
        twin._n = self._n
        twin._steps, twin._changes, twin._inverse = self._steps.copy(), self._changes.copy(), self._inverse.copy()
        return twin

    def append(self, step: FloatArray, change: FloatArray) -> None:
        """Keep a pair, unless −ℓ is not convex along the step; the oldest makes room."""
        product = float(step @ change)
        if not product > 1e-10 * float(np.sqrt((step @ step) * (change @ change))):
            return
        if not self._n:
            self._steps, self._changes = np.empty((2, _MEMORY, len(step)))
            self._inverse = np.zeros((_MEMORY, _MEMORY))
        if self._n == _MEMORY:
            self._n -= 1
            for rows in (self._steps, self._changes):
                rows[:-1] = rows[1:]
            self._inverse[:-1, :-1] = self._inverse[1:, 1:]
        n = self._n
        self._steps[n], self._changes[n] = step, change
        self._inverse[:n, n] = self._inverse[:n, :n] @ (self._steps[:n] @ change) / -product
        self._inverse[n, n] = 1.0 / product
        self._n += 1

    def direction(self, gradient: FloatArray, scaled: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """H g.

        Parameters
        ----------
        gradient : ndarray of shape (n,)
        scaled : callable
            H₀ times a vector, but for its size, which the last pair tells.

        Returns
        -------
        ndarray of shape (n,)
        """
        n = self._n
        if not n:
            return scaled(gradient)
        S, Y, inverse = self._steps[:n], self._changes[:n], self._inverse[:n, :n]
        alpha = inverse @ (S @ gradient)
        size = float(Y[-1] @ scaled(Y[-1])) * inverse[-1, -1]
        z = scaled(gradient - alpha @ Y) / min(max(size, 1e-3), 1e3)
        return z + ((alpha / np.diagonal(inverse) - Y @ z) @ inverse) @ S
