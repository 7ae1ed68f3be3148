"""The forecast for one running unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

__all__ = ["UnitForecast"]


class UnitForecast(NamedTuple):
    """Predictive mixture of one channel of one unit at m times (model.md, "Prognosis").

    Values are in the channel's units and variances in its squared units. Both are for a new reading, noise included.
    """

    mean: FloatArray
    """Mean of the mixture, (m,)."""
    variance: FloatArray
    """Variance of the mixture, (m,)."""
    mode_means: FloatArray
    """Mean given each mode, (K, m)."""
    mode_variances: FloatArray
    """Variance given each mode, (K, m)."""
    mode_probabilities: FloatArray
    """(K,)."""
