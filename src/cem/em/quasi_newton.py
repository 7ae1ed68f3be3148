"""Fewer passes: quasi-Newton ascent of ℓ, with the gradient from the sums (14).

At the parameters of an E step the gradient of the observed-data log-likelihood equals that of the expected
complete-data log-likelihood (Fisher's identity), so it costs nothing beyond the E step. Limited-memory BFGS (Nocedal &
Wright 2006, ch. 7) estimates from successive gradients the curvature that plain EM lacks, after Jamshidian & Jennrich
(1997), "Acceleration of the EM algorithm by using quasi-Newton methods", J. R. Stat. Soc. B 59, 569–587. A step must
not lower ℓ.

The coordinates (`cem.em.unconstrained`) have no constraints. A covariance at its floor is an ordinary maximum there.
Plain EM is slow at such a point, because its steps shrink with the variance itself.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Generic, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import (
    Ascended,
    AscentCoordinates,
    AscentLimits,
    AscentMetric,
    Evaluation,
    Point,
    Problem,
    Sums,
)
from cem.errors import FitError
from cem.numerics.threads import checkpoint

__all__ = ["QuasiNewton", "Step"]

FloatArray = NDArray[np.float64]

_MEMORY = 20
_SHORTER = 0.3
_MOST_TRIALS = 6
# Share of the gain predicted by the slope that a step must reach (Armijo's condition).
_SUFFICIENT = 1e-4


@dataclass(frozen=True, eq=False)
class Step(Generic[Point, Sums]):
    """The result of a step.

    Parameters
    ----------
    evaluation : Evaluation
        At the new point.
    predicted_gain : float
        Remaining gain of the objective, by the quadratic model of the step.
    """

    evaluation: Evaluation[Point, Sums]
    predicted_gain: float


@dataclass(frozen=True, eq=False)
class _Place(Generic[Point]):
    """A point, its vector, and gradient and metric there."""

    point: Point
    vector: FloatArray
    gradient: FloatArray
    metric: AscentMetric


class _InOneCall(Protocol[Point, Sums]):
    """Several steps in one call; None where they must be made one by one."""

    def __call__(
        self, evaluation: Evaluation[Point, Sums], memory: FloatArray | None, limits: AscentLimits, /
    ) -> Ascended[Point, Sums] | None: ...


class QuasiNewton(Generic[Point, Sums]):
    """Steps that never lower the objective.

    Parameters
    ----------
    coordinates : AscentCoordinates
        Of the points.
    """

    def __init__(self, coordinates: AscentCoordinates[Point, Sums]) -> None:
        self.coordinates = coordinates
        self._pairs = Pairs()
        self._place: _Place[Point] | None = None
        # What steps in one call have learned, and where the last one led.
        self._memory: FloatArray | None = None
        self._reached: Point | None = None

    def copy(self) -> QuasiNewton[Point, Sums]:
        """A copy with the same learned curvature."""
        if self._place is None and self._memory is None:
            return QuasiNewton(self.coordinates)
        twin = copy(self)
        twin._pairs = copy(self._pairs)
        twin._memory = None if self._memory is None else self._memory.copy()
        return twin

    def ascended(
        self, problem: Problem[Point, Sums], evaluation: Evaluation[Point, Sums], limits: AscentLimits
    ) -> Ascended[Point, Sums]:
        """Make steps until one fails, too many gain next to nothing, or a mode loses its units.

        Parameters
        ----------
        problem : Problem
            Provides the objective, and makes the steps itself if it can make several in one call.
        evaluation : Evaluation
            The starting point; the learned curvature is kept if the last step led there.
        limits : AscentLimits
            When else they end.

        Returns
        -------
        Ascended
        """
        in_one_call: _InOneCall[Point, Sums] | None = getattr(problem, "ascended", None)
        if in_one_call is not None:
            memory = self._memory if self._reached is evaluation.point else None
            found = in_one_call(evaluation, memory, limits)
            if found is not None:
                self._memory, self._reached = found.memory, found.evaluation.point
                return found
        negligible, n_passes = limits.negligible, 0
        log_likelihoods: list[float] = []
        objectives: list[float] = []
        while n_passes < limits.n_passes and negligible < limits.patience:
            checkpoint()
            step, tried = self.step(problem, evaluation, limits.n_passes - n_passes)
            n_passes += tried
            if step is None:
                return Ascended(evaluation, log_likelihoods, objectives, n_passes, negligible, True)
            gain = step.evaluation.objective - evaluation.objective
            evaluation = step.evaluation
            log_likelihoods.append(evaluation.log_likelihood)
            objectives.append(evaluation.objective)
            negligible = negligible + 1 if max(gain, step.predicted_gain) < limits.tolerance else 0
            if evaluation.sums.mode_counts.min() < 1.0:
                break
        return Ascended(evaluation, log_likelihoods, objectives, n_passes, negligible, False)

    def step(
        self, problem: Problem[Point, Sums], evaluation: Evaluation[Point, Sums], most_passes: int
    ) -> tuple[Step[Point, Sums] | None, int]:
        """Make one step from a point with an E step.

        Parameters
        ----------
        problem : Problem
            Provides the objective.
        evaluation : Evaluation
            The starting point; the learned curvature is kept if the last step led there.
        most_passes : int
            Limit on the E steps.

        Returns
        -------
        step : Step or None
            None if no step along the direction raised the objective; the learned curvature is then dropped.
        n_passes : int
            E steps made.
        """
        place, self._place = self._place, None
        if place is None or place.point is not evaluation.point:
            self._pairs = Pairs()
            try:
                place = self._at(self.coordinates.vector(evaluation.point), evaluation)
            except np.linalg.LinAlgError:
                return None, 0
        direction = self._pairs.direction(place.gradient, place.metric.scaled)
        slope = float(direction @ place.gradient)
        if not slope > 0.0:
            self._pairs = Pairs()
            direction = place.metric.scaled(place.gradient)
            slope = float(direction @ place.gradient)
        length, n_passes = 1.0, 0
        while n_passes < min(_MOST_TRIALS, most_passes):
            vector = place.vector + length * direction
            n_passes += 1
            try:
                reached = problem.expect(self.coordinates.parameters(vector))
                if reached.objective >= evaluation.objective + _SUFFICIENT * length * slope:
                    there = self._at(vector, reached)
                    self._pairs.append(there.vector - place.vector, place.gradient - there.gradient)
                    self._place = there
                    return Step(reached, 0.5 * slope), n_passes
            except (np.linalg.LinAlgError, FitError):  # the step went too far
                pass
            length *= _SHORTER
        return None, n_passes

    def _at(self, vector: FloatArray, evaluation: Evaluation[Point, Sums]) -> _Place[Point]:
        gradient, metric = self.coordinates.gradient(vector, evaluation.point, evaluation.sums)
        return _Place(evaluation.point, vector, gradient, metric)


class Pairs:
    """The last steps s_i and their changes y_i of the gradient of −ℓ: a limited-memory inverse Hessian H.

    With the steps as rows of S and Y, R the upper triangle of S Yᵀ, D its diagonal and H₀ the metric's inverse,

        α = R⁻¹ S g,    z = H₀ (g − Yᵀα),    δ = R⁻ᵀ (D α − Y z),    H g = z + Sᵀδ:

    the two loops of Nocedal & Wright, algorithm 7.4, as matrix products (Byrd, Nocedal & Schnabel 1994,
    "Representations of quasi-Newton matrices", Math. Program. 63, 129–156). A new pair adds a column to R⁻¹; a dropped
    pair removes the first row and column.
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
        """Keep a pair, unless −ℓ is not convex along the step; the oldest pair may be dropped."""
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
            H₀ times a vector, up to its scale, which the last pair determines.

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
        result: FloatArray = z + ((alpha / np.diagonal(inverse) - Y @ z) @ inverse) @ S
        return result
