"""Which mode of a refit is which mode of the fit: by label first, then by the curves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cem.mixture.parameters import Parameters

__all__ = ["places_of_modes"]

FloatArray = NDArray[np.float64]


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
    from scipy.optimize import linear_sum_assignment

    distances = _distances(fit, refit)
    for k in labelled:
        distances[k, :] = np.inf
        distances[:, k] = np.inf
        distances[k, k] = 0.0
    finite = distances[np.isfinite(distances)]
    distances[~np.isfinite(distances)] = 1e6 * (1.0 + float(finite.max(initial=0.0)))
    _, places = linear_sum_assignment(distances)
    return np.asarray(places, dtype=np.int64)


def _distances(first: Parameters, second: Parameters) -> FloatArray:
    """Bhattacharyya distances between modes of two mixtures, (K, K); of fixed coefficients in units of the noise."""
    first, second = first.marginal(), second.marginal()
    layout, K = first.layout, first.n_modes
    total = np.zeros((K, second.n_modes))
    for c in range(layout.n_channels):
        gaps = layout.vector(first.means, c)[:, None] - layout.vector(second.means, c)
        if not gaps.size:
            continue
        roots = [layout.matrix(x.factors, c) for x in (first, second)]
        own, other = (root @ np.swapaxes(root, -1, -2) for root in roots)
        # Coefficients whose variance vanished would make any two means infinitely far apart.
        noise = np.sqrt(first.noise_variances[:, None, c] * second.noise_variances[None, :, c])
        eye = np.eye(gaps.shape[-1])
        added = 1e-2 * noise[..., None, None] * eye
        middle = 0.5 * (own[:, None] + other) + added
        total += 0.125 * np.einsum("kji,kji->kj", gaps, np.linalg.solve(middle, gaps[..., None])[..., 0])
        total += 0.5 * np.linalg.slogdet(middle)[1]
        total -= 0.25 * (np.linalg.slogdet(own[:, None] + added)[1] + np.linalg.slogdet(other[None] + added)[1])
    if first.fixed is not None and second.fixed is not None:
        noise = 0.5 * (first.noise_variances.mean(axis=1)[:, None] + second.noise_variances.mean(axis=1))
        total += 0.125 * np.square(first.fixed[:, None] - second.fixed).sum(axis=-1) / noise
    logs = np.log(first.noise_variances)[:, None] - np.log(second.noise_variances)
    total += 0.0625 * np.square(logs).sum(axis=-1)
    return total
