"""Which mode of a refit is which mode of the fit: by label first, then by the curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.mixture.mode_match import assigned_places, distances_of_parameters
from cem.mixture.parameters import Parameters

__all__ = ["places_of_modes"]


def places_of_modes(
    fit: Parameters, refit: Parameters, labelled: NDArray[np.int64] | tuple[int, ...] = ()
) -> NDArray[np.int64]:
    """The mode of the refit that takes the place of each mode of the fit.

    Parameters
    ----------
    fit, refit : Parameters
        Of K modes, in one system of coordinates.
    labelled : array of int
        Modes that units are labelled with in both: they keep their places.

    Returns
    -------
    ndarray of shape (K,), int64
        ``refit.ordered(places)`` has the modes in the order of the fit. The assignment minimises the sum of the
        Bhattacharyya distances between the laws of the modes' coefficients, channel by channel.
    """
    return assigned_places(distances_of_parameters(fit, refit), {int(k): int(k) for k in labelled})
