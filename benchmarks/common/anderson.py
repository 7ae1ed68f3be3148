"""Damped Anderson extrapolation of the EM map, which the package took its steps by before the quasi-Newton ones.

Henderson & Varadhan (2019), "Damped Anderson acceleration with restarts and monotonicity control for accelerating EM
and EM-like algorithms", J. Comput. Graph. Stat. 28, 834–846. Here an extrapolated step must not lower ℓ at all; one
that does is replaced by the plain EM step from the same place.
"""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from cem.em.constraints import Constraints
from cem.em.feasibility import feasible
from cem.mixture.parameters import Parameters
from cem.statistics.coordinates import layout_of

__all__ = ["Anderson", "Coordinatisation"]

FloatArray = NDArray[np.float64]

# A short history, little damping and a mild penalty: a fifth fewer passes than with 10, 25 and 10, on fleets drawn for
# the purpose (none of benchmarks/acceleration.py).
_DEPTH = 6
_DAMPING_BASE = 1.2
_DAMPING_DELAY = 5.0
_PENALTY = 2.0


class Coordinatisation:
    """Parameters as a vector without constraints, and back.

    Log-ratios of π; μ; the Cholesky factors with the logarithm of their diagonal; log σ² above its floor, where a
    variance on its floor stays there.

    Parameters
    ----------
    constraints : Constraints
        Of the M step.
    sizes : tuple of int
        p_c.
    """

    def __init__(self, constraints: Constraints, sizes: tuple[int, ...]) -> None:
        self.constraints = constraints
        self.sizes = sizes
        starts = layout_of(sizes).factor_offsets
        triangles = [(start, *np.tril_indices(p), p) for start, p in zip(starts, sizes, strict=False)]
        self._diagonal = np.concatenate([start + (i * p + j)[i == j] for start, i, j, p in triangles])
        self._below = np.concatenate([start + (i * p + j)[i > j] for start, i, j, p in triangles])

    def vector(self, parameters: Parameters) -> FloatArray:
        """Parameters to vector."""
        excess = np.maximum(parameters.noise_variances / self.constraints.noise_floors - 1.0, 1e-12)
        log_weights = np.log(np.maximum(parameters.weights, 1e-300))
        return np.concatenate(
            [
                log_weights - log_weights.sum() / len(log_weights),
                parameters.means.ravel(),
                np.log(parameters.factors[:, self._diagonal]).ravel(),
                parameters.factors[:, self._below].ravel(),
                np.log(excess).ravel(),
            ]
        )

    def parameters(self, vector: FloatArray, like: Parameters) -> Parameters:
        """Vector to parameters that satisfy the constraints; what lies on a floor in `like` stays there."""
        K, layout = like.n_modes, like.layout
        widths = (1, len(self._diagonal), len(self._diagonal), len(self._below), layout.n_channels)
        ends = [K * end for end in accumulate(widths, initial=0)]
        log_ratios, means, log_diagonal, lower, log_excess = (
            vector[first:last].reshape(K, -1) for first, last in pairwise(ends)
        )
        weights = np.exp(log_ratios[:, 0] - log_ratios.max())
        weights /= weights.sum()
        factors = np.zeros_like(like.factors)
        factors[:, self._diagonal] = np.exp(_within_50(log_diagonal))
        factors[:, self._below] = lower
        floors = self.constraints.noise_floors
        noise = floors * (1.0 + np.exp(_within_50(log_excess)))
        noise = np.where(like.noise_variances <= floors, floors, noise)
        moved = Parameters.adopting(weights, means.copy(), factors, noise, like.sizes)
        return feasible(moved, self.constraints)


def _within_50(logarithms: FloatArray) -> FloatArray:
    """Logarithms whose exponentials are numbers."""
    return np.minimum(np.maximum(logarithms, -50.0), 50.0)


class Anderson:
    """Extrapolation from the last few EM steps.

    Parameters
    ----------
    coordinates : Coordinatisation
        The vector space of the parameters.
    """

    def __init__(self, coordinates: Coordinatisation) -> None:
        self.coordinates = coordinates
        self._last: tuple[FloatArray, FloatArray] | None = None  # point and residual
        self._steps: list[FloatArray] = []
        self._changes: list[FloatArray] = []
        self._confidence = 0.0

    def copy(self) -> Anderson:
        """Another one with the same history."""
        other = Anderson(self.coordinates)
        other._last, other._confidence = self._last, self._confidence
        other._steps, other._changes = list(self._steps), list(self._changes)
        return other

    def extrapolated(self, parameters: Parameters, mapped: Parameters) -> Parameters | None:
        """Where the sequence of EM steps seems to lead; None where there is no history to tell.

        Parameters
        ----------
        parameters : Parameters
            The present point θ.
        mapped : Parameters
            The EM step from it, G(θ).
        """
        point = self.coordinates.vector(parameters)
        residual = self.coordinates.vector(mapped) - point
        if self._last is not None:
            self._steps.append(point - self._last[0])
            self._changes.append(residual - self._last[1])
            del self._steps[:-_DEPTH], self._changes[:-_DEPTH]
        self._last = point, residual
        if not self._steps:
            return None
        steps, changes = np.array(self._steps), np.array(self._changes)  # (history, parameters)
        gamma = self._damped_least_squares(changes, residual)
        proposal = point + residual - gamma @ (steps + changes)
        if not np.isfinite(proposal).all():
            return None
        try:
            return self.coordinates.parameters(proposal, mapped)
        except np.linalg.LinAlgError:
            return None

    def accept(self) -> None:
        """The last proposal did not lower ℓ: trust the next one a little more."""
        self._confidence += 1.0

    def reject(self) -> None:
        """The last proposal lowered ℓ: damp the next ones, and forget the older half of the history."""
        self._confidence = max(self._confidence - _PENALTY, -20.0)
        keep = (len(self._steps) + 1) // 2 - 1 if len(self._steps) else 0
        del self._steps[: len(self._steps) - keep], self._changes[: len(self._changes) - keep]

    def _damped_least_squares(self, changes: FloatArray, residual: FloatArray) -> FloatArray:
        """Ridge solution γ with |γ|² a fraction of the least squares one's; the fraction grows with confidence.

        All that is needed of the (parameters × history) problem is its triangular factor, with the right-hand side
        as a last column.
        """
        n = len(changes)
        triangle = np.asarray(np.linalg.qr(np.concatenate([changes, residual[None]]).T, mode="r"))
        U, singular, Vt = np.linalg.svd(triangle[:n, :n], full_matrices=False)
        kept = int(np.count_nonzero(singular > 1e-12 * max(singular[0], 1e-300)))
        if not kept:
            return np.zeros(n)
        singular, Vt = singular[:kept], Vt[:kept]
        projected = triangle[: len(U), n] @ U[:, :kept]
        fraction = 1.0 / (1.0 + _DAMPING_BASE ** (_DAMPING_DELAY - self._confidence))
        squares = singular * singular
        gamma = projected / singular
        target = math.sqrt(fraction * float(gamma @ gamma))
        # Newton's method for the secular equation |γ(λ)| = target, from the left (Moré 1978): a few steps suffice.
        ridge = 0.0
        for _ in range(12):
            shifted = squares + ridge
            gamma = projected * singular / shifted
            length = math.sqrt(float(gamma @ gamma))
            if length <= 1.01 * target:
                break
            slope = float(gamma @ (gamma / shifted))
            ridge += (length / target - 1.0) * length**2 / slope
        solution: FloatArray = gamma @ Vt
        return solution
