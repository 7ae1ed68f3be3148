"""The posterior of one running unit's own coefficients; a process that only scores needs none of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cem.errors import PredictionError, ScorerError
from cem.mixture import _prediction
from cem.mixture._bundle import ParametersBundle
from cem.statistics._bundle import StatisticsBundle

if TYPE_CHECKING:
    from cem.scoring.scorer import Unit

__all__ = ["posteriors_of"]

FloatArray = NDArray[np.float64]


def posteriors_of(unit: Unit, channel: int) -> tuple[FloatArray, FloatArray]:
    """Means (K, p) and square roots of the covariances (K, p, p) of one channel, in the panel's units."""
    R, w, rss = unit._channel_statistics(channel)
    p, parameters, coordinates = len(w), unit.scorer._model.internal_parameters, unit.scorer._model.coordinates
    layout, n_modes = parameters.layout, parameters.n_modes
    means, roots = np.empty((1, n_modes, p)), np.empty((1, n_modes, p * p))
    sizes = np.array([p], dtype=np.int32)
    try:
        _prediction.posteriors(
            StatisticsBundle(
                R.ravel(), np.zeros((1, 1), dtype=np.int64), w[None], np.array([[rss]]),
                np.zeros((1, 1), dtype=np.int32), sizes,
            ),
            ParametersBundle(
                parameters.weights, np.ascontiguousarray(layout.vector(parameters.means, channel)),
                np.ascontiguousarray(layout.matrix(parameters.factors, channel)).reshape(n_modes, p * p),
                np.ascontiguousarray(parameters.noise_variances[:, channel : channel + 1]), sizes,
            ),
            means, roots,
        )  # fmt: skip
    except PredictionError:
        raise ScorerError(
            f"the posterior of this unit's coefficients of channel {unit.scorer.channels[channel]!r} could not be "
            "factored; its times lie too far from those that the model was fitted to"
        ) from None
    scale = coordinates.scales[channel]
    inverse = np.linalg.inv(coordinates.transform(channel))
    return coordinates.coefficients(means[0], channel), scale * (inverse @ roots[0].reshape(n_modes, p, p))
