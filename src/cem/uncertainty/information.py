"""The observed information of a fit: minus the Hessian of its objective, by differences of the exact gradient.

The objective is the one that the fit maximised, with its penalties. Differences are central, in the unconstrained
coordinates of the fit, with steps of a thousandth of a standard error as the metric of the ascent predicts it. The
points of the differences give the derivatives of the user's numbers, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cem.em.problem import AscentCoordinates, Evaluation
from cem.errors import FitError, UncertaintyError
from cem.numerics.floating import scaled_rows
from cem.uncertainty.missing import Ambiguity

__all__ = ["Information", "NotMaximal", "information"]

FloatArray = NDArray[np.float64]

# Of a standard error: the fourth derivative of the objective counts its square, rounding its inverse.
_STEP = 1e-3
# Of the curvature that the metric predicts: a smaller one is none that rounding and differences could tell.
_SMALLEST_CURVATURE = 1e-6
# Nats that the fit may still gain; the parameters are then within .15 standard errors of the maximum.
MOST_GAIN = 0.01


class _Expects(Protocol):
    """The part of `cem.em.problem.Problem` that the information needs."""

    def expect(self, point: Any, /) -> Evaluation[Any, Any]:
        """The E step."""


class NotMaximal(UncertaintyError):
    """The information is not positive definite.

    Parameters
    ----------
    weights : ndarray of shape (n,)
        Squared entries of the direction without curvature.
    """

    def __init__(self, curvature: float, weights: FloatArray) -> None:
        super().__init__(f"a direction has the relative curvature {curvature:.3g}")
        self.curvature, self.weights = curvature, weights


@dataclass(frozen=True, eq=False)
class Information:
    """The information of a fit and what follows from it.

    Parameters
    ----------
    vector : ndarray of shape (n,)
        The fitted parameters.
    scales : ndarray of shape (n,)
        Standard errors that the metric predicts; 0 where a number is held.
    basis : ndarray of shape (n, d)
        Orthonormal directions that are free, in units of the scales.
    matrix : ndarray of shape (d, d)
        The information in these directions.
    gradient : ndarray of shape (n,)
        Of the objective.
    jacobian : ndarray of shape (m, n)
        Derivatives of the rows by the vector.
    gain : float
        Nats that the objective would still gain, by its quadratic approximation.
    values, vectors : ndarray of shape (d,) and (d, d)
        Eigenvalues and eigenvectors of the matrix.
    missing : ndarray of shape (d, d)
        What knowing the modes of all units would add to the matrix.
    """

    vector: FloatArray
    scales: FloatArray
    basis: FloatArray
    matrix: FloatArray
    gradient: FloatArray
    jacobian: FloatArray
    gain: float
    values: FloatArray
    vectors: FloatArray
    missing: FloatArray

    @property
    def n_free(self) -> int:
        return int(self.basis.shape[1])

    def root(self, scatter: FloatArray | None = None) -> FloatArray:
        """A root (n, d) of the covariance of the vector.

        Parameters
        ----------
        scatter : ndarray of shape (d, d), optional
            J in the free directions, for I⁻¹ J I⁻¹ in place of I⁻¹.
        """
        values, vectors = self.values, self.vectors
        if scatter is None:
            root = vectors / np.sqrt(values)
        else:
            inner, directions = np.linalg.eigh(scatter)
            root = (vectors / values) @ vectors.T @ (directions * np.sqrt(np.maximum(inner, 0.0)))
        result: FloatArray = self.scales[:, None] * (self.basis @ root)
        return result

    def missing_shares(self) -> FloatArray:
        """Of each row, (m,): the share of its variance that would go if the modes of all units were known."""
        spread, _ = scaled_rows(self.jacobian @ (self.scales[:, None] * self.basis))  # shares have no unit
        root = self.vectors / np.sqrt(self.values)
        own = root.T @ self.missing @ root
        shares, directions = np.linalg.eigh(0.5 * (own + own.T))
        squares = np.square(spread @ (root @ directions))
        variances = squares.sum(axis=1)
        kept = (squares / (1.0 + np.maximum(shares, 0.0))).sum(axis=1)
        found: FloatArray = 1.0 - np.divide(kept, variances, out=np.ones(len(kept)), where=variances > 0.0)
        return found

    def scatter_of(self, scores: FloatArray) -> FloatArray:
        """J of scores (L, n), in the free directions, (d, d)."""
        own = scores @ (self.scales[:, None] * self.basis)
        scatter: FloatArray = own.T @ own
        return scatter


def information(
    problem: _Expects,
    coordinates: AscentCoordinates[Any, Any],
    evaluation: Evaluation[Any, Any],
    held: NDArray[np.bool_],
    redundant: FloatArray,
    rows: Callable[[Any], FloatArray],
) -> Information:
    """Compute the information at an evaluation.

    Parameters
    ----------
    problem : Problem
        Of the fit.
    coordinates : AscentCoordinates
        Of its points.
    evaluation : Evaluation
        At the fitted parameters.
    held : ndarray of shape (n,), bool
    redundant : ndarray of shape (n, m)
        As `cem.uncertainty.directions.held_directions` returns them.
    rows : callable
        The user's numbers of a point, (m,).

    Raises
    ------
    NotMaximal
        The objective is not curved downwards in some free direction.
    UncertaintyError
        A point a thousandth of a standard error away cannot be evaluated.
    """
    vector = coordinates.vector(evaluation.point)
    n = len(vector)
    point = coordinates.parameters(vector)
    at = problem.expect(point)
    gradient, metric = coordinates.gradient(vector, at.point, at.sums)
    scales = np.zeros(n)
    unit = np.zeros(n)
    for j in np.flatnonzero(~held):
        unit[j] = 1.0
        scales[j] = np.sqrt(max(float(metric.scaled(unit)[j]), 0.0))
        unit[j] = 0.0
    hessian, jacobian = np.zeros((n, n)), np.zeros((len(rows(evaluation.point)), n))
    ambiguity = Ambiguity(at.responsibilities, n)
    for j in np.flatnonzero(~held):
        sides = []
        for sign in (1.0, -1.0):
            moved = vector.copy()
            moved[j] += sign * _STEP * scales[j]
            try:
                there = problem.expect(coordinates.parameters(moved))
                slope = coordinates.gradient(moved, there.point, there.sums)[0]
                sides.append((slope, rows(there.point), there.responsibilities, moved[j]))
            except (FitError, np.linalg.LinAlgError) as error:
                raise UncertaintyError(
                    f"the objective of the fit cannot be evaluated beside its parameters ({error}); take "
                    "method='bootstrap'"
                ) from None
        (above, rows_above, rho_above, last), (below, rows_below, rho_below, first) = sides
        hessian[:, j] = (above - below) / (last - first)
        jacobian[:, j] = (rows_above - rows_below) / (last - first)
        ambiguity.moves(int(j), rho_above, rho_below, last - first)
    curvature = -0.5 * (hessian + hessian.T) * scales[:, None] * scales
    basis = _complement(held, redundant, scales)
    matrix = basis.T @ curvature @ basis
    matrix = 0.5 * (matrix + matrix.T)
    values, vectors = np.linalg.eigh(matrix)
    if len(values) and not values[0] > _SMALLEST_CURVATURE:
        raise NotMaximal(float(values[0]), np.square(basis @ vectors[:, 0]))
    own = vectors.T @ (basis.T @ (scales * gradient))
    gain = 0.5 * float((np.square(own) / values).sum())
    missing = ambiguity.missing(scales[:, None] * basis)
    return Information(vector, scales, basis, matrix, gradient, jacobian, gain, values, vectors, missing)


def _complement(held: NDArray[np.bool_], redundant: FloatArray, scales: FloatArray) -> FloatArray:
    """Orthonormal directions, in units of the scales, beside what is held and redundant; (n, d)."""
    free = np.flatnonzero(~held)
    basis = np.zeros((len(held), len(free)))
    basis[free, np.arange(len(free))] = 1.0
    if not redundant.shape[1]:
        return basis
    inside = redundant[free] / scales[free, None]
    U, values, _ = np.linalg.svd(inside / np.linalg.norm(inside, axis=0), full_matrices=False)
    taken = U[:, values > 1e-8]
    # Householder reflections that turn what is taken out into the first directions; the others are what is left.
    for i, direction in enumerate(taken.T):
        v = basis[free].T @ direction
        v[:i] = 0.0
        v[i] += np.copysign(np.linalg.norm(v), v[i])
        basis -= np.outer(basis @ v, 2.0 / (v @ v) * v)
    result: FloatArray = basis[:, taken.shape[1] :]
    return result
