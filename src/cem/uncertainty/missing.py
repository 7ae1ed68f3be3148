"""What is lost because the modes of units are not known: the missing information of a mixture (Louis 1982).

If modes were known, the units would inform the parameters by I + M. M sums, over the units, the variance of the score
over the modes that a unit may have. Where M takes most, modes overlap, and the fit itself tends to set them too far
apart: its information is then too large, and standard errors too small.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ambiguity"]

FloatArray = NDArray[np.float64]

# A unit with a smaller probability of a mode adds that much less to M.
_LEAST = 1e-6
# Derivatives that are kept; of more units, every second, third, ... counts twice, three times, ...
_MOST = 20_000_000


class Ambiguity:
    """The units whose modes are not clear, and how their probabilities move with the parameters.

    With s_k the score of a unit of mode k and s that of the unit, ∂ρ_k/∂θ = ρ_k (s_k − s). So M is the sum of
    (∂ρ_k/∂θ) (∂ρ_k/∂θ)ᵀ / ρ_k, and needs no more than the E steps of the information.

    Parameters
    ----------
    responsibilities : ndarray of shape (L, K)
        At the fitted parameters.
    n : int
        Numbers of the vector.
    """

    def __init__(self, responsibilities: FloatArray, n: int) -> None:
        rho = np.asarray(responsibilities)
        chosen = np.flatnonzero((rho > _LEAST) & (rho < 1.0 - _LEAST))
        self._stride = 1 + chosen.size * n // _MOST
        self._chosen = chosen[:: self._stride]
        self._moves = np.zeros((self._chosen.size, n))
        self._roots = np.sqrt(rho.ravel()[self._chosen])

    def moves(self, j: int, above: FloatArray, below: FloatArray, step: float) -> None:
        """Take the probabilities at both sides of number j.

        Parameters
        ----------
        j : int
        above, below : ndarray of shape (L, K)
        step : float
            Between them.
        """
        self._moves[:, j] = (above.ravel()[self._chosen] - below.ravel()[self._chosen]) / step

    def missing(self, directions: FloatArray) -> FloatArray:
        """M in given directions.

        Parameters
        ----------
        directions : ndarray of shape (n, d)

        Returns
        -------
        ndarray of shape (d, d)
        """
        own = (self._moves / self._roots[:, None]) @ directions
        matrix: FloatArray = self._stride * (own.T @ own)
        return matrix
